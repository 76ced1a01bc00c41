"""Settings of the process: default dtype, kernels, threads.

md.config.default_dtype = np.float64     # what Python floats become
md.config.kernels = "reference"          # run on the plain NumPy twins
md.set_num_threads(2)
"""

import ctypes
import os
from typing import Any

import numpy as np

from minidl.errors import ArgumentError, DTypeError

__all__ = ["config", "set_num_threads"]

KERNELS = ("fast", "reference")


def _cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Config:
    """The one settings object, `md.config`. Assigning an unknown name or value raises."""

    __slots__ = ("_default_dtype", "_kernels", "_num_threads")

    def __init__(self) -> None:
        self._default_dtype = np.dtype(np.float32)
        self._kernels = "fast"
        self._num_threads = _cores()

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
    def num_threads(self) -> int:
        """Threads the kernels use; set it with `md.set_num_threads`."""
        return self._num_threads

    def __repr__(self) -> str:
        return (
            f"config(default_dtype={self._default_dtype}, kernels={self._kernels!r}, "
            f"num_threads={self._num_threads})"
        )


config = Config()


def set_num_threads(n: int) -> None:
    """Let kernels and BLAS use `n` threads. Results are the same bits for any `n`.

    (Those of the fast kernels: the reference ones multiply with BLAS, which makes no such promise.)

    Raises ArgumentError unless 1 <= n <= the cores this process may use.
    """
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or not 1 <= n <= _cores():
        raise ArgumentError(
            f"set_num_threads expected a whole number from 1 to {_cores()} "
            f"(the cores this process may use), got {n!r}"
        )
    config._num_threads = int(n)
    _set_blas_threads(int(n))


def _set_blas_threads(n: int) -> None:
    """Tell the OpenBLAS that NumPy's wheels carry; another BLAS keeps its own setting."""
    try:
        numpy_core = ctypes.CDLL(np._core._multiarray_umath.__file__)  # type: ignore[attr-defined]
        numpy_core.scipy_openblas_set_num_threads64_(ctypes.c_int(n))
    except (AttributeError, OSError):
        pass
