"""Operators of several arrays, with broadcasting: arithmetic."""

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from minidl import ops
from minidl.autograd import Tensor
from minidl.io.onnx.operators.reduce import axis_of
from minidl.io.onnx.table import Attribute, Call, operator
from minidl.io.onnx.values import Value, aligned, is_float

Pair = tuple[Callable[[Any, Any], Any], Callable[[Any, Any], Any]]


def _whole_quotient(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return x / y, rounded towards zero."""
    quotient = np.abs(x) // np.maximum(np.abs(y), 1)
    return (quotient * np.sign(x) * np.sign(y)).astype(x.dtype) if x.dtype.kind == "i" else x // y


# For floats, and for other numbers
TWO: dict[str, Pair] = {
    "Add": (ops.add, np.add),
    "Sub": (ops.subtract, np.subtract),
    "Mul": (ops.multiply, np.multiply),
    "Div": (ops.divide, _whole_quotient),
}
SEVERAL: dict[str, Pair] = {
    "Max": (ops.maximum, np.maximum),
    "Min": (ops.minimum, np.minimum),
    "Sum": (ops.add, np.add),
    "Mean": (ops.add, np.add),
}


def combined(pair: Pair, x: Any, y: Any) -> Any:
    """Return floats by an op, other numbers by NumPy."""
    return pair[0](x, y) if is_float(x) else pair[1](np.asarray(x), np.asarray(y))


@operator(*TWO, axis=Attribute("int", None))
def two(call: Call, x: Value, y: Value, *, axis: Any = None) -> Value:
    if axis is not None:
        y = _before_opset_7(call, x, y, axis)
    (a, b), order = aligned((x, y))
    return Value(combined(TWO[call.op], a, b), order)


def _before_opset_7(call: Call, x: Value, y: Value, axis: int) -> Value:
    """Return y with axes of length 1, so that its first one is at the axis `axis` of x."""
    behind = x.ndim - axis_of(call, axis, x.ndim) - y.ndim
    if call.opset >= 7 or behind < 0:
        call.refuse(f"its attribute axis is {axis}, in opset {call.opset}, for {y.ndim} axes")
    return Value(ops.reshape(y.plain(), shape=(*y.shape, *(1,) * behind)))


@operator(*SEVERAL)
def several(call: Call, *values: Value) -> Value:
    arrays, order = aligned(values)
    whole = reduce(lambda x, y: combined(SEVERAL[call.op], x, y), arrays)
    if call.op == "Mean":
        whole = whole * (1.0 / len(arrays)) if len(arrays) > 1 else whole
    return Value(whole, order)


@operator("Pow")
def power(call: Call, x: Value, y: Value) -> Value:
    exponent = y.numbers()
    if is_float(x) and exponent.size == 1 and not isinstance(y.data, Tensor):
        number = float(exponent.reshape(-1)[0])
        if y.ndim <= x.ndim:
            return Value(ops.power(x.data, number), x.order)
    (a, b), order = aligned((x, y))
    if is_float(x):
        return Value(ops.power(a, b if is_float(b) else np.asarray(b, x.dtype)), order)
    b = b.data if isinstance(b, Tensor) else b
    return Value(np.power(a.astype(float) if is_float(b) else a, b).astype(x.dtype), order)


@operator("Mod", fmod=0)
def mod(call: Call, x: Value, y: Value, *, fmod: int) -> Value:
    (a, b), order = aligned((Value(x.numbers()), Value(y.numbers())))
    return Value(np.fmod(a, b) if fmod else np.mod(a, b), order)


@operator("PRelu")
def prelu(call: Call, x: Value, slope: Value) -> Value:
    if slope.ndim < x.ndim and slope.ndim == 1 and x.ndim > 1 and slope.shape[0] != x.shape[-1]:
        slope = Value(ops.reshape(slope.data, shape=(-1, *(1,) * (x.ndim - 2))))
    (a, b), order = aligned((x, slope))
    return Value(ops.relu(a) - b * ops.relu(-a), order)
