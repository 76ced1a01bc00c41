"""Comparisons, logic and bits. What they give has no gradient."""

from typing import Any

import numpy as np

from minidl import ops
from minidl.autograd import Tensor
from minidl.io.onnx.table import Call, operator, required
from minidl.io.onnx.values import Value, aligned

TWO = {
    "Equal": np.equal, "Greater": np.greater, "Less": np.less,
    "GreaterOrEqual": np.greater_equal, "LessOrEqual": np.less_equal,
    "And": np.logical_and, "Or": np.logical_or, "Xor": np.logical_xor,
    "BitwiseAnd": np.bitwise_and, "BitwiseOr": np.bitwise_or, "BitwiseXor": np.bitwise_xor,
}  # fmt: skip
COMPARED = {
    "Equal": ops.equal, "Greater": ops.greater, "Less": ops.less,
    "GreaterOrEqual": ops.greater_equal, "LessOrEqual": ops.less_equal,
}  # fmt: skip
ONE = {"Not": np.logical_not, "BitwiseNot": np.bitwise_not}


def _array(x: Any) -> np.ndarray:
    return x.data if isinstance(x, Tensor) else np.asarray(x)


@operator(*TWO)
def two(call: Call, x: Value, y: Value) -> Value:
    (a, b), order = aligned((x, y))
    if call.op in COMPARED and a.dtype.kind == "f":
        return Value(COMPARED[call.op](a, b), order)
    return Value(TWO[call.op](_array(a), _array(b)), order)


@operator(*ONE)
def one(call: Call, x: Value) -> Value:
    return Value(ONE[call.op](x.data), x.order)


@operator("BitShift", direction=required("string", "LEFT", "RIGHT"))
def bit_shift(call: Call, x: Value, y: Value, *, direction: str) -> Value:
    (a, b), order = aligned((x, y))
    return Value((np.left_shift if direction == "LEFT" else np.right_shift)(a, b), order)


@operator("Where")
def where(call: Call, condition: Value, x: Value, y: Value) -> Value:
    (c, a, b), order = aligned((condition, x, y))
    if a.dtype.kind == "f":
        return Value(ops.where(_array(c), a, b), order)
    return Value(np.where(_array(c), a, b), order)
