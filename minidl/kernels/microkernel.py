"""The micro-kernel: a tile of a matrix product, and how a tile is begun and ended.

Every matrix product of the library, convolutions included, is made of these few lines: a tile of
rows x columns of the result stays in registers while k runs. Rows may lie anywhere (a convolution's
rows are pixels); columns are packed side by side in blocks.
"""

import functools
from typing import NamedTuple

from minidl.kernels._jit import inlined
from minidl.kernels.simd import (
    LANES,
    MANY_REGISTERS,
    column,
    fma,
    load,
    load_part,
    maximum,
    minimum,
    spread,
    store,
    store_part,
)

__all__ = [
    "ACTIVATIONS",
    "Shape",
    "accumulate",
    "accumulate_part",
    "activated",
    "begin",
    "finish",
    "resume",
    "tile_shape",
]

ACTIVATIONS = {None: 0, "relu": 1, "relu6": 2}
"""Activations that a kernel applies to a tile before storing it, by their number in kernels."""


class Shape(NamedTuple):
    """The size of a register tile: rows x vectors x lanes."""

    rows: int
    vectors: int
    lanes: int

    @property
    def width(self) -> int:
        """Columns of a tile."""
        return self.vectors * self.lanes


# Rows of a tile by its vectors, as measured: more accumulators than fit beside a row of the other
# factor in 32 or 16 registers spill (7 rows of 4: 36 % of the FMA peak, 6 rows: 98 %), and eight
# chains of multiply-adds keep both units of a core busy (14 rows of 1: 84 %, 8 rows: 98 %).
ROWS = {1: 8, 2: 8, 3: 8, 4: 6} if MANY_REGISTERS else {1: 8, 2: 6}


@functools.cache
def tile_shape(columns: int, itemsize: int) -> Shape:
    """Return the tile for a product of so many columns, which wastes the least of its last block.

    Fewer than half a vector of columns take vectors of half the lanes.
    """
    lanes = LANES[itemsize]
    if columns <= lanes // 2 and lanes > 4:
        return Shape(ROWS[1], 1, lanes // 2)
    vectors = min(max(ROWS), -(-columns // lanes))
    return Shape(ROWS[vectors], vectors, lanes)


@inlined
def accumulate(acc, x, x_at, x_rows, x_step, w, w_at, w_step, depth):
    """acc + the sum over k < depth of x[x_at + x_rows + k*x_step] * w[w_at + k*w_step]."""
    for k in range(depth):
        number = column(x, x_at + k * x_step, x_rows, acc)
        acc = fma(number, load(w, w_at + k * w_step, (0,), acc), acc)
    return acc


@inlined
def accumulate_part(acc, x, x_at, x_rows, x_step, w, w_at, w_step, depth, count):
    """`accumulate` where only `count` columns of w are there to be read."""
    for k in range(depth):
        number = column(x, x_at + k * x_step, x_rows, acc)
        acc = fma(number, load_part(w, w_at + k * w_step, (0,), acc, count), acc)
    return acc


@inlined
def begin(zero, start, at):
    """Return a tile whose every row is start[at ...] (a bias), or `zero` where `start` is empty."""
    if start.size == 0:
        return zero
    return zero + load(start, at, (0,), zero)


@inlined
def activated(tile, activation):
    """Return the tile after an activation of ACTIVATIONS."""
    if activation > 0:
        tile = maximum(tile, spread(0.0, tile))
        if activation == 2:
            tile = minimum(tile, spread(6.0, tile))
    return tile


@inlined
def finish(tile, y, at, rows, count, width):
    """Store the tile's first `count` columns of `width`."""
    if count >= width:
        store(tile, y, at, rows)
    else:
        store_part(tile, y, at, rows, count)


@inlined
def resume(like, y, at, rows, count, width):
    """Return what `finish` stored, to continue from."""
    if count >= width:
        return load(y, at, rows, like)
    return load_part(y, at, rows, like, count)
