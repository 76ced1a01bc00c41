"""Activations. The gradient of relu and its kin at a kink is that of the flat side."""

import math
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
from minidl.ops.comparison import where
from minidl.ops.elementwise import erf, exp
from minidl.ops.reduce import sum_to

__all__ = [
    "elu", "gelu", "hardsigmoid", "hardswish", "leaky_relu", "mish", "prelu", "relu",
    "relu6", "sigmoid", "silu", "softplus", "tanh",
]  # fmt: skip

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


@primitive(flops=_each, oracle=lambda torch, x: torch.relu(x))
def relu(x):
    """Return max(x, 0).  Source: Nair and Hinton 2010."""
    return kernels.use("activation").activate(x, "relu")


@relu.vjp("x")
def _(g, output):
    return activation_gradient(g, _constant(output), activation="relu")


@primitive(flops=_each, oracle=lambda torch, x: torch.nn.functional.relu6(x))
def relu6(x):
    """Return min(max(x, 0), 6).  Source: Howard et al. 2017, "MobileNets"."""
    return kernels.use("activation").activate(x, "relu6")


@relu6.vjp("x")
def _(g, output):
    return activation_gradient(g, _constant(output), activation="relu6")


@primitive(
    flops=_each,
    oracle=lambda torch, x, negative_slope=0.01: torch.nn.functional.leaky_relu(x, negative_slope),
)
def leaky_relu(x, *, negative_slope=0.01):
    """Return x, multiplied by `negative_slope` where negative.  Source: Maas et al. 2013."""
    return np.where(x > 0, x, x * real("leaky_relu", "negative_slope", negative_slope))


@leaky_relu.vjp("x")
def _(g, x, negative_slope):
    return where(x > 0, g, g * negative_slope)


@primitive(flops=_each, oracle=lambda torch, x, alpha=1.0: torch.nn.functional.elu(x, alpha))
def elu(x, *, alpha=1.0):
    """Return x, or alpha * (exp(x) - 1) where x is negative.  Source: Clevert et al. 2015."""
    alpha = real("elu", "alpha", alpha)
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


@elu.vjp("x")
def _(g, x, alpha):
    # at 0 a constant, whose derivative is that of the flat side; no exp of a large x; a NaN stays
    falling = g * (alpha * exp(where(x >= 0, 0.0, x)))
    return where(x > 0, g, where(x == 0, g * alpha, falling))


@primitive(flops=lambda output, x: 4 * x.size, oracle=lambda torch, x: torch.sigmoid(x))
def sigmoid(x):
    """Return 1 / (1 + exp(-x)), computed so that nothing overflows."""
    small = np.exp(-np.abs(x))  # at most 1
    return np.where(x >= 0, 1, small) / (1 + small)


sigmoid.vjp("x")(lambda g, output: g * output * (1 - output))


@primitive(flops=_each, oracle=lambda torch, x: torch.tanh(x))
def tanh(x):
    """Return the hyperbolic tangent of x."""
    return np.tanh(x)


tanh.vjp("x")(lambda g, output: g * (1 - output * output))


@primitive(
    flops=lambda output, x, **settings: 4 * x.size,
    oracle=lambda torch, x, beta=1.0: torch.nn.functional.softplus(x, beta, threshold=1000),
)
def softplus(x, *, beta=1.0):
    """Return log(1 + exp(beta * x)) / beta, computed so that nothing overflows.

    Raises ArgumentError unless beta is above 0.
    """
    beta = check_beta("softplus", beta)
    scaled = x * beta
    return (np.maximum(scaled, 0) + np.log1p(np.exp(-np.abs(scaled)))) / beta


softplus.vjp("x")(lambda g, x, beta: g * sigmoid(x * beta))


def check_beta(who: str, beta: float) -> float:
    """Return `beta` as a float. Raise unless it is a number above 0."""
    beta = real(who, "beta", beta)
    if not beta > 0:
        raise ArgumentError(f"{who}: beta must be more than 0, got {beta!r}")
    return beta


@primitive(flops=lambda output, x: 5 * x.size, oracle=lambda torch, x: torch.nn.functional.silu(x))
def silu(x):
    """Return x * sigmoid(x), also called swish.  Source: Ramachandran et al. 2017."""
    return x * sigmoid.function(x)


@silu.vjp("x")
def _(g, x):
    share = sigmoid(x)
    return g * share * (1 + x * (1 - share))


@primitive(flops=lambda output, x: 9 * x.size, oracle=lambda torch, x: torch.nn.functional.mish(x))
def mish(x):
    """Return x * tanh(softplus(x)).  Source: Misra 2019."""
    return x * np.tanh(softplus.function(x))


@mish.vjp("x")
def _(g, x):
    t = tanh(softplus(x))
    return g * (t + x * (1 - t * t) * sigmoid(x))


def _ramp(x: np.ndarray) -> np.ndarray:
    """Return 0 up to -3, 1 from 3 on, and a straight line between."""
    return np.clip(x + 3, 0, 6) / 6


def _on_ramp(x: Any) -> np.ndarray:
    """Return where the ramp rises, or x is NaN."""
    x = x.data if isinstance(x, Tensor) else x
    return ~((x <= -3) | (x >= 3))


@primitive(flops=_each, oracle=lambda torch, x: torch.nn.functional.relu6(x + 3) / 6)
def hardsigmoid(x):
    """Return relu6(x + 3) / 6.  Source: Courbariaux et al. 2015, as in Howard et al. 2019."""
    return _ramp(x)


hardsigmoid.vjp("x")(lambda g, x: where(_on_ramp(x), g / 6, 0.0))


@primitive(flops=_each, oracle=lambda torch, x: torch.nn.functional.hardswish(x))
def hardswish(x):
    """Return x * relu6(x + 3) / 6.  Source: Howard et al. 2019, "Searching for MobileNetV3"."""
    return x * _ramp(x)


@hardswish.vjp("x")
def _(g, x):
    high = (x.data if isinstance(x, Tensor) else x) >= 3
    return where(_on_ramp(x), g * (2 * x + 3) / 6, where(high, g, 0.0))


APPROXIMATIONS = ("none", "tanh")


def check_approximate(who: str, approximate: str) -> str:
    """Return `approximate`. Raise unless it is one of APPROXIMATIONS."""
    if not isinstance(approximate, str) or approximate not in APPROXIMATIONS:
        raise ArgumentError(
            f"{who}: approximate must be one of {APPROXIMATIONS}, got {approximate!r}"
        )
    return approximate


@primitive(
    flops=lambda output, x, **settings: 8 * x.size,
    oracle=lambda torch, x, approximate="none": torch.nn.functional.gelu(
        x, approximate=approximate
    ),
)
def gelu(x, *, approximate="none"):
    """Return x * P(X <= x) for a standard normal X.

    approximate: "none", or "tanh" to compute it by tanh(sqrt(2/pi) * (x + 0.044715 x^3)).
    Raises ArgumentError for another `approximate`.
    Source: Hendrycks and Gimpel 2016.
    """
    if check_approximate("gelu", approximate) == "tanh":
        return x * (1 + np.tanh(_gelu_inner(x))) / 2
    return x * (1 + erf.function(x * math.sqrt(0.5))) / 2


def _gelu_inner(x: Any) -> Any:
    return (x + x * x * x * 0.044715) * math.sqrt(2 / math.pi)


@gelu.vjp("x")
def _(g, x, approximate):
    if approximate == "tanh":
        t = tanh(_gelu_inner(x))
        slope = (1 + 3 * 0.044715 * x * x) * math.sqrt(2 / math.pi)
        return g * ((1 + t) / 2 + x * (1 - t * t) * slope / 2)
    density = exp(x * x * -0.5) * (1 / math.sqrt(2 * math.pi))
    return g * ((1 + erf(x * math.sqrt(0.5))) / 2 + x * density)


def _torch_prelu(torch: Any, x: Any, weight: Any) -> Any:
    return torch.nn.functional.prelu(torch.movedim(x, -1, 1), weight).movedim(1, -1)


@primitive(flops=_each, oracle=_torch_prelu)
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
    return np.where(x > 0, x, x * weight)


prelu.vjp("x")(lambda g, x, weight: where(x > 0, g, g * weight))
prelu.vjp("weight")(lambda g, x, weight_shape: sum_to(where(x > 0, 0.0, g * x), shape=weight_shape))


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


@hardsigmoid.samples
@hardswish.samples
def _(draw: Draw) -> Iterator[Sample]:
    yield sample(draw.distinct(4, 45))  # from -4.5 to 4.5, none on a corner
    yield sample(draw.nonzero(0, 3))


@sigmoid.samples
@tanh.samples
@silu.samples
@mish.samples
def _(draw: Draw) -> Iterator[Sample]:
    yield sample(draw.normal(3, 4))
    yield sample(draw.normal(2, 3) * 20)


@softplus.samples
def _(draw: Draw) -> Iterator[Sample]:
    yield sample(draw.normal(3, 4))
    yield sample(draw.normal(2, 3) * 20)
    yield sample(draw.normal(3, 4), beta=2.5)


@gelu.samples
def _(draw: Draw) -> Iterator[Sample]:
    yield sample(draw.normal(3, 4))
    yield sample(draw.normal(2, 3) * 5)
    yield sample(draw.normal(3, 4), approximate="tanh")


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
@sigmoid.errors
@tanh.errors
@silu.errors
@mish.errors
@hardsigmoid.errors
@hardswish.errors
def _(draw: Draw) -> Iterator[ErrorInput]:
    yield ErrorInput(sample(np.arange(3)), DTypeError, "got int64")
    yield ErrorInput(sample([1.0]), DTypeError, "got list")


@softplus.errors
def _(draw: Draw) -> Iterator[ErrorInput]:
    yield ErrorInput(sample(np.arange(3)), DTypeError, "got int64")
    yield ErrorInput(sample(draw.normal(3), beta=0.0), ArgumentError, "beta must be more than 0")


@gelu.errors
def _(draw: Draw) -> Iterator[ErrorInput]:
    yield ErrorInput(sample(np.arange(3)), DTypeError, "got int64")
    yield ErrorInput(
        sample(draw.normal(3), approximate="sigmoid"), ArgumentError, "approximate must"
    )


@prelu.errors
def _(draw: Draw) -> Iterator[ErrorInput]:
    yield ErrorInput(
        sample(draw.normal(2, 3), draw.normal(2)), ShapeError, r"shape \(1,\) or \(3,\)"
    )
