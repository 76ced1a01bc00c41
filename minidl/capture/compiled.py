"""A function whose calls are recorded once, for each kind of arguments, and then replayed."""

import contextlib
import functools
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minidl import random
from minidl.autograd.engine import mode, no_grad
from minidl.autograd.hooks import op_hooks
from minidl.capture.arguments import signature, with_arrays
from minidl.capture.folding import record_model
from minidl.capture.program import Program
from minidl.capture.proof import prove
from minidl.config import config
from minidl.errors import CaptureError, StateError
from minidl.nn import Module
from minidl.recording import here

__all__ = ["Compiled"]

MOST_BYTES = 256 * 1024 * 1024  # of a call that nobody asked to be captured
MOST_PROGRAMS = 16  # kept for as many kinds of calls; then the oldest goes


class Compiled:
    """`function`, captured: see `compile`.

    refuse: raise CaptureError where a call can't be captured; otherwise calls then stay eager, also
        where they need much memory and so gain little.
    """

    def __init__(self, function: Callable[..., Any], refuse: bool = True) -> None:
        functools.update_wrapper(self, function)
        self._function, self._refuses = function, refuse
        self._programs: dict[Any, list[Program]] = {}
        self._proved: set[int] = set()
        self.refused: str | None = None
        self._lock = threading.Lock()

    def __call__(self, *arguments: Any) -> Any:
        eager = config.kernels != "fast" or not config.capture or mode.detecting or op_hooks
        if eager or here.recorder is not None or (self.refused and not self._refuses):
            return self._function(*arguments)
        try:
            kind = signature(arguments)
        except CaptureError:
            if self._refuses:
                raise
            return self._function(*arguments)
        key = (kind, mode.recording, config.convolution, config.default_dtype.str)
        with self._lock:
            for program in self._programs.get(key, ()):
                if program.holds():
                    return self._again(program, key, arguments)
            return self._first(key, arguments)

    def _first(self, key: Any, arguments: Any) -> Any:
        try:
            program, result = self._recorded(arguments)
        except CaptureError as error:
            self.refused = str(error)
            if self._refuses:
                raise
            return self._function(*arguments)
        if not self._refuses and program.nbytes > MOST_BYTES:
            self.refused = f"its arrays take {program.nbytes} bytes, and Python none of the time"
            return _given(result)
        kept = self._programs.setdefault(key, [])
        kept.append(program)
        if sum(map(len, self._programs.values())) > MOST_PROGRAMS:
            oldest = next(iter(self._programs))
            self._programs[oldest].pop(0)
            if not self._programs[oldest]:
                del self._programs[oldest]
        return _given(result)

    def _recorded(self, arguments: Any) -> tuple[Program, Any]:
        program = Program(arguments)
        with _watched(program):
            return program, program.record(self._function)

    def _again(self, program: Program, key: Any, arguments: Any) -> Any:
        if id(program) in self._proved:
            program.replay(arguments)
            return _given(program.outputs)
        try:
            result, proved = prove(program, self._function, arguments)
        except CaptureError as error:
            self._programs[key].remove(program)
            self.refused = str(error)
            if self._refuses:
                raise
            return error.result  # type: ignore[attr-defined]
        if proved:
            self._proved.add(id(program))
        return result

    def __repr__(self) -> str:
        kinds = sum(map(len, self._programs.values()))
        return f"<compiled {self._function!r}, {kinds} kinds of calls recorded>"


class CompiledModel(Compiled):
    """A model in evaluation mode, captured for inference: see `compile`."""

    def __init__(self, model: Module) -> None:
        super().__init__(model)

    def __call__(self, *arguments: Any) -> Any:
        if self._function.training:  # type: ignore[attr-defined]
            raise StateError(
                "md.compile: the compiled model is in training mode: call eval() on it first; to "
                "train it, compile the function that makes a step"
            )
        with no_grad():
            return super().__call__(*arguments)

    def _recorded(self, arguments: Any) -> tuple[Program, Any]:
        program = record_model(self._function, arguments)  # type: ignore[arg-type]
        self._proved.add(id(program))
        return program, program.outputs


def _given(outputs: Any) -> Any:
    """The outputs in arrays of their own: a replay writes the program's anew."""
    return with_arrays(outputs, np.copy)


@contextlib.contextmanager
def _watched(program: Program) -> Iterator[None]:
    """Refuse what a replay would leave out, and can be seen: files, NumPy's random numbers."""
    drawn, legacy = random.get_state(), _numpy_state()
    if not _hooked:
        sys.addaudithook(_audit)
        _hooked.append(True)
    yield
    if not _same(_numpy_state(), legacy):
        raise CaptureError(
            "md.compile: the call draws from np.random, which a replay would leave out: draw "
            "outside, and pass the numbers as an argument"
        )
    if random.get_state() != drawn and not program.befores:
        raise CaptureError(
            "md.compile: the call draws from md's generator in a way that a replay would leave "
            "out: draw outside, and pass the numbers as an argument"
        )
    for x in _other(program.outputs):
        raise CaptureError(
            f"md.compile: the call returned a {type(x).__name__}, which a replay would return "
            "as it was: return tensors or arrays"
        )


def _numpy_state() -> Any:
    """Of the generator behind np.random.rand and its kin."""
    return np.random.get_state(legacy=False)  # noqa: NPY002


_hooked: list[bool] = []


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "open" or here.recorder is None:
        return
    path, how = arguments[:2]
    writes = isinstance(how, str) and any(letter in how for letter in "wax+")
    if writes and not str(path).endswith(".pyc"):
        raise CaptureError(
            f"md.compile: the call writes to the file {path!r}, which a replay would leave out: "
            "write outside, with what the call returns"
        )


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    return np.array_equal(a, b) if isinstance(a, np.ndarray) else bool(a == b)


def _other(tree: Any) -> Iterator[Any]:
    """Numbers in a result that are no arrays."""
    if isinstance(tree, dict):
        tree = tuple(tree.values())
    if isinstance(tree, tuple | list):
        for value in tree:
            yield from _other(value)
    elif isinstance(tree, int | float | complex | np.generic) and not isinstance(tree, bool):
        yield tree
