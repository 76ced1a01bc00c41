"""The module that runs an imported graph."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from minidl import ops
from minidl.autograd import Tensor
from minidl.errors import FileFormatError, MinidlError, ShapeError
from minidl.io.onnx.table import Call
from minidl.io.onnx.values import LAST, Value
from minidl.nn import Module
from minidl.nn.containers import pooled_convolution

__all__ = ["GraphModule", "Port", "Step"]


class Port(NamedTuple):
    """An input or output of a graph.

    shape: as minidl has it, None for an axis that may have any length, or None altogether.
    channels_last: whether it is of images, (N, H, W, C), which the file has as (N, C, H, W).
    """

    name: str
    shape: tuple[int | None, ...] | None
    channels_last: bool


@dataclass
class Step:
    """A call within a graph.

    run: from the Call, Values and attributes to a Value or several; for a layer, from the module
    and Values.  layer: the layer's dotted name in the module, or None.  finished: names of values
    that nothing needs after it.
    """

    call: Call
    run: Callable[..., Any]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    layer: str | None = None
    finished: tuple[str, ...] = ()


class GraphModule(Module):
    """A graph of operators that was read from a file.

    Images come and go as (N, H, W, C); `inputs` and `outputs` tell of each which those are. Its
    layers are modules with parameters of their own; other weights are parameters, and other
    constants buffers, of the module itself.
    """

    def __init__(self, inputs: Sequence[Port], outputs: Sequence[Port]) -> None:
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.steps: tuple[Step, ...] = ()
        self.held: Mapping[str, Any] = {}  # by value's name: an ndarray, or an attribute's name
        self.batch: int | None = None  # images at a time, where the file takes no other number
        self.in_parts = False  # whether more of them are run in parts of `batch`

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        """The shape of one example, such as (H, W, C), if the file tells all of it."""
        shape = self.inputs[0].shape if len(self.inputs) == 1 else None
        if shape is None or None in shape[1:]:
            return None
        return shape[1:]  # type: ignore[return-value]

    @property
    def last_layer(self) -> Module | None:
        """The layer with weights that runs last, wherever its name puts it among the others."""
        layers = [self._layer(step) for step in self.steps if step.layer is not None]
        weighted = [layer for layer in layers if next(layer.parameters(), None) is not None]
        return weighted[-1] if weighted else None

    def forward(self, *inputs: Any) -> Any:
        if len(inputs) != len(self.inputs):
            names = ", ".join(port.name for port in self.inputs)
            raise ShapeError(f"this graph takes {len(self.inputs)} inputs, {names}, "
                             f"got {len(inputs)}")  # fmt: skip
        given = [_given(port, x) for port, x in zip(self.inputs, inputs, strict=True)]
        if self.batch is not None and any(x.shape[:1] != (self.batch,) for x in given):
            return self._in_parts(given)
        found = self._run(given)
        return found[0] if len(found) == 1 else tuple(found)

    def _run(self, given: Sequence[Value]) -> list[Any]:
        values = {
            name: Value(getattr(self, held) if isinstance(held, str) else held)
            for name, held in self.held.items()
        }
        values |= {port.name: value for port, value in zip(self.inputs, given, strict=True)}
        values[""] = None  # type: ignore[assignment]  # an input that is left out
        i = 0
        while i < len(self.steps):
            i += self._step(i, values)
        return [_taken(port, values[port.name]) for port in self.outputs]

    def _step(self, i: int, values: dict[str, Any]) -> int:
        """Run step i, with the pooling after it where both are one op; return how many ran."""
        step = self.steps[i]
        pool = self._pool_after(i)
        arguments = [values[name] for name in step.inputs]
        try:
            if pool is not None:
                conv = self._layer(step)
                result: Any = Value(conv.with_max_pool(arguments[0].stored_as(LAST)), LAST)
            elif step.layer is not None:
                result = step.run(self._layer(step), *arguments, **step.attributes)
            else:
                result = step.run(step.call, *arguments, **step.attributes)
        except FileFormatError:
            raise
        except MinidlError as error:
            named = f"ONNX operator {step.call.op}, {step.call.where}"
            raise type(error)(f"{named}: {error}") from error
        except (ValueError, TypeError, IndexError) as error:  # of NumPy
            named = f"ONNX operator {step.call.op}, {step.call.where}"
            raise ShapeError(f"{named}: {error}") from error
        results = [result] if isinstance(result, Value) else result
        last = step if pool is None else pool
        for name, value in zip(last.outputs, results, strict=False):
            values[name] = value
        for name in step.finished + (last.finished if pool is not None else ()):
            values.pop(name, None)
        return 1 if pool is None else 2

    def _layer(self, step: Step) -> Any:
        assert step.layer is not None
        return reduce(getattr, step.layer.split("."), self)

    def _pool_after(self, i: int) -> Step | None:
        """Return the next step, if it pools what a convolution with ReLU gives by 2x2."""
        step, after = self.steps[i], self.steps[i + 1] if i + 1 < len(self.steps) else None
        if after is None or after.layer is None or step.layer is None:
            return None
        if after.inputs != step.outputs or step.outputs[0] not in after.finished:
            return None
        if after.call.op != "MaxPool" or step.call.op != "Conv":
            return None
        pair = [self._layer(step), self._layer(after)]
        has_relu = getattr(pair[0], "activation", None) == "relu"
        return after if has_relu and pooled_convolution(pair, 0) else None

    def _in_parts(self, given: Sequence[Value]) -> Any:
        """Run a file that is made for `batch` images at a time on more of them."""
        count, batch = len(given[0].data), self.batch
        if not self.in_parts:
            raise ShapeError(
                f"the file is made for {batch} rows along the first axis, got {count}, and nothing "
                "in it proves that it may take others: export it with a dynamic batch"
            )
        assert batch
        if any(len(x.data) != count for x in given) or not count or count % batch:
            raise ShapeError(
                f"the file is made for {batch} images at a time, got {count}: give a multiple"
            )
        parts = [
            self._run([Value(x.data[at : at + batch], x.order) for x in given])
            for at in range(0, count, batch)
        ]
        whole = [ops.concatenate(*each, axis=0) for each in zip(*parts, strict=True)]
        return whole[0] if len(whole) == 1 else tuple(whole)


def _given(port: Port, x: Any) -> Value:
    """Return an input as a Value, checked against what the file says of it."""
    shape = port.shape
    if shape is not None and (
        x.ndim != len(shape)
        or any(n not in (None, m) for n, m in zip(shape[1:], x.shape[1:], strict=True))
    ):
        told = ", ".join("any" if n is None else str(n) for n in shape)
        raise ShapeError(f"input {port.name} expected shape ({told}), got {x.shape}")
    return Value(x, LAST if port.channels_last and x.ndim == 4 else None)


def _taken(port: Port, value: Value) -> Any:
    """Return an output as it is handed out."""
    data = value.stored_as(LAST) if port.channels_last and value.ndim == 4 else value.plain()
    return data if isinstance(data, Tensor) else Tensor(np.asarray(data))
