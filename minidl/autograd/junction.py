"""A step of the graph that several tensors pass unchanged, so that their gradients meet there."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from minidl.autograd.engine import Node, Output
from minidl.autograd.tensor import Tensor

__all__ = ["joined"]


class Junction(Node):
    """function(gradients) gets one for each tensor, or None, and returns as many."""

    __slots__ = ("function",)

    def __init__(self, tensors: Sequence[Tensor], function: Callable[[Any], Any]) -> None:
        super().__init__(tuple(x.edge for x in tensors), len(tensors))
        self.function: Callable[[Any], Any] | None = function

    def vjp(self, g: Any, needs: Sequence[bool]) -> Iterable[Any]:
        assert self.function is not None
        return self.function(g)

    def free(self) -> None:
        super().free()
        self.function = None

    def __repr__(self) -> str:
        return "a module's backward hook"


def joined(tensors: Sequence[Tensor], function: Callable[[Any], Any]) -> list[Tensor]:
    """The same tensors behind a Junction. They must require gradients."""
    node = Junction(tensors, function)
    found = [Tensor(x._data, node=Output(node, i)) for i, x in enumerate(tensors)]
    for y in found:
        y._shown = True  # whoever has the array of the tensor before it may write to this one
    return found
