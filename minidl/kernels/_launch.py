"""From a call in Python to a kernel's entry, in half a microsecond.

`launcher(function, ...)` makes what Python calls: a C function that finds the arguments' addresses,
shapes and numbers in Python's and NumPy's own structures, writes them to a block on the stack and
runs the parts on the pool. What it doesn't expect (another type than last time, the first call, a
recording) it hands to a slow way in Python, which compiles and records. Where those structures
aren't as they should be (`SUPPORTED`), kernels run by `_plain` instead.
"""

import ctypes
import os
import sys
import sysconfig
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from minidl.config import config
from minidl.kernels import _cache, _entry, _notice, _pool
from minidl.kernels._entry import HEADER, argument_words, kind_of
from minidl.kernels._raw import (
    ROOM,
    double_of,
    error_clear,
    error_occurred,
    from_c,
    incref,
    long_of,
    no_memory,
    peek,
    peek_half,
    poke,
    restore_thread,
    room,
    save_thread,
    vectorcall,
)
from minidl.kernels._recording import Launch, normal
from minidl.recording import here, paused

__all__ = ["SUPPORTED", "launcher", "program", "recording"]

# What C functions know: threads, whether launches are recorded, the pool, Python's None, and the
# types of the arguments that they take.
WORLD = np.array([
    config.num_threads, 0, _pool.POOL, id(None),
    id(np.ndarray), id(int), id(float), id(bool), id(tuple),
], np.int64)  # fmt: skip
THREADS, RECORDING, THE_POOL, NONE, KINDS = range(5)
ARRAY, INT, FLOAT, BOOL, TUPLE = range(5)  # kinds of arguments, in the order of their types

# Words of a handle: entry, number of arguments, the world, the slow way; then two for each
# argument: its kind with the number of its axes or items, and for an array its dtype.
ENTRY, COUNT, ITS_WORLD, SLOW, ARGUMENTS = range(5)
MOST_ARGUMENTS = 30

# Where CPython and NumPy keep what the C function reads, in bytes from an object's start.
TYPE, ARRAY_DATA, ARRAY_AXES, ARRAY_SHAPE, ARRAY_DTYPE, ARRAY_FLAGS = 8, 16, 24, 32, 56, 64
TUPLE_LENGTH, TUPLE_ITEMS = 16, 24


@from_c
def _is_no_long(number):
    """Whether what PyLong_AsLongLong gave says that there was an error, which is then forgotten."""
    if number != -1 or error_occurred() == 0:
        return False
    error_clear()
    return True


@from_c
def _packed(thing, expected, dtype, world, block, at):
    """Write an argument to the block; the next word, or -1 where it isn't what is expected."""
    kind, count = expected & 15, expected >> 4
    if peek(thing + TYPE) != peek(world + 8 * (KINDS + kind)):
        return -1
    if kind == ARRAY:
        if peek_half(thing + ARRAY_AXES) != count or peek(thing + ARRAY_DTYPE) != dtype:
            return -1
        if peek_half(thing + ARRAY_FLAGS) & 1 == 0:  # C-contiguous
            return -1
        poke(block + 8 * at, peek(thing + ARRAY_DATA))
        shape = peek(thing + ARRAY_SHAPE)
        for axis in range(count):
            poke(block + 8 * (at + 1 + axis), peek(shape + 8 * axis))
        return at + 1 + count
    if kind == FLOAT:
        poke(block + 8 * at, double_of(thing))
        return at + 1
    if kind == TUPLE:
        if peek(thing + TUPLE_LENGTH) != count:
            return -1
        for n in range(count):
            item = peek(thing + TUPLE_ITEMS + 8 * n)
            if peek(item + TYPE) != peek(world + 8 * (KINDS + INT)):
                return -1
            number = long_of(item)
            if _is_no_long(number):
                return -1
            poke(block + 8 * (at + n), number)
        return at + count
    number = long_of(thing)
    if _is_no_long(number):
        return -1
    poke(block + 8 * at, number)
    return at + 1


def _call(self, arguments, count):
    """C: call a kernel. arguments: the number of parts, then the kernel's."""
    handle = peek(self + 16)
    entry, world, block = peek(handle), peek(handle + 8 * ITS_WORLD), room()
    at, parts = HEADER, 0
    if entry == 0 or count != peek(handle + 8 * COUNT) + 1 or peek(world + 8 * RECORDING) != 0:
        at = -1
    else:
        parts = long_of(peek(arguments))
        if _is_no_long(parts):
            at = -1
    i = 0
    while i < count - 1 and at > 0:
        expected = handle + 8 * (ARGUMENTS + 2 * i)
        at = _packed(
            peek(arguments + 8 + 8 * i), peek(expected), peek(expected + 8), world, block, at
        )
        i += 1
    if at < 0:
        return vectorcall(peek(handle + 8 * SLOW), arguments, count, 0)
    thread = save_thread()
    status = _pool.go(peek(world + 8 * THE_POOL), entry, block, parts, peek(world + 8 * THREADS))
    restore_thread(thread)
    if status != 0:
        return no_memory()
    incref(peek(world + 8 * NONE))
    return peek(world + 8 * NONE)


def _replay(self, arguments, count):
    """C: run launches one after another. arguments: a table of entry, block and parts."""
    table, world = peek(arguments), peek(self + 16)
    at, rows = peek(table + ARRAY_DATA), peek(peek(table + ARRAY_SHAPE))
    thread = save_thread()
    status, row = 0, 0
    while row < rows and status == 0:
        status = _pool.go(
            peek(world + 8 * THE_POOL), peek(at), peek(at + 8), peek(at + 16),
            peek(world + 8 * THREADS),
        )  # fmt: skip
        row, at = row + 1, at + 24
    restore_thread(thread)
    if status != 0:
        return no_memory()
    incref(peek(world + 8 * NONE))
    return peek(world + 8 * NONE)


class _Method(ctypes.Structure):
    """Python's description of a C function."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("text", ctypes.c_char_p),
    )


FAST_CALL = 0x80  # the flag of C functions (self, arguments, count)
_make = ctypes.pythonapi.PyCFunction_NewEx
_make.restype, _make.argtypes = (
    ctypes.py_object,
    [ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p],
)
_handles: list[np.ndarray] = []  # of all kernels
_recording: set[Any] = set()
_kept: list[Any] = []  # machine code and descriptions that C functions refer to
_compiling, _expecting = threading.RLock(), threading.Lock()


def compiled_or_kept(name: str, key: str, make: Callable[[], tuple[Any, str]]) -> int:
    """Return the address of a function that `make` compiles, or of the code that was kept of it."""
    with paused():  # what a recorded call compiles on its way is none of its steps
        return _compiled_or_kept(name, key, make)


def _compiled_or_kept(name: str, key: str, make: Callable[[], tuple[Any, str]]) -> int:
    kept = _cache.read(key)
    if kept is not None:
        library_name, entry, code, symbols = kept
        library = _entry.load(library_name, code, symbols)
    else:
        with _notice.compiling(name):
            library, entry = make()
        try:
            _cache.write(key, *_with_entry(library, entry))
        except OSError as error:
            _cache.say_once(
                f"this run's compiled kernels can't be kept in {_cache.folder()} "
                f"({type(error).__name__}: {error})"
            )
    _kept.append(library)
    return _entry.address(library, entry)


def _with_entry(library: Any, entry: str) -> tuple[str, str, bytes, bytes]:
    name, code, symbols = _entry.serialized(library)
    return name, entry, code, symbols


def _c_address(function: Callable[..., Any], returned: bool = True) -> int:
    """Return the address of a C function of whole numbers."""
    key = _entry.key(function, (), ())
    make = lambda: _entry.compile_c(function, returned)  # noqa: E731
    with _compiling:
        return compiled_or_kept(function.__name__, key, make)


_methods: dict[Any, _Method] = {}


def _c_function(function: Callable[..., Any], owner: Any) -> Any:
    """`function` as a builtin function of Python, whose `self` is `owner`."""
    method = _methods.get(function)
    if method is None:
        name = function.__name__.strip("_").encode()
        made = _Method(name, _c_address(function), FAST_CALL, None)
        # Python keeps its address, so that two threads at once must get the same one.
        method = _methods.setdefault(function, made)
    return _make(ctypes.addressof(method), owner, None)


def _expected(argument: Any) -> tuple[int, int]:
    """Return the two words of a handle for an argument."""
    if isinstance(argument, np.ndarray):
        return ARRAY | argument.ndim << 4, id(argument.dtype)
    if isinstance(argument, tuple):
        return TUPLE | len(argument) << 4, 0
    if isinstance(argument, bool):
        return BOOL, 0
    return (FLOAT if isinstance(argument, float) else INT), 0


def launcher(function: Callable[..., Any], flags: frozenset[str], alone: bool) -> Any:
    """Return what Python calls: launch(parts, *arguments). alone: on the calling thread."""
    name = f"{function.__module__.rsplit('.', 1)[-1]}.{function.__name__}"
    handle = np.zeros(ARGUMENTS + 2 * MOST_ARGUMENTS, np.int64)
    entries: dict[Any, tuple[int, list[Any]]] = {}

    def slow(parts: int, *arguments: Any) -> None:
        if len(arguments) > MOST_ARGUMENTS:
            raise TypeError(f"kernel {name} has more than {MOST_ARGUMENTS} arguments")
        if _pool.forked[0]:
            _pool.ensure(config.num_threads, _c_address)
        normalized = normal(name, arguments)
        expected = tuple(_expected(x) for x in normalized)
        if expected not in entries:
            with _compiling:
                if expected not in entries:  # still: another thread may have compiled it
                    prepare(expected, normalized)
        launch = Launch(name, parts, normalized, entries[expected][0])
        words = [word for argument in normalized for word in argument_words(argument)]
        if HEADER + len(words) > ROOM:
            raise TypeError(f"kernel {name} has more than {ROOM - HEADER} words of arguments")
        launch.block = np.array([0] * HEADER + words, np.int64)
        if here.recorder is not None:
            here.recorder.launched(launch)
        if not WORLD[RECORDING]:
            expect(expected)
        program([launch])()

    def expect(expected: Any) -> None:
        """Let the next call with such arguments take the fast way."""
        with _expecting:  # two threads at once would write the words of either
            handle[ENTRY] = 0  # until all are written, no call takes the fast way
            handle[ARGUMENTS : ARGUMENTS + 2 * len(expected)] = np.ravel(expected)
            handle[COUNT] = len(expected)
            handle[ENTRY] = entries[expected][0]

    def prepare(expected: Any, arguments: list[Any]) -> None:
        kinds = tuple(kind_of(x) for x in arguments)
        make = lambda: _entry.compile_kernel(function, kinds, flags)  # noqa: E731
        address = compiled_or_kept(name, _entry.key(function, kinds, flags), make)
        # the dtypes are kept: their addresses stand in `expected`
        entries[expected] = address, [x.dtype for x in arguments if isinstance(x, np.ndarray)]
        if not alone:
            _pool.ensure(config.num_threads, _c_address)

    handle[ITS_WORLD], handle[SLOW] = WORLD.ctypes.data, id(slow)
    call = _c_function(_call, handle)
    _kept.append((handle, slow))
    _handles.append(handle)
    return (lambda parts, *arguments: call(-parts, *arguments)) if alone else call


_replayers: list[Any] = []


def _replayer() -> Any:
    if not _replayers:
        _replayers.append(_c_function(_replay, WORLD))
    return _replayers[0]


def program(launches: list[Launch]) -> Callable[[], None]:
    """What runs these launches, on the arrays they were recorded with, in one compiled loop."""
    rows = [(launch.entry, launch.block.ctypes.data, launch.parts) for launch in launches]
    table, replayer = np.array(rows, np.int64).reshape(-1, 3), _replayer()
    blocks = [launch.block for launch in launches]

    def run() -> None:
        if _pool.forked[0]:
            _pool.ensure(config.num_threads, _c_address)
        replayer(table)

    run.keeps = blocks  # type: ignore[attr-defined]
    return run


def recording(who: Any, begins: bool) -> None:
    """One recorder more, or less, among all threads: as long as there is one, no call is fast."""
    with _expecting:
        (_recording.add if begins else _recording.discard)(who)
        WORLD[RECORDING] = len(_recording)


def _threads_changed(threads: int) -> None:
    WORLD[THREADS] = threads
    if _kept:
        _pool.ensure(threads, _c_address)


config.on_threads.append(_threads_changed)


def _before_fork() -> None:
    """No other thread compiles while the process is forked: the child could never compile."""
    _compiling.acquire()
    _expecting.acquire()


def _after_fork() -> None:
    _expecting.release()
    _compiling.release()


def _in_child() -> None:
    """The next call of each kernel takes the slow way, which starts threads."""
    for handle in _handles:
        handle[ENTRY] = 0
    if here.recorder is None:  # those of other threads are gone
        _recording.clear()
        WORLD[RECORDING] = 0
    _after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_child)


def _as_expected() -> bool:
    """Whether Python and NumPy keep arrays, tuples and numbers where the C function looks."""
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return False
    if ctypes.sizeof(ctypes.c_void_p) != 8 or sys.byteorder != "little":
        return False
    word, half = ctypes.c_int64.from_address, ctypes.c_int32.from_address
    array, row = np.zeros((2, 3), np.float32), (5, 7)
    at = id(array)
    return (
        word(at + TYPE).value == id(np.ndarray)
        and word(at + ARRAY_DATA).value == array.ctypes.data
        and half(at + ARRAY_AXES).value == 2
        and word(word(at + ARRAY_SHAPE).value + 8).value == 3
        and word(at + ARRAY_DTYPE).value == id(array.dtype)
        and half(at + ARRAY_FLAGS).value & 1 == 1
        and half(id(np.zeros((2, 3)).T) + ARRAY_FLAGS).value & 1 == 0
        and word(id(row) + TYPE).value == id(tuple)
        and word(id(row) + TUPLE_LENGTH).value == 2
        and word(id(row) + TUPLE_ITEMS).value == id(row[0])
    )


SUPPORTED = _pool.SUPPORTED and _as_expected()
