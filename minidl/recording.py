"""What a captured call must do again, told to a recorder while the call runs for the first time.

`minidl.capture` records a call and replays it. What happens then is either a kernel's launch, or a
step in Python (`step`), or something that must come before all (`before`): drawing a dropout's
seed, counting an optimizer's steps. Outside of a recording nobody listens, and none of this costs
more than a look.
"""

import threading
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

__all__ = [
    "Before", "Profiler", "Recorder", "again", "before", "changed", "changes", "here", "owns",
    "paused", "refuse", "step", "undone",
]  # fmt: skip


class Before(Protocol):
    """Something in Python that a call does each time, and that its proof must be able to undo."""

    def holds(self) -> bool:
        """Whether doing it again still makes the recording the same call."""

    def advance(self) -> None:
        """Do it: change the arrays that kernels read."""

    def save(self) -> Any:
        """What `restore` takes back to."""

    def restore(self, state: Any) -> None: ...


class Recorder(Protocol):
    """Who listens to one thread's call."""

    depth: int  # of units, which see plain arrays

    def gave_up(self) -> bool: ...
    def launched(self, launch: Any) -> None: ...
    def stepped(self, function: Callable[[], None]) -> None: ...
    def preceded(self, what: Before) -> None: ...
    def owned(self, array: np.ndarray) -> None: ...
    def leaf(self, tensor: Any) -> None: ...
    def node(self, node: Any) -> None: ...
    def made(self, tensor: Any) -> None: ...
    def module(self, module: Any, inputs: Any, settings: Any) -> Any: ...
    def changed(self, array: np.ndarray) -> None: ...
    def gradient(self, tensor: Any, read: bool, g: np.ndarray | None = None) -> None: ...
    def refused(self, why: str) -> None: ...


class Profiler(Protocol):
    """Who is told how long things took in one thread. start: what `time.perf_counter` said."""

    def ran(self, op: Any, arrays: Any, settings: Any, output: Any, start: float) -> None: ...
    def did(self, kind: str, name: str, start: float) -> None: ...


class _Here(threading.local):
    recorder: Recorder | None = None
    profiler: Profiler | None = None
    keeps_weights = False  # while a model is recorded for inference, also where it is proved


here = _Here()
"""This thread's recorder, or None: `here.recorder`."""


class paused:
    """Inside, this thread's recorder doesn't listen."""

    def __enter__(self) -> None:
        self._recorder, here.recorder = here.recorder, None

    def __exit__(self, *exception: object) -> None:
        here.recorder = self._recorder


class undone:
    """Inside, something is changed for a moment: at the end `undo` is called.

    Twice around a block, `with (u := undone(undo)), u:`, it is called even if Ctrl-C comes at the
    end of the block or while it runs: then once more, from its beginning.
    """

    def __init__(self, undo: Callable[[], None]) -> None:
        self._undo, self._done = undo, False

    def __enter__(self) -> None: ...

    def __exit__(self, *exception: object) -> None:
        if not self._done:
            self._undo()
            self._done = True


changes = [0]
"""Counts assignments to modules and to tensors' data: as long as it stands, nobody made any."""


def changed() -> None:
    """Something was assigned that a recording may depend on."""
    changes[0] += 1


def step(function: Callable[[], None]) -> None:
    """Do something, now and, if this is a recording, at this place of every replay."""
    with paused():
        function()
    if here.recorder is not None:
        here.recorder.stepped(function)


def again(function: Callable[[], Any]) -> Any:
    """function(), an array or several, and the same written anew in every replay."""
    with paused():
        found = function()
    if here.recorder is not None:
        kept = found if isinstance(found, tuple) else (found,)

        def rewrite() -> None:
            made = function()
            for target, x in zip(kept, made if isinstance(made, tuple) else (made,), strict=True):
                np.copyto(target, x)

        here.recorder.stepped(rewrite)
    return found


def before(what: Before) -> None:
    """What was just done must be done first thing at every replay."""
    if here.recorder is not None:
        here.recorder.preceded(what)


def owns(*arrays: np.ndarray) -> None:
    """These arrays live on between calls (state of an optimizer, running statistics)."""
    if here.recorder is not None:
        for array in arrays:
            here.recorder.owned(array)


def refuse(who: str, why: str) -> None:
    """End a recording, if this is one: `who` can't be part of a captured call.

    Raises CaptureError, or nothing where the call is then to continue without a recording.
    """
    if here.recorder is not None and not here.recorder.depth:
        here.recorder.refused(f"md.compile: {who} {why}")
