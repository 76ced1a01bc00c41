"""A kernel's machine code: compiled once, serially, with one C signature.

A kernel is a function of one part and its arguments, `f(part, x, y, n)`. Its entry, the C function
`entry(block)`, takes parts from a block of 64-bit words until none is left:

    0 the next part   1 parts   2 status   3.. the arguments, see `argument_words`

However many threads enter it, each part is computed once. Numba compiles the function itself,
without a wrapper for Python; the entry is a few lines of LLVM's language around it.
"""

import hashlib
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, compiler, dispatcher
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target
from numba.np.numpy_support import from_dtype

__all__ = [
    "HEADER", "NEXT", "PARTS", "STATUS", "address", "argument_words", "compile_c",
    "compile_kernel", "key", "kind_of", "load", "serialized",
]  # fmt: skip

NEXT, PARTS, STATUS, HEADER = 0, 1, 2, 3  # words of a block; the arguments begin at HEADER
WORD, POINTER = ir.IntType(64), ir.IntType(8).as_pointer()
ENTRY = ir.FunctionType(ir.VoidType(), [POINTER])


class _Body(dispatcher._FunctionCompiler):  # type: ignore[name-defined]
    """Numba's compiler of a function that Python never calls."""

    def _customize_flags(self, flags: Any) -> Any:
        flags.no_cpython_wrapper = flags.no_cfunc_wrapper = flags.no_compile = True
        flags.enable_pyobject = False
        return flags


def kind_of(argument: Any) -> Any:
    """Numba's type of an argument. Arrays count as C-contiguous and writable."""
    if isinstance(argument, np.ndarray):
        return types.Array(from_dtype(argument.dtype), argument.ndim, "C")
    if isinstance(argument, tuple):
        return types.UniTuple(types.intp, len(argument))
    if isinstance(argument, bool):
        return types.boolean
    return types.float64 if isinstance(argument, float) else types.intp


def argument_words(argument: Any) -> list[int]:
    """An argument as words: an array's address and shape, a float's bits, a tuple's numbers."""
    if isinstance(argument, np.ndarray):
        return [argument.__array_interface__["data"][0], *argument.shape]
    if isinstance(argument, tuple):
        return list(argument)
    if isinstance(argument, float):
        return [int(np.float64(argument).view(np.int64))]
    return [int(argument)]


def _unpack(context: Any, builder: Any, words: Any, kind: Any, at: int) -> tuple[Any, int]:
    """Return the argument of type `kind` from word `at` on, and the place after it."""

    def word(n: int) -> Any:
        return builder.load(builder.gep(words, [WORD(n)]))

    if isinstance(kind, types.Array):
        array = context.make_array(kind)(context, builder)
        size = context.get_abi_sizeof(context.get_data_type(kind.dtype))
        shape = [word(at + 1 + axis) for axis in range(kind.ndim)]
        strides: list[Any] = []
        total = WORD(size)
        for length in reversed(shape):
            strides.insert(0, total)
            total = builder.mul(total, length, flags=["nsw"])
        array.data = builder.inttoptr(word(at), array.data.type)
        array.shape = cgutils.pack_array(builder, shape, WORD)
        array.strides = cgutils.pack_array(builder, strides, WORD)
        array.itemsize = WORD(size)
        array.nitems = builder.sdiv(total, WORD(size))
        array.meminfo = cgutils.get_null_value(array.meminfo.type)  # the caller owns it
        array.parent = cgutils.get_null_value(array.parent.type)
        return array._getvalue(), at + 1 + kind.ndim
    if isinstance(kind, types.UniTuple):
        items = [word(at + n) for n in range(kind.count)]
        return context.make_tuple(builder, kind, items), at + kind.count
    if isinstance(kind, types.Float):
        return builder.bitcast(word(at), ir.DoubleType()), at + 1
    if isinstance(kind, types.Boolean):
        return builder.icmp_signed("!=", word(at), WORD(0)), at + 1
    return word(at), at + 1


def _add_entry(module: Any, context: Any, fndesc: Any, body: Any, name: str) -> None:
    """The C function `name`, which takes parts from its block until none is left."""
    entry = ir.Function(module, ENTRY, name=name)
    builder = ir.IRBuilder(entry.append_basic_block("start"))
    words = builder.bitcast(entry.args[0], WORD.as_pointer())
    at, values = HEADER, []
    for kind in fndesc.argtypes[1:]:
        value, at = _unpack(context, builder, words, kind, at)
        values.append(value)
    parts = builder.load(builder.gep(words, [WORD(PARTS)]))
    take, work, end = (entry.append_basic_block(name) for name in ("take", "work", "end"))
    builder.branch(take)
    builder.position_at_end(take)
    part = builder.atomic_rmw("add", words, WORD(1), "monotonic")
    builder.cbranch(builder.icmp_signed("<", part, parts), work, end)
    builder.position_at_end(work)
    status, _ = context.call_conv.call_function(
        builder, body, fndesc.restype, fndesc.argtypes, [part, *values]
    )
    with builder.if_then(status.is_error, likely=False):  # no memory for an array within
        builder.store(WORD(1), builder.gep(words, [WORD(STATUS)]))
    builder.branch(take)
    builder.position_at_end(end)
    builder.ret_void()


def _add_function(module: Any, context: Any, fndesc: Any, body: Any, name: str) -> None:
    """The C function `name` of whole numbers, as the body is."""
    kinds = [context.get_value_type(kind) for kind in fndesc.argtypes]
    returned = fndesc.restype is not types.none
    kind = ir.FunctionType(WORD if returned else ir.VoidType(), kinds)
    function = ir.Function(module, kind, name=name)
    builder = ir.IRBuilder(function.append_basic_block("start"))
    _, result = context.call_conv.call_function(
        builder, body, fndesc.restype, fndesc.argtypes, list(function.args)
    )
    if returned:
        builder.ret(result)
    else:
        builder.ret_void()


@global_compiler_lock
def _compile(
    function: Callable[..., Any], kinds: Any, result: Any, options: dict[str, Any], add: Any
) -> tuple[Any, str]:
    options = {"nopython": True, "error_model": "numpy", **options}
    made = _Body(function, cpu_target, options, {}, compiler.Compiler).compile(kinds, result)
    name = f"minidl_{function.__name__}_{uuid.uuid4().hex}"  # Numba's own names may collide
    library, fndesc = made.library, made.fndesc
    module = library.create_ir_module("entry")
    context = made.target_context
    add(module, context, fndesc, context.declare_function(module, fndesc), name)
    library.add_ir_module(module)
    body = library._final_module.get_function(fndesc.llvm_func_name)
    body.linkage = "internal"  # otherwise it is optimized twice, and its name may collide
    if add is _add_entry:
        body.add_function_attribute("noinline")  # a fifth less to compile, nanoseconds a part
    library.finalize()
    return library, name


def compile_kernel(
    function: Callable[..., Any], kinds: tuple[Any, ...], flags: frozenset[str]
) -> tuple[Any, str]:
    """The machine code of a kernel for arguments of these types, and the name of its entry."""
    return _compile(
        function, (types.intp, *kinds), types.none, {"fastmath": set(flags)}, _add_entry
    )


def compile_c(function: Callable[..., Any], returned: bool = True) -> tuple[Any, str]:
    """The machine code of a C function whose arguments, and result if any, are 64-bit words."""
    kinds = (types.int64,) * function.__code__.co_argcount
    return _compile(function, kinds, types.int64 if returned else types.none, {}, _add_function)


def address(library: Any, name: str) -> int:
    """Return where the function `name` of a library is."""
    return int(library.get_pointer_to_function(name))


def serialized(library: Any) -> tuple[str, bytes, bytes]:
    """Return the library's name, object code and symbols, to be kept in a file."""
    name, _, (code, symbols) = library.serialize_using_object_code()
    return name, code, symbols


@global_compiler_lock
def load(name: str, code: bytes, symbols: bytes) -> Any:
    """Return the library that `serialized` described."""
    cpu_target.target_context.refresh()
    codegen = cpu_target.target_context.codegen()
    return codegen.unserialize_library((name, "object", (code, symbols)))


def _identity(function: Callable[..., Any]) -> tuple[Any, ...]:
    """What tells a function from others: its code, and all that it closes over, helpers too."""
    code = function.__code__
    constants = [c for c in code.co_consts if isinstance(c, int | float | str | tuple)]
    closed = [_closed_over(cell.cell_contents) for cell in function.__closure__ or ()]
    return (
        function.__module__, function.__qualname__, code.co_code, code.co_names, constants, closed
    )  # fmt: skip


def _closed_over(value: Any) -> Any:
    if isinstance(value, int | float | str | tuple):
        return value
    helper = getattr(value, "py_func", None)  # of a function that Numba compiles
    return type(value).__name__ if helper is None else _identity(helper)


def key(function: Callable[..., Any], kinds: Any, flags: Any) -> str:
    """Return a file name that tells this function, compiled so for this CPU, from all others."""
    magic = cpu_target.target_context.codegen().magic_tuple()
    text = repr((_identity(function), [str(kind) for kind in kinds], sorted(flags), magic))
    family = function.__module__.rsplit(".", 1)[-1]
    digest = hashlib.sha256(text.encode()).hexdigest()[:20]
    return f"{family}.{function.__name__}-{digest}"
