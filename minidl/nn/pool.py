"""Pooling layers over images (N, H, W, C)."""

from typing import Any

from minidl import ops
from minidl.geometry import pad_pair, pair
from minidl.nn.module import Module
from minidl.ops.adaptive_pool import check_output_size

__all__ = ["AdaptiveAvgPool2d", "AdaptiveMaxPool2d", "AvgPool2d", "GlobalAvgPool2d", "MaxPool2d"]


class _Pool(Module):
    family = "pooling"

    def __init__(
        self, kernel_size: Any, stride: Any = None, padding: Any = 0, *, ceil_mode: bool = False
    ) -> None:
        who = type(self).__name__
        self.kernel_size = pair(kernel_size, f"{who}: kernel_size")
        self.stride = self.kernel_size if stride is None else pair(stride, f"{who}: stride")
        pad_pair(padding, self.kernel_size, self.stride, (1, 1), (1, 1))  # fails early
        self.padding, self.ceil_mode = padding, ceil_mode

    def extra_repr(self) -> str:
        text = f"{self.kernel_size}, stride={self.stride}"
        text += f", padding={self.padding!r}" if self.padding != 0 else ""
        return text + (", ceil_mode=True" if self.ceil_mode else "")


class MaxPool2d(_Pool):
    """The maximum of each window.  (N, H, W, C) -> (N, OH, OW, C).

    stride: the kernel size where left out.  ceil_mode: keep a last partial window.
    Raises as `ops.max_pool2d` does.
    Source: Scherer et al. 2010, "Evaluation of Pooling Operations in Convolutional Architectures
    for Object Recognition".
    """

    function = ops.max_pool2d

    def forward(self, x: Any) -> Any:
        return ops.max_pool2d(
            x, self.kernel_size, self.stride, self.padding, ceil_mode=self.ceil_mode
        )


class AvgPool2d(_Pool):
    """The mean of each window.  (N, H, W, C) -> (N, OH, OW, C).

    Padding is left out of the mean unless `count_include_pad`.
    Raises as `ops.avg_pool2d` does.
    Source: LeCun et al. 1998, "Gradient-Based Learning Applied to Document Recognition", whose
    subsampling has a trained factor and bias besides.
    """

    function = ops.avg_pool2d

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = False,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode=ceil_mode)
        self.count_include_pad = count_include_pad

    def forward(self, x: Any) -> Any:
        return ops.avg_pool2d(
            x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad
        )

    def extra_repr(self) -> str:
        return super().extra_repr() + (", count_include_pad=True" if self.count_include_pad else "")


class GlobalAvgPool2d(Module):
    """The mean of each channel.  (N, H, W, C) -> (N, C), or (N, 1, 1, C) with `keepdims`.

    Raises as `ops.global_avg_pool2d` does.
    Source: Lin et al. 2013, "Network In Network", section 3.2.
    """

    family = "pooling"
    function = ops.global_avg_pool2d

    def __init__(self, keepdims: bool = False) -> None:
        self.keepdims = keepdims

    def forward(self, x: Any) -> Any:
        return ops.global_avg_pool2d(x, self.keepdims)

    def extra_repr(self) -> str:
        return "keepdims=True" if self.keepdims else ""


class _AdaptivePool(Module):
    family = "pooling"

    def __init__(self, output_size: Any) -> None:
        check_output_size(type(self).__name__, output_size)
        self.output_size = output_size

    def forward(self, x: Any) -> Any:
        return self.function(x, self.output_size)

    def extra_repr(self) -> str:
        return repr(self.output_size)


class AdaptiveAvgPool2d(_AdaptivePool):
    """The mean of each of OH x OW windows.  (N, H, W, C) -> (N, OH, OW, C).

    output_size: an int, a pair of ints, or None for the image's own size.
    Raises as `ops.adaptive_avg_pool2d` does.
    """

    function = ops.adaptive_avg_pool2d


class AdaptiveMaxPool2d(_AdaptivePool):
    """The maximum of each of OH x OW windows.  (N, H, W, C) -> (N, OH, OW, C).

    output_size: an int, a pair of ints, or None for the image's own size.
    Raises as `ops.adaptive_max_pool2d` does.
    """

    function = ops.adaptive_max_pool2d
