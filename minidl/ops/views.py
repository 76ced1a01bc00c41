"""Views of the same elements in other shapes, under PyTorch's names, and copies."""

import math

import numpy as np

from minidl import kernels
from minidl.autograd.op import composite
from minidl.autograd.primitive import primitive
from minidl.autograd.samples import Draw, ErrorInput, sample
from minidl.errors import ShapeError
from minidl.ops.checks import one_axis, reduced_axes
from minidl.ops.comparison import none
from minidl.ops.shape import reshape

__all__ = ["clone", "flatten", "squeeze", "unsqueeze"]


@composite(
    oracle=lambda torch, x, start_axis=0, end_axis=-1: torch.flatten(x, start_axis, end_axis)
)
def flatten(x, start_axis=0, end_axis=-1):
    """Return x with the axes from `start_axis` to `end_axis`, both included, joined into one.

    Raises ShapeError for an axis that x doesn't have, and where `end_axis` comes first.
    """
    if x.ndim == 0:
        return reshape(x, shape=(1,))
    first = one_axis("flatten", start_axis, x.shape)
    last = one_axis("flatten", end_axis, x.shape)
    if first > last:
        raise ShapeError(
            f"flatten: axis {start_axis} comes after axis {end_axis} in shape {x.shape}"
        )
    count = math.prod(x.shape[first : last + 1])
    return reshape(x, shape=(*x.shape[:first], count, *x.shape[last + 1 :]))


@composite(oracle=lambda torch, x, axis=None: torch.squeeze(x, *() if axis is None else (axis,)))
def squeeze(x, axis=None):
    """Return x without its axes of length 1, or without `axis` (one or several) of length 1.

    Raises ShapeError for an axis that x doesn't have, or of another length.
    """
    ones = tuple(a for a, n in enumerate(x.shape) if n == 1)
    left_out = ones if axis is None else reduced_axes("squeeze", axis, x.shape)
    if set(left_out) - set(ones):
        raise ShapeError(
            f"squeeze: axis {axis} of shape {x.shape} isn't of length 1: leave it out, or reduce it"
        )
    return reshape(x, shape=tuple(n for a, n in enumerate(x.shape) if a not in left_out))


@composite(oracle=lambda torch, x, axis: torch.unsqueeze(x, axis))
def unsqueeze(x, axis):
    """Return x with a new axis of length 1 at position `axis` of the result.

    Raises ShapeError for a position that the result doesn't have.
    """
    place = one_axis("unsqueeze", axis, (*x.shape, 1))
    return reshape(x, shape=(*x.shape[:place], 1, *x.shape[place:]))


@primitive(flops=none, oracle=lambda torch, x: torch.clone(x), any_dtype=True)
def clone(x):
    """Return a copy of x in memory of its own; gradients pass through.

    x: of any shape.
    """
    return kernels.use("copy").copied(x) if x.dtype.kind == "f" else x.copy()


clone.vjp("x")(lambda g: g)


@flatten.samples
def _(draw: Draw):
    yield sample(draw.normal(2, 3, 4))
    yield sample(draw.normal(2, 3, 4), 1)
    yield sample(draw.normal(2, 3, 4, 2), 1, -2)
    yield sample(draw.normal())
    yield sample(draw.normal(0, 3, 2), 1)


@squeeze.samples
def _(draw: Draw):
    yield sample(draw.normal(1, 3, 1))
    yield sample(draw.normal(1, 3, 1), -1)
    yield sample(draw.normal(1, 3, 1), (0, 2))


@unsqueeze.samples
def _(draw: Draw):
    yield sample(draw.normal(2, 3), 0)
    yield sample(draw.normal(2, 3), -1)
    yield sample(draw.normal(), 0)


@clone.samples
def _(draw: Draw):
    yield sample(draw.normal(2, 3))


@flatten.errors
def _(draw: Draw):
    yield ErrorInput(sample(draw.normal(2, 3, 4), 2, 1), ShapeError, "axis 2 comes after axis 1")
    yield ErrorInput(sample(draw.normal(2, 3), 2), ShapeError, "axis 2 doesn't exist")


@squeeze.errors
def _(draw: Draw):
    yield ErrorInput(sample(draw.normal(1, 3), 1), ShapeError, r"axis 1 of shape \(1, 3\)")
    yield ErrorInput(sample(draw.normal(1, 3), 2), ShapeError, "axis 2 doesn't exist")


@unsqueeze.errors
def _(draw: Draw):
    yield ErrorInput(sample(draw.normal(2, 3), 3), ShapeError, "axis 3 doesn't exist")
    yield ErrorInput(sample(np.ones(2), -3), ShapeError, "axis -3 doesn't exist")
