"""Activations. The gradient of relu and its kin at a kink is that of the flat side."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl import kernels
from minidl.autograd.op import Op
from minidl.autograd.primitive import primitive
from minidl.autograd.samples import Draw, ErrorInput, Sample, sample
from minidl.autograd.tensor import Tensor
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.ops.comparison import where
from minidl.ops.elementwise import exp
from minidl.ops.reduce import array_sum, reduced_axes, sum

__all__ = [
    "relu",
    "relu6",
    "leaky_relu",
    "elu",
    "sigmoid",
    "tanh",
    "softplus",
    "softmax",
    "log_softmax",
]

FUSED = ("relu", "relu6")
"""Activations that convolutions, products and normalisations apply in their own pass."""


def _each(output: np.ndarray, *inputs: Any, **settings: Any) -> int:
    return output.size


@primitive(
    flops=_each,
    oracle=lambda torch, dy, y, activation: (
        torch.ops.aten.threshold_backward(dy, torch.as_tensor(y), 0)
        if activation == "relu"
        else torch.ops.aten.hardtanh_backward(dy, torch.as_tensor(y), 0, 6)
    ),
    labels=("y",),
)
def activation_gradient(dy, y, *, activation):
    """dy where the activation, "relu" or "relu6", lets it through, which its output y tells.

    Also where y is a NaN, so that a gradient doesn't hide it.
    """
    return kernels.use("activation").activation_grad(dy, y, activation)


@activation_gradient.vjp("dy")
def _(g, y, activation):
    return activation_gradient(g, y, activation=activation)


def _constant(output: Any) -> Any:
    """The output outside the graph: the positions of the kinks are not differentiable."""
    return output.detach() if isinstance(output, Tensor) else output


@primitive(flops=_each, oracle=lambda torch, x: torch.relu(x))
def relu(x):
    """max(x, 0).  Source: Nair and Hinton 2010."""
    return kernels.use("activation").activate(x, "relu")


@relu.vjp("x")
def _(g, output):
    return activation_gradient(g, _constant(output), activation="relu")


@primitive(flops=_each, oracle=lambda torch, x: torch.nn.functional.relu6(x))
def relu6(x):
    """min(max(x, 0), 6).  Source: Howard et al. 2017, "MobileNets"."""
    return kernels.use("activation").activate(x, "relu6")


@relu6.vjp("x")
def _(g, output):
    return activation_gradient(g, _constant(output), activation="relu6")


@primitive(
    flops=_each, oracle=lambda torch, x, slope=0.01: torch.nn.functional.leaky_relu(x, slope)
)
def leaky_relu(x, *, slope=0.01):
    """x, times `slope` where it is negative.  Source: Maas et al. 2013."""
    return np.where(x > 0, x, x * slope)


leaky_relu.vjp("x")(lambda g, x, slope: where(x > 0, g, g * slope))


@primitive(flops=_each, oracle=lambda torch, x, alpha=1.0: torch.nn.functional.elu(x, alpha))
def elu(x, *, alpha=1.0):
    """x, but alpha * (exp(x) - 1) where it is negative.  Source: Clevert et al. 2015."""
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


@elu.vjp("x")
def _(g, x, alpha):
    # at 0 a constant, whose derivative is that of the flat side; no exp of a large x; a NaN stays
    falling = g * (alpha * exp(where(x >= 0, 0.0, x)))
    return where(x > 0, g, where(x == 0, g * alpha, falling))


@primitive(flops=lambda output, x: 4 * x.size, oracle=lambda torch, x: torch.sigmoid(x))
def sigmoid(x):
    """1 / (1 + exp(-x)), written so that nothing overflows."""
    small = np.exp(-np.abs(x))  # at most 1
    return np.where(x >= 0, 1, small) / (1 + small)


sigmoid.vjp("x")(lambda g, output: g * output * (1 - output))


@primitive(flops=_each, oracle=lambda torch, x: torch.tanh(x))
def tanh(x):
    """The hyperbolic tangent."""
    return np.tanh(x)


tanh.vjp("x")(lambda g, output: g * (1 - output * output))


@primitive(
    flops=lambda output, x: 4 * x.size,
    oracle=lambda torch, x: torch.nn.functional.softplus(x, threshold=1000),
)
def softplus(x):
    """log(1 + exp(x)), written so that nothing overflows."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


softplus.vjp("x")(lambda g, x: g * sigmoid(x))


def _one_axis(who: str, axis: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    axes = reduced_axes(who, axis, shape)
    if len(axes) != 1 or shape[axes[0]] == 0:
        raise ShapeError(f"{who} expected one axis that isn't empty, got {axis} of shape {shape}")
    return axes


@primitive(
    flops=lambda output, x, **settings: 5 * x.size,
    oracle=lambda torch, x, axis=-1: torch.softmax(x, axis),
)
def softmax(x, *, axis=-1):
    """exp(x) / sum(exp(x)) along `axis`, with the maximum taken out first."""
    axes = _one_axis("softmax", axis, x.shape)
    e = np.exp(x - x.max(axis=axes, keepdims=True))
    return e / array_sum(e, axes, keepdims=True)


@softmax.vjp("x")
def _(g, output, axis):
    return (g - sum(g * output, axis=axis, keepdims=True)) * output


@primitive(
    flops=lambda output, x, **settings: 5 * x.size,
    oracle=lambda torch, x, axis=-1: torch.log_softmax(x, axis),
)
def log_softmax(x, *, axis=-1):
    """log(softmax(x)) without losing the small ones."""
    axes = _one_axis("log_softmax", axis, x.shape)
    shifted = x - x.max(axis=axes, keepdims=True)
    return shifted - np.log(array_sum(np.exp(shifted), axes, keepdims=True))


@log_softmax.vjp("x")
def _(g, output, axis):
    return g - exp(output) * sum(g, axis=axis, keepdims=True)


BY_NAME: dict[str, Op] = {
    "relu": relu,
    "relu6": relu6,
    "leaky_relu": leaky_relu,
    "tanh": tanh,
    "sigmoid": sigmoid,
}


def check_activation(who: str, activation: str | None) -> str | None:
    """`activation` itself, or an error unless it is None or one of those known by name."""
    if activation is not None and (not isinstance(activation, str) or activation not in BY_NAME):
        raise ArgumentError(
            f"{who}: activation must be None or one of {list(BY_NAME)}, got {activation!r}"
        )
    return activation


def activate(x: Any, activation: str | None) -> Any:
    """x through the activation of that name."""
    return x if activation is None else BY_NAME[activation](x)


def torch_activate(torch: Any, x: Any, activation: str | None) -> Any:
    """`activate` by torch, for oracles."""
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


@sigmoid.samples
@tanh.samples
@softplus.samples
def _(draw: Draw) -> Iterator[Sample]:
    yield sample(draw.normal(3, 4))
    yield sample(draw.normal(2, 3) * 20)


@softmax.samples
@log_softmax.samples
def _(draw: Draw) -> Iterator[Sample]:
    yield sample(draw.normal(3, 4))
    yield sample(draw.normal(2, 3, 4), axis=1)
    yield sample(draw.normal(2, 3) * 3, axis=0)
    yield sample(draw.normal(0, 3))


@relu.errors
@relu6.errors
@leaky_relu.errors
@elu.errors
@sigmoid.errors
@tanh.errors
def _(draw: Draw) -> Iterator[ErrorInput]:
    yield ErrorInput(sample(np.arange(3)), DTypeError, "got int64")
    yield ErrorInput(sample([1.0]), DTypeError, "got list")


@softmax.errors
@log_softmax.errors
def _(draw: Draw) -> Iterator[ErrorInput]:
    yield ErrorInput(sample(draw.normal(2, 3), axis=2), ShapeError, "axis 2")
    yield ErrorInput(sample(draw.normal(2, 3), axis=(0, 1)), ShapeError, "one axis")
    yield ErrorInput(sample(draw.normal(2, 0)), ShapeError, "isn't empty")
