"""Convolution straight from the images: the micro-kernel driven by tables, nothing unrolled.

Shapes and names as in the textbook, `minidl.reference.conv`. The forward pass and the input
gradient are one kernel, which gathers; they differ in their tables and in how the weights are
packed. In the weight gradient a tile's rows are taps of the kernel (kernel row, kernel column,
input channel), its columns output channels, and the sum runs over the output pixels: a tap's
number in x lies at the same distance from every pixel's window.
"""

import functools

import numpy as np
from numba import prange

from minidl.config import config
from minidl.geometry import Padding, Pair, output_size
from minidl.kernels._jit import kernel, sized
from minidl.kernels.memory import empty
from minidl.kernels.microkernel import (
    ACTIVATIONS,
    Shape,
    accumulate,
    accumulate_part,
    activated,
    begin,
    finish,
    resume,
    tile_shape,
)
from minidl.kernels.simd import load_part, take, zeros
from minidl.kernels.tables import Tables, forward_tables, input_grad_tables
from minidl.kernels.transpose import turned

BLOCK_BYTES = 256 * 1024  # of x and dy that all tiles use in turn: they stay in the L2 cache
FEW_TILES = 16  # with fewer, images are shared out among threads instead of tiles


@functools.cache
def _gather(rows, vectors, lanes):
    width = vectors * lanes

    @kernel
    def convolve(
        x, w, bias, activation, y, x_rows, y_rows, tiles, x_segments, w_segments, bounds, sizes
    ):  # fmt: skip
        """Each tile of pixels and channels of y = activation(the sum over its segments + bias).

        sizes: groups, channels of x and of y in a group, blocks of columns a group, numbers in a
        block's weights, and whether threads share out blocks first (large weights) or pixels.
        """
        groups, inputs, outputs, blocks, block_size, blocks_first = sizes
        parts = len(bounds) - 1
        for number in prange(parts * groups * blocks):
            if blocks_first:
                block, part = number // parts, number % parts
            else:
                block, part = number % (groups * blocks), number // (groups * blocks)
            group, j = block // blocks, block % blocks
            zero = zeros(y, rows, vectors, lanes)
            for tile in range(bounds[part], bounds[part + 1]):
                first, segment = tiles[tile, 0], tiles[tile, 1]
                pixels = take(x_rows, first, zero)
                acc = begin(zero, bias, block * width)
                for s in range(segment, segment + tiles[tile, 2]):
                    acc = accumulate(
                        acc, x, x_segments[s] + group * inputs, pixels, 1,
                        w, block * block_size + w_segments[s] * width, width, tiles[tile, 3],
                    )  # fmt: skip
                finish(
                    activated(acc, activation), y, group * outputs + j * width,
                    take(y_rows, first, zero), outputs - j * width, width,
                )  # fmt: skip

    return convolve


@kernel
def _pack_forward(weight, groups, packed):
    """packed[g, j, tap, c, i] = weight[tap, c, column j*width + i of group g], or 0 behind it."""
    _, blocks, taps, c, width = packed.shape
    outputs = weight.shape[2] // groups
    for part in prange(groups * blocks * taps):
        block, tap = part // taps, part % taps
        g, j = block // blocks, block % blocks
        count = min(width, outputs - j * width)
        start = g * outputs + j * width
        for k in range(c):
            for i in range(count):
                packed[g, j, tap, k, i] = weight[tap, k, start + i]
            for i in range(count, width):
                packed[g, j, tap, k, i] = 0


def packed_forward(
    weight: np.ndarray, bias: np.ndarray | None, groups: int, shape: Shape
) -> tuple[np.ndarray, np.ndarray]:
    """Weights in blocks of columns, (groups, blocks, kh*kw, C/groups, width), and the bias."""
    kh, kw, c, k = weight.shape
    outputs = k // groups
    blocks = -(-outputs // shape.width)
    packed = empty((groups, blocks, kh * kw, c, shape.width), weight.dtype)
    sized(_pack_forward, packed.size)(
        np.ascontiguousarray(weight).reshape(kh * kw, c, k), groups, packed
    )
    start = np.empty(0, weight.dtype)
    if bias is not None:
        start = np.zeros((groups, blocks * shape.width), weight.dtype)
        start[:, :outputs] = bias.reshape(groups, outputs)
    return packed, start.reshape(-1)


def _turned_in_groups(weight: np.ndarray, groups: int) -> np.ndarray:
    """The weights of the convolution that is the input gradient: (kh, kw, K/groups, C)."""
    if groups == 1:
        return turned(weight)
    kh, kw, c, k = weight.shape
    apart = weight[::-1, ::-1].reshape(kh, kw, c, groups, k // groups)
    return apart.transpose(0, 1, 4, 3, 2).reshape(kh, kw, k // groups, groups * c)


def _run(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, activation: str | None,
    groups: int, y: np.ndarray, tables: Tables, shape: Shape,
) -> None:  # fmt: skip
    packed, start = packed_forward(weight, bias, groups, shape)
    sizes = (
        groups, weight.shape[2], weight.shape[3] // groups, packed.shape[1], packed[0, 0].size,
        int(packed.nbytes > x.nbytes),
    )  # fmt: skip
    _gather(*shape)(
        np.ascontiguousarray(x).reshape(-1), packed.reshape(-1), start, ACTIVATIONS[activation],
        y.reshape(-1), *tables, sizes,
    )  # fmt: skip


def conv2d(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, activation: str | None,
    stride: Pair, padding: Padding, dilation: Pair, groups: int,
) -> np.ndarray:  # fmt: skip
    """activation(the convolution of x with weight + bias). (N, OH, OW, K)."""
    n, h, w, _ = x.shape
    kh, kw, _, k = weight.shape
    size = output_size("conv2d", (h, w), (kh, kw), stride, padding, dilation)
    y = empty((n, *size, k), x.dtype)
    if n == 0:
        return y
    shape = tile_shape(k // groups, x.dtype)
    tables = forward_tables(x.shape, (kh, kw), stride, padding, dilation, groups, k, shape.rows)
    _run(x, weight, bias, activation, groups, y, tables, shape)
    return y


def conv2d_input_grad(
    dy: np.ndarray, weight: np.ndarray, input_size: Pair,
    stride: Pair, padding: Padding, dilation: Pair, groups: int,
) -> np.ndarray:  # fmt: skip
    """The gradient of conv2d for x: (N, *input_size, C)."""
    kh, kw, c, _ = weight.shape  # c = C/groups
    dx = empty((len(dy), *input_size, c * groups), dy.dtype)
    if len(dy) == 0:
        return dx
    shape = tile_shape(c, dy.dtype)
    tables = input_grad_tables(
        dy.shape, (kh, kw), input_size, stride, padding, dilation, groups, c * groups, shape.rows
    )
    _run(dy, _turned_in_groups(weight, groups), None, None, groups, dx, tables, shape)
    return dx


@kernel
def _pad_images(x, top, left, padded):
    """Copy images into the middle of larger ones of zeros."""
    n, h, w, c = x.shape
    rows, columns = padded.shape[1:3]
    flat = x.reshape(n, h, w * c)
    target = padded.reshape(n, rows, columns * c)
    for part in prange(n * rows):
        image, row = part // rows, part % rows
        line = target[image, row]
        if top <= row < top + h:
            source, middle = flat[image, row - top], line[left * c : (left + w) * c]
            for i in range(w * c):
                middle[i] = source[i]
            for i in range(left * c):
                line[i] = 0
            for i in range((left + w) * c, columns * c):
                line[i] = 0
        else:
            for i in range(columns * c):
                line[i] = 0


@functools.cache
def _stream(rows, vectors, lanes):
    width = vectors * lanes

    @kernel
    def stream(x, x_starts, x_step, taps, dy, dy_row, dw, db, sizes):
        """dw[chunk] (+)= sums over the chunk's rows of pixels; db the sums of dy, if it is asked.

        x_starts: where the window of each row's first pixel lies; dy_row: pixels in a row.
        sizes: groups, x's and dy's channels in a group, row tiles and column blocks a group, rows
        of pixels at a time, chunks of rows, and parts that share the tiles of a chunk.
        """
        groups, inputs, outputs, row_tiles, blocks, rows_at_once, chunks, shares = sizes
        tiles = groups * blocks * row_tiles
        channels = groups * outputs
        dw_size = dw.size // chunks
        for part in prange(chunks * shares):
            chunk, share = part // shares, part % shares
            last_row = len(x_starts) * (chunk + 1) // chunks
            zero = zeros(dw, rows, vectors, lanes)
            one = zeros(dw, 1, vectors, lanes)
            for start in range(len(x_starts) * chunk // chunks, last_row, rows_at_once):
                stop = min(last_row, start + rows_at_once)
                for tile in range(tiles * share // shares, tiles * (share + 1) // shares):
                    block, row_tile = tile // row_tiles, tile % row_tiles
                    group, j = block // blocks, block % blocks
                    first = group * outputs + j * width
                    count = outputs - j * width
                    places = take(taps, row_tile * rows, zero)
                    acc = zero
                    if count >= width:
                        for row in range(start, stop):
                            acc = accumulate(
                                acc, x, x_starts[row] + group * inputs, places, x_step,
                                dy, row * dy_row * channels + first, channels, dy_row,
                            )  # fmt: skip
                    else:
                        for row in range(start, stop):
                            acc = accumulate_part(
                                acc, x, x_starts[row] + group * inputs, places, x_step,
                                dy, row * dy_row * channels + first, channels, dy_row, count,
                            )  # fmt: skip
                    at = chunk * dw_size + first
                    dw_rows = take(taps, (row_tiles + row_tile) * rows, zero)
                    finish(
                        acc + resume(zero, dw, at, dw_rows, count, width),
                        dw, at, dw_rows, count, width,
                    )  # fmt: skip
                    if row_tile == 0 and db.size > 0:
                        total = one
                        for pixel in range(start * dy_row, stop * dy_row):
                            total = total + load_part(
                                dy, pixel * channels + first, (0,), one, count
                            )
                        at = chunk * channels + first
                        finish(
                            total + resume(one, db, at, (0,), count, width),
                            db, at, (0,), count, width,
                        )  # fmt: skip

    return stream


@functools.lru_cache(maxsize=256)
def _tap_table(
    kernel_size: Pair, dilation: Pair, width: int, channels: int, used: int, outputs: int, rows: int
) -> tuple[np.ndarray, int]:
    """Where taps lie in x behind a window's start, then where they lie in dw; and tiles of each.

    Both filled up to whole tiles by repeating the last tap.
    """
    kh, kw = kernel_size
    down = np.arange(kh)[:, None, None] * dilation[0] * width
    right = np.arange(kw)[None, :, None] * dilation[1]
    in_x = ((down + right) * channels + np.arange(used)).ravel()  # (kh, kw, C/groups)
    in_dw = np.arange(len(in_x)) * outputs
    fill = (0, -len(in_x) % rows)
    table = np.concatenate([np.pad(in_x, fill, mode="edge"), np.pad(in_dw, fill, mode="edge")])
    return table.astype(np.int64), (len(in_x) + fill[1]) // rows


def conv2d_weight_grad(
    x: np.ndarray, dy: np.ndarray, kernel_size: Pair, stride: Pair, padding: Padding,
    dilation: Pair, groups: int, with_bias: bool,
) -> tuple[np.ndarray, np.ndarray | None]:  # fmt: skip
    """The gradients of conv2d for weight and, if asked, bias: (kh, kw, C/groups, K), (K,)."""
    n, oh, ow, k = dy.shape
    x, dy = padded(x, padding), np.ascontiguousarray(dy)
    _, h, w, c = x.shape
    used, outputs = c // groups, k // groups
    shape = tile_shape(outputs, x.dtype)
    taps, row_tiles = _tap_table(kernel_size, dilation, w, c, used, k, shape.rows)
    blocks = -(-outputs // shape.width)
    tiles = groups * blocks * row_tiles
    chunks = 1 if tiles >= FEW_TILES else max(1, min(n, 2 * FEW_TILES // tiles))
    shares = min(tiles, config.num_threads) if chunks == 1 else 1
    dw = np.zeros((chunks, *kernel_size, used, k), x.dtype)
    db = np.zeros((chunks, k if with_bias else 0), x.dtype)
    if dy.size and x.size:
        image, row = np.divmod(np.arange(n * oh), oh)
        starts = (image * h + row * stride[0]) * w * c
        bytes_a_row = (stride[0] * w * c + ow * k) * x.itemsize
        at_once = max(1, BLOCK_BYTES // bytes_a_row)
        _stream(*shape)(
            x.reshape(-1), starts, stride[1] * c, taps, dy.reshape(-1), ow,
            dw.reshape(-1), db.reshape(-1),
            (groups, used, outputs, row_tiles, blocks, at_once, chunks, shares),
        )  # fmt: skip
    return _total(dw), _total(db) if with_bias else None


def _total(parts: np.ndarray) -> np.ndarray:
    """The sum of the chunks, in their order."""
    return parts[0] if len(parts) == 1 else parts.sum(axis=0)


def padded(x: np.ndarray, padding: Padding) -> np.ndarray:
    """Images with zeros around them; x itself where there is no padding."""
    (top, bottom), (left, right) = padding
    if not (top or bottom or left or right):
        return np.ascontiguousarray(x)
    n, h, w, c = x.shape
    larger = empty((n, h + top + bottom, w + left + right, c), x.dtype)
    sized(_pad_images, larger.size)(np.ascontiguousarray(x), top, left, larger)
    return larger
