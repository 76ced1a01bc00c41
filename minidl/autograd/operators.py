"""What Python's operators do with tensors: each is an op of the table."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minidl.autograd.tensor import Tensor

__all__ = ["Operators", "ops"]

ops: dict[str, Callable[..., Any]] = {}
"""Every op of the library by name."""


class Operators:
    """Arithmetic, comparison and indexing."""

    __slots__ = ()

    def __add__(self, other: Any) -> "Tensor":
        return ops["add"](self, other)

    def __sub__(self, other: Any) -> "Tensor":
        return ops["subtract"](self, other)

    def __rsub__(self, other: Any) -> "Tensor":
        return ops["subtract"](other, self)

    def __mul__(self, other: Any) -> "Tensor":
        return ops["multiply"](self, other)

    def __truediv__(self, other: Any) -> "Tensor":
        return ops["divide"](self, other)

    def __rtruediv__(self, other: Any) -> "Tensor":
        return ops["divide"](other, self)

    def __pow__(self, other: Any) -> "Tensor":
        return ops["power"](self, other)

    def __rpow__(self, other: Any) -> "Tensor":
        return ops["power"](other, self)

    def __matmul__(self, other: Any) -> "Tensor":
        return ops["matmul"](self, other)

    def __rmatmul__(self, other: Any) -> "Tensor":
        return ops["matmul"](other, self)

    def __neg__(self) -> "Tensor":
        return ops["negative"](self)

    def __abs__(self) -> "Tensor":
        return ops["abs"](self)

    __radd__ = __add__
    __rmul__ = __mul__

    # Comparison: element by element, bool tensors without a gradient

    def __eq__(self, other: Any) -> "Tensor":  # type: ignore[override]
        return ops["equal"](self, other)

    def __ne__(self, other: Any) -> "Tensor":  # type: ignore[override]
        return ops["not_equal"](self, other)

    def __lt__(self, other: Any) -> "Tensor":
        return ops["less"](self, other)

    def __le__(self, other: Any) -> "Tensor":
        return ops["less_equal"](self, other)

    def __gt__(self, other: Any) -> "Tensor":
        return ops["greater"](self, other)

    def __ge__(self, other: Any) -> "Tensor":
        return ops["greater_equal"](self, other)

    __hash__ = object.__hash__  # by identity, since == compares elements

    def __getitem__(self, key: Any) -> "Tensor":
        return ops["getitem"](self, key=key)
