"""What a captured function sees beside its arguments: names, attributes, arrays of NumPy's.

A replay computes with what they held when the call was recorded. So all that the function's code,
and the code of yours that it calls, can name is noted before it is recorded: where the call itself
changes any of it (a counter), it can't be captured, and where it has changed before a later call,
that one is recorded anew.
"""

import dis
import functools
import itertools
import os
import random
import sys
import sysconfig
import types
import zlib
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from minidl.nn import Module

__all__ = ["Surroundings", "alike"]

PLAIN = (int, float, complex, bool, str, bytes, type(None), range, slice)
MOST_ITEMS = 256  # of a container that are looked at: of a longer one, those at its ends
DEEPEST = 32  # containers within containers
ENVIRONMENT = {"environ", "environb", "getenv", "getenvb"}  # names of os
MOST_BYTES = 1 << 20  # of an array that are read: of a larger one, numbers at equal distances
FOREIGN = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib"))
MISSING = object()


class _Place(NamedTuple):
    """A name, where it stands (a dict of names, or a cell), and what it held: content is of what
    may change and remain the same object."""

    name: str
    where: Any
    value: Any
    content: Any

    def now(self) -> Any:
        if isinstance(self.where, types.CellType):
            return _in_cell(self.where)
        return self.where.get(self.name, MISSING)


class Surroundings:
    """All that `function` can name, and what it holds now."""

    def __init__(self, function: Any, arguments: Any = ()) -> None:
        self._places: dict[tuple[int, str], _Place] = {}
        self._names: set[str] = set()
        self._functions: dict[int, types.FunctionType] = {}
        self._objects: dict[int, Any] = {}
        self._meet(function)
        own = getattr(function, "__func__", function)
        if isinstance(own, types.FunctionType):
            self._functions[id(own)] = own
        for x in arguments:
            self._meet(x)
        known = -1
        while known != (known := len(self._places) + len(self._functions) + len(self._objects)):
            for found in list(self._functions.values()):
                self._look_at_function(found)
            for thing in list(self._objects.values()):
                self._look_at_object(thing)

    def _meet(self, x: Any) -> None:
        """Remember what may lead further."""
        if isinstance(x, types.MethodType):
            self._meet(x.__func__)
            self._meet(x.__self__)
        elif isinstance(x, functools.partial):
            self._meet(x.func)
            for where in ({f"argument {i}": arg for i, arg in enumerate(x.args)}, x.keywords):
                self._note_all(id(x), where)
        elif isinstance(x, types.FunctionType):
            if _is_yours(x):
                self._functions[id(x)] = x
        elif isinstance(x, property):
            self._meet(x.fget)
        elif isinstance(x, staticmethod | classmethod):
            self._meet(x.__func__)
        elif isinstance(x, types.ModuleType):
            if _is_your_module(x.__name__):
                self._objects[id(x)] = x
        elif isinstance(x, list | tuple | dict):
            values = x.values() if isinstance(x, dict) else x
            if len(x) <= MOST_ITEMS and id(x) not in self._objects:
                self._objects[id(x)] = x
                for part in values:
                    self._meet(part)
        elif (
            hasattr(x, "__dict__") and not isinstance(x, np.ndarray) and id(x) not in self._objects
        ):
            self._objects[id(x)] = x
            if hasattr(x, "__wrapped__"):
                self._meet(x.__wrapped__)
            if isinstance(x, Module):
                self._meet(getattr(type(x), "forward", None))  # a patch of yours, perhaps
                for part in vars(x).values():
                    if isinstance(part, Module):
                        self._meet(part)
            for kind in (x if isinstance(x, type) else type(x)).__mro__:
                if _is_your_module(kind.__module__):
                    self._objects[id(kind)] = kind

    def _look_at_function(self, function: types.FunctionType) -> None:
        of_globals, of_attributes = _names(function.__code__)
        self._names |= of_attributes
        if not ENVIRONMENT.isdisjoint(of_globals | of_attributes):
            self._note("environ", vars(os), id(os))
        for name in of_globals & function.__globals__.keys():
            self._note(name, function.__globals__)
        closed = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        for name, cell in closed:
            self._note(name, cell)
        names = function.__code__.co_varnames[: function.__code__.co_argcount]
        some = dict(zip(reversed(names), reversed(function.__defaults__ or ()), strict=False))
        for where in (some, function.__kwdefaults__ or {}):
            self._note_all(id(function), where)

    def _look_at_object(self, x: Any) -> None:
        if isinstance(x, list | tuple | dict):
            return
        wanted = self._names | {"__call__", "forward"} if isinstance(x, type) else self._names
        for name in wanted & vars(x).keys():
            self._note(name, vars(x), id(x))

    def _note_all(self, owner: int, where: dict[str, Any]) -> None:
        for name in where:
            self._note(name, where, owner)

    def _note(self, name: str, where: Any, owner: int | None = None) -> None:
        key = (id(where) if owner is None else owner, name)
        if key not in self._places:
            place = _Place(name, where, None, None)
            value = place.now()
            self._places[key] = place._replace(value=value, content=_content(value))
            self._meet(value)

    def changed(self) -> str | None:
        """Return the name of something that isn't what it was, or None."""
        for place in self._places.values():
            now = place.now()
            if not alike(now, place.value) or (
                place.content is not None and _content(now) != place.content
            ):
                return place.name
        return None

    def leave_out(self, arrays: list[np.ndarray]) -> None:
        """Don't look at the content of these arrays: the call keeps its state there."""
        ids = {id(x) for x in arrays}
        for key, place in list(self._places.items()):
            if id(place.value) in ids:
                self._places[key] = place._replace(content=None)


def alike(a: Any, b: Any) -> bool:
    """Return whether two values are one, or equal and plain."""
    if a is b or type(a) is not type(b):
        return a is b
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(alike, a, b))
    return isinstance(a, PLAIN) and bool(a == b)


def _in_cell(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return MISSING


def _is_yours(function: types.FunctionType) -> bool:
    """Return whether it is neither Python's nor a library's."""
    file = function.__code__.co_filename
    module = str(function.__module__).partition(".")[0]
    return module != "minidl" and not file.startswith(FOREIGN) and not file.startswith("<frozen")


def _is_your_module(name: str) -> bool:
    file = getattr(sys.modules.get(name), "__file__", None) or ""
    if name == "__main__":
        return True
    return file != "" and name.partition(".")[0] != "minidl" and not file.startswith(FOREIGN)


@functools.cache
def _names(code: types.CodeType) -> tuple[frozenset[str], frozenset[str]]:
    """Return the names of globals, and of attributes, in code and in the functions within."""
    of_globals, of_attributes = set(), set()
    for instruction in dis.get_instructions(code):
        if instruction.opname.endswith(("_GLOBAL", "_NAME")):
            of_globals.add(instruction.argval)
        elif instruction.opname.endswith(("_ATTR", "_METHOD")):
            of_attributes.add(instruction.argval)
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            of_globals |= _names(inner)[0]
            of_attributes |= _names(inner)[1]
    return frozenset(of_globals), frozenset(of_attributes)


def _content(x: Any, most_bytes: int = MOST_BYTES, above: tuple[Any, ...] = ()) -> Any:
    """Return what of x can change while it remains the same object; None if nothing.

    above: the containers that hold it, for one may hold itself.
    """
    if isinstance(x, np.ndarray):
        return _digest(x, most_bytes)
    if isinstance(x, np.random.Generator):
        return repr(x.bit_generator.state)
    if isinstance(x, random.Random):
        return hash(x.getstate())
    if isinstance(x, itertools.count):
        return repr(x)
    if isinstance(x, os._Environ):
        return dict(vars(x)["_data"])  # as the system has it: decoding takes longer than a call
    if isinstance(x, list | tuple | dict | set | deque) and len(above) < DEEPEST:
        if any(x is each for each in above):
            return None
        most_bytes, above = most_bytes // max(1, len(x)), (*above, x)
        return (len(x), *(_seen(part, most_bytes, above) for part in _parts(x)))
    return None


def _seen(x: Any, most_bytes: int, above: tuple[Any, ...]) -> Any:
    return x if isinstance(x, PLAIN) else (id(x), _content(x, most_bytes, above))


def _parts(x: Any) -> Iterator[Any]:
    if isinstance(x, dict):
        return itertools.islice(itertools.chain.from_iterable(x.items()), 2 * MOST_ITEMS)
    if len(x) <= MOST_ITEMS or isinstance(x, set):
        return itertools.islice(x, MOST_ITEMS)
    half = MOST_ITEMS // 2
    return itertools.chain(itertools.islice(x, half), itertools.islice(reversed(x), half))


def _digest(x: np.ndarray, most_bytes: int) -> Any:
    if x.dtype.hasobject or not x.size:
        return x.shape
    step = max(1, x.nbytes // max(1, most_bytes))
    some = x.reshape(-1)[::step] if x.flags.c_contiguous else x[:: min(step, len(x))]
    return x.shape, zlib.crc32(np.ascontiguousarray(some).reshape(-1).view(np.uint8).data)
