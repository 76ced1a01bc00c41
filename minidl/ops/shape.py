"""Ops that rearrange elements without changing them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl import kernels
from minidl.autograd.op import check_arrays, composite
from minidl.autograd.primitive import primitive
from minidl.autograd.samples import Draw, ErrorInput, sample
from minidl.checks import is_whole, lengths, real
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.ops.checks import one_axis
from minidl.ops.indexing import getitem

__all__ = [
    "reshape",
    "transpose",
    "concatenate",
    "stack",
    "split",
    "pad",
]


def _none(output: np.ndarray, *inputs: Any, **settings: Any) -> int:
    return 0


@primitive(flops=_none, oracle=lambda torch, x, shape: torch.reshape(x, shape), any_dtype=True)
def reshape(x, *, shape):
    """Return x in another shape, with the last axis fastest; one length may be -1.

    Raises ShapeError where the number of elements differs.
    """
    try:
        return x.reshape(shape)
    except (ValueError, TypeError):
        raise ShapeError(
            f"reshape: {x.size} elements of shape {x.shape} can't take shape {shape}"
        ) from None


reshape.vjp("x")(lambda g, x_shape: g.reshape(x_shape))


@reshape.samples
def _(draw: Draw):
    yield sample(draw.normal(2, 6), shape=(3, 4))
    yield sample(draw.normal(2, 3, 4), shape=(2, -1))
    yield sample(draw.normal(1), shape=())
    yield sample(draw.normal(0, 3), shape=(3, 0))


@reshape.errors
def _(draw: Draw):
    yield ErrorInput(sample(draw.normal(2, 3), shape=(4, 2)), ShapeError, r"6 elements .* \(4, 2\)")
    yield ErrorInput(sample(draw.normal(2, 3), shape=(-1, -1)), ShapeError, "can't take")


@primitive(
    flops=_none,
    oracle=lambda torch, x, axes=None: torch.permute(x, axes or tuple(range(x.ndim))[::-1]),
    any_dtype=True,
    named=True,
)
def transpose(x, *, axes=None):
    """Return a view of x with its axes in the order `axes`, or reversed if left out.

    Raises ShapeError unless each axis is named once.
    """
    try:
        return x.transpose(axes)
    except (ValueError, TypeError):
        raise ShapeError(
            f"transpose: axes {axes} are not an order of the {x.ndim} axes of shape {x.shape}"
        ) from None


@transpose.vjp("x")
def _(g, axes):
    if axes is not None:
        axes = tuple(int(a) for a in np.argsort([a % g.ndim for a in axes]))
    return transpose(g, axes=axes)


@transpose.samples
def _(draw: Draw):
    yield sample(draw.normal(2, 3, 4))
    yield sample(draw.normal(2, 3, 4), axes=(1, 2, 0))
    yield sample(draw.normal(2, 3, 4), axes=(0, -1, 1))


@transpose.errors
def _(draw: Draw):
    yield ErrorInput(sample(draw.normal(2, 3), axes=(0, 0)), ShapeError, r"axes \(0, 0\)")
    yield ErrorInput(sample(draw.normal(2, 3), axes=(0, 1, 2)), ShapeError, "the 2 axes")


@primitive(
    flops=_none,
    oracle=lambda torch, *arrays, axis: torch.cat(arrays, axis),
    any_dtype=True,
    family="joining",
    name="concatenate",
)
def concatenate_forward(*arrays, axis):
    """Return the arrays joined along an axis that exists. See `concatenate`."""
    try:
        axis = one_axis("concatenate", axis, arrays[0].shape)
        np.concatenate([x[(slice(None),) * axis + (slice(0, 0),)] for x in arrays], axis)  # fits?
    except (ValueError, IndexError) as error:
        shapes = [x.shape for x in arrays]
        raise ShapeError(
            f"concatenate: shapes {shapes} can't be joined along axis {axis!r:.60}: {error}"
        ) from None
    dtype = np.result_type(*arrays)
    if any(x.dtype != dtype for x in arrays):  # integers of several kinds
        return np.concatenate(arrays, axis)
    return kernels.use("copy").joined(arrays, axis)


@concatenate_forward.vjp("arrays")
def _(g, arrays_shape, axis):
    axis %= g.ndim
    ends = np.cumsum([shape[axis] for shape in arrays_shape])
    before = (slice(None),) * axis
    return [
        g[(*before, slice(int(end) - shape[axis], int(end)))]
        for shape, end in zip(arrays_shape, ends, strict=True)
    ]


@composite(oracle=lambda torch, *arrays, axis: torch.cat(arrays, axis))
def concatenate(*arrays, axis=0):
    """Return the arrays, given one by one or as one sequence, joined along `axis`.

    Shapes are equal but along `axis`. Raises ShapeError for others and for an axis that they don't
    have, ArgumentError for no arrays.
    """
    return concatenate_forward(*_several("concatenate", arrays), axis=axis)


@composite(oracle=lambda torch, *arrays, axis: torch.stack(arrays, axis))
def stack(*arrays, axis=0):
    """Return arrays of one shape, given one by one or as one sequence, along a new axis.

    Raises ShapeError where shapes differ, and for an axis that the result doesn't have.
    """
    arrays = tuple(_several("stack", arrays))
    for x in arrays:
        check_arrays("stack", array=x)
    shape = arrays[0].shape
    if any(x.shape != shape for x in arrays):
        raise ShapeError(f"stack expected equal shapes, got {[x.shape for x in arrays]}")
    place = one_axis("stack", axis, (len(arrays), *shape))
    one = (*shape[:place], 1, *shape[place:])
    return concatenate_forward(*(reshape(x, shape=one) for x in arrays), axis=place)


def _several(who: str, arrays: Sequence[Any]) -> Sequence[Any]:
    if len(arrays) == 1 and isinstance(arrays[0], tuple | list):
        arrays = arrays[0]
    if any(isinstance(x, tuple | list) for x in arrays):
        raise DTypeError(
            f"{who} expected arrays one by one or one sequence of them, got "
            f"{', '.join(type(x).__name__ for x in arrays)}: give the axis by name, axis="
        )
    if not arrays:
        raise ArgumentError(f"{who} expected one array or more, got none")
    return arrays


@concatenate_forward.samples
@concatenate.samples
def _(draw: Draw):
    yield sample(draw.normal(2, 3), draw.normal(1, 3), axis=0)
    yield sample(draw.normal(2, 3), draw.normal(2, 0), draw.normal(2, 4), axis=-1)
    yield sample(draw.normal(2, 3), axis=1)


@stack.samples
def _(draw: Draw):
    yield sample(draw.normal(2, 3), draw.normal(2, 3), axis=0)
    yield sample(draw.normal(2, 3), draw.normal(2, 3), axis=-1)
    yield sample(draw.normal(), draw.normal(), axis=0)


@concatenate.errors
def _(draw: Draw):
    yield ErrorInput(sample(draw.normal(2, 3), draw.normal(2, 4), axis=0), ShapeError, "axis 0")
    yield ErrorInput(sample([], axis=0), ArgumentError, "got none")


@stack.errors
def _(draw: Draw):
    yield ErrorInput(sample(draw.normal(2, 3), draw.normal(2, 4), axis=0), ShapeError, "equal")
    yield ErrorInput(sample(draw.normal(2), axis=3), ShapeError, "axis 3")


@composite(
    oracle=lambda torch, x, sections, axis=0: torch.split(
        x, x.shape[axis] // sections if isinstance(sections, int) else sections, axis
    )
)
def split(x, *, sections, axis=0):
    """Cut x along `axis` and return a list of parts.

    sections: how many equal parts, or their lengths.
    Raises ShapeError where the parts don't make up the axis.
    """
    axis = one_axis("split", axis, x.shape)
    length = x.shape[axis]
    if is_whole(sections):
        if sections < 1 or length % sections:
            raise ShapeError(f"split: axis {axis} of length {length} isn't {sections} equal parts")
        parts = [length // sections] * sections
    else:
        parts = list(lengths("split", "sections", sections))
        if any(n < 0 for n in parts) or np.sum(parts) != length:
            raise ShapeError(f"split: lengths {parts} don't make up axis {axis} of {length}")
    ends = np.cumsum(parts)
    before = (slice(None),) * axis
    return [
        getitem(x, key=(*before, slice(int(end - n), int(end))))
        for n, end in zip(parts, ends, strict=True)
    ]


@split.samples
def _(draw: Draw):
    yield sample(draw.normal(4, 3), sections=2)
    yield sample(draw.normal(4, 6), sections=[1, 0, 5], axis=-1)


@split.errors
def _(draw: Draw):
    yield ErrorInput(sample(draw.normal(4, 3), sections=3), ShapeError, "4 isn't 3 equal parts")
    yield ErrorInput(
        sample(draw.normal(4, 3), sections=[1, 2]), ShapeError, "don't make up axis 0 of 4"
    )
    yield ErrorInput(sample(draw.normal(4), sections=2, axis=1), ShapeError, "axis 1 doesn't exist")


@primitive(
    flops=_none,
    oracle=lambda torch, x, widths, value=0.0: torch.nn.functional.pad(
        x, [n for ends in widths[::-1] for n in ends], value=value
    ),
    any_dtype=True,
    named=True,
)
def pad(x, *, widths, value=0.0):
    """Return x with `value` around it; widths: (before, after) for each axis.

    Raises ShapeError unless there is a pair for each axis, of 0 or more.
    """
    several = isinstance(widths, tuple | list)
    pairs = [lengths("pad", "widths", ends) for ends in widths] if several else []
    if len(pairs) != x.ndim or any(len(ends) != 2 or min(ends) < 0 for ends in pairs):
        raise ShapeError(
            f"pad expected (before, after), each 0 or more, for the {x.ndim} axes of shape "
            f"{x.shape}, got {widths!r:.60}"
        )
    real("pad", "value", value, finite=False)
    return np.pad(x, pairs, constant_values=value)


@pad.vjp("x")
def _(g, x_shape, widths):
    return g[
        tuple(slice(before, before + n) for (before, _), n in zip(widths, x_shape, strict=True))
    ]


@pad.samples
def _(draw: Draw):
    yield sample(draw.normal(2, 3), widths=((0, 0), (1, 2)))
    yield sample(draw.normal(2, 3, 2), widths=((1, 0), (0, 0), (0, 3)), value=0.5)


@pad.errors
def _(draw: Draw):
    yield ErrorInput(sample(draw.normal(2, 3), widths=((1, 1),)), ShapeError, "the 2 axes")
    yield ErrorInput(sample(draw.normal(2), widths=((-1, 1),)), ShapeError, "0 or more")
