"""Matrix multiplication. Shapes and names as in the twin, `minidl.reference.gemm`.

Goto and van de Geijn 2008, "Anatomy of high-performance matrix multiplication": a part copies a
panel of b, some columns wide and DEPTH deep, into a buffer that stays in the cache, and runs the
micro-kernel along its rows of a.
"""

import functools

import numpy as np

from minidl.kernels._jit import WORK_A_NUMBER, helper, kernel, sized
from minidl.kernels.activation import activate
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
from minidl.kernels.reduce import column_sums, sum_axis
from minidl.kernels.simd import LANES, MANY_REGISTERS, load, load_part, store, zeros
from minidl.kernels.transpose import transposed, turned

DEPTH = 256  # of a panel
PANEL_COLUMNS = 128  # with DEPTH 128 kB of float32: it stays in the L2 cache
STRIPS = 4  # tiles of rows copied together: whole cache lines are read
ROWS_A_COPY = 4  # of b, copied together into a panel
DEPTH_A_CHUNK = 1024
ROWS_A_PART = 768
LONGEST = 32 * 1024  # sum that one chunk adds up: longer ones lose digits
FEWEST_PARTS = 8
MANY = 256  # rows and columns of a product whose `a`, if turned, is copied once, not in strips
FEW_ROWS = 8  # of a product for which copying b would cost more than multiplying
FEWEST_COLUMNS = 256  # of b, in a part of such a product: runs of 1 kB are read at full speed
ROWS_AT_ONCE = 8  # of b, that are read side by side
NUMBERS_A_WORK = 2  # of b, that take as long as handling a number does elsewhere


@helper
def pack(b, row_step, column_step, first, depth, column, count, panel, width, lines, square):
    """panel[j, k, i] = b[first + k, column + j*width + i], 0 from `count` columns on.

    b lies by rows (column_step 1) or by columns (row_step 1). lines, square: tiles of some rows of
    `width`, and of as many rows of one vector as it has lanes.
    """
    start, at_once = first * row_step + column * column_step, len(steps(1, lines))
    if column_step == 1:  # in the order in which b lies
        for k in range(0, depth, at_once):
            at, last, whole = start + k * row_step, depth - 1 - k, count // width
            b_rows, rows = clipped(row_step, last, lines), clipped(width, last, lines)
            for j in range(whole):
                store(load(b, at + j * width, b_rows, lines), panel, (j * depth + k) * width, rows)
            if whole * width < count:
                rest = load_part(b, at + whole * width, b_rows, lines, count - whole * width)
                store(rest, panel, (whole * depth + k) * width, rows)
        return
    lanes = len(steps(1, square))
    for i in range(0, -(-count // width) * width, lanes):
        at, to, k = start + i * column_step, i // width * width * depth + i % width, 0
        if count - i >= lanes:
            for k in range(0, depth - lanes + 1, lanes):
                block = transposed(load(b, at + k, steps(column_step, square), square))
                store(block, panel, to + k * width, steps(width, square))
            k = depth // lanes * lanes
        for rest in range(k, depth):
            for j in range(lanes):
                number = b[at + rest + j * column_step] if j < count - i else panel.dtype.type(0)
                panel[to + rest * width + j] = number


@helper
def _copy_strips(a, at, k_step, depth, left, strips, strip_size, rows, lanes, group, line):
    """strips[t, k, i] = row i of tile t of `a` in column k, for STRIPS tiles of `left` rows in all.

    What follows the last row is never read. group, line: tiles of a part of
    each strip, and of one.
    """
    read = (STRIPS - 1) * rows + lanes  # numbers of a column
    inside = max(0, min(depth, (a.size - at - read) // k_step + 1))
    for k in range(inside):
        numbers = load(a, at + k * k_step, steps(rows, group), group)
        store(numbers, strips, k * rows, steps(strip_size, group))
    for k in range(inside, depth):
        for t in range(min(STRIPS, (left + rows - 1) // rows)):
            place = at + k * k_step + t * rows
            numbers = load_part(a, place, (0,), line, left - t * rows)
            store(numbers, strips, t * strip_size + k * rows, (0,))


@functools.cache
def _product(rows, vectors, lanes, turned):
    width = vectors * lanes
    strip_vectors = -(-rows // lanes)

    @kernel
    def multiply(part, a, row_step, k_step, b, b_row, b_column, bias, activation, c, sizes):
        """c = activation(a @ b + bias); a[i, k] = a[i*row_step + k*k_step], b[k, j] alike.

        sizes: rows, depth, columns; rows and columns of a part, row and column parts, and chunks
        of the depth, each with a c of its own. turned: a's rows lie side by side (row_step 1);
        STRIPS tiles of them are copied, for its columns lie far apart.
        (One call of the micro-kernel in each form: of two, the registers spill.)
        """
        m, depth, n, part_rows, part_columns, row_parts, column_parts, chunks = sizes
        chunk, place = part // (row_parts * column_parts), part % (row_parts * column_parts)
        row, column = place // column_parts * part_rows, place % column_parts * part_columns
        last_row, columns = min(m, row + part_rows), min(n - column, part_columns)
        blocks = (columns + width - 1) // width
        first, stop = depth * chunk // chunks, depth * (chunk + 1) // chunks
        deepest = min(DEPTH, stop - first)
        panel = np.empty(blocks * width * deepest, c.dtype)
        strip_size = rows * deepest + strip_vectors * lanes
        strips = np.empty(STRIPS * strip_size if turned else 0, c.dtype)
        zero = zeros(c, rows, vectors, lanes)
        lines, square = zeros(c, ROWS_A_COPY, vectors, lanes), zeros(c, lanes, 1, lanes)
        group = zeros(c, STRIPS, strip_vectors, lanes)
        line = zeros(c, 1, strip_vectors, lanes)
        for k in range(first, stop, DEPTH):
            size = min(DEPTH, stop - k)
            pack(
                b, b_row, b_column, k, size, column, columns, panel, width, lines, square,
            )  # fmt: skip
            for tile in range((last_row - row + rows - 1) // rows):
                i = row + tile * rows
                strip = tile % STRIPS * strip_size
                if turned and strip == 0:
                    _copy_strips(
                        a, i + k * k_step, k_step, size, last_row - i, strips, strip_size, rows,
                        strip_vectors * lanes, group, line,
                    )  # fmt: skip
                for j in range(blocks):
                    at = (chunk * m + i) * n + column + j * width
                    count = columns - j * width
                    c_rows = clipped(n, last_row - 1 - i, zero)
                    acc = begin(zero, bias, column + j * width) if k == first else zero
                    if turned:
                        acc = accumulate(
                            acc, strips, strip, clipped(1, last_row - 1 - i, zero), rows,
                            panel, j * size * width, width, size,
                        )  # fmt: skip
                    else:
                        acc = accumulate(
                            acc, a, i * row_step + k, clipped(row_step, last_row - 1 - i, zero), 1,
                            panel, j * size * width, width, size,
                        )  # fmt: skip
                    if k > first:  # a sum of sums, which are short: long ones lose digits
                        acc = acc + resume(zero, c, at, c_rows, count, width)
                    if k + size == stop:
                        acc = activated(acc, activation)
                    finish(acc, c, at, c_rows, count, width)

    return multiply


@functools.cache
def _product_of_few(rows, vectors, lanes):
    width = vectors * lanes

    @kernel
    def multiply_few(part, a, row_step, k_step, b, bias, activation, c, sizes):
        """A part of the columns of c; b lies by rows, and is read in their order, where it is.

        sizes: rows, depth, columns; blocks of columns in a part, parts, and chunks of the depth,
        each with a c of its own. What whole blocks leave over is computed by the last part as a
        block that shares columns with the one before.
        """
        m, depth, n, part_blocks, parts, chunks = sizes
        chunk, part = part // parts, part % parts
        first, stop = depth * chunk // chunks, depth * (chunk + 1) // chunks
        zero = zeros(c, rows, vectors, lanes)
        last = min((part + 1) * part_blocks, n // width)
        for k in range(first, stop, ROWS_AT_ONCE):
            size = min(ROWS_AT_ONCE, stop - k)
            for block in range(part * part_blocks, last):
                column = block * width
                for i in range(0, m, rows):
                    at, c_rows = (chunk * m + i) * n + column, clipped(n, m - 1 - i, zero)
                    acc = accumulate(
                        begin(zero, bias, column) if k == first else zero,
                        a, i * row_step + k * k_step, clipped(row_step, m - 1 - i, zero),
                        k_step, b, k * n + column, n, size,
                    )  # fmt: skip
                    if k > first:
                        acc = acc + load(c, at, c_rows, zero)
                    if k + size == stop:
                        acc = activated(acc, activation)
                    store(acc, c, at, c_rows)
        if last == n // width and last * width < n:
            for i in range(0, m, rows):
                acc = begin(zero, bias, n - width)
                for k in range(first, stop, DEPTH):
                    acc = acc + accumulate(
                        zero, a, i * row_step + k * k_step, clipped(row_step, m - 1 - i, zero),
                        k_step, b, k * n + n - width, n, min(DEPTH, stop - k),
                    )  # fmt: skip
                store(
                    activated(acc, activation), c, (chunk * m + i) * n + n - width,
                    clipped(n, m - 1 - i, zero),
                )  # fmt: skip

    return multiply_few


def _few_shape(m: int, n: int, itemsize: int) -> Shape | None:
    """Return the tile for a product of few rows, or None for other products."""
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
    return matmul(x.T, dy), column_sums(dy) if with_bias else None


def product(
    a: np.ndarray, b: np.ndarray, bias: np.ndarray | None, activation: str | None
) -> np.ndarray:
    """activation(a @ b + bias)."""
    (m, depth), n = a.shape, b.shape[1]
    if m * n == 0:
        return empty((m, n), a.dtype)
    if depth == 0:  # an empty sum
        a, b, depth = np.zeros((m, 1), a.dtype), np.zeros((1, n), a.dtype), 1
    divisible = bias is None and activation is None
    if depth > LONGEST and not divisible:
        c = product(a, b, None, None)
        return activate(c if bias is None else c + bias, activation)
    few = _few_shape(m, n, a.itemsize)
    if few is not None and b.flags.c_contiguous:
        chunks = -(-depth // (ROWS_AT_ONCE * DEPTH)) if divisible else 1
        c = empty((chunks, m, n), a.dtype)
        flat_a, row_step, k_step = _flat(a)
        part_blocks = -(-max(n // FEWEST_PARTS, FEWEST_COLUMNS) // few.width)
        parts = -(-(n // few.width) // part_blocks)
        _product_of_few(*few)(
            sized(parts * chunks, b.size // NUMBERS_A_WORK), flat_a, row_step, k_step,
            b.reshape(-1), np.empty(0, a.dtype) if bias is None else contiguous(bias),
            ACTIVATIONS[activation], c.reshape(-1), (m, depth, n, part_blocks, parts, chunks),
        )  # fmt: skip
        return _added_up(c)
    shape = tile_shape(n, a.itemsize)
    if min(m, n) >= MANY and a.T.flags.c_contiguous and depth > 1:
        a = turned(a.T[np.newaxis, np.newaxis])[0, 0]
    (flat_a, row_step, k_step), (flat_b, b_row, b_column) = _flat(a), _flat(b)
    in_strips = k_step > 1 and depth > 1
    sizes = _sizes(m, depth, n, shape, in_strips, divisible)
    chunks = sizes[7]
    c = empty((chunks, m, n), a.dtype)
    parts = sized(sizes[5] * sizes[6] * chunks, m * n * depth // WORK_A_NUMBER)
    _product(*shape, in_strips)(
        parts, flat_a, row_step, k_step, flat_b, b_row, b_column,
        filled(bias, 1, -(-n // shape.width) * shape.width, a.dtype), ACTIVATIONS[activation],
        c.reshape(-1), sizes,
    )  # fmt: skip
    return _added_up(c)


def _added_up(c: np.ndarray) -> np.ndarray:
    """Return the sum of the products of chunks of the depth: (chunks, m, n) -> (m, n)."""
    chunks, m, n = c.shape
    return c[0] if chunks == 1 else sum_axis(c.reshape(1, chunks, m * n), 1.0).reshape(m, n)


def _flat(x: np.ndarray) -> tuple[np.ndarray, int, int]:
    """Return a matrix as flat memory, and the steps from row to row and from column to column."""
    if x.T.flags.c_contiguous and not x.flags.c_contiguous:
        return x.T.reshape(-1), 1, len(x)
    return contiguous(x).reshape(-1), x.shape[1], 1


@functools.lru_cache(maxsize=1024)
def _sizes(
    m: int, depth: int, n: int, shape: Shape, turned: bool, divisible: bool
) -> tuple[int, ...]:  # fmt: skip
    """The product's sizes; rows and columns of a part, row and column parts, chunks of the depth.

    Each part packs its panels of b, so parts have many rows; or, `turned`, its strips of a, which
    costs more, so they have many columns. Long sums are cut in chunks that are added up in the
    end, if the product is `divisible`. By shape alone, never by threads.
    """
    chunks = max(1, min(FEWEST_PARTS, depth // DEPTH_A_CHUNK)) if divisible else 1
    chunks = max(chunks, -(-depth // LONGEST))
    wanted = -(-FEWEST_PARTS // chunks)
    tiles, blocks = -(-m // shape.rows), -(-n // shape.width)
    tiles_a_part = min(tiles, -(-ROWS_A_PART // shape.rows))
    row_parts = -(-tiles // tiles_a_part)
    tiles_a_part = -(-tiles // row_parts)  # none much smaller than the others
    most_blocks = PANEL_COLUMNS // shape.width
    if turned:
        wanted_rows = -(-wanted // -(-blocks // most_blocks))
        tiles_a_part = max(min(tiles, STRIPS), min(tiles_a_part, -(-tiles // wanted_rows)))
        row_parts = -(-tiles // tiles_a_part)
    blocks_a_part = max(1, min(most_blocks, blocks * row_parts // wanted))
    column_parts = -(-blocks // blocks_a_part)
    if row_parts * column_parts < wanted:
        tiles_a_part = -(-tiles // -(-wanted // column_parts))
        row_parts = -(-tiles // tiles_a_part)
    return (
        m, depth, n, tiles_a_part * shape.rows, blocks_a_part * shape.width, row_parts,
        column_parts, chunks,
    )  # fmt: skip
