"""Caffe's layers with weights, and those over windows, as minidl's modules."""

import math
from typing import Any

import numpy as np

from minidl import nn, ops
from minidl.geometry import output_size
from minidl.io.caffe.making import Made, Making, axis_of, filled, known, maker
from minidl.io.caffe.message import Message
from minidl.nn import Module, Parameter

__all__ = ["Scale"]

MOST = 2**20  # channels, features, pixels of a window
Pair = tuple[int, int]


def _pair(settings: Message, name: str, short: str, default: int, least: int) -> Pair:
    """Return a setting of both sides: kernel_size once or twice, or kernel_h and kernel_w."""
    sides = [settings.wholes(f"{short}_{side}", least, MOST) for side in "hw"]
    if sides[0] or sides[1]:
        if not (sides[0] and sides[1]) or settings.has(name):
            raise settings.refuse(f"give {name}, or both {short}_h and {short}_w")
        return sides[0][-1], sides[1][-1]
    given = settings.wholes(name, least, MOST) or [default]
    if len(given) > 2 or min(given) < least:
        raise settings.refuse(f"{name} must be given once or twice, found {given!r:.60}")
    return given[0], given[-1]


def _window(settings: Message) -> tuple[Pair, Pair, tuple[Pair, Pair]]:
    """Return kernel, stride and padding."""
    kernel = _pair(settings, "kernel_size", "kernel", 0, 1)
    stride = _pair(settings, "stride", "stride", 1, 1)
    top, left = _pair(settings, "pad", "pad", 0, 0)
    return kernel, stride, ((top, top), (left, left))


def _dilation(settings: Message) -> Pair:
    given = settings.wholes("dilation", 1, MOST) or [1]
    return given[0], given[-1]


def _channels(making: Making, groups: int, of_blob: int) -> int:
    """Return how many channels images have; the weights know it where the file doesn't."""
    channels = making.images()[2]
    if channels is None and making.blobs and making.blobs[0].ndim == 4:
        channels = making.blobs[0].shape[of_blob] * (groups if of_blob == 1 else 1)
    if not channels:
        raise making.refuse(
            "nothing says how many channels its images have: give input_shape=(H, W, C)"
        )
    return channels


def _sizes(size: Any, one: Any) -> Any:
    """Return (H, W) after a window; `one` computes both, if both are known."""
    return one(size) if None not in size else (None, None)


@maker("Convolution")
def _(making: Making) -> Made:
    settings = making.settings("convolution_param")
    kernel, stride, padding = _window(settings)
    dilation = _dilation(settings)
    width, groups = settings.whole("num_output", 0, 1, MOST), settings.whole("group", 1, 1, MOST)
    if settings.whole("axis", 1) != 1:
        raise making.refuse("only convolutions along axis 1 are read")
    channels = _channels(making, groups, of_blob=1)
    bias = settings.flag("bias_term", True)
    shape = (width, channels // groups, *kernel)
    arrays = making.arrays(shape, (width,)) if bias else making.arrays(shape)
    layer = nn.Conv2d(channels, width, kernel, stride, padding, dilation, groups, bias)
    if arrays is not None:
        filled(layer.weight, arrays[0].transpose(2, 3, 1, 0))  # (O, I, kh, kw) -> (kh, kw, I, O)
        if bias:
            filled(layer.bias, arrays[1])
    size = _sizes(
        making.images()[:2],
        lambda size: output_size("Convolution", size, kernel, stride, padding, dilation),
    )
    return Made(layer, [(*size, width)])


@maker("Deconvolution")
def _(making: Making) -> Made:
    settings = making.settings("convolution_param")
    kernel, stride, padding = _window(settings)
    dilation = _dilation(settings)
    width, groups = settings.whole("num_output", 0, 1, MOST), settings.whole("group", 1, 1, MOST)
    channels = _channels(making, groups, of_blob=0)
    bias = settings.flag("bias_term", True)
    shape = (channels, width // groups, *kernel)
    arrays = making.arrays(shape, (width,)) if bias else making.arrays(shape)
    layer = nn.ConvTranspose2d(
        channels, width, kernel, stride, padding, groups=groups, bias=bias, dilation=dilation
    )
    if arrays is not None:
        filled(layer.weight, arrays[0].transpose(2, 3, 1, 0))  # (I, O, kh, kw) -> (kh, kw, O, I)
        if bias:
            filled(layer.bias, arrays[1])
    size = [
        None if n is None else (n - 1) * s - 2 * p[0] + d * (k - 1) + 1
        for n, s, p, d, k in zip(making.images(), stride, padding, dilation, kernel, strict=False)
    ]
    if any(n is not None and n < 1 for n in size):
        raise making.refuse(f"nothing is left of images of {making.images()[:2]}")
    return Made(layer, [(*size, width)])


@maker("Pooling")
def _(making: Making) -> Made:
    settings = making.settings("pooling_param")
    height, width, channels = making.images()
    kind = settings.choice("pool", "MAX", "AVE", "STOCHASTIC")
    if kind == "STOCHASTIC":
        raise making.refuse("stochastic pooling isn't read")
    if settings.flag("global_pooling", False):
        whole = nn.AdaptiveMaxPool2d(1) if kind == "MAX" else nn.GlobalAvgPool2d(keepdims=True)
        return Made(whole, [(1, 1, channels)])
    kernel, stride, padding = _window(settings)
    ceil = settings.choice("round_mode", "CEIL", "FLOOR") == "CEIL"
    for k, s in zip(kernel, stride, strict=True):
        if ceil and s > k:  # Caffe then has windows without pixels
            raise making.refuse(f"windows of {k} pixels every {s} pixels aren't read")
    layer: Module
    if kind == "MAX":
        layer = nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil)
    else:
        layer = nn.AvgPool2d(kernel, stride, padding, ceil, count_include_pad=True)
    size = _sizes(
        (height, width),
        lambda size: output_size("Pooling", size, kernel, stride, padding, ceil_mode=ceil),
    )
    return Made(layer, [(*size, channels)])


# Rows


@maker("InnerProduct")
def _(making: Making) -> Made:
    settings = making.settings("inner_product_param")
    if settings.whole("axis", 1, -8) != 1:
        raise making.refuse("only products along axis 1 are read")
    shape = known(making.one())
    if shape is None:
        raise making.refuse(
            f"it takes images whole, and of theirs only {making.one()} is known: give "
            "input_shape=(H, W, C)"
        )
    features = math.prod(shape)
    width, bias = settings.whole("num_output", 0, 1, MOST), settings.flag("bias_term", True)
    turned = settings.flag("transpose", False)
    blob = (features, width) if turned else (width, features)
    arrays = making.arrays(blob, (width,)) if bias else making.arrays(blob)
    layer = nn.Linear(features, width, bias)
    if arrays is not None:
        rows = arrays[0] if turned else arrays[0].T  # (features, out)
        if len(shape) == 3:  # features in the order (C, H, W) -> (H, W, C)
            h, w, c = shape
            rows = rows.reshape(c, h, w, width).transpose(1, 2, 0, 3)
        filled(layer.weight, rows)
        if bias:
            filled(layer.bias, arrays[1])
    return Made(layer, [(width,)], rows_of if len(shape) > 1 else None)


def rows_of(x: Any) -> Any:
    """Flatten (N, ...) to rows, the last axis fastest."""
    return x.reshape(x.shape[0], math.prod(x.shape[1:]))


# Normalization


@maker("BatchNorm")
def _(making: Making) -> Made:
    """Caffe keeps sums of statistics, and a factor that they are divided by."""
    settings, shape = making.settings("batch_norm_param"), making.one()
    channels = shape[-1]
    if channels is None:
        raise making.refuse("nothing says how many channels its images have")
    arrays = making.arrays((channels,), (channels,), (1,))
    kind = nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d
    eps = settings.real("eps", 1e-5)
    layer = kind(channels, eps, 1 - settings.real("moving_average_fraction", 0.999))
    for parameter in layer.parameters():  # Caffe has them in a Scale, which may follow
        parameter.requires_grad = False
    if arrays is not None:
        factor = arrays[2].item()
        factor = 0.0 if factor == 0 else 1 / factor
        layer.running_mean.data[...] = arrays[0] * np.float32(factor)
        layer.running_var.data[...] = arrays[1] * np.float32(factor)
    return Made(layer, [shape])


class Scale(Module):
    """Channels times a weight each, plus a bias each.  (..., C) -> (..., C)."""

    family = "normalization"

    def __init__(self, channels: int, weight: bool, bias: bool) -> None:
        self.weight = Parameter(np.ones(channels, np.float32)) if weight else None
        self.bias = Parameter(np.zeros(channels, np.float32)) if bias else None

    def forward(self, x: Any) -> Any:
        x = x if self.weight is None else x * self.weight
        return x if self.bias is None else x + self.bias


class Gate(Module):
    """Images times one number for each image and channel."""

    def forward(self, x: Any, gate: Any) -> Any:
        return ops.channel_gate(x, gate)


@maker("Scale", "Bias")
def _(making: Making) -> Made:
    scales = making.layer.type == "Scale"
    settings = making.settings("scale_param" if scales else "bias_param")
    if len(making.shapes) == 2:
        return _gate(making, settings)
    shape = making.one()
    axis = axis_of(making, settings.whole("axis", 1, -8), len(shape) + 1)
    if axis != len(shape) or settings.whole("num_axes", 1, -1) != 1 or shape[-1] is None:
        raise making.refuse("only a number for each channel is read (axis 1, num_axes 1)")
    bias = not scales or settings.flag("bias_term", False)
    arrays = making.arrays(*[(shape[-1],)] * (scales + bias))
    layer = Scale(shape[-1], scales, bias)
    if arrays is not None:
        for parameter, array in zip(layer.parameters(), arrays, strict=True):
            filled(parameter, array)
    return Made(layer, [shape])


def _gate(making: Making, settings: Message) -> Made:
    shape, gate = making.shapes
    fits = gate in (shape[-1:], (1, 1, *shape[-1:])) and len(shape) == 3
    if making.layer.type != "Scale" or settings.whole("axis", 1, -8) != 0 or not fits:
        raise making.refuse("of two bottoms, the second must be a number for each channel, axis 0")
    return Made(Gate(), [shape])


@maker("LRN")
def _(making: Making) -> Made:
    settings = making.settings("lrn_param")
    size = settings.whole("local_size", 5, 1, MOST)
    numbers = [settings.real(name, n) for name, n in (("alpha", 1.0), ("beta", 0.75), ("k", 1.0))]
    if size % 2 == 0:
        raise making.refuse(f"local_size must be odd, got {size}")
    region = settings.choice("norm_region", "ACROSS_CHANNELS", "WITHIN_CHANNEL")
    kind = nn.LocalResponseNorm if region == "ACROSS_CHANNELS" else WithinChannel
    making.images()
    return Made(kind(size, *numbers), [making.one()])


class WithinChannel(Module):
    """Division of each pixel by those in a window around it, in its own channel.

    x / (1 + alpha * the mean of the squares in the window) ** beta; pixels beyond the border are 0.
    """

    family = "normalization"

    def __init__(self, size: int, alpha: float, beta: float, k: float) -> None:
        self.size, self.alpha, self.beta = size, alpha, beta

    def forward(self, x: Any) -> Any:
        squares = ops.avg_pool2d(x * x, self.size, 1, self.size // 2, count_include_pad=True)
        return x * ops.power(squares * self.alpha + 1, -self.beta)


@maker("PReLU")
def _(making: Making) -> Made:
    settings, shape = making.settings("prelu_param"), making.one()
    shared = settings.flag("channel_shared", False)
    count = 1 if shared else shape[-1]
    if count is None:
        raise making.refuse("nothing says how many channels its images have")
    arrays = making.arrays((count,))
    layer = nn.PReLU(count)
    if arrays is not None:
        filled(layer.weight, arrays[0])
    return Made(layer, [shape])
