"""Tile operations of sliding windows: a slide along a strip, and the places of maxima."""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from minidl.kernels._jit import inlined
from minidl.kernels.simd import I1, I32, I64, Tile, intrinsic

__all__ = [
    "add_products", "finish_numbers", "load_where", "slide", "where_beaten", "where_number",
]  # fmt: skip


def _spread(builder: Any, value: Any, lanes: int) -> Any:
    vector = ir.VectorType(value.type, lanes)
    first = builder.insert_element(vector(ir.Undefined), value, I32(0))
    return builder.shuffle_vector(first, first, ir.VectorType(I32, lanes)(None))


def _fma(builder: Any, tile: Tile, *vectors: Any) -> Any:
    function = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(tile.vector, [tile.vector] * 3),
        f"llvm.fmuladd.{tile.suffix()}",
    )
    return builder.call(function, vectors)


def _moved(builder: Any, vector: Any, lanes: int, places: list[int]) -> Any:
    """Return the vector whose lane l is lane places[l] of another; itself where nothing moves."""
    if places == list(range(lanes)):
        return vector
    return builder.shuffle_vector(vector, vector, ir.VectorType(I32, lanes)(places))


@intrinsic(prefer_literal=True)
def slide(typing, strip, w, w_at, step, apart, taps, acc, stride, size):
    """acc + the products of the pixels of a strip and the taps of a window that slides along it.

    Forward, the window moves by `stride`: row r gains strip[r*stride + j] * tap j. A negative
    stride is a gradient's: row i*stride + j - (taps - 1) gains strip[i] * tap j, if it is there.
    Tap j is the vector at w[w_at + j*step]. Of channels in groups of `size`, each output takes all
    of its group: number i of each group through the taps at w[w_at + i*apart + j*step].
    """
    move, count, numbers = stride.literal_value, taps.literal_value, size.literal_value
    targets = [
        [(r, p - r * move) for r in range(acc.rows)]
        if move > 0
        else [(p * -move + j - (count - 1), j) for j in range(count)]
        for p in range(strip.rows)
    ]

    def generate(context, builder, signature, arguments):
        strip_, _, w_at, step, apart, _, acc_ = arguments[:7]
        data = context.make_array(w)(context, builder, arguments[1]).data
        sums = [builder.extract_value(acc_, r) for r in range(acc.rows)]
        for i in range(numbers):
            first = builder.add(w_at, builder.mul(apart, I64(i)))
            factors = []
            for j in range(count):
                place = builder.gep(data, [builder.add(first, builder.mul(step, I64(j)))])
                pointer = builder.bitcast(place, acc.vector.as_pointer())
                factors.append(builder.load(pointer, align=acc.align))
            lanes = [lane // numbers * numbers + i for lane in range(acc.lanes)]
            for p in range(strip.rows):
                pixel = _moved(builder, builder.extract_value(strip_, p), acc.lanes, lanes)
                for r, j in targets[p]:
                    if 0 <= r < acc.rows and 0 <= j < count:
                        sums[r] = _fma(builder, acc, pixel, factors[j], sums[r])
        return acc.pack(builder, sums)

    place = types.intp
    return acc(strip, w, place, place, place, taps, acc, stride, size), generate


@intrinsic(prefer_literal=True)
def add_products(typing, sums, pixels, grad, size):
    """sums + the products of pixels with the gradients of all channels of their groups of `size`.

    Row r * len(pixels) + t gains pixels[t] times a vector whose number k of a group is number
    (k + r) % size of grad's.
    """
    numbers = size.literal_value

    def generate(context, builder, signature, arguments):
        found = []
        for r in range(numbers):
            lanes = [lane // numbers * numbers + (lane + r) % numbers for lane in range(sums.lanes)]
            g = _moved(builder, builder.extract_value(arguments[2], 0), sums.lanes, lanes)
            for t in range(pixels.rows):
                pixel = builder.extract_value(arguments[1], t)
                total = builder.extract_value(arguments[0], r * pixels.rows + t)
                found.append(_fma(builder, sums, pixel, g, total))
        return sums.pack(builder, found)

    return sums(sums, pixels, grad, size), generate


@intrinsic
def load_where(typing, array, at, offsets, bits, count, like):
    """Row i is the first `count` numbers from array[at + offsets[i]] on, where bit i of `bits` is
    set; elsewhere 0. What isn't taken may lie outside the array."""
    tile = Tile(array.dtype, len(offsets), 1, like.lanes)
    lanes = tile.lanes

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        at, offsets, bits, count = arguments[1:5]
        mask_type = ir.VectorType(I1, lanes)
        name = f"llvm.masked.load.{tile.suffix()}.p0"
        kinds = [tile.vector.as_pointer(), I32, mask_type, tile.vector]
        masked = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(tile.vector, kinds), name
        )
        numbers = ir.VectorType(I32, lanes)(list(range(lanes)))
        rows = []
        for i in range(tile.rows):
            there = builder.trunc(builder.lshr(bits, I64(i)), I1)
            place = builder.add(at, builder.extract_value(offsets, i))
            place = builder.gep(data, [builder.select(there, place, I64(0))])
            limit = builder.select(there, builder.trunc(count, I32), I32(0))
            mask = builder.icmp_signed("<", numbers, _spread(builder, limit, lanes))
            pointer = builder.bitcast(place, tile.vector.as_pointer())
            rows.append(builder.call(masked, [pointer, I32(tile.align), mask, tile.vector(None)]))
        return tile.pack(builder, rows)

    places = types.UniTuple(types.intp, tile.rows)
    return tile(array, types.intp, places, types.intp, types.intp, like), generate


@intrinsic
def where_beaten(typing, source, best, a, b):
    """a where `source` is larger than `best` or is the first NaN, else b."""

    def generate(context, builder, signature, arguments):
        results = []
        for i, j in np.ndindex(best.rows, best.vectors):
            kinds = zip(signature.args, arguments, strict=True)
            new, old, yes, no = (kind.pick(builder, value, i, j) for kind, value in kinds)
            larger = builder.fcmp_unordered(">", new, old)
            beaten = builder.and_(larger, builder.fcmp_ordered("ord", old, old))
            results.append(builder.select(beaten, yes, no))
        return best.pack(builder, results)

    return best(source, best, a, b), generate


def _integers(context, builder, kind, arguments, tile):
    """Where the vectors of a tile lie in an array of integers: pointer, mask, LLVM's type of each.

    arguments: array, at, offsets, count.
    """
    array, at, offsets, count = arguments
    data = context.make_array(kind)(context, builder, array).data
    vector = ir.VectorType(ir.IntType(kind.dtype.bitwidth), tile.lanes)
    limit = _spread(builder, builder.trunc(count, I32), tile.lanes)
    for i, j in np.ndindex(tile.rows, tile.vectors):
        first = j * tile.lanes
        numbers = ir.VectorType(I32, tile.lanes)(list(range(first, first + tile.lanes)))
        place = builder.add(builder.add(at, builder.extract_value(offsets, i)), I64(first))
        pointer = builder.bitcast(builder.gep(data, [place]), vector.as_pointer())
        yield pointer, builder.icmp_signed("<", numbers, limit), vector


def _masked(builder: Any, name: str, vector: Any, result: Any, values: Any) -> Any:
    """Return a call of LLVM's masked load or store of integers, aligned to one of them."""
    align = I32(vector.element.width // 8)
    values.insert(1 if name == "load" else 2, align)
    kinds = ir.FunctionType(result, [value.type for value in values])
    name = f"llvm.masked.{name}.v{vector.count}i{vector.element.width}.p0"
    return builder.call(cgutils.get_or_insert_function(builder.module, kinds, name), values)


@intrinsic
def _store_numbers(typing, tile, array, at, offsets):
    """Write the whole numbers, 0 or more, of row i to an array of integers."""

    def generate(context, builder, signature, arguments):
        everything = I64(tile.vectors * tile.lanes)
        places = _integers(context, builder, array, [*arguments[1:], everything], tile)
        for n, (pointer, _, vector) in enumerate(places):
            number = builder.fptoui(builder.extract_value(arguments[0], n), vector)
            builder.store(number, pointer, align=vector.element.width // 8)

    places = types.UniTuple(types.intp, tile.rows)
    return types.void(tile, array, types.intp, places), generate


@intrinsic
def _store_numbers_part(typing, tile, array, at, offsets, count):
    """`_store_numbers` of the first `count` of each row."""

    def generate(context, builder, signature, arguments):
        places = _integers(context, builder, array, arguments[1:], tile)
        for n, (pointer, mask, vector) in enumerate(places):
            number = builder.fptoui(builder.extract_value(arguments[0], n), vector)
            _masked(builder, "store", vector, ir.VoidType(), [number, pointer, mask])

    places = types.UniTuple(types.intp, tile.rows)
    return types.void(tile, array, types.intp, places, types.intp), generate


@inlined
def finish_numbers(tile, array, at, rows, count, width):
    """Write the first `count` of `width` whole numbers, 0 or more, of each row to integers."""
    if count >= width:
        _store_numbers(tile, array, at, rows)
    else:
        _store_numbers_part(tile, array, at, rows, count)


@intrinsic
def where_number(typing, tile, array, at, offsets, count, number):
    """Return the tile where the first `count` integers of row i are `number`, elsewhere 0."""

    def generate(context, builder, signature, arguments):
        results = []
        places = _integers(context, builder, array, arguments[1:5], tile)
        for n, (pointer, mask, vector) in enumerate(places):
            found = _masked(builder, "load", vector, vector, [pointer, mask, vector(None)])
            wanted = arguments[5]
            if vector.element.width < 64:
                wanted = builder.trunc(wanted, vector.element)
            same = builder.icmp_signed("==", found, _spread(builder, wanted, tile.lanes))
            value = builder.extract_value(arguments[0], n)
            results.append(builder.select(same, value, tile.vector(None)))
        return tile.pack(builder, results)

    places = types.UniTuple(types.intp, tile.rows)
    return tile(tile, array, types.intp, places, types.intp, types.intp), generate
