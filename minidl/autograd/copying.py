"""How tensors are copied and pickled."""

from typing import Any

from minidl.recording import refuse

__all__ = ["Copied"]

WHY = "copies numbers that a replay computes anew: do it outside, with what the call returns"


class Copied:
    """What a tensor's copies hold."""

    __slots__ = ()

    def __getstate__(self) -> Any:
        """Deep copies and pickles hold all but the graph and hooks; each of them is a leaf."""
        refuse("copying or pickling a tensor", WHY)
        attributes, slots = _slots(self)
        slots["_hooks"] = None
        if slots["_node"] is not None:
            slots |= {"_node": None, "_requires_grad": False}
        return attributes, slots

    def __copy__(self) -> Any:
        """Return a tensor of the same array, at the same place of the graph."""
        refuse("copying or pickling a tensor", WHY)
        twin = object.__new__(type(self))
        attributes, slots = _slots(self)
        slots["_hooks"] = None  # a leaf's; others have theirs in the graph
        for name, value in {**(attributes or {}), **slots}.items():
            setattr(twin, name, value)
        return twin


def _slots(tensor: Any) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Return the values of its attributes, if it has any but slots, and those of its slots."""
    state: Any = object.__getstate__(tensor)
    return state
