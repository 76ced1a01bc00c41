"""Ops along one axis: cumulative sums, sorting, and gathering elements by index."""

from typing import Any, NamedTuple

import numpy as np

from minidl.autograd.op import check_arrays, composite
from minidl.autograd.primitive import primitive
from minidl.autograd.samples import Draw, ErrorInput, sample
from minidl.autograd.tensor import Tensor
from minidl.checks import flag
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.ops.checks import one_axis
from minidl.ops.indexing import getitem
from minidl.recording import step

__all__ = ["Sorted", "argmax", "argmin", "argsort", "cumsum", "gather", "sort"]


def _size(output: Any, x: np.ndarray, **settings: Any) -> int:
    return x.size


@primitive(flops=_size, oracle=lambda torch, x, axis: torch.cumsum(x, axis), any_dtype=True)
def cumsum(x, *, axis):
    """Return the cumulative sum along `axis`.

    The result has the shape of x. Raises ShapeError for an axis that x doesn't have, ArgumentError
    for none or several.
    """
    axis = one_axis("cumsum", axis, x.shape)
    wide = np.float64 if x.dtype.kind == "f" else None  # long sums of float32 lose digits
    sums = np.cumsum(x, axis, dtype=wide)
    return sums.astype(x.dtype, copy=False) if wide else sums


@cumsum.vjp("x")
def _(g, axis):
    backwards = (*(slice(None),) * (axis % g.ndim), slice(None, None, -1))
    return getitem(cumsum(getitem(g, key=backwards), axis=axis), key=backwards)


@primitive(
    flops=_size,
    oracle=lambda torch, x, axis=-1, descending=False: torch.argsort(
        x, stable=True, dim=axis, descending=descending
    ),
    any_dtype=True,
)
def argsort(x, *, axis=-1, descending=False):
    """Return the indices that sort x along `axis`, stably; NaNs are the largest.

    Raises ShapeError for an axis that x doesn't have, ArgumentError for several axes.
    """
    axis = one_axis("argsort", axis, x.shape)
    if not flag("argsort", "descending", descending):
        return np.argsort(x, axis, kind="stable")
    return np.flip(x.shape[axis] - 1 - np.argsort(np.flip(x, axis), axis, kind="stable"), axis)


class Sorted(NamedTuple):
    """What `sort` returns."""

    values: Any
    indices: Any


@composite(
    oracle=lambda torch, x, axis=-1, descending=False: tuple(
        torch.sort(x, stable=True, dim=axis, descending=descending)
    )
)
def sort(x, axis=-1, descending=False):
    """Return x sorted along `axis` and the indices that sort it, as `(values, indices)`.

    Both are of the shape of x. Raises ShapeError for an axis that x doesn't have, ArgumentError for
    several axes.
    """
    indices = argsort(x, axis=axis, descending=descending)
    return Sorted(gather(x, axis, indices), indices)


def _extreme_place(who: str, find: Any, x: np.ndarray, axis: Any, keepdims: bool) -> np.ndarray:
    if x.size == 0:
        raise ShapeError(f"{who} over no elements: got shape {x.shape}")
    if axis is not None:
        axis = one_axis(who, axis, x.shape)
    return np.asarray(find(x, axis, keepdims=flag(who, "keepdims", keepdims)))


@primitive(
    flops=_size,
    oracle=lambda torch, x, axis=None, keepdims=False: torch.argmax(x, axis, keepdims),
    any_dtype=True,
)
def argmax(x, *, axis=None, keepdims=False):
    """Return the index of the first largest along `axis`, or in flattened x; no gradient.

    The result is of int64 and lacks the axis, or with keepdims has it with length 1.
    Raises ShapeError for an axis that x doesn't have and for no elements, ArgumentError for several
    axes.
    """
    return _extreme_place("argmax", np.argmax, x, axis, keepdims)


@primitive(
    flops=_size,
    oracle=lambda torch, x, axis=None, keepdims=False: torch.argmin(x, axis, keepdims),
    any_dtype=True,
)
def argmin(x, *, axis=None, keepdims=False):
    """Return the index of the first smallest along `axis`, or in flattened x; no gradient.

    The result is of int64 and lacks the axis, or with keepdims has it with length 1.
    Raises ShapeError for an axis that x doesn't have and for no elements, ArgumentError for several
    axes.
    """
    return _extreme_place("argmin", np.argmin, x, axis, keepdims)


@composite(
    oracle=lambda torch, x, axis, index: torch.gather(x, axis, torch.as_tensor(index)),
    labels=("index",),
)
def gather(x, axis, index):
    """Return the elements of x at the places along `axis` that `index` gives.

    index: integers, with as many axes as x, and no longer than x along the others.  Returns the
        shape
    of index: for axis=1, output[i, j] = x[i, index[i, j]].
    Raises ShapeError for an index of another shape, DTypeError for one that isn't of integers,
    ArgumentError for one out of range.
    """
    check_arrays("gather", x=x, index=index)
    axis = one_axis("gather", axis, x.shape)
    places = index.data if isinstance(index, Tensor) else index
    if places.dtype.kind not in "iu":
        raise DTypeError(f"gather expected integer indices, got {places.dtype}")
    others = [a for a in range(x.ndim) if a != axis]
    if places.ndim != x.ndim or any(places.shape[a] > x.shape[a] for a in others):
        raise ShapeError(
            f"gather along axis {axis} of shape {x.shape} expected an index of as many axes, no "
            f"longer along the others, got shape {places.shape}"
        )
    length = x.shape[axis]

    def check() -> None:
        if places.size and not 0 <= places.min() <= places.max() < length:
            wrong = places[(places < 0) | (places >= length)].flat[0]
            raise ArgumentError(f"gather expected indices from 0 to {length - 1}, got {wrong}")

    step(check)
    key: list[Any] = list(np.ogrid[tuple(slice(n) for n in places.shape)])
    key[axis] = places
    return getitem(x, key=tuple(key))


@cumsum.samples
def _(draw: Draw):
    yield sample(draw.normal(5), axis=0)
    yield sample(draw.normal(2, 3, 4), axis=1)
    yield sample(draw.normal(2, 3), axis=-1)
    yield sample(draw.normal(0, 3), axis=0)


@sort.samples
def _(draw: Draw):
    yield sample(draw.distinct(2, 5))
    yield sample(draw.distinct(4, 3), axis=0, descending=True)
    yield sample(draw.distinct(0, 3), axis=-2)


@argsort.samples
def _(draw: Draw):
    yield sample(draw.distinct(2, 5))
    yield sample(draw.integers(3, 2, 9).astype(draw.dtype), axis=1)
    yield sample(draw.integers(3, 9, 2).astype(draw.dtype), axis=0, descending=True)


@argmax.samples
@argmin.samples
def _(draw: Draw):
    yield sample(draw.distinct(3, 4))
    yield sample(draw.distinct(2, 3, 4), axis=-2)
    yield sample(draw.integers(3, 2, 9).astype(draw.dtype), axis=1, keepdims=True)


@gather.samples
def _(draw: Draw):
    yield sample(draw.normal(3, 4), 1, draw.integers(4, 3, 6))
    yield sample(draw.normal(3, 4), 0, draw.integers(3, 2, 3))
    yield sample(draw.normal(5), -1, draw.integers(5, 0))


@cumsum.errors
def _(draw: Draw):
    yield ErrorInput(sample(draw.normal(2, 3), axis=2), ShapeError, r"axis 2 .* shape \(2, 3\)")
    yield ErrorInput(sample(draw.normal(2, 3), axis=None), ArgumentError, "a whole number")


@argsort.errors
@sort.errors
def _(draw: Draw):
    yield ErrorInput(sample(draw.normal(2, 3), axis=-3), ShapeError, "axis -3 doesn't exist")
    yield ErrorInput(sample(draw.normal(2, 3), axis=(0, 1)), ArgumentError, "a whole number")


@argmax.errors
@argmin.errors
def _(draw: Draw):
    yield ErrorInput(sample(draw.normal(2, 3), axis=2), ShapeError, "axis 2 doesn't exist")
    yield ErrorInput(sample(draw.normal(2, 3), axis=(0,)), ArgumentError, "a whole number")
    yield ErrorInput(sample(draw.normal(0, 3)), ShapeError, "over no elements")


@gather.errors
def _(draw: Draw):
    x = draw.normal(2, 3)
    yield ErrorInput(sample(x, 1, np.array([[3]])), ArgumentError, "from 0 to 2, got 3")
    yield ErrorInput(sample(x, 1, np.array([[-1]])), ArgumentError, "from 0 to 2, got -1")
    yield ErrorInput(sample(x, 0, np.array([0, 1])), ShapeError, "as many axes")
    yield ErrorInput(sample(x, 0, np.zeros((1, 4), int)), ShapeError, r"got shape \(1, 4\)")
    yield ErrorInput(sample(x, 1, np.array([[0.5]])), DTypeError, "got float64")
