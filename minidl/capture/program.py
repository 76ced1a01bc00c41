"""A recorded call: its launches and steps, and what must hold for them to be its call again."""

import contextlib
import itertools
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from minidl.capture.arguments import arrays_of, with_arrays
from minidl.errors import CaptureError
from minidl.kernels import _jit, memory
from minidl.recording import Before, changes, here

__all__ = ["Program", "as_left"]

PLAIN = (int, float, str, bool, tuple, type(None))
MOST_ITEMS = 200_000  # launches and steps; who records more doesn't come to an end


class Program:
    """The recorder of one call, and then its replay.

    inputs: the call's arguments, in arrays of the program's own.  outputs: what it returned, which
    every replay writes anew.  owned: arrays that live on between calls; leaves: tensors that were
    used, with their arrays; gradients: of leaves, what `.grad` was when it was first read (or that
    it was set first), and is at the end; modules: with their modes.
    """

    def __init__(self, arguments: Any) -> None:
        self.inputs = with_arrays(arguments, np.copy)
        self.outputs: Any = None
        self.depth = 0
        self.prepares = False  # whether what is made of weights alone is kept
        self.items: list[Any] = []
        self.units: list[tuple[int, Any]] = []  # where each ends among the items
        self.befores: list[Before] = []
        self.owns: dict[int, np.ndarray] = {}
        self.leaves: dict[int, tuple[Any, np.ndarray, bool]] = {}
        self._checked = -1  # of `changes`, when all was last seen to be as it was
        self.modules: dict[int, tuple[Any, Any]] = {}
        self.grads: dict[int, list[Any]] = {}  # tensor, first read, what it was, what it became
        self._made_here: set[int] = set()  # tensors that the call itself made, by id
        self._kept: list[Any] = []
        self._pool = memory.Pool()
        self._keeping: memory.Pool | None = None
        self._runs: list[Callable[[], None]] = []
        self._first: dict[int, int] = {}  # digests of what lasts, when it was first used
        self.seen: list[tuple[np.ndarray, int]] = []  # and as the call left it
        self.changes = False  # whether the call changed any of it

    # Recording

    def record(self, function: Callable[..., Any]) -> Any:
        """Run function(*inputs) and remember how; what it returned."""
        with self._listening():
            result = function(*self.inputs)
        self.outputs = result
        for entry in self.grads.values():
            entry[3] = entry[0]._grad
        self._runs = self._grouped(self.items)
        self.seen = [(x, _digest(x)) for x in self.lasting()]
        self.changes = any(self._first[id(x)] != digest for x, digest in self.seen)
        return result

    @contextlib.contextmanager
    def _listening(self) -> Any:
        with _jit.recording(), memory.using(self._pool, self._keeping):
            before, here.recorder = here.recorder, self
            try:
                yield
            finally:
                here.recorder = before

    def recorded(self, function: Callable[[], Any]) -> list[Callable[[], None]]:
        """What runs the launches of a function, which isn't part of the call."""
        items, self.items = self.items, []
        with self._listening():
            function()
        found, self.items = self._grouped(self.items), items
        return found

    def memory_of_others(self) -> memory.using:
        """While something is computed that isn't part of the program."""
        return memory.using(None)

    def launched(self, launch: Any) -> None:
        if launch.block is not None:  # then its arguments are needed for their memory alone
            kept = [x for x in launch.arguments if isinstance(x, np.ndarray)]
            self._kept += [x for x in kept if not memory.is_of(x, self._pool)]
            launch.arguments = None
        self._add(launch)

    def stepped(self, function: Callable[[], None]) -> None:
        self._add(function)

    def _add(self, item: Any) -> None:
        self.items.append(item)
        if len(self.items) > MOST_ITEMS:
            raise CaptureError(
                f"md.compile: the call launched more than {MOST_ITEMS} kernels without an end"
            )

    def preceded(self, what: Before) -> None:
        self.befores.append(what)

    def owned(self, array: np.ndarray) -> None:
        if id(array) not in self.owns:
            self.owns[id(array)] = array
            self._first[id(array)] = _digest(array)

    def made(self, tensor: Any) -> None:
        self._made_here.add(id(tensor))

    def is_made(self, tensor: Any) -> bool:
        return id(tensor) in self._made_here

    def leaf(self, tensor: Any) -> None:
        if id(tensor) not in self.leaves and id(tensor) not in self._made_here:
            self.leaves[id(tensor)] = (tensor, tensor._data, tensor._requires_grad)
            self._first[id(tensor._data)] = _digest(tensor._data)

    def module(self, module: Any, inputs: Any, settings: Any) -> Any:
        """Note a module that is called; what is returned, if anything, stands for its output."""
        if module._forward_hooks:
            raise CaptureError(
                f"md.compile: a {type(module).__name__} has a forward hook, which a replay would "
                "not call: remove it, or call the function itself"
            )
        self.modules.setdefault(id(module), (module, _settings(module)))

    def gradient(self, tensor: Any, read: bool) -> None:
        if id(tensor) not in self.grads:
            self.grads[id(tensor)] = [tensor, read, tensor._grad, None]
            if read and tensor._grad is not None:
                self.owned(tensor._grad)

    def place(self) -> int:
        return len(self.items)

    def cut(self, start: int) -> None:
        del self.items[start:]

    def unit(self, unit: Any) -> None:
        # addresses, not arrays: what is computed later may use their memory again
        shown = [(x.__array_interface__["data"][0], x.shape, x.strides, x.dtype)
                 for x in unit.outputs]  # fmt: skip
        self.units.append((len(self.items), (unit.name, shown)))

    def launches_since(self, start: int) -> Callable[[], None] | None:
        """What runs the launches from item `start` on; None if there are none, or steps too."""
        items = self.items[start:]
        if not items or any(callable(item) for item in items):
            return None
        return _jit.program(items)

    def _grouped(self, items: list[Any]) -> list[Callable[[], None]]:
        runs: list[Callable[[], None]] = []
        for is_step, group in itertools.groupby(items, callable):
            several = list(group)
            runs += several if is_step else [_jit.program(several)]
        return runs

    @property
    def nbytes(self) -> int:
        """Bytes of large arrays that the program holds."""
        return self._pool.most_in_use

    # Replaying

    def holds(self) -> bool:
        """Whether all that the recording depended on, besides the inputs, is as it was."""
        return (
            (self._checked == changes[0] or self._is_unchanged())
            and all(what.holds() for what in self.befores)
            and all(not read or t._grad is was for t, read, was, _ in self.grads.values())
        )

    def _is_unchanged(self) -> bool:
        """Whether tensors have the arrays, and modules the settings, that they had."""
        now = changes[0]
        same = all(
            tensor._data is data and tensor._requires_grad == needs
            for tensor, data, needs in self.leaves.values()
        ) and all(_settings(module) == settings for module, settings in self.modules.values())
        if same:
            self._checked = now
        return same

    def replay(self, arguments: Any) -> None:
        """The call, with these arguments: its outputs, gradients and state are written anew."""
        for mine, given in zip(arrays_of(self.inputs), arrays_of(arguments), strict=True):
            np.copyto(mine, given)
        for what in self.befores:
            what.advance()
        for run in self._runs:
            run()
        for tensor, _, _, became in self.grads.values():
            tensor._grad = became

    def steps(self) -> Any:
        """Replay unit by unit, for a proof that failed: each unit's name and outputs."""
        at = 0
        for end, (name, shown) in self.units:
            for run in self._grouped(self.items[at:end]):
                run()
            at = end
            yield name, [_at_address(*each) for each in shown]

    def lasting(self) -> list[np.ndarray]:
        """The arrays that live on between calls."""
        own = {id(x): x for x in arrays_of(self.inputs)}
        used = [data for _, data, _ in self.leaves.values() if id(data) not in own]
        return list({id(x): x for x in (*used, *self.owns.values())}.values())

    def state(self) -> list[np.ndarray]:
        """These, and the inputs."""
        return [*self.lasting(), *arrays_of(self.inputs)]


def _digest(x: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(x).view(np.uint8).data if x.ndim else x.tobytes())


def as_left(seen: list[tuple[np.ndarray, int]]) -> bool:
    """Whether arrays still are what their digests say."""
    return all(_digest(x) == digest for x, digest in seen)


def _at_address(address: int, shape: Any, strides: Any, dtype: Any) -> np.ndarray:
    class Place:
        pass

    place = Place()
    place.__array_interface__ = {  # type: ignore[attr-defined]
        "data": (address, False), "shape": shape, "strides": strides, "typestr": dtype.str,
        "version": 3,
    }  # fmt: skip
    return np.asarray(place)


def _settings(module: Any) -> list[Any]:
    """What a module was told, and which parts it has."""
    own = [
        (name, value if isinstance(value, PLAIN) else id(value))
        for name, value in vars(module).items()
    ]
    return [*own, module.training, module.frozen, len(module._forward_hooks)]
