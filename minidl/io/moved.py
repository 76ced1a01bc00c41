"""How ops of a model order what they give, seen from a network whose channels come first."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from minidl.io.axes import Axes, blended, image_axes, is_image, plain_features, reshaped
from minidl.io.provenance import IMAGE, OTHER, PLANES, ROWS, Row, Value, is_plain
from minidl.ops.indexing import is_basic

__all__ = [
    "MIXING", "MOVING", "ORDERS", "REDUCTIONS", "as_image", "core", "cut", "elementwise",
    "fitting", "flattened", "from_all", "joined", "mixed", "rearranged", "reduced", "regrouped",
    "taken_plain", "transposed", "unknown",
]  # fmt: skip

REDUCTIONS = {"sum", "mean", "max", "min", "logsumexp", "var", "sum_to"}
ORDERS = {"argsort", "cumsum"}  # whose outputs depend on the order of their inputs
MIXING = {  # whose outputs are other features than their inputs
    "matmul", "linear", "embedding", "scatter_add", "rnn", "lstm", "gru",
}  # fmt: skip


MOVING = {"reshape", "transpose", "getitem", "concatenate", "softmax", "log_softmax", "pad"}


def core(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without the axes of length 1 that it begins with."""
    return shape[next((i for i, n in enumerate(shape) if n != 1), len(shape)) :]


def rearranged(value: Value, axes: Axes | None, x: Any, output: Any) -> Value:
    """An image whose axes were split, joined or put in another order.

    (N, H, W, C) -> (N, H * W, C) is PyTorch's flatten(2).transpose(1, 2).
    """
    if axes is None:
        return Value(OTHER, doubtful=True, mixed=True)
    if len(axes) == 4 and axes == image_axes(output.shape, "nchw"):
        return replace(value, kind=PLANES, axes=None)
    if is_image(axes):
        return replace(value, kind=IMAGE, axes=None)
    plain = plain_features(axes)
    return Value(OTHER, doubtful=value.doubtful or not plain, axes=axes)


def unknown(output: Any) -> Value:
    """Of whatever can't be followed."""
    if output.ndim == 2:
        row = Row(output.shape[1])
        row.forget()
        return Value(ROWS, (row,))
    return Value(IMAGE if output.ndim == 4 else OTHER, doubtful=True)


def fitting(made: Value, output: Any) -> Value:
    """Without its axes, where they are of another length now."""
    axes = made.axes
    if axes is None or tuple(math.prod(p[2] for p in axis) for axis in axes) == output.shape:
        return made
    return replace(made, axes=None, mixed=made.mixed or blended(axes))


def taken_plain(value: Value) -> bool:
    """Whether its rows have the same order in both networks, as what takes them needs it."""
    for row in value.rows:
        if row.open:
            row.settle(row.size, 1)
    return is_plain(value.order)


def _plain_row(size: int) -> Value:
    return Value(ROWS, (Row(size, (size, 1)),))


def regrouped(x: Any, value: Value, output: Any) -> Value:
    """Steps of sequences as rows of a batch, (N, T, C) -> (N * T, C), or the other way."""
    same = output.ndim > 1 and x.ndim > 1 and output.shape[-1] == x.shape[-1]
    plain = taken_plain(value) if value.kind == ROWS else not value.doubtful
    if not (same and plain):
        return unknown(output)
    return _plain_row(x.shape[-1]) if output.ndim == 2 else Value(OTHER, exact=True)


def flattened(x: Any, value: Value) -> tuple[Row, ...]:
    """The row that a flattened activation is."""
    size = x[0].size
    row = Row(size)
    if value.kind == IMAGE and not value.doubtful:
        row.settle(x.shape[-1], size // max(1, x.shape[-1]))
    elif value.kind == PLANES or value.exact or (value.kind == IMAGE and size == x.shape[-1]):
        row.settle(size, 1)
    elif (axes := value.axes) is not None and not value.doubtful:
        _settle_by(row, axes, size)
    else:
        row.forget()
    return (row,)


def _settle_by(row: Row, axes: Axes, size: int) -> None:
    """Tell the order of a row that is made of the parts of an image."""
    flat = reshaped(axes[1:], (size,))
    names = [name for name, _, _ in flat[0]] if flat else ["?"]
    channels = math.prod(size for name, _, size in flat[0] if name == "c") if flat else 0
    if names == sorted(names, key=lambda name: name != "c"):
        row.settle(size, 1)
    elif names == sorted(names, key=lambda name: name == "c"):
        row.settle(channels, size // channels)
    else:
        row.forget()


def as_image(value: Value, shape: tuple[int, ...]) -> Value:
    """A row that is taken as an image (N, H, W, C), which now is known to be one."""
    if value.kind != ROWS:
        return value
    if len(value.rows) == 1:
        value.rows[0].settle(shape[3], shape[1] * shape[2])
    elif 1 not in (shape[1] * shape[2], shape[3]):
        for row in value.rows:
            row.forget()
    elif not taken_plain(value):
        return replace(value, kind=IMAGE, rows=(), doubtful=True)
    return replace(value, kind=IMAGE, rows=())


def transposed(x: Any, value: Value, output: Any, axes: Any) -> Value:
    order = tuple(a % x.ndim for a in axes) if axes is not None else tuple(range(x.ndim))[::-1]
    if order == tuple(range(x.ndim)):
        return value
    if (parts := value.axes_of(x.shape)) is not None and output.ndim != 2:
        return rearranged(value, tuple(parts[axis] for axis in order), x, output)
    if x.ndim == 4 and value.kind == ROWS and order == (0, 2, 3, 1):  # a row that was (C, H, W)
        plain = taken_plain(value)
        return Value(IMAGE, doubtful=not plain, mixed=not plain)
    if value.kind == ROWS:
        exact = taken_plain(value) and x.ndim == 2
        return Value(OTHER, doubtful=not exact, exact=exact)
    same = value.kind == OTHER and value.exact
    return Value(OTHER, doubtful=not same, exact=same, mixed=value.mixed)


def joined(known: list[tuple[Any, Value]], axis: int, output: Any, arrays: Sequence[Any]) -> Value:
    """The values one after the other; their sources, too."""
    sources: set[tuple[str, int]] = set()
    lanes = 0
    for _, value in known:
        sources |= {(name, lane + lanes) for name, lane in value.sources}
        lanes += value.lanes
    kinds = {value.kind for _, value in known}
    last = axis % output.ndim == output.ndim - 1
    if len(arrays) != len(known) and (last or ROWS in kinds) and kinds != {IMAGE}:
        made = unknown(output)
    elif kinds == {ROWS} and output.ndim == 2 and last:
        made = Value(ROWS, tuple(row for _, value in known for row in value.rows))
    elif output.ndim == 4 and kinds <= {IMAGE, ROWS}:
        images = [as_image(value, x.shape) for x, value in known]
        doubtful = any(v.doubtful for v in images)
        made = Value(IMAGE, doubtful=doubtful, mixed=any(v.mixed for v in images))
    else:
        exact = all(v.exact or (v.kind == ROWS and taken_plain(v)) for _, v in known)
        made = Value(OTHER, doubtful=any(v.doubtful for _, v in known), exact=exact)
        made = made if output.ndim != 2 else unknown(output)
    return replace(made, sources=frozenset(sources), lanes=lanes)


def cut(x: Any, value: Value, output: Any, key: Any) -> Value:
    parts = key if isinstance(key, tuple) else (key,)
    backwards = any(isinstance(part, slice) and (part.step or 1) < 0 for part in parts)
    anew = backwards or not is_basic(key)  # elements in another order
    if anew and (value.kind != IMAGE or output.ndim != 4):  # of pixels it is the same one there
        return unknown(output)
    if output.shape == x.shape:
        return value
    if value.kind != ROWS:
        if output.ndim == x.ndim:
            return value
        plain = (value.kind == OTHER and not value.doubtful) or value.exact
        if output.ndim == 2 and plain and output.shape[1] == x.shape[-1]:
            return _plain_row(output.shape[1])
        return unknown(output) if output.ndim == 2 else Value(OTHER, doubtful=True)
    if x.ndim == output.ndim == 2 and isinstance(key, tuple) and len(key) == 2:
        start, stop, step = key[1].indices(x.shape[1]) if isinstance(key[1], slice) else (0, 0, 0)
        ends = np.cumsum([0, *(row.size for row in value.rows)]).tolist()
        if step == 1 and start in ends and stop in ends:
            return Value(ROWS, value.rows[ends.index(start) : ends.index(stop)])
    plain = taken_plain(value)
    if output.ndim == 2:
        return _plain_row(output.shape[1]) if plain else unknown(output)
    return Value(OTHER, exact=plain, doubtful=not plain)


def reduced(x: Any, value: Value, output: Any) -> Value:
    if value.kind == ROWS:
        if output.size > len(x) and not taken_plain(value):
            return unknown(output)
        return _plain_row(output.shape[1]) if output.ndim == 2 else Value(OTHER, exact=True)
    if output.ndim == x.ndim:  # keepdims
        return value
    if output.ndim == 2:
        plain = value.exact or not value.doubtful
        return _plain_row(output.shape[1]) if plain else unknown(output)
    if value.kind == IMAGE and output.shape == x.shape[:3]:
        return Value(OTHER, exact=True)
    return Value(OTHER, doubtful=True, exact=value.exact)


def mixed(value: Value, output: Any) -> Value:
    if output.ndim == 2:
        return Value(ROWS, (Row(output.shape[1]),))
    return Value(OTHER, exact=value.kind != IMAGE and not value.doubtful, doubtful=value.doubtful)


def elementwise(known: list[tuple[Any, Value]], output: Any) -> Value:
    """An op that keeps every number in its place, or works on images."""
    largest = max(x.ndim for x, _ in known)
    same = [(x, v) for x, v in known if x.ndim == output.ndim == largest]
    rows = [v for x, v in same if v.kind == ROWS and x.shape == output.shape]
    if output.ndim == 4:
        if len(rows) == len(same) == len(known) and len({v.rows for v in rows}) == 1:
            return rows[0]
        whole = [v for x, v in known if x.shape == output.shape]  # beside means and the like
        if whole and all(v.axes is not None and v.axes == whole[0].axes for v in whole):
            return whole[0]
        images = [as_image(v, x.shape) for x, v in known if x.ndim == 4]
        kind = PLANES if any(v.kind == PLANES for v in images) else IMAGE
        mixed = kind == PLANES and any(v.kind != PLANES for v in images)
        doubtful = mixed or not images or any(v.doubtful for v in images)
        return Value(
            kind, doubtful=doubtful, mixed=any(v.mixed or blended(v.axes or ()) for v in images)
        )
    if output.ndim == 2 and rows:
        for other in rows[1:]:
            _unite(rows[0], other)
        return rows[0]
    for _, value in known:
        taken_plain(value)
    if not same or any(x.shape != output.shape for x, v in same[:1]):
        return unknown(output)
    first = next((v for x, v in same if x.shape == output.shape), same[0][1])
    doubtful = any(v.doubtful for _, v in same)
    return replace(first, doubtful=doubtful, exact=all(v.exact for _, v in same), rows=())


def _unite(one: Value, two: Value) -> None:
    if [row.size for row in one.rows] == [row.size for row in two.rows]:
        for a, b in zip(one.rows, two.rows, strict=True):
            a.unite(b)
    elif not (taken_plain(one) and taken_plain(two)):
        for row in (*one.rows, *two.rows):
            row.forget()


def from_all(made: Value, values: list[Value]) -> Value:
    """With the sources of all, which were added or the like."""
    sources = frozenset().union(*(value.sources for value in values))
    done = frozenset().union(*(value.effects for value in values))
    lanes = max(value.lanes for value in values)
    return replace(made, sources=sources, lanes=lanes, effects=done)
