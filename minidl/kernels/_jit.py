"""The one way to compile a kernel: flags, cache and threads.

Floating-point flags never include nnan or ninf: NaNs and infinities behave.
"""

import functools
import os
import pickle
import threading
import types
import warnings
from collections.abc import Callable
from typing import Any

# How long an OpenMP thread spins for the others before it sleeps; GNU's library reads it when it is
# loaded. Its own choice is some milliseconds, in which a busy neighbour slows every kernel tenfold.
# (OMP_PROC_BIND would wake threads sooner, but it ties this thread to one core, and with it every
# thread and process started from here on.)
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import numba

from minidl.config import config
from minidl.errors import StateError
from minidl.kernels import _cache, _notice

__all__ = ["EXACT", "PART", "background", "helper", "inlined", "kernel", "machine", "sized"]

MAX_THREADS: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
FAST_MATH = frozenset({"contract", "nsz", "arcp", "reassoc"})
EXACT = frozenset({"contract"})  # an element gets the same bits wherever it stands in its array
LITTLE = 16 * 1024  # numbers: some 5 us of work
PART = 16 * 1024  # numbers that a thread works on at a time, where each is handled alike
UNREADABLE = (EOFError, pickle.UnpicklingError)  # by a file that was cut off

# Numba's work queue, the fallback where no OpenMP or TBB is found, allows one launch at a time.
_launch = threading.Lock()
_dispatchers: list[Any] = []


class _Here(threading.local):
    """What this Python thread has told Numba."""

    threads = 0


_here = _Here()
_forked = False


def _njit(function: Callable[..., Any], flags: frozenset[str] = FAST_MATH, **options: Any) -> Any:
    with _cache.disk_cache() as cached:
        if not cached:
            _say_once(f"no folder for compiled kernels, every run compiles: {_cache.why_not()}")
        compiled = numba.njit(cache=cached, fastmath=set(flags), **options)(function)
    _dispatchers.append(_notice.explain(_cache.own_files(compiled)))
    return compiled


def _cache_no_more(error: Exception) -> None:
    """From here on kernels are compiled for this process only."""
    for compiled in _dispatchers:
        compiled._cache.disable()
    if isinstance(error, UNREADABLE):
        _cache.forget()
    _say_once(
        f"this run's compiled kernels can't be kept in {_cache.folder()} "
        f"({type(error).__name__}: {error})"
    )


def _after_fork_in_child() -> None:
    """OpenMP ends a forked child that uses it: there, the plain NumPy twins take over."""
    global _forked, _here, _launch
    _forked, _here, _launch = True, _Here(), threading.Lock()
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


def _set_threads() -> None:
    """Tell Numba how many threads this Python thread's kernels use: it keeps that by thread."""
    if _forked:
        raise StateError(
            "a fast kernel can't run here: this process was forked after kernels had run; "
            'keep md.config.kernels = "reference", or start processes by "spawn"'
        )
    _guard_forks_once()
    threads = config.num_threads
    numba.set_num_threads(min(threads, MAX_THREADS))
    _here.threads = threads


@functools.cache
def _say_once(text: str) -> None:
    warnings.warn(f"minidl: {text}", RuntimeWarning, stacklevel=2)


def helper(function: Callable[..., Any]) -> Any:
    """Decorator: a function that kernels call."""
    return _njit(function)


def inlined(function: Callable[..., Any]) -> Any:
    """Decorator: a helper that becomes part of its caller, so that tiles stay in registers."""
    return _njit(function, forceinline=True)


def kernel(function: Callable[..., Any], flags: frozenset[str] = FAST_MATH) -> Callable[..., Any]:
    """Decorator: a parallel kernel that Python calls. It runs on `md.config.num_threads`.

    Its `prange` runs over parts of a fixed size and no part writes what another reads, so that
    the result doesn't depend on the number of threads.
    """
    compiled = _njit(function, flags, parallel=True)

    @functools.wraps(function)
    def launch(*arguments: Any) -> Any:
        # Hundreds of times a training step: no more than 0.4 us here above Numba's own 0.3.
        with _launch:
            if _here.threads != config._num_threads:
                _set_threads()
            try:
                return compiled(*arguments)
            except (OSError, *UNREADABLE) as error:  # of the cache: kernels raise none
                _cache_no_more(error)
                return compiled(*arguments)

    launch.compiled = compiled  # type: ignore[attr-defined]
    launch.serial = _one_thread(function, flags)  # type: ignore[attr-defined]
    return launch


def _one_thread(function: Callable[..., Any], flags: frozenset[str]) -> Callable[..., Any]:
    """The kernel compiled without threads: its prange is a range."""
    # under a name of its own: in the cache on disk, Numba tells functions apart by nothing else
    serial = types.FunctionType(
        function.__code__, function.__globals__, function.__name__, None, function.__closure__
    )
    serial.__qualname__ = f"{function.__qualname__}.serial"
    return _called(_njit(serial, flags))


def background(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: a kernel for one thread of several that prepare batches, while others compute.

    It holds no lock of Python's, and its results don't depend on where in an array they stand.
    """
    return _called(_njit(function, EXACT, nogil=True))


def _called(compiled: Any) -> Callable[..., Any]:
    """What Python calls instead of a compiled function for one thread."""

    @functools.wraps(compiled)
    def run(*arguments: Any) -> Any:
        try:
            return compiled(*arguments)
        except (OSError, *UNREADABLE) as error:
            _cache_no_more(error)
            return compiled(*arguments)

    return run


def sized(launch: Any, work: int) -> Any:
    """The kernel, or for little work (numbers to handle) its form for one thread.

    A launch takes 2 us on an idle machine, and hundreds where a neighbour has a core.
    """
    return launch if work > LITTLE else launch.serial


def machine() -> dict[str, Any]:
    """What Numba knows of this machine, for `minidl doctor`. Starts its threads."""
    numba.set_num_threads(numba.get_num_threads())
    return {
        "cpu": numba.core.registry.cpu_target.target_context.codegen().magic_tuple()[1],
        "threads": MAX_THREADS,
        "threading layer": numba.threading_layer(),
    }
