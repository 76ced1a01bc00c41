"""3x3 convolution of stride 1 with fewer multiplications.

The algorithm is in the twin, `minidl.reference.winograd`, and its matrices in
`minidl.constants.winograd`; here it runs over tiles block by block. Where a block's planes fit the
L2 cache, its three stages run one after the other in one thread; with many channels each stage is
shared by all threads.
"""

import functools
from typing import Any, NamedTuple

import numpy as np

from minidl.config import config
from minidl.geometry import Padding, Pair
from minidl.kernels._jit import kernel
from minidl.kernels.choose import keeps_weights
from minidl.kernels.copy import contiguous
from minidl.kernels.memory import empty, prepared
from minidl.kernels.microkernel import ACTIVATIONS, Shape, accumulate, tile_shape
from minidl.kernels.offsets import clipped
from minidl.kernels.packing import filled
from minidl.kernels.simd import LANES, load, store, zeros
from minidl.kernels.transpose import turned
from minidl.kernels.winograd_tiles import (
    contract,
    contract_tiles,
    expand,
    expand_tiles,
    multiply,
    multiply_more,
)

BLOCK_BYTES = 600 * 1024  # of V and M that a thread works on: they stay in its L2 cache
APART = 80  # numbers between planes of weights: at powers of two they'd share a set of the cache
FEW_TILES = 48  # with so few, reading and writing transformed weights would take longest
MANY_CHANNELS = 256
DEPTH = 48  # input channels whose transformed weights stay in the L2 cache
STAGE_BYTES = 8 * 1024 * 1024  # of V and M that all threads share, in the L3 cache


@functools.cache
def _weights(m, full):
    side = m + 2

    @kernel
    def transform_weights(part, weight, u, sizes):
        """u (planes, blocks, C, width) from weight (3, 3, C, K)."""
        c, k, blocks, width, plane = sizes
        big, small = zeros(u, side, 1, full), zeros(u, 3, 1, full)
        scratch = np.empty((side, side, full), u.dtype)
        j = part % blocks
        for i in range(part // blocks * 8, min(c, part // blocks * 8 + 8)):
            expand(
                weight, i * k + j * width, 3 * c * k, c * k, min(width, k - j * width),
                small, big, u, (j * c + i) * width, plane, scratch,
            )  # fmt: skip

    return transform_weights


@functools.cache
def _fused(m, rows, vectors, lanes, full):
    side, width = m + 2, vectors * lanes

    @kernel
    def fused(
        part, x, u, bias, activation, corner, across, v, products, patches, scratches, y, sizes
    ):
        """All three stages for a block of tiles after another; a part has its own buffers."""
        tiles, block, blocks, depth, v_width = sizes
        parts = v.shape[0]
        plane, m_plane = block * v_width, block * blocks * width
        zero = zeros(y, rows, vectors, lanes)
        big, small = zeros(y, side, 1, full), zeros(y, m, 1, full)
        mine, out, patch, scratch = v[part], products[part], patches[part], scratches[part]
        stop = tiles * (part + 1) // parts
        for first in range(tiles * part // parts, stop, block):
            last = min(stop, first + block)
            expand_tiles(
                x, first, last, first, corner, m, across, big, big, mine, plane, v_width,
                patch, scratch,
            )  # fmt: skip
            for unit in range(side * side * blocks):
                multiply(
                    mine, plane, v_width, depth, u, u.size // (side * side), blocks, out,
                    m_plane, width, last - first, unit, zero,
                )  # fmt: skip
            contract_tiles(
                out, m_plane, blocks * width, first, last, first, bias, activation, across,
                big, small, y, patch, scratch,
            )  # fmt: skip

    return fused


@functools.cache
def _expander(m, small_side, full):
    side = m + 2

    @kernel
    def expand_all(part, images, corner, across, first, last, planes, patches, scratches, width):
        """The planes of the tiles first to last; a part has its own buffers."""
        parts = len(patches)
        plane = planes.size // (side * side)
        big, small = zeros(images, side, 1, full), zeros(images, small_side, 1, full)
        count = last - first
        expand_tiles(
            images, first + count * part // parts, first + count * (part + 1) // parts, first,
            corner, m, across, small, big, planes, plane, width, patches[part], scratches[part],
        )  # fmt: skip

    return expand_all


@functools.cache
def _multiplier(m, rows, vectors, lanes):
    side, width = m + 2, vectors * lanes

    @kernel
    def multiply_all(unit, v, u, out, count, depth, v_width, blocks):
        """Every plane and block of columns of M = V @ U."""
        planes = side * side
        zero = zeros(v, rows, vectors, lanes)
        multiply(
            v, v.size // planes, v_width, depth, u, u.size // planes, blocks, out,
            out.size // planes, width, count, unit, zero,
        )  # fmt: skip

    return multiply_all


@functools.cache
def _weight_multiplier(m, rows, vectors, lanes, full):
    side, width = m + 2, vectors * lanes

    @kernel
    def transform_and_multiply(part, weight, v, out, us, scratches, sizes):
        """M = V @ U for few tiles: a piece of U is used while it is in the cache, and never stored.

        us: room for the transformed weights of DEPTH input channels and a block of columns, for
        each part.
        """
        c, k, blocks, v_width, count = sizes
        planes, parts = side * side, len(us)
        plane = us.shape[1] // planes
        zero = zeros(v, rows, vectors, lanes)
        big, small = zeros(v, side, 1, full), zeros(v, 3, 1, full)
        u, scratch = us[part], scratches[part]
        for j in range(blocks * part // parts, blocks * (part + 1) // parts):
            for first in range(0, c, DEPTH):
                depth = min(DEPTH, c - first)
                for i in range(depth):
                    expand(
                        weight, (first + i) * k + j * width, 3 * c * k, c * k,
                        min(width, k - j * width), small, big, u, i * width, plane, scratch,
                    )  # fmt: skip
                for unit in range(planes):
                    multiply_more(
                        v, v.size // planes, v_width, first, depth, u, plane, out,
                        out.size // planes, blocks * width, j * width, width, count, unit, zero,
                    )  # fmt: skip

    return transform_and_multiply


@functools.cache
def _contractor(m, full):
    side = m + 2

    @kernel
    def contract_all(
        part, planes, bias, activation, across, first, last, y, patches, scratches, width
    ):
        """The outputs of the tiles first to last."""
        parts = len(patches)
        plane = planes.size // (side * side)
        big, small = zeros(y, side, 1, full), zeros(y, m, 1, full)
        count = last - first
        contract_tiles(
            planes, plane, width, first + count * part // parts,
            first + count * (part + 1) // parts, first, bias, activation, across, big, small,
            y, patches[part], scratches[part],
        )  # fmt: skip

    return contract_all


@functools.cache
def _gradient_multiplier(m, rows, vectors, lanes):
    side, width = m + 2, vectors * lanes

    @kernel
    def multiply_gradients(unit, v, d, du, count, c, v_width, blocks, add):
        """du (planes, C, blocks*width) (+)= V^T @ D, plane by plane."""
        planes, row_tiles = side * side, (c + rows - 1) // rows
        v_plane, d_plane = v.size // planes, d.size // planes
        columns = blocks * width
        plane, j = unit // blocks, unit % blocks
        zero = zeros(v, rows, vectors, lanes)
        for tile in range(row_tiles):
            i = tile * rows
            to = plane * (du.size // planes) + i * columns + j * width
            places = clipped(columns, c - 1 - i, zero)
            acc = accumulate(
                zero, v, plane * v_plane + i, clipped(1, c - 1 - i, zero), v_width,
                d, plane * d_plane + j * width, columns, count,
            )  # fmt: skip
            store(acc + load(du, to, places, zero) if add else acc, du, to, places)

    return multiply_gradients


@functools.cache
def _weight_gradient(m, full):
    side = m + 2

    @kernel
    def contract_gradients(part, du, dw, c, k, columns):
        """dw (3, 3, C, K) from du."""
        big, small = zeros(du, side, 1, full), zeros(du, 3, 1, full)
        scratch = np.empty((side, side, full), du.dtype)
        for i in range(part * 8, min(c, part * 8 + 8)):
            contract(
                du, i * columns, du.size // (side * side), k, big, small,
                dw, i * k, 3 * c * k, c * k, scratch,
            )  # fmt: skip

    return contract_gradients


class _Plan(NamedTuple):
    """Sizes of the work: tiles in all, down and across; vector lanes; a register tile."""

    tiles: int
    across: Pair
    full: int
    shape: Shape
    blocks: int

    @property
    def columns(self) -> int:
        return self.blocks * self.shape.width

    def padded(self, channels: int) -> int:
        """Return the channels, filled up to whole vectors."""
        return -(-channels // self.full) * self.full


def _plan(images: int, size: Pair, outputs: int, m: int, dtype: Any) -> _Plan:
    across = (-(-size[0] // m), -(-size[1] // m))
    itemsize = np.dtype(dtype).itemsize
    shape, full = tile_shape(outputs, itemsize), LANES[itemsize]
    if shape.lanes < full:  # transforms use whole vectors
        shape = shape._replace(lanes=full)
    return _Plan(images * across[0] * across[1], across, full, shape, -(-outputs // shape.width))


def _buffers(parts: int, m: int, full: int, channels: int, dtype: Any) -> tuple[Any, Any]:
    """Of each part, a patch of images and a tile of vectors."""
    side = m + 2
    return (
        empty((parts, side * side * max(channels, full)), dtype),
        np.empty((parts, side, side, full), dtype),
    )


def _convolve(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, activation: str | None,
    y: np.ndarray, corner: Pair, m: int,
) -> None:  # fmt: skip
    """y = activation(the convolution of x, whose first window starts at -corner, + bias)."""
    if y.size == 0:
        return
    plan = _plan(len(x), y.shape[1:3], weight.shape[3], m, x.dtype)
    epilogue = (filled(bias, 1, plan.columns, x.dtype), ACTIVATIONS[activation])
    c = x.shape[3]
    a_tile = (m + 2) ** 2 * (plan.padded(c) + plan.columns) * x.itemsize
    block = BLOCK_BYTES // a_tile // plan.shape.rows * plan.shape.rows
    if plan.tiles <= FEW_TILES and c >= MANY_CHANNELS:
        u = _transformed(weight, m, plan) if keeps_weights() else None
        _in_stages(x, weight, u, epilogue, y, corner, m, plan, plan.tiles)
    elif block >= 2 * plan.shape.rows:
        _in_blocks(x, _transformed(weight, m, plan), epilogue, y, corner, m, plan, block)
    else:
        block = min(plan.tiles, max(4 * plan.shape.rows, STAGE_BYTES // a_tile))
        u = _transformed(weight, m, plan)
        _in_stages(x, weight, u, epilogue, y, corner, m, plan, block)


def _transformed(weight: np.ndarray, m: int, plan: _Plan) -> np.ndarray:
    """U, the transformed weights: planes of blocks of columns, one after the other."""
    c, k = weight.shape[2:]
    plane = c * plan.columns + APART
    u = prepared(((m + 2) ** 2 * plane,), weight.dtype)
    sizes = (c, k, plan.blocks, plan.shape.width, plane)
    _weights(m, plan.full)(plan.blocks * -(-c // 8), weight.reshape(-1), u, sizes)
    return u


def _in_blocks(
    x: np.ndarray, u: np.ndarray, epilogue: tuple[np.ndarray, int], y: np.ndarray, corner: Pair,
    m: int, plan: _Plan, block: int,
) -> None:  # fmt: skip
    """Each thread takes `block` tiles at a time through all three stages."""
    c, parts, planes = x.shape[3], config.num_threads, (m + 2) ** 2
    v = empty((parts, planes * block * plan.padded(c)), x.dtype)
    products = empty((parts, planes * block * plan.columns), x.dtype)
    _fused(m, *plan.shape, plan.full)(
        parts, x, u, *epilogue, corner, plan.across, v, products,
        *_buffers(parts, m, plan.full, c, x.dtype), y,
        (plan.tiles, block, plan.blocks, c, plan.padded(c)),
    )  # fmt: skip


def _in_stages(
    x: np.ndarray, weight: np.ndarray, u: np.ndarray | None, epilogue: tuple[np.ndarray, int],
    y: np.ndarray, corner: Pair, m: int, plan: _Plan, block: int,
) -> None:  # fmt: skip
    """All threads share each stage of `block` tiles. Without u the weights are transformed as they
    are used."""
    c, parts, planes = x.shape[3], config.num_threads, (m + 2) ** 2
    width = plan.padded(c)
    buffers = _buffers(parts, m, plan.full, c, x.dtype)
    v = empty((planes * block * width,), x.dtype)
    products = empty((planes * block * plan.columns,), x.dtype)
    for first in range(0, plan.tiles, block):
        last = min(plan.tiles, first + block)
        _expander(m, m + 2, plan.full)(
            parts, x, corner, plan.across, first, last, v, *buffers, width
        )
        if u is None:
            us = empty((parts, planes * (DEPTH * plan.shape.width + APART)), x.dtype)
            _weight_multiplier(m, *plan.shape, plan.full)(
                parts, weight.reshape(-1), v, products, us, buffers[1],
                (c, weight.shape[3], plan.blocks, width, last - first),
            )  # fmt: skip
        else:
            _multiplier(m, *plan.shape)(
                planes * plan.blocks, v, u, products, last - first, c, width, plan.blocks
            )
        _contractor(m, plan.full)(
            parts, products, *epilogue, plan.across, first, last, y, *buffers, plan.columns
        )


def conv2d(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, activation: str | None,
    padding: Padding, m: int,
) -> np.ndarray:  # fmt: skip
    """activation(the 3x3 convolution of x of stride 1 + bias) by F(m x m, 3x3). (N, OH, OW, K)."""
    (top, bottom), (left, right) = padding
    n, h, w, _ = x.shape
    y = empty((n, h + top + bottom - 2, w + left + right - 2, weight.shape[3]), x.dtype)
    x, weight = contiguous(x), contiguous(weight)
    _convolve(x, weight, bias, activation, y, (top, left), m)
    return y


def conv2d_input_grad(
    dy: np.ndarray, weight: np.ndarray, input_size: Pair, padding: Padding, m: int
) -> np.ndarray:
    """Return the gradient of conv2d for x: the convolution of dy with the weights turned around."""
    (top, _), (left, _) = padding
    dx = empty((len(dy), *input_size, weight.shape[2]), dy.dtype)
    _convolve(contiguous(dy), turned(weight), None, None, dx, (2 - top, 2 - left), m)
    return dx


def conv2d_weight_grad(x: np.ndarray, dy: np.ndarray, padding: Padding, m: int) -> np.ndarray:
    """Return the gradient of conv2d for weight, (3, 3, C, K): each step above, transposed."""
    (top, _), (left, _) = padding
    x, dy = contiguous(x), contiguous(dy)
    c, k = x.shape[3], dy.shape[3]
    dw = np.zeros((3, 3, c, k), x.dtype)
    if dy.size == 0:
        return dw
    plan = _plan(len(x), dy.shape[1:3], k, m, x.dtype)
    planes, v_width = (m + 2) ** 2, plan.padded(c)
    a_tile = planes * (v_width + plan.columns) * x.itemsize
    block = min(plan.tiles, max(48, STAGE_BYTES // a_tile))
    v = empty((planes * block * v_width,), x.dtype)
    d = empty((planes * block * plan.columns,), x.dtype)
    du = empty((planes * (c * plan.columns + APART),), x.dtype)
    parts = config.num_threads
    buffers = _buffers(parts, m, plan.full, max(c, k), x.dtype)
    for first in range(0, plan.tiles, block):
        last = min(plan.tiles, first + block)
        _expander(m, m + 2, plan.full)(
            parts, x, (top, left), plan.across, first, last, v, *buffers, v_width
        )
        _expander(m, m, plan.full)(
            parts, dy, (0, 0), plan.across, first, last, d, *buffers, plan.columns
        )
        _gradient_multiplier(m, *plan.shape)(
            planes * plan.blocks, v, d, du, last - first, c, v_width, plan.blocks, first > 0
        )
    _weight_gradient(m, plan.full)(-(-c // 8), du, dw.reshape(-1), c, k, plan.columns)
    return dw
