"""Matrix products."""

import math
from typing import Any

import numpy as np

from minidl import kernels
from minidl.autograd.op import check_arrays, composite
from minidl.autograd.primitive import primitive
from minidl.autograd.samples import Draw, ErrorInput, sample
from minidl.errors import DTypeError, ShapeError
from minidl.ops.activation import (
    FUSED,
    activate,
    activation_gradient,
    check_activation,
    torch_activate,
)
from minidl.ops.elementwise import add
from minidl.ops.reduce import broadcast_to, sum
from minidl.ops.shape import reshape

__all__ = ["matmul", "linear"]


def _swap(x: Any) -> Any:
    """Return x with its last two axes exchanged."""
    return x.transpose((*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


@primitive(
    flops=lambda output, x, y: 2 * output.size * x.shape[-1],
    oracle=lambda torch, x, y: torch.matmul(x, y),
    family="linear",
    name="matmul",
)
def matmul_forward(x, y):
    """Return x @ y of stacks of matrices.  x: (..., n, k), y: (..., k, m) -> (..., n, m)."""
    multiply = kernels.use("gemm").matmul
    if x.ndim == y.ndim == 2:
        return multiply(x, y)
    stacks = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    x = np.broadcast_to(x, (*stacks, *x.shape[-2:]))
    y = np.broadcast_to(y, (*stacks, *y.shape[-2:]))
    output = np.empty((*stacks, x.shape[-2], y.shape[-1]), x.dtype)
    for index in np.ndindex(*stacks):
        output[index] = multiply(x[index], y[index])
    return output


matmul_forward.vjp("x")(lambda g, y: matmul_forward(g, _swap(y)))
matmul_forward.vjp("y")(lambda g, x: matmul_forward(_swap(x), g))


@composite(oracle=lambda torch, x, y: torch.matmul(x, y))
def matmul(x, y):
    """Return x @ y with NumPy's rules: a vector is a row on the left and a column on the right.

    x: (..., n, k) or (k,), y: (..., k, m) or (k,); the stacks (...) broadcast.
    Raises ShapeError where the inner lengths differ or the stacks don't broadcast, DTypeError for
    other than two arrays of one float dtype.
    """
    for name, array in (("x", x), ("y", y)):
        if not hasattr(array, "shape"):
            raise DTypeError(f"matmul expected a Tensor or ndarray as {name}, got {array!r:.50}")
        if array.ndim == 0:
            raise ShapeError(f"matmul expected {name} with axes, got a number: use * instead")
    rows = reshape(x, shape=(1, *x.shape)) if x.ndim == 1 else x
    columns = reshape(y, shape=(*y.shape, 1)) if y.ndim == 1 else y
    if rows.shape[-1] != columns.shape[-2]:
        raise ShapeError(
            f"matmul: the last axis of {x.shape} must be as long as the "
            f"{'only' if y.ndim == 1 else 'second last'} axis of {y.shape}"
        )
    try:
        np.broadcast_shapes(rows.shape[:-2], columns.shape[:-2])
    except ValueError:
        raise ShapeError(f"matmul: stacks of {x.shape} and {y.shape} don't broadcast") from None
    product = matmul_forward(rows, columns)
    shape = list(product.shape)
    if x.ndim == 1:
        del shape[-2]
    if y.ndim == 1:
        del shape[-1]
    return reshape(product, shape=tuple(shape)) if len(shape) != product.ndim else product


def _torch_linear(torch: Any, x: Any, weight: Any, bias: Any = None, activation: Any = None) -> Any:
    return torch_activate(torch, torch.nn.functional.linear(x, weight.T, bias), activation)


def _product(x: Any, weight: Any, bias: Any = None, *, activation: str | None = None) -> Any:
    y = matmul_forward(x, weight)
    return activate(y if bias is None else add(y, bias), activation)


@primitive(
    flops=lambda output, x, weight, bias, **settings: 2 * output.size * x.shape[-1],
    oracle=_torch_linear,
    composition=_product,
    family="linear",
    name="linear",
)
def linear_forward(x, weight, bias=None, *, activation=None):
    """Return activation(x @ weight + bias) of rows x, (N, in): None, "relu" or "relu6"."""
    return kernels.use("gemm").product(x, weight, bias, activation)


@linear_forward.vjp("x", "weight", "bias")
def _(g, x, weight, output, needs, activation):
    if activation is not None:
        g = activation_gradient(g, output, activation=activation)
    dx = matmul_forward(g, weight.T) if needs[0] else None
    if not needs[1]:
        return dx, None, sum(g, axis=0) if needs[2] else None
    return dx, *linear_weight_grad(x, g, with_bias=needs[2])


@primitive(
    flops=lambda output, x, dy, **settings: 2 * output[0].size * len(x),
    oracle=lambda torch, x, dy, with_bias=False: (
        torch.matmul(x.T, dy),
        dy.sum(0) if with_bias else None,
    ),
)
def linear_weight_grad(x, dy, *, with_bias=False):
    """Return x.T @ dy of rows, (in, out), and, if asked, the sum of dy over rows, (out,)."""
    return kernels.use("gemm").weight_grad(x, dy, with_bias)


@linear_weight_grad.vjp("x")
def _(g, dy):
    return g[0] if g[0] is None else matmul_forward(dy, _swap(g[0]))


@linear_weight_grad.vjp("dy")
def _(g, x, dy_shape):
    if g[0] is None:
        return broadcast_to(g[1], shape=dy_shape)
    return linear_forward(x, *g)


@composite(oracle=_torch_linear)
def linear(x, weight, bias=None, *, activation=None):
    """Return activation(x @ weight + bias).

    x: (..., in_features); weight: (in_features, out_features); bias: (out_features,).
    activation: None, "relu", "relu6", "leaky_relu", "tanh" or "sigmoid".
    Raises ShapeError where the features differ, DTypeError where the dtypes do.
    """
    check_arrays("linear", x=x, weight=weight, bias=bias)
    if weight.ndim != 2 or (bias is not None and bias.shape != weight.shape[1:]):
        raise ShapeError(
            "linear expected a weight (in_features, out_features) and a bias (out_features,), "
            f"got {weight.shape} and {None if bias is None else bias.shape}"
        )
    if x.dtype != weight.dtype and x.dtype.kind == "f":
        raise DTypeError(
            f"linear expected x of the weight's dtype {weight.dtype}, got {x.dtype}: use .astype()"
        )
    if x.ndim < 1 or x.shape[-1] != weight.shape[0]:
        raise ShapeError(
            f"linear expected {weight.shape[0]} features on the last axis, got shape {x.shape}"
            + (": flatten it first, for example with nn.Flatten()" if x.ndim > 2 else "")
        )
    rows = x if x.ndim == 2 else reshape(x, shape=(math.prod(x.shape[:-1]), x.shape[-1]))
    fused = check_activation("linear", activation) in FUSED
    y = linear_forward(rows, weight, bias, activation=activation if fused else None)
    y = y if fused else activate(y, activation)
    return y if x.ndim == 2 else reshape(y, shape=(*x.shape[:-1], weight.shape[1]))


@matmul_forward.samples
def _(draw: Draw):
    yield sample(draw.normal(3, 4), draw.normal(4, 5))
    yield sample(draw.normal(1, 7), draw.normal(7, 1))
    yield sample(draw.normal(2, 3, 4), draw.normal(2, 4, 2))
    yield sample(draw.normal(2, 1, 3, 4), draw.normal(5, 4, 2))
    yield sample(draw.normal(37, 9), draw.normal(9, 6))
    yield sample(draw.normal(0, 4), draw.normal(4, 5))


@matmul.samples
def _(draw: Draw):
    yield sample(draw.normal(3, 4), draw.normal(4, 5))
    yield sample(draw.normal(4), draw.normal(4))
    yield sample(draw.normal(4), draw.normal(2, 4, 3))
    yield sample(draw.normal(2, 3, 4), draw.normal(4))
    yield sample(draw.normal(2, 3, 4), draw.normal(4, 5))


@matmul.errors
def _(draw: Draw):
    yield ErrorInput(sample(draw.normal(2, 3), draw.normal(2, 3)), ShapeError, r"\(2, 3\)")
    yield ErrorInput(sample(draw.normal(2, 3), draw.normal()), ShapeError, "use \\*")
    yield ErrorInput(sample(draw.normal(2, 3, 4), draw.normal(3, 4, 5)), ShapeError, "stacks")
    yield ErrorInput(sample(draw.normal(2, 3), np.ones((3, 2))), DTypeError, "float32 and float64")


@linear.samples
def _(draw: Draw):
    yield sample(draw.normal(3, 4), draw.normal(4, 5), draw.normal(5))
    yield sample(draw.normal(3, 4), draw.normal(4, 5))
    yield sample(draw.normal(2, 3, 4), draw.normal(4, 1), draw.normal(1))
    yield sample(draw.normal(4), draw.normal(4, 5), draw.normal(5))
    yield sample(draw.normal(3, 4), draw.normal(4, 5), draw.normal(5), activation="relu")
    yield sample(draw.normal(3, 4), draw.normal(4, 5), None, activation="tanh")
    yield sample(draw.normal(0, 4), draw.normal(4, 5), draw.normal(5))


@linear_forward.samples
def _(draw: Draw):
    yield sample(draw.normal(3, 4), draw.normal(4, 5), draw.normal(5))
    yield sample(draw.normal(7, 4), draw.normal(4, 5), draw.normal(5), activation="relu")
    yield sample(draw.normal(3, 4) * 3, draw.normal(4, 19), activation="relu6")
    yield sample(draw.normal(0, 4), draw.normal(4, 5), draw.normal(5))


@linear_weight_grad.samples
def _(draw: Draw):
    yield sample(draw.normal(3, 4), draw.normal(3, 5))
    yield sample(draw.normal(70, 9), draw.normal(70, 19), with_bias=True)
    yield sample(draw.normal(0, 4), draw.normal(0, 5))


@linear.errors
def _(draw: Draw):
    w = draw.normal(4, 5)
    yield ErrorInput(sample(draw.normal(3, 5), w), ShapeError, r"4 features .* \(3, 5\)")
    yield ErrorInput(sample(draw.normal(3, 2, 2, 1), w), ShapeError, "flatten it first")
    yield ErrorInput(sample(np.arange(8).reshape(2, 4), w), DTypeError, "got int64")
