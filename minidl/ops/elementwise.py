"""Arithmetic and functions that act on each element, with NumPy's broadcasting.

The rules ignore broadcasting: the tape sums a gradient to its input's shape.
"""

import math

import numpy as np

from minidl import kernels
from minidl.autograd.primitive import primitive
from minidl.autograd.samples import Draw, ErrorInput, sample
from minidl.checks import real
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.ops.comparison import check_broadcast, each, where

__all__ = [
    "add",
    "subtract",
    "multiply",
    "divide",
    "negative",
    "power",
    "exp",
    "log",
    "sqrt",
    "abs",
    "sign",
    "clip",
    "sin",
    "cos",
    "erf",
]


# Arithmetic


def _check_numbers(who: str, *arrays: np.ndarray) -> None:
    if all(x.dtype == bool for x in arrays):
        raise DTypeError(f"{who} expected numbers, got booleans: convert them with .astype(int)")


@primitive(flops=each, oracle=lambda torch, x, y: x + y, any_dtype=True, family="joining")
def add(x, y):
    """Return x + y.

    x, y: arrays whose shapes broadcast, of one dtype, or numbers. Raises ShapeError or DTypeError
        for others.
    """
    check_broadcast("add", x, y)
    return x + y


add.vjp("x")(lambda g: g)
add.vjp("y")(lambda g: g)


@primitive(flops=each, oracle=lambda torch, x, y: x - y, any_dtype=True, family="joining")
def subtract(x, y):
    """Return x - y.

    x, y: arrays whose shapes broadcast, of one dtype, or numbers. Raises ShapeError or DTypeError
        for others.
    """
    check_broadcast("subtract", x, y)
    _check_numbers("subtract", x, y)
    return x - y


subtract.vjp("x")(lambda g: g)
subtract.vjp("y")(lambda g: -g)


@primitive(flops=each, oracle=lambda torch, x, y: x * y, any_dtype=True, family="joining")
def multiply(x, y):
    """Return x * y.

    x, y: arrays whose shapes broadcast, of one dtype, or numbers. Raises ShapeError or DTypeError
        for others.
    """
    check_broadcast("multiply", x, y)
    return x * y


multiply.vjp("x")(lambda g, y: g * y)
multiply.vjp("y")(lambda g, x: g * x)


@primitive(flops=each, oracle=lambda torch, x, y: x / y)
def divide(x, y):
    """Return x / y.

    x, y: arrays whose shapes broadcast, of one dtype, or numbers. Raises ShapeError or DTypeError
        for others.
    """
    check_broadcast("divide", x, y)
    return x / y


divide.vjp("x")(lambda g, y: g / y)
divide.vjp("y")(lambda g, output, y: -g * output / y)


@primitive(flops=each, oracle=lambda torch, x: -x, any_dtype=True)
def negative(x):
    """Return -x.

    x: numbers of any shape. Raises DTypeError for booleans.
    """
    _check_numbers("negative", x)
    return -x


negative.vjp("x")(lambda g: -g)


@primitive(flops=each, oracle=lambda torch, x, y: x**y)
def power(x, y):
    """Return x ** y. Where x is negative, the gradient for y is NaN.

    x, y: arrays whose shapes broadcast, of one dtype, or numbers. Raises ShapeError or DTypeError
        for others.
    """
    check_broadcast("power", x, y)
    return x**y


@power.vjp("x")
def _(g, x, y):
    # y * x**(y-1), but 0 and not 0 * inf where y = 0
    return g * where(y == 0, 0.0, y * power(x, where(y == 0, 1.0, y - 1)))


@power.vjp("y")
def _(g, x, y, output):
    # x**y * log(x), whose limit at x = 0 is 0; but for y < 0 it is infinite, as x**y is
    vanishes = (x == 0) * (y >= 0)
    return g * where(vanishes, 0.0, output * log(where(vanishes, 1.0, x)))


@add.samples
@subtract.samples
@multiply.samples
def _broadcasting(draw: Draw):
    yield sample(draw.normal(2, 3), draw.normal(2, 3))
    yield sample(draw.normal(2, 3), draw.normal(3))
    yield sample(draw.normal(2, 1, 4), draw.normal(3, 1))
    yield sample(draw.normal(), draw.normal(2, 3))
    yield sample(draw.normal(2, 3), 1.5)
    yield sample(2, draw.normal(3))
    yield sample(draw.normal(0, 3), draw.normal(1, 3))


@divide.samples
def _(draw: Draw):
    yield sample(draw.normal(2, 3), draw.nonzero(2, 3))
    yield sample(draw.normal(3), draw.nonzero(2, 3))
    yield sample(draw.normal(2, 3), draw.nonzero(2, 1))
    yield sample(1.0, draw.nonzero(2, 3))
    yield sample(draw.normal(2, 3), 3)


@power.samples
def _(draw: Draw):
    yield sample(draw.uniform(0.5, 2, 2, 3), draw.normal(2, 3))
    yield sample(draw.uniform(0.5, 2, 2, 3), draw.normal(3))
    yield sample(draw.normal(2, 3), 2)
    yield sample(draw.nonzero(2, 3), -1)
    yield sample(draw.nonzero(2, 3), 3.0)
    yield sample(2.0, draw.normal(2, 3))


# Functions


@primitive(flops=each, oracle=lambda torch, x: torch.exp(x))
def exp(x):
    """Return e ** x.

    x: floats of any shape. Raises DTypeError for anything else.
    """
    return np.exp(x)


exp.vjp("x")(lambda g, output: g * output)


@primitive(flops=each, oracle=lambda torch, x: torch.log(x))
def log(x):
    """Return the natural logarithm of x.

    x: floats of any shape. Raises DTypeError for anything else.
    """
    return np.log(x)


log.vjp("x")(lambda g, x: g / x)


@primitive(flops=each, oracle=lambda torch, x: torch.sqrt(x))
def sqrt(x):
    """Return the square root of x.

    x: floats of any shape. Raises DTypeError for anything else.
    """
    return np.sqrt(x)


sqrt.vjp("x")(lambda g, output: g / (2 * output))


@primitive(flops=each, oracle=lambda torch, x: torch.abs(x), any_dtype=True)
def abs(x):
    """Return |x|, whose gradient at 0 is 0.

    x: numbers of any shape.
    """
    return np.abs(x)


abs.vjp("x")(lambda g, x: g * sign(x))


@primitive(flops=each, oracle=lambda torch, x: torch.sign(x), any_dtype=True)
def sign(x):
    """Return -1, 0 or 1, with a gradient of 0.

    x: numbers of any shape. Raises DTypeError for booleans.
    """
    _check_numbers("sign", x)
    return np.sign(x)


sign.vjp("x")(lambda g: 0.0 * g)


@primitive(flops=each, oracle=lambda torch, x, min, max: torch.clamp(x, min, max), any_dtype=True)
def clip(x, *, min=None, max=None):
    """Return x limited to the range from `min` to `max`, numbers or None for no bound.

    x: of any shape. Raises ArgumentError where both are None, or min is above max.
    """
    if min is None and max is None:
        raise ArgumentError("clip expected min or max, got neither")
    for name, bound in (("min", min), ("max", max)):
        if bound is not None:
            real("clip", name, bound, finite=False)
    if min is not None and max is not None and min > max:
        raise ArgumentError(f"clip: min {min} is more than max {max}")
    return np.clip(x, min, max).astype(x.dtype, copy=False)


@clip.vjp("x")
def _(g, x, min, max):
    if min is not None:
        g = where(x >= min, g, 0.0)
    return g if max is None else where(x <= max, g, 0.0)


@primitive(flops=each, oracle=lambda torch, x: torch.sin(x))
def sin(x):
    """Return the sine of x in radians.

    x: floats of any shape. Raises DTypeError for anything else.
    """
    return np.sin(x)


sin.vjp("x")(lambda g, x: g * cos(x))


@primitive(flops=each, oracle=lambda torch, x: torch.cos(x))
def cos(x):
    """Return the cosine of x in radians.

    x: floats of any shape. Raises DTypeError for anything else.
    """
    return np.cos(x)


cos.vjp("x")(lambda g, x: -g * sin(x))


@primitive(flops=each, oracle=lambda torch, x: torch.erf(x))
def erf(x):
    """Return the error function: 2/sqrt(pi) * the integral of exp(-t**2) from 0 to x.

    x: floats of any shape. Raises DTypeError for anything else.
    """
    return kernels.use("elementwise").erf(x)


erf.vjp("x")(lambda g, x: g * (2 / math.sqrt(math.pi)) * exp(-x * x))


@exp.samples
@negative.samples
def _(draw: Draw):
    yield sample(draw.normal(2, 3))
    yield sample(draw.normal())
    yield sample(draw.normal(2, 0, 3))


@log.samples
@sqrt.samples
def _(draw: Draw):
    yield sample(draw.uniform(0.5, 3, 2, 3))
    yield sample(draw.uniform(0.5, 3))


@abs.samples
@sign.samples
def _(draw: Draw):
    yield sample(draw.nonzero(2, 3))
    yield sample(draw.nonzero(4, 1, 5))


@clip.samples
def _(draw: Draw):
    yield sample(draw.nonzero(4, 5), min=-0.1, max=0.1)
    yield sample(draw.nonzero(4, 5), min=0.1, max=None)
    yield sample(draw.nonzero(4, 5), min=None, max=0.1)


@sin.samples
@cos.samples
@erf.samples
def _(draw: Draw):
    yield sample(draw.normal(2, 3))
    yield sample(draw.normal(3, 0, 2))
    yield sample(4 * draw.normal(4))


@exp.errors
@log.errors
@sqrt.errors
@sin.errors
@cos.errors
@erf.errors
def _(draw: Draw):
    yield ErrorInput(sample(np.arange(3)), DTypeError, "got int64.*astype")
    yield ErrorInput(sample("text"), DTypeError, "got str")


@negative.errors
@sign.errors
def _(draw: Draw):
    yield ErrorInput(sample(np.array([True])), DTypeError, "got booleans")


@clip.errors
def _(draw: Draw):
    yield ErrorInput(sample(draw.normal(3)), ArgumentError, "min or max, got neither")
    yield ErrorInput(sample(draw.normal(3), min=1.0, max=0.5), ArgumentError, "min 1.0 is more")
    yield ErrorInput(
        sample(draw.normal(3), min=draw.normal(3)), ArgumentError, "min must be a number, got"
    )


@add.errors
@subtract.errors
@multiply.errors
@divide.errors
@power.errors
def _(draw: Draw):
    x = draw.normal(2, 3)
    yield ErrorInput(sample(x, draw.normal(2, 4)), ShapeError, r"\(2, 3\) and \(2, 4\) don't broad")
    yield ErrorInput(sample(x, x.astype(np.float64)), DTypeError, "float32 and float64")
    yield ErrorInput(sample(x, np.arange(3)), DTypeError, "got int64.*beside float32")
    yield ErrorInput(sample(x, [1.0, 2.0, 3.0]), DTypeError, "got list.*md.tensor")
    yield ErrorInput(sample(x, np.array([None] * 3)), DTypeError, "got object")
    yield ErrorInput(sample(x, x.astype(np.float16)), DTypeError, "float16")
