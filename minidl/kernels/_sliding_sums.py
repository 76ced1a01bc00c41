"""The sums over pixels that are the weight gradient of a depthwise convolution, or of small groups.

A tile sums the gradients of some taps, for a vector of channels, along lines of outputs.
"""

import functools

import numpy as np

from minidl.geometry import Padding, Pair
from minidl.kernels._jit import inlined, kernel, sized
from minidl.kernels._window_tiles import add_products, load_where
from minidl.kernels.copy import contiguous
from minidl.kernels.memory import empty
from minidl.kernels.microkernel import finish, resume
from minidl.kernels.offsets import steps, take
from minidl.kernels.simd import LANES, load, load_part, zeros

__all__ = ["tap_sums"]

TAPS = 9  # of the kernel, whose gradients a tile sums: all of a 3x3
TAPS_OF_GROUPS = 3  # each with the gradients of all channels of a group
BLOCK_PIXELS = 256  # summed for one vector of channels before the next
UNIT_CHANNELS = 64
UNITS = 32  # of lines, whose sums of the weight gradient are one thread's
PIXELS_A_UNIT = BLOCK_PIXELS**2  # at most: longer sums of float32 lose digits


@functools.lru_cache(256)
def _bits(kernel, stride, before, dilation, outputs, inputs, inner, taps, at_once):
    """Bits of the taps of each set that find an input, for each output of an axis: (sets,
    outputs). Tap i of the window has the number i // inner % kernel on this axis."""
    numbers = np.minimum(np.arange(-(-taps // at_once) * at_once), taps - 1) // inner % kernel
    places = np.arange(outputs)[:, None] * stride - before + numbers * dilation
    there = ((places >= 0) & (places < inputs)).reshape(outputs, -1, at_once)
    return np.ascontiguousarray((there * (1 << np.arange(at_once))).sum(axis=2).T)


@inlined
def _line_sums(sums, one, x, at, places, dy, dy_at, c, step, up, across, inner, count, size):
    """sums + a line of outputs' dy * x, tap by tap, for a vector of channels (like `one`).

    x[at + places], dy[dy_at]: of output 0.  step: pixels of x between outputs.  up, across: bits of
    the taps that are there.  inner: from which output to before which all are.
    """
    first, last = inner
    for edge in range(len(across) - (last - first)):
        q = edge if edge < first else edge + last - first
        grad = load_part(dy, dy_at + q * c, (0,), one, count)
        pixels = load_where(x, at + q * step * c, places, up & across[q], count, one)
        sums = add_products(sums, pixels, grad, size)
    for q in range(first, last):
        grad = load(dy, dy_at + q * c, (0,), one)
        pixels = load(x, at + q * step * c, places, one)
        sums = add_products(sums, pixels, grad, size)
    return sums


@functools.cache
def _summer(lanes, taps, size):
    every, sums_at_once = (1 << taps) - 1, taps * size

    @kernel
    def sum_taps(part, x, dy, places, row_bits, column_bits, stride, corner, inner, sums_of):
        """sums_of[u, i] = the sum over unit u's lines of dy of dy * a tap's pixel of x.
        x (N, H, W, C), dy (N, OH, OW, C), sums_of (units, sets * size * taps, C): of a set of taps
        row r * taps + t is tap t's, with the gradients r channels on."""
        _, h, width, c = x.shape
        n, oh, ow, _ = dy.shape
        units, rows, _ = sums_of.shape
        source, grads, target = x.reshape(-1), dy.reshape(-1), sums_of.reshape(-1)
        blocks = (c + UNIT_CHANNELS - 1) // UNIT_CHANNELS
        lines, empty = max(1, BLOCK_PIXELS // ow), (ow, ow)
        zero, one = zeros(x, sums_at_once, 1, lanes), zeros(x, 1, 1, lanes)
        window = zeros(x, taps, 1, lanes)
        unit, block = part // blocks, part % blocks
        first, last = n * oh * unit // units, n * oh * (unit + 1) // units
        stop = min(c, (block + 1) * UNIT_CHANNELS)
        for start in range(first, max(last, first + 1), lines):  # no images: zeros
            for k in range(block * UNIT_CHANNELS, stop, lanes):
                count = min(lanes, c - k)
                for number in range(len(row_bits)):
                    sums = zero
                    for line in range(start, min(last, start + lines)):
                        image, p = line // oh, line % oh
                        up = row_bits[number, p]
                        row = image * h + p * stride[0] - corner[0]
                        sums = _line_sums(
                            sums, one, source, (row * width - corner[1]) * c + k,
                            take(places, number * taps, window), grads, line * ow * c + k, c,
                            stride[1], up, column_bits[number],
                            inner if up == every and count == lanes else empty, count, size,
                        )  # fmt: skip
                    to = (unit * rows + number * sums_at_once) * c + k
                    if start > first:
                        sums = sums + resume(one, target, to, steps(c, zero), count, lanes)
                    finish(sums, target, to, steps(c, zero), count, lanes)

    return sum_taps


@kernel
def _over_units(row, sums_of, sums):
    """sums = the sums over the units, in float64."""
    units, _, c = sums_of.shape
    totals = np.zeros(c)
    for unit in range(units):
        for k in range(c):
            totals[k] += sums_of[unit, row, k]
    for k in range(c):
        sums[row, k] = totals[k]


@functools.lru_cache(256)
def _places(kh, kw, dilation, width, c, count):
    """Return where the pixels of a window's taps are in an image, from its first: (count,)."""
    numbers = np.minimum(np.arange(count), kh * kw - 1)
    return (numbers // kw * dilation[0] * width + numbers % kw * dilation[1]) * c


def tap_sums(
    x: np.ndarray, dy: np.ndarray, kernel_size: Pair, stride: Pair, padding: Padding,
    dilation: Pair, size: int = 1,
) -> np.ndarray:  # fmt: skip
    """The sums over pixels of the taps' pixels of x times dy: (sets, size, taps of a set, C).

    x: (N, H, W, C), dy: (N, OH, OW, C), where number k of x makes number k of dy, and in groups of
    `size` channels each one of its group. [s, r, t, c] is of tap t of set s, with number c of x and
    of dy the one that is r on from c, around in its group.
    """
    (kh, kw), (_, oh, ow, outputs), (_, h, w, _) = kernel_size, dy.shape, x.shape
    (top, _), (left, _) = padding
    taps, at_once = kh * kw, TAPS if size == 1 else TAPS_OF_GROUPS
    row_bits = _bits(kh, stride[0], top, dilation[0], oh, h, kw, taps, at_once)
    column_bits = _bits(kw, stride[1], left, dilation[1], ow, w, 1, taps, at_once)
    first = min(ow, -(-left // stride[1]))
    last = max(first, min(ow, (w - 1 + left - (kw - 1) * dilation[1]) // stride[1] + 1))
    sets = len(row_bits)
    places = _places(kh, kw, dilation, w, outputs, sets * at_once)
    units = UNITS * UNIT_CHANNELS // max(UNIT_CHANNELS, outputs)
    units = max(1, min(len(dy) * oh, max(units, len(dy) * oh * dy.shape[2] // PIXELS_A_UNIT)))
    sums_of = empty((units, sets * at_once * size, outputs), x.dtype)
    _summer(LANES[x.itemsize], at_once, size)(
        units * -(-outputs // UNIT_CHANNELS), contiguous(x), contiguous(dy), places, row_bits,
        column_bits, stride, (top, left), (first, last), sums_of,
    )  # fmt: skip
    sums = empty(sums_of.shape[1:], x.dtype)
    _over_units(sized(len(sums), sums_of.size), sums_of, sums)
    return sums.reshape(sets, size, at_once, outputs)
