"""Convolution layers over images (N, H, W, C). Arguments and shapes are the ops'.

Weights start with variance 2 / fan_in (He et al. 2015), which keeps the scale of activations
through layers with ReLU; biases start at 0.
"""

from typing import Any

from minidl import ops
from minidl.checks import positive
from minidl.geometry import Pair, pad_pair, pair
from minidl.nn import init
from minidl.nn.linear import options
from minidl.nn.module import Module, new_parameter
from minidl.nn.stored import Stored
from minidl.ops.activation import activate, check_activation
from minidl.ops.conv import check_groups

__all__ = ["Conv2d", "ConvTranspose2d", "DepthwiseConv2d", "PointwiseConv2d", "SeparableConv2d"]

Size = int | tuple[int, int]
KERNEL = {"kernel": "weight", "bias": "bias"}  # in Keras and here


class _Convolution(Module):
    """The base of convolution layers: kernel_size, stride, padding, dilation, weight, bias."""

    family = "convolution"

    def _set(
        self, kernel_size: Any, stride: Any, padding: Any, dilation: Any, activation: Any
    ) -> None:
        who = type(self).__name__
        self.kernel_size: Pair = pair(kernel_size, f"{who}: kernel_size")
        self.stride = pair(stride, f"{who}: stride")
        self.dilation = pair(dilation, f"{who}: dilation")
        pad_pair(padding, self.kernel_size, self.stride, self.dilation, (1, 1))  # fails early
        self.padding = padding
        self.activation = check_activation(who, activation)

    def _set_weights(self, shape: tuple[int, ...], fan_in: int, outputs: int, bias: bool) -> None:
        self.weight = new_parameter(*shape)
        init.kaiming_uniform(self.weight, fan=fan_in)
        self.bias = new_parameter(outputs) if bias else None
        if self.bias is not None:
            init.zeros(self.bias)

    def extra_repr(self) -> str:
        text = f"{self._channels()}, {_short(self.kernel_size)}"
        for name, plain in (
            ("stride", (1, 1)),
            ("padding", 0),
            ("output_padding", (0, 0)),
            ("dilation", (1, 1)),
            ("groups", 1),
            ("multiplier", 1),
        ):
            value = getattr(self, name, plain)
            if value != plain:
                text += f", {name}={_short(value)!r}"
        return text + options(self)

    def _channels(self) -> str:
        return f"{self.in_channels}, {self.out_channels}"  # type: ignore[attr-defined]


def _short(value: Any) -> Any:
    """Return 3 for (3, 3)."""
    is_pair = isinstance(value, tuple) and isinstance(value[0], int)
    return value[0] if is_pair and value[0] == value[1] else value


class Conv2d(_Convolution):
    """Convolution.  (N, H, W, in_channels) -> (N, OH, OW, out_channels).

    weight: (kh, kw, in_channels/groups, out_channels); bias: (out_channels,).
    padding: an int, a pair, ((top, bottom), (left, right)), "valid" or "same".
    activation: None, "relu", "relu6", "leaky_relu", "tanh" or "sigmoid".
    Raises as `ops.conv2d` does.
    Source: Dumoulin and Visin 2016, "A guide to convolution arithmetic for deep learning".
    """

    function = ops.conv2d
    stored = Stored(
        "convolution", {"weight": "height width in/groups out"}, "Conv2D", KERNEL,
        {"Convolution2D": "Conv2D", "AtrousConvolution2D": "Conv2D"},
    )  # fmt: skip

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Any = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        activation: str | None = None,
    ) -> None:
        self.in_channels = positive("Conv2d", "in_channels", in_channels)
        self.out_channels = positive("Conv2d", "out_channels", out_channels)
        check_groups("Conv2d", groups, in_channels=in_channels, out_channels=out_channels)
        self.groups = groups
        self._set(kernel_size, stride, padding, dilation, activation)
        kh, kw = self.kernel_size
        inputs = in_channels // groups
        self._set_weights((kh, kw, inputs, out_channels), kh * kw * inputs, out_channels, bias)

    def forward(self, x: Any) -> Any:
        return ops.conv2d(
            x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups,
            activation=self.activation,
        )  # fmt: skip

    def with_max_pool(self, x: Any) -> Any:
        """Return the output after ReLU and a 2x2 max-pooling, computed in one op.

        A Sequential calls this where the three follow one another.
        """
        return ops.conv2d_relu_max_pool(
            x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        )


class ConvTranspose2d(_Convolution):
    """Transposed convolution.  (N, H, W, in_channels) -> (N, OH, OW, out_channels).

    OH = (H - 1) * stride - padding + dilation * (kh - 1) + 1 + output_padding; with "same",
    OH = H * stride.  weight: (kh, kw, out_channels/groups, in_channels); bias: (out_channels,).
    Raises as `ops.conv_transpose2d` does.
    Source: Dumoulin and Visin 2016, "A guide to convolution arithmetic for deep learning", section
    4.
    """

    function = ops.conv_transpose2d
    stored = Stored(
        "transposed", {"weight": "height width out/groups in"}, "Conv2DTranspose", KERNEL,
        {"Deconvolution2D": "Conv2DTranspose"},
    )  # fmt: skip

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Any = 0,
        output_padding: Size = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Size = 1,
        *,
        activation: str | None = None,
    ) -> None:
        self.in_channels = positive("ConvTranspose2d", "in_channels", in_channels)
        self.out_channels = positive("ConvTranspose2d", "out_channels", out_channels)
        check_groups("ConvTranspose2d", groups, in_channels=in_channels, out_channels=out_channels)
        self.groups = groups
        self._set(kernel_size, stride, padding, dilation, activation)
        self.output_padding = pair(output_padding, "ConvTranspose2d: output_padding", 0)
        kh, kw = self.kernel_size
        outputs = out_channels // groups
        # each output sees about kh*kw / (stride*stride) pixels of the inputs of its group
        seen = max(1, kh * kw // (self.stride[0] * self.stride[1])) * (in_channels // groups)
        self._set_weights((kh, kw, outputs, in_channels), seen, out_channels, bias)

    def forward(self, x: Any) -> Any:
        y = ops.conv_transpose2d(
            x, self.weight, self.bias, self.stride, self.padding, self.output_padding,
            self.groups, self.dilation,
        )  # fmt: skip
        return activate(y, self.activation)


class DepthwiseConv2d(_Convolution):
    """Depthwise convolution.  (N, H, W, C) -> (N, OH, OW, C * multiplier).

    Each channel has its own filters.
    weight: (kh, kw, channels, multiplier); bias: (channels * multiplier,).
    Raises as `ops.depthwise_conv2d` does.
    Source: Howard et al. 2017, "MobileNets", section 3.1.
    """

    function = ops.depthwise_conv2d
    stored = Stored(
        "depthwise", {"weight": "height width channels multiplier"}, "DepthwiseConv2D", KERNEL,
        {"depthwise_kernel": "kernel"},
    )  # fmt: skip

    def __init__(
        self,
        channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Any = 0,
        dilation: Size = 1,
        multiplier: int = 1,
        bias: bool = True,
        *,
        activation: str | None = None,
    ) -> None:
        self.channels = positive("DepthwiseConv2d", "channels", channels)
        self.multiplier = positive("DepthwiseConv2d", "multiplier", multiplier)
        self._set(kernel_size, stride, padding, dilation, activation)
        kh, kw = self.kernel_size
        self._set_weights((kh, kw, channels, multiplier), kh * kw, channels * multiplier, bias)

    def forward(self, x: Any) -> Any:
        return ops.depthwise_conv2d(
            x, self.weight, self.bias, self.stride, self.padding, self.dilation,
            activation=self.activation,
        )  # fmt: skip

    def _channels(self) -> str:
        return str(self.channels)


class PointwiseConv2d(Conv2d):
    """A 1x1 convolution: the same Linear for every pixel.  (N, H, W, in) -> (N, H, W, out).

    weight: (1, 1, in_channels, out_channels); bias: (out_channels,).
    Raises as `ops.conv2d` does.
    Source: Lin et al. 2013, "Network In Network", section 3.1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        bias: bool = True,
        *,
        activation: str | None = None,
    ) -> None:
        super().__init__(in_channels, out_channels, 1, bias=bias, activation=activation)

    def extra_repr(self) -> str:
        return self._channels() + options(self)


class SeparableConv2d(Module):
    """A depthwise convolution without bias, then a pointwise one.

    (N, H, W, in_channels) -> (N, OH, OW, out_channels).  Parts: depthwise, pointwise.
    Source: Chollet 2016, "Xception".
    """

    stored = Stored(
        "separable",
        keras="SeparableConv2D",
        arrays={
            "depthwise_kernel": "depthwise.weight",
            "pointwise_kernel": "pointwise.weight",
            "bias": "pointwise.bias",
        },
        earlier={"SeparableConvolution2D": "SeparableConv2D"},
        needed=2,
    )

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Any = 0,
        dilation: Size = 1,
        multiplier: int = 1,
        bias: bool = True,
        *,
        activation: str | None = None,
    ) -> None:
        self.depthwise = DepthwiseConv2d(
            in_channels, kernel_size, stride, padding, dilation, multiplier, bias=False
        )
        self.pointwise = PointwiseConv2d(
            in_channels * multiplier, out_channels, bias, activation=activation
        )

    def forward(self, x: Any) -> Any:
        return self.pointwise(self.depthwise(x))
