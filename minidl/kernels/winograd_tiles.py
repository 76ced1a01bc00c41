"""Winograd's transforms of tiles, and the products between them, as parts of kernels.

V holds the transformed input patches of a block of tiles, U the transformed weights and M their
products, each plane by plane: a plane is one of the (m + 2)^2 elements of a tile.
"""

from typing import Any

import numpy as np

from minidl.constants.winograd import A_T, B_T, G
from minidl.kernels._jit import inlined
from minidl.kernels.microkernel import accumulate, activated, begin
from minidl.kernels.offsets import clipped, steps
from minidl.kernels.simd import Tile, intrinsic, load, load_part, store, store_part

__all__ = [
    "contract", "contract_tiles", "expand", "expand_tiles", "multiply", "multiply_more",
    "transform",
]  # fmt: skip

# Every transform of F(2x2) and F(4x4), by its rows in and out.
MATRICES = {matrix.shape[::-1]: matrix for m in (2, 4) for matrix in (B_T[m], G[m], A_T[m])}
MATRICES.update({matrix.shape[::-1]: matrix for m in (2, 4) for matrix in (A_T[m].T, G[m].T)})


def _combination(builder: Any, tile: Tile, vectors: list[Any], coefficients: Any) -> Any:
    """Return the sum of coefficient * vector, written out."""
    total = None
    terms = [(float(c), v) for c, v in zip(coefficients, vectors, strict=True) if c]
    for coefficient, vector in sorted(terms, key=lambda term: abs(abs(term[0]) - 1)):
        if abs(coefficient) != 1:
            number = tile.vector.element(abs(coefficient))
            factor = tile.vector([number.constant] * tile.lanes)
            vector = builder.fmul(vector, factor, flags=["contract"])
        if total is None:
            nothing = tile.vector(None)
            total = vector if coefficient > 0 else builder.fsub(nothing, vector, flags=["nsz"])
        else:
            combine = builder.fadd if coefficient > 0 else builder.fsub
            total = combine(total, vector, flags=["contract"])
    return tile.vector(None) if total is None else total


@intrinsic
def transform(typing, tile, like):
    """Return the matrix that takes tile.rows rows to like.rows, times the rows of `tile`.

    Pairs of rows p + q and p - q are made from p and q.
    """
    matrix = MATRICES[tile.rows, like.rows]
    result = Tile(tile.dtype, like.rows, 1, tile.lanes)

    def generate(context, builder, signature, arguments):
        vectors = [builder.extract_value(arguments[0], i) for i in range(tile.rows)]
        rows: dict[int, Any] = {}
        for i in range(len(matrix)):
            for j in range(i + 1, len(matrix)):
                p, q = (matrix[i] + matrix[j]) / 2, (matrix[i] - matrix[j]) / 2
                shared = np.count_nonzero(p) + np.count_nonzero(q)
                apart = np.count_nonzero(matrix[i]) + np.count_nonzero(matrix[j])
                if i not in rows and j not in rows and shared < apart:
                    a = _combination(builder, tile, vectors, p)
                    b = _combination(builder, tile, vectors, q)
                    rows[i], rows[j] = builder.fadd(a, b), builder.fsub(a, b)
        for i, coefficients in enumerate(matrix):
            if i not in rows:
                rows[i] = _combination(builder, tile, vectors, coefficients)
        return result.pack(builder, [rows[i] for i in range(len(matrix))])

    return result(tile, like), generate


@inlined
def expand(source, at, row, pixel, channels, small, big, planes, to, plane, scratch):
    """planes = matrix @ patch @ matrix^T, a vector of channels at a time.

    The patch is at source[at], its rows `row` and its pixels `pixel` numbers apart; planes lie
    `plane` numbers apart from planes[to] on. small, big: tiles of as many rows as patch and result.
    """
    side, lanes = len(steps(1, big)), scratch.shape[2]
    flat = scratch.reshape(-1)
    one = small
    for c in range(0, channels, lanes):
        for j in range(len(steps(1, small))):
            place = at + j * pixel + c
            if c + lanes <= channels:
                patch = load(source, place, steps(row, small), one)
            else:
                patch = load_part(source, place, steps(row, small), one, channels - c)
            store(transform(patch, big), flat, j * lanes, steps(side * lanes, big))
        for i in range(side):
            line = load(flat, i * side * lanes, steps(lanes, small), one)
            store(transform(line, big), planes, to + i * side * plane + c, steps(plane, big))


@inlined
def _patch(images, image, top, left, side, patch):
    """Copy a patch that sticks out of its image, with zeros outside."""
    _, h, w, c = images.shape
    for i in range(side):
        for j in range(side):
            target = (i * side + j) * c
            if 0 <= top + i < h and 0 <= left + j < w:
                for k in range(c):
                    patch[target + k] = images[image, top + i, left + j, k]
            else:
                for k in range(c):
                    patch[target + k] = 0


@inlined
def expand_tiles(
    images, first, last, base, corner, m, across, small, big, planes, plane, width, patch, scratch
):
    """`expand` for the tiles first to last, m pixels apart; planes holds them from `base` on."""
    _, h, w, c = images.shape
    flat = images.reshape(-1)
    side = len(steps(1, small))
    for tile in range(first, last):
        image = tile // (across[0] * across[1])
        place = tile % (across[0] * across[1])
        top = place // across[1] * m - corner[0]
        left = place % across[1] * m - corner[1]
        to = (tile - base) * width
        if top >= 0 and left >= 0 and top + side <= h and left + side <= w:
            at = ((image * h + top) * w + left) * c
            expand(flat, at, w * c, c, c, small, big, planes, to, plane, scratch)
        else:
            _patch(images, image, top, left, side, patch)
            expand(patch, 0, side * c, c, c, small, big, planes, to, plane, scratch)


@inlined
def contract_tiles(
    planes, plane, width, first, last, base, bias, activation, across, big, small, y, patch, scratch
):
    """The outputs of the tiles first to last from their planes, with bias and activation."""
    _, oh, ow, channels = y.shape
    side, m, lanes = len(steps(1, big)), len(steps(1, small)), scratch.shape[2]
    flat, out = scratch.reshape(-1), y.reshape(-1)
    for tile in range(first, last):
        image = tile // (across[0] * across[1])
        place = tile % (across[0] * across[1])
        top, left = place // across[1] * m, place % across[1] * m
        whole = top + m <= oh and left + m <= ow
        for c in range(0, channels, lanes):
            for j in range(side):
                at = (tile - base) * width + j * plane + c
                column = load(planes, at, steps(side * plane, big), big)
                store(transform(column, small), flat, j * lanes, steps(side * lanes, small))
            for i in range(m):
                line = load(flat, i * side * lanes, steps(lanes, big), big)
                pixels = activated(begin(transform(line, small), bias, c), activation)
                if whole:
                    at = ((image * oh + top + i) * ow + left) * channels + c
                    if c + lanes <= channels:
                        store(pixels, out, at, steps(channels, small))
                    else:
                        store_part(pixels, out, at, steps(channels, small), channels - c)
                elif top + i < oh:
                    store(pixels, patch, 0, steps(lanes, small))
                    for j in range(min(m, ow - left)):
                        for k in range(min(lanes, channels - c)):
                            y[image, top + i, left + j, c + k] = patch[j * lanes + k]


@inlined
def contract(planes, at, plane, channels, big, small, target, to, row, pixel, scratch):
    """target = matrix @ tile @ matrix^T from a tile of planes, a vector of channels at a time."""
    side, lanes = len(steps(1, big)), scratch.shape[2]
    flat = scratch.reshape(-1)
    for c in range(0, channels, lanes):
        for j in range(side):
            column = load(planes, at + j * plane + c, steps(side * plane, big), big)
            store(transform(column, small), flat, j * lanes, steps(side * lanes, small))
        for i in range(len(steps(1, small))):
            line = load(flat, i * side * lanes, steps(lanes, big), big)
            numbers, place = transform(line, small), to + i * row + c
            if c + lanes <= channels:
                store(numbers, target, place, steps(pixel, small))
            else:
                store_part(numbers, target, place, steps(pixel, small), channels - c)


@inlined
def multiply(
    v, v_plane, v_width, depth, u, u_plane, blocks, out, out_plane, width, count, unit, zero
):
    """M = V @ U for `count` tiles, in one unit: (plane, block of columns)."""
    rows = len(steps(1, zero))
    plane, j = unit // blocks, unit % blocks
    for i in range(0, count, rows):
        acc = accumulate(
            zero, v, plane * v_plane + i * v_width, clipped(v_width, count - 1 - i, zero), 1,
            u, plane * u_plane + j * depth * width, width, depth,
        )  # fmt: skip
        to = plane * out_plane + i * blocks * width + j * width
        store(acc, out, to, clipped(blocks * width, count - 1 - i, zero))


@inlined
def multiply_more(
    v, v_plane, v_width, first, depth, u, u_plane, out, out_plane, out_width, column, width, count,
    plane, zero,
):  # fmt: skip
    """M (+)= V @ U for `count` tiles, one plane, one block of columns, `depth` input channels."""
    rows = len(steps(1, zero))
    for i in range(0, count, rows):
        places = clipped(out_width, count - 1 - i, zero)
        to = plane * out_plane + i * out_width + column
        acc = zero
        if first > 0:
            acc = load(out, to, places, zero)
        acc = accumulate(
            acc, v, plane * v_plane + i * v_width + first,
            clipped(v_width, count - 1 - i, zero), 1, u, plane * u_plane, width, depth,
        )  # fmt: skip
        store(acc, out, to, places)
