"""What a recorded call keeps for its rules stays as it was, or the backward pass says so."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minidl.autograd.engine import Node
from minidl.autograd.held import Hold, hold
from minidl.autograd.tensor import Tensor
from minidl.errors import GradError
from minidl.exposed import owner

__all__ = ["Holding", "Postponed"]

ARRAYS = (np.ndarray, Tensor, list, tuple)  # what settings hold that others may write to


class Postponed(dict[str, Any]):
    """What a call keeps until `take(number)` computes the rest again, with what it holds."""

    __slots__ = ("number", "take")

    def __init__(self, take: Callable[[int], Any], number: int) -> None:
        super().__init__()
        self.take, self.number = take, number


class Holding(Node):
    """A node that holds the memory of what it keeps.

    kept: arrays and settings by name.  held: for each array (name, shape, its hold, and how often
    it had been written to when the call was recorded).
    """

    __slots__ = ("held", "kept", "op")

    op: Any
    kept: dict[str, Any]
    held: list[tuple[str, tuple[int, ...], Hold, int]]

    def hold(self, inputs: Sequence[Any], output: Any) -> None:
        """See to it that what was kept stays as it is, until it is freed.

        Arrays that the caller gave, or that tensors share with others' memory, are copied.
        """
        names, kept = self.op.array_names, self.kept
        for name, x in zip(names, (inputs,) if self.op.variadic else inputs, strict=True):
            if name in kept and self.op.variadic:
                kept[name] = [self._hold(name, *pair) for pair in zip(kept[name], x, strict=True)]
            elif name in kept:
                kept[name] = self._hold(name, kept[name], x)
        for name in self.op.settings:
            if isinstance(kept.get(name), ARRAYS):
                kept[name] = _copied(kept[name])
        made = [y for y in (output if self.outputs else (output,)) if y is not None]
        for y in made:
            if y.base is not None:
                self._hold_views(y, inputs)
        for name in ("output", *self.op.saves):
            if kept.get(name) is not None:
                self._hold_outputs(kept[name], made)

    def _hold_outputs(self, value: Any, made: Sequence[np.ndarray]) -> None:
        """Of what was kept besides the inputs, what is an output: nobody sees anything else."""
        for array in value if isinstance(value, tuple) else (value,):
            if isinstance(array, np.ndarray) and any(owner(array) is owner(y) for y in made):
                self._hold("the output", array)

    def _hold_views(self, output: np.ndarray, inputs: Sequence[Any]) -> None:
        """Of a leaf's memory that the output shows: others will need it, and look whether it was
        changed; this call itself doesn't."""
        memory = owner(output)
        for x in inputs:
            if isinstance(x, Tensor) and (x._node is None or x._shown) and owner(x._data) is memory:
                self.held.append(("", output.shape, *hold(output, True)))

    def _hold(self, name: str, array: Any, x: Any = None) -> Any:
        if not isinstance(array, np.ndarray):
            return array
        others: bool | None = isinstance(x, Tensor) and x._shown
        if isinstance(x, np.ndarray):
            return array.copy()
        if isinstance(x, Tensor) and x._node is None:
            is_parameter = type(x) is not Tensor and array.base is None
            if not is_parameter and not x._requires_grad:
                return array.copy()
            others = None if is_parameter else True
        self.held.append((name, array.shape, *hold(array, others)))
        return array

    def check_held(self) -> None:
        for name, shape, held, writes in self.held:
            if name and held.changes() != writes:
                raise GradError(
                    f"backward(): the gradient of {self.op.name} needs {name}, of shape "
                    f"{shape}, as it was in the forward pass, but {held.by} has "
                    "written to it since: call backward() before, or run the forward pass again"
                )

    def postpone(self, kept: Postponed) -> None:
        """Drop what was kept, but for arrays of leaves, which are held: they may not change."""
        leaves = {id(owner(p._data)) for p in self.parents or () if isinstance(p, Tensor)}
        held, self.held = self.held, []
        for each in held:
            if id(each[2].owner) in leaves:
                self.held.append(each)
            else:
                each[2].release()
        for name in {name for name, *_ in self.held if name}:
            value = self.kept[name]
            arrays = value if isinstance(value, list) else [value]  # of a variadic op, a list
            kept[name] = [x for x in arrays if id(owner(x)) in leaves]
        self.kept = kept

    def resume(self) -> None:
        """Get what was postponed."""
        while isinstance(self.kept, Postponed):  # it may be postponed again, by a checkpoint within
            kept, held = self.kept.take(self.kept.number)
            self._release()
            self.kept, self.held = kept, held

    def handed_over(self) -> Any:
        """What it kept and holds, for another call."""
        given = self.kept, self.held
        self.kept, self.held = {}, []
        return given

    def free(self) -> None:
        super().free()
        self.kept = {}
        self._release()

    def _release(self) -> None:
        for *_, held, _ in self.held:
            held.release()
        self.held = []

    def __del__(self) -> None:
        if getattr(self, "held", None):
            self._release()


def _copied(setting: Any) -> Any:
    """Return a setting with copies of its arrays and lists, such as indices."""
    if isinstance(setting, Tensor):
        return Tensor(setting.data.copy())
    if isinstance(setting, np.ndarray):
        return setting.copy()
    if type(setting) is list or (
        type(setting) is tuple and any(isinstance(part, ARRAYS) for part in setting)
    ):
        return type(setting)(map(_copied, setting))
    return setting
