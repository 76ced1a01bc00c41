"""Where the rows of a tile lie: tuples of offsets into an array, made without a check or a loop."""

from llvmlite import ir
from numba import types

from minidl.kernels.simd import I64, intrinsic

__all__ = ["clipped", "entry", "runs", "steps", "take"]


@intrinsic
def take(typing, table, first, like):
    """Return the offsets table[first], table[first + 1], ...: one for each row of `like`."""
    kind = types.UniTuple(types.intp, like.rows)

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        start = builder.gep(data, [arguments[1]])
        offsets = ir.ArrayType(I64, like.rows)(ir.Undefined)
        for i in range(like.rows):
            value = builder.load(builder.gep(start, [I64(i)]))
            value = builder.sext(value, I64) if table.dtype.bitwidth < 64 else value
            offsets = builder.insert_value(offsets, value, i)
        return offsets

    return kind(table, types.intp, like), generate


@intrinsic
def entry(typing, table, at):
    """table[at], for a place that is no negative index: between multiply-adds."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        value = builder.load(builder.gep(data, [arguments[1]]))
        return builder.sext(value, I64) if table.dtype.bitwidth < 64 else value

    return types.intp(table, types.intp), generate


@intrinsic(prefer_literal=True)
def runs(typing, table, first, step, groups, run):
    """The offsets table[first + g] + r*step, for each g < groups and r < run, two constants."""
    count = groups.literal_value * run.literal_value

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        start = builder.gep(data, [arguments[1]])
        offsets = ir.ArrayType(I64, count)(ir.Undefined)
        for i in range(count):
            base = builder.load(builder.gep(start, [I64(i // run.literal_value)]))
            rest = builder.mul(arguments[2], I64(i % run.literal_value))
            offsets = builder.insert_value(offsets, builder.add(base, rest), i)
        return offsets

    kind = types.UniTuple(types.intp, count)
    return kind(table, types.intp, types.intp, groups, run), generate


@intrinsic
def clipped(typing, step, last, like):
    """Return the offsets 0, step, 2*step, ... of the rows of `like`; after row `last`, its own."""
    kind = types.UniTuple(types.intp, like.rows)

    def generate(context, builder, signature, arguments):
        step, last = arguments[:2]
        offsets = ir.ArrayType(I64, like.rows)(ir.Undefined)
        for i in range(like.rows):
            row = builder.select(builder.icmp_signed("<", I64(i), last), I64(i), last)
            offsets = builder.insert_value(offsets, builder.mul(step, row), i)
        return offsets

    return kind(types.intp, types.intp, like), generate


@intrinsic
def steps(typing, step, like):
    """Return the offsets 0, step, 2*step, ...: one for each row of `like`."""
    kind = types.UniTuple(types.intp, like.rows)

    def generate(context, builder, signature, arguments):
        offsets = ir.ArrayType(I64, like.rows)(ir.Undefined)
        for i in range(like.rows):
            offsets = builder.insert_value(offsets, builder.mul(arguments[0], I64(i)), i)
        return offsets

    return kind(types.intp, like), generate
