"""Pooling of regions. Shapes and names as in the twin, `minidl.reference.roi`.

A gradient's channels are shared out among the threads, so that what several regions add to a pixel
is added in the regions' order.
"""

import math

import numpy as np

from minidl.geometry import Pair
from minidl.kernels._jit import helper, kernel, sized
from minidl.kernels.copy import contiguous
from minidl.kernels.memory import empty

CHANNELS_A_PART = 64  # of a gradient


@helper
def _neighbours(place, pixels):
    """The two pixels that a point lies between, the share of the second, and whether it counts."""
    if not -1.0 <= place <= pixels:
        return 0, 0, 0.0, False
    place = max(place, 0.0)
    low = int(place)
    if low >= pixels - 1:
        return pixels - 1, pixels - 1, 0.0, True
    return low, low + 1, place - low, True


@helper
def _point(bins, k, axis, number, i, points):
    """Where point i of `points` of bin `number` lies along an axis."""
    length = np.float64(bins[k, 2 + axis])
    return bins[k, axis] + number * length + (i + 0.5) * length / points


@kernel
def _align(line, x, bins, places, y):
    _, h, w, c = x.shape
    kind = y.dtype.type
    k, p = line // y.shape[1], line % y.shape[1]
    image, down, across = x[places[k, 0]], places[k, 1], places[k, 2]
    scale = 1.0 / max(down * across, 1)
    for q in range(y.shape[2]):
        target = y[k, p, q]
        for m in range(c):
            target[m] = kind(0)
        for i in range(down):
            top, bottom, under, counts = _neighbours(_point(bins, k, 0, p, i, down), h)
            if not counts:
                continue
            for j in range(across):
                left, right, beside, counts = _neighbours(_point(bins, k, 1, q, j, across), w)
                if not counts:
                    continue
                a, b = image[top, left], image[top, right]
                d, e = image[bottom, left], image[bottom, right]
                of_a, of_b = (1 - under) * (1 - beside) * scale, (1 - under) * beside * scale
                of_d, of_e = under * (1 - beside) * scale, under * beside * scale
                wa, wb, wd, we = kind(of_a), kind(of_b), kind(of_d), kind(of_e)
                for m in range(c):
                    target[m] += wa * a[m] + wb * b[m] + wd * d[m] + we * e[m]


@kernel
def _align_grad(part, dy, bins, places, blocks, dx):
    """Some channels of an image's gradient."""
    _, h, w, c = dx.shape
    kind = dx.dtype.type
    image, first = part // blocks, part % blocks * CHANNELS_A_PART
    last = min(c, first + CHANNELS_A_PART)
    target = dx[image]
    for row in range(h):
        for column in range(w):
            pixel = target[row, column, first:last]
            for m in range(pixel.size):
                pixel[m] = kind(0)
    for k in range(len(dy)):
        if places[k, 0] != image:
            continue
        down, across = places[k, 1], places[k, 2]
        scale = 1.0 / max(down * across, 1)
        for p in range(dy.shape[1]):
            for i in range(down):
                top, bottom, under, counts = _neighbours(_point(bins, k, 0, p, i, down), h)
                if not counts:
                    continue
                for q in range(dy.shape[2]):
                    g = dy[k, p, q, first:last]
                    for j in range(across):
                        place = _point(bins, k, 1, q, j, across)
                        left, right, beside, counts = _neighbours(place, w)
                        if counts:
                            over = 1 - under
                            _add(kind(over * (1 - beside) * scale), g, target[top, left], first)
                            _add(kind(over * beside * scale), g, target[top, right], first)
                            _add(kind(under * (1 - beside) * scale), g, target[bottom, left], first)
                            _add(kind(under * beside * scale), g, target[bottom, right], first)


@helper
def _add(weight, g, pixel, first):
    mine = pixel[first : first + g.size]
    for m in range(g.size):
        mine[m] += weight * g[m]


@helper
def _bin(start, length, number, count, most):
    """Where bin `number` of `count` begins and ends, clipped to `most` pixels."""
    first, last = number * length // count, -(-(number + 1) * length // count)
    return min(max(start + first, 0), most), min(max(start + last, 0), most)


@kernel
def _pool(line, x, regions, y, indices):
    _, h, w, c = x.shape
    kind = y.dtype.type
    k, p = line // y.shape[1], line % y.shape[1]
    image = x[regions[k, 0]]
    first, last = _bin(regions[k, 1], regions[k, 3], p, y.shape[1], h)
    for q in range(y.shape[2]):
        start, end = _bin(regions[k, 2], regions[k, 4], q, y.shape[2], w)
        best, number = y[k, p, q], indices[k, p, q]
        nothing = first >= last or start >= end
        for m in range(c):
            best[m] = kind(0) if nothing else kind(-math.inf)
            number[m] = np.int32(-1) if nothing else np.int32(first * w + start)
        for row in range(first, last):
            for column in range(start, end):
                pixel, here = image[row, column], np.int32(row * w + column)
                for m in range(c):
                    value, most = pixel[m], best[m]
                    larger = value > most or (value != value and most == most)  # the first NaN
                    best[m] = value if larger else most
                    number[m] = here if larger else number[m]


@kernel
def _pool_scatter(part, dy, indices, images, blocks, dx):
    """Some channels of an image's gradient."""
    _, h, w, c = dx.shape
    kind = dx.dtype.type
    image, first = part // blocks, part % blocks * CHANNELS_A_PART
    last = min(c, first + CHANNELS_A_PART)
    for row in range(h):
        for column in range(w):
            for m in range(first, last):
                dx[image, row, column, m] = kind(0)
    for k in range(len(dy)):
        if images[k] == image:
            for p in range(dy.shape[1]):
                for q in range(dy.shape[2]):
                    for m in range(first, last):
                        place = indices[k, p, q, m]
                        if place >= 0:
                            dx[image, place // w, place % w, m] += dy[k, p, q, m]


@kernel
def _pool_gather(k, x, indices, images, y):
    w, kind = x.shape[2], y.dtype.type
    for p in range(y.shape[1]):
        for q in range(y.shape[2]):
            for m in range(y.shape[3]):
                place = indices[k, p, q, m]
                value = x[images[k], place // w, place % w, m] if place >= 0 else kind(0)
                y[k, p, q, m] = value


def roi_align(x: np.ndarray, bins: np.ndarray, places: np.ndarray, size: Pair) -> np.ndarray:
    """Return for each region the means over its bins of points between pixels."""
    y = empty((len(bins), *size, x.shape[3]), x.dtype)
    lines = len(bins) * size[0]
    _align(sized(lines, 8 * y.size), contiguous(x), contiguous(bins), contiguous(places), y)
    return y


def roi_align_grad(
    dy: np.ndarray, bins: np.ndarray, places: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    """Return the gradient of roi_align for x of this shape."""
    dx = empty(shape, dy.dtype)
    blocks = _blocks(shape)
    parts = sized(shape[0] * blocks, dx.size + 8 * dy.size)
    _align_grad(parts, contiguous(dy), contiguous(bins), contiguous(places), blocks, dx)
    return dx


def roi_pool(x: np.ndarray, regions: np.ndarray, size: Pair) -> tuple[np.ndarray, np.ndarray]:
    """Return for each region the maxima over its bins, and their pixels (row * W + column)."""
    y = empty((len(regions), *size, x.shape[3]), x.dtype)
    indices = empty(y.shape, np.int32)
    lines = len(regions) * size[0]
    _pool(sized(lines, 8 * y.size), contiguous(x), contiguous(regions), y, indices)
    return y, indices


def roi_pool_scatter(
    dy: np.ndarray, indices: np.ndarray, images: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    """Return the gradient of roi_pool for x of this shape: dy added where the maxima came from."""
    dx = empty(shape, dy.dtype)
    blocks = _blocks(shape)
    parts = sized(shape[0] * blocks, dx.size + 8 * dy.size)
    _pool_scatter(parts, contiguous(dy), contiguous(indices), contiguous(images), blocks, dx)
    return dx


def roi_pool_gather(x: np.ndarray, indices: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Return what stands in x where the maxima came from: the transpose of roi_pool_scatter."""
    y = empty(indices.shape, x.dtype)
    parts = sized(len(indices), y.size)
    _pool_gather(parts, contiguous(x), contiguous(indices), contiguous(images), y)
    return y


def _blocks(shape: tuple[int, ...]) -> int:
    return -(-shape[3] // CHANNELS_A_PART)
