"""The kernel that slides along lines of images: depthwise convolution, and that of small groups.

A tile makes some pixels of a vector of channels. Of channels in groups of `size` each output takes
all of its group; `size` is 1 where each channel is on its own.
"""

import functools

import numpy as np

from minidl.geometry import Padding, Pair
from minidl.kernels._jit import inlined, kernel
from minidl.kernels._sliding import (
    PIXELS,
    backward_axis,
    backward_line,
    edges_only,
    forward_axis,
    forward_line,
    taps_of,
)
from minidl.kernels._window_tiles import slide
from minidl.kernels.copy import contiguous
from minidl.kernels.microkernel import ACTIVATIONS, activated
from minidl.kernels.offsets import steps
from minidl.kernels.simd import LANES, fma, load, load_part, store, store_part, zeros

__all__ = ["slide_over"]

SHARED = {3, 5}  # kernel widths for which the pixels of a tile share what they load


@inlined
def _inner(acc, x, at, w, w_at, shape, up, run, t, strip, taps, stride, size):
    """acc + the windows of x times w, for a vector of channels that begins at x[at] and w[w_at].

    shape: W and C of x, kh and kw.  up: from `taps_of`.  run, t: see Line.  strip: a tile like the
    pixels to load at once; taps: how many.
    """
    width, c, kh, kw = shape
    a, i, a_step, i_step, count = up
    place, step, spacing, shift_step, tap, tap_step, groups = run
    for k in range(count):
        for m in range(groups):
            pixel = (a + k * a_step) * width + place + t * step + m * shift_step
            source = load(x, at + pixel * c, steps(spacing * c, strip), acc)
            number = (i + k * i_step) * kw + tap + m * tap_step
            acc = slide(
                source, w, w_at + number * c, tap_step * c, kh * kw * c, taps, acc, stride, size
            )
    return acc


@inlined
def _edge(acc, x, at, w, w_at, shape, up, across, count, size):
    """Return the same for one pixel, which misses some taps, and the first `count` channels."""
    width, c, kh, kw = shape
    a, i, a_step, i_step, a_count = up
    b, j, b_step, j_step, b_count = across
    for k in range(a_count):
        for m in range(b_count):
            place = at + ((a + k * a_step) * width + b + m * b_step) * c
            source = load_part(x, place, (0,), acc, count)
            place = w_at + ((i + k * i_step) * kw + j + m * j_step) * c
            if size == 1:
                acc = fma(source, load_part(w, place, (0,), acc, count), acc)
            else:
                acc = slide(source, w, place, 0, kh * kw * c, 1, acc, 1, size)
    return acc


@inlined
def _start(zero, bias, at, count):
    """`zero` with the bias in each row."""
    if bias.size == 0:
        return zero
    return zero + load_part(bias, at, (0,), zero, count)


@functools.cache
def _slider(made, taken, taps, stride, lanes, size):
    """The kernel whose tiles make `made` pixels from `taken` ones and `taps` taps at a time."""

    @kernel
    def convolve(line, x, w, bias, activation, rows, columns, runs, edges, y):
        """y = activation(the windows of x, (N, H, W, C), times w, (size, kh, kw, C), + bias)."""
        _, h, width, c = x.shape
        _, oh, ow, _ = y.shape
        shape, count = (width, c, w.shape[1], w.shape[2]), min(c, lanes)
        source, weight, target = x.reshape(-1), w.reshape(-1), y.reshape(-1)
        one, zero = zeros(y, 1, 1, lanes), zeros(y, made, 1, lanes)
        strip = zeros(y, taken, 1, lanes)
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
                        run, t, strip, taps, stride, size,
                    )  # fmt: skip
                    store(activated(acc, activation), target, to + k, steps(apart * c, zero))
        for q in edges:
            across = taps_of(columns, q, width)
            to = (line * ow + q) * c
            for channel in range(0, c, lanes):
                k = max(0, min(channel, c - lanes))
                acc = _edge(
                    _start(one, bias, k, count), source, image + k, weight, k, shape, up,
                    across, count, size,
                )  # fmt: skip
                store_part(activated(acc, activation), target, to + k, (0,), count)

    return convolve


def slide_over(
    x: np.ndarray, w: np.ndarray, bias: np.ndarray | None, activation: str | None,
    stride: Pair, padding: Padding, dilation: Pair, y: np.ndarray, gradient: bool = False,
) -> None:  # fmt: skip
    """Fill y with the windows of x, (N, H, W, C).

    w: (size, kh, kw, C), number i of each group's tap for each output.  gradient: x is dy and y is
    dx of a convolution with these settings.
    """
    size, kh, kw, c = w.shape
    (top, _), (left, _) = padding
    lanes, step = LANES[x.itemsize], stride[1]
    make_axis = backward_axis if gradient else forward_axis
    make_line = backward_line if gradient else forward_line
    backwards = gradient and step > 1
    shape = PIXELS, PIXELS, 1, 1
    strip = 0
    if kw in SHARED and step <= 2 and dilation[1] == 1:
        if backwards:
            strip = (PIXELS * step + kw - 2) // step + 1
            shape = PIXELS * step, strip, kw, -step
        else:
            strip = (PIXELS - 1) * step + kw
            shape = PIXELS, strip, kw, step
    line = make_line(kw, step, left, dilation[1], y.shape[2], x.shape[2], strip)
    if c < lanes:
        line = edges_only(line, y.shape[2])
    _slider(*shape, lanes, size)(
        len(y) * y.shape[1], contiguous(x), w,
        np.empty(0, x.dtype) if bias is None else contiguous(bias), ACTIVATIONS[activation],
        make_axis(kh, stride[0], top, dilation[0]), *line, y,
    )  # fmt: skip
