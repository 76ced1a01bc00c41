"""Activations without a kink, or with small ones. Names as in `minidl.reference.smooth`."""

import functools
import math

import numpy as np

from minidl.kernels._jit import EXACT, PART, inlined, kernel, sized
from minidl.kernels.copy import contiguous
from minidl.kernels.exponential import exponential
from minidl.kernels.memory import empty
from minidl.kernels.microkernel import finish, resume
from minidl.kernels.simd import LANES, fma, maximum, spread, where_positive, zeros

ERFC = (
    0.17087277, -0.82215223, 1.48851587, -1.13520398, 0.27886807, -0.18628806, 0.09678418,
    0.37409196, 1.00002368, -1.26551223,
)  # fmt: skip
VECTORS = 4  # of a tile: enough independent series to keep a core busy


# Sums of unequal parts of a number, such as those of `exponential`, may not be put together anew.
exactly = functools.partial(inlined, flags=EXACT)


@exactly
def _silu(x):
    return x / (1.0 + exponential(spread(0.0, x) - x))


@exactly
def _silu_grad(dy, x):
    share = spread(1.0, x) / (1.0 + exponential(spread(0.0, x) - x))
    return dy * share * (1.0 + x * (1.0 - share))


@exactly
def _below(x):
    """P(X <= x) for a standard normal X, in float32: half of erfc(-x / sqrt(2)).

    Source: Press et al. 1992, "Numerical recipes in C", section 6.2: to 1.2e-7 of itself.
    """
    z = maximum(x, spread(0.0, x) - x)
    z = math.sqrt(0.5) * z
    t = spread(2.0, x) / (2.0 + z)
    series = fma(spread(ERFC[0], x), t, spread(ERFC[1], x))
    for k in range(2, len(ERFC)):
        series = fma(series, t, spread(ERFC[k], x))
    tail = 0.5 * t * exponential(series - z * z)
    return tail + where_positive(x, 1.0 - 2.0 * tail)


@exactly
def _fast_gelu(x):
    return x * _below(x)


@exactly
def _fast_gelu_grad(dy, x):
    density = (1 / math.sqrt(2 * math.pi)) * exponential(-0.5 * x * x)
    return dy * (_below(x) + x * density)


@functools.cache
def _each(apply, lanes):
    """The kernel that applies a function of tiles to each number."""
    width = VECTORS * lanes

    @functools.partial(kernel, flags=EXACT)
    def each(part, x, y):
        zero = zeros(y, 1, VECTORS, lanes)
        stop = min(x.size, (part + 1) * PART)
        for i in range(part * PART, stop, width):
            tile = resume(zero, x, i, (0,), stop - i, width)
            finish(apply(tile), y, i, (0,), stop - i, width)

    return each


@functools.cache
def _each_pair(apply, lanes):
    """The kernel that applies a function of two tiles to each pair of numbers."""
    width = VECTORS * lanes

    @functools.partial(kernel, flags=EXACT)
    def each(part, dy, x, dx):
        zero = zeros(dx, 1, VECTORS, lanes)
        stop = min(x.size, (part + 1) * PART)
        for i in range(part * PART, stop, width):
            g = resume(zero, dy, i, (0,), stop - i, width)
            tile = resume(zero, x, i, (0,), stop - i, width)
            finish(apply(g, tile), dx, i, (0,), stop - i, width)

    return each


@functools.partial(kernel, flags=EXACT)
def _gelu(part, x, y):
    one, half, root = x.dtype.type(1), x.dtype.type(0.5), x.dtype.type(math.sqrt(0.5))
    source, target = x[part * PART : (part + 1) * PART], y[part * PART : (part + 1) * PART]
    for i in range(source.size):
        target[i] = source[i] * (one + math.erf(source[i] * root)) * half


@functools.partial(kernel, flags=EXACT)
def _gelu_grad(part, dy, x, dx):
    one, half, root = x.dtype.type(1), x.dtype.type(0.5), x.dtype.type(math.sqrt(0.5))
    top = x.dtype.type(1 / math.sqrt(2 * math.pi))
    first, last = part * PART, min(x.size, (part + 1) * PART)
    g, source, target = dy[first:last], x[first:last], dx[first:last]
    for i in range(source.size):
        number = source[i]
        below = (one + math.erf(number * root)) * half
        target[i] = g[i] * (below + number * math.exp(-half * number * number) * top)


@functools.partial(kernel, flags=EXACT)
def _hardswish(part, x, y):
    nothing, three, six = x.dtype.type(0), x.dtype.type(3), x.dtype.type(6)
    source, target = x[part * PART : (part + 1) * PART], y[part * PART : (part + 1) * PART]
    for i in range(source.size):
        ramp = source[i] + three
        ramp = nothing if ramp <= nothing else ramp
        target[i] = source[i] * (six if ramp >= six else ramp) / six


@functools.partial(kernel, flags=EXACT)
def _hardswish_grad(part, dy, x, dx):
    nothing, two = x.dtype.type(0), x.dtype.type(2)
    three, six = x.dtype.type(3), x.dtype.type(6)
    first, last = part * PART, min(x.size, (part + 1) * PART)
    g, source, target = dy[first:last], x[first:last], dx[first:last]
    for i in range(source.size):
        number = source[i]
        rising = g[i] * (two * number + three) / six
        target[i] = nothing if number <= -three else g[i] if number >= three else rising


def _applied(compiled, *arrays: np.ndarray) -> np.ndarray:
    """What a kernel makes of arrays of one shape and dtype."""
    arrays = tuple(contiguous(array) for array in arrays)
    y = empty(arrays[0].shape, arrays[0].dtype)
    flat = [array.reshape(-1) for array in (*arrays, y)]
    compiled(sized(-(-y.size // PART), y.size), *flat)
    return y


def silu(x: np.ndarray) -> np.ndarray:
    """x * sigmoid(x)."""
    return _applied(_each(_silu, LANES[x.itemsize]), x)


def silu_grad(dy: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The gradient of `silu` for x."""
    return _applied(_each_pair(_silu_grad, LANES[x.itemsize]), dy, x)


def gelu(x: np.ndarray) -> np.ndarray:
    """x * P(X <= x) for a standard normal X."""
    return _applied(_each(_fast_gelu, LANES[4]) if x.itemsize == 4 else _gelu, x)


def gelu_grad(dy: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The gradient of `gelu` for x."""
    fast = _each_pair(_fast_gelu_grad, LANES[4])
    return _applied(fast if x.itemsize == 4 else _gelu_grad, dy, x)


def hardswish(x: np.ndarray) -> np.ndarray:
    """x * min(max(x + 3, 0), 6) / 6."""
    return _applied(_hardswish, x)


def hardswish_grad(dy: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The gradient of `hardswish` for x: that of the flat side at the corners."""
    return _applied(_hardswish_grad, dy, x)
