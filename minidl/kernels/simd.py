"""Tiles: small matrices of SIMD vectors that a kernel holds in the CPU's registers.

    acc = zeros(y, 6, 4, LANES)                       # 6 rows of 4 vectors, all 0
    for k in range(depth):
        acc = fma(column(x, k, rows, acc), load(w, k * step, (0,), acc), acc)
    store(acc, y, 0, y_rows)

A Tile is rows x vectors x lanes numbers of one dtype. Arithmetic broadcasts rows and vectors as
NumPy does. Places in an array count numbers from its start, are never checked, and need no
alignment; arrays must be C-contiguous. Each intrinsic is a few machine instructions without a loop.

Between the multiply-adds of a hot loop there may be nothing but these: a plain `x[i]` costs
a third of the speed (Numba must check for negative indices, and tiles leave the registers).
"""

import operator
import platform
from typing import Any

from llvmlite import ir
from numba import extending, types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import models, overload, register_model

__all__ = [
    "LANES",
    "MANY_REGISTERS",
    "VECTOR_BYTES",
    "Tile",
    "column",
    "fma",
    "load",
    "load_part",
    "maximum",
    "minimum",
    "spread",
    "store",
    "store_part",
    "where_positive",
    "zeros",
]


def _vector_bytes() -> int:
    """The widest vectors of the CPU that Numba compiles for (NUMBA_CPU_FEATURES limits it)."""
    features = cpu_target.target_context.codegen().magic_tuple()[2].split(",")
    if "+avx512f" in features:
        return 64
    return 32 if "+avx2" in features and "+fma" in features else 16


VECTOR_BYTES = _vector_bytes()
# 32 vector registers, as AVX-512 has, and ARM of 16 bytes each; 16 otherwise
MANY_REGISTERS = VECTOR_BYTES == 64 or platform.machine() in ("aarch64", "arm64")
LANES = {4: VECTOR_BYTES // 4, 8: VECTOR_BYTES // 8}
"""Numbers in a full vector, by the bytes of a number."""

# Typed as Any: the first parameter of an intrinsic, `typing`, is not its callers' to give.
intrinsic: Any = extending.intrinsic

I1, I32, I64 = ir.IntType(1), ir.IntType(32), ir.IntType(64)


class Tile(types.Type):
    """The Numba type of a tile."""

    def __init__(self, dtype: Any, rows: int, vectors: int, lanes: int) -> None:
        self.dtype, self.rows, self.vectors, self.lanes = dtype, rows, vectors, lanes
        super().__init__(f"Tile({dtype}, {rows} x {vectors} x {lanes})")

    @property
    def vector(self) -> Any:
        """The LLVM type of one vector."""
        number = ir.FloatType() if self.dtype.bitwidth == 32 else ir.DoubleType()
        return ir.VectorType(number, self.lanes)

    @property
    def align(self) -> int:
        return int(self.dtype.bitwidth // 8)

    def suffix(self) -> str:
        """Return how LLVM's intrinsics name the vector."""
        return f"v{self.lanes}f{self.dtype.bitwidth}"

    def pack(self, builder: Any, values: Any) -> Any:
        tile = ir.ArrayType(self.vector, self.rows * self.vectors)(ir.Undefined)
        for n, value in enumerate(values):
            tile = builder.insert_value(tile, value, n)
        return tile

    def pick(self, builder: Any, tile: Any, i: int, j: int) -> Any:
        """Vector (i, j), or what stands for it where the tile is broadcast."""
        return builder.extract_value(tile, i % self.rows * self.vectors + j % self.vectors)

    def splat(self, builder: Any, number: Any) -> Any:
        first = builder.insert_element(self.vector(ir.Undefined), number, I32(0))
        return builder.shuffle_vector(first, first, ir.VectorType(I32, self.lanes)(None))

    def mask(self, builder: Any, j: int, count: Any) -> Any:
        """Return which lanes of vector j lie before `count`, counted along the row."""
        lanes = ir.VectorType(I64, self.lanes)
        numbers = lanes([j * self.lanes + lane for lane in range(self.lanes)])
        first = builder.insert_element(lanes(ir.Undefined), count, I32(0))
        counts = builder.shuffle_vector(first, first, ir.VectorType(I32, self.lanes)(None))
        return builder.icmp_signed("<", numbers, counts)


@register_model(Tile)
class TileModel(models.PrimitiveModel):
    """A tile is an LLVM array of vectors, which the optimiser takes apart into registers."""

    def __init__(self, manager: Any, tile: Any) -> None:
        super().__init__(manager, tile, ir.ArrayType(tile.vector, tile.rows * tile.vectors))


def _places(context: Any, builder: Any, kind: Any, place: Any, like: Tile) -> Any:
    """Pointers to the vectors, row by row: array[at + offsets[i] + j * lanes]."""
    if kind.layout != "C":
        raise TypeError("tiles need C-contiguous arrays")
    array, at, offsets = place
    data = context.make_array(kind)(context, builder, array).data
    start = builder.gep(data, [at])
    for i in range(like.rows):
        row = builder.gep(start, [builder.extract_value(offsets, i)])
        for j in range(like.vectors):
            place = builder.gep(row, [I64(j * like.lanes)])
            yield j, builder.bitcast(place, like.vector.as_pointer())


def _offsets(tile: Tile) -> Any:
    return types.UniTuple(types.intp, tile.rows)


def _function(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, arguments), name)


@intrinsic(prefer_literal=True)
def zeros(typing, array, rows, vectors, lanes):
    """Return a tile of zeros, of the dtype of `array`; the three sizes are constants."""
    tile = Tile(array.dtype, *(n.literal_value for n in (rows, vectors, lanes)))

    def generate(context, builder, signature, arguments):
        return context.get_constant_null(tile)

    return tile(array, rows, vectors, lanes), generate


@intrinsic
def spread(typing, number, like):
    """Return one vector with `number` in every lane, for arithmetic with tiles such as `like`."""
    tile = Tile(like.dtype, 1, 1, like.lanes)

    def generate(context, builder, signature, arguments):
        value = context.cast(builder, arguments[0], number, tile.dtype)
        return tile.pack(builder, [tile.splat(builder, value)])

    return tile(number, like), generate


@intrinsic
def load(typing, array, at, offsets, like):
    """Row i is what starts at array[at + offsets[i]], as wide as `like`."""
    tile = Tile(array.dtype, len(offsets), like.vectors, like.lanes)

    def generate(context, builder, signature, arguments):
        places = _places(context, builder, signature.args[0], arguments[:3], tile)
        return tile.pack(builder, [builder.load(p, align=tile.align) for _, p in places])

    return tile(array, types.intp, _offsets(tile), like), generate


@intrinsic
def load_part(typing, array, at, offsets, like, count):
    """`load` of the first `count` numbers of each row, followed by zeros."""
    tile = Tile(array.dtype, len(offsets), like.vectors, like.lanes)

    def generate(context, builder, signature, arguments):
        vector = tile.vector
        mask_type = ir.VectorType(I1, tile.lanes)
        name = f"llvm.masked.load.{tile.suffix()}.p0"
        kinds = [vector.as_pointer(), I32, mask_type, vector]
        masked = _function(builder, name, vector, kinds)
        values = [
            builder.call(
                masked, [p, I32(tile.align), tile.mask(builder, j, arguments[4]), vector(None)]
            )
            for j, p in _places(context, builder, signature.args[0], arguments[:3], tile)
        ]
        return tile.pack(builder, values)

    return tile(array, types.intp, _offsets(tile), like, types.intp), generate


@intrinsic
def column(typing, array, at, offsets, like):
    """Row i is one vector with the number array[at + offsets[i]] in every lane."""
    tile = Tile(array.dtype, len(offsets), 1, like.lanes)

    def generate(context, builder, signature, arguments):
        number = tile.vector.element.as_pointer()
        places = _places(context, builder, signature.args[0], arguments[:3], tile)
        return tile.pack(
            builder,
            [tile.splat(builder, builder.load(builder.bitcast(p, number))) for _, p in places],
        )

    return tile(array, types.intp, _offsets(tile), like), generate


@intrinsic
def store(typing, tile, array, at, offsets):
    """Write row i to array[at + offsets[i] ...]."""

    def generate(context, builder, signature, arguments):
        places = _places(context, builder, signature.args[1], arguments[1:], tile)
        for n, (_, place) in enumerate(places):
            builder.store(builder.extract_value(arguments[0], n), place, align=tile.align)

    return types.void(tile, array, types.intp, _offsets(tile)), generate


@intrinsic
def store_part(typing, tile, array, at, offsets, count):
    """`store` of the first `count` numbers of each row."""

    def generate(context, builder, signature, arguments):
        mask_type = ir.VectorType(I1, tile.lanes)
        name = f"llvm.masked.store.{tile.suffix()}.p0"
        kinds = [tile.vector, tile.vector.as_pointer(), I32, mask_type]
        masked = _function(builder, name, ir.VoidType(), kinds)
        places = _places(context, builder, signature.args[1], arguments[1:4], tile)
        for n, (j, place) in enumerate(places):
            value = builder.extract_value(arguments[0], n)
            mask = tile.mask(builder, j, arguments[4])
            builder.call(masked, [value, place, I32(tile.align), mask])

    return types.void(tile, array, types.intp, _offsets(tile), types.intp), generate


def _broadcast(*tiles: Tile) -> Tile:
    first = tiles[0]
    if any(t.dtype != first.dtype or t.lanes != first.lanes for t in tiles):
        raise TypeError(f"tiles of different dtypes or lanes: {tiles}")
    return Tile(first.dtype, max(t.rows for t in tiles), max(t.vectors for t in tiles), first.lanes)


def _each(tile: Tile, operation: Any) -> Any:
    """Return a code generator that applies `operation(builder, *vectors)` vector by vector."""

    def generate(context, builder, signature, arguments):
        pairs = list(zip(signature.args, arguments, strict=True))
        return tile.pack(
            builder,
            [
                operation(builder, *(kind.pick(builder, value, i, j) for kind, value in pairs))
                for i in range(tile.rows)
                for j in range(tile.vectors)
            ],
        )

    return generate


@intrinsic
def fma(typing, a, b, c):
    """a * b + c, rounded once where the CPU can."""
    tile = _broadcast(a, b, c)

    def operation(builder, *vectors):
        name = f"llvm.fmuladd.{tile.suffix()}"
        return builder.call(_function(builder, name, tile.vector, [tile.vector] * 3), vectors)

    return tile(a, b, c), _each(tile, operation)


@intrinsic
def maximum(typing, a, b):
    """Return the larger; a NaN in `a` stays."""
    tile = _broadcast(a, b)

    def operation(builder, x, y):
        return builder.select(builder.fcmp_ordered("<", x, y), y, x)

    return tile(a, b), _each(tile, operation)


@intrinsic
def minimum(typing, a, b):
    """Return the smaller; a NaN in `a` stays."""
    tile = _broadcast(a, b)

    def operation(builder, x, y):
        return builder.select(builder.fcmp_ordered(">", x, y), y, x)

    return tile(a, b), _each(tile, operation)


@intrinsic
def where_positive(typing, a, b):
    """b where a > 0 or a NaN, else 0."""
    tile = _broadcast(a, b)

    def operation(builder, x, y):
        nothing = tile.vector(None)
        return builder.select(builder.fcmp_unordered(">", x, nothing), y, nothing)

    return tile(a, b), _each(tile, operation)


def _operator(name: str) -> Any:
    @intrinsic
    def apply(typing, a, b):
        tile = _broadcast(a, b)

        def operation(builder, x, y):
            return getattr(builder, name)(x, y, flags=["contract"])

        return tile(a, b), _each(tile, operation)

    return apply


def _declare(symbol: Any, name: str) -> None:
    apply = _operator(name)

    def between_tiles(a, b):
        if isinstance(a, Tile) and isinstance(b, Tile):
            return lambda a, b: apply(a, b)
        if isinstance(a, types.Float) and isinstance(b, Tile):
            return lambda a, b: apply(spread(a, b), b)
        return None

    overload(symbol)(between_tiles)


OPERATORS = {
    operator.add: "fadd", operator.sub: "fsub", operator.mul: "fmul", operator.truediv: "fdiv",
}  # fmt: skip
for _symbol, _name in OPERATORS.items():
    _declare(_symbol, _name)
