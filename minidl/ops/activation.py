"""Activations with a kink, where the gradient is that of the flat side, and all by their names."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl import kernels
from minidl.autograd.op import Op
from minidl.autograd.primitive import primitive
from minidl.autograd.samples import Draw, ErrorInput, Sample, sample
from minidl.autograd.tensor import Tensor
from minidl.checks import real
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.ops.comparison import each, greater, where
from minidl.ops.elementwise import exp
from minidl.ops.reduce import sum_to
from minidl.ops.smooth import (
    gelu,
    hardsigmoid,
    hardswish,
    mish,
    sigmoid,
    silu,
    softplus,
    tanh,
)  # fmt: skip

__all__ = ["elu", "leaky_relu", "prelu", "relu", "relu6"]

FUSED = ("relu", "relu6")
"""Activations that convolutions, products and normalisations apply in their own pass."""


@primitive(
    flops=each,
    oracle=lambda torch, dy, y, activation: (
        torch.ops.aten.threshold_backward(dy, torch.as_tensor(y), 0)
        if activation == "relu"
        else torch.ops.aten.hardtanh_backward(dy, torch.as_tensor(y), 0, 6)
    ),
    labels=("y",),
)
def activation_gradient(dy, y, *, activation):
    """Return dy where the activation, "relu" or "relu6", lets it through, as its output y tells.

    dy also passes where y is NaN, so that a gradient doesn't hide it.
    """
    return kernels.use("activation").activation_grad(dy, y, activation)


@activation_gradient.vjp("dy")
def _(g, y, activation):
    return activation_gradient(g, y, activation=activation)


def _constant(output: Any) -> Any:
    """Return the output outside the graph: the positions of the kinks are not differentiable."""
    return output.detach() if isinstance(output, Tensor) else output


@primitive(flops=each, oracle=lambda torch, x: torch.relu(x))
def relu(x):
    """Return max(x, 0).

    x: floats of any shape. Raises DTypeError for anything else.
    Source: Nair and Hinton 2010.
    """
    return kernels.use("activation").activate(x, "relu")


@relu.vjp("x")
def _(g, output):
    return activation_gradient(g, _constant(output), activation="relu")


@primitive(flops=each, oracle=lambda torch, x: torch.nn.functional.relu6(x))
def relu6(x):
    """Return min(max(x, 0), 6).

    x: floats of any shape. Raises DTypeError for anything else.
    Source: Howard et al. 2017, "MobileNets".
    """
    return kernels.use("activation").activate(x, "relu6")


@relu6.vjp("x")
def _(g, output):
    return activation_gradient(g, _constant(output), activation="relu6")


@primitive(
    flops=each,
    oracle=lambda torch, x, negative_slope=0.01: torch.nn.functional.leaky_relu(x, negative_slope),
)
def leaky_relu(x, *, negative_slope=0.01):
    """Return x, multiplied by `negative_slope` where negative.

    x: floats of any shape. Raises DTypeError for anything else.
    Source: Maas et al. 2013.
    """
    slope = real("leaky_relu", "negative_slope", negative_slope)
    return kernels.use("activation").prelu(x, np.full(1, slope, x.dtype))


@leaky_relu.vjp("x")
def _(g, x, negative_slope):
    return prelu_grad(g, _constant(x), np.full(1, negative_slope, x.dtype))


@primitive(flops=each, oracle=lambda torch, x, alpha=1.0: torch.nn.functional.elu(x, alpha))
def elu(x, *, alpha=1.0):
    """Return x, or alpha * (exp(x) - 1) where x is negative.

    x: floats of any shape. Raises DTypeError for anything else.
    Source: Clevert et al. 2015.
    """
    alpha = real("elu", "alpha", alpha)
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


@elu.vjp("x")
def _(g, x, alpha):
    # at 0 a constant, whose derivative is that of the flat side; no exp of a large x; a NaN stays
    falling = g * (alpha * exp(where(x >= 0, 0.0, x)))
    return where(x > 0, g, where(x == 0, g * alpha, falling))


@primitive(
    flops=each,
    oracle=lambda torch, dy, x, weight: torch.where(torch.as_tensor(x) > 0, dy, dy * weight),
    labels=("x",),
)
def prelu_grad(dy, x, weight):
    """Return the gradient of prelu for x: dy, multiplied by `weight` where x is negative."""
    return kernels.use("activation").prelu_grad(dy, x, weight)


prelu_grad.vjp("dy")(lambda g, x, weight: prelu_grad(g, x, weight))
prelu_grad.vjp("weight")(
    lambda g, dy, x, weight_shape: sum_to(where(greater(x, 0.0), 0.0, g * dy), shape=weight_shape)
)


def _torch_prelu(torch: Any, x: Any, weight: Any) -> Any:
    return torch.nn.functional.prelu(torch.movedim(x, -1, 1), weight).movedim(1, -1)


@primitive(flops=each, oracle=_torch_prelu)
def prelu(x, weight):
    """Return x, multiplied by `weight` where negative.  weight: (1,), or (C,) for x (..., C).

    Raises ShapeError for a weight of another shape.
    Source: He et al. 2015, "Delving Deep into Rectifiers".
    """
    if weight.shape not in ((1,), x.shape[-1:]):
        raise ShapeError(
            f"prelu expected a weight of shape (1,) or {x.shape[-1:]}, one for each channel (the "
            f"last axis of x, {x.shape}), got {weight.shape}"
        )
    return kernels.use("activation").prelu(x, weight)


prelu.vjp("x")(lambda g, x, weight: prelu_grad(g, _constant(x), weight))


@prelu.vjp("weight")
def _(g, x, weight_shape):
    # of a single number: () -> (1,)
    found = where(x > 0, 0.0, g * x)
    return sum_to(found if found.ndim else found.reshape(1), shape=weight_shape)


BY_NAME: dict[str, Op] = {
    op.name: op
    for op in (
        relu, relu6, leaky_relu, elu, gelu, sigmoid, hardsigmoid, tanh, silu, hardswish, mish,
        softplus,
    )
}  # fmt: skip
"""What layers take as `activation=`: activations of one array, with their usual settings."""


def check_activation(who: str, activation: str | None) -> str | None:
    """Return `activation`. Raise unless it is None or one of those known by name."""
    if activation is not None and (not isinstance(activation, str) or activation not in BY_NAME):
        raise ArgumentError(
            f"{who}: activation must be None or one of {list(BY_NAME)}, got {activation!r}"
        )
    return activation


def activate(x: Any, activation: str | None) -> Any:
    """Return x through the activation of that name."""
    return x if activation is None else BY_NAME[activation](x)


def torch_activate(torch: Any, x: Any, activation: str | None) -> Any:
    """Return `activate` by torch, for oracles."""
    return x if activation is None else getattr(torch.nn.functional, activation)(x)


@activation_gradient.samples
def _(draw: Draw) -> Iterator[Sample]:
    for activation in FUSED:
        yield sample(draw.normal(3, 4), draw.normal(3, 4) * 5, activation=activation)


@relu.samples
@relu6.samples
@leaky_relu.samples
@elu.samples
def _(draw: Draw) -> Iterator[Sample]:
    yield sample(draw.nonzero(3, 4))
    yield sample(draw.nonzero(2, 3, 3, 2) * 4)
    yield sample(draw.nonzero(0, 3))


@prelu_grad.samples
def _(draw: Draw) -> Iterator[Sample]:
    yield sample(draw.normal(3, 4), draw.nonzero(3, 4), draw.normal(4))
    yield sample(draw.normal(2, 3, 3, 2), draw.nonzero(2, 3, 3, 2), draw.normal(1))


@prelu.samples
def _(draw: Draw) -> Iterator[Sample]:
    yield sample(draw.nonzero(3, 4), draw.normal(4))
    yield sample(draw.nonzero(2, 3, 3, 2), draw.normal(2))
    yield sample(draw.nonzero(2, 3, 3, 2), draw.normal(1))
    yield sample(draw.nonzero(0, 3), draw.normal(3))


@relu.errors
@relu6.errors
@leaky_relu.errors
@elu.errors
def _(draw: Draw) -> Iterator[ErrorInput]:
    yield ErrorInput(sample(np.arange(3)), DTypeError, "got int64")
    yield ErrorInput(sample([1.0]), DTypeError, "got list")


@prelu.errors
def _(draw: Draw) -> Iterator[ErrorInput]:
    yield ErrorInput(
        sample(draw.normal(2, 3), draw.normal(2)), ShapeError, r"shape \(1,\) or \(3,\)"
    )
