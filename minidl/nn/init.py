"""Initial values of weights. Each function fills a Tensor in place and returns it.

Fans: a Linear weight is (in, out), a convolution's (kh, kw, in, out), where each of the kh x kw
pixels counts as an input. Give `fan_in` and `fan_out` where the shape doesn't determine them.
"""

import contextlib
import math
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np

from minidl import random
from minidl.autograd.tensor import Tensor
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.ops.activation import BY_NAME

__all__ = [
    "constant",
    "gain",
    "kaiming_normal",
    "kaiming_uniform",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "ones",
    "orthogonal",
    "uniform",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]

PIECE = 2**14  # numbers drawn at a time

GAINS = {
    None: 1.0,
    "linear": 1.0,
    "sigmoid": 1.0,
    "hardsigmoid": 1.0,
    "tanh": 5 / 3,
    "relu": math.sqrt(2),
    "relu6": math.sqrt(2),
    "leaky_relu": math.sqrt(2 / (1 + 0.01**2)),
}


def gain(nonlinearity: str | None) -> float:
    """Return the factor of the standard deviation that compensates for a nonlinearity.

    Smooth relatives of ReLU, such as "silu", have ReLU's.
    Raises ArgumentError for an unknown one.
    Source: He et al. 2015, "Delving Deep into Rectifiers", for ReLU and its kin; 5 / 3 for tanh is
    that of PyTorch.
    """
    known = [*GAINS, *(name for name in BY_NAME if name not in GAINS)]
    if nonlinearity not in known:
        raise ArgumentError(f"init: nonlinearity must be one of {known}, got {nonlinearity!r}")
    return GAINS.get(nonlinearity, GAINS["relu"])


def fans(tensor: Tensor) -> tuple[int, int]:
    """Return (fan_in, fan_out): how many inputs each output of `tensor` sees, and vice versa."""
    _check(tensor)
    if tensor.ndim < 2:
        raise ShapeError(f"init needs a weight of two axes or more, got shape {tensor.shape}")
    window = math.prod(tensor.shape[:-2])
    return window * tensor.shape[-2], window * tensor.shape[-1]


def _check(tensor: Any) -> None:
    if not isinstance(tensor, Tensor) or tensor.dtype.kind != "f":
        raise DTypeError(f"init fills float Tensors in place, got {tensor!r:.60}")


_skipping = ContextVar("skipping", default=False)


@contextlib.contextmanager
def skipped() -> Iterator[None]:
    """Leave new layers uninitialized, for weights that are loaded at once."""
    before = _skipping.set(True)
    try:
        yield
    finally:
        _skipping.reset(before)


def uniform(tensor: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Fill with uniform numbers from low to high.

    tensor: floats of any shape; it is filled in place and returned.
    Raises DTypeError for other than a float Tensor.
    """
    _check(tensor)
    if _skipping.get():
        return tensor
    array, draw = tensor.data, random.generator().uniform
    flat = array.reshape(-1)  # (size,)
    for start in range(0, flat.size, PIECE):  # a float64 copy of a large weight would cost seconds
        piece = flat[start : start + PIECE]
        piece[...] = draw(low, high, piece.size)
    if not array.flags.c_contiguous:
        array[...] = flat.reshape(array.shape)
    return tensor


def normal(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Fill with Gaussian numbers.

    tensor: floats of any shape; it is filled in place and returned.
    Raises DTypeError for other than a float Tensor.
    """
    _check(tensor)
    if not _skipping.get():
        tensor.data[...] = random.generator().normal(mean, std, tensor.shape)
    return tensor


def constant(tensor: Tensor, value: float) -> Tensor:
    """Fill with `value`.

    tensor: floats of any shape; it is filled in place and returned.
    Raises DTypeError for other than a float Tensor.
    """
    _check(tensor)
    if not _skipping.get():
        tensor.data[...] = value
    return tensor


def zeros(tensor: Tensor) -> Tensor:
    """Fill with 0.

    tensor: floats of any shape; it is filled in place and returned.
    Raises DTypeError for other than a float Tensor.
    """
    return constant(tensor, 0.0)


def ones(tensor: Tensor) -> Tensor:
    """Fill with 1.

    tensor: floats of any shape; it is filled in place and returned.
    Raises DTypeError for other than a float Tensor.
    """
    return constant(tensor, 1.0)


def _uniform_of(tensor: Tensor, std: float) -> Tensor:
    """Fill with uniform numbers around 0 of this standard deviation, up to sqrt(3) times it."""
    bound = math.sqrt(3) * std
    return uniform(tensor, -bound, bound)


def _xavier_std(tensor: Tensor, factor: float, fan_in: int | None, fan_out: int | None) -> float:
    if fan_in is None or fan_out is None:
        of_shape = fans(tensor)
        fan_in = of_shape[0] if fan_in is None else fan_in
        fan_out = of_shape[1] if fan_out is None else fan_out
    return factor * math.sqrt(2 / max(1, fan_in + fan_out))


def xavier_uniform(
    tensor: Tensor,
    gain: float = 1.0,
    *,
    fan_in: int | None = None,
    fan_out: int | None = None,
) -> Tensor:
    """Fill uniformly with variance 2 gain^2 / (fan_in + fan_out).

    tensor: floats, (in, out) or (kh, kw, in, out); it is filled in place and returned.
    Raises DTypeError for other than a float Tensor, ShapeError where its fans can't be told.
    Source: Glorot and Bengio 2010.
    """
    return _uniform_of(tensor, _xavier_std(tensor, gain, fan_in, fan_out))


def xavier_normal(
    tensor: Tensor,
    gain: float = 1.0,
    *,
    fan_in: int | None = None,
    fan_out: int | None = None,
) -> Tensor:
    """Fill with a Gaussian of variance 2 gain^2 / (fan_in + fan_out).

    tensor: floats, (in, out) or (kh, kw, in, out); it is filled in place and returned.
    Raises DTypeError for other than a float Tensor, ShapeError where its fans can't be told.
    Source: Glorot and Bengio 2010.
    """
    return normal(tensor, 0.0, _xavier_std(tensor, gain, fan_in, fan_out))


def _kaiming_std(tensor: Tensor, mode: str, nonlinearity: str | None, fan: int | None) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ArgumentError(f"init: mode must be 'fan_in' or 'fan_out', got {mode!r}")
    if fan is None:
        fan = fans(tensor)[mode == "fan_out"]
    return gain(nonlinearity) / math.sqrt(max(1, fan))


def kaiming_uniform(
    tensor: Tensor,
    *,
    mode: str = "fan_in",
    nonlinearity: str | None = "relu",
    fan: int | None = None,
) -> Tensor:
    """Fill uniformly with variance gain^2 / fan.

    tensor: floats, (in, out) or (kh, kw, in, out); it is filled in place and returned.
    Raises DTypeError for other than a float Tensor, ShapeError where its fans can't be told.
    Source: He et al. 2015, equations 10 and 14.
    """
    return _uniform_of(tensor, _kaiming_std(tensor, mode, nonlinearity, fan))


def kaiming_normal(
    tensor: Tensor,
    *,
    mode: str = "fan_in",
    nonlinearity: str | None = "relu",
    fan: int | None = None,
) -> Tensor:
    """Fill with a Gaussian of variance gain^2 / fan.

    tensor: floats, (in, out) or (kh, kw, in, out); it is filled in place and returned.
    Raises DTypeError for other than a float Tensor, ShapeError where its fans can't be told.
    Source: He et al. 2015, equations 10 and 14.
    """
    return normal(tensor, 0.0, _kaiming_std(tensor, mode, nonlinearity, fan))


def lecun_uniform(tensor: Tensor, fan_in: int | None = None) -> Tensor:
    """Fill uniformly with variance 1 / fan_in.

    tensor: floats, (in, out) or (kh, kw, in, out); it is filled in place and returned.
    Raises DTypeError for other than a float Tensor, ShapeError where its fans can't be told.
    Source: LeCun et al. 1998, "Efficient BackProp", eq. 16.
    """
    return kaiming_uniform(tensor, nonlinearity=None, fan=fan_in)


def lecun_normal(tensor: Tensor, fan_in: int | None = None) -> Tensor:
    """Fill with a Gaussian of variance 1 / fan_in.

    tensor: floats, (in, out) or (kh, kw, in, out); it is filled in place and returned.
    Raises DTypeError for other than a float Tensor, ShapeError where its fans can't be told.
    Source: LeCun et al. 1998, "Efficient BackProp".
    """
    return kaiming_normal(tensor, nonlinearity=None, fan=fan_in)


def orthogonal(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Fill with orthogonal rows or columns, whichever are fewer, of length `gain`.

    A convolution's weight counts as a matrix (kh * kw * in, out).
    Source: Saxe et al. 2013, "Exact solutions to the nonlinear dynamics of learning".
    """
    fan_in, _ = fans(tensor)
    if _skipping.get():
        return tensor
    columns = tensor.shape[-1]
    tall = (max(fan_in, columns), min(fan_in, columns))
    q, r = np.linalg.qr(random.generator().standard_normal(tall))
    q *= np.sign(np.diag(r))  # makes the distribution uniform over orthogonal matrices
    matrix = q if fan_in >= columns else q.T
    tensor.data[...] = gain * matrix.reshape(tensor.shape)
    return tensor
