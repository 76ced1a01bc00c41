"""The one way to compile a kernel: flags, cache and threads.

Floating-point flags never include nnan or ninf: NaNs and infinities behave.
"""

import functools
import os
import threading
import warnings
from collections.abc import Callable
from typing import Any

# How long an OpenMP thread spins for the others before it sleeps; GNU's library reads it when it is
# loaded. Its own choice is some milliseconds, in which a busy neighbour slows every kernel tenfold.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import numba

from minidl.config import config

__all__ = ["kernel", "helper"]

MAX_THREADS: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
FAST_MATH = {"contract", "nsz", "arcp", "reassoc"}

# Numba's work queue, the fallback where no OpenMP or TBB is found, allows one launch at a time.
_launch = threading.Lock()


def _njit(function: Callable[..., Any], **options: Any) -> Any:
    try:
        return numba.njit(cache=True, fastmath=FAST_MATH, **options)(function)
    except RuntimeError as error:  # Numba found no folder to keep compiled kernels in
        _say_once(f"compiled kernels can't be cached, so every run compiles anew: {error}")
        return numba.njit(fastmath=FAST_MATH, **options)(function)


def _after_fork_in_child() -> None:
    """OpenMP ends a forked child that uses it: there, the plain NumPy twins take over."""
    config.kernels = "reference"
    warnings.warn(
        "minidl: this process was forked after kernels had run, where OpenMP's threads can't be "
        "used: it computes with the slow reference kernels; start processes by 'spawn' instead",
        RuntimeWarning,
        stacklevel=2,
    )


@functools.cache
def _guard_forks_once() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_after_fork_in_child)


@functools.cache
def _say_once(text: str) -> None:
    warnings.warn(f"minidl: {text}", RuntimeWarning, stacklevel=2)


def helper(function: Callable[..., Any]) -> Any:
    """Decorator: a function that kernels of the same file call."""
    return _njit(function)


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: a parallel kernel that Python calls. It runs on `md.config.num_threads`.

    Its `prange` runs over parts of a fixed size and no part writes what another reads, so that
    the result doesn't depend on the number of threads.
    """
    compiled = _njit(function, parallel=True)

    @functools.wraps(function)
    def launch(*arguments: Any) -> Any:
        with _launch:
            _guard_forks_once()
            numba.set_num_threads(min(config.num_threads, MAX_THREADS))
            return compiled(*arguments)

    launch.compiled = compiled  # type: ignore[attr-defined]
    return launch
