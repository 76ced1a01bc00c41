"""One line that explains the wait while kernels are compiled for the first time."""

import sys
import threading
import time
from typing import Any

from numba.core import event

__all__ = ["compiled_seconds", "explain", "keep_quiet"]

PATIENCE = 1.0  # seconds of compiling, in all, before a word is said
TEXT = "minidl: compiling kernels for this machine, once (`minidl warmup` does it ahead)"


class _Watch(event.Listener):
    """Hears when Numba compiles, which it does in one thread at a time: launches cost no more."""

    def __init__(self) -> None:
        self.ours: set[Any] = set()
        self.quiet = False
        self.seconds = 0.0
        self._depth = 0
        self._began = 0.0
        self._timer: threading.Timer | None = None

    def on_start(self, started: Any) -> None:
        if started.data["dispatcher"] not in self.ours:
            return
        self._depth += 1
        if self._depth > 1:  # what a kernel calls is compiled within it
            return
        self._began = time.perf_counter()
        if not self.quiet:
            self._timer = threading.Timer(max(0.0, PATIENCE - self.seconds), self._say)
            self._timer.daemon = True
            self._timer.start()

    def on_end(self, ended: Any) -> None:
        if ended.data["dispatcher"] not in self.ours:
            return
        self._depth -= 1
        if self._depth == 0:
            self.seconds += time.perf_counter() - self._began
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def _say(self) -> None:
        if self.quiet or sys.stderr is None:
            return
        self.quiet = True
        if "tqdm" in sys.modules:  # lifts a progress bar out of the way
            sys.modules["tqdm"].tqdm.write(TEXT, file=sys.stderr)
        else:
            print(TEXT, file=sys.stderr, flush=True)


_watch = _Watch()
event.register("numba:compile", _watch)


def explain(compiled: Any) -> Any:
    """Explain the wait when `compiled`, one of Numba's dispatchers, is being compiled."""
    _watch.ours.add(compiled)
    return compiled


def keep_quiet() -> None:
    """Say nothing: something better is shown."""
    _watch.quiet = True


def compiled_seconds() -> float:
    """How long kernels were compiled in this process, so far."""
    return _watch.seconds
