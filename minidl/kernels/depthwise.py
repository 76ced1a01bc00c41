"""Depthwise convolution. Shapes and names as in the twin, `minidl.reference.depthwise`.

The forward pass and the input gradient are one kernel, which slides along the rows of its input;
they differ in the tables of their axes. Several filters a channel are run as more channels.
"""

import functools

import numpy as np

from minidl.geometry import Padding, Pair, output_size
from minidl.kernels._jit import PART, inlined, kernel, sized
from minidl.kernels._sliding import (
    PIXELS,
    backward_axis,
    backward_line,
    edges_only,
    forward_axis,
    forward_line,
    taps_of,
)
from minidl.kernels._window_tiles import load_where, slide
from minidl.kernels.copy import contiguous
from minidl.kernels.memory import empty
from minidl.kernels.microkernel import ACTIVATIONS, activated, finish, resume
from minidl.kernels.offsets import steps, take
from minidl.kernels.simd import LANES, fma, load, load_part, store, store_part, zeros

SHARED = {3, 5}  # kernel widths for which the pixels of a tile share what they load
TAPS = 9  # of the kernel, whose gradients a tile sums: all of a 3x3
BLOCK_PIXELS = 512  # summed for one vector of channels before the next
UNIT_CHANNELS = 64
UNITS = 32  # of lines, whose sums of the weight gradient are one thread's


@inlined
def _inner(acc, x, at, w, w_at, shape, up, run, t, strip, taps, stride):
    """acc + the windows of x times w, for a vector of channels that begins at x[at] and w[w_at].

    shape: W and C of x, kw.  up: from `taps_of`.  run, t: see Line.  strip, taps: tiles like the
    pixels and the taps to load at once.
    """
    width, c, kw = shape
    a, i, a_step, i_step, count = up
    place, step, spacing, shift_step, tap, tap_step, groups = run
    for k in range(count):
        for m in range(groups):
            pixel = (a + k * a_step) * width + place + t * step + m * shift_step
            source = load(x, at + pixel * c, steps(spacing * c, strip), acc)
            number = (i + k * i_step) * kw + tap + m * tap_step
            factors = load(w, w_at + number * c, steps(tap_step * c, taps), acc)
            acc = slide(source, factors, acc, stride)
    return acc


@inlined
def _edge(acc, x, at, w, w_at, shape, up, across, count):
    """The same for one pixel, which misses some taps, and the first `count` channels."""
    width, c, kw = shape
    a, i, a_step, i_step, a_count = up
    b, j, b_step, j_step, b_count = across
    for k in range(a_count):
        for m in range(b_count):
            place = at + ((a + k * a_step) * width + b + m * b_step) * c
            source = load_part(x, place, (0,), acc, count)
            place = w_at + ((i + k * i_step) * kw + j + m * j_step) * c
            acc = fma(source, load_part(w, place, (0,), acc, count), acc)
    return acc


@inlined
def _start(zero, bias, at, count):
    """`zero` with the bias in each row."""
    if bias.size == 0:
        return zero
    return zero + load_part(bias, at, (0,), zero, count)


@functools.cache
def _slider(made, taken, taps, stride, lanes):
    """The kernel whose tiles make `made` pixels from `taken` ones and `taps` taps at a time."""

    @kernel
    def convolve(line, x, w, bias, activation, rows, columns, runs, edges, y):
        """y = activation(the windows of x, (N, H, W, C), times w, (kh, kw, C), + bias)."""
        _, h, width, c = x.shape
        _, oh, ow, _ = y.shape
        shape, count = (width, c, w.shape[1]), min(c, lanes)
        source, weight, target = x.reshape(-1), w.reshape(-1), y.reshape(-1)
        one, zero = zeros(y, 1, 1, lanes), zeros(y, made, 1, lanes)
        strip, row_taps = zeros(y, taken, 1, lanes), zeros(y, taps, 1, lanes)
        image = line // oh * h * width * c
        up = taps_of(rows, line % oh, h)
        for r in range(len(runs)):
            first, last, output, unit, apart, place = runs[r, :6]
            step, spacing, shift_step, tap, tap_step, groups = runs[r, 6:]
            if taps > 1:  # as constants: half of the time
                spacing, groups = 1, 1
            run = place, step, spacing, shift_step, tap, tap_step, groups
            for start in range(first, last + PIXELS, PIXELS):
                t = min(start, last)
                to = (line * ow + output + t * unit) * c
                for channel in range(0, c, lanes):
                    k = min(channel, c - lanes)
                    acc = _inner(
                        _start(zero, bias, k, count), source, image + k, weight, k, shape, up,
                        run, t, strip, row_taps, stride,
                    )  # fmt: skip
                    store(activated(acc, activation), target, to + k, steps(apart * c, zero))
        for q in edges:
            across = taps_of(columns, q, width)
            to = (line * ow + q) * c
            for channel in range(0, c, lanes):
                k = max(0, min(channel, c - lanes))
                acc = _edge(
                    _start(one, bias, k, count), source, image + k, weight, k, shape, up,
                    across, count,
                )  # fmt: skip
                store_part(activated(acc, activation), target, to + k, (0,), count)

    return convolve


def _slide(x, weight, bias, activation, rows, make_line, axis, y):
    """Fill y with the windows of x.

    rows: table of the vertical axis.  make_line: makes the Line of the other one, whose kernel
    width, stride, padding before and dilation `axis` holds.
    """
    kh, kw, c, multiplier = weight.shape
    w = contiguous(weight).reshape(kh, kw, c * multiplier)
    lanes, stride = LANES[x.itemsize], axis[1]
    backwards = make_line is backward_line and stride > 1
    shape = PIXELS, PIXELS, 1, 1
    strip = 0
    if kw in SHARED and stride <= 2 and axis[3] == 1:
        if backwards:
            strip = (PIXELS * stride + kw - 2) // stride + 1
            shape = PIXELS * stride, strip, kw, -stride
        else:
            strip = (PIXELS - 1) * stride + kw
            shape = PIXELS, strip, kw, stride
    line = make_line(*axis, y.shape[2], x.shape[2], strip)
    if w.shape[2] < lanes:
        line = edges_only(line, y.shape[2])
    _slider(*shape, lanes)(
        len(y) * y.shape[1], contiguous(x), w, bias, ACTIVATIONS[activation], rows, *line,
        y,
    )  # fmt: skip


@kernel
def _repeat(part, x, multiplier, y):
    """Each number of x `multiplier` times."""
    for i in range(part * PART, min(x.size, (part + 1) * PART)):
        for k in range(multiplier):
            y[i * multiplier + k] = x[i]


@kernel
def _add_up(part, x, multiplier, y):
    """The sum of each `multiplier` numbers of x: the transpose of `_repeat`."""
    for i in range(part * PART, min(y.size, (part + 1) * PART)):
        total = x[i * multiplier]
        for k in range(1, multiplier):
            total += x[i * multiplier + k]
        y[i] = total


def _repeated(x, multiplier):
    """x (N, H, W, C) with each channel `multiplier` times: (N, H, W, C*multiplier)."""
    if multiplier == 1:
        return x
    y = empty((*x.shape[:3], x.shape[3] * multiplier), x.dtype)
    x = contiguous(x).reshape(-1)
    _repeat(sized(-(-x.size // PART), y.size), x, multiplier, y.reshape(-1))
    return y


def depthwise_conv2d(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None,
    activation: str | None,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
) -> np.ndarray:
    """The depthwise convolution of x. (N, OH, OW, C*multiplier)."""
    n, h, w, _ = x.shape
    kh, kw, c, multiplier = weight.shape
    size = output_size("depthwise_conv2d", (h, w), (kh, kw), stride, padding, dilation)
    y = empty((n, *size, c * multiplier), x.dtype)
    bias = np.empty(0, x.dtype) if bias is None else contiguous(bias)
    (top, _), (left, _) = padding
    rows = forward_axis(kh, stride[0], top, dilation[0])
    axis = kw, stride[1], left, dilation[1]
    _slide(_repeated(x, multiplier), weight, bias, activation, rows, forward_line, axis, y)
    return y


def depthwise_conv2d_input_grad(
    dy: np.ndarray,
    weight: np.ndarray,
    input_size: Pair,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
) -> np.ndarray:
    """The gradient of depthwise_conv2d for x. (N, H, W, C)."""
    kh, kw, c, multiplier = weight.shape
    dx = empty((len(dy), *input_size, c * multiplier), dy.dtype)
    (top, _), (left, _) = padding
    rows = backward_axis(kh, stride[0], top, dilation[0])
    axis = kw, stride[1], left, dilation[1]
    _slide(dy, weight, np.empty(0, dy.dtype), None, rows, backward_line, axis, dx)
    if multiplier == 1:
        return dx
    found = empty((len(dy), *input_size, c), dy.dtype)
    parts = sized(-(-found.size // PART), dx.size)
    _add_up(parts, dx.reshape(-1), multiplier, found.reshape(-1))
    return found


@functools.lru_cache(256)
def _bits(kernel, stride, before, dilation, outputs, inputs, inner, taps):
    """Bits of the taps of each group that find an input, for each output of an axis: (groups,
    outputs). Tap i of the window has the number i // inner % kernel on this axis."""
    numbers = np.minimum(np.arange(-(-taps // TAPS) * TAPS), taps - 1) // inner % kernel
    places = np.arange(outputs)[:, None] * stride - before + numbers * dilation
    there = ((places >= 0) & (places < inputs)).reshape(outputs, -1, TAPS)
    return np.ascontiguousarray((there * (1 << np.arange(TAPS))).sum(axis=2).T)


@inlined
def _line_sums(sums, total, x, at, places, dy, dy_at, c, step, up, across, inner, count):
    """sums + a line of outputs' dy * x, tap by tap, and total + dy: for a vector of channels.

    x[at + places], dy[dy_at]: of output 0.  step: pixels of x between outputs.  up, across: bits of
    the taps that are there.  inner: from which output to before which all are.
    """
    first, last = inner
    for edge in range(len(across) - (last - first)):
        q = edge if edge < first else edge + last - first
        grad = load_part(dy, dy_at + q * c, (0,), total, count)
        pixels = load_where(x, at + q * step * c, places, up & across[q], count, total)
        sums, total = fma(pixels, grad, sums), total + grad
    for q in range(first, last):
        grad = load(dy, dy_at + q * c, (0,), total)
        sums = fma(load(x, at + q * step * c, places, total), grad, sums)
        total = total + grad
    return sums, total


@functools.cache
def _summer(lanes):
    every = (1 << TAPS) - 1

    @kernel
    def sum_taps(part, x, dy, places, row_bits, column_bits, stride, corner, inner, sums_of):
        """sums_of[u, i] = the sum over unit u's lines of dy of dy * tap i's pixel of x; the last
        one is of dy. x (N, H, W, C), dy (N, OH, OW, C), sums_of (units, groups * TAPS + 1, C)."""
        _, h, width, c = x.shape
        n, oh, ow, _ = dy.shape
        units, rows, _ = sums_of.shape
        source, grads, target = x.reshape(-1), dy.reshape(-1), sums_of.reshape(-1)
        blocks = (c + UNIT_CHANNELS - 1) // UNIT_CHANNELS
        lines, empty = max(1, BLOCK_PIXELS // ow), (ow, ow)
        zero, one = zeros(x, TAPS, 1, lanes), zeros(x, 1, 1, lanes)
        unit, block = part // blocks, part % blocks
        first, last = n * oh * unit // units, n * oh * (unit + 1) // units
        stop = min(c, (block + 1) * UNIT_CHANNELS)
        for start in range(first, max(last, first + 1), lines):  # no images: zeros
            for k in range(block * UNIT_CHANNELS, stop, lanes):
                count = min(lanes, c - k)
                for group in range(len(row_bits)):
                    sums, total = zero, one
                    for line in range(start, min(last, start + lines)):
                        image, p = line // oh, line % oh
                        up = row_bits[group, p]
                        row = image * h + p * stride[0] - corner[0]
                        sums, total = _line_sums(
                            sums, total, source, (row * width - corner[1]) * c + k,
                            take(places, group * TAPS, zero), grads, line * ow * c + k, c,
                            stride[1], up, column_bits[group],
                            inner if up == every and count == lanes else empty, count,
                        )  # fmt: skip
                    to = (unit * rows + group * TAPS) * c + k
                    end = ((unit + 1) * rows - 1) * c + k
                    if start > first:
                        sums = sums + resume(one, target, to, steps(c, zero), count, lanes)
                        if group == 0:
                            total = total + resume(one, target, end, (0,), count, lanes)
                    finish(sums, target, to, steps(c, zero), count, lanes)
                    if group == 0:
                        finish(total, target, end, (0,), count, lanes)

    return sum_taps


@kernel
def _over_units(row, sums_of, sums):
    """sums = the sums over the units."""
    units, _, c = sums_of.shape
    for k in range(c):
        sums[row, k] = sums_of[0, row, k]
    for unit in range(1, units):
        for k in range(c):
            sums[row, k] += sums_of[unit, row, k]


@functools.lru_cache(256)
def _places(kh, kw, dilation, width, c, groups):
    """Where the pixels of a window's taps are in an image, from its first: (groups * TAPS,)."""
    numbers = np.minimum(np.arange(groups * TAPS), kh * kw - 1)
    return (numbers // kw * dilation[0] * width + numbers % kw * dilation[1]) * c


def depthwise_conv2d_weight_grad(
    x: np.ndarray,
    dy: np.ndarray,
    kernel_size: Pair,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    with_bias: bool,
) -> tuple[np.ndarray, np.ndarray | None]:
    """The gradients of depthwise_conv2d for weight, (kh, kw, C, multiplier), and its bias."""
    kh, kw = kernel_size
    _, oh, ow, outputs = dy.shape
    _, h, w, c = x.shape
    x, dy = _repeated(contiguous(x), outputs // c), contiguous(dy)
    (top, _), (left, _) = padding
    taps = kh * kw
    row_bits = _bits(kh, stride[0], top, dilation[0], oh, h, kw, taps)
    column_bits = _bits(kw, stride[1], left, dilation[1], ow, w, 1, taps)
    first = min(ow, -(-left // stride[1]))
    last = max(first, min(ow, (w - 1 + left - (kw - 1) * dilation[1]) // stride[1] + 1))
    places = _places(kh, kw, dilation, w, outputs, len(row_bits))
    units = max(1, min(len(dy) * oh, UNITS * UNIT_CHANNELS // max(UNIT_CHANNELS, outputs)))
    sums_of = empty((units, len(places) + 1, outputs), x.dtype)
    _summer(LANES[x.itemsize])(
        units * -(-outputs // UNIT_CHANNELS), x, dy, places, row_bits, column_bits, stride,
        (top, left), (first, last), sums_of,
    )  # fmt: skip
    sums = empty(sums_of.shape[1:], x.dtype)
    _over_units(sized(len(sums), sums_of.size), sums_of, sums)
    dw = sums[:taps].reshape(kh, kw, c, outputs // c)
    return dw, sums[-1] if with_bias else None
