"""How files hold a layer: what it is called there, and which of its arrays is which."""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Stored"]


@dataclass(frozen=True)
class Stored:
    """What a class of layers says of itself as `stored`, for all that reads and writes files.

    kind: what minidl's own files call it, such as "convolution".
    axes: of its arrays, such as {"weight": "in out"}.
    keras: its class in Keras, such as "Dense"; None where Keras has none.
    arrays: Keras's arrays, in the order in which Keras numbers them, and the layer's, such as
        {"kernel": "weight"}. Their layouts are the same but for axes of length 1.
    earlier: what earlier versions of Keras called the class, and the arrays.
    needed: how many of `arrays` each of these layers has.
    settings: Keras's settings and the attributes that must equal them, such as
        {"epsilon": "eps"}.
    cell: whether Keras keeps the arrays in a cell within the layer.
    """

    kind: str
    axes: Mapping[str, str] = field(default_factory=dict)
    keras: str | None = None
    arrays: Mapping[str, str] = field(default_factory=dict)
    earlier: Mapping[str, str] = field(default_factory=dict)
    needed: int = 1
    settings: Mapping[str, str] = field(default_factory=dict)
    cell: bool = False

    def classes(self) -> list[str]:
        """The names that the class has or had in Keras."""
        known = [] if self.keras is None else [self.keras]
        return known + [old for old, new in self.earlier.items() if new == self.keras]
