"""Linear and Embedding."""

from typing import Any

from minidl import ops
from minidl.checks import positive
from minidl.nn import init
from minidl.nn.module import Module, new_parameter
from minidl.nn.stored import Stored
from minidl.ops.activation import check_activation

__all__ = ["Linear", "Embedding"]


class Linear(Module):
    """x @ weight + bias.  (..., in_features) -> (..., out_features).

    weight: (in_features, out_features); bias: (out_features,).
    activation: None, "relu", "relu6", "leaky_relu", "tanh" or "sigmoid".
    The weights start with variance gain^2 / in_features, with the gain of the activation; the bias
    at 0.
    Raises as `ops.linear` does, and ArgumentError for sizes below 1 or an unknown activation.
    """

    family = "linear"
    function = ops.linear
    stored = Stored(
        "linear", {"weight": "in out", "bias": "out"}, "Dense", {"kernel": "weight", "bias": "bias"}
    )

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        activation: str | None = None,
    ) -> None:
        self.in_features = positive("Linear", "in_features", in_features)
        self.out_features = positive("Linear", "out_features", out_features)
        self.activation = check_activation("Linear", activation)
        self.weight = new_parameter(in_features, out_features)
        init.kaiming_uniform(self.weight, nonlinearity=activation)
        self.bias = new_parameter(out_features) if bias else None
        if self.bias is not None:
            init.zeros(self.bias)

    def forward(self, x: Any) -> Any:
        return ops.linear(x, self.weight, self.bias, activation=self.activation)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}" + options(self)


def options(layer: Any) -> str:
    """Return the settings of a layer that differ from the defaults, for its repr."""
    text = "" if layer.bias is not None else ", bias=False"
    return text if layer.activation is None else f"{text}, activation={layer.activation!r}"


class Embedding(Module):
    """A table of rows, looked up by index.  Integers of any shape -> (*shape, embedding_dim).

    weight: (num_embeddings, embedding_dim), initialized from a Gaussian.
    Raises as `ops.embedding` does, and ArgumentError for sizes below 1.
    Source: Bengio et al. 2003, "A Neural Probabilistic Language Model", section 2.
    """

    function = ops.embedding
    stored = Stored(
        "embedding", {"weight": "number dimension"}, "Embedding", {"embeddings": "weight"}
    )

    def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
        self.num_embeddings = positive("Embedding", "num_embeddings", num_embeddings)
        self.embedding_dim = positive("Embedding", "embedding_dim", embedding_dim)
        self.weight = new_parameter(num_embeddings, embedding_dim)
        init.normal(self.weight)

    def forward(self, indices: Any) -> Any:
        return ops.embedding(indices, self.weight)

    def extra_repr(self) -> str:
        return f"{self.num_embeddings}, {self.embedding_dim}"
