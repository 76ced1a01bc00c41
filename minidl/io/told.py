"""What a file says of a layer beside its arrays."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from minidl.io.expression import UNKNOWN, Expression
from minidl.io.provenance import Pads

__all__ = ["Told"]


@dataclass(frozen=True)
class Told:
    """What a file says of a layer beside its arrays; the defaults say nothing.

    name: of the layer in the file.  renamed: whether it now has another one, but for a prefix.
    guessed: whether only names and shapes tell its kind.
    placed: whether the file lists it in the order of the model; where only those of the same
        `group` are, numbers tell.
    separable: whether it is part of a separable convolution.
    channels_first: whether its inputs are in the order of channels first, "plain" or "turned", as
        in `keras_graph`; columns_first: the same of outputs that become an image. None where the
        file doesn't tell.
    before: the names of the layers before it, with their places in what was joined; None where the
        file tells no graph.
    effects, scale, expression, pads: what the network does to its input since other layers, as in
        `effects` and `expression`, and the zeros around it; effects and pads are None where that
        isn't known.
    steps: stride and dilation.  same_stride: the stride of a layer with "same" padding.
    inputs: the names of the layers before it, as a configuration has them.
    foldable: whether nothing but the next layer sees what it gives.
    unlike: how it computes otherwise than minidl's layers do, in words.
    untold: what its arrays don't tell, in words.
    """

    name: str = ""
    renamed: bool = False
    guessed: bool = False
    placed: bool = False
    group: str | None = None
    separable: bool = False
    channels_first: bool | str | None = False
    columns_first: bool | str | None = False
    before: frozenset[tuple[str, int]] | None = None
    effects: Any = None
    scale: tuple[Any, Any] = (1.0, 0.0)
    expression: Expression = UNKNOWN
    pads: Pads | None = None
    steps: Mapping[str, Any] = field(default_factory=dict)
    same_stride: Any = None
    inputs: list[str] | None = None
    foldable: bool = False
    unlike: str | None = None
    untold: str | None = None
