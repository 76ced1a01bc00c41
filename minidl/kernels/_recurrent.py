"""What the kernels of recurrent layers share: packed weights, and which rows are still under way.

A launch computes one step of time; its parts are blocks of hidden units, with all their gates.
Row n takes part in its first lengths[n] steps. `order` lists the rows, the longest first, so that
those that take part in a step are the first so many.
"""

import functools
import math

import numpy as np

from minidl.kernels._jit import EXACT, WORK_A_NUMBER, helper, inlined, kernel, sized
from minidl.kernels.copy import contiguous, copied, fill
from minidl.kernels.exponential import exponential, exponential_minus_1
from minidl.kernels.gemm import pack
from minidl.kernels.memory import empty, prepared
from minidl.kernels.microkernel import ROWS, Shape, accumulate, finish, resume, tile_shape
from minidl.kernels.offsets import steps, take
from minidl.kernels.simd import LANES, MANY_REGISTERS, maximum, minimum, spread, store, zeros

DEPTH = 512  # of a product, between two of which partial sums are added: long sums lose digits
FEWEST_PARTS = 16
STATE, BEFORE, OUTPUT, INPUT, SAVED, TABLES = range(6)  # tables of places, as `locate` fills them

exactly = functools.partial(inlined, flags=EXACT)


@exactly
def sigmoid(x):
    return 1.0 / (1.0 + exponential(spread(0.0, x) - x))


@exactly
def tanh(x):
    """(e^2x - 1) / (e^2x + 1); from 20 on it is 1 in any float."""
    t = exponential_minus_1(2.0 * minimum(maximum(x, spread(-20.0, x)), spread(20.0, x)))
    return t / (2.0 + t)


@kernel
def _longest_first(part, lengths, steps, order):
    """order = the rows by length, the longest first."""
    places = np.zeros(steps + 1, np.int64)
    for n in range(lengths.size):  # places[length]: how many rows are longer
        for shorter in range(lengths[n]):
            places[shorter] += 1
    for n in range(lengths.size):
        order[places[lengths[n]]] = n
        places[lengths[n]] += 1


@helper
def under_way(order, lengths, s):
    """The number of rows that take part in step s."""
    count = order.size
    while count > 0 and lengths[order[count - 1]] <= s:
        count -= 1
    return count


@helper
def locate(places, rows, order, lengths, first, last, s, steps, reverse, size, gates, saved):
    """Write where the rows of a tile lie in step s, as offsets: a table of `rows` for each array.

    The tile begins with order[first]; after order[last], that row again. size: of the state.
    gates, saved: how many times as wide the inputs and the saved gates are.
    """
    for r in range(rows):
        row = order[min(first + r, last)]
        time = lengths[row] - 1 - s if reverse else s
        step = row * steps + time
        places[STATE * rows + r] = row * size
        places[BEFORE * rows + r] = (step + 1 if reverse else step - 1) * size
        places[OUTPUT * rows + r] = step * size
        places[INPUT * rows + r] = step * size * gates
        places[SAVED * rows + r] = step * size * saved


@functools.cache
def projector(rows, vectors, lanes, gates, units):
    """The function that multiplies the state of a tile of rows by one block of weight_hh."""
    width, tiles = vectors * lanes, gates * units // vectors

    @helper
    def projected(scratch, before, rows_of_h, packed, block, depth):
        """scratch[row, gate, unit] = h @ weight_hh."""
        zero = zeros(scratch, rows, vectors, lanes)
        for tile in range(tiles):
            acc, at = zero, (block * tiles + tile) * depth * width
            for k in range(0, depth, DEPTH):
                acc = acc + accumulate(
                    zero, before, k, rows_of_h, 1, packed, at + k * width, width,
                    min(DEPTH, depth - k),
                )  # fmt: skip
            store(acc, scratch, tile * width, steps(tiles * width, zero))

    return projected


def order_of(lengths: np.ndarray | None, n: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows, the longest first, and their lengths; None: all of `steps`."""
    if lengths is None:
        return np.arange(n), np.full(n, steps, np.int64)
    order, lengths = np.empty(n, np.int64), contiguous(lengths)
    _longest_first(-1, lengths, steps, order)
    return order, lengths


def gate_shape(gates: int, size: int, itemsize: int) -> tuple[Shape, int]:
    """Return a tile of the product with weight_hh, and how many vectors of units are a block.

    A block holds all gates of its units, in one tile where the registers suffice.
    """
    if gates == 1:
        shape = tile_shape(size, itemsize)
        return shape, shape.vectors
    vectors = gates if MANY_REGISTERS else 2
    return Shape(ROWS[vectors], vectors, LANES[itemsize]), 1 if gates % vectors == 0 else vectors


@functools.cache
def _gate_packer(gates, vectors, lanes, units):
    tiles = gates * units // vectors

    @kernel
    def pack_gates(block, weight, depth, size, packed):
        """packed[block, tile, k, vector, lane]: the gates of the block's units, one by one."""
        one = zeros(packed, 1, 1, lanes)
        for q in range(gates * units):
            unit = (block * units + q % units) * lanes
            to = ((block * tiles + q // vectors) * depth * vectors + q % vectors) * lanes
            at = q // units * size + unit
            for k in range(depth):
                row = resume(one, weight, at + k * gates * size, (0,), size - unit, lanes)
                store(row, packed, to + k * vectors * lanes, (0,))

    return pack_gates


def packed_gates(weight: np.ndarray, gates: int, shape: Shape, units: int) -> np.ndarray:
    """Return weight_hh (H, gates*H) in the order in which `projected` reads it, flat."""
    depth, size = weight.shape[0], weight.shape[1] // gates
    blocks = -(-size // (units * shape.lanes))
    packed = prepared((blocks * gates * units * depth * shape.lanes,), weight.dtype)
    _gate_packer(gates, shape.vectors, shape.lanes, units)(
        sized(blocks, packed.size), contiguous(weight).reshape(-1), depth, size, packed
    )
    return packed


@functools.cache
def _turned_packer(vectors, lanes):
    width = vectors * lanes

    @kernel
    def pack_turned(block, weight, depth, size, packed):
        """packed[block, k, i] = weight[block*width + i, k], 0 after the last row."""
        panel = packed[block * depth * width : (block + 1) * depth * width]
        lines, square = zeros(packed, 1, vectors, lanes), zeros(packed, lanes, 1, lanes)
        count = min(width, size - block * width)
        pack(weight, 1, depth, 0, depth, block * width, count, panel, width, lines, square)

    return pack_turned


def packed_turned(weight: np.ndarray, shape: Shape) -> np.ndarray:
    """Return the transpose of weight_hh in the order in which `carried` reads it, flat."""
    size, depth = weight.shape
    blocks = -(-size // shape.width)
    packed = empty((blocks * depth * shape.width,), weight.dtype)
    _turned_packer(shape.vectors, shape.lanes)(
        sized(blocks, packed.size), contiguous(weight).reshape(-1), depth, size, packed
    )
    return packed


def divided(n: int, size: int, width: int, rows: int, depth: int) -> tuple[int, int, int]:
    """Return the parts of a launch, the rows of a part, and the number of parts of the rows."""
    blocks, tiles = -(-size // width), -(-n // rows)
    row_parts = max(1, min(tiles, -(-FEWEST_PARTS // blocks)))
    tiles_a_part = max(1, -(-tiles // row_parts))
    row_parts = -(-tiles // tiles_a_part)
    work = n * size * depth // WORK_A_NUMBER
    return sized(blocks * row_parts, work), tiles_a_part * rows, row_parts


@functools.cache
def carrier(rows, vectors, lanes, gates):
    """The function that carries the gradient of the state from a step to the one before it."""
    width = vectors * lanes

    @inlined
    def carried(part, s, sizes, packed, order, lengths, steps_grad, places, dh, adding):
        """dh = steps_grad @ weight_hh.T, (+ dh, `adding`), for the rows that take part in step s.

        steps_grad: the gradient of what step s added to its inputs, (N, T, gates*H).
        """
        steps, size, part_rows, row_parts, reverse = sizes
        block, first = part // row_parts, part % row_parts * part_rows
        unit, depth = block * width, gates * size
        count, stop = size - unit, min(first + part_rows, under_way(order, lengths, s))
        zero = zeros(dh, rows, vectors, lanes)
        for k in range(0, depth, DEPTH):
            for i in range(first, stop, rows):
                locate(places, rows, order, lengths, i, stop - 1, s, steps, reverse, size, gates, 1)
                of_state = take(places, STATE * rows, zero)
                acc = accumulate(
                    zero, steps_grad, k, take(places, INPUT * rows, zero), 1,
                    packed, (block * depth + k) * width, width, min(DEPTH, depth - k),
                )  # fmt: skip
                if k > 0 or adding:
                    acc = acc + resume(zero, dh, unit, of_state, count, width)
                finish(acc, dh, unit, of_state, count, width)

    return carried


@kernel
def _clear(row, lengths, x):
    """x[row, t] = 0 from the row's length on."""
    _, steps, size = x.shape
    for t in range(lengths[row], steps):
        for j in range(size):
            x[row, t, j] = 0


def clear(lengths: np.ndarray, *arrays: np.ndarray) -> None:
    """Put what lies after each row's length to 0, in arrays (N, T, ...)."""
    for x in arrays:
        _clear(sized(len(x), x.size), lengths, x)


@kernel
def _last(row, outputs, lengths, reverse, last):
    time = 0 if reverse else lengths[row] - 1
    for j in range(last.shape[1]):
        last[row, j] = outputs[row, time, j]


def last_of(outputs: np.ndarray, lengths: np.ndarray, reverse: bool) -> np.ndarray:
    """Return the output of each row's last step, (N, H)."""
    n, _, size = outputs.shape
    last = empty((n, size), outputs.dtype)
    _last(sized(n, last.size), outputs, lengths, reverse, last)
    return last


def start_of(g: np.ndarray | None, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return a copy of a gradient to add to, or zeros where there is none."""
    if g is not None:
        return copied(g)
    zero = empty(shape, dtype)
    if math.prod(shape):
        fill(zero, 0.0)
    return zero
