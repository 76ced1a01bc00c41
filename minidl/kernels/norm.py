"""Normalisation. Shapes and names as in the twin, `minidl.reference.norm`.

Each pass reads and writes an array once, by blocks of channels that fill registers. Sums over rows
are float32 over parts of ROWS_A_PART, then float64 over the parts, in an array (parts, 2, C).
"""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.kernels._jit import inlined, kernel, sized
from minidl.kernels._norm_columns import (
    CHANNELS_A_PART,
    PIVOT_ROWS,
    column_grads,
    column_sums,
    fold,
    move,
    pivot_of,
    scales,
    statistics,
)
from minidl.kernels.copy import contiguous, copy_to
from minidl.kernels.memory import empty, prepared
from minidl.kernels.microkernel import ACTIVATIONS, activated
from minidl.kernels.simd import (
    LANES,
    fma,
    load,
    load_part,
    spread,
    store,
    store_part,
    where_positive,
    zeros,
)

ROWS_A_PART = 256

Array = np.ndarray
Optional = np.ndarray | None


@inlined
def read(array, at, like, count, ragged):
    """Return a row of channels; all but `count` are left out where the row is ragged."""
    if ragged:
        return load_part(array, at, (0,), like, count)
    return load(array, at, (0,), like)


@inlined
def write(tile, array, at, count, ragged):
    if ragged:
        store_part(tile, array, at, (0,), count)
    else:
        store(tile, array, at, (0,))


@inlined
def passed(tile, output, activation):
    """`tile` where the activation whose input (or output) is given lets a gradient through."""
    if activation > 0:
        tile = where_positive(output, tile)
        if activation == 2:
            tile = where_positive(spread(6.0, output) - output, tile)
    return tile


@inlined
def rows_at_once(channels, width):
    """All, if they are one block wide; else row by row, for memory likes to be read in order."""
    return ROWS_A_PART if channels <= width else 1


def _blocks(channels: int, dtype: Any) -> tuple[int, int, bool]:
    """Vectors in a block of channels, lanes, and whether the last block is ragged."""
    lanes = LANES[np.dtype(dtype).itemsize]
    if channels % lanes:
        return 1, lanes, True
    return next(v for v in (4, 3, 2, 1) if channels // lanes % v == 0), lanes, False


@functools.cache
def _sums(vectors, lanes, ragged):
    width = vectors * lanes

    @kernel
    def sums(part, x, pivot, found):
        """found[part] = the sums of x - pivot and of its squares over the rows of a part."""
        channels = found.shape[2]
        rows = x.size // channels
        first, last = part * ROWS_A_PART, min(rows, (part + 1) * ROWS_A_PART)
        zero = zeros(x, 1, vectors, lanes)
        here = np.zeros(2 * channels, x.dtype)
        at_once = rows_at_once(channels, width)
        for start in range(first, last, at_once):
            for c in range(0, channels, width):
                count = channels - c
                shift = read(pivot, c, zero, count, ragged)
                total = read(here, c, zero, count, ragged)
                squares = read(here, channels + c, zero, count, ragged)
                for row in range(start, min(last, start + at_once)):
                    d = read(x, row * channels + c, zero, count, ragged) - shift
                    total = total + d
                    squares = fma(d, d, squares)
                write(total, here, c, count, ragged)
                write(squares, here, channels + c, count, ragged)
        for k in range(channels):
            found[part, 0, k], found[part, 1, k] = here[k], here[channels + k]

    return sums


@functools.cache
def _forward(vectors, lanes, ragged, activation):
    width = vectors * lanes

    @kernel
    def forward(part, x, mean, scale, bias, residual, y, channels):
        """y = activation((x - mean) * scale + bias + residual).

        Where there is no mean or no residual, their arrays are empty.
        """
        rows = x.size // channels
        last = min(rows, (part + 1) * ROWS_A_PART)
        zero = zeros(x, 1, vectors, lanes)
        at_once = rows_at_once(channels, width)
        for start in range(part * ROWS_A_PART, last, at_once):
            for c in range(0, channels, width):
                count = channels - c
                m = zero if mean.size == 0 else read(mean, c, zero, count, ragged)
                s, b = read(scale, c, zero, count, ragged), read(bias, c, zero, count, ragged)
                for row in range(start, min(last, start + at_once)):
                    at = row * channels + c
                    out = fma(read(x, at, zero, count, ragged) - m, s, b)
                    if residual.size > 0:
                        out = out + read(residual, at, zero, count, ragged)
                    write(activated(out, activation), y, at, count, ragged)

    return forward


@functools.cache
def _products(vectors, lanes, ragged, activation, by_y):
    width = vectors * lanes

    @kernel
    def products(part, dy, x, y, mean, scale, bias, passed_dy, found):
        """passed_dy = dy where the activation lets it through, which y tells or else is worked out.

        found[part] = the sums of passed_dy and of passed_dy * (x - mean) over the rows of a part.
        """
        channels = found.shape[2]
        rows = x.size // channels
        first, last = part * ROWS_A_PART, min(rows, (part + 1) * ROWS_A_PART)
        zero = zeros(x, 1, vectors, lanes)
        here = np.zeros(2 * channels, x.dtype)
        at_once = rows_at_once(channels, width)
        for start in range(first, last, at_once):
            for c in range(0, channels, width):
                count = channels - c
                m, s = read(mean, c, zero, count, ragged), read(scale, c, zero, count, ragged)
                b = read(bias, c, zero, count, ragged)
                total = read(here, c, zero, count, ragged)
                along = read(here, channels + c, zero, count, ragged)
                for row in range(start, min(last, start + at_once)):
                    at = row * channels + c
                    g = read(dy, at, zero, count, ragged)
                    d = read(x, at, zero, count, ragged) - m
                    if by_y:
                        g = passed(g, read(y, at, zero, count, ragged), activation)
                    else:
                        g = passed(g, fma(d, s, b), activation)
                    if passed_dy.size > 0:
                        write(g, passed_dy, at, count, ragged)
                    total = total + g
                    along = fma(g, d, along)
                write(total, here, c, count, ragged)
                write(along, here, channels + c, count, ragged)
        for k in range(channels):
            found[part, 0, k], found[part, 1, k] = here[k], here[channels + k]

    return products


@functools.cache
def _input_grad(vectors, lanes, ragged, activation):
    width = vectors * lanes

    @kernel
    def input_grad(part, dy, x, mean, scale, bias, mean_dy, along, dx, channels):
        """dx = scale * (g - mean_dy - (x - mean) * along), g = dy where the activation passes."""
        rows = x.size // channels
        last = min(rows, (part + 1) * ROWS_A_PART)
        zero = zeros(x, 1, vectors, lanes)
        at_once = rows_at_once(channels, width)
        for start in range(part * ROWS_A_PART, last, at_once):
            for c in range(0, channels, width):
                count = channels - c
                m, s = read(mean, c, zero, count, ragged), read(scale, c, zero, count, ragged)
                b = read(bias, c, zero, count, ragged)
                shift = read(mean_dy, c, zero, count, ragged)
                slope = read(along, c, zero, count, ragged)
                for row in range(start, min(last, start + at_once)):
                    at = row * channels + c
                    d = read(x, at, zero, count, ragged) - m
                    g = passed(read(dy, at, zero, count, ragged), fma(d, s, b), activation)
                    write(s * (g - shift - d * slope), dx, at, count, ragged)

    return input_grad


@functools.cache
def _scaled_grad(vectors, lanes, ragged, activation, summed):
    width = vectors * lanes

    @kernel
    def scaled_grad(part, dy, x, y, scale, passed_dy, dx, found, channels):
        """passed_dy = dy where the activation of y lets it through; dx = passed_dy * scale.

        summed: found[part] = the sums of passed_dy and of passed_dy * x over the rows of a part.
        What isn't asked for is an empty array.
        """
        rows = dy.size // channels
        last = min(rows, (part + 1) * ROWS_A_PART)
        zero = zeros(dy, 1, vectors, lanes)
        here = np.zeros(2 * channels if summed else 0, dy.dtype)
        at_once = rows_at_once(channels, width)
        for start in range(part * ROWS_A_PART, last, at_once):
            for c in range(0, channels, width):
                count = channels - c
                s = read(scale, c, zero, count, ragged)
                if summed:
                    total = read(here, c, zero, count, ragged)
                    along = read(here, channels + c, zero, count, ragged)
                for row in range(start, min(last, start + at_once)):
                    at = row * channels + c
                    g = read(dy, at, zero, count, ragged)
                    if activation > 0:
                        g = passed(g, read(y, at, zero, count, ragged), activation)
                    if passed_dy.size > 0:
                        write(g, passed_dy, at, count, ragged)
                    if dx.size > 0:
                        write(g * s, dx, at, count, ragged)
                    if summed:
                        total = total + g
                        along = fma(g, read(x, at, zero, count, ragged), along)
                if summed:
                    write(total, here, c, count, ragged)
                    write(along, here, channels + c, count, ragged)
        if summed:
            for k in range(channels):
                found[part, 0, k], found[part, 1, k] = here[k], here[channels + k]

    return scaled_grad


def _parts(x: Array) -> int:
    """Parts of the rows of x."""
    return -(-len(x) // ROWS_A_PART)


def _blocks_of(x: Array, work: int) -> int:
    """Parts of the channels of x."""
    return sized(-(-x.shape[1] // CHANNELS_A_PART), work)


def _columns(x: Array, count: int) -> tuple[Array, ...]:
    """Arrays of one number a channel."""
    return tuple(empty(x.shape[1:], x.dtype) for _ in range(count))


def _flat(array: Optional, like: Array) -> Array:
    """One-dimensional, or empty for None."""
    return np.empty(0, like.dtype) if array is None else contiguous(array).reshape(-1)


def batch_norm(
    x: Array, weight: Array, bias: Array, residual: Optional, activation: str | None, eps: float
) -> tuple[Array, Array, Array]:
    """activation((x - mean) / sqrt(var + eps) * weight + bias + residual), mean, (biased) var."""
    x, (rows, c) = contiguous(x), x.shape
    kind, parts, flat = _blocks(c, x.dtype), _parts(x), x.reshape(-1)
    pivot, mean, var, scale, shift = _columns(x, 5)
    # sums of squares lose digits far from the mean: measure from the mean of a sample of rows
    pivot_of(_blocks_of(x, PIVOT_ROWS * c), x, pivot)
    found = empty((parts, 2, c), np.float64)
    _sums(*kind)(parts, flat, pivot, found)
    statistics(
        _blocks_of(x, found.size), found, pivot, _flat(weight, x), _flat(bias, x), rows, float(eps),
        mean, var, scale, shift,
    )  # fmt: skip
    y = empty(x.shape, x.dtype)
    _forward(*kind, ACTIVATIONS[activation])(
        parts, flat, mean, scale, shift, _flat(residual, x), y.reshape(-1), c
    )
    return y, mean, var


def batch_norm_grad(
    dy: Array, x: Array, y: Optional, weight: Array, bias: Array,
    *, mean: Array, var: Array, activation: str | None, eps: float,
) -> tuple[Array, Array, Array, Optional]:  # fmt: skip
    """Return the gradients of batch_norm for x, weight, bias and, if y is given, the residual.

    y, the output, is asked for only where there was a residual.
    """
    dy, x, (rows, c) = contiguous(dy), contiguous(x), x.shape
    mean, var, bias = _flat(mean, x), _flat(var, x), _flat(bias, x)
    kind, parts, flat, eps = _blocks(c, x.dtype), _parts(x), x.reshape(-1), float(eps)
    scale, mean_dy, along, dweight, dbias = _columns(x, 5)
    scales(_blocks_of(x, c), _flat(weight, x), var, eps, scale)
    code = ACTIVATIONS[activation]
    kept = empty(x.shape, x.dtype) if y is not None and code else None
    found = empty((parts, 2, c), np.float64)
    _products(*kind, code, y is not None)(
        parts, dy.reshape(-1), flat, _flat(y, x), mean, scale, bias, _flat(kept, x), found
    )
    column_grads(_blocks_of(x, found.size), found, var, rows, eps, mean_dy, along, dweight, dbias)
    if y is not None:  # the activation is dealt with
        dy, code = dy if kept is None else kept, 0
    dx = empty(x.shape, x.dtype)
    _input_grad(*kind, code)(
        parts, dy.reshape(-1), flat, mean, scale, bias, mean_dy, along, dx.reshape(-1), c
    )
    return dx, dweight, dbias, None if y is None else dy


def update_running(
    running_mean: Array, running_var: Array, mean: Array, var: Array, momentum: float, rows: int
) -> None:
    """The running statistics moved by `momentum` towards those of a batch of so many rows."""
    moved = contiguous(running_mean), contiguous(running_var)
    move(1, *moved, mean, var, float(momentum), rows)
    for running, array in zip((running_mean, running_var), moved, strict=True):
        if array is not running:  # it isn't contiguous: a copy was moved
            copy_to(running, array)


def folded(
    weight: Optional, bias: Optional, mean: Array, var: Array, eps: float
) -> tuple[Array, Array]:
    """Scale and shift of batch normalisation by statistics that are known."""
    scale, shift = (prepared(mean.shape, mean.dtype) for _ in range(2))
    fold(
        1, _flat(weight, mean), _flat(bias, mean), _flat(mean, mean), _flat(var, mean), float(eps),
        scale, shift,
    )  # fmt: skip
    return scale, shift


def scale_shift(
    x: Array, scale: Array, shift: Array, residual: Optional, activation: str | None
) -> Array:
    """activation(x * scale + shift + residual), by columns."""
    x = contiguous(x)
    y = empty(x.shape, x.dtype)
    _forward(*_blocks(x.shape[1], x.dtype), ACTIVATIONS[activation])(
        _parts(x), x.reshape(-1), _flat(None, x), _flat(scale, x), _flat(shift, x),
        _flat(residual, x), y.reshape(-1), x.shape[1],
    )  # fmt: skip
    return y


def scale_shift_grad(
    dy: Array, x: Array, y: Optional, scale: Array, activation: str | None, needs: Sequence[bool]
) -> tuple[Optional, ...]:
    """Return the gradients of scale_shift for x, scale, shift and the residual that are needed.

    y, the output, is asked for only where there is an activation.
    """
    dy, c = contiguous(dy), dy.shape[1]
    code, summed = ACTIVATIONS[activation], needs[1] or needs[2]
    dx = empty(dy.shape, dy.dtype) if needs[0] else None
    kept = empty(dy.shape, dy.dtype) if needs[3] and code else None
    found = empty((_parts(dy), 2, c), np.float64) if summed else np.empty((0, 2, c))
    if summed or dx is not None or kept is not None:
        _scaled_grad(*_blocks(c, dy.dtype), code, summed)(
            _parts(dy), dy.reshape(-1), _flat(x if summed else None, dy),
            _flat(y if code else None, dy), _flat(scale, dy), _flat(kept, dy), _flat(dx, dy),
            found, c,
        )  # fmt: skip
    dscale, dshift = _columns(dy, 2) if summed else (None, None)
    if summed:
        column_sums(_blocks_of(dy, found.size), found, dshift, dscale)
    dresidual = kept if code else dy
    found_all = (dx, dscale, dshift, dresidual)
    return tuple(g if need else None for g, need in zip(found_all, needs, strict=True))
