"""Pooling of regions: boxes in feature maps, each brought to the same size."""

import math
from typing import Any

from minidl import ops
from minidl.checks import flag, real, whole
from minidl.errors import ArgumentError
from minidl.geometry import pair
from minidl.nn.checks import check_array
from minidl.nn.module import Module
from minidl.ops.roi import MOST_POINTS

__all__ = ["RoIAlign", "RoIPool"]


class _RoI(Module):
    family = "pooling"

    def _prepare(self, output_size: Any, spatial_scale: float) -> None:
        who = type(self).__name__
        self.output_size = pair(output_size, f"{who}: output_size")
        self.spatial_scale = real(who, "spatial_scale", spatial_scale)
        if self.spatial_scale <= 0:
            raise ArgumentError(f"{who}: spatial_scale must be larger than 0, got {spatial_scale}")


class RoIAlign(_RoI):
    """Each box of the feature maps at one size, by the means of points between pixels.

    (N, H, W, C) and boxes (K, 5): image number, x1, y1, x2, y2 -> (K, OH, OW, C).
    The settings are those of `ops.roi_align`.
    Raises as `ops.roi_align` does.
    Source: He et al. 2017, "Mask R-CNN", section 3.
    """

    function = ops.roi_align

    def __init__(
        self,
        output_size: Any,
        spatial_scale: float = 1.0,
        sampling_ratio: int = -1,
        aligned: bool = False,
    ) -> None:
        self._prepare(output_size, spatial_scale)
        most = math.isqrt(MOST_POINTS)
        self.sampling_ratio = whole("RoIAlign", "sampling_ratio", sampling_ratio, -1, most)
        self.aligned = flag("RoIAlign", "aligned", aligned)

    def forward(self, x: Any, boxes: Any) -> Any:
        check_array("RoIAlign", x)
        return ops.roi_align(
            x, boxes, self.output_size, self.spatial_scale, self.sampling_ratio, self.aligned
        )

    def extra_repr(self) -> str:
        text = f"{self.output_size}, spatial_scale={self.spatial_scale!r}"
        text += f", sampling_ratio={self.sampling_ratio}"
        return text + (", aligned=True" if self.aligned else "")


class RoIPool(_RoI):
    """Each box of the feature maps at one size, by the maxima of whole pixels.

    (N, H, W, C) and boxes (K, 5): image number, x1, y1, x2, y2 -> (K, OH, OW, C).
    Raises as `ops.roi_pool` does.
    Source: Girshick 2015, "Fast R-CNN", section 2.1.
    """

    function = ops.roi_pool

    def __init__(self, output_size: Any, spatial_scale: float = 1.0) -> None:
        self._prepare(output_size, spatial_scale)

    def forward(self, x: Any, boxes: Any) -> Any:
        check_array("RoIPool", x)
        return ops.roi_pool(x, boxes, self.output_size, self.spatial_scale)

    def extra_repr(self) -> str:
        return f"{self.output_size}, spatial_scale={self.spatial_scale!r}"
