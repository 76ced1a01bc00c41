"""Settings of the process: default dtype, kernels, threads, where compiled kernels are kept.

md.config.default_dtype = np.float64     # what Python floats become
md.config.kernels = "reference"          # run on the plain NumPy twins
md.set_num_threads(2)

What minidl does to a program without being asked can be turned off: `capture`, `fuse`,
`keep_features`.
"""

import ctypes
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from minidl.checks import is_whole
from minidl.distributed.launch import cores_of_this_rank
from minidl.errors import ArgumentError, DTypeError

__all__ = ["config", "set_num_threads"]

KERNELS = ("fast", "reference")
CONVOLUTIONS = ("auto", "direct", "winograd", "winograd2", "im2col")


def _cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _user_cache() -> Path | None:
    """Return the platform's folder for what programs can make anew."""
    try:
        home = Path.home()
    except RuntimeError:
        return None
    if sys.platform == "darwin":
        return home / "Library" / "Caches"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    chosen = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return chosen if chosen.is_absolute() else home / ".cache"


def _switch(name: str, doc: str) -> Any:
    """A property that is True or False."""

    def assign(settings: "Config", wanted: bool) -> None:
        if not isinstance(wanted, bool):
            raise ArgumentError(f"config.{name} must be True or False, got {wanted!r}")
        setattr(settings, f"_{name}", wanted)

    return property(lambda settings: getattr(settings, f"_{name}"), assign, doc=doc)


class Config:
    """The one settings object, `md.config`. Assigning an unknown name or value raises."""

    __slots__ = (
        "_capture", "_convolution", "_default_dtype", "_fuse", "_keep_features", "_kernels",
        "_num_threads", "on_threads",
    )  # fmt: skip

    def __init__(self) -> None:
        self.on_threads: list[Callable[[int], None]] = []  # told of a new number of threads
        self._default_dtype = np.dtype(np.float32)
        self._kernels = "fast"
        self._convolution = "auto"
        self._capture = self._fuse = self._keep_features = True
        self._num_threads = cores_of_this_rank(_cores())

    @property
    def default_dtype(self) -> np.dtype[Any]:
        """dtype of tensors made from Python floats, and of new parameters."""
        return self._default_dtype

    @default_dtype.setter
    def default_dtype(self, dtype: Any) -> None:
        try:
            found = None if dtype is None else np.dtype(dtype)  # np.dtype(None) is float64
        except TypeError:
            found = None
        if found is None or found not in (np.float32, np.float64):
            raise DTypeError(
                f"config.default_dtype must be float32 or float64, got {found or repr(dtype)}"
            )
        self._default_dtype = found

    @property
    def kernels(self) -> str:
        """ "fast" (Numba) or "reference" (the plain NumPy twins)."""
        return self._kernels

    @kernels.setter
    def kernels(self, choice: str) -> None:
        if choice not in KERNELS:
            raise ArgumentError(f"config.kernels must be one of {KERNELS}, got {choice!r}")
        self._kernels = choice

    @property
    def convolution(self) -> str:
        """The algorithm of convolutions: "auto" chooses by shape (`kernels/choose.py`).

        "direct"; "winograd" or "winograd2", F(4x4, 3x3) or F(2x2, 3x3), for 3x3 kernels of stride
        1; "im2col". A shape that the chosen one doesn't take is computed as by "direct".
        """
        return self._convolution

    @convolution.setter
    def convolution(self, choice: str) -> None:
        if choice not in CONVOLUTIONS:
            raise ArgumentError(f"config.convolution must be one of {CONVOLUTIONS}, got {choice!r}")
        self._convolution = choice

    capture = _switch(
        "capture",
        """Whether calls are recorded and replayed: what `md.compile` made, and by `train.Trainer`.

        The results are the same bits either way.
        """,
    )
    fuse = _switch(
        "fuse",
        """Whether `nn.Sequential` runs convolution, ReLU and 2x2 max-pooling in a row as one op.

        The results agree up to rounding.
        """,
    )
    keep_features = _switch(
        "keep_features",
        """Whether `Trainer.fit` computes only once what a frozen body makes of an image.

        The results agree up to rounding.
        """,
    )

    @property
    def num_threads(self) -> int:
        """Threads the kernels use; set it with `md.set_num_threads`."""
        return self._num_threads

    @property
    def cache_folder(self) -> Path | None:
        """Where compiled kernels are kept: the environment variable MINIDL_CACHE, or `minidl` in
        NUMBA_CACHE_DIR, or in the user's cache folder. None if the user has no home.
        """
        if chosen := os.environ.get("MINIDL_CACHE"):
            return Path(chosen).absolute()
        if chosen := os.environ.get("NUMBA_CACHE_DIR"):
            return Path(chosen).absolute() / "minidl"
        user = _user_cache()
        return user and user / "minidl"

    def __repr__(self) -> str:
        return (
            f"config(default_dtype={self._default_dtype}, kernels={self._kernels!r}, "
            f"convolution={self._convolution!r}, capture={self._capture}, fuse={self._fuse}, "
            f"keep_features={self._keep_features}, num_threads={self._num_threads})"
        )


config = Config()


def set_num_threads(n: int) -> None:
    """Let kernels and BLAS use `n` threads. Results are the same bits for any `n`.

    (Those of the fast kernels: the reference ones multiply with BLAS, which makes no such promise.)

    Raises ArgumentError unless 1 <= n <= the cores this process may use.
    """
    if not is_whole(n) or not 1 <= n <= _cores():
        raise ArgumentError(
            f"set_num_threads expected a whole number from 1 to {_cores()} "
            f"(the cores this process may use), got {n!r}"
        )
    config._num_threads = int(n)
    for told in config.on_threads:
        told(int(n))
    _set_blas_threads(int(n))


def _set_blas_threads(n: int) -> None:
    """Tell the OpenBLAS that NumPy's wheels carry; another BLAS keeps its own setting."""
    try:
        numpy_core = ctypes.CDLL(np._core._multiarray_umath.__file__)  # type: ignore[attr-defined]
        numpy_core.scipy_openblas_set_num_threads64_(ctypes.c_int(n))
    except (AttributeError, OSError):
        pass
