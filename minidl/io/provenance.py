"""What stands where in a model's activations, seen from a network whose channels come first.

PyTorch flattens an image in the order (C, H, W), minidl in (H, W, C). A `Row` is a row of features
and a `Value` is any activation; both tell how the same numbers are ordered in the other network,
and which layers they come from. `tracker` follows them through the ops of one run.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from minidl.io import expression
from minidl.io.axes import Axes, image_axes
from minidl.io.expression import Expression

__all__ = [
    "IMAGE", "OTHER", "PLANES", "ROWS", "Order", "Owner", "Row", "Use", "Value", "is_plain",
    "reorder",
]  # fmt: skip

# A row of features in parts, each (channels, pixels): minidl's order is (pixels, channels), the
# other network's (channels, pixels). None where the order isn't known.
Order = tuple[tuple[int, int], ...] | None

Pads = tuple[int, int, int, int]  # top, bottom, left, right

IMAGE = "image"  # (N, H, W, C)
PLANES = "planes"  # (N, C, H, W), by a transpose in the model
ROWS = "rows"  # (N, F), or the same as (N, a, b, c) before it is known what that is
OTHER = "other"


def is_plain(order: Order) -> bool:
    """Whether a row has the same order in both networks."""
    return order is not None and all(1 in part for part in order)


def reorder(array: np.ndarray, order: Order, channels_first: bool) -> np.ndarray:
    """An array (features, ...) in the other order of its features.

    channels_first: that is the order it has, and minidl's the one it gets; or the other way.
    """
    if not order or is_plain(order) or len(array) != sum(c * p for c, p in order):
        return array
    parts, start = [], 0
    for channels, pixels in order:
        part = array[start : start + channels * pixels]
        split = (channels, pixels) if channels_first else (pixels, channels)
        # (C, H*W, ...) -> (H*W, C, ...), or back
        parts.append(part.reshape(*split, *part.shape[1:]).swapaxes(0, 1).reshape(part.shape))
        start += channels * pixels
    return np.concatenate(parts)


class Row:
    """Part of a row of features, whose order may be told later: by what takes it, for one.

    raw: it is an input whose shape was only guessed, so that it may be a flattened image.
    """

    def __init__(self, size: int, order: tuple[int, int] | None = None, raw: bool = False) -> None:
        self.size, self.raw = size, raw
        self._same: Row | None = None
        self._order: tuple[int, int] | None = order
        self._known = True

    def _root(self) -> "Row":
        return self if self._same is None else self._same._root()

    def settle(self, channels: int, pixels: int) -> None:
        """Tell its order; two that differ make it unknown."""
        root = self._root()
        order = (root.size, 1) if 1 in (channels, pixels) else (channels, pixels)
        if root._order is not None and root._order != order:
            root._known = False
        root._order = order

    def forget(self) -> None:
        """Its order can't be known."""
        self._root()._known = False

    def unite(self, other: "Row") -> None:
        """The same features as another row's, one by one."""
        one, two = self._root(), other._root()
        if one is two:
            return
        two._same = one
        one._known = one._known and two._known
        if two._order is not None:
            one.settle(*two._order)

    @property
    def open(self) -> bool:
        """Whether nothing has told its order yet."""
        root = self._root()
        return root._known and root._order is None

    @property
    def order(self) -> Order:
        root = self._root()
        if not root._known:
            return None
        return (root._order or (root.size, 1),)


@dataclass(frozen=True)
class Value:
    """An activation. rows: of ROWS.  doubtful: of IMAGE and OTHER: its last axis may be another in
    the other network.  exact: of OTHER, flattening it gives the same order there.
    sources: the layers with weights that it comes from, each with its place in what was joined.
    lanes: how many places there are.
    axes: of OTHER, what of an image its axes are made of, if that is known.  mixed: channels and
        pixels of an image were put in one axis, and their order in the other network isn't known.
    effects: what was done to it since those layers, as in `effects`; expression: the same, in the
    order it was done.  scale: (a, b), if it is an
        input, of which it is a * x + b.  pads: zeros around an image since layers or pooling.
    """

    kind: str
    rows: tuple[Row, ...] = ()
    doubtful: bool = False
    exact: bool = False
    axes: Axes | None = None
    mixed: bool = False
    effects: frozenset[str] = frozenset()
    scale: tuple[float, float] = (1.0, 0.0)
    pads: Pads | None = (0, 0, 0, 0)
    sources: frozenset[tuple[str, int]] = frozenset()
    lanes: int = 1
    expression: Expression = expression.UNKNOWN

    def after(self, done: frozenset[str]) -> "Value":
        """What it is when that was done to it, besides what changes its other properties."""
        made = self.expression
        for op in done:
            made = expression.applied(op, made, padded=self.pads is None or any(self.pads))
        return replace(self, effects=self.effects | done, expression=made)

    @property
    def order(self) -> Order:
        """Of ROWS, as far as it is known by now."""
        orders = [row.order for row in self.rows]
        return None if None in orders else tuple(part for o in orders for part in o or ())

    def axes_of(self, shape: Sequence[int]) -> Axes | None:
        """What of an image its axes are made of."""
        if self.kind == IMAGE and len(shape) == 4 and not self.mixed:
            return image_axes(shape)
        return image_axes(shape, "nchw") if self.kind == PLANES and len(shape) == 4 else self.axes


Owner = tuple[tuple[str, str], tuple[int, ...], bool]


@dataclass(frozen=True)
class Use:
    """An op that took an array of a module's own and activations.

    position: of the array among the op's.  shape: the array's.  plain: it is the array itself, or
    was made of it number by number.  value: the first of the activations.
    """

    op: str
    position: int
    shape: tuple[int, ...]
    plain: bool
    value: Value
    output: Value
    output_shape: tuple[int, ...]
