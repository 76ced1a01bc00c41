"""Layers that rearrange pixels."""

from typing import Any

from minidl import ops
from minidl.checks import positive
from minidl.errors import ArgumentError
from minidl.geometry import pad_pair
from minidl.nn.checks import check_array
from minidl.nn.module import Module

__all__ = ["PixelShuffle", "PixelUnshuffle", "ReflectionPad2d"]


class PixelShuffle(Module):
    """Channels rearranged as pixels.  (N, H, W, C * r * r) -> (N, H * r, W * r, C).

    Raises as `ops.pixel_shuffle` does.
    Source: Shi et al. 2016, "Real-Time Single Image and Video Super-Resolution".
    """

    function = ops.pixel_shuffle

    def __init__(self, upscale_factor: int) -> None:
        self.upscale_factor = positive("PixelShuffle", "upscale_factor", upscale_factor)

    def forward(self, x: Any) -> Any:
        check_array("PixelShuffle", x)
        return ops.pixel_shuffle(x, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"{self.upscale_factor}"


class PixelUnshuffle(Module):
    """The inverse of PixelShuffle.  (N, H * r, W * r, C) -> (N, H, W, C * r * r).

    Raises as `ops.pixel_unshuffle` does, and ArgumentError for a factor below 1.
    Source: Shi et al. 2016, "Real-Time Single Image and Video Super-Resolution", equation 4,
    undone.
    """

    function = ops.pixel_unshuffle

    def __init__(self, downscale_factor: int) -> None:
        self.downscale_factor = positive("PixelUnshuffle", "downscale_factor", downscale_factor)

    def forward(self, x: Any) -> Any:
        check_array("PixelUnshuffle", x)
        return ops.pixel_unshuffle(x, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"{self.downscale_factor}"


class ReflectionPad2d(Module):
    """Borders that mirror the image.  (N, H, W, C) -> (N, top + H + bottom, left + W + right, C).

    padding: an int, a pair, or ((top, bottom), (left, right)).
    Raises as `ops.reflection_pad2d` does.
    """

    function = ops.reflection_pad2d

    def __init__(self, padding: Any) -> None:
        if isinstance(padding, str):
            raise ArgumentError(f"ReflectionPad2d: padding must be numbers, got {padding!r}")
        self.padding = pad_pair(padding, (1, 1), (1, 1), (1, 1), (1, 1))

    def forward(self, x: Any) -> Any:
        check_array("ReflectionPad2d", x)
        return ops.reflection_pad2d(x, self.padding)

    def extra_repr(self) -> str:
        return str(self.padding)
