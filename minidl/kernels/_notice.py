"""What is known and said of the wait while kernels are compiled: how long, how many, and one line.

The line is said once for each folder of compiled kernels, not in every run that finds some missing.
"""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["compiled_count", "compiled_seconds", "compiling", "keep_quiet", "on_compile"]

PATIENCE = 1.0  # seconds of compiling, in all, before a word is said
TEXT = "minidl: compiling kernels for this machine, once (`minidl warmup` does it ahead)"
MARK = "said"  # the file in the folder that tells other runs that it was said


class _Watch:
    """Counts what is compiled, in whatever threads, and times it by the clock on the wall."""

    def __init__(self) -> None:
        self.quiet = False
        self.count = 0
        self.callbacks: list[Callable[[str], None]] = []
        self._lock = threading.RLock()  # reentrant: Ctrl-C and callbacks may come at any time
        self._here = threading.local()
        self._seconds = 0.0
        self._running = 0  # threads that compile now
        self._began = 0.0
        self._timer: threading.Timer | None = None

    @contextlib.contextmanager
    def compiling(self, name: str) -> Iterator[None]:
        if getattr(self._here, "busy", False):  # what a kernel calls is compiled within it
            yield
            return
        self._here.busy = True
        self._start()
        try:
            for callback in list(self.callbacks):
                callback(name)
            yield
            with self._lock:
                self.count += 1
        finally:
            self._end()
            self._here.busy = False

    def _start(self) -> None:
        with self._lock:
            self._running += 1
            if self._running > 1:
                return
            self._began = time.perf_counter()
            if not self.quiet:
                self._timer = threading.Timer(max(0.0, PATIENCE - self._seconds), self._say)
                self._timer.daemon = True
                self._timer.start()

    def _end(self) -> None:
        with self._lock:
            self._running -= 1
            if self._running == 0:
                self._seconds += time.perf_counter() - self._began
                if self._timer is not None:
                    self._timer.cancel()
                    self._timer = None

    def seconds(self) -> float:
        with self._lock:
            return self._seconds + (time.perf_counter() - self._began if self._running else 0.0)

    def _say(self) -> None:
        if self.quiet or sys.stderr is None:
            return
        self.quiet = True
        if not _first_here():
            return
        if "tqdm" in sys.modules:  # lifts a progress bar out of the way
            sys.modules["tqdm"].tqdm.write(TEXT, file=sys.stderr)
        else:
            print(TEXT, file=sys.stderr, flush=True)


def _first_here() -> bool:
    """Return whether nobody has said it for this folder; from now on, somebody has."""
    from minidl.kernels import _cache  # here, as it imports Numba, and a progress bar this file

    folder = _cache.folder()
    if folder is None:
        return True
    try:
        (folder / MARK).touch(exist_ok=False)
    except FileExistsError:
        return False
    except OSError:
        pass
    return True


_watch = _Watch()


def compiling(name: str) -> contextlib.AbstractContextManager[None]:
    """Inside, the kernel `name` is being compiled. Within another, it counts with that one."""
    return _watch.compiling(name)


def on_compile(callback: Callable[[str], None]) -> Callable[[], None]:
    """Call `callback(name)` when a kernel is about to be compiled, in the thread that does it.

    Returns a function that ends this.
    """
    _watch.callbacks.append(callback)

    def remove() -> None:
        if callback in _watch.callbacks:
            _watch.callbacks.remove(callback)

    return remove


def compiled_seconds() -> float:
    """Return how long kernels were compiled in this process, so far."""
    return _watch.seconds()


def compiled_count() -> int:
    """Return how many kernels were compiled in this process, so far."""
    return _watch.count


def keep_quiet() -> None:
    """Say nothing: something better is shown."""
    _watch.quiet = True


def explain(compiled: Any) -> Any:
    """For one of Numba's dispatchers: goes with the last of them."""
    from numba.core import event

    class Listener(event.Listener):
        def __init__(self) -> None:
            self.open: list[Any] = []

        def on_start(self, started: Any) -> None:
            if started.data["dispatcher"] is compiled:
                self.open.append(compiling(compiled.__name__))
                self.open[-1].__enter__()

        def on_end(self, ended: Any) -> None:
            if ended.data["dispatcher"] is compiled:
                self.open.pop().__exit__(None, None, None)

    event.register("numba:compile", Listener())
    return compiled
