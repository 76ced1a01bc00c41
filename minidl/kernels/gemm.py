"""Matrix multiplication. Shapes and names as in the twin, `minidl.reference.gemm`."""

import functools

import numpy as np

from minidl.kernels._jit import kernel, sized
from minidl.kernels.copy import contiguous
from minidl.kernels.memory import empty
from minidl.kernels.microkernel import (
    ACTIVATIONS,
    Shape,
    accumulate,
    accumulate_part,
    activated,
    begin,
    finish,
    resume,
    tile_shape,
)
from minidl.kernels.offsets import clipped
from minidl.kernels.packing import filled
from minidl.kernels.reduce import sum_axis
from minidl.kernels.simd import zeros
from minidl.kernels.stream import WORK_A_NUMBER, weight_sums
from minidl.kernels.transpose import transposed_copy

DEPTH = 512  # of a packed block that is multiplied at a time: 128 kB, it stays in the L2 cache
ROWS_A_PART = 96
PACKED_ROWS = 64  # of b, that a thread packs at a time
FEWEST_ROWS = 16  # with no more, and a transposed b of MANY_NUMBERS, b takes the place of a
MANY_NUMBERS = 64 * 1024
MANY_ROWS = 512  # in a weight gradient: then it is a product like others
FEW_ROWS = 128  # of the product: then b is read where it lies, packing it would cost more


@kernel
def _pack(part, b, width, packed):
    """packed[j, k, :] = b[k, j*width : (j+1)*width], behind the last column zeros."""
    blocks, depth, _ = packed.shape
    columns = b.shape[1]
    j, first = part % blocks, part // blocks * PACKED_ROWS
    count = min(width, columns - j * width)
    for k in range(first, min(depth, first + PACKED_ROWS)):
        source, target = b[k, j * width : j * width + count], packed[j, k]
        for i in range(count):
            target[i] = source[i]
        for i in range(count, width):
            target[i] = 0


@functools.cache
def _product(rows, vectors, lanes, packed):
    width = vectors * lanes

    @kernel
    def multiply(part, a, row_step, k_step, b, bias, activation, c, sizes, row_parts, column_part):
        """c = activation(a @ b + bias); a[i, k] = a[i*row_step + k*k_step]; c flat, and b too,
        packed or by rows. (One call of the micro-kernel in each: of two, the registers spill.)"""
        m, depth, n = sizes
        tiles, blocks = (m + rows - 1) // rows, (n + width - 1) // width
        column_parts = (blocks + column_part - 1) // column_part
        row_part = part // column_parts
        first = tiles * row_part // row_parts * rows
        last = min(m, tiles * (row_part + 1) // row_parts * rows)
        zero = zeros(c, rows, vectors, lanes)
        for k in range(0, depth, DEPTH):
            size = min(DEPTH, depth - k)
            first_block = part % column_parts * column_part
            for j in range(first_block, min(blocks, first_block + column_part)):
                count = n - j * width
                for i in range(first, last, rows):
                    c_rows = clipped(n, last - 1 - i, zero)
                    a_rows = clipped(row_step, last - 1 - i, zero)
                    at, a_at = i * n + j * width, i * row_step + k * k_step
                    if k == 0:
                        acc = begin(zero, bias, j * width)
                    else:
                        acc = resume(zero, c, at, c_rows, count, width)
                    if packed:
                        b_at = (j * depth + k) * width
                        acc = accumulate(acc, a, a_at, a_rows, k_step, b, b_at, width, size)
                    else:
                        b_at = k * n + j * width
                        acc = accumulate_part(acc, a, a_at, a_rows, k_step, b, b_at, n, size, count)
                    if k + size == depth:
                        acc = activated(acc, activation)
                    finish(acc, c, at, c_rows, count, width)

    return multiply


def _packed_columns(b: np.ndarray, shape: Shape) -> np.ndarray:
    """b (depth, columns) in blocks of columns side by side: (blocks, depth, width)."""
    packed = empty((-(-b.shape[1] // shape.width), b.shape[0], shape.width), b.dtype)
    parts = packed.shape[0] * -(-packed.shape[1] // PACKED_ROWS)
    _pack(sized(parts, packed.size), b, shape.width, packed)
    return packed


def matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a @ b.  a: (rows, depth), also as a transposed view;  b: (depth, columns)."""
    if len(a) <= FEWEST_ROWS and b.size >= MANY_NUMBERS and b.T.flags.c_contiguous:
        return transposed_copy(product(b.T, a.T, None, None))  # b is read once, where it lies
    return product(a, b, None, None)


def weight_grad(
    x: np.ndarray, dy: np.ndarray, with_bias: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """x.T @ dy and, if asked, the sum of dy over its rows."""
    if len(x) > MANY_ROWS or x.shape[1] * dy.shape[1] > MANY_NUMBERS:
        return matmul(x.T, dy), sum_axis(contiguous(dy)[None], 1.0)[0] if with_bias else None
    if x.size == 0 or dy.size == 0:
        dbias = sum_axis(contiguous(dy)[None], 1.0)[0] if with_bias else None
        return np.zeros((x.shape[1], dy.shape[1]), x.dtype), dbias
    pixels, gradients = x[None, None], dy[None, None]  # (1, 1, rows, features)
    no_padding, shape = ((0, 0), (0, 0)), (x.shape[1], dy.shape[1])
    return weight_sums(pixels, gradients, shape, (1, 1), (1, 1), no_padding, (1, 1), 1, with_bias)


def product(
    a: np.ndarray, b: np.ndarray, bias: np.ndarray | None, activation: str | None
) -> np.ndarray:
    """activation(a @ b + bias)."""
    (m, depth), n = a.shape, b.shape[1]
    c = empty((m, n), a.dtype)
    if c.size == 0:
        return c
    if depth == 0:  # an empty sum
        a, b, depth = np.zeros((m, 1), a.dtype), np.zeros((1, n), a.dtype), 1
    shape = tile_shape(n, a.itemsize)
    if a.T.flags.c_contiguous:
        flat, row_step, k_step = a.T.reshape(-1), 1, m
    else:
        flat, row_step, k_step = contiguous(a).reshape(-1), depth, 1
    blocks = -(-n // shape.width)
    if not b.flags.c_contiguous:
        b = transposed_copy(b.T) if b.T.flags.c_contiguous else contiguous(b)
    packed = m > FEW_ROWS
    if packed:
        b = _packed_columns(b, shape)
    # by shape alone, never by threads, but in fours, so that these have equal shares
    row_parts = min(-(-m // shape.rows), -(-m // (4 * ROWS_A_PART)) * 4)
    column_part = max(1, -(-blocks * row_parts // 16))
    start = filled(bias, 1, blocks * shape.width, a.dtype)
    multiply = _product(*shape, packed)
    parts = sized(row_parts * -(-blocks // column_part), m * n * depth // WORK_A_NUMBER)
    multiply(
        parts, flat, row_step, k_step, b.reshape(-1), start, ACTIVATIONS[activation],
        c.reshape(-1), (m, depth, n), row_parts, column_part,
    )  # fmt: skip
    return c
