"""Comparisons (bool output, no gradient), selection and casts, element by element."""

from typing import Any

import numpy as np

from minidl.autograd.op import check_arrays, composite
from minidl.autograd.primitive import primitive
from minidl.autograd.samples import Draw, ErrorInput, sample
from minidl.errors import DTypeError, ShapeError

__all__ = [
    "alias",
    "astype",
    "equal",
    "greater",
    "greater_equal",
    "isnan",
    "less",
    "less_equal",
    "masked_fill",
    "maximum",
    "minimum",
    "not_equal",
    "where",
]


def each(output: np.ndarray, *inputs: Any, **settings: Any) -> int:
    """Return the FLOPs of one operation for each element."""
    return output.size


def none(output: np.ndarray, *inputs: Any, **settings: Any) -> int:
    return 0


def check_broadcast(who: str, x: np.ndarray, y: np.ndarray) -> None:
    if x.shape != y.shape:
        try:
            np.broadcast_shapes(x.shape, y.shape)
        except ValueError:
            raise ShapeError(
                f"{who}: shapes {x.shape} and {y.shape} don't broadcast: aligned at their last "
                "axes, lengths must be equal or 1"
            ) from None


@primitive(flops=each, oracle=lambda torch, x, y: x == y, any_dtype=True)
def equal(x, y):
    """Return x == y, element by element."""
    check_broadcast("equal", x, y)
    return x == y


@primitive(flops=each, oracle=lambda torch, x, y: x != y, any_dtype=True)
def not_equal(x, y):
    """Return x != y, element by element."""
    check_broadcast("not_equal", x, y)
    return x != y


@primitive(flops=each, oracle=lambda torch, x, y: x < y, any_dtype=True)
def less(x, y):
    """Return x < y, element by element."""
    check_broadcast("less", x, y)
    return x < y


@primitive(flops=each, oracle=lambda torch, x, y: x <= y, any_dtype=True)
def less_equal(x, y):
    """Return x <= y, element by element."""
    check_broadcast("less_equal", x, y)
    return x <= y


@primitive(flops=each, oracle=lambda torch, x, y: x > y, any_dtype=True)
def greater(x, y):
    """Return x > y, element by element."""
    check_broadcast("greater", x, y)
    return x > y


@primitive(flops=each, oracle=lambda torch, x, y: x >= y, any_dtype=True)
def greater_equal(x, y):
    """Return x >= y, element by element."""
    check_broadcast("greater_equal", x, y)
    return x >= y


@equal.samples
@not_equal.samples
@less.samples
@less_equal.samples
@greater.samples
@greater_equal.samples
def _(draw: Draw):
    yield sample(draw.normal(2, 3), draw.normal(3))
    yield sample(draw.integers(3, 2, 5).astype(draw.dtype), 1.0)


@primitive(
    flops=none,
    oracle=lambda torch, c, x, y: torch.where(c, x, y),
    labels=("condition",),
    any_dtype=True,
)
def where(condition, x, y):
    """Return x where the condition holds and y elsewhere; all three broadcast."""
    try:
        return np.where(condition, x, y)
    except ValueError:
        shapes = [np.shape(array) for array in (condition, x, y)]
        raise ShapeError(f"where: shapes {shapes} don't broadcast") from None


where.vjp("x")(lambda g, condition: where(condition, g, 0.0))
where.vjp("y")(lambda g, condition: where(condition, 0.0, g))


@where.samples
def _(draw: Draw):
    yield sample(draw.mask(2, 3), draw.normal(2, 3), draw.normal(2, 3))
    yield sample(draw.mask(3), draw.normal(2, 1), draw.normal(1, 3))
    yield sample(draw.mask(2, 3), draw.normal(2, 3), 0.0)


@primitive(flops=each, oracle=lambda torch, x: torch.isnan(x), any_dtype=True)
def isnan(x):
    """Return whether each element is a NaN, as booleans without a gradient."""
    return np.isnan(x)


@primitive(
    flops=each, oracle=lambda torch, x, y: torch.maximum(*_tensors(torch, x, y)), any_dtype=True
)
def maximum(x, y):
    """Return the larger of x and y; NaN if either is. Equal ones share the gradient.

    x, y: arrays whose shapes broadcast, of one dtype, or numbers. Raises ShapeError or DTypeError
        for others.
    """
    check_broadcast("maximum", x, y)
    return np.maximum(x, y)


@primitive(
    flops=each, oracle=lambda torch, x, y: torch.minimum(*_tensors(torch, x, y)), any_dtype=True
)
def minimum(x, y):
    """Return the smaller of x and y; NaN if either is. Equal ones share the gradient.

    x, y: arrays whose shapes broadcast, of one dtype, or numbers. Raises ShapeError or DTypeError
        for others.
    """
    check_broadcast("minimum", x, y)
    return np.minimum(x, y)


def _tensors(torch, *inputs):
    return [
        x if isinstance(x, torch.Tensor) else torch.tensor(x, dtype=torch.float64) for x in inputs
    ]


def _chosen(g, chosen, equal):
    """Return the gradient of the input that was chosen; half of it where both are equal."""
    return where(equal, 0.5 * g, where(chosen, g, 0.0))


maximum.vjp("x")(lambda g, x, y: _chosen(g, x > y, x == y))
maximum.vjp("y")(lambda g, x, y: _chosen(g, y > x, x == y))
minimum.vjp("x")(lambda g, x, y: _chosen(g, x < y, x == y))
minimum.vjp("y")(lambda g, x, y: _chosen(g, y < x, x == y))


@composite(oracle=lambda torch, x, mask, value: x.masked_fill(mask, value), labels=("mask",))
def masked_fill(x, mask, value):
    """Return x with `value`, a number or a tensor without axes, where `mask` is true.

    mask: booleans whose shape broadcasts to that of x.
    Raises ShapeError or DTypeError for another mask or value.
    """
    check_arrays("masked_fill", x=x, mask=mask)
    if mask.dtype != bool:
        raise DTypeError(f"masked_fill expected a mask of booleans, got {mask.dtype}")
    if np.ndim(value) != 0:
        raise ShapeError(
            f"masked_fill expected a number as value, got shape {np.shape(value)}: use where()"
        )
    pairs = zip(mask.shape[::-1], x.shape[::-1], strict=False)
    if mask.ndim > x.ndim or any(n not in (1, whole) for n, whole in pairs):
        raise ShapeError(f"masked_fill: a mask of shape {mask.shape} doesn't fit x of {x.shape}")
    return where(mask, value, x)


@isnan.samples
def _(draw: Draw):
    yield sample(draw.normal(2, 3))
    yield sample(np.array([np.nan, 1, np.inf], draw.dtype))


@maximum.samples
@minimum.samples
def _(draw: Draw):
    x = draw.distinct(2, 2, 3)
    yield sample(x[0], x[1])
    yield sample(x, draw.normal(3))
    yield sample(draw.nonzero(2, 3), 0.1)
    yield sample(draw.nonzero(0, 3), draw.nonzero(3))


@masked_fill.samples
def _(draw: Draw):
    yield sample(draw.normal(2, 3), draw.mask(2, 3), -1.5)
    yield sample(draw.normal(2, 3), draw.mask(3), np.array(2, draw.dtype))


@masked_fill.errors
def _(draw: Draw):
    x = draw.normal(2, 3)
    yield ErrorInput(sample(x, draw.mask(2), 0.0), ShapeError, r"mask of shape \(2,\)")
    yield ErrorInput(sample(x, draw.normal(2, 3), 0.0), DTypeError, "booleans, got float32")
    yield ErrorInput(sample(x, draw.mask(2, 3), x), ShapeError, "a number as value")


@maximum.errors
@minimum.errors
def _(draw: Draw):
    x = draw.normal(2, 3)
    yield ErrorInput(sample(x, draw.normal(2, 4)), ShapeError, r"\(2, 3\) and \(2, 4\) don't broad")
    yield ErrorInput(sample(x, x.astype(np.float64)), DTypeError, "float32 and float64")
    yield ErrorInput(sample(x, [1.0, 2.0, 3.0]), DTypeError, "got list.*md.tensor")


@primitive(
    flops=none,
    oracle=lambda torch, x, dtype: x.to(getattr(torch, dtype.name)),
    saves=("from_dtype",),
    any_dtype=True,
)
def astype(x, *, dtype):
    """Return x in another dtype.

    x: of any shape. Raises DTypeError for a dtype that isn't float32, float64, an integer type or
        bool.
    """
    try:
        wanted = None if dtype is None else np.dtype(dtype)  # np.dtype(None) is float64
    except TypeError:
        wanted = None
    if wanted is None or (wanted.kind not in "iub" and wanted not in (np.float32, np.float64)):
        raise DTypeError(
            f"astype expected float32, float64, an integer type or bool, got {wanted or dtype!r}"
        )
    return x.astype(wanted), x.dtype


astype.vjp("x")(lambda g, from_dtype: g.astype(from_dtype))


@astype.samples
def _(draw: Draw):
    yield sample(draw.normal(2, 3), dtype=np.dtype(np.float64))
    yield sample(draw.normal(2, 3), dtype=draw.dtype)


@astype.errors
def _(draw: Draw):
    yield ErrorInput(sample(draw.normal(2), dtype=np.dtype(np.float16)), DTypeError, "float16")


@primitive(flops=none, oracle=lambda torch, x: x, any_dtype=True)
def alias(x):
    """Return x itself, as a step of its own in the graph.

    x: of any shape.
    """
    return x


alias.vjp("x")(lambda g: g)


@alias.samples
def _(draw: Draw):
    yield sample(draw.normal(2, 3))
