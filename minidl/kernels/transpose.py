"""Transposed copies of weights, by square tiles of vectors."""

import numpy as np
from llvmlite import ir

from minidl.kernels._jit import kernel, sized
from minidl.kernels.copy import contiguous
from minidl.kernels.memory import empty
from minidl.kernels.offsets import steps
from minidl.kernels.simd import I32, LANES, intrinsic, load, store, zeros

__all__ = ["transposed", "turned"]


@intrinsic
def transposed(typing, tile):
    """Return the transpose of a square tile: as many rows as lanes, one vector each.

    Of a tile of fewer rows, a divisor of its lanes: of each square in it.
    """
    if tile.vectors != 1 or tile.lanes % tile.rows:
        raise TypeError(f"transposed() expected a square tile, got {tile}")

    def generate(context, builder, signature, arguments):
        rows = [builder.extract_value(arguments[0], i) for i in range(tile.rows)]
        lanes, half = range(tile.lanes), 1
        while half < tile.rows:  # exchange the off-diagonal quarters of ever larger blocks
            low = [n if not n & half else tile.lanes + (n ^ half) for n in lanes]
            high = [n | half if not n & half else tile.lanes + n for n in lanes]
            for i in range(tile.rows):
                if not i & half:
                    a, b = rows[i], rows[i | half]
                    for place, order in ((i, low), (i | half, high)):
                        mask = ir.VectorType(I32, tile.lanes)(order)
                        rows[place] = builder.shuffle_vector(a, b, mask)
            half *= 2
        return tile.pack(builder, rows)

    return tile(tile), generate


def _make(lanes):
    @kernel
    def turn(part, weight, turned):
        """turned[tap, k, c] = weight[taps - 1 - tap, c, k]."""
        taps, c, k = weight.shape
        source, target = weight.reshape(-1), turned.reshape(-1)
        stripes = (c + lanes - 1) // lanes
        tap, i = part // stripes, part % stripes * lanes
        square = zeros(weight, lanes, 1, lanes)
        for j in range(0, k, lanes):
            if i + lanes <= c and j + lanes <= k:
                at = ((taps - 1 - tap) * c + i) * k + j
                block = transposed(load(source, at, steps(k, square), square))
                store(block, target, (tap * k + j) * c + i, steps(c, square))
            else:
                for a in range(i, min(c, i + lanes)):
                    for b in range(j, min(k, j + lanes)):
                        turned[tap, b, a] = weight[taps - 1 - tap, a, b]

    return turn


_turn = {size: _make(lanes) for size, lanes in LANES.items()}


def turned(weight: np.ndarray) -> np.ndarray:
    """Weights (kh, kw, C, K) with the kernel turned around and channels exchanged: (.., K, C)."""
    kh, kw, c, k = weight.shape
    result = empty((kh, kw, k, c), weight.dtype)
    parts = kh * kw * -(-c // LANES[weight.itemsize])
    _turn[weight.itemsize](
        sized(parts, weight.size), contiguous(weight).reshape(kh * kw, c, k),
        result.reshape(kh * kw, k, c),
    )  # fmt: skip
    return result
