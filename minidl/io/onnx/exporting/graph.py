"""An ONNX graph as it grows, and the order of axes that each of its values is held in.

minidl's images are (N, H, W, C), ONNX's (N, C, H, W). A transposition is added where an op needs
another order than the value has, and nowhere else: ops that work in any order, such as ReLU or a
sum of branches, take their inputs as they are.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.errors import StateError
from minidl.io.onnx.exporting.tracing import Call, Constant, Length, Shape, Value, is_batch

__all__ = ["OPSET", "Graph", "Order", "lengths", "library", "moved", "output", "plain", "planes"]

Order = tuple[int, ...]
"""Which of minidl's axes stands at each place: (0, 3, 1, 2) holds (N, H, W, C) as (N, C, H, W)."""

OPSET = 17


def library() -> Any:
    """Return the package onnx, or raise ImportError that says which extra has it."""
    try:
        import onnx
    except ImportError as error:
        raise ImportError(
            "ONNX files need the package onnx: pip install 'minidl[interop]'"
        ) from error
    return onnx


def plain(ndim: int) -> Order:
    """Return minidl's own order."""
    return tuple(range(ndim))


def planes(ndim: int) -> Order:
    """Return ONNX's order of images: the channels after the batch."""
    return (0, ndim - 1, *range(1, ndim - 1))


def moved(order: Order, axis: int) -> int:
    """Return at which place a value held in `order` has minidl's axis `axis`."""
    return order.index(axis % len(order))


class Graph:
    """Nodes and initialisers of a graph.

    axes: for each of the model's arrays in it, the order that its axes were given.
    """

    def __init__(self) -> None:
        self.onnx = library()
        self.nodes: list[Any] = []
        self.initialisers: dict[str, np.ndarray] = {}
        self.axes: dict[str, Order] = {}
        self._names: dict[tuple[int, Order], str] = {}  # of a value held in an order
        self._orders: dict[int, Order] = {}  # that each value was given in
        self._constants: dict[tuple[int, tuple[int, ...], Any, str], str] = {}
        self._alive: list[np.ndarray] = []  # as long as ids are compared
        self._taken: set[str] = set()
        self.where = ""

    def free_name(self, wanted: str) -> str:
        """Return a name that nothing has yet."""
        name, count = wanted, 1
        while name in self._taken:
            name, count = f"{wanted}_{count}", count + 1
        self._taken.add(name)
        return name

    def node(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """Add a node and return the name of its output, or names if it has several."""
        wanted = f"{self.where}.{kind}".lstrip(".")
        names = [self.free_name(wanted) for _ in range(outputs)]
        made = self.onnx.helper.make_node(kind, inputs, names, name=names[0], **attributes)
        self.nodes.append(made)
        return names[0] if outputs == 1 else names

    # Values

    def give(self, value: Value, name: str, order: Order) -> None:
        """A value of the model is what has this name, held in an order."""
        self._names[value.number, order] = name
        self._orders[value.number] = order

    def order(self, value: Value) -> Order:
        """Return the order that a value is held in."""
        return self._orders[value.number]

    def held(self, x: Value | Constant, order: Order) -> str:
        """Return the name of an array held in an order, transposed if need be."""
        if isinstance(x, Constant):
            self.check_whole(x)
            return self.constant(x, order=order)
        key = (x.number, order)
        if key not in self._names:
            own = self.order(x)
            perm = [own.index(axis) for axis in order]
            self._names[key] = self.node("Transpose", self._names[x.number, own], perm=perm)
        return self._names[key]

    def plain(self, x: Value | Constant) -> str:
        """Return the name of an array with its axes in minidl's order."""
        return self.held(x, plain(x.ndim))

    def planes(self, x: Value | Constant) -> str:
        """Return the name of images with their channels first."""
        return self.held(x, planes(x.ndim))

    def alike(self, arrays: Sequence[Any], ndim: int) -> tuple[list[str], Order]:
        """Return names of arrays that broadcast, all held in one order, and that order."""
        values = [x for x in arrays if isinstance(x, Value)]
        order = plain(ndim)
        if all(x.ndim == ndim for x in values) and values:
            order = self.order(max(values, key=lambda x: np.prod([n.first for n in x.shape])))
        dtype = values[0].dtype if values else None
        names = [
            self.held(x, order[:] if x.ndim == ndim else plain(x.ndim))
            if isinstance(x, Value)
            else self.broadcast(x, order, dtype)
            for x in arrays
        ]
        return names, order

    # Constants

    def broadcast(self, x: Any, order: Order, dtype: Any = None) -> str:
        """Return the name of a constant as it broadcasts to values held in an order."""
        x = x if isinstance(x, Constant) else Constant(np.asarray(x))
        if dtype is not None and x.array.dtype.kind == "f" and np.dtype(dtype).kind == "f":
            x = x if x.array.dtype == dtype else Constant(x.array.astype(dtype), x.name)
        if order == plain(len(order)) or x.array.size == 1:
            return self.constant(x)
        full = (1,) * (len(order) - x.ndim) + x.array.shape
        turned = tuple(full[axis] for axis in order)
        first = next((i for i, n in enumerate(turned) if n != 1), len(turned))
        if x.ndim <= 1:
            return self.constant(x, shape=turned[first:])
        name = self.constant(Constant(x.array.reshape(full), x.name), order, turned[first:])
        if name == x.name:  # axes of length 1 were put before its own
            new = len(order) - x.ndim
            self.axes[name] = tuple(axis - new for axis in order if axis >= new)
        return name

    def constant(
        self, x: Constant, order: Order | None = None, shape: tuple[int, ...] | None = None
    ) -> str:
        """Return the name of a constant with its axes in an order, and then in a shape."""
        order = plain(x.ndim) if order is None else order
        array = x.array.transpose(order)
        array = array if shape is None else array.reshape(shape)
        key = (id(x.array), order, array.shape, x.name)
        if key not in self._constants:
            name = self.free_name(x.name or f"{self.where}.constant".lstrip("."))
            self._constants[key] = name
            self._alive.append(x.array)
            self.initialisers[name] = np.ascontiguousarray(array).reshape(array.shape)
            if name == x.name:
                self.axes[name] = order
        return self._constants[key]

    def numbers(self, *numbers: int) -> str:
        """Return the name of a list of whole numbers, such as a shape."""
        return self.constant(Constant(np.array(numbers, np.int64)))

    def number(self, number: float, like: Value) -> str:
        """Return the name of one number of the dtype of a value."""
        return self.constant(Constant(np.asarray(number, like.dtype)))

    def check_whole(self, x: Constant) -> None:
        """Raise StateError for a constant of which only one row stands for a whole batch."""
        if x.shared:
            raise StateError(
                f"export_onnx: {self.where or 'the model'} uses an array of a row for each image "
                "in a way that a graph for any batch can't: broadcast one row"
            )

    def reshaped(self, name: str, before: Shape, after: Shape) -> str:
        """Return a value in another shape; both are as the values are held.

        One length may depend on the batch, and any that stays at its place.
        """
        kept = [i < len(before) and before[i] == n and is_batch(n) for i, n in enumerate(after)]
        free = [i for i, n in enumerate(after) if is_batch(n) and not kept[i]]
        if len(free) > 1:
            raise StateError(
                f"export_onnx: {self.where or 'the model'}: the shape of a reshape depends on the "
                "batch along several axes, which ONNX can't say"
            )
        if len(after) == 2 and kept[0] and len(before) > 1 and not free:
            return str(self.node("Flatten", name, axis=1))
        shape = [
            0 if k else -1 if is_batch(n) else n.first for k, n in zip(kept, after, strict=True)
        ]
        return str(self.node("Reshape", name, self.numbers(*shape)))


def lengths(x: Value | Constant) -> Shape:
    """Return the shape of an array in both runs."""
    if isinstance(x, Value):
        return x.shape
    return tuple(Length(n, n) for n in x.array.shape)


def output(call: Call) -> Value:
    """Return the one output of a call."""
    value = call.outputs[0]
    assert value is not None
    return value
