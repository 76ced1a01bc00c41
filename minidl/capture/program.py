"""A recorded call: its launches and steps, and what must hold for them to be its call again."""

import itertools
import operator
import weakref
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from minidl.autograd.engine import order
from minidl.autograd.held import written
from minidl.autograd.hooks import LEFT_OUT, hooks_of
from minidl.autograd.watched import plain, watched
from minidl.capture.arguments import arrays_of, mapped, with_arrays
from minidl.capture.surroundings import Surroundings, alike
from minidl.errors import CaptureError
from minidl.exposed import expose, is_any_watched
from minidl.kernels import _jit, memory
from minidl.nn.hooks import KINDS
from minidl.recording import Before, changes, here, undone

__all__ = ["Program"]

MODES = ("training", "frozen", *KINDS)  # of a module
MOST_BYTES = 256 * 1024 * 1024  # of a call that nobody asked to be captured
MOST_ITEMS = 200_000  # launches and steps; who records more doesn't come to an end


class Program:
    """The recorder of one call, and then its replay.

    inputs: the call's arguments, in arrays of the program's own, `arrays`.  outputs: what it
    returned, which every replay writes anew.  owned: arrays that live on between calls; leaves:
    tensors that were used, their arrays and hooks; gradients: of leaves, what `.grad` was when it
    was first read (or that it was set first), and is at the end; modules: with their modes and
    attributes.
    refuses: raise CaptureError where the call can't be captured; otherwise only `why_not` says so,
    and the call continues without being recorded.
    """

    writes = True  # or may write, to arrays that live on

    def __init__(self, arguments: Any, refuses: bool = True) -> None:
        self.inputs = with_arrays(arguments, np.copy)
        self.arrays = arrays_of(self.inputs)
        self._refuses = refuses
        self.why_not: str | None = None
        self.unsettled: str | None = None  # what the call itself changed, so that it may differ
        self.proved = False
        self.outputs: Any = None
        self.depth = 0
        self.items: list[Any] = []
        self.units: list[tuple[int, Any]] = []  # where each ends among the items
        self.befores: list[tuple[int, Before]] = []  # with their places among the items
        self.owns: dict[int, np.ndarray] = {}
        self.leaves: dict[int, tuple[Any, Any, bool, Any]] = {}  # their arrays weakly
        self._start, self._older = next(order), list[Any]()  # nodes made before, and used
        self._checked = -1  # of `changes`, when all was last seen to be as it was
        self.modules: dict[int, _Seen] = {}
        self._forwards: dict[Any, Any] = {}  # of the modules' classes
        self.grads: dict[int, list[Any]] = {}  # tensor, first read, what it was, what it became
        self._set: list[tuple[int, Any, Any]] = []  # gradients as they were set, with their places
        self._made_here: set[int] = set()  # tensors that the call itself made, by id
        self._kept: list[Any] = []
        self._pool = memory.Pool(shrinks=False)
        self._keeping: memory.Pool | None = None
        self._runs: list[Callable[[], None]] = []
        self._starts: list[int] = []  # the place of each run's first item
        self._first: dict[int, int | None] = {}  # digests of what lasts, when it was first used
        self.seen: list[tuple[np.ndarray, int]] = []  # and as the call left it
        self.same: list[np.ndarray] = []  # what of it the call didn't change

    # Recording

    def record(self, function: Callable[..., Any]) -> Any:
        """Run function(*inputs) and remember how; what it returned."""
        self.surroundings = Surroundings(function, self.inputs)
        result = self._listening(lambda: function(*mapped(self.inputs, watched)))
        self.outputs = with_arrays(result, plain)
        for entry in self.grads.values():
            entry[3] = entry[0]._grad
        self._runs = self._grouped(self.items)
        self._starts = [0, *itertools.accumulate(map(len, _groups(self.items)))][:-1]
        lasting = self.lasting()
        self.seen = [(x, _digest(x)) for x in lasting]
        self.same = [x for x, digest in self.seen if self._first[id(x)] == digest]
        self.surroundings.leave_out(lasting)
        changed = (seen.changed() for seen in self.modules.values())
        self.unsettled = self.surroundings.changed() or next(filter(None, changed), None)
        return self.outputs

    def refused(self, why: str) -> None:
        """The call can't be captured."""
        if self._refuses:
            raise CaptureError(why)
        self.why_not = self.why_not or why
        here.recorder = None

    def gave_up(self) -> bool:
        """Whether the recording ends here: nobody asked for it, and it needs much memory, so that
        Python takes little of the time."""
        if not self._refuses and self._pool.most_in_use > MOST_BYTES:
            self.refused(f"its arrays take more than {MOST_BYTES} bytes, and Python little time")
        return self.why_not is not None

    def _listening(self, call: Callable[[], Any]) -> Any:
        """call(), recorded."""
        using, telling = memory.using(self._pool, self._keeping), _jit.recording()
        before = here.recorder

        def stop() -> None:
            here.recorder = before
            using.__exit__()
            telling.__exit__()

        with (end := undone(stop)), end:
            telling.__enter__()
            using.__enter__()
            here.recorder = self
            return call()

    def recorded(self, function: Callable[[], Any]) -> list[Callable[[], None]]:
        """Return what runs the launches of a function, which isn't part of the call."""
        items, self.items = self.items, []
        self._listening(function)
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
        if len(self.items) > MOST_ITEMS and here.recorder is self:
            self.refused(
                f"md.compile: the call launched more than {MOST_ITEMS} kernels without an end"
            )

    def preceded(self, what: Before) -> None:
        self.befores.append((len(self.items), what))

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
            data = weakref.ref(tensor._data)
            self.leaves[id(tensor)] = (tensor, data, tensor._requires_grad, hooks_of(tensor))
            self._first[id(tensor._data)] = _digest(tensor._data)

    def node(self, node: Any) -> None:
        """Note a step of a graph that was made before the call."""
        if node.order < self._start:
            self._older.append(node)

    def changed(self, array: np.ndarray) -> None:
        """An op changed one of the arrays that it was given."""
        if id(array) not in self.owns:
            self.owned(array)
            self._first[id(array)] = None  # it was another

    def module(self, module: Any, inputs: Any, settings: Any) -> Any:
        """Note a module that is called; what is returned, if anything, stands for its output."""
        if id(module) not in self.modules:
            self.modules |= {
                id(part): _Seen(part) for part in module.modules() if id(part) not in self.modules
            }
            self._forwards |= {type(part): type(part).forward for part in module.modules()}
        if module._is_hooked():
            self.refused(f"md.compile: a hook of {type(module).__name__} {LEFT_OUT}")

    def gradient(self, tensor: Any, read: bool, g: np.ndarray | None = None) -> None:
        if id(tensor) not in self.grads:
            self.grads[id(tensor)] = [tensor, read, tensor._grad, None]
            if read and tensor._grad is not None:
                self.owned(tensor._grad)
        if not read:
            self._set.append((len(self.items), tensor, g))

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

    def reads(self, x: np.ndarray, start: int) -> bool:
        """Return whether a launch from item `start` on is given the array x, or a part of it."""
        low, high = np.lib.array_utils.byte_bounds(x)
        for launch in self.items[start:]:
            if callable(launch):
                continue
            if launch.block is None:
                arrays = [a for a in launch.arguments if isinstance(a, np.ndarray)]
                if any(np.may_share_memory(a, x) for a in arrays):
                    return True
            elif np.any((launch.block >= low) & (launch.block < high)):
                return True
        return False

    def _grouped(self, items: list[Any]) -> list[Callable[[], None]]:
        return [group[0] if callable(group[0]) else _jit.program(group) for group in _groups(items)]

    # Replaying

    def holds(self) -> bool:
        """Return whether all that the recording depended on, besides the inputs, is as it was."""
        if self._checked != changes[0] and not self._is_unchanged():
            return False
        for kind, forward in self._forwards.items():
            if kind.forward is not forward:
                return False
        if self.befores and not all(what.holds() for _, what in self.befores):
            return False
        for tensor, read, was, _ in self.grads.values():
            if read and tensor._grad is not was:
                return False
        return self.surroundings.changed() is None

    def _is_unchanged(self) -> bool:
        """Return whether tensors have the arrays, and modules the settings, that they had."""
        now = changes[0]
        same = all(
            tensor._data is data() and tensor._requires_grad == needs and hooks_of(tensor) == hooks
            for tensor, data, needs, hooks in self.leaves.values()
        ) and all(seen.changed() is None for seen in self.modules.values())
        same = same and not any(map(hooks_of, self._older))
        if same:
            self._checked = now
        return same

    def replay(self, arrays: list[np.ndarray]) -> None:
        """The call, with these arrays as arguments: outputs, gradients, state are written anew."""
        for mine, given in zip(self.arrays, arrays, strict=True):
            mine[...] = given
        states = [what.save() for _, what in self.befores]
        for _, what in self.befores:
            what.advance()
        start = 0
        try:
            for start, run in zip(self._starts, self._runs, strict=True):  # noqa: B007
                run()
        except BaseException:
            self._undo_after(start, states)
            raise
        for tensor, _, _, became in self.grads.values():
            tensor._grad = became
        if self.writes and is_any_watched():
            for array in self.lasting():
                expose(array)
        if self.writes:
            for array in self.owns.values():
                written(array, "a captured call")

    def _undo_after(self, end: int, states: list[Any]) -> None:
        """Leave things as a call does that ends with an exception at the item `end`."""
        for (place, what), state in reversed(list(zip(self.befores, states, strict=True))):
            if place > end:
                what.restore(state)
        for place, tensor, g in self._set:
            if place <= end:
                tensor._grad = g

    def steps(self) -> Any:
        """Replay unit by unit, for a proof that failed: each unit's name and outputs."""
        at = 0
        for end, (name, shown) in self.units:
            for run in self._grouped(self.items[at:end]):
                run()
            at = end
            yield name, [_at_address(*each) for each in shown]

    def lasting(self) -> list[np.ndarray]:
        """Return the arrays that live on between calls."""
        own = {id(x) for x in self.arrays}
        used = [data() for _, data, *_ in self.leaves.values()]
        used = [x for x in used if x is not None and id(x) not in own]
        return list({id(x): x for x in (*used, *self.owns.values())}.values())

    def state(self) -> list[np.ndarray]:
        """These, and the inputs."""
        return [*self.lasting(), *self.arrays]


def _digest(x: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(x).view(np.uint8).data if x.ndim else x.tobytes())


def _groups(items: list[Any]) -> list[list[Any]]:
    """Return the items in runs: of launches, or of one step."""
    groups: list[list[Any]] = []
    for is_step, group in itertools.groupby(items, callable):
        several = list(group)
        groups += [[item] for item in several] if is_step else [several]
    return groups


def _at_address(address: int, shape: Any, strides: Any, dtype: Any) -> np.ndarray:
    class Place:
        pass

    place = Place()
    place.__array_interface__ = {  # type: ignore[attr-defined]
        "data": (address, False), "shape": shape, "strides": strides, "typestr": dtype.str,
        "version": 3,
    }  # fmt: skip
    return np.asarray(place)


class _Seen:
    """A module, and what it was like: modes, hooks, attributes."""

    def __init__(self, module: Any) -> None:
        self._module, self._type = module, type(module)
        self._modes = module.training, module.frozen, *module._all_hooks()
        own = {name: x for name, x in vars(module).items() if name not in MODES}
        self._names, self._values = list(own), list(own.values())

    def changed(self) -> str | None:
        """Return what is another now, if anything."""
        module, own = self._module, vars(self._module)
        if (module.training, module.frozen, *module._all_hooks()) != self._modes:
            return f"the mode or the hooks of {type(module).__name__}"
        if type(module) is not self._type:
            return f"the class of a {self._type.__name__}"
        if new := own.keys() - {*self._names, *MODES}:
            return f"{type(module).__name__}.{min(new)}"
        if all(map(operator.is_, map(own.get, self._names), self._values)):
            return None
        for name, value in zip(self._names, self._values, strict=True):
            if not alike(own.get(name), value):
                return f"{type(module).__name__}.{name}"
        return None
