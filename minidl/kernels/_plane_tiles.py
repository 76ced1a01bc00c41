"""Tile operations between pixels, whose channels lie side by side, and planes of one channel."""

from llvmlite import ir
from numba import types

from minidl.kernels.simd import I32, I64, Tile, intrinsic

__all__ = ["store_pixels", "thinned"]


@intrinsic
def thinned(typing, row):
    """Return every n-th number of a row of n vectors, from the first on: one vector."""
    tile = Tile(row.dtype, 1, 1, row.lanes)

    def generate(context, builder, signature, arguments):
        lanes, found = row.lanes, builder.extract_value(arguments[0], 0)
        for j in range(row.vectors):
            vector = builder.extract_value(arguments[0], j)
            places = range(0, lanes * row.vectors, row.vectors)  # in the row
            mask = [
                lanes + place % lanes if place // lanes == j else lane
                for lane, place in enumerate(places)
            ]
            found = builder.shuffle_vector(found, vector, ir.VectorType(I32, lanes)(mask))
        return tile.pack(builder, [found])

    return tile(row), generate


@intrinsic
def store_pixels(typing, tile, array, at, channels):
    """Write a `transposed` tile pixel by pixel, pixel n's channels to array[at + n*channels ...].

    A pixel is stored with what follows its channels, as many numbers as the tile has rows; the
    next pixel overwrites that.
    """

    def generate(context, builder, signature, arguments):
        value, _, at, channels = arguments
        data = context.make_array(array)(context, builder, arguments[1]).data
        size = tile.rows
        pixel = ir.VectorType(tile.vector.element, size)
        for n in range(tile.lanes):
            row, first = builder.extract_value(value, n % size), n // size * size
            lanes = ir.VectorType(I32, size)(list(range(first, first + size)))
            place = builder.gep(data, [builder.add(at, builder.mul(channels, I64(n)))])
            builder.store(
                builder.shuffle_vector(row, row, lanes),
                builder.bitcast(place, pixel.as_pointer()), align=tile.align,
            )  # fmt: skip

    return types.void(tile, array, types.intp, types.intp), generate
