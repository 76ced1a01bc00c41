"""Activations as modules. The output has the shape of the input."""

from typing import Any

from minidl import ops
from minidl.autograd.primitive import Primitive
from minidl.checks import positive, real
from minidl.nn.module import Module, Parameter
from minidl.nn.stored import Stored
from minidl.ops.smooth import check_approximate, check_beta

__all__ = [
    "ELU", "GELU", "Hardsigmoid", "Hardswish", "Identity", "LeakyReLU", "LogSoftmax", "Mish",
    "PReLU", "ReLU", "ReLU6", "SiLU", "Sigmoid", "Softmax", "Softplus", "Tanh",
]  # fmt: skip


class Identity(Module):
    """Returns x itself."""

    def forward(self, x: Any) -> Any:
        return x


class _Activation(Module):
    """An op of one array. A subclass names it; its settings are attributes of the same names."""

    function: Primitive

    def forward(self, x: Any) -> Any:
        return self.function(x, **self._settings())

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self._settings().items())

    def _settings(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.function.settings}


class ReLU(_Activation):
    """max(x, 0)."""

    function = ops.relu


class ReLU6(_Activation):
    """min(max(x, 0), 6)."""

    function = ops.relu6


class LeakyReLU(_Activation):
    """x, multiplied by `negative_slope` where it is negative."""

    function = ops.leaky_relu

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = real("LeakyReLU", "negative_slope", negative_slope)


class PReLU(Module):
    """x, multiplied by a trained weight where it is negative.  (..., C) -> (..., C).

    weight: (num_parameters,), one for all channels or one for each.
    Source: He et al. 2015, "Delving Deep into Rectifiers".
    """

    function = ops.prelu
    stored = Stored("prelu", keras="PReLU", arrays={"alpha": "weight"})

    def __init__(self, num_parameters: int = 1, init: float = 0.25) -> None:
        count = positive("PReLU", "num_parameters", num_parameters)
        self.weight = Parameter([real("PReLU", "init", init)] * count)

    def forward(self, x: Any) -> Any:
        return ops.prelu(x, self.weight)

    def extra_repr(self) -> str:
        return f"{self.weight.size}"


class ELU(_Activation):
    """x, or alpha * (exp(x) - 1) where x is negative."""

    function = ops.elu

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = real("ELU", "alpha", alpha)


class Sigmoid(_Activation):
    """1 / (1 + exp(-x))."""

    function = ops.sigmoid


class Hardsigmoid(_Activation):
    """relu6(x + 3) / 6."""

    function = ops.hardsigmoid


class SiLU(_Activation):
    """x * sigmoid(x), also called swish."""

    function = ops.silu


class Hardswish(_Activation):
    """x * relu6(x + 3) / 6."""

    function = ops.hardswish


class GELU(_Activation):
    """x * P(X <= x) for a standard normal X.

    approximate: "none", or "tanh" for a close formula.
    """

    function = ops.gelu

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = check_approximate("GELU", approximate)


class Softplus(_Activation):
    """log(1 + exp(beta * x)) / beta."""

    function = ops.softplus

    def __init__(self, beta: float = 1.0) -> None:
        self.beta = check_beta("Softplus", beta)


class Mish(_Activation):
    """x * tanh(softplus(x))."""

    function = ops.mish


class Tanh(_Activation):
    """The hyperbolic tangent."""

    function = ops.tanh


class Softmax(_Activation):
    """exp(x) / sum(exp(x)) along `axis`."""

    function = ops.softmax

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis


class LogSoftmax(_Activation):
    """log(softmax(x)) along `axis`."""

    function = ops.log_softmax

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis
