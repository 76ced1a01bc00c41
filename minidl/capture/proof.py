"""The proof of a recording: on other numbers, a replay gives the bits that the call gives."""

import contextlib
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from minidl import random
from minidl.autograd.held import proving
from minidl.autograd.hooks import register_op_hook
from minidl.autograd.unit import altered, digest, same_bits
from minidl.capture.arguments import arrays_of, mapped, with_arrays
from minidl.capture.program import Program
from minidl.errors import CaptureError
from minidl.recording import undone

__all__ = ["Saved", "prove"]


def prove(program: Program, function: Callable[..., Any], arguments: Any) -> tuple[Any, bool]:
    """Call the function, and a replay beside it: (the call's result, whether that proved it).

    The call runs once and for good. Of arguments and weights that are as they were when it was
    recorded it proves nothing: if there are any, the function is run once more, on altered numbers,
    and what it changed is put back.
    Raises CaptureError, with the call's `result`, naming the first op that a replay gets wrong.
    """
    pairs = zip(program.arrays, arrays_of(arguments), strict=True)
    differ = not any(same_bits(a, b) for a, b in pairs)
    wrong, proved = None, differ
    if not differ or program.same:
        wrong, was_run = _try_altered(program, function, arguments)
        proved = differ or was_run
    if wrong is None:
        result, wrong = _compare(program, function, arguments)
    else:
        result = with_arrays(function(*arguments), np.copy)
    if wrong is not None:
        error = _failed(program, function, arguments, wrong)
        error.result = result  # type: ignore[attr-defined]
        raise error
    return result, proved


class Saved:
    """All that a replay or a call changes, to be put back."""

    def __init__(self, program: Program) -> None:
        self._arrays = [(x, x.copy()) for x in program.state()]
        self._befores = [(what, what.save()) for _, what in program.befores]
        self._grads = [(tensor, tensor._grad) for tensor, *_ in program.grads.values()]

    def restore(self) -> None:
        for x, copy in self._arrays:
            if x.flags.writeable:
                x[...] = copy
        for what, state in self._befores:
            what.restore(state)
        for tensor, g in self._grads:
            tensor._grad = g


def _results(program: Program, outputs: Any) -> list[Any]:
    """Return what a call gives, outputs, state, gradients: of each array its digest."""
    grads = [tensor._grad for tensor, *_ in program.grads.values()]
    found = [*arrays_of(outputs), *program.lasting(), *(g for g in grads if g is not None)]
    return [digest(x) for x in found]


def _compare(
    program: Program, function: Callable[..., Any], arguments: Any
) -> tuple[Any, str | None]:
    """Return the call's result, and what of it a replay got wrong, if anything."""
    saved, failed, replayed = Saved(program), "", []
    drawn = None
    with proving(), (end := undone(saved.restore)), end:
        try:
            program.replay(arrays_of(arguments))
            replayed = _results(program, program.outputs)
        except Exception as error:  # and the call? If it fails too, that is no fault of the replay
            failed = f" ({type(error).__name__}: {error})"
        drawn = random.get_state()
    result = mapped(function(*arguments), _as_array)
    called = _results(program, result)
    _keep_gradients(program)
    result = with_arrays(result, np.copy)
    if failed:
        return result, f"anything{failed}"
    if len(called) != len(replayed):
        return result, "as many arrays"
    if called != replayed:
        return result, "its results"
    return result, None if drawn == random.get_state() else "the random numbers that it draws"


def _as_array(x: Any) -> Any:
    """Return a number of NumPy's as the array without axes that a recording makes of it."""
    return np.asarray(x) if isinstance(x, np.generic) else x


def _keep_gradients(program: Program) -> None:
    """Write the gradients that the call made where a replay writes them."""
    for tensor, _, _, became in program.grads.values():
        g = tensor._grad
        if g is not None and became is not None and g is not became and g.shape == became.shape:
            np.copyto(became, g)
            tensor._grad = became


def _try_altered(
    program: Program, function: Callable[..., Any], arguments: Any
) -> tuple[str | None, bool]:
    """What a replay gets wrong on altered floats, and whether that could be tried; then all is as
    it was."""
    other = with_arrays(arguments, altered)
    with proving(), (end := undone(Saved(program).restore)), end:
        for x in program.lasting():
            if x.dtype.kind == "f" and x.flags.writeable:
                x[...] = altered(x)
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return _compare(program, function, other)[1], True
        except Exception:  # the function doesn't take such numbers
            return None, False


def _failed(
    program: Program, function: Callable[..., Any], arguments: Any, wrong: str
) -> CaptureError:
    """Return the error, with the name of the first op whose output a replay doesn't reproduce."""
    name = None
    with proving(), (end := undone(Saved(program).restore)), end, contextlib.suppress(Exception):
        name = _first_wrong(program, function, arguments)
    who = f"first seen after {name}" if name else "in something that is no op of minidl"
    return CaptureError(
        f"md.compile: replayed on other numbers, it doesn't compute {wrong}, {who}: the call "
        "depends on values that were computed outside of minidl's ops, or on a state that changes"
    )


def _first_wrong(program: Program, function: Callable[..., Any], arguments: Any) -> str | None:
    called: list[tuple[str, np.ndarray]] = []

    def note(op: Any, inputs: Any, settings: Any, output: Any) -> None:
        called.append((op.name, (output[0] if isinstance(output, tuple) else output).copy()))

    with register_op_hook(note):
        function(*arguments)
    saved = iter(called)
    for mine, given in zip(program.arrays, arrays_of(arguments), strict=True):
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
