"""Comparison (bool output, no gradient), choice, and casting, element by element."""

from typing import Any

import numpy as np

from minidl.autograd.primitive import primitive
from minidl.autograd.samples import Draw, ErrorInput, sample
from minidl.errors import DTypeError, ShapeError

__all__ = [
    "alias",
    "astype",
    "equal",
    "greater",
    "greater_equal",
    "less",
    "less_equal",
    "not_equal",
    "where",
]


def each(output: np.ndarray, *inputs: Any, **settings: Any) -> int:
    """FLOPs of one operation an element."""
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
    """x == y, element by element."""
    check_broadcast("equal", x, y)
    return x == y


@primitive(flops=each, oracle=lambda torch, x, y: x != y, any_dtype=True)
def not_equal(x, y):
    """x != y, element by element."""
    check_broadcast("not_equal", x, y)
    return x != y


@primitive(flops=each, oracle=lambda torch, x, y: x < y, any_dtype=True)
def less(x, y):
    """x < y, element by element."""
    check_broadcast("less", x, y)
    return x < y


@primitive(flops=each, oracle=lambda torch, x, y: x <= y, any_dtype=True)
def less_equal(x, y):
    """x <= y, element by element."""
    check_broadcast("less_equal", x, y)
    return x <= y


@primitive(flops=each, oracle=lambda torch, x, y: x > y, any_dtype=True)
def greater(x, y):
    """x > y, element by element."""
    check_broadcast("greater", x, y)
    return x > y


@primitive(flops=each, oracle=lambda torch, x, y: x >= y, any_dtype=True)
def greater_equal(x, y):
    """x >= y, element by element."""
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
    """x where the condition holds, y elsewhere; all three broadcast."""
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


@primitive(
    flops=none,
    oracle=lambda torch, x, dtype: x.to(getattr(torch, dtype.name)),
    saves=("from_dtype",),
    any_dtype=True,
)
def astype(x, *, dtype):
    """x in another dtype."""
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
    """x itself, as a step of its own in the graph."""
    return x


alias.vjp("x")(lambda g: g)


@alias.samples
def _(draw: Draw):
    yield sample(draw.normal(2, 3))
