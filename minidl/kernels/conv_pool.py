"""Convolution, bias, ReLU and 2x2 max-pooling in one pass.

Shapes and names as in the twin, `minidl.reference.conv_pool`. Four rows of a tile are the pixels of
a window, so that what is pooled away never leaves the registers.
"""

import functools
import math
from typing import Any

import numpy as np
from numba import types

from minidl.geometry import Padding, Pair, output_size
from minidl.kernels import choose, planar, winograd
from minidl.kernels._jit import WORK_A_NUMBER, inlined, kernel, sized
from minidl.kernels._window_tiles import finish_numbers
from minidl.kernels.copy import contiguous, copied
from minidl.kernels.memory import empty
from minidl.kernels.microkernel import begin, finish, tile_shape
from minidl.kernels.offsets import entry, steps, take
from minidl.kernels.packing import packed_forward, padded
from minidl.kernels.reduce import column_sums, sum_axis
from minidl.kernels.relu_pool import OFF, relu_max_pool
from minidl.kernels.simd import (
    LANES,
    MANY_REGISTERS,
    VECTOR_BYTES,
    Tile,
    column,
    fma,
    intrinsic,
    load,
    load_part,
    maximum,
    spread,
    store,
    store_part,
    where_positive,
    zeros,
)

MOST_VECTORS = 12  # of a sum over maxima
STRIP = 9 if MANY_REGISTERS else 10  # vectors of a frame that are summed at a time
STRIP_BYTES = 40 * 1024  # of weights, which stay in the L1 cache
CHUNKS = 16  # of images, each with sums of its own, for threads to share
PIXELS_A_SUM = 256  # longer sums of float32 lose digits


@intrinsic
def pooled(typing, tile):
    """The largest of each four rows, and which it was as a number: OFF where it is 0 or less."""
    small = Tile(tile.dtype, tile.rows // 4, tile.vectors, tile.lanes)

    def generate(context, builder, signature, arguments):
        def number(n):
            return tile.vector([tile.vector.element(float(n)).constant] * tile.lanes)

        values, places = [], []
        for i in range(small.rows):
            for j in range(tile.vectors):
                four = [tile.pick(builder, arguments[0], 4 * i + n, j) for n in range(4)]
                best, place = four[0], number(0)
                for n in range(1, 4):
                    larger = builder.fcmp_ordered(">", four[n], best)
                    better = builder.or_(larger, builder.fcmp_unordered("uno", four[n], four[n]))
                    best = builder.select(better, four[n], best)
                    place = builder.select(better, number(n), place)
                values.append(best)
                positive = builder.fcmp_unordered(">", best, tile.vector(None))
                places.append(builder.select(positive, place, number(OFF)))
        both = [small.pack(builder, values), small.pack(builder, places)]
        return context.make_tuple(builder, signature.return_type, both)

    return types.Tuple((small, small))(tile), generate


@functools.cache
def _pooling(rows, vectors, lanes):
    width, windows = vectors * lanes, rows // 4

    @kernel
    def convolve_and_pool(
        number, x, w, bias, y, indices, x_rows, y_rows, taps, sizes
    ):  # fmt: skip
        """sizes: groups, channels of x and y in a group, blocks of columns a group, numbers in a
        block's weights, tiles and tiles a part."""
        groups, inputs, outputs, blocks, block_size, tiles, at_once = sizes
        part, block = number // (groups * blocks), number % (groups * blocks)
        group, j = block // blocks, block % blocks
        zero = zeros(y, rows, vectors, lanes)
        few = zeros(y, windows, vectors, lanes)
        to, count = group * outputs + j * width, outputs - j * width
        for tile in range(part * at_once, min(tiles, (part + 1) * at_once)):
            pixels = take(x_rows, tile * rows, zero)
            acc = begin(zero, bias, block * width)
            for k in range(taps.size):
                at = entry(taps, k) + group * inputs
                weights = load(w, block * block_size + k * width, (0,), acc)
                acc = fma(column(x, at, pixels, acc), weights, acc)
            best, which = pooled(acc)
            places = take(y_rows, tile * windows, few)
            finish(maximum(best, spread(0.0, best)), y, to, places, count, width)
            if indices.size > 0:
                finish_numbers(which, indices, to, places, count, width)

    return convolve_and_pool


@functools.lru_cache(maxsize=64)
def _tables(
    shape: tuple[int, int, int, int], size: Pair, kernel_size: Pair, stride: Pair, dilation: Pair,
    groups: int, outputs: int, tile_rows: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Where windows' pixels and their results lie, and taps from a pixel's first, for images
    without padding, where all pixels see all taps."""
    n, h, w, c = shape
    (p, q), (kh, kw), used = (size[0] // 2, size[1] // 2), kernel_size, c // groups
    image = np.arange(n)[:, None, None, None, None]
    row = 2 * np.arange(p)[:, None, None, None] + np.arange(2)[:, None]
    column = 2 * np.arange(q)[:, None, None] + np.arange(2)
    x_rows = ((image * h + row * stride[0]) * w + column * stride[1]) * c  # (N, P, Q, 2, 2)
    x_rows, y_rows = x_rows.reshape(-1), np.arange(n * p * q) * outputs
    fill = -len(y_rows) % (tile_rows // 4)
    x_rows = np.concatenate([x_rows, np.tile(x_rows[-4:], fill)])
    y_rows = np.pad(y_rows, (0, fill), mode="edge")
    down = np.arange(kh)[:, None, None] * dilation[0] * w
    right = np.arange(kw)[:, None] * dilation[1]
    taps = ((down + right) * c + np.arange(used)).reshape(-1)  # (kh, kw, C/groups)
    return x_rows, y_rows, taps


def conv2d_relu_max_pool(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None,
    stride: Pair, padding: Padding, dilation: Pair, groups: int,
    *, with_indices: bool,
) -> tuple[np.ndarray, np.ndarray | None]:  # fmt: skip
    """relu(the convolution of x with weight + bias), pooled 2x2; and, if asked, the indices of
    relu_max_pool. (N, OH // 2, OW // 2, K), twice.
    """
    kh, kw, _, k = weight.shape
    size = output_size("conv2d", x.shape[1:3], (kh, kw), stride, padding, dilation)
    algorithm = choose.algorithm(
        len(x), size, weight.shape, stride, padding, dilation, groups, x.itemsize, True
    )
    if algorithm == choose.WINOGRAD:
        m = choose.winograd_size()
        y, indices = relu_max_pool(winograd.conv2d(x, weight, bias, None, padding, m))
        return y, indices if with_indices else None
    y = empty((len(x), size[0] // 2, size[1] // 2, k), x.dtype)
    indices = empty(y.shape if with_indices else (0,), np.uint8)
    if y.size == 0:
        pass
    elif algorithm == choose.PLANAR:
        planar.conv2d_relu_max_pool(x, weight, bias, stride, padding, dilation, y, indices)
    else:
        _pool_windows(x, weight, bias, stride, padding, dilation, groups, y, indices)
    return y, indices if with_indices else None


def _pool_windows(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None,
    stride: Pair, padding: Padding, dilation: Pair, groups: int, y: np.ndarray, indices: np.ndarray,
) -> None:  # fmt: skip
    """What `conv2d_relu_max_pool` does where lanes are channels."""
    kh, kw, c, k = weight.shape
    shape = tile_shape(k // groups, x.itemsize)
    shape = shape._replace(rows=shape.rows // 4 * 4)
    x = padded(x, padding)
    packed, start = packed_forward(weight, bias, groups, shape)
    size = output_size("conv2d", x.shape[1:3], (kh, kw), stride, ((0, 0), (0, 0)), dilation)
    tables = _tables(x.shape, size, (kh, kw), stride, dilation, groups, k, shape.rows)
    tiles = len(tables[0]) // shape.rows
    sizes = (
        groups, c, k // groups, packed.shape[1], packed[0, 0].size, tiles, max(1, tiles // 64)
    )  # fmt: skip
    work = 4 * y.size * kh * kw * c
    parts = sized(-(-tiles // sizes[-1]) * groups * packed.shape[1], work // WORK_A_NUMBER)
    _pooling(*shape)(
        parts, x.reshape(-1), packed.reshape(-1), start, y.reshape(-1), indices.reshape(-1),
        *tables, sizes,
    )  # fmt: skip


@inlined
def _add(tile, y, at, rows, count):
    """Add the first `count` columns of a tile to an array."""
    store_part(tile + load_part(y, at, rows, tile, count), y, at, rows, count)


@functools.cache
def _sums_of_maxima(rows, vectors, lanes):
    @kernel
    def sums(part, x, dy, indices, dw, db, shape, steps_of_x, places, lets, count):
        """dw[chunk, k, i] = the sum of dy times what kernel row i saw of x at the maximum.

        shape: images, rows, columns and channels of dy.  steps_of_x: how far the windows of the
        next image, row and column of dy lie, and the next row of the kernel.  places: by index,
        where in a window of outputs the maximum's own window starts; lets: 1, or for OFF 0.
        count: numbers in a row of the kernel.
        """
        images, oh, ow, outputs = shape
        image_step, row_step, column_step, kernel_step = steps_of_x
        chunks = db.size // outputs
        chunk, k = part // outputs, part % outputs
        nothing, one = zeros(x, rows, vectors, lanes), zeros(x, 1, 1, lanes)
        kernel_rows, dw_rows = steps(kernel_step, nothing), steps(count, nothing)
        to = part * rows * count
        acc, total, pixels = nothing, one, 0
        store_part(nothing, dw, to, dw_rows, count)
        store_part(one, db, part, (0,), 1)
        for n in range(images * chunk // chunks, images * (chunk + 1) // chunks):
            for p in range(oh):
                if pixels >= PIXELS_A_SUM:
                    _add(acc, dw, to, dw_rows, count)
                    _add(total, db, part, (0,), 1)
                    acc, total, pixels = nothing, one, 0
                pixels += ow
                at, seen = (n * oh + p) * ow * outputs + k, n * image_step + p * row_step
                for _ in range(ow):
                    index = entry(indices, at)
                    g = where_positive(column(lets, index, (0,), one), column(dy, at, (0,), one))
                    patch = load_part(x, seen + entry(places, index), kernel_rows, acc, count)
                    acc = fma(g, patch, acc)
                    total = total + g
                    at, seen = at + outputs, seen + column_step
        _add(acc, dw, to, dw_rows, count)
        _add(total, db, part, (0,), 1)

    return sums


def conv2d_relu_max_pool_weight_grad(
    x: np.ndarray, dy: np.ndarray, indices: np.ndarray, kernel_size: Pair,
    stride: Pair, padding: Padding, dilation: Pair, groups: int,
) -> tuple[np.ndarray, np.ndarray] | None:  # fmt: skip
    """The gradients for weight, (kh, kw, C, K), and bias from the maxima alone; None for a shape
    that is better done by undoing the pooling.

    Three of four of a convolution's outputs were pooled away: with few channels, where a product
    can't use its registers well, it pays to pass them over.
    """
    (kh, kw), n, k, c = kernel_size, len(x), dy.shape[3], x.shape[3]
    lanes = LANES[x.itemsize]
    lanes = lanes // 2 if kw * c <= lanes // 2 and lanes > 4 else lanes
    vectors = -(-kw * c // lanes)
    if groups > 1 or dilation[1] > 1 or kh * vectors > MOST_VECTORS or dy.size == 0:
        return None
    x = padded(x, padding)
    # by shape alone, never by threads
    chunks = min(n, max(CHUNKS, dy.size // k // PIXELS_A_SUM**2))
    dw, db = empty((chunks, k, kh, kw * c), x.dtype), np.empty((chunks, k), x.dtype)
    line = x.shape[2] * c
    down, right = stride[0] * line, stride[1] * c
    steps_of_x = (x.shape[1] * line, 2 * down, 2 * right, dilation[0] * line)
    places = np.array([0, right, down, down + right, 0])
    _sums_of_maxima(kh, vectors, lanes)(
        chunks * k, x.reshape(-1), contiguous(dy).reshape(-1), indices.reshape(-1),
        dw.reshape(-1), db.reshape(-1), dy.shape, steps_of_x, places,
        np.array([1, 1, 1, 1, 0], x.dtype), kw * c,
    )  # fmt: skip
    dw = sum_axis(dw.reshape(1, chunks, -1), 1.0).reshape(k, kh, kw, c)
    return copied(dw.transpose(1, 2, 3, 0)), column_sums(db)  # (kh, kw, C, K), (K,)


@kernel
def _fill_frames(part, weight, frames):
    """frames[strip, place, k, row, number] = the weights by which an output of channel k, at one of
    four places in its window, depends on the pixels that the window sees; 0 on those it doesn't.

    A part is a place and a channel. A frame's rows lie in strips, (column, channel) in a row.
    """
    kh, kw, c, outputs = weight.shape
    rows = frames.shape[3]
    place, k = part // outputs, part % outputs
    down, right = place // 2, place % 2
    for i in range(frames.shape[0] * rows):
        line = frames[i // rows, place, k, i % rows]
        line[:] = 0
        if 0 <= i - down < kh:
            for j in range(kw):
                for n in range(c):
                    line[(j + right) * c + n] = weight[i - down, j, n, k]


@functools.cache
def _scatter(rows, vectors, lanes):
    width = vectors * lanes

    @kernel
    def scatter(part, dy, indices, frames, dx, sizes):
        """One image's dx: for each window a frame, the sum over channels of dy * their weights.

        A strip of frames' rows at a time: what it needs of their weights stays in the L1 cache.
        sizes: strips; windows and their channels; columns and padding of x.
        """
        strips, oh, ow, outputs, columns, top, left = sizes
        _, h, w, c = dx.shape
        line = columns * c
        image = np.zeros((2 * oh + strips * rows) * line + width, dx.dtype)
        count, frame = oh * ow * outputs, rows * width
        grads, places = np.empty(count, dx.dtype), np.empty(count, np.int64)
        for i in range(count):
            index = indices[part * count + i]
            grads[i] = dy[part * count + i] if index < OFF else 0
            places[i] = index * outputs * frame if index < OFF else 0
        nothing, one = zeros(dx, rows, vectors, lanes), zeros(dx, 1, 1, lanes)
        frame_rows, image_rows = steps(width, nothing), steps(line, nothing)
        for strip in range(strips):
            for p in range(oh):
                at = p * ow * outputs
                to = (2 * p + strip * rows) * line
                for _ in range(ow):
                    acc, first = nothing, strip * 4 * outputs * frame
                    for _ in range(outputs):
                        weights = load(frames, first + entry(places, at), frame_rows, acc)
                        acc = fma(column(grads, at, (0,), one), weights, acc)
                        at, first = at + 1, first + frame
                    store(acc + load(image, to, image_rows, acc), image, to, image_rows)
                    to += 2 * c
        for i in range(h):
            source = image[((i + top) * columns + left) * c :]
            target = dx[part, i].reshape(-1)
            for j in range(w * c):
                target[j] = source[j]

    return scatter


def _aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return an array of any content, each of whose vectors lies in one line of the cache."""
    size, number = math.prod(shape), np.dtype(dtype).itemsize
    room = np.empty(size + VECTOR_BYTES // number, dtype)
    first = -room.ctypes.data % VECTOR_BYTES // number
    return room[first : first + size].reshape(shape)


def conv2d_relu_max_pool_input_grad(
    dy: np.ndarray, indices: np.ndarray, weight: np.ndarray, input_size: Pair,
    stride: Pair, padding: Padding, dilation: Pair, groups: int,
) -> np.ndarray | None:  # fmt: skip
    """The gradient for x, (N, *input_size, C), from the maxima alone; None for a shape that is
    better done by undoing the pooling.

    A gradient that is infinite or NaN may make NaNs as far as its window sees.
    """
    kh, kw, c, k = weight.shape
    n, oh, ow, _ = dy.shape
    lanes = LANES[dy.itemsize]
    vectors = -(-(kw + 1) * c // lanes)
    if not stride == dilation == (1, 1) or groups > 1 or vectors > STRIP or dy.size == 0:
        return None
    rows = min(STRIP // vectors, kh + 1)
    strips = -(-(kh + 1) // rows)
    rows = -(-(kh + 1) // strips)
    if 4 * k * rows * vectors * lanes * dy.itemsize > STRIP_BYTES:
        return None
    frames = _aligned((strips, 4, k, rows, vectors * lanes), dy.dtype)
    _fill_frames(sized(4 * k, frames.size), contiguous(weight), frames)
    (top, _), (left, right) = padding
    dx = empty((n, *input_size, c), dy.dtype)
    sizes = (strips, oh, ow, k, input_size[1] + left + right, top, left)
    parts = sized(n, dy.size * strips * rows * vectors * lanes // WORK_A_NUMBER)
    _scatter(rows, vectors, lanes)(
        parts, contiguous(dy).reshape(-1), indices.reshape(-1), frames.reshape(-1), dx,
        sizes,
    )  # fmt: skip
    return dx
