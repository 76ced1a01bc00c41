"""The weight gradient of a convolution, and the bias's: sums over pixels.

A tile's rows are taps of the kernel (kernel row, kernel column, input channel), its columns output
channels, and the sum runs over the output pixels: a tap's number in x lies at the same distance
from every pixel's window.
"""

import functools
from typing import Any, NamedTuple

import numpy as np

from minidl.config import config
from minidl.geometry import Padding, Pair
from minidl.kernels._jit import WORK_A_NUMBER, helper, inlined, kernel, sized
from minidl.kernels.copy import contiguous, fill
from minidl.kernels.memory import empty
from minidl.kernels.microkernel import accumulate, accumulate_part, finish, resume, tile_shape
from minidl.kernels.offsets import runs
from minidl.kernels.reduce import sum_axis
from minidl.kernels.simd import MANY_REGISTERS, load_part, zeros

__all__ = ["conv_weight_grad"]

# Rows of a tile whose rows lie side by side and so need few registers for their places.
ROWS_IN_RUNS = {1: 27, 2: 11, 3: 8, 4: 6} if MANY_REGISTERS else {1: 8, 2: 6}
# Summed at a time: loading and storing a tile costs little, x and dy stay in the cache for all
# tiles, and no sum of float32 is so long that it loses digits.
PIXELS_AT_ONCE = 256
# Of weights so few and pixels so many, threads share out rows of pixels, in chunks with sums of
# their own, each of which copies what it pads once; otherwise they share out tiles.
FEW_NUMBERS, FEWEST_PIXELS = 64 * 1024, 8 * 1024
CHUNKS = 16
PIXELS_A_CHUNK = PIXELS_AT_ONCE**2  # at most, for the same reason


@helper
def _copy_window(x, first, rows, image, window):
    """Rows of images with zeros around them, from row `first` of the first image on.

    image: rows, numbers in a row, rows above and numbers to the left; rows and numbers with zeros.
    """
    height, length, top, left, padded_height, padded_length = image
    for row in range(rows):
        number, y = (first + row) // padded_height, (first + row) % padded_height - top
        start, end = row * padded_length, (row + 1) * padded_length
        at, inside = (number * height + y) * length, start + padded_length
        if 0 <= y < height:
            inside = start + left
            # Number by number: an assignment of slices takes Numba four seconds to compile.
            for i in range(length):
                window[inside + i] = x[at + i]
        for i in range(start, min(inside, end)):
            window[i] = 0
        for i in range(inside + length, end):
            window[i] = 0


@inlined
def _add_bias_sums(dy, start, stop, channels, first, count, db, at, width, one):
    """db[at] += the sums over the pixels from start to stop of dy's channels from `first` on."""
    total = one
    for some in range(start, stop, PIXELS_AT_ONCE):
        part_sum = one
        for pixel in range(some, min(stop, some + PIXELS_AT_ONCE)):
            part_sum = part_sum + load_part(dy, pixel * channels + first, (0,), one, count)
        total = total + part_sum
    finish(total + resume(one, db, at, (0,), count, width), db, at, (0,), count, width)


@functools.cache
def _weight_sums(groups_of_rows, run, vectors, lanes):
    width, rows = vectors * lanes, groups_of_rows * run

    @kernel
    def sum_over_pixels(part, x, image, x_starts, x_step, taps, dy, dy_row, dw, db, sizes):
        """dw[chunk] += sums over the chunk's rows of pixels; db the sums of dy, if it is asked.

        x_starts: where the window of each row's first pixel lies; dy_row: pixels in a row.
        image: as in _copy_window, where there is padding: what a few rows of pixels need is copied.
        taps: where runs of taps start, from a window's start, then where in dw.
        sizes: groups, x's and dy's channels in a group, row tiles and column blocks a group, rows
        of pixels at a time, chunks of rows, parts that share the tiles of a chunk, and rows of x
        that a window and the rows of pixels at a time span.
        """
        groups, inputs, outputs, row_tiles, blocks, rows_at_once, chunks, shares, reach, span = (
            sizes
        )
        tiles = groups * blocks * row_tiles
        channels = groups * outputs
        dw_size = dw.size // chunks
        chunk, share = part // shares, part % shares
        last_row = len(x_starts) * (chunk + 1) // chunks
        zero = zeros(dw, rows, vectors, lanes)
        one = zeros(dw, 1, vectors, lanes)
        window = np.empty(span * image[5], x.dtype)
        pixels = x if span == 0 else window
        for start in range(len(x_starts) * chunk // chunks, last_row, rows_at_once):
            stop, origin = min(last_row, start + rows_at_once), 0
            if span > 0:
                origin = x_starts[start]
                rows_there = (x_starts[stop - 1] - origin) // image[5] + reach
                _copy_window(x, origin // image[5], rows_there, image, window)
            for tile in range(tiles * share // shares, tiles * (share + 1) // shares):
                block, row_tile = tile // row_tiles, tile % row_tiles
                group, j = block // blocks, block % blocks
                first = group * outputs + j * width
                count, behind = outputs - j * width, group * inputs - origin
                acc = zero
                places = runs(taps, row_tile * groups_of_rows, 1, groups_of_rows, run)
                if count >= width:
                    for row in range(start, stop):
                        acc = accumulate(
                            acc, pixels, x_starts[row] + behind, places, x_step,
                            dy, row * dy_row * channels + first, channels, dy_row,
                        )  # fmt: skip
                else:
                    for row in range(start, stop):
                        acc = accumulate_part(
                            acc, pixels, x_starts[row] + behind, places, x_step,
                            dy, row * dy_row * channels + first, channels, dy_row, count,
                        )  # fmt: skip
                at = chunk * dw_size + first
                dw_rows = runs(
                    taps, (row_tiles + row_tile) * groups_of_rows, channels,
                    groups_of_rows, run,
                )  # fmt: skip
                finish(
                    acc + resume(zero, dw, at, dw_rows, count, width),
                    dw, at, dw_rows, count, width,
                )  # fmt: skip
                if row_tile == 0 and db.size > 0:
                    _add_bias_sums(
                        dy, start * dy_row, stop * dy_row, channels, first, count,
                        db, chunk * channels + first, width, one,
                    )  # fmt: skip

    return sum_over_pixels


@functools.lru_cache(maxsize=256)
def _tap_table(
    kernel_size: Pair, dilation: Pair, width: int, channels: int, used: int, outputs: int, most: int
) -> tuple[np.ndarray, int, int, int]:
    """Return where runs of taps start, from a window's start, then where in dw; tiles of each; runs
    in a tile and taps in a run, `most` rows together. Padded by repeating the last run.
    """
    kh, kw = kernel_size
    in_one_piece = kw * used if used == channels and dilation[1] == 1 else used
    run = max(r for r in range(1, most + 1) if in_one_piece % r == 0)
    down = np.arange(kh)[:, None, None] * dilation[0] * width
    right = np.arange(kw)[None, :, None] * dilation[1]
    in_x = ((down + right) * channels + np.arange(used)).ravel()[::run]  # of (kh, kw, C/groups)
    in_dw = np.arange(0, kh * kw * used, run) * outputs
    tiles = -(-len(in_x) // (most // run))
    in_tile = -(-len(in_x) // tiles)
    fill = (0, tiles * in_tile - len(in_x))
    table = np.concatenate([np.pad(in_x, fill, mode="edge"), np.pad(in_dw, fill, mode="edge")])
    return table.astype(np.int64), tiles, in_tile, run


class _Plan(NamedTuple):
    """How a weight gradient is computed: the kernel, where rows of pixels and runs of taps start,
    the sizes, and how many chunks of rows have a sum of their own."""

    kernel: Any
    starts: np.ndarray
    image: tuple[int, ...]
    taps: np.ndarray
    sizes: tuple[int, ...]
    chunks: int


@functools.lru_cache(maxsize=256)
def _plan(
    shape: tuple[int, ...], dy_shape: tuple[int, ...], kernel_size: Pair, stride: Pair,
    padding: Padding, dilation: Pair, groups: int, itemsize: int, threads: int,
) -> _Plan:  # fmt: skip
    (n, h, w, c), (_, oh, ow, k), ((top, bottom), (left, right)) = shape, dy_shape, padding
    used, outputs = c // groups, k // groups
    tile = tile_shape(outputs, itemsize)
    high, wide = h + top + bottom, w + left + right
    taps, row_tiles, groups_of_rows, run = _tap_table(
        kernel_size, dilation, wide, c, used, k, ROWS_IN_RUNS[tile.vectors]
    )
    blocks = -(-outputs // tile.width)
    tiles = groups * blocks * row_tiles
    # by shape alone, never by threads
    all_pixels, numbers = n * oh * ow, kernel_size[0] * kernel_size[1] * used * k
    pays = numbers <= FEW_NUMBERS and all_pixels >= FEWEST_PIXELS
    chunks = min(CHUNKS, all_pixels // (8 * PIXELS_AT_ONCE)) if pays else 1
    chunks = min(n * oh, max(chunks, all_pixels // PIXELS_A_CHUNK))
    shares = min(tiles, threads if chunks < CHUNKS else -(-threads // chunks))
    number, row = np.divmod(np.arange(n * oh), oh)
    rows = number * high + row * stride[0]
    rows_a_chunk = -(-n * oh // chunks)
    at_once = -(-rows_a_chunk // -(-rows_a_chunk * ow // PIXELS_AT_ONCE))  # equal shares
    reach = (kernel_size[0] - 1) * dilation[0] + 1
    last = np.minimum(np.arange(n * oh) + at_once, n * oh) - 1
    span = 0 if padding == ((0, 0), (0, 0)) else int((rows[last] - rows).max()) + reach
    sizes = (groups, used, outputs, row_tiles, blocks, at_once, chunks, shares, reach, span)
    image = (h, w * c, top, left * c, high, wide * c)
    sums = _weight_sums(groups_of_rows, run, *tile[1:])
    return _Plan(sums, rows * wide * c, image, taps, sizes, chunks)


def conv_weight_grad(
    x: np.ndarray, dy: np.ndarray, shape: tuple[int, ...], kernel_size: Pair, stride: Pair,
    padding: Padding, dilation: Pair, groups: int, with_bias: bool,
) -> tuple[np.ndarray, np.ndarray | None]:  # fmt: skip
    """The gradients of a convolution for weight, in an array of `shape`, and, if asked, for bias.

    x: (N, H, W, C); dy: (N, OH, OW, K), not empty; shape: kh*kw*C/groups*K numbers in this order.
    """
    x, dy = contiguous(x), contiguous(dy)
    plan = _plan(
        x.shape, dy.shape, kernel_size, stride, padding, dilation, groups, x.itemsize,
        config.num_threads,
    )  # fmt: skip
    chunks = () if plan.chunks == 1 else (plan.chunks,)
    dw = empty((*chunks, *shape), x.dtype)
    db = empty((*chunks, dy.shape[3] if with_bias else 0), x.dtype)
    fill(dw, 0)
    fill(db, 0)
    work = dy.size * (dw.size // plan.chunks // dy.shape[3])
    parts = sized(plan.chunks * plan.sizes[7], work // WORK_A_NUMBER)
    plan.kernel(
        parts, x.reshape(-1), plan.image, plan.starts, stride[1] * x.shape[3], plan.taps,
        dy.reshape(-1), dy.shape[2], dw.reshape(-1), db.reshape(-1), plan.sizes,
    )  # fmt: skip
    if chunks:  # summed in their order
        dw = sum_axis(dw.reshape(1, plan.chunks, -1), 1.0).reshape(shape)
        db = sum_axis(db[None], 1.0)[0]
    return dw, db if with_bias else None
