"""Memory by its address, atomic words, and C functions of Python and of the system.

What the launcher and the thread pool are written with. Addresses are whole numbers.
"""

import platform
from typing import Any

import numba
from llvmlite import ir
from numba import extending, types
from numba.core import cgutils

from minidl.kernels._entry import POINTER, WORD

__all__ = [
    "ROOM", "add_word", "call_entry", "double_of", "error_clear", "error_occurred", "from_c",
    "incref", "load_word", "long_of", "no_memory", "pause", "peek", "peek_half", "poke",
    "restore_thread", "room", "save_thread", "store_word", "syscall", "try_lock", "vectorcall",
]  # fmt: skip

# Typed as Any: the first parameter of an intrinsic, `typing`, is not its callers' to give.
intrinsic: Any = extending.intrinsic

ROOM = 256  # words of a block: of a launch with the most arguments
N = types.int64

_njit: Any = numba.njit  # its types leave out what only Numba itself asks for
from_c = _njit(forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)
"""Decorator: a function that C functions made by `_entry.compile_c` call."""


def _at(builder: Any, address: Any, kind: Any = WORD) -> Any:
    return builder.inttoptr(address, kind.as_pointer())


@intrinsic
def peek(typing, address):
    """Return the word at an address."""

    def generate(context, builder, signature, arguments):
        return builder.load(_at(builder, arguments[0]))

    return N(N), generate


@intrinsic
def peek_half(typing, address):
    """Return the 32-bit whole number at an address."""

    def generate(context, builder, signature, arguments):
        return builder.sext(builder.load(_at(builder, arguments[0], ir.IntType(32))), WORD)

    return N(N), generate


@intrinsic
def poke(typing, address, value):
    """Write a word, a whole number or a float, to an address."""
    number = types.float64 if isinstance(value, types.Float) else N

    def generate(context, builder, signature, arguments):
        kind = ir.DoubleType() if number is types.float64 else WORD
        builder.store(arguments[1], _at(builder, arguments[0], kind))

    return types.void(N, number), generate


@intrinsic
def room(typing):
    """Return the address of ROOM words on the stack."""

    def generate(context, builder, signature, arguments):
        return builder.ptrtoint(cgutils.alloca_once(builder, WORD, size=ROOM), WORD)

    return N(), generate


@intrinsic
def call_entry(typing, entry, block):
    """Call a kernel's entry."""

    def generate(context, builder, signature, arguments):
        kind = ir.FunctionType(ir.VoidType(), [POINTER])
        entry = builder.inttoptr(arguments[0], kind.as_pointer())
        builder.call(entry, [builder.inttoptr(arguments[1], POINTER)])

    return types.void(N, N), generate


@intrinsic
def load_word(typing, address):
    """Return the word at an address, in order with all other threads."""

    def generate(context, builder, signature, arguments):
        return builder.load_atomic(_at(builder, arguments[0]), "seq_cst", 8)

    return N(N), generate


@intrinsic
def store_word(typing, address, value):
    """Write a word, in order with all other threads."""

    def generate(context, builder, signature, arguments):
        builder.store_atomic(arguments[1], _at(builder, arguments[0]), "seq_cst", 8)

    return types.void(N, N), generate


@intrinsic
def add_word(typing, address, value):
    """Add to a word; what it was before."""

    def generate(context, builder, signature, arguments):
        return builder.atomic_rmw("add", _at(builder, arguments[0]), arguments[1], "seq_cst")

    return N(N, N), generate


@intrinsic
def try_lock(typing, address):
    """1 where the word was 0, and is 1 from now on; otherwise 0."""

    def generate(context, builder, signature, arguments):
        place = _at(builder, arguments[0])
        pair = builder.cmpxchg(place, WORD(0), WORD(1), "seq_cst", "seq_cst")
        return builder.zext(builder.extract_value(pair, 1), WORD)

    return N(N), generate


@intrinsic
def pause(typing):
    """Tell the CPU that this thread waits in a loop."""

    def generate(context, builder, signature, arguments):
        number = ir.IntType(32)
        name, values = "llvm.x86.sse2.pause", []
        if platform.machine() == "aarch64":
            name, values = "llvm.aarch64.hint", [number(1)]
        kind = ir.FunctionType(ir.VoidType(), [value.type for value in values])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, name), values)
        return context.get_dummy_value()

    return types.void(), generate


def _external(name: str, result: Any, *kinds: Any) -> Any:
    return types.ExternalFunction(name, result(*kinds))


save_thread = _external("PyEval_SaveThread", N)
restore_thread = _external("PyEval_RestoreThread", types.void, N)
long_of = _external("PyLong_AsLongLong", N, N)
double_of = _external("PyFloat_AsDouble", types.float64, N)
incref = _external("Py_IncRef", types.void, N)
vectorcall = _external("PyObject_Vectorcall", N, N, N, N, N)
no_memory = _external("PyErr_NoMemory", N)
error_occurred = _external("PyErr_Occurred", N)
error_clear = _external("PyErr_Clear", types.void)
syscall = _external("syscall", N, N, N, N, N, N, N, N)
