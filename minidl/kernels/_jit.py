"""The one way to make a kernel: flags, cache and threads.

    @kernel
    def add(part, x, y):                      # one part of the work
        for i in range(part * PART, min(x.size, (part + 1) * PART)):
            y[i] += x[i]

    add(-(-x.size // PART), x, y)             # all parts, on md.config.num_threads threads

A kernel is a function of one part and its arguments: C-contiguous arrays, whole numbers, floats,
booleans, tuples of whole numbers. It returns nothing, and no part writes what another reads, so
that the result doesn't depend on the threads. It is compiled once for each kind of arguments.

Floating-point flags never include nnan or ninf: NaNs and infinities behave.
"""

from collections.abc import Callable
from typing import Any

import numba

from minidl.kernels import _plain
from minidl.kernels._recording import Launch

way: Any
try:
    from minidl.kernels import _launch

    way = _launch if _launch.SUPPORTED else _plain
except (ImportError, AttributeError):  # a Numba that is made differently inside
    way = _plain

__all__ = [
    "EXACT", "PART", "WORK_A_NUMBER", "Launch", "background", "helper", "inlined", "kernel",
    "machine", "program", "recording", "sized", "sources",
]  # fmt: skip

FAST_MATH = frozenset({"contract", "nsz", "arcp", "reassoc"})
EXACT = frozenset({"contract"})  # an element gets the same bits wherever it stands in its array
LITTLE = 16 * 1024  # numbers: some 5 us of work
WORK_A_NUMBER = 32  # multiply-adds that take as long as handling a number does elsewhere
PART = 16 * 1024  # numbers that a thread works on at a time, where each is handled alike


def _njit(function: Callable[..., Any], flags: frozenset[str] = FAST_MATH, **options: Any) -> Any:
    """A function that only compiled ones call: Numba needs to make no wrappers for others."""
    njit: Any = numba.njit  # its types leave out what only Numba itself asks for
    return njit(
        fastmath=set(flags), error_model="numpy", no_cpython_wrapper=True,
        no_cfunc_wrapper=True, **options,
    )(function)  # fmt: skip


def helper(function: Callable[..., Any]) -> Any:
    """Decorator: a function that kernels call.

    It can't call itself: in code that was kept on the disk, that call would lead nowhere.
    """
    return _njit(function)


def inlined(function: Callable[..., Any], flags: frozenset[str] = FAST_MATH) -> Any:
    """Decorator: a helper that becomes part of its caller, so that tiles stay in registers."""
    return _njit(function, flags, forceinline=True)


def kernel(function: Callable[..., Any], flags: frozenset[str] = FAST_MATH) -> Callable[..., None]:
    """Decorator: f(part, ...) becomes a kernel that Python calls as f(parts, ...).

    Its parts are shared by `md.config.num_threads` threads. A negative number of parts: all of
    them in the calling thread, in their order.
    """
    return _launched(function, flags, alone=False)


def background(function: Callable[..., Any]) -> Callable[..., None]:
    """Decorator: a kernel for one thread of several that prepare batches, while others compute.

    All its parts run in the calling thread, and its results don't depend on where in an array
    they stand.
    """
    return _launched(function, EXACT, alone=True)


def _launched(function: Callable[..., Any], flags: frozenset[str], alone: bool) -> Any:
    launch = way.launcher(function, flags, alone)
    sources[launch] = function, flags
    return launch


sources: dict[Any, tuple[Callable[..., Any], frozenset[str]]] = {}
"""Of each kernel: the function it was made of, and its flags."""


def sized(parts: int, work: int) -> int:
    """The number of parts, or for little work (numbers to handle) its negative: run right here.

    A launch on threads takes 2 us on an idle machine, more where a neighbour has a core, and what
    one thread wrote lies in its own cache: two of LeNet-5's launches on an image took 7 us longer.
    """
    return parts if work > LITTLE else -parts


class recording:
    """Inside, launches are told to the recorder of their thread, `minidl.recording.here`."""

    def __enter__(self) -> None:
        way.recording(self, True)

    def __exit__(self, *exception: object) -> None:
        way.recording(self, False)


def program(launches: list[Launch]) -> Callable[[], None]:
    """Return what runs recorded launches again, on the arrays they were recorded with."""
    return way.program(launches)


def machine() -> dict[str, Any]:
    """The CPU that kernels are compiled for, and how they are launched, for `minidl doctor`."""
    target = numba.core.registry.cpu_target.target_context.codegen()
    return {"cpu": target.magic_tuple()[1], "own pool": way is not _plain}
