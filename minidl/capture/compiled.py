"""A function whose calls are recorded once, for each kind of arguments, and then replayed."""

import contextlib
import functools
import inspect
import os
import random as python_random
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

import numpy as np

from minidl import random
from minidl.autograd import Tensor
from minidl.autograd.hooks import op_hooks
from minidl.autograd.modes import mode, no_grad
from minidl.capture.arguments import signature, with_arrays
from minidl.capture.folding import record_model
from minidl.capture.program import Program
from minidl.capture.proof import prove
from minidl.capture.turns import alone, begin_anew, together
from minidl.config import config
from minidl.errors import ArgumentError, CaptureError, StateError
from minidl.nn import Module
from minidl.recording import here

__all__ = ["Compiled"]

MOST_PROGRAMS = 16  # kept for as many kinds of calls; then the oldest goes


class _Inside(threading.local):
    busy = False


_inside = _Inside()  # whether this thread is in a captured call: those that it makes stay eager
_all: weakref.WeakSet[Any] = weakref.WeakSet()


def _after_fork() -> None:
    """Others that were in a call aren't there in a forked child."""
    begin_anew()
    for compiled in _all:
        compiled._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class Compiled:
    """`function`, captured: see `compile`.

    refuse: raise CaptureError where a call can't be captured; otherwise calls then stay eager, also
        where they need much memory and so gain little.
    """

    def __init__(self, function: Callable[..., Any], refuse: bool = True) -> None:
        functools.update_wrapper(self, function, updated=())
        self._function, self._refuses = function, refuse
        self._programs: dict[Any, list[Program]] = {}
        self._unsettled: str | None = None
        self.refused: str | None = None
        self._lock = threading.Lock()
        _all.add(self)

    def __reduce__(self) -> Any:
        """A copy, or what was pickled, records anew; a decorated function is known by its name."""
        name = getattr(self._function, "__qualname__", "")
        if getattr(sys.modules.get(self.__module__), name, None) is self:
            return name
        return Compiled, (self._function, self._refuses)

    def __get__(self, owner: Any, kind: Any = None) -> Any:
        return self if owner is None else types.MethodType(self, owner)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        if named:
            arguments = self._by_place(arguments, named)
        eager = config.kernels != "fast" or not config.capture or mode.detecting or op_hooks
        if eager or _inside.busy or (self.refused and not self._refuses):
            return self._function(*arguments)
        _inside.busy = True
        try:
            return self._captured(arguments)
        finally:
            _inside.busy = False

    def _by_place(self, arguments: Any, named: dict[str, Any]) -> tuple[Any, ...]:
        bound = inspect.signature(self._function).bind(*arguments, **named)
        bound.apply_defaults()
        if bound.kwargs:
            raise ArgumentError(
                f"md.compile: {self._function!r} takes {', '.join(bound.kwargs)} by name alone: "
                "let it take them by place too"
            )
        return bound.args

    def _captured(self, arguments: Any) -> Any:
        arrays: list[np.ndarray] = []
        try:
            kind = signature(arguments, arrays, mode.recording)
        except CaptureError:
            if self._refuses:
                raise
            return self._function(*arguments)
        key = (kind, mode.recording, config.convolution, config.default_dtype, config.fuse)
        with self._lock:
            program = self._found(key)
            if program is None:
                return alone(functools.partial(self._first, key, arguments))
            if not program.proved:
                return alone(functools.partial(self._again, program, key, arguments))
            with together():
                # what it runs in Python is of the same event
                profiler, here.profiler = here.profiler, None
                start = 0.0 if profiler is None else perf_counter()
                try:
                    program.replay(arrays)
                finally:
                    here.profiler = profiler
                if profiler is not None:
                    profiler.did("replay", _name(self._function), start)
                return _given(program.outputs)

    def _found(self, key: Any) -> Program | None:
        """Return the recording of such a call, if there is one that still holds."""
        for program in self._programs.get(key, ()):
            if program.holds():
                return program
        return None

    def _first(self, key: Any, arguments: Any) -> Any:
        try:
            program, result = self._recorded(arguments)
            _check_settled(program, self._unsettled)
        except CaptureError as error:
            self.refused = str(error)
            if self._refuses:
                raise
            return self._function(*arguments)
        if program.why_not is not None:
            self.refused = program.why_not
            return _given(result)
        self._unsettled = program.unsettled
        if program.unsettled:  # something that is made in the first call, perhaps
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
        program = Program(arguments, self._refuses)
        with _watched(program):
            return program, program.record(self._function)

    def _again(self, program: Program, key: Any, arguments: Any) -> Any:
        try:
            result, program.proved = prove(program, self._function, arguments)
        except CaptureError as error:
            self._programs[key].remove(program)
            self.refused = str(error)
            if self._refuses:
                raise
            return error.result  # type: ignore[attr-defined]
        return result

    def __repr__(self) -> str:
        kinds = sum(map(len, self._programs.values()))
        return f"<compiled {self._function!r}, {kinds} kinds of calls recorded>"


class CompiledModel(Compiled):
    """A model in evaluation mode, captured for inference: see `compile`."""

    def __init__(self, model: Module) -> None:
        super().__init__(model)

    def __reduce__(self) -> Any:
        return CompiledModel, (self._function,)

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
        return program, program.outputs


def _name(function: Any) -> str:
    """Return what a function, or a model, is called."""
    return str(getattr(function, "__name__", type(function).__name__))


def _given(outputs: Any) -> Any:
    """Return the outputs in arrays of their own: a replay writes the program's anew."""
    return with_arrays(outputs, _copy)


def _copy(x: np.ndarray) -> np.ndarray:
    return x.copy("K")  # np.copy takes three times as long


@contextlib.contextmanager
def _watched(program: Program) -> Iterator[None]:
    """Refuse what a replay would leave out, and can be seen: files, NumPy's random numbers."""
    drawn, legacy, of_python = random.get_state(), _numpy_state(), python_random.getstate()
    if not _hooked:
        sys.addaudithook(_audit)
        _hooked.append(True)
    yield
    ending = "which a replay would leave out: draw outside, and pass the numbers as an argument"
    if not _same(_numpy_state(), legacy):
        program.refused(f"md.compile: the call draws from np.random, {ending}")
    if python_random.getstate() != of_python:
        program.refused(f"md.compile: the call draws from Python's random, {ending}")
    if random.get_state() != drawn and not program.befores:
        program.refused(f"md.compile: the call draws from md's generator, {ending}")
    for x in _other(program.outputs):
        program.refused(
            f"md.compile: the call returned a {type(x).__name__}, which a replay would return "
            "as it was: return tensors or arrays"
        )


def _check_settled(program: Program, before: str | None) -> None:
    """A call may change something once, and keep it; not again and again."""
    if program.unsettled and before:
        program.refused(
            f"md.compile: the call changes {program.unsettled}, which a replay would leave out: do "
            "it outside, with arguments or with what the call returns"
        )


def _numpy_state() -> Any:
    """Of the generator that np.random.rand and the like use."""
    return np.random.get_state(legacy=False)  # noqa: NPY002


_hooked: list[bool] = []


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "open" or here.recorder is None:
        return
    path, how = arguments[:2]
    writes = isinstance(how, str) and any(letter in how for letter in "wax+")
    if writes and not str(path).endswith(".pyc"):
        here.recorder.refused(
            f"md.compile: the call writes to the file {path!r}, which a replay would leave out: "
            "write outside, with what the call returns"
        )


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    return np.array_equal(a, b) if isinstance(a, np.ndarray) else bool(a == b)


def _other(tree: Any) -> Iterator[Any]:
    """Yield what in a result is no array, nor says the same in each call."""
    if isinstance(tree, dict):
        tree = tuple(tree.values())
    if isinstance(tree, tuple | list):
        for value in tree:
            yield from _other(value)
    elif not isinstance(tree, Tensor | np.ndarray | bool | str | None):
        yield tree
