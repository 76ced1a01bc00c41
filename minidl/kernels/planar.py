"""Convolutions into few channels, whose vectors hold pixels: one channel of neighbouring outputs.

Where the channels of an output don't fill a vector, lanes would be wasted on them. The numbers that
a vector of neighbouring outputs is made of lie side by side too, once the images are copied to
planes: one for each channel and, where the next output's window starts P pixels later, one for each
phase of rows and of columns, so that every P-th pixel follows the last. An output's position is a
number counted through the lines of a plane; those at a line's end belong to no output.

Shapes as in the twins, `minidl.reference.conv` and `minidl.reference.conv_pool`.
"""

import functools
from typing import Any

import numpy as np

from minidl.geometry import Padding, Pair, output_size
from minidl.kernels._jit import WORK_A_NUMBER, helper, inlined, kernel, sized
from minidl.kernels._plane_tiles import store_pixels, thinned
from minidl.kernels._window_tiles import finish_numbers, where_beaten
from minidl.kernels.copy import contiguous
from minidl.kernels.memory import empty
from minidl.kernels.microkernel import ACTIVATIONS, activated, finish
from minidl.kernels.offsets import entry, steps
from minidl.kernels.relu_pool import OFF
from minidl.kernels.simd import (
    LANES,
    MANY_REGISTERS,
    column,
    fma,
    load,
    load_part,
    maximum,
    spread,
    store,
    where_positive,
    zeros,
)
from minidl.kernels.transpose import transposed

__all__ = ["conv2d", "conv2d_relu_max_pool"]

CHANNELS = 6 if MANY_REGISTERS else 3  # of a tile, each with four vectors of outputs
BAND = 64  # vectors of positions that are a part's work


@helper
def _part_planes(x, planes, image, first, sizes, row, nothing, lanes):
    """Copy lines of an image, from `first` on, to planes, (C, row phases, column phases,
    lines, pitch), with the padding. What a vector writes beyond its line is overwritten.

    row: of as many vectors as there are numbers between pixels that become neighbours.
    """
    lines, pitch, down, across, top, left = sizes
    _, h, w, inputs = x.shape
    flat, step = x.reshape(-1), inputs * across
    to = 0
    for c in range(inputs):
        for a in range(down):
            for b in range(across):
                start = min(pitch, max(0, (left - b + across - 1) // across))
                stop = max(start, min(pitch, (w + left - b + across - 1) // across))
                for i in range(lines):
                    y = (first + i) * down + a - top
                    there = 0 <= y < h
                    for j in range(0, 0 if there and start == 0 else pitch, lanes):
                        store(nothing, planes, to + j, (0,))
                    if there:
                        at = ((image * h + y) * w + start * across + b - left) * inputs + c
                        for j in range(start, stop, lanes):
                            if at + step * lanes <= flat.size:
                                numbers = load(flat, at, (0,), row)
                            else:
                                count = (stop - 1 - j) * step + 1
                                numbers = load_part(flat, at, (0,), row, count)
                            store(thinned(numbers), planes, to + j, (0,))
                            at += lanes * step
                        for j in range(stop, pitch):
                            planes[to + j] = 0
                    to += pitch
    for j in range(0, planes.size - to, lanes):  # what vectors read beyond the last plane
        store(nothing, planes, to + j, (0,))


@inlined
def _sums(zero, bias, planes, at, taps, w, channels, first):
    """Four tiles of outputs, whose rows are channels from `first` on: bias + the sums over taps.

    taps: where, from `at` on, the four's pixels lie in planes, tap by tap; w: (taps, channels).
    """
    rows = steps(1, zero)
    a = zero
    if bias.size > 0:
        a = column(bias, first, rows, zero)
    b, c, d, one = a, a, a, spread(0.0, zero)
    for k in range(taps.size // 4):
        weights = column(w, k * channels + first, rows, zero)
        a = fma(load(planes, at + entry(taps, 4 * k), (0,), one), weights, a)
        b = fma(load(planes, at + entry(taps, 4 * k + 1), (0,), one), weights, b)
        c = fma(load(planes, at + entry(taps, 4 * k + 2), (0,), one), weights, c)
        d = fma(load(planes, at + entry(taps, 4 * k + 3), (0,), one), weights, d)
    return a, b, c, d


@inlined
def _largest(a, b, c, d):
    """Return the largest of the four, and which it was as a number: OFF where it is 0 or less."""
    best, place = a, spread(0.0, a)
    place = where_beaten(b, best, spread(1.0, a), place)
    best = where_beaten(b, best, b, best)
    place = where_beaten(c, best, spread(2.0, a), place)
    best = where_beaten(c, best, c, best)
    place = where_beaten(d, best, spread(3.0, a), place)
    best = where_beaten(d, best, d, best)
    off = spread(OFF, a)
    return best, where_positive(best, place - off) + off


@functools.cache
def _plain(step, channels, block, lanes):
    size = 1 << (channels - 1).bit_length()

    @kernel
    def convolve(part, x, w, bias, activation, y, taps, sizes):
        """A band of lines of one image's outputs."""
        bands, rows, lines, pitch, down, across, top, left, oh, ow = sizes
        image, first = part // bands, part % bands * rows
        rows = min(rows, oh - first)
        planes = np.empty(x.shape[3] * down * across * lines * pitch + 4 * lanes, x.dtype)
        row, one = zeros(x, 1, step, lanes), zeros(x, 1, 1, lanes)
        its = lines, pitch, down, across, top, left
        _part_planes(x, planes, image, first, its, row, one, lanes)
        positions = (rows - 1) * pitch + ow
        found = np.empty((positions + 4 * lanes) * channels + size, x.dtype)
        strip = np.zeros(4 * size * lanes, x.dtype)
        zero, square = zeros(x, block, 1, lanes), zeros(x, size, 1, lanes)
        by_lanes, by_rows = steps(lanes, zero), steps(lanes, square)
        for at in range(0, positions, 4 * lanes):
            for k in range(0, channels, block):
                k = min(k, channels - block)
                a, b, c, d = _sums(zero, bias, planes, at, taps, w, channels, k)
                store(activated(a, activation), strip, k * lanes, by_lanes)
                store(activated(b, activation), strip, (size + k) * lanes, by_lanes)
                store(activated(c, activation), strip, (2 * size + k) * lanes, by_lanes)
                store(activated(d, activation), strip, (3 * size + k) * lanes, by_lanes)
            for n in range(4):
                tile = load(strip, n * size * lanes, by_rows, square)
                store_pixels(transposed(tile), found, (at + n * lanes) * channels, channels)
        count = ow * channels
        for p in range(rows):
            at, to = p * pitch * channels, (image * oh + first + p) * count
            for i in range(0, count, lanes):
                finish(load(found, at + i, (0,), one), y, to + i, (0,), count - i, lanes)

    return convolve


@functools.cache
def _pooling(step, channels, block, lanes):
    size = 1 << (channels - 1).bit_length()

    @kernel
    def convolve_and_pool(part, x, w, bias, y, indices, taps, sizes):
        """A band of lines of one image's windows, whose pixels are the four outputs of a tap."""
        bands, rows, lines, pitch, down, across, top, left, oh, ow = sizes
        image, first = part // bands, part % bands * rows
        rows = min(rows, oh - first)
        planes = np.empty(x.shape[3] * down * across * lines * pitch + lanes, x.dtype)
        row, one = zeros(x, 1, step, lanes), zeros(x, 1, 1, lanes)
        its = lines, pitch, down, across, top, left
        _part_planes(x, planes, image, first, its, row, one, lanes)
        positions = (rows - 1) * pitch + ow
        found = np.empty((positions + lanes) * channels + size, x.dtype)
        which = np.empty(found.size if indices.size > 0 else 0, x.dtype)
        strip = np.zeros(2 * size * lanes, x.dtype)
        zero, square = zeros(x, block, 1, lanes), zeros(x, size, 1, lanes)
        by_lanes, by_rows = steps(lanes, zero), steps(lanes, square)
        for at in range(0, positions, lanes):
            for k in range(0, channels, block):
                k = min(k, channels - block)
                a, b, c, d = _sums(zero, bias, planes, at, taps, w, channels, k)
                best, place = _largest(a, b, c, d)
                store(maximum(best, spread(0.0, best)), strip, k * lanes, by_lanes)
                if indices.size > 0:
                    store(place, strip, (size + k) * lanes, by_lanes)
            tile = load(strip, 0, by_rows, square)
            store_pixels(transposed(tile), found, at * channels, channels)
            if indices.size > 0:
                tile = load(strip, size * lanes, by_rows, square)
                store_pixels(transposed(tile), which, at * channels, channels)
        count = ow * channels
        for p in range(rows):
            at, to = p * pitch * channels, (image * oh + first + p) * count
            for i in range(0, count, lanes):
                finish(load(found, at + i, (0,), one), y, to + i, (0,), count - i, lanes)
                if indices.size > 0:
                    places = load(which, at + i, (0,), one)
                    finish_numbers(places, indices, to + i, (0,), count - i, lanes)

    return convolve_and_pool


@functools.lru_cache(maxsize=256)
def _plan(
    size: Pair, channels: int, kernel_size: Pair, stride: Pair, dilation: Pair, pool: int,
    lanes: int,
) -> tuple[tuple[int, ...], np.ndarray]:  # fmt: skip
    """Sizes for a kernel, and where the pixels of each tap lie in planes.

    size: lines of outputs, and outputs in a line. pool: 2 where an output is a window of 2x2.
    """
    (oh, ow), (kh, kw) = size, kernel_size
    down, across = pool * stride[0], pool * stride[1]
    # of the pixels that a window's outputs see: (pool, kh), (pool, kw)
    rows = np.arange(pool)[:, None] * stride[0] + np.arange(kh) * dilation[0]
    columns = np.arange(pool)[:, None] * stride[1] + np.arange(kw) * dilation[1]
    pitch = ow + int(columns.max()) // across
    bands = -(-oh * pitch // (BAND * lanes))
    band = -(-oh // bands)
    bands = -(-oh // band)
    lines = band + int(rows.max()) // down
    i, j = rows.T[:, None, None, :, None], columns.T[None, :, None, None, :]
    plane = (np.arange(channels)[:, None, None] * down + i % down) * across + j % across
    taps = (plane * lines + i // down) * pitch + j // across  # (kh, kw, C, pool, pool)
    if pool == 1:  # the four outputs of a tap are four vectors
        taps = taps.reshape(-1, 1) + np.arange(4) * lanes
    return (bands, band, lines, pitch, down, across), taps.reshape(-1).astype(np.int64)


def _run(
    make: Any, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None,
    stride: Pair, padding: Padding, dilation: Pair, pool: int, y: np.ndarray, *results: Any,
) -> None:  # fmt: skip
    """Launch the kernel of `make`; results: its arguments between the bias and the taps."""
    kh, kw, c, k = weight.shape
    lanes = LANES[x.itemsize]
    plan, taps = _plan(y.shape[1:3], c, (kh, kw), stride, dilation, pool, lanes)
    block = -(-k // -(-k // CHANNELS))
    sizes = (*plan, padding[0][0], padding[1][0], *y.shape[1:3])
    parts = sized(len(x) * plan[0], y.size * pool**2 * kh * kw * c // WORK_A_NUMBER)
    make(c * pool * stride[1], k, block, lanes)(
        parts, contiguous(x), contiguous(weight).reshape(-1),
        np.empty(0, x.dtype) if bias is None else contiguous(bias), *results, taps, sizes,
    )  # fmt: skip


def conv2d(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, activation: str | None,
    stride: Pair, padding: Padding, dilation: Pair,
) -> np.ndarray:  # fmt: skip
    """activation(the convolution of x with weight + bias), of one group. (N, OH, OW, K)."""
    size = output_size("conv2d", x.shape[1:3], weight.shape[:2], stride, padding, dilation)
    y = empty((len(x), *size, weight.shape[3]), x.dtype)
    _run(
        _plain, x, weight, bias, stride, padding, dilation, 1, y,
        ACTIVATIONS[activation], y.reshape(-1),
    )  # fmt: skip
    return y


def conv2d_relu_max_pool(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None,
    stride: Pair, padding: Padding, dilation: Pair, y: np.ndarray, indices: np.ndarray,
) -> None:  # fmt: skip
    """y = relu(the convolution of x with weight + bias), pooled 2x2, of one group; and, where
    `indices` isn't empty, those of `relu_max_pool`. (N, OH // 2, OW // 2, K), twice."""
    _run(
        _pooling, x, weight, bias, stride, padding, dilation, 2, y,
        y.reshape(-1), indices.reshape(-1),
    )  # fmt: skip
