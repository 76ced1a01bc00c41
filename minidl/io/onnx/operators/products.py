"""Matrix products."""

import math
from typing import Any

import numpy as np

from minidl import ops
from minidl.io.onnx.table import Call, operator, required
from minidl.io.onnx.values import Value, aligned, is_float


@operator("MatMul")
def matmul(call: Call, x: Value, y: Value) -> Value:
    a, b = x.plain(), y.plain()
    if not is_float(x):
        return Value(np.matmul(a, b))
    return Value(ops.matmul(a, b))


@operator("Gemm", alpha=1.0, beta=1.0, transA=0, transB=0)
def gemm(
    call: Call, x: Value, y: Value, z: Any = None,
    *, alpha: float, beta: float, transA: int, transB: int,  # noqa: N803 (ONNX's names)
) -> Value:  # fmt: skip
    if x.ndim != 2 or y.ndim != 2 or not is_float(x):
        call.refuse(f"it expects float matrices, got shapes {x.shape} and {y.shape}")
    a, b = x.plain(), y.plain()
    a = ops.transpose(a, axes=(1, 0)) if transA else a
    b = ops.transpose(b, axes=(1, 0)) if transB else b
    product = ops.matmul(a, b)
    product = product if alpha == 1 else product * alpha
    if z is None:
        return Value(product)
    (p, c), order = aligned((Value(product), z))
    return Value(ops.add(p, c if beta == 1 else c * beta), order)


@operator("Einsum", equation=required("string"))
def einsum(call: Call, *values: Value, equation: str) -> Value:
    arrays = [value.plain() for value in values]
    spelt = equation.replace(" ", "")
    if not is_float(values[0]):
        return Value(np.einsum(spelt, *arrays))
    if "->" not in spelt:
        letters = spelt.replace(",", "").replace(".", "")
        dots = "..." if "..." in spelt else ""
        alone = sorted(letter for letter in set(letters) if letters.count(letter) == 1)
        spelt = f"{spelt}->{dots}{''.join(alone)}"
    return Value(ops.einsum(spelt, *arrays))


@operator("Det")
def det(call: Call, x: Value) -> Value:
    """Return determinants, without a gradient."""
    return Value(np.linalg.det(x.numbers()).astype(x.dtype))


def linear_rows(weight: np.ndarray, channels: int) -> np.ndarray:
    """Return the rows of a weight for features flattened as (H, W, C), not as (C, H, W)."""
    rows, outputs = weight.shape
    spread = weight.reshape(channels, rows // channels, outputs)  # (C, H * W, out)
    return spread.transpose(1, 0, 2).reshape(math.prod(spread.shape[:2]), outputs)
