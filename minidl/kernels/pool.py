"""Pooling. Shapes and names as in the twin, `minidl.reference.pool`.

Every kernel gathers: it makes lines of outputs from what each takes, in a gradient too, so that no
two threads add to one number.
"""

import functools
from typing import Any

import numpy as np

from minidl.geometry import Padding, Pair, corner
from minidl.kernels._jit import inlined, kernel
from minidl.kernels._sliding import taps_of, tiles
from minidl.kernels._window_tiles import finish_numbers, where_beaten, where_number
from minidl.kernels.copy import contiguous
from minidl.kernels.memory import empty
from minidl.kernels.microkernel import finish
from minidl.kernels.offsets import clipped
from minidl.kernels.reduce import NUMBERS_A_SUM
from minidl.kernels.simd import LANES, MANY_REGISTERS, column, fma, load_part, spread, zeros

# A function below makes a tile of outputs, the first `count` of a vector's channels, from y[to] on.
# at: of the channels in the image of x.  shape: W of x, C and kw.  up: `taps_of` the line.  tile:
# from `tiles`.  full: the channels that the tile has room for.


@inlined
def _max_tile(zero, x, at, shape, up, tile, y, indices, to, count, full):
    """Each window's largest, and the number of its tap."""
    width, c, kw = shape
    a, i, a_step, i_step, rows = up
    _, apart, last, b, spacing, j, b_step, j_step, columns = tile
    places, targets = clipped(spacing * c, last, zero), clipped(apart * c, last, zero)
    best, tap = zero + spread(-np.inf, zero), zero + spread(i * kw + j, zero)
    for k in range(rows):
        for m in range(columns):
            pixel = (a + k * a_step) * width + b + m * b_step
            here = spread((i + k * i_step) * kw + j + m * j_step, zero)
            source = load_part(x, at + pixel * c, places, zero, count)
            tap = where_beaten(source, best, here, tap)
            best = where_beaten(source, best, source, best)
    finish(best, y, to, targets, count, full)
    finish_numbers(tap, indices, to, targets, count, full)


@inlined
def _pick_tile(acc, dy, indices, at, shape, up, tile, dx, to, count, full):
    """The sum of dy over the windows whose maximum came from here."""
    width, c, kw = shape
    a, i, a_step, i_step, rows = up
    _, apart, last, b, spacing, j, b_step, j_step, columns = tile
    places, targets = clipped(spacing * c, last, acc), clipped(apart * c, last, acc)
    for k in range(rows):
        for m in range(columns):
            place = at + ((a + k * a_step) * width + b + m * b_step) * c
            here = (i + k * i_step) * kw + j + m * j_step
            grad = load_part(dy, place, places, acc, count)
            acc = acc + where_number(grad, indices, place, places, count, here)
    finish(acc, dx, to, targets, count, full)


@inlined
def _mean_tile(acc, x, at, shape, up, tile, scale, y, to, count, full):
    """Each window's sum, scaled."""
    width, c, _ = shape
    a, _, a_step, _, rows = up
    _, apart, last, b, spacing, _, b_step, _, columns = tile
    places, targets = clipped(spacing * c, last, acc), clipped(apart * c, last, acc)
    if rows * columns <= NUMBERS_A_SUM:
        for k in range(rows):
            for m in range(columns):
                pixel = (a + k * a_step) * width + b + m * b_step
                acc = acc + load_part(x, at + pixel * c, places, acc, count)
    else:  # sums of parts, and what their sum lost by rounding (Kahan 1965)
        zero = acc
        lost = acc
        at_once = max(1, NUMBERS_A_SUM // columns)
        for first in range(0, rows, at_once):
            for start in range(0, columns, NUMBERS_A_SUM):
                part = zero
                for k in range(first, min(rows, first + at_once)):
                    for m in range(start, min(columns, start + NUMBERS_A_SUM)):
                        pixel = (a + k * a_step) * width + b + m * b_step
                        part = part + load_part(x, at + pixel * c, places, zero, count)
                part = part - lost
                total = acc + part
                lost = (total - acc) - part
                acc = total
    finish(acc * scale, y, to, targets, count, full)


@inlined
def _share_tile(acc, dy, at, shape, up, tile, row_shares, shares, dx, to, count, full):
    """The sum over the windows of dy * the window's share: of its row * of its column."""
    width, c, _ = shape
    a, _, a_step, _, rows = up
    _, apart, last, b, spacing, _, b_step, _, columns = tile
    places, targets = clipped(spacing * c, last, acc), clipped(apart * c, last, acc)
    zero = acc
    for k in range(rows):
        line = zero
        for m in range(columns):
            pixel = b + m * b_step
            place = at + ((a + k * a_step) * width + pixel) * c
            share = column(shares, pixel, clipped(spacing, last, acc), acc)
            line = fma(load_part(dy, place, places, acc, count), share, line)
        acc = fma(line, column(row_shares, a + k * a_step, (0,), acc), acc)
    finish(acc, dx, to, targets, count, full)


@inlined
def _tile(table, number, line, lines, outputs, image, c):
    """Row `number` of `tiles`' table, and where its channels begin in x's image and in y."""
    first, apart, last, b, spacing, j, b_step, j_step, columns = table[number]
    tile = first, apart, last, b, spacing, j, b_step, j_step, columns
    return tile, line // lines * image, (line * outputs + first) * c


@functools.cache
def _largest(pixels, vectors, lanes):
    full = vectors * lanes

    @kernel
    def largest(line, x, kw, rows, table, y, indices):
        _, h, width, c = x.shape
        _, oh, ow, _ = y.shape
        shape = width, c, kw
        source, target, places = x.reshape(-1), y.reshape(-1), indices.reshape(-1)
        zero, up = zeros(y, pixels, vectors, lanes), taps_of(rows, line % oh, h)
        for number in range(len(table)):
            tile, at, to = _tile(table, number, line, oh, ow, h * width * c, c)
            if c < full:
                _max_tile(zero, source, at, shape, up, tile, target, places, to, c, full)
                continue
            for k in range(0, c, full):
                k = min(k, c - full)
                _max_tile(zero, source, at + k, shape, up, tile, target, places, to + k, full, full)

    return largest


@functools.cache
def _picked(pixels, vectors, lanes):
    full = vectors * lanes

    @kernel
    def picked(line, dy, indices, kw, rows, table, dx):
        _, h, width, c = dy.shape
        _, oh, ow, _ = dx.shape
        shape = width, c, kw
        source, places, target = dy.reshape(-1), indices.reshape(-1), dx.reshape(-1)
        zero, up = zeros(dx, pixels, vectors, lanes), taps_of(rows, line % oh, h)
        for number in range(len(table)):
            tile, at, to = _tile(table, number, line, oh, ow, h * width * c, c)
            if c < full:
                _pick_tile(zero, source, places, at, shape, up, tile, target, to, c, full)
                continue
            for k in range(0, c, full):
                k = min(k, c - full)
                _pick_tile(
                    zero, source, places, at + k, shape, up, tile, target, to + k, full, full
                )

    return picked


@functools.cache
def _means(pixels, vectors, lanes):
    full = vectors * lanes

    @kernel
    def means(line, x, row_sizes, sizes, rows, table, y):
        _, h, width, c = x.shape
        _, oh, ow, _ = y.shape
        shape, source, target = (width, c, 0), x.reshape(-1), y.reshape(-1)
        zero, up = zeros(y, pixels, vectors, lanes), taps_of(rows, line % oh, h)
        for number in range(len(table)):
            tile, at, to = _tile(table, number, line, oh, ow, h * width * c, c)
            q, apart, last = tile[:3]
            shares = column(sizes, q, clipped(apart, last, zero), zero)
            scale = shares * column(row_sizes, line % oh, (0,), zero)
            if c < full:
                _mean_tile(zero, source, at, shape, up, tile, scale, target, to, c, full)
                continue
            for k in range(0, c, full):
                k = min(k, c - full)
                _mean_tile(zero, source, at + k, shape, up, tile, scale, target, to + k, full, full)

    return means


@functools.cache
def _shared(pixels, vectors, lanes):
    full = vectors * lanes

    @kernel
    def shared(line, dy, row_shares, shares, rows, table, dx):
        _, h, width, c = dy.shape
        _, oh, ow, _ = dx.shape
        shape, source, target = (width, c, 0), dy.reshape(-1), dx.reshape(-1)
        zero, up = zeros(dx, pixels, vectors, lanes), taps_of(rows, line % oh, h)
        for number in range(len(table)):
            tile, at, to = _tile(table, number, line, oh, ow, h * width * c, c)
            if c < full:
                _share_tile(
                    zero, source, at, shape, up, tile, row_shares, shares, target, to, c, lanes
                )
                continue
            for k in range(0, c, full):
                k = min(k, c - full)
                _share_tile(
                    zero, source, at + k, shape, up, tile, row_shares, shares, target, to + k,
                    full, full,
                )  # fmt: skip

    return shared


@kernel
def _gather(line, x, indices, kernel_size, stride, corner, y):
    _, oh, ow, c = y.shape
    image, p = line // oh, line % oh
    for q in range(ow):
        for k in range(c):
            place = indices[image, p, q, k]
            a = p * stride[0] - corner[0] + place // kernel_size[1]
            b = q * stride[1] - corner[1] + place % kernel_size[1]
            y[image, p, q, k] = x[image, a, b, k]


def _shape(x: np.ndarray) -> tuple[int, int, int]:
    """Pixels, vectors and lanes of a tile: one pixel if its channels fill the vectors, as memory is
    fastest in its order; else more."""
    lanes, vectors, pixels = LANES[x.itemsize], *((4, 7) if MANY_REGISTERS else (2, 4))
    return (1, vectors, lanes) if x.shape[3] >= vectors * lanes else (pixels, 1, lanes)


def _axes(x, kernel_size, stride, padding, outputs, inputs, backward=False) -> tuple[Any, Any]:
    """The rows' table and the tiles of a line; outputs, inputs: (rows, columns) of images."""
    rows, columns = (
        tiles(k, s, before, to, of, _shape(x)[0], backward)
        for k, s, (before, _), to, of in zip(
            kernel_size, stride, padding, outputs, inputs, strict=True
        )
    )
    return rows[0], columns[1]


@functools.lru_cache(256)
def _shares(kernel, stride, ends, outputs, inputs, count_include_pad, dtype) -> np.ndarray:
    """1 / how many elements a window counts along one axis, for each output. (outputs,)."""
    start = np.arange(outputs) * stride - ends[0]
    first, end = (start, inputs + ends[1]) if count_include_pad else (np.maximum(start, 0), inputs)
    return (1 / (np.minimum(start + kernel, end) - first)).astype(dtype)


def max_pool2d(
    x: np.ndarray, kernel_size: Pair, stride: Pair, padding: Padding, size: Pair
) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest of each window, and its index."""
    y = empty((len(x), *size, x.shape[3]), x.dtype)
    indices = empty(y.shape, np.uint8 if kernel_size[0] * kernel_size[1] <= 256 else np.int32)
    axes = _axes(x, kernel_size, stride, padding, size, x.shape[1:3])
    x = contiguous(x)
    _largest(*_shape(x))(len(x) * size[0], x, kernel_size[1], *axes, y, indices)
    return y, indices


def max_pool2d_scatter(
    dy: np.ndarray,
    indices: np.ndarray,
    input_size: Pair,
    kernel_size: Pair,
    stride: Pair,
    padding: Padding,
) -> np.ndarray:
    """Return the gradient of max_pool2d: dy added where the maxima came from."""
    dx = empty((len(dy), *input_size, dy.shape[3]), dy.dtype)
    axes = _axes(dy, kernel_size, stride, padding, input_size, dy.shape[1:3], True)
    dy, indices = contiguous(dy), contiguous(indices)
    _picked(*_shape(dy))(len(dy) * input_size[0], dy, indices, kernel_size[1], *axes, dx)
    return dx


def max_pool2d_gather(
    x: np.ndarray, indices: np.ndarray, kernel_size: Pair, stride: Pair, padding: Padding
) -> np.ndarray:
    """Return what stands in x where the maxima came from: the transpose of max_pool2d_scatter."""
    y = empty(indices.shape, x.dtype)
    x, indices = contiguous(x), contiguous(indices)
    _gather(len(y) * y.shape[1], x, indices, kernel_size, stride, corner(padding), y)
    return y


def avg_pool2d(
    x: np.ndarray,
    kernel_size: Pair,
    stride: Pair,
    padding: Padding,
    size: Pair,
    count_include_pad: bool,
) -> np.ndarray:
    """Return the mean of each window."""
    y = empty((len(x), *size, x.shape[3]), x.dtype)
    axes = _axes(x, kernel_size, stride, padding, size, x.shape[1:3])
    shares = (
        _shares(*axis, count_include_pad, x.dtype)
        for axis in zip(kernel_size, stride, padding, size, x.shape[1:3], strict=True)
    )
    _means(*_shape(x))(len(x) * size[0], contiguous(x), *shares, *axes, y)
    return y


def avg_pool2d_grad(
    dy: np.ndarray,
    input_size: Pair,
    kernel_size: Pair,
    stride: Pair,
    padding: Padding,
    count_include_pad: bool,
) -> np.ndarray:
    """Return the gradient of avg_pool2d: dy shared out among its window."""
    dx = empty((len(dy), *input_size, dy.shape[3]), dy.dtype)
    size = dy.shape[1:3]
    axes = _axes(dy, kernel_size, stride, padding, input_size, size, True)
    shares = (
        _shares(*axis, count_include_pad, dy.dtype)
        for axis in zip(kernel_size, stride, padding, size, input_size, strict=True)
    )
    dy = contiguous(dy)
    _shared(*_shape(dy))(len(dy) * input_size[0], dy, *shares, *axes, dx)
    return dx
