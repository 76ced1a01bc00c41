"""Normalization layers."""

from typing import Any

import numpy as np

from minidl import ops
from minidl.checks import positive, real
from minidl.errors import ArgumentError, ShapeError
from minidl.nn.checks import channels_first_hint, check_array
from minidl.nn.module import Buffer, Module, new_parameter
from minidl.nn.stored import Stored
from minidl.ops.activation import check_activation

__all__ = ["BatchNorm1d", "BatchNorm2d", "LayerNorm", "LocalResponseNorm"]


class _BatchNorm(Module):
    """weight, bias: (C,), trained; running_mean, running_var: (C,), updated by training batches."""

    family = "normalization"
    function = ops.batch_norm
    stored = Stored(
        "batch_norm",
        keras="BatchNormalization",
        arrays={
            "gamma": "weight",
            "beta": "bias",
            "moving_mean": "running_mean",
            "moving_variance": "running_var",
        },
        needed=0,
        settings={"epsilon": "eps"},
    )
    axes: int
    layout: str

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        *,
        activation: str | None = None,
    ) -> None:
        who = type(self).__name__
        self.num_features = positive(who, "num_features", num_features)
        self.eps, self.momentum = real(who, "eps", eps), real(who, "momentum", momentum)
        if self.eps < 0 or not 0 <= self.momentum <= 1:
            raise ArgumentError(
                f"{who}: eps must be 0 or more and momentum from 0 to 1, got {eps} and {momentum}"
            )
        self.activation = check_activation(who, activation)
        self.weight, self.bias = new_parameter(num_features), new_parameter(num_features)
        self.weight.data[...], self.bias.data[...] = 1, 0
        self.running_mean = Buffer(np.zeros_like(self.bias.data))
        self.running_var = Buffer(np.ones_like(self.bias.data))

    def forward(self, x: Any, residual: Any = None) -> Any:
        who = type(self).__name__
        check_array(who, x)
        if x.ndim != self.axes or x.shape[-1] != self.num_features:
            hint = channels_first_hint(x, self.num_features) if self.axes == 4 else ""
            raise ShapeError(
                f"{who} expected {self.layout.format(self.num_features)}, got {x.shape}{hint}"
            )
        if residual is not None and residual.shape != x.shape:
            raise ShapeError(
                f"{who}: residual has shape {residual.shape}, x {x.shape}: must be equal"
            )
        return ops.batch_norm(
            x,
            self.running_mean.data,
            self.running_var.data,
            self.weight,
            self.bias,
            self.training and not self.frozen,
            self.momentum,
            self.eps,
            residual=residual,
            activation=self.activation,
        )

    def extra_repr(self) -> str:
        text = f"{self.num_features}, eps={self.eps:g}, momentum={self.momentum:g}"
        return text if self.activation is None else f"{text}, activation={self.activation!r}"


class BatchNorm1d(_BatchNorm):
    """Batch normalization of features.  (N, num_features) -> (N, num_features).

    eps is added to the variance; momentum is the new value's weight in the running statistics.
    Called with `residual=`, adds it before the activation. In evaluation mode or frozen, it uses
    the running statistics and leaves them unchanged.
    Raises as `ops.batch_norm` does, and ArgumentError for a negative eps or a momentum outside of 0
    to 1.
    Source: Ioffe and Szegedy 2015, "Batch Normalization".
    """

    axes, layout = 2, "(N, {})"


class BatchNorm2d(_BatchNorm):
    """Batch normalization of images.  (N, H, W, num_features) -> (same).

    eps is added to the variance; momentum is the new value's weight in the running statistics.
    Called with `residual=`, adds it before the activation. In evaluation mode or frozen, it uses
    the running statistics and leaves them unchanged.
    Raises as `ops.batch_norm` does, and ArgumentError for a negative eps or a momentum outside of 0
    to 1.
    Source: Ioffe and Szegedy 2015, "Batch Normalization".
    """

    axes, layout = 4, "(N, H, W, {})"


class LayerNorm(Module):
    """Normalization of each row over its last axes.  (..., *normalized_shape) -> the same.

    normalized_shape: an int or several; weight, bias: of that shape.
    Raises as `ops.layer_norm` does, and ArgumentError for no axis or a negative eps.
    Source: Ba et al. 2016, "Layer Normalization".
    """

    family = "normalization"
    function = ops.layer_norm
    stored = Stored(
        "layer_norm", keras="LayerNormalization", arrays={"gamma": "weight", "beta": "bias"},
        needed=0, settings={"epsilon": "eps"},
    )  # fmt: skip

    def __init__(self, normalized_shape: int | tuple[int, ...], eps: float = 1e-5) -> None:
        given = (
            normalized_shape if isinstance(normalized_shape, tuple | list) else (normalized_shape,)
        )
        self.normalized_shape = tuple(positive("LayerNorm", "normalized_shape", n) for n in given)
        self.eps = real("LayerNorm", "eps", eps)
        if not self.normalized_shape or self.eps < 0:
            raise ArgumentError(
                "LayerNorm: normalized_shape must have an axis and eps be 0 or more, got "
                f"{normalized_shape} and {eps}"
            )
        self.weight, self.bias = (new_parameter(*self.normalized_shape) for _ in range(2))
        self.weight.data[...], self.bias.data[...] = 1, 0

    def forward(self, x: Any) -> Any:
        check_array("LayerNorm", x)
        return ops.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps:g}"


class LocalResponseNorm(Module):
    """Division of each activation by those of `size` neighboring channels.  (N, H, W, C).

    Raises as `ops.local_response_norm` does.
    Source: Krizhevsky et al. 2012; alpha is divided by size, as in PyTorch.
    """

    family = "normalization"
    function = ops.local_response_norm

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        self.size = positive("LocalResponseNorm", "size", size)
        who = "LocalResponseNorm"
        self.alpha, self.beta = real(who, "alpha", alpha), real(who, "beta", beta)
        self.k = real(who, "k", k)

    def forward(self, x: Any) -> Any:
        return ops.local_response_norm(x, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha:g}, beta={self.beta:g}, k={self.k:g}"
