"""Normalisation. Shapes and names as in the twin, `minidl.reference.norm`.

Each pass reads and writes an array once, by blocks of channels that fill registers. Sums over rows
are float32 over parts of ROWS_A_PART, then float64 over the parts.
"""

import functools
from typing import Any

import numpy as np
from numba import prange

from minidl.kernels._jit import inlined, kernel
from minidl.kernels.memory import empty
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
PIVOT_ROWS = 64

Array = np.ndarray
Optional = np.ndarray | None


@inlined
def read(array, at, like, count, ragged):
    """A row of channels; all but `count` are left out where the row is ragged."""
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
    def sums(x, pivot, parts):
        """parts[p] = the sums of x - pivot and of its squares over the rows of part p."""
        channels = parts.shape[2]
        rows = x.size // channels
        for part in prange(parts.shape[0]):
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
                parts[part, 0, k], parts[part, 1, k] = here[k], here[channels + k]

    return sums


@functools.cache
def _forward(vectors, lanes, ragged, activation):
    width = vectors * lanes

    @kernel
    def forward(x, mean, scale, bias, residual, y, channels):
        """y = activation((x - mean) * scale + bias + residual)."""
        rows = x.size // channels
        for part in prange((rows + ROWS_A_PART - 1) // ROWS_A_PART):
            last = min(rows, (part + 1) * ROWS_A_PART)
            zero = zeros(x, 1, vectors, lanes)
            at_once = rows_at_once(channels, width)
            for start in range(part * ROWS_A_PART, last, at_once):
                for c in range(0, channels, width):
                    count = channels - c
                    m, s = read(mean, c, zero, count, ragged), read(scale, c, zero, count, ragged)
                    b = read(bias, c, zero, count, ragged)
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
    def products(dy, x, y, mean, scale, bias, passed_dy, parts):
        """passed_dy = dy where the activation lets it through, which y tells or else is worked out.

        parts[p] = the sums of passed_dy and of passed_dy * (x - mean) over part p.
        """
        channels = parts.shape[2]
        rows = x.size // channels
        for part in prange(parts.shape[0]):
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
                parts[part, 0, k], parts[part, 1, k] = here[k], here[channels + k]

    return products


@functools.cache
def _input_grad(vectors, lanes, ragged, activation):
    width = vectors * lanes

    @kernel
    def input_grad(dy, x, mean, scale, bias, mean_dy, along, dx, channels):
        """dx = scale * (g - mean_dy - (x - mean) * along), g = dy where the activation passes."""
        rows = x.size // channels
        for part in prange((rows + ROWS_A_PART - 1) // ROWS_A_PART):
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


@kernel
def _window_sum(x, before, after, y):
    rows, columns = x.shape
    for r in prange(rows):
        for c in range(columns):
            total = x[r, c]
            for k in range(max(0, c - before), min(columns, c + after + 1)):
                if k != c:
                    total += x[r, k]
            y[r, c] = total


def _parts(x: Array) -> Array:
    return np.empty((-(-len(x) // ROWS_A_PART), 2, x.shape[1]), np.float64)


def _flat(array: Optional, like: Array) -> Array:
    """One-dimensional, or empty for None."""
    return np.empty(0, like.dtype) if array is None else np.ascontiguousarray(array).reshape(-1)


def batch_norm(
    x: Array, weight: Array, bias: Array, residual: Optional, activation: str | None, eps: float
) -> tuple[Array, Array, Array]:
    """activation((x - mean) / sqrt(var + eps) * weight + bias + residual), mean, (biased) var."""
    x = np.ascontiguousarray(x)
    kind, parts = _blocks(x.shape[1], x.dtype), _parts(x)
    # sums of squares lose digits far from the mean: measure from the mean of a sample of rows
    pivot = x[:: max(1, len(x) // PIVOT_ROWS)].mean(axis=0)
    _sums(*kind)(x.reshape(-1), pivot, parts)
    total, squares = parts.sum(axis=0) / len(x)
    var = np.maximum(squares - total**2, 0)
    mean = (pivot + total).astype(x.dtype)
    scale = (weight / np.sqrt(var + eps)).astype(x.dtype)
    # where a channel hardly varies, what the mean lost by rounding would show
    shift = (bias + (mean - (pivot + total)) * scale).astype(x.dtype)
    y = empty(x.shape, x.dtype)
    _forward(*kind, ACTIVATIONS[activation])(
        x.reshape(-1), mean, scale, shift, _flat(residual, x), y.reshape(-1), x.shape[1]
    )
    return y, mean, var.astype(x.dtype)


def batch_norm_grad(
    dy: Array, x: Array, y: Optional, weight: Array, bias: Array, mean: Array, var: Array,
    activation: str | None, eps: float,
) -> tuple[Array, Array, Array, Optional]:  # fmt: skip
    """The gradients of batch_norm for x, weight, bias and, if y is given, the residual.

    y, the output, is asked for only where there was a residual.
    """
    dy, x = np.ascontiguousarray(dy), np.ascontiguousarray(x)
    inv_std = 1 / np.sqrt(var.astype(np.float64) + eps)
    scale = (weight * inv_std).astype(x.dtype)
    kind, parts, bias = _blocks(x.shape[1], x.dtype), _parts(x), _flat(bias, x)
    code = ACTIVATIONS[activation]
    kept = empty(x.shape, x.dtype) if y is not None and code else None
    _products(*kind, code, y is not None)(
        dy.reshape(-1), x.reshape(-1), _flat(y, x), _flat(mean, x), scale, bias, _flat(kept, x),
        parts,
    )  # fmt: skip
    dbias, product = parts.sum(axis=0)
    columns = (dbias / len(x), product * inv_std**2 / len(x))
    if y is not None:  # the activation is dealt with
        dy, code = dy if kept is None else kept, 0
    dx = empty(x.shape, x.dtype)
    _input_grad(*kind, code)(
        dy.reshape(-1), x.reshape(-1), _flat(mean, x), scale, bias,
        *(column.astype(x.dtype) for column in columns), dx.reshape(-1), x.shape[1],
    )  # fmt: skip
    dweight = (product * inv_std).astype(x.dtype)
    return dx, dweight, dbias.astype(x.dtype), None if y is None else dy


def scale_shift(
    x: Array, scale: Array, shift: Array, residual: Optional, activation: str | None
) -> Array:
    """activation(x * scale + shift + residual), by columns."""
    x = np.ascontiguousarray(x)
    y = empty(x.shape, x.dtype)
    _forward(*_blocks(x.shape[1], x.dtype), ACTIVATIONS[activation])(
        x.reshape(-1), np.zeros(len(scale), x.dtype), _flat(scale, x), _flat(shift, x),
        _flat(residual, x), y.reshape(-1), x.shape[1],
    )  # fmt: skip
    return y


def channel_window_sum(x: Array, before: int, after: int) -> Array:
    """y[r, c] = sum of x[r, c - before : c + after + 1].  x: (R, C)."""
    y = np.empty_like(x, order="C")
    _window_sum(np.ascontiguousarray(x), before, after, y)
    return y
