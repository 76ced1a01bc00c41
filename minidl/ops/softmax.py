"""Softmax and its logarithm, along one axis."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl.autograd.primitive import primitive
from minidl.autograd.samples import Draw, ErrorInput, Sample, sample
from minidl.errors import ShapeError
from minidl.ops.elementwise import exp
from minidl.ops.reduce import array_sum, reduced_axes, sum

__all__ = ["log_softmax", "softmax"]


def _one_axis(who: str, axis: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    axes = reduced_axes(who, axis, shape)
    if len(axes) != 1 or shape[axes[0]] == 0:
        raise ShapeError(f"{who} expected one axis that isn't empty, got {axis} of shape {shape}")
    return axes


@primitive(
    flops=lambda output, x, **settings: 5 * x.size,
    oracle=lambda torch, x, axis=-1: torch.softmax(x, axis),
)
def softmax(x, *, axis=-1):
    """Return exp(x) / sum(exp(x)) along `axis`. The maximum is taken out first.

    Raises ShapeError for an axis that x doesn't have or that is empty.
    Source: Bridle 1990, "Probabilistic Interpretation of Feedforward Classification Network
    Outputs".
    """
    axes = _one_axis("softmax", axis, x.shape)
    e = np.exp(x - x.max(axis=axes, keepdims=True))
    return e / array_sum(e, axes, keepdims=True)


@softmax.vjp("x")
def _(g, output, axis):
    return (g - sum(g * output, axis=axis, keepdims=True)) * output


@primitive(
    flops=lambda output, x, **settings: 5 * x.size,
    oracle=lambda torch, x, axis=-1: torch.log_softmax(x, axis),
)
def log_softmax(x, *, axis=-1):
    """Return log(softmax(x)) along `axis`, which stays accurate for small probabilities.

    Raises ShapeError for an axis that x doesn't have or that is empty.
    """
    axes = _one_axis("log_softmax", axis, x.shape)
    shifted = x - x.max(axis=axes, keepdims=True)
    return shifted - np.log(array_sum(np.exp(shifted), axes, keepdims=True))


@log_softmax.vjp("x")
def _(g, output, axis):
    return g - exp(output) * sum(g, axis=axis, keepdims=True)


@softmax.samples
@log_softmax.samples
def _(draw: Draw) -> Iterator[Sample]:
    yield sample(draw.normal(3, 4))
    yield sample(draw.normal(2, 3, 4), axis=1)
    yield sample(draw.normal(2, 3) * 3, axis=0)
    yield sample(draw.normal(0, 3))


@softmax.errors
@log_softmax.errors
def _(draw: Draw) -> Iterator[ErrorInput]:
    yield ErrorInput(sample(draw.normal(2, 3), axis=2), ShapeError, "axis 2")
    yield ErrorInput(sample(draw.normal(2, 3), axis=(0, 1)), ShapeError, "one axis")
    yield ErrorInput(sample(draw.normal(2, 0)), ShapeError, "isn't empty")
