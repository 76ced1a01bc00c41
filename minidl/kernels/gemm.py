"""Matrix multiplication. Shapes and names as in the twin, `minidl.reference.gemm`.

Goto and van de Geijn 2008, "Anatomy of high-performance matrix multiplication": a part copies a
panel of b, some columns wide and DEPTH deep, into a buffer that stays in the cache, and runs the
micro-kernel along its rows of a.
"""

import functools

import numpy as np

from minidl.kernels._jit import helper, kernel, sized
from minidl.kernels.copy import contiguous
from minidl.kernels.memory import empty
from minidl.kernels.microkernel import (
    ACTIVATIONS,
    Shape,
    accumulate,
    activated,
    begin,
    finish,
    resume,
    tile_shape,
)
from minidl.kernels.offsets import clipped, steps
from minidl.kernels.packing import filled
from minidl.kernels.reduce import sum_axis
from minidl.kernels.simd import LANES, MANY_REGISTERS, load, load_part, store, zeros
from minidl.kernels.stream import WORK_A_NUMBER
from minidl.kernels.transpose import transposed

DEPTH = 256  # of a panel
PANEL_COLUMNS = 64  # with DEPTH 64 kB of float32: in the L2 cache, and below malloc's own pages
ROWS_A_PART = 384
FEWEST_PARTS = 8
FEW_ROWS = 8  # of a product for which copying b would cost more than multiplying
FEWEST_COLUMNS = 256  # of b, in a part of such a product: runs of 1 kB are read at full speed
ROWS_AT_ONCE = 8  # of b, that are read side by side
NUMBERS_A_WORK = 2  # of b, that take as long as handling a number does elsewhere


@helper
def _pack(b, row_step, column_step, first, depth, column, count, panel, at, width, one, square):
    """panel[at + k*width + i] = b[first + k, column + i], 0 from `count` columns on.

    b lies by rows (column_step 1) or by columns (row_step 1). one, square: tiles of one vector, and
    of as many as it has lanes.
    """
    lanes = len(steps(1, square))
    for i in range(0, width, lanes):
        start, left = first * row_step + (column + i) * column_step, count - i
        k = 0
        if column_step == 1 and left >= lanes:
            for k in range(depth):
                store(load(b, start + k * row_step, (0,), one), panel, at + k * width + i, (0,))
            continue
        if column_step == 1:
            for k in range(depth):
                row = load_part(b, start + k * row_step, (0,), one, max(0, left))
                store(row, panel, at + k * width + i, (0,))
            continue
        if left >= lanes:
            for k in range(0, depth - lanes + 1, lanes):
                block = transposed(load(b, start + k, steps(column_step, square), square))
                store(block, panel, at + k * width + i, steps(width, square))
            k = depth // lanes * lanes
        for rest in range(k, depth):
            for j in range(lanes):
                number = b[start + rest + j * column_step] if j < left else panel.dtype.type(0)
                panel[at + rest * width + i + j] = number


@functools.cache
def _product(rows, vectors, lanes, turned):
    width = vectors * lanes
    strip_vectors = -(-rows // lanes)

    @kernel
    def multiply(part, a, row_step, k_step, b, b_row, b_column, bias, activation, c, sizes):
        """c = activation(a @ b + bias); a[i, k] = a[i*row_step + k*k_step], b[k, j] alike.

        sizes: rows, depth, columns; rows and columns of a part, column parts. turned: a's rows
        lie side by side (row_step 1); a strip of them is copied, for its columns lie far apart.
        (One call of the micro-kernel in each form: of two, the registers spill.)
        """
        m, depth, n, part_rows, part_columns, column_parts = sizes
        row, column = part // column_parts * part_rows, part % column_parts * part_columns
        last_row, columns = min(m, row + part_rows), min(n - column, part_columns)
        blocks = (columns + width - 1) // width
        panel = np.empty(blocks * width * min(DEPTH, depth), c.dtype)
        strip = np.empty(strip_vectors * lanes + rows * min(DEPTH, depth) if turned else 0, c.dtype)
        zero, one = zeros(c, rows, vectors, lanes), zeros(c, 1, 1, lanes)
        square = zeros(c, lanes, 1, lanes)
        line = zeros(c, 1, strip_vectors, lanes)
        for k in range(0, depth, DEPTH):
            size = min(DEPTH, depth - k)
            for j in range(blocks):
                _pack(
                    b, b_row, b_column, k, size, column + j * width, columns - j * width,
                    panel, j * size * width, width, one, square,
                )  # fmt: skip
            for i in range(row, last_row, rows):
                if turned:
                    for s in range(size):
                        numbers = load_part(a, i + (k + s) * k_step, (0,), line, last_row - i)
                        store(numbers, strip, s * rows, (0,))
                for j in range(blocks):
                    at, count = i * n + column + j * width, columns - j * width
                    c_rows = clipped(n, last_row - 1 - i, zero)
                    if k == 0:
                        acc = begin(zero, bias, column + j * width)
                    else:
                        acc = resume(zero, c, at, c_rows, count, width)
                    if turned:
                        acc = accumulate(
                            acc, strip, 0, clipped(1, last_row - 1 - i, zero), rows,
                            panel, j * size * width, width, size,
                        )  # fmt: skip
                    else:
                        acc = accumulate(
                            acc, a, i * row_step + k, clipped(row_step, last_row - 1 - i, zero), 1,
                            panel, j * size * width, width, size,
                        )  # fmt: skip
                    if k + size == depth:
                        acc = activated(acc, activation)
                    finish(acc, c, at, c_rows, count, width)

    return multiply


@functools.cache
def _product_of_few(rows, vectors, lanes):
    width = vectors * lanes

    @kernel
    def multiply_few(part, a, row_step, k_step, b, bias, activation, c, sizes):
        """A part of the columns of c; b lies by rows, and is read in their order, where it is.

        sizes: rows, depth, columns; blocks of columns in a part. What whole blocks leave over is
        computed by the last part as a block that shares columns with the one before.
        """
        m, depth, n, part_blocks = sizes
        zero = zeros(c, rows, vectors, lanes)
        last = min((part + 1) * part_blocks, n // width)
        for k in range(0, depth, ROWS_AT_ONCE):
            size = min(ROWS_AT_ONCE, depth - k)
            for block in range(part * part_blocks, last):
                column = block * width
                for i in range(0, m, rows):
                    c_rows = clipped(n, m - 1 - i, zero)
                    if k == 0:
                        acc = begin(zero, bias, column)
                    else:
                        acc = load(c, i * n + column, c_rows, zero)
                    acc = accumulate(
                        acc, a, i * row_step + k * k_step, clipped(row_step, m - 1 - i, zero),
                        k_step, b, k * n + column, n, size,
                    )  # fmt: skip
                    if k + size == depth:
                        acc = activated(acc, activation)
                    store(acc, c, i * n + column, c_rows)
        if last == n // width and last * width < n:
            for i in range(0, m, rows):
                acc = accumulate(
                    begin(zero, bias, n - width), a, i * row_step,
                    clipped(row_step, m - 1 - i, zero), k_step, b, n - width, n, depth,
                )  # fmt: skip
                store(activated(acc, activation), c, i * n + n - width, clipped(n, m - 1 - i, zero))

    return multiply_few


def _few_shape(m: int, n: int, itemsize: int) -> Shape | None:
    """The tile for a product of few rows, or None for other products."""
    lanes = LANES[itemsize]
    if m > FEW_ROWS or n < lanes:
        return None
    rows, most = (1, 8) if m == 1 else (4, 4 if MANY_REGISTERS else 2)
    return Shape(rows, min(most, n // lanes), lanes)


def matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a @ b.  a: (rows, depth), b: (depth, columns); each also as a transposed view."""
    return product(a, b, None, None)


def weight_grad(
    x: np.ndarray, dy: np.ndarray, with_bias: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """x.T @ dy and, if asked, the sum of dy over its rows."""
    return matmul(x.T, dy), sum_axis(contiguous(dy)[None], 1.0)[0] if with_bias else None


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
    few = _few_shape(m, n, a.itemsize)
    if few is not None and b.flags.c_contiguous:
        flat_a, row_step, k_step = _flat(a)
        part_blocks = -(-max(n // FEWEST_PARTS, FEWEST_COLUMNS) // few.width)
        parts = -(-(n // few.width) // part_blocks)
        _product_of_few(*few)(
            sized(parts, b.size // NUMBERS_A_WORK), flat_a, row_step, k_step, b.reshape(-1),
            np.empty(0, a.dtype) if bias is None else contiguous(bias), ACTIVATIONS[activation],
            c.reshape(-1), (m, depth, n, part_blocks),
        )  # fmt: skip
        return c
    shape = tile_shape(n, a.itemsize)
    (flat_a, row_step, k_step), (flat_b, b_row, b_column) = _flat(a), _flat(b)
    sizes = _sizes(m, depth, n, shape)
    parts = sized(-(-m // sizes[3]) * sizes[5], m * n * depth // WORK_A_NUMBER)
    _product(*shape, k_step > 1 and depth > 1)(
        parts, flat_a, row_step, k_step, flat_b, b_row, b_column,
        filled(bias, 1, -(-n // shape.width) * shape.width, a.dtype), ACTIVATIONS[activation],
        c.reshape(-1), sizes,
    )  # fmt: skip
    return c


def _flat(x: np.ndarray) -> tuple[np.ndarray, int, int]:
    """A matrix as flat memory, and the steps from row to row and from column to column."""
    if x.T.flags.c_contiguous and not x.flags.c_contiguous:
        return x.T.reshape(-1), 1, len(x)
    return contiguous(x).reshape(-1), x.shape[1], 1


@functools.lru_cache(maxsize=1024)
def _sizes(m: int, depth: int, n: int, shape: Shape) -> tuple[int, ...]:
    """The product's sizes, the rows and columns of a part, and how many parts lie side by side.

    By shape alone, never by threads.
    """
    tiles, blocks = -(-m // shape.rows), -(-n // shape.width)
    tiles_a_part = min(tiles, -(-ROWS_A_PART // shape.rows))
    row_parts = -(-tiles // tiles_a_part)
    blocks_a_part = max(1, min(PANEL_COLUMNS // shape.width, blocks * row_parts // FEWEST_PARTS))
    column_parts = -(-blocks // blocks_a_part)
    if row_parts * column_parts < FEWEST_PARTS:
        tiles_a_part = -(-tiles // -(-FEWEST_PARTS // column_parts))
    return (
        m, depth, n, tiles_a_part * shape.rows, blocks_a_part * shape.width, column_parts
    )  # fmt: skip
