"""What a model computes from an input: the calls of ops that lead to its output.

The model runs twice, on batches of two sizes with other numbers. What is the same in both runs
holds for any input; a length that grows with the batch is a `Length` with one number for each run.
An array that is not made by an op must be the same in both: otherwise something was computed from
the input where no op sees it, and the graph would silently leave it out.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from minidl import random
from minidl.autograd import no_grad
from minidl.autograd.hooks import HookHandle, composite_hooks, op_hooks
from minidl.autograd.tensor import Tensor
from minidl.errors import StateError
from minidl.nn import Module
from minidl.nn.modes import shadow

__all__ = ["BATCHES", "Call", "Constant", "Length", "Trace", "Value", "is_batch", "trace"]

BATCHES = (2, 3)  # sizes that differ, and from 1, which would hide broadcasting
SHAPED = ("shape", "input_size")  # settings that the shapes of values tell as well


class Length(NamedTuple):
    """The length of an axis in each of the two runs."""

    first: int
    second: int


Shape = tuple[Length, ...]
Whole = Callable[[str, dict[str, Any]], bool]


def is_batch(length: Length) -> bool:
    """Return whether a length depends on the size of the batch."""
    return length.first != length.second


@dataclass(frozen=True)
class Value:
    """An array that the model computes, or an input, by its number."""

    number: int
    shape: Shape
    dtype: np.dtype[Any]

    @property
    def ndim(self) -> int:
        return len(self.shape)


@dataclass(frozen=True, eq=False)
class Constant:
    """An array that is the same for every input. name: in the model's state, or "".

    shared: it was as long as the batch, with equal rows, of which one is kept.
    """

    array: np.ndarray
    name: str = ""
    shared: bool = False

    @property
    def ndim(self) -> int:
        return self.array.ndim


@dataclass
class Call:
    """One call of an op. where: the module that made it.

    arguments: by name, with Values and Constants for arrays.  outputs: Values, or None.
    """

    op: str
    where: str
    arguments: dict[str, Any]
    outputs: list[Value | None]


@dataclass
class Trace:
    """All calls in order, with what the model takes and gives."""

    calls: list[Call]
    inputs: list[Value]
    outputs: list[Value | Constant]


@dataclass
class _Made:
    """In one run: the number of an array."""

    number: int
    array: np.ndarray


@dataclass
class _Run:
    """A listener to one run of the model."""

    whole: Whole
    names: dict[int, str]  # of the arrays of the model's state
    calls: list[Call] = field(default_factory=list)
    numbers: dict[int, int] = field(default_factory=dict)  # by id of the array
    alive: list[np.ndarray] = field(default_factory=list)  # as long as ids are compared
    stack: list[str] = field(default_factory=list)
    inside: int = 0  # composites that are taken as one

    def __post_init__(self) -> None:
        self.thread = threading.get_ident()

    def made(self, array: np.ndarray) -> _Made:
        self.numbers[id(array)] = len(self.alive)
        self.alive.append(array)
        return _Made(len(self.alive) - 1, array)

    def seen(self, x: Any) -> Any:
        """Return an argument, with its arrays as what is known of them."""
        if isinstance(x, Tensor):
            x = x._data
        if isinstance(x, tuple | list):
            return tuple(self.seen(each) for each in x)
        if not isinstance(x, np.ndarray):
            return x
        if id(x) in self.numbers:
            return _Made(self.numbers[id(x)], x)
        return Constant(x, self.names.get(id(x), ""))

    def add(self, op: Any, arguments: dict[str, Any], output: Any) -> None:
        outputs = output if isinstance(output, tuple | list) else (output,)
        known = {name: self.seen(value) for name, value in arguments.items()}
        made: list[Any] = []
        for y in outputs:
            array = y._data if isinstance(y, Tensor) else y
            made.append(None if array is None else self.made(array))
        where = self.stack[-1] if self.stack else ""
        self.calls.append(Call(op.__name__, where, known, made))

    def primitive(self, op: Any, arrays: Sequence[Any], settings: Any, output: Any) -> None:
        if self.inside or threading.get_ident() != self.thread:
            return
        named = {op.array_names[0]: tuple(arrays)} if op.variadic else None
        given = named or dict(zip(op.array_names, arrays, strict=True))
        self.add(op, {**given, **settings}, output)

    def composite(self, op: Any, inputs: Any, settings: Any) -> Callable[[Any], None]:
        if self.inside or threading.get_ident() != self.thread:
            return lambda output: None
        bound = op.__signature__.bind(*inputs, **settings)
        bound.apply_defaults()
        if not self.whole(op.__name__, bound.arguments):
            return lambda output: None
        self.inside += 1

        def end(output: Any) -> None:
            self.inside -= 1
            self.add(op, dict(bound.arguments), output)

        return end


def trace(model: Module, arrays: Sequence[Sequence[np.ndarray]], whole: Whole) -> Trace:
    """Run the model in evaluation mode on the arrays of each of two batches.

    whole: tells of a composite op, by its name and arguments, whether it is recorded as one call.
    Raises StateError where the two runs differ by more than the size of the batch.
    """
    first, second = (_run(model, batch, whole) for batch in arrays)
    if len(first.calls) != len(second.calls):
        raise StateError(
            "export_onnx: the model runs other ops for another batch: its control flow depends on "
            "its input, which a graph can't"
        )
    calls = [_merged_call(a, b) for a, b in zip(first.calls, second.calls, strict=True)]
    return Trace(calls[1:-1], calls[0].outputs, calls[-1].arguments["outputs"])  # type: ignore[arg-type]


def _run(model: Module, arrays: Sequence[np.ndarray], whole: Whole) -> _Run:
    twin = shadow(model, hooks=False).eval()
    state = [*twin.named_parameters(), *twin.named_buffers()]
    run = _Run(whole, {id(x.data): name for name, x in reversed(state)})
    run.calls.append(Call("inputs", "", {}, [run.made(x) for x in arrays]))  # type: ignore[misc]
    with contextlib.ExitStack() as ends:
        for name, module in twin.named_modules():
            for handle in _telling(name, module, run.stack):
                ends.enter_context(handle)
        ends.enter_context(HookHandle(op_hooks, run.primitive))
        ends.enter_context(HookHandle(composite_hooks, run.composite))
        ends.enter_context(random.restored())
        ends.enter_context(no_grad())
        found = [*_flat(twin(*arrays))]
    outputs = [run.seen(x) for x in found]
    run.calls.append(Call("outputs", "", {"outputs": tuple(outputs)}, []))
    return run


def _telling(name: str, module: Module, stack: list[str]) -> Iterator[HookHandle]:
    """Keep the names of the modules that are running, innermost last."""

    def leave(*call: Any) -> None:
        stack.pop()

    yield module.register_forward_pre_hook(lambda *call: stack.append(name))
    yield module.register_forward_hook(leave)


def _flat(output: Any) -> Iterator[Any]:
    if isinstance(output, dict):
        output = tuple(output.values())
    if isinstance(output, tuple | list):
        for each in output:
            yield from _flat(each)
    elif output is not None:
        yield output


def _merged_call(first: Call, second: Call) -> Call:
    where = f"export_onnx: {first.where or 'the model'}: {first.op}"
    if (first.op, first.where) != (second.op, second.where):
        raise StateError(f"{where}: for another batch, {second.where} ran {second.op} in its place")
    arguments = {
        name: _merged(value, second.arguments[name], f"{where}: {name}", name in SHAPED)
        for name, value in first.arguments.items()
    }
    outputs = [
        _merged(a, b, where, False) for a, b in zip(first.outputs, second.outputs, strict=True)
    ]
    return Call(first.op, first.where, arguments, outputs)


def _merged(a: Any, b: Any, where: str, is_shape: bool) -> Any:
    """Return what an argument is for any batch."""
    if isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b):
        return tuple(_merged(x, y, where, is_shape) for x, y in zip(a, b, strict=True))
    if isinstance(a, _Made) and isinstance(b, _Made) and a.number == b.number:
        shape = tuple(Length(*n) for n in zip(a.array.shape, b.array.shape, strict=True))
        return Value(a.number, shape, a.array.dtype)
    if isinstance(a, Constant) and isinstance(b, Constant):
        return _one_constant(a, b, where)
    if is_shape or (type(a) is type(b) and _same(a, b)):
        return a
    raise StateError(
        f"{where} depends on the size of the batch or on the input ({a!r:.60} and {b!r:.60}): an "
        "exported graph can't follow that"
    )


def _same(a: Any, b: Any) -> bool:
    return bool(a == b) or a is b


def _one_constant(a: Constant, b: Constant, where: str) -> Constant:
    """Return what two arrays, which no op made, are for any batch."""
    if a.name == b.name and np.array_equal(a.array, b.array, equal_nan=a.array.dtype.kind == "f"):
        return a
    if a.ndim == b.ndim:
        rows = tuple(
            slice(None) if m == n else slice(0, 1)
            for m, n in zip(a.array.shape, b.array.shape, strict=True)
        )
        one = a.array[rows]
        alike = all(np.array_equal(x, np.broadcast_to(one, x.shape)) for x in (a.array, b.array))
        if one.shape == b.array[rows].shape and a.array.shape != b.array.shape and alike:
            return Constant(one, a.name, shared=True)
    raise StateError(
        f"{where}: an array that depends on the input was computed without minidl's ops: use the "
        "ops, such as x.mean() instead of np.mean(x.data), so that the graph has them"
    )
