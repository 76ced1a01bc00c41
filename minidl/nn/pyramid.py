"""A feature pyramid: maps of several sizes that all have the same channels and know the context."""

import itertools
from collections.abc import Sequence
from typing import Any

from minidl.checks import positive
from minidl.errors import ArgumentError, ShapeError
from minidl.nn.checks import check_array, check_channels
from minidl.nn.containers import ModuleList, Sequential
from minidl.nn.conv import Conv2d
from minidl.nn.module import Module
from minidl.ops.activation import relu
from minidl.ops.upsample import nearest_to

__all__ = ["FeaturePyramid"]

EXTRA = (None, "maxpool", "p6p7")


class _P6P7(Module):
    """Two maps of half the size each, from the last of the body's."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        self.p6 = Conv2d(in_channels, out_channels, 3, stride=2, padding=1)
        self.p7 = Conv2d(out_channels, out_channels, 3, stride=2, padding=1)

    def forward(self, x: Any) -> Any:
        p6 = self.p6(x)
        return p6, self.p7(relu(p6))


class FeaturePyramid(Module):
    """Maps of a body, each joined with those of smaller size, at `out_channels` channels.

    Called with the maps (N, H_k, W_k, C_k), the largest first; returns a tuple of as many maps
    (N, H_k, W_k, out_channels), followed by those of `extra_blocks`.
    in_channels: C_k of each map.
    extra_blocks: "maxpool" adds every second pixel of the last map returned; "p6p7" adds two maps
        by convolutions of stride 2 of the last map given.
    The state has the names of torchvision's FeaturePyramidNetwork.
    Raises ShapeError where the maps aren't those of `in_channels`, ArgumentError for channels below
    1 and for other extra_blocks.
    Source: Lin et al. 2017, "Feature Pyramid Networks for Object Detection", section 3; "p6p7":
    Lin et al. 2017, "Focal Loss for Dense Object Detection", section 4.
    """

    def __init__(
        self, in_channels: Sequence[int], out_channels: int, extra_blocks: str | None = None
    ) -> None:
        who = "FeaturePyramid"
        if not isinstance(in_channels, list | tuple) or not in_channels:
            raise ArgumentError(
                f"{who}: in_channels must be the channels of each map, got {in_channels!r:.60}"
            )
        self.in_channels = tuple(positive(who, "in_channels", c) for c in in_channels)
        self.out_channels = positive(who, "out_channels", out_channels)
        if extra_blocks not in EXTRA:
            raise ArgumentError(f"{who}: extra_blocks must be one of {EXTRA}, got {extra_blocks!r}")
        self.inner_blocks = ModuleList(
            [Sequential(Conv2d(c, self.out_channels, 1)) for c in self.in_channels]
        )
        self.layer_blocks = ModuleList(
            [
                Sequential(Conv2d(self.out_channels, self.out_channels, 3, padding=1))
                for _ in self.in_channels
            ]
        )
        self.extra_blocks: Any = extra_blocks
        if extra_blocks == "p6p7":
            self.extra_blocks = _P6P7(self.in_channels[-1], self.out_channels)

    def forward(self, *maps: Any) -> Any:
        self._check(maps)
        inner = [block(x) for block, x in zip(self.inner_blocks, maps, strict=True)]
        for k in reversed(range(len(inner) - 1)):
            inner[k] = inner[k] + nearest_to(inner[k + 1], inner[k].shape[1:3])
        found = [block(x) for block, x in zip(self.layer_blocks, inner, strict=True)]
        if self.extra_blocks == "maxpool":
            found.append(found[-1][:, ::2, ::2])
        elif self.extra_blocks is not None:
            found += self.extra_blocks(maps[-1])
        return tuple(found)

    def _check(self, maps: tuple[Any, ...]) -> None:
        if len(maps) != len(self.in_channels):
            raise ShapeError(
                f"FeaturePyramid expected {len(self.in_channels)} maps, the largest first, got "
                f"{len(maps)}: call it with each map as an argument of its own"
            )
        for x, channels in zip(maps, self.in_channels, strict=True):
            check_array("FeaturePyramid", x)
            if x.ndim != 4 or 0 in x.shape[1:3]:
                raise ShapeError(f"FeaturePyramid expected maps (N, H, W, C), got {x.shape}")
            check_channels("FeaturePyramid", x, channels)
        if len({x.shape[0] for x in maps}) > 1:
            counts = [x.shape[0] for x in maps]
            raise ShapeError(f"FeaturePyramid expected maps of the same images, got {counts}")
        sizes = [x.shape[1:3] for x in maps]
        if any(a[0] < b[0] or a[1] < b[1] for a, b in itertools.pairwise(sizes)):
            raise ShapeError(f"FeaturePyramid expected the largest map first, got sizes {sizes}")

    def extra_repr(self) -> str:
        kind = "p6p7" if isinstance(self.extra_blocks, Module) else self.extra_blocks
        extra = "" if kind is None else f", extra_blocks={kind!r}"
        return f"{self.in_channels}, {self.out_channels}{extra}"
