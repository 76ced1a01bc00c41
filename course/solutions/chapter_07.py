"""Solutions of chapter 7, the history in blocks."""

import numpy as np


def conv_cost(in_channels, out_channels, kernel, size, stride=1, groups=1):
    """Return (parameters, mult-adds) of a convolution with a bias (section 7.1).

    kernel: of kernel x kernel pixels, an odd number.  size: of the input, size x size pixels. The
    padding is kernel // 2 on each side, so that with stride 1 the maps keep their size, and with
    stride s they have ceil(size / s) pixels along a side.  The bias counts as no mult-add.
    """
    weights = kernel**2 * (in_channels // groups) * out_channels
    out_size = -(-size // stride)  # rounded up
    return weights + out_channels, weights * out_size**2


def separable_ratio(out_channels, kernel):
    """Return which share of a convolution's mult-adds its separable form needs (section 7.9).

    The full one has kernel x kernel pixels and out_channels outputs; the separable one is a
    depthwise convolution of that kernel and a pointwise one.
    """
    return 1 / out_channels + 1 / kernel**2


def squeeze_excite(x, down, down_bias, up, up_bias):
    """Return what a squeeze-and-excitation block makes of x (N, H, W, C), same shape (section 7.8).

    down: (C, R), up: (R, C), the weights of its two linear layers, with biases (R,) and (C,). ReLU
    after the first, the logistic function after the second.
    """
    squeezed = x.mean(axis=(1, 2))  # (N, C)
    inner = np.maximum(squeezed @ down + down_bias, 0)
    gate = 1 / (1 + np.exp(-(inner @ up + up_bias)))
    return x * gate[:, None, None]  # (N, C) -> (N, 1, 1, C)


def dense_channels(start, growth, layers):
    """Return the channels after DenseNet's blocks of so many layers each (section 7.7).

    start: channels before the first block.  layers: such as (6, 12, 24, 16); between two blocks a
    transition halves the channels, and there is none after the last.
    """
    channels = start
    for number, count in enumerate(layers):
        if number:
            channels //= 2
        channels += count * growth
    return channels
