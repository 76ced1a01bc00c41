"""Activations that are smooth, and their piecewise counterparts, hardsigmoid and hardswish."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl import kernels
from minidl.autograd.primitive import primitive
from minidl.autograd.samples import Draw, ErrorInput, Sample, sample
from minidl.autograd.tensor import Tensor
from minidl.checks import real
from minidl.errors import ArgumentError, DTypeError
from minidl.ops.comparison import each, where
from minidl.ops.elementwise import exp

__all__ = ["gelu", "hardsigmoid", "hardswish", "mish", "sigmoid", "silu", "softplus", "tanh"]


def _torch_grad(torch: Any, name: str, dy: Any, x: Any) -> Any:
    """Return torch's gradient of its activation of that name, for oracles."""
    with torch.enable_grad():
        x = x if x.requires_grad else x.detach().requires_grad_()
        y = getattr(torch.nn.functional, name)(x)
        return torch.autograd.grad(y, x, dy, create_graph=True)[0]


@primitive(flops=lambda output, x: 4 * x.size, oracle=lambda torch, x: torch.sigmoid(x))
def sigmoid(x):
    """Return 1 / (1 + exp(-x)), computed so that nothing overflows.

    x: floats of any shape. Raises DTypeError for anything else.
    """
    small = np.exp(-np.abs(x))  # at most 1
    return np.where(x >= 0, 1, small) / (1 + small)


sigmoid.vjp("x")(lambda g, output: g * output * (1 - output))


@primitive(flops=each, oracle=lambda torch, x: torch.tanh(x))
def tanh(x):
    """Return the hyperbolic tangent of x.

    x: floats of any shape. Raises DTypeError for anything else.
    """
    return np.tanh(x)


tanh.vjp("x")(lambda g, output: g * (1 - output * output))


@primitive(
    flops=lambda output, x, **settings: 4 * x.size,
    oracle=lambda torch, x, beta=1.0: torch.nn.functional.softplus(x, beta, threshold=1000),
)
def softplus(x, *, beta=1.0):
    """Return log(1 + exp(beta * x)) / beta, computed so that nothing overflows.

    x: floats of any shape. Raises DTypeError for anything else, ArgumentError unless beta is
    above 0.
    Source: Dugas et al. 2001, "Incorporating Second-Order Functional Knowledge for Better Option
    Pricing".
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


@primitive(
    flops=lambda output, dy, x: 9 * x.size,
    oracle=lambda torch, dy, x: _torch_grad(torch, "silu", dy, x),
)
def silu_grad(dy, x):
    """Return the gradient of `silu` for x."""
    return kernels.use("smooth").silu_grad(dy, x)


silu_grad.vjp("dy")(lambda g, x: silu_grad(g, x))


@silu_grad.vjp("x")
def _(g, dy, x):
    share = sigmoid(x)
    return g * dy * share * (1 - share) * (2 + x * (1 - 2 * share))


@primitive(flops=lambda output, x: 5 * x.size, oracle=lambda torch, x: torch.nn.functional.silu(x))
def silu(x):
    """Return x * sigmoid(x), also called swish.

    x: floats of any shape. Raises DTypeError for anything else.
    Source: Ramachandran et al. 2017.
    """
    return kernels.use("smooth").silu(x)


silu.vjp("x")(lambda g, x: silu_grad(g, x))


@primitive(flops=lambda output, x: 9 * x.size, oracle=lambda torch, x: torch.nn.functional.mish(x))
def mish(x):
    """Return x * tanh(softplus(x)).

    x: floats of any shape. Raises DTypeError for anything else.
    Source: Misra 2019.
    """
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


@primitive(flops=each, oracle=lambda torch, x: torch.nn.functional.relu6(x + 3) / 6)
def hardsigmoid(x):
    """Return relu6(x + 3) / 6.

    x: floats of any shape. Raises DTypeError for anything else.
    Source: Courbariaux et al. 2015, as in Howard et al. 2019.
    """
    return _ramp(x)


hardsigmoid.vjp("x")(lambda g, x: where(_on_ramp(x), g / 6, 0.0))


@primitive(
    flops=lambda output, dy, x: 4 * x.size,
    oracle=lambda torch, dy, x: _torch_grad(torch, "hardswish", dy, x),
)
def hardswish_grad(dy, x):
    """Return the gradient of `hardswish` for x."""
    return kernels.use("smooth").hardswish_grad(dy, x)


hardswish_grad.vjp("dy")(lambda g, x: hardswish_grad(g, x))
hardswish_grad.vjp("x")(lambda g, dy, x: where(_on_ramp(x), g * dy / 3, 0.0))


@primitive(flops=each, oracle=lambda torch, x: torch.nn.functional.hardswish(x))
def hardswish(x):
    """Return x * relu6(x + 3) / 6.

    x: floats of any shape. Raises DTypeError for anything else.
    Source: Howard et al. 2019, "Searching for MobileNetV3".
    """
    return kernels.use("smooth").hardswish(x)


hardswish.vjp("x")(lambda g, x: hardswish_grad(g, x))


APPROXIMATIONS = ("none", "tanh")


def check_approximate(who: str, approximate: str) -> str:
    """Return `approximate`. Raise unless it is one of APPROXIMATIONS."""
    if not isinstance(approximate, str) or approximate not in APPROXIMATIONS:
        raise ArgumentError(
            f"{who}: approximate must be one of {APPROXIMATIONS}, got {approximate!r}"
        )
    return approximate


@primitive(
    flops=lambda output, dy, x: 14 * x.size,
    oracle=lambda torch, dy, x: _torch_grad(torch, "gelu", dy, x),
)
def gelu_grad(dy, x):
    """Return the gradient of `gelu` for x."""
    return kernels.use("smooth").gelu_grad(dy, x)


gelu_grad.vjp("dy")(lambda g, x: gelu_grad(g, x))
gelu_grad.vjp("x")(lambda g, dy, x: g * dy * _density(x) * (2 - x * x))


def _density(x: Any) -> Any:
    """Return the density of the standard normal distribution."""
    return exp(x * x * -0.5) * (1 / math.sqrt(2 * math.pi))


@primitive(
    flops=lambda output, x, **settings: 8 * x.size,
    oracle=lambda torch, x, approximate="none": torch.nn.functional.gelu(
        x, approximate=approximate
    ),
)
def gelu(x, *, approximate="none"):
    """Return x * P(X <= x) for a standard normal X.

    approximate: "none", or "tanh" to compute it by tanh(sqrt(2/pi) * (x + 0.044715 x^3)).
    x: floats of any shape. Raises DTypeError for anything else, ArgumentError for another
    `approximate`.
    x: floats of any shape. Raises DTypeError for anything else.
    Source: Hendrycks and Gimpel 2016.
    """
    if check_approximate("gelu", approximate) == "tanh":
        return x * (1 + np.tanh(_gelu_inner(x))) / 2
    return kernels.use("smooth").gelu(x)


def _gelu_inner(x: Any) -> Any:
    return (x + x * x * x * 0.044715) * math.sqrt(2 / math.pi)


@gelu.vjp("x")
def _(g, x, approximate):
    if approximate == "tanh":
        t = tanh(_gelu_inner(x))
        slope = (1 + 3 * 0.044715 * x * x) * math.sqrt(2 / math.pi)
        return g * ((1 + t) / 2 + x * (1 - t * t) * slope / 2)
    return gelu_grad(g, x)


@silu_grad.samples
@gelu_grad.samples
def _(draw: Draw) -> Iterator[Sample]:
    yield sample(draw.normal(3, 4), draw.normal(3, 4))
    yield sample(draw.normal(2, 3), draw.normal(2, 3) * 5)


@hardswish_grad.samples
def _(draw: Draw) -> Iterator[Sample]:
    yield sample(draw.normal(4, 45), draw.distinct(4, 45))  # from -4.5 to 4.5, none on a corner


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
