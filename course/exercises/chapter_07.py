"""Exercises of chapter 7, the history in blocks. `python -m course.check 7` checks them."""


def conv_cost(in_channels, out_channels, kernel, size, stride=1, groups=1):
    """Return (parameters, mult-adds) of a convolution with a bias (section 7.1).

    kernel: of kernel x kernel pixels, an odd number.  size: of the input, size x size pixels. The
    padding is kernel // 2 on each side, so that with stride 1 the maps keep their size, and with
    stride s they have ceil(size / s) pixels along a side.  The bias counts as no mult-add.
    """
    raise NotImplementedError


def separable_ratio(out_channels, kernel):
    """Return which share of a convolution's mult-adds its separable form needs (section 7.9).

    The full one has kernel x kernel pixels and out_channels outputs; the separable one is a
    depthwise convolution of that kernel and a pointwise one.
    """
    raise NotImplementedError


def squeeze_excite(x, down, down_bias, up, up_bias):
    """Return what a squeeze-and-excitation block makes of x (N, H, W, C), same shape (section 7.8).

    down: (C, R), up: (R, C), the weights of its two linear layers, with biases (R,) and (C,). ReLU
    after the first, the logistic function after the second.
    """
    raise NotImplementedError


def dense_channels(start, growth, layers):
    """Return the channels after DenseNet's blocks of so many layers each (section 7.7).

    start: channels before the first block.  layers: such as (6, 12, 24, 16); between two blocks a
    transition halves the channels, and there is none after the last.
    """
    raise NotImplementedError
