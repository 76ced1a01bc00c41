"""Reductions over one axis, several or all, and broadcasting, which is their transpose."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl import kernels
from minidl.autograd.op import composite
from minidl.autograd.primitive import primitive
from minidl.autograd.samples import Draw, ErrorInput, sample
from minidl.autograd.tensor import Tensor
from minidl.checks import flag, lengths
from minidl.errors import ArgumentError, ShapeError
from minidl.ops.checks import check_float, reduced_axes
from minidl.ops.comparison import astype
from minidl.ops.elementwise import exp
from minidl.ops.shape import concatenate_forward, reshape, transpose

__all__ = [
    "all",
    "any",
    "broadcast_to",
    "logsumexp",
    "max",
    "mean",
    "min",
    "prod",
    "sum",
    "sum_to",
]


def count_of(who: str, axis: Any, shape: Sequence[int]) -> int:
    """Return how many elements are reduced to one. Raise ShapeError if there is none."""
    count = math.prod(shape[a] for a in reduced_axes(who, axis, shape))
    if count == 0:
        raise ShapeError(f"{who} over no elements: got shape {tuple(shape)} with axis {axis}")
    return count


def _spread(g: Any, shape: Sequence[int], axis: Any) -> Any:
    """Return a reduced `g`, its axes kept or not, with the reduced axes of length 1."""
    axes = reduced_axes("reduction", axis, shape)
    return g.reshape([1 if a in axes else n for a, n in enumerate(shape)])


def _input_size(output: np.ndarray, x: np.ndarray, **settings: Any) -> int:
    return x.size


@primitive(
    flops=_input_size,
    oracle=lambda torch, x, axis=None, keepdims=False: torch.sum(
        x, tuple(range(x.ndim)) if axis is None else axis, keepdims
    ),
    any_dtype=True,
)
def sum(x, *, axis=None, keepdims=False):
    """Return the sum over `axis`.

    axis: an axis of x, several, or None for all. The result has x's other axes and, with keepdims,
        the reduced ones with length 1.
    Raises ShapeError for an axis that x doesn't have, ArgumentError for one given twice.
    """
    return array_sum(x, reduced_axes("sum", axis, x.shape), flag("sum", "keepdims", keepdims))


def array_sum(
    x: np.ndarray, axes: tuple[int, ...], keepdims: bool = False, scale: float = 1.0
) -> np.ndarray:
    """Return the sum of an array over `axes`, ascending; for floats, times `scale`.

    Floats are added by a kernel that keeps the rounding error of long sums small.
    """
    shape = tuple(1 if a in axes else n for a, n in enumerate(x.shape))
    if x.dtype.kind != "f":
        total = np.sum(x, axis=axes, keepdims=True)
    else:
        total = x if axes else x * x.dtype.type(scale)
        for first, last in _runs(axes):  # from the last one on, which lies together in memory
            before, after = total.shape[:first], total.shape[last + 1 :]
            count = math.prod(total.shape[first : last + 1])
            rows = kernels.use("copy").contiguous(total)
            rows = rows.reshape(math.prod(before), count, math.prod(after))
            sums = kernels.use("reduce").sum_axis(rows, scale)  # (outer, inner)
            total = sums.reshape((*before, *(1,) * (last + 1 - first), *after))
            scale = 1.0
    kept = shape if keepdims else tuple(n for a, n in enumerate(shape) if a not in axes)
    return total.reshape(kept)


def _runs(axes: tuple[int, ...]) -> list[tuple[int, int]]:
    """Return the first and last of the axes that are adjacent, from the last run to the first."""
    runs: list[tuple[int, int]] = []
    for a in axes:
        if runs and runs[-1][1] == a - 1:
            runs[-1] = runs[-1][0], a
        else:
            runs.append((a, a))
    return runs[::-1]


@sum.vjp("x")
def _(g, x_shape, axis, keepdims):
    return broadcast_to(_spread(g, x_shape, axis), shape=x_shape)


@primitive(
    flops=_input_size,
    oracle=lambda torch, x, axis=None, keepdims=False: torch.mean(x, axis, keepdims),
)
def mean(x, *, axis=None, keepdims=False):
    """Return the arithmetic mean over `axis`.

    axis: an axis of x, several, or None for all. The result has x's other axes and, with keepdims,
        the reduced ones with length 1.
    Raises ShapeError for an axis that x doesn't have, ArgumentError for one given twice, DTypeError
    for integers. The mean of no elements is a ShapeError.
    """
    check_float("mean", x)
    keepdims = flag("mean", "keepdims", keepdims)
    share = 1.0 / count_of("mean", axis, x.shape)
    return array_sum(x, reduced_axes("mean", axis, x.shape), keepdims, share)


@mean.vjp("x")
def _(g, x_shape, axis):
    share = 1.0 / count_of("mean", axis, x_shape)
    if isinstance(g, Tensor):
        g = g * share
    else:
        flat = kernels.use("copy").contiguous(g).reshape(1, 1, -1)  # g may be one number, spread
        g = kernels.use("reduce").sum_axis(flat, share).reshape(g.shape)
    return broadcast_to(_spread(g, x_shape, axis), shape=x_shape)


def _torch_prod(torch: Any, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """torch.prod takes one axis."""
    for a in sorted((a % x.ndim for a in _several(axis, x.ndim)), reverse=True):
        x = torch.prod(x, a, keepdims)
    return x


def _several(axis: Any, ndim: int) -> Any:
    return range(ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)


@composite(oracle=_torch_prod)
def prod(x, axis=None, keepdims=False):
    """Return the product over `axis`; 1 for no elements.

    Its gradients are right also where elements are 0.
    axis: an axis of x, several, or None for all. The result has x's other axes and, with keepdims,
        the reduced ones with length 1.
    Raises ShapeError for an axis that x doesn't have, ArgumentError for one given twice.
    """
    axes, keepdims = reduced_axes("prod", axis, x.shape), flag("prod", "keepdims", keepdims)
    others = tuple(a for a in range(x.ndim) if a not in axes)
    kept = tuple(1 if a in axes else n for a, n in enumerate(x.shape))
    count = math.prod(x.shape[a] for a in axes)
    if x.dtype.kind in "iub" and x.dtype.itemsize < 8:
        x = astype(x, dtype=np.int64)
    total = transpose(x, axes=(*axes, *others)) if axes else x
    total = reshape(total, shape=(count, math.prod(x.shape[a] for a in others)))
    while count > 1:  # halves, one times the other
        half, odd = divmod(count, 2)
        rest = [total[2 * half :]] if odd else []
        total = concatenate_forward(total[:half] * total[half : 2 * half], *rest, axis=0)
        count = half + odd
    total = total if count else total.sum(axis=0) + 1
    shape = kept if keepdims else tuple(x.shape[a] for a in others)
    return reshape(total, shape=shape)


@primitive(
    flops=_input_size,
    oracle=lambda torch, x, axis=None, keepdims=False: (
        torch.all(x) if axis is None else torch.all(x, axis, keepdims)
    ),
    any_dtype=True,
)
def all(x, *, axis=None, keepdims=False):
    """Return whether all elements over `axis` are true, or not 0, as booleans.

    axis: an axis of x, several, or None for all. The result has x's other axes and, with keepdims,
        the reduced ones with length 1.
    Raises ShapeError for an axis that x doesn't have, ArgumentError for one given twice.
    """
    axes, keepdims = reduced_axes("all", axis, x.shape), flag("all", "keepdims", keepdims)
    return np.all(x, axis=axes, keepdims=keepdims)


@primitive(
    flops=_input_size,
    oracle=lambda torch, x, axis=None, keepdims=False: (
        torch.any(x) if axis is None else torch.any(x, axis, keepdims)
    ),
    any_dtype=True,
)
def any(x, *, axis=None, keepdims=False):
    """Return whether any element over `axis` is true, or not 0, as booleans.

    axis: an axis of x, several, or None for all. The result has x's other axes and, with keepdims,
        the reduced ones with length 1.
    Raises ShapeError for an axis that x doesn't have, ArgumentError for one given twice.
    """
    axes, keepdims = reduced_axes("any", axis, x.shape), flag("any", "keepdims", keepdims)
    return np.any(x, axis=axes, keepdims=keepdims)


@primitive(
    flops=_input_size,
    oracle=lambda torch, x, axis=None, keepdims=False: (
        torch.amax(x, axis or (), keepdims) if axis is None else torch.amax(x, axis, keepdims)
    ),
    any_dtype=True,
    named=True,
)
def max(x, *, axis=None, keepdims=False):
    """Return the largest element over `axis`; equal ones share the gradient.

    axis: an axis of x, several, or None for all. The result has x's other axes and, with keepdims,
        the reduced ones with length 1.
    Raises ShapeError for an axis that x doesn't have, ArgumentError for one given twice.
    The maximum of no elements is a ShapeError.
    """
    count_of("max", axis, x.shape)
    keepdims = flag("max", "keepdims", keepdims)
    return np.max(x, axis=reduced_axes("max", axis, x.shape), keepdims=keepdims)


@primitive(
    flops=_input_size,
    oracle=lambda torch, x, axis=None, keepdims=False: (
        torch.amin(x, axis or (), keepdims) if axis is None else torch.amin(x, axis, keepdims)
    ),
    any_dtype=True,
    named=True,
)
def min(x, *, axis=None, keepdims=False):
    """Return the smallest element over `axis`; equal ones share the gradient.

    axis: an axis of x, several, or None for all. The result has x's other axes and, with keepdims,
        the reduced ones with length 1.
    Raises ShapeError for an axis that x doesn't have, ArgumentError for one given twice.
    The minimum of no elements is a ShapeError.
    """
    count_of("min", axis, x.shape)
    keepdims = flag("min", "keepdims", keepdims)
    return np.min(x, axis=reduced_axes("min", axis, x.shape), keepdims=keepdims)


@max.vjp("x")
@min.vjp("x")
def _(g, x, output, axis):
    equal_ones = astype(x == _spread(output, x.shape, axis), dtype=x.dtype)
    share = equal_ones / sum(equal_ones, axis=axis, keepdims=True)
    return _spread(g, x.shape, axis) * share


@primitive(
    flops=lambda output, x, **settings: 3 * x.size,
    oracle=lambda torch, x, axis=None, keepdims=False: torch.logsumexp(
        x, tuple(range(x.ndim)) if axis is None else axis, keepdims
    ),
)
def logsumexp(x, *, axis=None, keepdims=False):
    """Return log(sum(exp(x))) over `axis`, with the maximum taken out so that nothing overflows.

    axis: an axis of x, several, or None for all. The result has x's other axes and, with keepdims,
        the reduced ones with length 1.
    Raises ShapeError for an axis that x doesn't have, ArgumentError for one given twice.
    Of no elements it is a ShapeError.
    """
    count_of("logsumexp", axis, x.shape)
    axes = reduced_axes("logsumexp", axis, x.shape)
    top = np.max(x, axis=axes, keepdims=True)
    top = np.where(np.isfinite(top), top, 0).astype(x.dtype)  # all -inf: log(0), not a NaN
    with np.errstate(divide="ignore"):
        total = np.log(array_sum(np.exp(x - top), axes, keepdims=True)) + top
    return total if flag("logsumexp", "keepdims", keepdims) else np.squeeze(total, axes)


@logsumexp.vjp("x")
def _(g, x, output, axis):
    return _spread(g, x.shape, axis) * exp(x - _spread(output, x.shape, axis))


@sum.samples
@mean.samples
@prod.samples
@all.samples
@any.samples
@logsumexp.samples
def _(draw: Draw):
    yield sample(draw.normal(2, 3))
    yield sample(draw.normal(2, 3, 4), axis=1)
    yield sample(draw.normal(2, 3, 4), axis=(0, 2), keepdims=True)
    yield sample(draw.normal(2, 3, 4), axis=-1, keepdims=True)
    yield sample(draw.normal(0, 3), axis=1)
    yield sample(draw.normal(1, 5), axis=(1,))


@max.samples
@min.samples
def _(draw: Draw):
    yield sample(draw.distinct(2, 3))
    yield sample(draw.distinct(2, 3, 4), axis=1)
    yield sample(draw.distinct(2, 3, 4), axis=(0, 2), keepdims=True)
    yield sample(draw.distinct(0, 3), axis=1)


@sum.errors
@mean.errors
@max.errors
@logsumexp.errors
@prod.errors
@all.errors
@any.errors
def _(draw: Draw):
    yield ErrorInput(sample(draw.normal(2, 3), axis=2), ShapeError, r"axis 2 .* shape \(2, 3\)")
    yield ErrorInput(sample(draw.normal(2, 3), axis=(0, 0)), ArgumentError, "twice")
    yield ErrorInput(sample(draw.normal(2, 3), axis=0.5), ArgumentError, "whole numbers")


@min.errors
def _(draw: Draw):
    yield ErrorInput(sample(draw.normal(0, 3), axis=0), ShapeError, "over no elements")


@primitive(
    flops=lambda output, x, shape: 0,
    oracle=lambda torch, x, shape: torch.broadcast_to(x, shape),
    any_dtype=True,
)
def broadcast_to(x, *, shape):
    """Return x repeated along new axes and axes of length 1, without copying it.

    Raises ShapeError where x doesn't broadcast to `shape`.
    """
    shape = lengths("broadcast_to", "shape", shape)
    try:
        return np.broadcast_to(x, shape)
    except ValueError:
        raise ShapeError(f"broadcast_to: shape {x.shape} doesn't broadcast to {shape}") from None


broadcast_to.vjp("x")(lambda g, x_shape: sum_to(g, shape=x_shape))


@primitive(
    flops=_input_size,
    oracle=lambda torch, x, shape: x.sum_to_size(shape),
    any_dtype=True,
)
def sum_to(x, *, shape):
    """Return x summed to `shape` over the axes that broadcasting would repeat: its transpose.

    Raises ShapeError where `shape` doesn't broadcast to that of x.
    """
    shape = lengths("sum_to", "shape", shape)
    extra = x.ndim - len(shape)
    repeated = [a for a in range(x.ndim) if a < extra or (shape[a - extra] == 1 != x.shape[a])]
    kept = tuple(1 if a in repeated else n for a, n in enumerate(x.shape))
    if extra < 0 or kept[extra:] != shape:
        raise ShapeError(f"sum_to: shape {x.shape} is not what {shape} broadcasts to")
    return array_sum(x, tuple(repeated), keepdims=True).reshape(shape)


sum_to.vjp("x")(lambda g, x_shape: broadcast_to(g, shape=x_shape))


@broadcast_to.samples
def _(draw: Draw):
    yield sample(draw.normal(3), shape=(2, 3))
    yield sample(draw.normal(2, 1, 3), shape=(4, 2, 5, 3))
    yield sample(draw.normal(), shape=(2,))


@sum_to.samples
def _(draw: Draw):
    yield sample(draw.normal(2, 3), shape=(3,))
    yield sample(draw.normal(4, 2, 5, 3), shape=(2, 1, 3))
    yield sample(draw.normal(2, 3), shape=(2, 3))
    yield sample(draw.normal(2), shape=())


@broadcast_to.errors
def _(draw: Draw):
    yield ErrorInput(sample(draw.normal(2, 3), shape=(2, 4)), ShapeError, r"\(2, 3\) .* \(2, 4\)")


@sum_to.errors
def _(draw: Draw):
    yield ErrorInput(sample(draw.normal(2, 3), shape=(2, 4)), ShapeError, r"\(2, 3\) .* \(2, 4\)")
