"""Layers that change shapes."""

import math
from typing import Any

from minidl import ops
from minidl.checks import real
from minidl.errors import ArgumentError, ShapeError
from minidl.geometry import pad_pair
from minidl.nn.checks import check_array
from minidl.nn.module import Module
from minidl.ops.upsample import MODES

__all__ = ["Flatten", "Upsample", "ZeroPad2d"]


class Flatten(Module):
    """(N, ...) -> (N, features) with the last axis fastest: features in the order (H, W, C).

    Raises ShapeError for an array without axes.
    """

    def forward(self, x: Any) -> Any:
        check_array("Flatten", x)
        if x.ndim == 0:
            raise ShapeError(f"Flatten expected a (N, ...) array, got shape {x.shape}")
        return x.reshape(x.shape[0], math.prod(x.shape[1:]))


class ZeroPad2d(Module):
    """Zeros around images.  padding: an int, a pair, or ((top, bottom), (left, right)).

    Raises ArgumentError for a padding that isn't of numbers, ShapeError for other than images.
    """

    def __init__(self, padding: Any) -> None:
        if isinstance(padding, str):
            raise ArgumentError(f"ZeroPad2d: padding must be numbers of pixels, got {padding!r}")
        self.padding = pad_pair(padding, (1, 1), (1, 1), (1, 1), (1, 1))

    def forward(self, x: Any) -> Any:
        check_array("ZeroPad2d", x)
        if x.ndim != 4:
            raise ShapeError(f"ZeroPad2d expected images (N, H, W, C), got shape {x.shape}")
        return ops.pad(x, widths=((0, 0), *self.padding, (0, 0)))

    def extra_repr(self) -> str:
        return str(self.padding)


class Upsample(Module):
    """Enlarged images.  (N, H, W, C) -> (N, floor(H * scale), floor(W * scale), C).

    mode: "nearest" or "bilinear".
    Raises as `ops.upsample` does.
    """

    function = ops.upsample

    def __init__(
        self, *, scale_factor: Any, mode: str = "nearest", align_corners: bool = False
    ) -> None:
        if mode not in MODES:
            raise ArgumentError(f"Upsample: mode must be one of {MODES}, got {mode!r}")
        several = isinstance(scale_factor, tuple | list)
        scales = tuple(scale_factor) if several else (scale_factor, scale_factor)
        if len(scales) != 2 or any(real("Upsample", "scale_factor", s) <= 0 for s in scales):
            raise ArgumentError(
                f"Upsample: scale_factor must be a number above 0 or a pair, got {scale_factor!r}"
            )
        self.scale_factor, self.mode, self.align_corners = scale_factor, mode, align_corners

    def forward(self, x: Any) -> Any:
        return ops.upsample(
            x,
            scale_factor=self.scale_factor,
            mode=self.mode,
            align_corners=self.align_corners,
        )

    def extra_repr(self) -> str:
        corners = ", align_corners=True" if self.align_corners else ""
        return f"scale_factor={self.scale_factor}, mode={self.mode!r}{corners}"
