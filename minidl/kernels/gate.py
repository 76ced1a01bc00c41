"""Maps weighed by one number for each image and channel, with a sum and an activation in one pass.

Shapes and names as in the twin, `minidl.reference.gate`.
"""

import numpy as np

from minidl.kernels._jit import PART, kernel, sized
from minidl.kernels.copy import contiguous
from minidl.kernels.memory import empty
from minidl.kernels.microkernel import ACTIVATIONS
from minidl.kernels.reduce import sum_axis


@kernel
def _forward(part, x, gate, residual, activation, rows, y):
    """A part is some rows of an image. residual: empty if there is none."""
    _, pixels, channels = x.shape
    parts = (pixels + rows - 1) // rows
    image, first = part // parts, part % parts * rows
    factors, nothing, six = gate[image], x.dtype.type(0), x.dtype.type(6)
    for p in range(first, min(pixels, first + rows)):
        source, target = x[image, p], y[image, p]
        if residual.size > 0:
            more = residual[image, p]
            for c in range(channels):
                target[c] = source[c] * factors[c] + more[c]
        else:
            for c in range(channels):
                target[c] = source[c] * factors[c]
        if activation > 0:
            for c in range(channels):
                number = target[c]
                target[c] = nothing if number <= 0 else number  # a NaN stays
        if activation == 2:
            for c in range(channels):
                target[c] = six if target[c] > 6 else target[c]


@kernel
def _backward(part, dy, x, gate, y, activation, rows, dx, sums, passed):
    """sums[image, part of it]: of the gradient times x. passed: the gradient of what was added;
    empty where it is dy."""
    _, pixels, channels = x.shape
    parts = (pixels + rows - 1) // rows
    image, first = part // parts, part % parts * rows
    factors, total, nothing = gate[image], sums[image, part % parts], x.dtype.type(0)
    total[:] = nothing
    for p in range(first, min(pixels, first + rows)):
        g, source, target = dy[image, p], x[image, p], dx[image, p]
        if activation > 0:
            output, let_through = y[image, p], passed[image, p]
            for c in range(channels):
                flat = output[c] <= 0 or (activation == 2 and output[c] >= 6)  # not a NaN
                let_through[c] = nothing if flat else g[c]
            g = let_through
        for c in range(channels):
            target[c] = g[c] * factors[c]
            total[c] += g[c] * source[c]


def _rows(x: np.ndarray) -> tuple[int, int]:
    """Rows of a part, and parts of an image."""
    rows = max(1, PART // max(1, x.shape[2]))
    return rows, -(-x.shape[1] // rows)


def channel_gate(
    x: np.ndarray, gate: np.ndarray, residual: np.ndarray | None, activation: str | None
) -> np.ndarray:
    """activation(x * gate + residual)."""
    y = empty(x.shape, x.dtype)
    rows, parts = _rows(x)
    _forward(
        sized(len(x) * parts, x.size), contiguous(x), contiguous(gate),
        np.empty((0, 0, 0), x.dtype) if residual is None else contiguous(residual),
        ACTIVATIONS[activation], rows, y,
    )  # fmt: skip
    return y


def channel_gate_grad(
    dy: np.ndarray, x: np.ndarray, gate: np.ndarray, y: np.ndarray, activation: str | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the gradients of channel_gate for x, gate and residual."""
    dy, x = contiguous(dy), contiguous(x)
    rows, parts = _rows(x)
    dx, sums = empty(x.shape, x.dtype), empty((len(x), parts, x.shape[2]), x.dtype)
    passed = dy if activation is None else empty(x.shape, x.dtype)
    _backward(
        sized(len(x) * parts, x.size), dy, x, contiguous(gate), contiguous(y),
        ACTIVATIONS[activation], rows, dx, sums, passed,
    )  # fmt: skip
    return dx, sum_axis(sums, 1.0), passed
