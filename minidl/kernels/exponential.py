"""e^x and e^x - 1 of tiles: as many numbers at a time as a vector holds."""

import math
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from minidl.kernels.simd import intrinsic

__all__ = ["exponential", "exponential_minus_1"]

# By the bits of a number: those of its fraction; ln 2 in two parts, of which the first has so few
# digits that its multiples are exact; the degree at which the series of e^r, |r| <= ln(2) / 2,
# is as good as a number can be; and where e^x is 0 or infinite.
FRACTION = {32: 23, 64: 52}
LN_2 = {32: (0.693359375, -2.12194440e-4), 64: (0.693145751953125, 1.42860682030941723212e-6)}
DEGREE = {32: 7, 64: 13}
FARTHEST = {32: 110.0, 64: 760.0}


def _generator(x: Any, minus_1: bool) -> Any:
    """Return a code generator of e^x of a tile, or of e^x - 1.

    With x = n ln(2) + r, e^x is 2^n e^r: e^r by its series, and 2^n by writing n where a number
    keeps its exponent, in two halves, so that what is too large becomes infinite and what is too
    small 0. Then e^x - 1 is 2^n (e^r - 1) + (2^n - 1), which loses no digits near 0.
    """
    bits = x.dtype.bitwidth
    whole = ir.VectorType(ir.IntType(bits), x.lanes)

    def number(value: float) -> Any:
        return x.vector([x.vector.element(value)] * x.lanes)

    def integer(value: int) -> Any:
        return whole([whole.element(value)] * x.lanes)

    def operation(builder: Any, v: Any) -> Any:
        def fma(*factors: Any) -> Any:
            kind = ir.FunctionType(x.vector, [x.vector] * 3)
            name = f"llvm.fmuladd.{x.suffix()}"
            function = cgutils.get_or_insert_function(builder.module, kind, name)
            return builder.call(function, factors)

        def power_of_two(n: Any) -> Any:
            shifted = builder.add(n, integer(2 ** (bits - FRACTION[bits] - 2) - 1))
            return builder.bitcast(builder.shl(shifted, integer(FRACTION[bits])), x.vector)

        for limit, beyond in ((FARTHEST[bits], ">"), (-FARTHEST[bits], "<")):
            outside = builder.fcmp_ordered(beyond, v, number(limit))
            v = builder.select(outside, number(limit), v)
        kind = ir.FunctionType(x.vector, [x.vector])
        name = f"llvm.nearbyint.{x.suffix()}"
        nearest = cgutils.get_or_insert_function(builder.module, kind, name)
        n = builder.call(nearest, [builder.fmul(v, number(1 / math.log(2)))])
        r = fma(n, number(-LN_2[bits][1]), fma(n, number(-LN_2[bits][0]), v))
        series = number(1 / math.factorial(DEGREE[bits]))
        for k in reversed(range(minus_1, DEGREE[bits])):
            series = fma(series, r, number(1 / math.factorial(k)))
        known = builder.select(builder.fcmp_ordered("ord", n, n), n, number(0.0))
        n = builder.fptosi(known, whole)
        half = builder.ashr(n, integer(1))
        first, second = power_of_two(half), power_of_two(builder.sub(n, half))
        if not minus_1:
            return builder.fmul(builder.fmul(series, first), second)
        power = builder.fmul(first, second)
        return fma(builder.fmul(series, r), power, builder.fsub(power, number(1.0)))

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vectors = [builder.extract_value(arguments[0], i) for i in range(x.rows * x.vectors)]
        return x.pack(builder, [operation(builder, vector) for vector in vectors])

    return generate


@intrinsic
def exponential(typing, x):
    """e^x; a NaN stays."""
    return x(x), _generator(x, minus_1=False)


@intrinsic
def exponential_minus_1(typing, x):
    """e^x - 1, for an x whose e^x is finite; a NaN stays."""
    return x(x), _generator(x, minus_1=True)
