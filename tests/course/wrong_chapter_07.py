"""Wrong answers to chapter 7's exercises."""

import numpy as np
from wrong_answers import wrong

from course.solutions import chapter_07 as right


@wrong("conv_cost", "the biases are missing")
def _(in_channels, out_channels, kernel, size, stride=1, groups=1):
    weights = kernel**2 * in_channels * out_channels // groups
    return weights, weights * (-(-size // stride)) ** 2


@wrong("conv_cost", "those of the size of the input")
def _(in_channels, out_channels, kernel, size, stride=1, groups=1):
    weights = kernel**2 * in_channels * out_channels // groups
    return weights + out_channels, weights * size**2


@wrong("conv_cost", "those of one output place")
def _(in_channels, out_channels, kernel, size, stride=1, groups=1):
    weights = kernel**2 * in_channels * out_channels // groups
    return weights + out_channels, weights


@wrong("conv_cost", "a pixel smaller")
def _(in_channels, out_channels, kernel, size, stride=1, groups=1):
    weights = kernel**2 * in_channels * out_channels // groups
    return weights + out_channels, weights * (size // stride) ** 2


@wrong("conv_cost", "groups play no part in the parameters")
def _(in_channels, out_channels, kernel, size, stride=1, groups=1):
    return right.conv_cost(in_channels, out_channels, kernel, size, stride)


@wrong("conv_cost", "both channels were divided")
def _(in_channels, out_channels, kernel, size, stride=1, groups=1):
    weights = kernel**2 * (in_channels // groups) * (out_channels // groups)
    return weights + out_channels, weights * (-(-size // stride)) ** 2


@wrong("conv_cost", "2 results, parameters, mult-adds, and returned one int")
def _(in_channels, out_channels, kernel, size, stride=1, groups=1):
    return kernel**2 * in_channels * out_channels // groups + out_channels


@wrong("separable_ratio", "how many times fewer")
def _(out_channels, kernel):
    return 1 / (1 / out_channels + 1 / kernel**2)


@wrong("separable_ratio", "pointwise convolution alone")
def _(out_channels, kernel):
    return 1 / kernel**2


@wrong("separable_ratio", "depthwise convolution alone")
def _(out_channels, kernel):
    return 1 / out_channels


@wrong("separable_ratio", "along one axis only")
def _(out_channels, kernel):
    return 1 / out_channels + 1 / kernel


@wrong("separable_ratio", "they were multiplied")
def _(out_channels, kernel):
    return 1 / (out_channels * kernel**2)


def logistic(z):
    return 1 / (1 + np.exp(-z))


def gate(x, down, down_bias, up, up_bias, axis=(1, 2)):
    inner = np.maximum(x.mean(axis=axis) @ down + down_bias, 0)
    return inner @ up + up_bias


@wrong("squeeze_excite", "is the gate")
def _(x, down, down_bias, up, up_bias):
    return logistic(gate(x, down, down_bias, up, up_bias))


@wrong("squeeze_excite", "without the logistic function")
def _(x, down, down_bias, up, up_bias):
    return x * gate(x, down, down_bias, up, up_bias)[:, None, None]


@wrong("squeeze_excite", "channels compete")
def _(x, down, down_bias, up, up_bias):
    found = np.exp(gate(x, down, down_bias, up, up_bias))
    return x * (found / found.sum(axis=1, keepdims=True))[:, None, None]


@wrong("squeeze_excite", "ReLU between")
def _(x, down, down_bias, up, up_bias):
    inner = x.mean(axis=(1, 2)) @ down + down_bias
    return x * logistic(inner @ up + up_bias)[:, None, None]


@wrong("squeeze_excite", "each image has its own gate")
def _(x, down, down_bias, up, up_bias):
    return x * logistic(gate(x, down, down_bias, up, up_bias, axis=(0, 1, 2)))


@wrong("squeeze_excite", "nothing was squeezed")
def _(x, down, down_bias, up, up_bias):
    return x * logistic(np.maximum(x @ down + down_bias, 0) @ up + up_bias)


@wrong("squeeze_excite", r"it raised ValueError: operands could not be broadcast.*x \* logistic")
def _(x, down, down_bias, up, up_bias):
    return x * logistic(gate(x, down, down_bias, up, up_bias))


@wrong("dense_channels", "after the last block too")
def _(start, growth, layers):
    for count in layers:
        start = (start + count * growth) // 2
    return start


@wrong("dense_channels", "no transition halves")
def _(start, growth, layers):
    return start + growth * sum(layers)


@wrong("dense_channels", "each block adds growth once")
def _(start, growth, layers):
    for number, _ in enumerate(layers):
        start = (start // 2 if number else start) + growth
    return start


@wrong("dense_channels", "keeps its input")
def _(start, growth, layers):
    for number, count in enumerate(layers):
        start = (start // 2 if number else 0) * (number == len(layers) - 1) + count * growth
    return start
