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
    """x itself, of any shape."""

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
    """max(x, 0) for each element.  (...) -> (...).

    Raises as `ops.relu` does.
    Source: Nair and Hinton 2010.
    """

    function = ops.relu


class ReLU6(_Activation):
    """min(max(x, 0), 6) for each element.  (...) -> (...).

    Raises as `ops.relu6` does.
    Source: Howard et al. 2017, "MobileNets".
    """

    function = ops.relu6


class LeakyReLU(_Activation):
    """x, multiplied by `negative_slope` where it is negative.  (...) -> (...).

    Raises as `ops.leaky_relu` does.
    Source: Maas et al. 2013.
    """

    function = ops.leaky_relu

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = real("LeakyReLU", "negative_slope", negative_slope)


class PReLU(Module):
    """x, multiplied by a trained weight where it is negative.  (..., C) -> (..., C).

    weight: (num_parameters,), one for all channels or one for each.
    Raises as `ops.prelu` does, and ArgumentError for num_parameters below 1.
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
    """x, or alpha * (exp(x) - 1) where x is negative.  (...) -> (...).

    Raises as `ops.elu` does.
    Source: Clevert et al. 2015.
    """

    function = ops.elu

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = real("ELU", "alpha", alpha)


class Sigmoid(_Activation):
    """1 / (1 + exp(-x)) for each element.  (...) -> (...).

    Raises as `ops.sigmoid` does.
    """

    function = ops.sigmoid


class Hardsigmoid(_Activation):
    """relu6(x + 3) / 6 for each element.  (...) -> (...).

    Raises as `ops.hardsigmoid` does.
    Source: Courbariaux et al. 2015, as in Howard et al. 2019.
    """

    function = ops.hardsigmoid


class SiLU(_Activation):
    """x * sigmoid(x) for each element, also called swish.  (...) -> (...).

    Raises as `ops.silu` does.
    Source: Ramachandran et al. 2017.
    """

    function = ops.silu


class Hardswish(_Activation):
    """x * relu6(x + 3) / 6 for each element.  (...) -> (...).

    Raises as `ops.hardswish` does.
    Source: Howard et al. 2019, "Searching for MobileNetV3".
    """

    function = ops.hardswish


class GELU(_Activation):
    """x * P(X <= x) for a standard normal X, for each element.  (...) -> (...).

    approximate: "none", or "tanh" for a close formula.
    Raises as `ops.gelu` does.
    Source: Hendrycks and Gimpel 2016.
    """

    function = ops.gelu

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = check_approximate("GELU", approximate)


class Softplus(_Activation):
    """log(1 + exp(beta * x)) / beta for each element.  (...) -> (...).

    Raises as `ops.softplus` does.
    Source: Dugas et al. 2001, "Incorporating Second-Order Functional Knowledge for Better Option
    Pricing".
    """

    function = ops.softplus

    def __init__(self, beta: float = 1.0) -> None:
        self.beta = check_beta("Softplus", beta)


class Mish(_Activation):
    """x * tanh(softplus(x)) for each element.  (...) -> (...).

    Raises as `ops.mish` does.
    Source: Misra 2019.
    """

    function = ops.mish


class Tanh(_Activation):
    """The hyperbolic tangent of each element.  (...) -> (...).

    Raises as `ops.tanh` does.
    """

    function = ops.tanh


class Softmax(_Activation):
    """exp(x) / sum(exp(x)) along `axis`.  (...) -> (...).

    Raises as `ops.softmax` does.
    Source: Bridle 1990, "Probabilistic Interpretation of Feedforward Classification Network
    Outputs".
    """

    function = ops.softmax

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis


class LogSoftmax(_Activation):
    """log(softmax(x)) along `axis`.  (...) -> (...).

    Raises as `ops.log_softmax` does.
    """

    function = ops.log_softmax

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis
