"""Sums over pixels: the weight gradient of a convolution.

A tile's rows are taps of the kernel (kernel row, kernel column, input channel), its columns output
channels, and the sum runs over the output pixels: a tap's number in x lies at the same distance
from every pixel's window.
"""

import functools
from typing import Any, NamedTuple

import numpy as np

from minidl.config import config
from minidl.geometry import Padding, Pair
from minidl.kernels._jit import WORK_A_NUMBER, kernel, sized
from minidl.kernels.copy import contiguous, fill
from minidl.kernels.memory import empty
from minidl.kernels.microkernel import accumulate, accumulate_part, finish, resume, tile_shape
from minidl.kernels.offsets import runs
from minidl.kernels.packing import padded
from minidl.kernels.reduce import sum_axis
from minidl.kernels.simd import MANY_REGISTERS, load_part, zeros

__all__ = ["weight_sums"]

# Rows of a tile whose rows lie side by side and so need few registers for their places.
ROWS_IN_RUNS = {1: 27, 2: 12, 3: 8, 4: 6} if MANY_REGISTERS else {1: 8, 2: 6}
# Summed at a time: loading and storing a tile costs little, x and dy stay in the cache for all
# tiles, and no sum of float32 is so long that it loses digits.
PIXELS_AT_ONCE = 256
FEW_TILES = 16  # with fewer, threads share out rows of pixels in CHUNKS, each with its own sum
CHUNKS = 16
PIXELS_A_CHUNK = PIXELS_AT_ONCE**2  # at most, for the same reason


@functools.cache
def _stream(groups_of_rows, run, vectors, lanes):
    width, rows = vectors * lanes, groups_of_rows * run

    @kernel
    def stream(part, x, x_starts, x_step, taps, dy, dy_row, dw, db, sizes):
        """dw[chunk] += sums over the chunk's rows of pixels; db the sums of dy, if it is asked.

        x_starts: where the window of each row's first pixel lies; dy_row: pixels in a row.
        taps: where runs of taps start behind a window's start, then where in dw.
        sizes: groups, x's and dy's channels in a group, row tiles and column blocks a group, rows
        of pixels at a time, chunks of rows, and parts that share the tiles of a chunk.
        """
        groups, inputs, outputs, row_tiles, blocks, rows_at_once, chunks, shares = sizes
        tiles = groups * blocks * row_tiles
        channels = groups * outputs
        dw_size = dw.size // chunks
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
                acc = zero
                places = runs(taps, row_tile * groups_of_rows, 1, groups_of_rows, run)
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
                dw_rows = runs(
                    taps, (row_tiles + row_tile) * groups_of_rows, channels,
                    groups_of_rows, run,
                )  # fmt: skip
                finish(
                    acc + resume(zero, dw, at, dw_rows, count, width),
                    dw, at, dw_rows, count, width,
                )  # fmt: skip
                if row_tile == 0 and db.size > 0:
                    total = one
                    for some in range(start * dy_row, stop * dy_row, PIXELS_AT_ONCE):
                        part_sum = one
                        for pixel in range(some, min(stop * dy_row, some + PIXELS_AT_ONCE)):
                            at = pixel * channels + first
                            part_sum = part_sum + load_part(dy, at, (0,), one, count)
                        total = total + part_sum
                    at = chunk * channels + first
                    finish(
                        total + resume(one, db, at, (0,), count, width),
                        db, at, (0,), count, width,
                    )  # fmt: skip

    return stream


@functools.lru_cache(maxsize=256)
def _tap_table(
    kernel_size: Pair, dilation: Pair, width: int, channels: int, used: int, outputs: int, most: int
) -> tuple[np.ndarray, int, int, int]:
    """Where runs of taps start behind a window's start, then where in dw; tiles of each; and runs
    in a tile and taps in a run, `most` rows together. Filled up by repeating the last run.
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

    stream: Any
    starts: np.ndarray
    taps: np.ndarray
    sizes: tuple[int, ...]
    chunks: int


@functools.lru_cache(maxsize=256)
def _plan(
    shape: tuple[int, ...], dy_shape: tuple[int, ...], kernel_size: Pair, stride: Pair,
    dilation: Pair, groups: int, itemsize: int, threads: int,
) -> _Plan:  # fmt: skip
    (n, h, w, c), (_, oh, ow, k) = shape, dy_shape
    used, outputs = c // groups, k // groups
    tile = tile_shape(outputs, itemsize)
    taps, row_tiles, groups_of_rows, run = _tap_table(
        kernel_size, dilation, w, c, used, k, ROWS_IN_RUNS[tile.vectors]
    )
    blocks = -(-outputs // tile.width)
    tiles = groups * blocks * row_tiles
    # by shape alone, never by threads
    chunks = max(1 if tiles >= FEW_TILES else min(n, CHUNKS), n * oh * ow // PIXELS_A_CHUNK)
    chunks = min(chunks, n * oh)
    shares = min(tiles, threads) if tiles >= FEW_TILES else 1
    image, row = np.divmod(np.arange(n * oh), oh)
    starts = (image * h + row * stride[0]) * w * c
    at_once = -(-PIXELS_AT_ONCE // ow)
    sizes = (groups, used, outputs, row_tiles, blocks, at_once, chunks, shares)
    return _Plan(_stream(groups_of_rows, run, *tile[1:]), starts, taps, sizes, chunks)


def weight_sums(
    x: np.ndarray, dy: np.ndarray, shape: tuple[int, ...], kernel_size: Pair, stride: Pair,
    padding: Padding, dilation: Pair, groups: int, with_bias: bool,
) -> tuple[np.ndarray, np.ndarray | None]:  # fmt: skip
    """The gradients of a convolution for weight, in an array of `shape`, and, if asked, for bias.

    x: (N, H, W, C); dy: (N, OH, OW, K), not empty; shape: kh*kw*C/groups*K numbers in this order.
    """
    x, dy = padded(x, padding), contiguous(dy)
    plan = _plan(
        x.shape, dy.shape, kernel_size, stride, dilation, groups, x.itemsize, config.num_threads
    )
    chunks = () if plan.chunks == 1 else (plan.chunks,)
    dw = empty((*chunks, *shape), x.dtype)
    db = empty((*chunks, dy.shape[3] if with_bias else 0), x.dtype)
    fill(dw, 0)
    fill(db, 0)
    work = dy.size * (dw.size // plan.chunks // dy.shape[3])
    parts = sized(plan.chunks * plan.sizes[-1], work // WORK_A_NUMBER)
    plan.stream(
        parts, x.reshape(-1), plan.starts, stride[1] * x.shape[3], plan.taps, dy.reshape(-1),
        dy.shape[2], dw.reshape(-1), db.reshape(-1), plan.sizes,
    )  # fmt: skip
    if chunks:  # summed in their order
        dw = sum_axis(dw.reshape(1, plan.chunks, -1), 1.0).reshape(shape)
        db = sum_axis(db[None], 1.0)[0]
    return dw, db if with_bias else None
