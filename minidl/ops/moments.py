"""The variance and the standard deviation."""

from typing import Any

import numpy as np

from minidl.autograd.op import composite
from minidl.autograd.samples import Draw, ErrorInput, sample
from minidl.checks import flag, real
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.ops.checks import check_float
from minidl.ops.comparison import where
from minidl.ops.elementwise import sqrt
from minidl.ops.reduce import count_of, mean, sum

__all__ = ["std", "var"]


@composite(
    oracle=lambda torch, x, axis=None, correction=1, keepdims=False: torch.var(
        x, axis, correction=correction, keepdim=keepdims
    )
)
def var(x, axis=None, *, correction=1, keepdims=False):
    """Return the variance over `axis`: the sum of (x - mean)^2 divided by n - correction.

    correction: 1 estimates the variance of the distribution that x was drawn from, as in PyTorch; 0
        is the variance of x itself, as in NumPy.
    axis: an axis of x, several, or None for all. The result has x's other axes and, with keepdims,
        the reduced ones with length 1.
    Raises ShapeError for an axis that x doesn't have, ArgumentError for one given twice or a
    correction of n or more, DTypeError for integers. The variance of no elements is a ShapeError.
    """
    return _variance("var", x, axis, correction, keepdims)


@composite(
    oracle=lambda torch, x, axis=None, correction=1, keepdims=False: torch.std(
        x, axis, correction=correction, keepdim=keepdims
    )
)
def std(x, axis=None, *, correction=1, keepdims=False):
    """Return the standard deviation over `axis`: the square root of `var`, with its arguments.

    Where it is 0, so is its gradient. Raises as `var` does.
    """
    variance = _variance("std", x, axis, correction, keepdims)
    return where(variance == 0, 0.0, sqrt(where(variance == 0, 1.0, variance)))


def _variance(who: str, x: Any, axis: Any, correction: float, keepdims: bool) -> Any:
    check_float(who, x)
    count = count_of(who, axis, x.shape)
    correction = real(who, "correction", correction)
    keepdims = flag(who, "keepdims", keepdims)
    if correction >= count:
        raise ArgumentError(
            f"{who}: correction {correction:g} leaves nothing of {count} elements to divide by"
        )
    centred = x - mean(x, axis=axis, keepdims=True)
    return sum(centred * centred, axis=axis, keepdims=keepdims) * (1.0 / (count - correction))


@var.samples
@std.samples
def _(draw: Draw):
    yield sample(draw.normal(2, 3))
    yield sample(draw.normal(2, 3, 4), axis=1, correction=0)
    yield sample(draw.normal(2, 3, 4), axis=(0, 2), keepdims=True)
    yield sample(draw.normal(2, 3, 4), axis=-1, correction=2)
    yield sample(draw.normal(0, 3), axis=1)


@var.errors
@std.errors
def _(draw: Draw):
    yield ErrorInput(sample(draw.normal(1, 3), axis=0), ArgumentError, "correction 1 leaves")
    yield ErrorInput(sample(draw.normal(0, 3), axis=0), ShapeError, "over no elements")
    yield ErrorInput(sample(np.arange(3)), DTypeError, "got int64")
