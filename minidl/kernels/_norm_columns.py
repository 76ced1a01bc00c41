"""What batch normalisation computes channel by channel, between its passes over the rows.

Little work; sums, and what is made of them, in float64. Arrays are of one number a channel, but for
`found`, (parts, 2, C): two sums for each part of the rows.
"""

import functools
import math

import numpy as np

from minidl.kernels._jit import EXACT, inlined, kernel

__all__ = [
    "CHANNELS_A_PART",
    "PIVOT_ROWS",
    "column_grads",
    "column_sums",
    "fold",
    "move",
    "pivot_of",
    "scales",
    "statistics",
]

CHANNELS_A_PART = 32
PIVOT_ROWS = 64

exact = functools.partial(kernel, flags=EXACT)
plain = functools.partial(kernel, flags=frozenset())  # rounds as the ops that it stands for


@inlined
def _channels(part, channels):
    """First and last of the channels of a part."""
    return part * CHANNELS_A_PART, min(channels, (part + 1) * CHANNELS_A_PART)


@exact
def pivot_of(part, x, pivot):
    """pivot = the mean of some rows of x."""
    rows, channels = x.shape
    first, last = _channels(part, channels)
    step = max(1, rows // PIVOT_ROWS)
    for k in range(first, last):
        pivot[k] = 0
    for row in range(0, rows, step):
        for k in range(first, last):
            pivot[k] += x[row, k]
    for k in range(first, last):
        pivot[k] /= (rows + step - 1) // step


@inlined
def _totals(found, first, last):
    """Return the sums over all parts, of channels `first` to before `last`: (2, last - first)."""
    totals = np.zeros((2, last - first))
    for part in range(len(found)):
        for k in range(first, last):
            totals[0, k - first] += found[part, 0, k]
            totals[1, k - first] += found[part, 1, k]
    return totals


@exact
def statistics(part, found, pivot, weight, bias, rows, eps, mean, var, scale, shift):
    """From the sums of x - pivot: mean, var, and what makes y = (x - mean) * scale + shift."""
    first, last = _channels(part, len(pivot))
    totals = _totals(found, first, last)
    for k in range(first, last):
        total = totals[0, k - first] / rows
        square = totals[1, k - first] / rows - total * total
        square = 0.0 if square < 0 else square  # a NaN stays
        exact_mean = pivot[k] + total
        mean[k], var[k] = exact_mean, square
        scale[k] = weight[k] / math.sqrt(square + eps)
        # where a channel hardly varies, what the mean lost by rounding would show
        shift[k] = bias[k] + (mean[k] - exact_mean) * scale[k]


@exact
def scales(part, weight, var, eps, scale):
    """scale = weight / sqrt(var + eps)."""
    first, last = _channels(part, len(scale))
    for k in range(first, last):
        scale[k] = weight[k] * (1 / math.sqrt(var[k] + eps))


@exact
def column_grads(part, found, var, rows, eps, mean_dy, along, dweight, dbias):
    """From the sums of `products`: what input_grad takes, and the gradients of the columns."""
    first, last = _channels(part, len(var))
    totals = _totals(found, first, last)
    for k in range(first, last):
        total, product = totals[0, k - first], totals[1, k - first]
        inv_std = 1 / math.sqrt(var[k] + eps)
        mean_dy[k], along[k] = total / rows, product * (inv_std * inv_std) / rows
        dweight[k], dbias[k] = product * inv_std, total


@exact
def column_sums(part, found, first_sums, second_sums):
    """The two sums over all rows, from those over their parts."""
    first, last = _channels(part, len(first_sums))
    totals = _totals(found, first, last)
    for k in range(first, last):
        first_sums[k], second_sums[k] = totals[0, k - first], totals[1, k - first]


@plain
def move(part, running_mean, running_var, mean, var, momentum, rows):
    """The running statistics, moved towards those of a batch; the variance unbiased."""
    kind = mean.dtype.type
    rate, unbiased = kind(momentum), kind(rows / (rows - 1))
    for k in range(len(mean)):
        running_mean[k] += rate * (mean[k] - running_mean[k])
        running_var[k] += rate * (var[k] * unbiased - running_var[k])


@plain
def fold(part, weight, bias, mean, var, eps, scale, shift):
    """y = x * scale + shift is batch normalisation by these statistics."""
    kind = mean.dtype.type
    for k in range(len(mean)):
        inv_std = kind(1) / math.sqrt(var[k] + kind(eps))
        scale[k] = weight[k] * inv_std if weight.size > 0 else inv_std
        shift[k] = bias[k] - mean[k] * scale[k] if bias.size > 0 else -mean[k] * scale[k]
