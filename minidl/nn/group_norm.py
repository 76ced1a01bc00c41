"""Normalization over groups of an image's own channels."""

from typing import Any

from minidl import ops
from minidl.checks import positive, real
from minidl.errors import ArgumentError
from minidl.nn.checks import check_array, check_channels
from minidl.nn.module import Module, new_parameter
from minidl.nn.stored import Stored

__all__ = ["GroupNorm", "InstanceNorm2d"]


class _OwnNorm(Module):
    """weight, bias: (C,), or None without `affine`."""

    family = "normalization"

    def _prepare(self, channels: int, eps: float, affine: bool) -> None:
        who = type(self).__name__
        self.eps = real(who, "eps", eps)
        if self.eps < 0:
            raise ArgumentError(f"{who}: eps must be 0 or more, got {eps}")
        self.weight = self.bias = None
        if affine:
            self.weight, self.bias = new_parameter(channels), new_parameter(channels)
            self.weight.data[...], self.bias.data[...] = 1, 0


class GroupNorm(_OwnNorm):
    """Normalization of each image over groups of adjacent channels.  (N, ..., C) -> (N, ..., C).

    Raises as `ops.group_norm` does, and ArgumentError for groups that don't divide num_channels.
    Source: Wu and He 2018, "Group Normalization".
    """

    function = ops.group_norm
    stored = Stored(
        "group_norm", keras="GroupNormalization", arrays={"gamma": "weight", "beta": "bias"},
        needed=0, settings={"epsilon": "eps", "groups": "num_groups"},
    )  # fmt: skip

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True
    ) -> None:
        self.num_groups = positive("GroupNorm", "num_groups", num_groups)
        self.num_channels = positive("GroupNorm", "num_channels", num_channels)
        if self.num_channels % self.num_groups:
            raise ArgumentError(
                f"GroupNorm: num_groups must divide num_channels, got {num_groups} and "
                f"{num_channels}"
            )
        self._prepare(self.num_channels, eps, affine)

    def forward(self, x: Any) -> Any:
        check_array("GroupNorm", x)
        check_channels("GroupNorm", x, self.num_channels)
        return ops.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        text = f"{self.num_groups}, {self.num_channels}, eps={self.eps:g}"
        return text if self.weight is not None else f"{text}, affine=False"


class InstanceNorm2d(_OwnNorm):
    """Normalization of each channel of each image.  (N, H, W, C) -> (N, H, W, C).

    Uses the image's own mean and variance, also in evaluation mode; there are no running
    statistics.
    Raises as `ops.instance_norm` does, and ArgumentError for num_features below 1 or a negative
    eps.
    Source: Ulyanov et al. 2016, "Instance Normalization".
    """

    function = ops.instance_norm
    stored = Stored("instance_norm", {"weight": "channels", "bias": "channels"})

    def __init__(self, num_features: int, eps: float = 1e-5, *, affine: bool = False) -> None:
        self.num_features = positive("InstanceNorm2d", "num_features", num_features)
        self._prepare(self.num_features, eps, affine)

    def forward(self, x: Any) -> Any:
        check_array("InstanceNorm2d", x)
        check_channels("InstanceNorm2d", x, self.num_features)
        return ops.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)

    def extra_repr(self) -> str:
        text = f"{self.num_features}, eps={self.eps:g}"
        return text if self.weight is None else f"{text}, affine=True"
