"""The proof of a recording: on other numbers, a replay gives the bits that the call gives."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minidl.autograd.hooks import register_op_hook
from minidl.autograd.unit import altered, same_bits
from minidl.capture.arguments import arrays_of, with_arrays
from minidl.capture.program import Program, as_left
from minidl.errors import CaptureError

__all__ = ["Saved", "prove"]


def prove(program: Program, function: Callable[..., Any], arguments: Any) -> tuple[Any, bool]:
    """Call the function, and a replay beside it: (the call's result, whether that proved it).

    The call runs once and for good. If nothing differs from the call that was recorded, neither
    arguments nor weights, it proves nothing: the function is then run once more, on altered
    numbers, and what it changed is put back.
    Raises CaptureError, with the call's `result`, naming the first op that a replay gets wrong.
    """
    if _is_as_recorded(program, arguments):
        proved = _try_altered(program, function, arguments)
        if proved is not None:
            raise _failed(program, function, arguments, proved)
    result, wrong = _compare(program, function, arguments)
    if wrong is not None:
        error = _failed(program, function, arguments, wrong)
        error.result = result  # type: ignore[attr-defined]
        raise error
    return result, True


def _is_as_recorded(program: Program, arguments: Any) -> bool:
    """Whether the call would do what the recorded one did, bit for bit."""
    pairs = zip(arrays_of(program.inputs), arrays_of(arguments), strict=True)
    same = all(same_bits(a, b) for a, b in pairs)
    return same and not program.changes and as_left(program.seen)


class Saved:
    """All that a replay or a call changes, to be put back."""

    def __init__(self, program: Program) -> None:
        self._arrays = [(x, x.copy()) for x in program.state()]
        self._befores = [(what, what.save()) for what in program.befores]
        self._grads = [(tensor, tensor._grad) for tensor, *_ in program.grads.values()]

    def restore(self) -> None:
        for x, copy in self._arrays:
            if x.flags.writeable:
                x[...] = copy
        for what, state in self._befores:
            what.restore(state)
        for tensor, g in self._grads:
            tensor._grad = g


def _results(program: Program, outputs: Any) -> list[np.ndarray]:
    """What a call gives: outputs, state, gradients, copied."""
    grads = [tensor._grad for tensor, *_ in program.grads.values()]
    found = [*arrays_of(outputs), *program.lasting(), *(g for g in grads if g is not None)]
    return [x.copy() for x in found]


def _compare(
    program: Program, function: Callable[..., Any], arguments: Any
) -> tuple[Any, str | None]:
    """The call's result, and what of it a replay got wrong, if anything."""
    saved = Saved(program)
    program.replay(arguments)
    replayed = _results(program, program.outputs)
    saved.restore()
    result = function(*arguments)
    called = _results(program, result)
    if len(called) != len(replayed):
        return result, "how many arrays it returns"
    same = all(map(same_bits, called, replayed))
    return with_arrays(result, np.copy), None if same else "its results"


def _try_altered(program: Program, function: Callable[..., Any], arguments: Any) -> str | None:
    """What a replay gets wrong on altered floats; then all is as it was."""
    saved = Saved(program)
    for x in program.lasting():
        if x.dtype.kind == "f" and x.flags.writeable:
            x[...] = altered(x)
    other = with_arrays(arguments, altered)
    try:
        with np.errstate(all="ignore"):
            return _compare(program, function, other)[1]
    finally:
        saved.restore()


def _failed(
    program: Program, function: Callable[..., Any], arguments: Any, wrong: str
) -> CaptureError:
    """The error, with the name of the first op whose output a replay doesn't reproduce."""
    saved = Saved(program)
    try:
        name = _first_wrong(program, function, arguments)
    finally:
        saved.restore()
    who = f"first seen after {name}" if name else "in something that is no op of minidl"
    return CaptureError(
        f"md.compile: replayed on other numbers, the call doesn't compute {wrong}, {who}: it "
        "depends on values that were computed outside of minidl's ops, or on a state that changes"
    )


def _first_wrong(program: Program, function: Callable[..., Any], arguments: Any) -> str | None:
    called: list[tuple[str, np.ndarray]] = []
    with register_op_hook(lambda op, inputs, settings, out: called.append((op.name, out.copy()))):
        function(*arguments)
    saved = iter(called)
    for mine, given in zip(arrays_of(program.inputs), arrays_of(arguments), strict=True):
        np.copyto(mine, given)
    last = None
    for name, outputs in program.steps():
        if name.startswith("the gradient"):
            break
        op_name, output = next(saved, (None, None))
        if op_name != name:
            return name
        if outputs and output is not None and not same_bits(outputs[0], output):
            return name
        last = name
    return last
