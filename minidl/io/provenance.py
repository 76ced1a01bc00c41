"""What stands where in a model's activations, seen from a network whose channels come first.

PyTorch flattens an image in the order (C, H, W), minidl in (H, W, C). A `Row` is a row of features
and a `Value` is any activation; both tell how the same numbers are ordered in the other network,
and which layers they come from. `Tracker` follows the ops of one run.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

__all__ = ["IMAGE", "OTHER", "PLANES", "ROWS", "Order", "Row", "Tracker", "Value", "is_plain"]

# A row of features in parts, each (channels, pixels): minidl's order is (pixels, channels), the
# other network's (channels, pixels). None where the order isn't known.
Order = tuple[tuple[int, int], ...] | None

IMAGE = "image"  # (N, H, W, C)
PLANES = "planes"  # (N, C, H, W), by a transpose in the model
ROWS = "rows"  # (N, F), or the same as (N, a, b, c) before it is known what that is
OTHER = "other"


def is_plain(order: Order) -> bool:
    """Whether a row has the same order in both networks."""
    return order is not None and all(1 in part for part in order)


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
    """

    kind: str
    rows: tuple[Row, ...] = ()
    doubtful: bool = False
    exact: bool = False
    sources: frozenset[tuple[str, int]] = frozenset()
    lanes: int = 1

    @property
    def order(self) -> Order:
        """Of ROWS, as far as it is known by now."""
        orders = [row.order for row in self.rows]
        return None if None in orders else tuple(part for o in orders for part in o or ())


@dataclass
class Tracker:
    """Follows the arrays of one run of a model.

    users: by the id of an array of a layer's own, for layers that minidl doesn't know: who it is.
    seen: (layer, value) for each of those that worked on a row.
    """

    values: dict[int, Value] = field(default_factory=dict)
    users: dict[int, str] = field(default_factory=dict)
    seen: list[tuple[str, Value]] = field(default_factory=list)
    alive: list[Any] = field(default_factory=list)  # as long as ids are compared
    batch: int = 1
    broken: str = ""  # why nothing more is known

    def put(self, array: np.ndarray, value: Value) -> None:
        self.values[id(array)] = value
        self.alive.append(array)

    def get(self, array: Any) -> Value | None:
        return self.values.get(id(array))

    def op(self, op: Any, arrays: Sequence[Any], settings: Any, output: np.ndarray) -> None:
        """What `register_op_hook` calls."""
        known = [(a, v) for a in arrays if (v := self.get(a)) is not None]
        for array in arrays:
            if (user := self.users.get(id(array))) is not None:
                self.seen += [(user, v) for a, v in known if np.ndim(array)]
                if not known:
                    self.users[id(output)] = user  # a weight made of weights
                    self.alive.append(output)
        if known and id(output) not in {id(a) for a, _ in known}:
            self.put(output, self._result(op.name, known, settings, output, len(arrays)))

    def end(self, output: np.ndarray) -> None:
        """An output of the model. A row that it shows as (N, a, b, c) may be an image or not, such
        as YOLO's (N, S, S, scores), and no layer tells."""
        value = self.get(output)
        if value is None or value.kind != ROWS or output.ndim != 4:
            return
        if 1 not in (output.shape[1] * output.shape[2], output.shape[3]):
            for row in value.rows:
                if row.open:
                    row.forget()

    def _result(
        self, name: str, known: list[tuple[Any, Value]], settings: Any, output: Any, count: int
    ) -> Value:
        x, value = known[0]
        if name == "reshape":
            made = self._reshaped(x, value, output)
        elif name == "transpose":
            made = _transposed(x, value, output, settings.get("axes"))
        elif name == "join":
            return _joined(known, settings["axis"], output, count)
        elif name == "getitem":
            made = _cut(x, value, output, settings["key"])
        elif name in REDUCTIONS:
            made = _reduced(x, value, output)
        elif name in MIXING:
            made = _mixed(value, output)
        else:
            made = _elementwise(known, output)
        return _from_all(made, [v for _, v in known])

    def _reshaped(self, x: Any, value: Value, output: Any) -> Value:
        if x.ndim and (not output.ndim or output.shape[0] != x.shape[0]):
            if value.kind != OTHER and output.ndim > 1:
                self.broken = f"a reshape from {x.shape} to {output.shape} changes the batch"
            return _regrouped(x, value, output)
        if value.kind == ROWS:
            for row in value.rows if output.ndim == 2 else ():
                if row.raw:
                    row.forget()
            if output.ndim in (2, 4):
                return value
            plain = _taken_plain(value)
            return Value(OTHER, exact=plain, doubtful=not plain)
        if output.ndim == 2:
            return Value(ROWS, _flattened(x, value))
        if output.ndim == 4 and value.kind == IMAGE and output.shape == x.shape:
            return value
        # (N, H, W, C) -> (N, H * W, C), as PyTorch's flatten(2).transpose(1, 2)
        pure = value.kind == IMAGE and not value.doubtful and output.shape[-1] == x.shape[-1]
        if value.kind == OTHER and value.exact:
            return Value(OTHER, exact=True)
        return Value(OTHER, doubtful=not pure)


REDUCTIONS = {"sum", "mean", "max", "min", "logsumexp", "var", "sum_to"}
MIXING = {  # whose outputs are other features than their inputs
    "matrix_product", "matmul", "linear", "linear_activation", "embedding", "scatter_add",
    "rnn", "lstm", "gru",
}  # fmt: skip


def _unknown(output: Any) -> Value:
    """Of whatever can't be followed."""
    if output.ndim == 2:
        row = Row(output.shape[1])
        row.forget()
        return Value(ROWS, (row,))
    return Value(IMAGE if output.ndim == 4 else OTHER, doubtful=True)


def _taken_plain(value: Value) -> bool:
    """Whether its rows have the same order in both networks, as what takes them needs it."""
    for row in value.rows:
        if row.open:
            row.settle(row.size, 1)
    return is_plain(value.order)


def _plain_row(size: int) -> Value:
    return Value(ROWS, (Row(size, (size, 1)),))


def _regrouped(x: Any, value: Value, output: Any) -> Value:
    """Steps of sequences as rows of a batch, (N, T, C) -> (N * T, C), or the other way."""
    same = output.ndim > 1 and x.ndim > 1 and output.shape[-1] == x.shape[-1]
    plain = _taken_plain(value) if value.kind == ROWS else not value.doubtful
    if not (same and plain):
        return _unknown(output)
    return _plain_row(x.shape[-1]) if output.ndim == 2 else Value(OTHER, exact=True)


def _flattened(x: Any, value: Value) -> tuple[Row, ...]:
    """The row that a flattened activation is."""
    size = x[0].size
    row = Row(size)
    if value.kind == IMAGE and not value.doubtful:
        row.settle(x.shape[-1], size // max(1, x.shape[-1]))
    elif value.kind == PLANES or value.exact or (value.kind == IMAGE and size == x.shape[-1]):
        row.settle(size, 1)
    else:
        row.forget()
    return (row,)


def as_image(value: Value, shape: tuple[int, ...]) -> Value:
    """A row that is taken as an image (N, H, W, C), which now is known to be one."""
    if value.kind != ROWS:
        return value
    if len(value.rows) == 1:
        value.rows[0].settle(shape[3], shape[1] * shape[2])
    elif 1 not in (shape[1] * shape[2], shape[3]):
        for row in value.rows:
            row.forget()
    elif not _taken_plain(value):
        return replace(value, kind=IMAGE, rows=(), doubtful=True)
    return replace(value, kind=IMAGE, rows=())


def _transposed(x: Any, value: Value, output: Any, axes: Any) -> Value:
    axes = tuple(a % x.ndim for a in axes) if axes is not None else tuple(range(x.ndim))[::-1]
    if axes == tuple(range(x.ndim)):
        return value
    if x.ndim == 4 and value.kind == IMAGE and axes == (0, 3, 1, 2):
        return replace(value, kind=PLANES)
    if x.ndim == 4 and value.kind == PLANES and axes == (0, 2, 3, 1):
        return replace(value, kind=IMAGE)
    if x.ndim == 4 and value.kind == ROWS and axes == (0, 2, 3, 1):  # a row that was (C, H, W)
        return Value(IMAGE, doubtful=not _taken_plain(value))
    if value.kind == ROWS:
        exact = _taken_plain(value) and x.ndim == 2
        return Value(OTHER, doubtful=not exact, exact=exact)
    same = value.kind == OTHER and value.exact
    pure = value.kind == IMAGE and not value.doubtful and axes[-1] == x.ndim - 1
    return Value(OTHER, doubtful=not (same or pure), exact=same)


def _joined(known: list[tuple[Any, Value]], axis: int, output: Any, count: int) -> Value:
    """The values one after the other; their sources, too."""
    sources: set[tuple[str, int]] = set()
    lanes = 0
    for _, value in known:
        sources |= {(name, lane + lanes) for name, lane in value.sources}
        lanes += value.lanes
    kinds = {value.kind for _, value in known}
    last = axis % output.ndim == output.ndim - 1
    if count != len(known):
        made = _unknown(output)
    elif kinds == {ROWS} and output.ndim == 2 and last:
        made = Value(ROWS, tuple(row for _, value in known for row in value.rows))
    elif output.ndim == 4 and kinds <= {IMAGE, ROWS}:
        images = [as_image(value, x.shape) for x, value in known]
        made = Value(IMAGE, doubtful=any(v.doubtful for v in images))
    else:
        exact = all(v.exact or (v.kind == ROWS and _taken_plain(v)) for _, v in known)
        made = Value(OTHER, doubtful=any(v.doubtful for _, v in known), exact=exact)
        made = made if output.ndim != 2 else _unknown(output)
    return replace(made, sources=frozenset(sources), lanes=lanes)


def _cut(x: Any, value: Value, output: Any, key: Any) -> Value:
    if output.shape == x.shape:
        return value
    if value.kind != ROWS:
        if output.ndim == x.ndim:
            return value
        plain = (value.kind == OTHER and not value.doubtful) or value.exact
        if output.ndim == 2 and plain and output.shape[1] == x.shape[-1]:
            return _plain_row(output.shape[1])
        return _unknown(output) if output.ndim == 2 else Value(OTHER, doubtful=True)
    if x.ndim == output.ndim == 2 and isinstance(key, tuple) and len(key) == 2:
        start, stop, step = key[1].indices(x.shape[1]) if isinstance(key[1], slice) else (0, 0, 0)
        ends = np.cumsum([0, *(row.size for row in value.rows)]).tolist()
        if step == 1 and start in ends and stop in ends:
            return Value(ROWS, value.rows[ends.index(start) : ends.index(stop)])
    plain = _taken_plain(value)
    if output.ndim == 2:
        return _plain_row(output.shape[1]) if plain else _unknown(output)
    return Value(OTHER, exact=plain, doubtful=not plain)


def _reduced(x: Any, value: Value, output: Any) -> Value:
    if value.kind == ROWS:
        if output.size > len(x) and not _taken_plain(value):
            return _unknown(output)
        return _plain_row(output.shape[1]) if output.ndim == 2 else Value(OTHER, exact=True)
    if output.ndim == x.ndim:  # keepdims
        return value
    if output.ndim == 2:
        plain = value.exact or not value.doubtful
        return _plain_row(output.shape[1]) if plain else _unknown(output)
    if value.kind == IMAGE and output.shape == x.shape[:3]:
        return Value(OTHER, exact=True)
    return Value(OTHER, doubtful=True, exact=value.exact)


def _mixed(value: Value, output: Any) -> Value:
    if output.ndim == 2:
        return Value(ROWS, (Row(output.shape[1]),))
    return Value(OTHER, exact=value.kind != IMAGE and not value.doubtful, doubtful=value.doubtful)


def _elementwise(known: list[tuple[Any, Value]], output: Any) -> Value:
    """An op that keeps every number in its place, or works on images."""
    largest = max(x.ndim for x, _ in known)
    same = [(x, v) for x, v in known if x.ndim == output.ndim == largest]
    rows = [v for x, v in same if v.kind == ROWS and x.shape == output.shape]
    if output.ndim == 4:
        if len(rows) == len(same) == len(known) and len({v.rows for v in rows}) == 1:
            return rows[0]
        images = [as_image(v, x.shape) for x, v in known if x.ndim == 4]
        kind = PLANES if any(v.kind == PLANES for v in images) else IMAGE
        mixed = kind == PLANES and any(v.kind != PLANES for v in images)
        return Value(kind, doubtful=mixed or not images or any(v.doubtful for v in images))
    if output.ndim == 2 and rows:
        for other in rows[1:]:
            _unite(rows[0], other)
        return rows[0]
    for _, value in known:
        _taken_plain(value)
    if not same or any(x.shape != output.shape for x, v in same[:1]):
        return _unknown(output)
    first = next((v for x, v in same if x.shape == output.shape), same[0][1])
    doubtful = any(v.doubtful for _, v in same)
    return replace(first, doubtful=doubtful, exact=all(v.exact for _, v in same), rows=())


def _unite(one: Value, two: Value) -> None:
    if [row.size for row in one.rows] == [row.size for row in two.rows]:
        for a, b in zip(one.rows, two.rows, strict=True):
            a.unite(b)
    elif not (_taken_plain(one) and _taken_plain(two)):
        for row in (*one.rows, *two.rows):
            row.forget()


def _from_all(made: Value, values: list[Value]) -> Value:
    """With the sources of all, which were added or the like."""
    sources = frozenset().union(*(value.sources for value in values))
    return replace(made, sources=sources, lanes=max(value.lanes for value in values))
