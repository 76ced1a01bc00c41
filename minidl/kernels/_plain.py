"""Kernels by Numba's and Python's public means alone: where `_launch` can't be used.

A kernel is compiled by `njit`; a launch is a loop over its parts, which Python's threads share. A
launch takes some microseconds more; the results are the same bits.
"""

import contextlib
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import numba

from minidl.config import config
from minidl.kernels import _cache, _notice
from minidl.kernels._recording import Launch, normal
from minidl.recording import here, paused

__all__ = ["launcher", "program", "recording"]

_setting = threading.RLock()
_threads: list[ThreadPoolExecutor] = []
if hasattr(os, "register_at_fork"):  # a forked child has none of the threads
    os.register_at_fork(after_in_child=_threads.clear)


@contextlib.contextmanager
def _kept_in_the_folder() -> Iterator[bool]:
    """Numba's decorators inside keep what they compile in the folder; False if there is none."""
    path = _cache.folder()
    with _setting:
        before = numba.config.CACHE_DIR  # type: ignore[attr-defined]
        numba.config.CACHE_DIR = str(path or before)  # type: ignore[attr-defined]
        try:
            yield path is not None
        finally:
            numba.config.CACHE_DIR = before  # type: ignore[attr-defined]


def launcher(function: Callable[..., Any], flags: frozenset[str], alone: bool) -> Any:
    """Return what Python calls: launch(parts, *arguments). alone: on the calling thread."""
    name = f"{function.__module__.rsplit('.', 1)[-1]}.{function.__name__}"
    with _kept_in_the_folder() as kept:
        compiled = numba.njit(
            cache=kept, nogil=True, fastmath=set(flags), error_model="numpy"
        )(function)  # fmt: skip
    known: set[Any] = set()

    def launch(parts: int, *arguments: Any) -> None:
        normalized = normal(name, arguments)
        recorded = Launch(name, -parts if alone else parts, normalized, compiled)
        if here.recorder is not None:
            here.recorder.launched(recorded)
        kinds = tuple(numba.typeof(x) for x in normalized)
        if kinds not in known:
            with _setting, _notice.compiling(name), paused():  # it may write to the folder
                _first(compiled, normalized)
            known.add(kinds)
        _run(recorded)

    return launch


def _first(compiled: Any, arguments: list[Any]) -> None:
    """Compile, or load what was compiled; where the folder can't be used, for this run alone."""
    try:
        compiled.compile((numba.intp, *map(numba.typeof, arguments)))
    except (OSError, EOFError) as error:
        compiled._cache.disable()
        _cache.say_once(
            f"this run's compiled kernels can't be kept in {_cache.folder()} "
            f"({type(error).__name__}: {error})"
        )
        compiled.compile((numba.intp, *map(numba.typeof, arguments)))


def _run(launch: Launch) -> None:
    """Return all parts: each of the threads takes the next that nobody has taken."""
    parts, threads = abs(launch.parts), min(config.num_threads, launch.parts)
    taken = itertools.count()  # next() of it is atomic

    def work() -> None:
        while (part := next(taken)) < parts:
            launch.entry(part, *launch.arguments)

    if threads < 2:
        return work()
    if not _threads:
        _threads.append(ThreadPoolExecutor(thread_name_prefix="minidl"))
    others = [_threads[0].submit(work) for _ in range(threads - 1)]
    try:
        work()
    finally:  # they use the arguments, whatever becomes of this thread
        wait(others)
    for other in others:
        other.result()
    return None


def program(launches: list[Launch]) -> Callable[[], None]:
    """Return what runs these launches again, on the arrays that they were recorded with."""

    def run() -> None:
        for launch in launches:
            _run(launch)

    return run


def recording(who: Any, begins: bool) -> None:
    """Nothing: every launch looks whether it is recorded."""
