"""What a thread records, and whether it looks for numbers that aren't finite."""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minidl.errors import GradError

__all__ = [
    "Completed",
    "caller",
    "check_finite",
    "completed",
    "detect_anomaly",
    "enable_grad",
    "mode",
    "no_grad",
    "rerunning",
]


# Called when a backward pass begins; what it returns is called, for each leaf whose gradient is
# complete while the pass goes on, with the leaf and the gradient.
Completed = Callable[[], Callable[[Any, np.ndarray], None]]


class _Mode(threading.local):
    """What this thread records: each thread has its own."""

    recording = True
    detecting = False
    rerunning = False  # what a checkpoint computed before: nothing is to change a second time
    completed: Completed | None = None


mode = _Mode()


class _Switch(contextlib.ContextDecorator):
    """A context manager, or decorator, that sets one attribute of `mode` for a while."""

    _attribute: str
    _value: bool

    def __init__(self) -> None:
        self._before: list[bool] = []

    def _recreate_cm(self) -> "_Switch":
        return type(self)()  # a decorated function may run in several threads at once

    def __enter__(self) -> None:
        self._before.append(getattr(mode, self._attribute))
        setattr(mode, self._attribute, self._value)

    def __exit__(self, *exception: object) -> None:
        setattr(mode, self._attribute, self._before.pop())


class no_grad(_Switch):
    """Inside, nothing is recorded: results need no gradient and keep nothing alive."""

    _attribute, _value = "recording", False


class enable_grad(_Switch):
    """Inside, recording is on again, even within `no_grad`."""

    _attribute, _value = "recording", True


class detect_anomaly(_Switch):
    """Inside, the first NaN or infinity in an output or gradient raises a GradError naming the op.

    Costs a look at every number; for hunting a bug, not for training.
    """

    _attribute, _value = "detecting", True


class rerunning(_Switch):
    """Inside, a checkpointed function runs again: running statistics stay as they are."""

    _attribute, _value = "rerunning", True


@contextlib.contextmanager
def completed(begin: Completed | None) -> Iterator[None]:
    """Inside, backward passes tell of gradients that are complete: see `Completed`."""
    before, mode.completed = mode.completed, begin
    try:
        yield
    finally:
        mode.completed = before


def check_finite(array: np.ndarray | None, who: str) -> None:
    if array is not None and array.dtype.kind == "f" and not np.isfinite(array).all():
        what = "a NaN" if np.isnan(array).any() else "an infinity"
        first = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise GradError(
            f"detect_anomaly: {who} {what}, first at index {first} of shape {array.shape}"
        )


def caller() -> str:
    """file:line of the innermost frame outside minidl."""
    frame = sys._getframe()
    while frame.f_back and frame.f_globals.get("__name__", "").startswith("minidl."):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
