"""Long short-term memory. Shapes and names as in the twin, `minidl.reference.lstm`.

A launch computes a step of time. A part of it multiplies the state by a block of weight_hh, all
four gates of some units, and turns the products into the units' new cells and outputs while they
are in the cache. The gradient goes the other way round: from the gradient of the step after it a
part computes that of the state, and from this that of its units' gates.
"""

import functools

import numpy as np

from minidl.kernels._jit import EXACT, kernel
from minidl.kernels._recurrent import (
    BEFORE,
    INPUT,
    OUTPUT,
    STATE,
    TABLES,
    carrier,
    clear,
    divided,
    gate_shape,
    last_of,
    locate,
    order_of,
    packed_gates,
    packed_turned,
    projector,
    sigmoid,
    start_of,
    tanh,
    under_way,
)
from minidl.kernels.copy import contiguous
from minidl.kernels.memory import empty
from minidl.kernels.microkernel import finish, resume, tile_shape
from minidl.kernels.offsets import steps as row_steps
from minidl.kernels.offsets import take
from minidl.kernels.simd import load, zeros

__all__ = ["lstm", "lstm_grad"]

GATES = 4


@functools.cache
def _stepper(rows, vectors, lanes, units):
    projected = projector(rows, vectors, lanes, GATES, units)
    width = units * lanes

    @functools.partial(kernel, flags=EXACT)
    def step(part, s, sizes, inputs, before, packed, order, lengths, c, outputs, gates, cells):
        """Step s of a block of units. before: where h lies, the outputs or, at first, the state."""
        steps, size, part_rows, row_parts, reverse = sizes
        block, first = part // row_parts, part % row_parts * part_rows
        unit, stop = block * width, min(first + part_rows, under_way(order, lengths, s))
        count, line = size - unit, GATES * width
        scratch, places = np.empty(rows * line, c.dtype), np.empty(TABLES * rows, np.int64)
        zero = zeros(c, rows, units, lanes)
        own = row_steps(line, zero)
        for r in range(first, stop, rows):
            locate(places, rows, order, lengths, r, stop - 1, s, steps, reverse, size, GATES, GATES)
            of_h = take(places, (BEFORE if s > 0 else STATE) * rows, zero)
            of_c, of_y = take(places, STATE * rows, zero), take(places, OUTPUT * rows, zero)
            of_x = take(places, INPUT * rows, zero)
            projected(scratch, before, of_h, packed, block, size)
            x = resume(zero, inputs, unit, of_x, count, width)
            i = sigmoid(load(scratch, 0, own, zero) + x)
            x = resume(zero, inputs, unit + size, of_x, count, width)
            f = sigmoid(load(scratch, width, own, zero) + x)
            x = resume(zero, inputs, unit + 2 * size, of_x, count, width)
            g = tanh(load(scratch, 2 * width, own, zero) + x)
            x = resume(zero, inputs, unit + 3 * size, of_x, count, width)
            o = sigmoid(load(scratch, 3 * width, own, zero) + x)
            cell = f * resume(zero, c, unit, of_c, count, width) + i * g
            finish(cell, c, unit, of_c, count, width)
            finish(o * tanh(cell), outputs, unit, of_y, count, width)
            if gates.size > 0:
                finish(i, gates, unit, of_x, count, width)
                finish(f, gates, unit + size, of_x, count, width)
                finish(g, gates, unit + 2 * size, of_x, count, width)
                finish(o, gates, unit + 3 * size, of_x, count, width)
                finish(cell, cells, unit, of_y, count, width)

    return step


@functools.cache
def _back_stepper(rows, vectors, lanes):
    carried = carrier(rows, vectors, lanes, GATES)
    width = vectors * lanes

    @functools.partial(kernel, flags=EXACT)
    def step_back(part, s, sizes, dy, gates, cells, start, packed, order, lengths, dh, dc, dx):
        """dh, dc: of the state after step s, then of the cells before it. s = -1: dh alone."""
        steps, size, part_rows, row_parts, reverse = sizes
        block, first = part // row_parts, part % row_parts * part_rows
        places = np.empty(TABLES * rows, np.int64)
        carried(part, s + 1, sizes, packed, order, lengths, dx, places, dh, False)
        unit, one = block * width, zeros(dh, 1, vectors, lanes)
        count, stop = size - unit, min(first + part_rows, under_way(order, lengths, s))
        for r in range(first, stop if s >= 0 else first):
            locate(places, 1, order, lengths, r, stop - 1, s, steps, reverse, size, GATES, GATES)
            state, before = places[STATE] + unit, places[BEFORE] + unit
            of_y, x = places[OUTPUT] + unit, places[INPUT] + unit
            i = resume(one, gates, x, (0,), count, width)
            f = resume(one, gates, x + size, (0,), count, width)
            g = resume(one, gates, x + 2 * size, (0,), count, width)
            o = resume(one, gates, x + 3 * size, (0,), count, width)
            t = tanh(resume(one, cells, of_y, (0,), count, width))
            if s > 0:
                c = resume(one, cells, before, (0,), count, width)
            else:
                c = resume(one, start, state, (0,), count, width)
            d = resume(one, dh, state, (0,), count, width)
            d = d + resume(one, dy, of_y, (0,), count, width)
            cell = resume(one, dc, state, (0,), count, width) + d * o * (1.0 - t * t)
            finish(cell * g * i * (1.0 - i), dx, x, (0,), count, width)
            finish(cell * c * f * (1.0 - f), dx, x + size, (0,), count, width)
            finish(cell * i * (1.0 - g * g), dx, x + 2 * size, (0,), count, width)
            finish(d * t * o * (1.0 - o), dx, x + 3 * size, (0,), count, width)
            finish(cell * f, dc, state, (0,), count, width)

    return step_back


def lstm(
    inputs: np.ndarray, weight_hh: np.ndarray, h: np.ndarray, c: np.ndarray,
    lengths: np.ndarray | None, reverse: bool, saving: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:  # fmt: skip
    """The outputs, the last h and c and, `saving`, the gates and cells of all steps."""
    n, steps, size = *inputs.shape[:2], h.shape[1]
    dtype = inputs.dtype
    shape, units = gate_shape(GATES, size, dtype.itemsize)
    packed = packed_gates(weight_hh, GATES, shape, units)
    order, known = order_of(lengths, n, steps)
    outputs, c = empty((n, steps, size), dtype), start_of(c, c.shape, dtype)
    gates = empty((n, steps, GATES * size), dtype) if saving else np.empty(0, dtype)
    cells = empty((n, steps, size), dtype) if saving else np.empty(0, dtype)
    parts, *split = divided(n, size, units * shape.lanes, shape.rows, GATES * size)
    sizes = (steps, size, *split, reverse)
    inputs, before, flat = contiguous(inputs), contiguous(h).reshape(-1), outputs.reshape(-1)
    for s in range(steps):
        _stepper(*shape, units)(
            parts, s, sizes, inputs.reshape(-1), before, packed, order, known,
            c.reshape(-1), flat, gates.reshape(-1), cells.reshape(-1),
        )  # fmt: skip
        before = flat
    clear(known, outputs, *((gates, cells) if saving else ()))
    last = last_of(outputs, known, reverse)
    return outputs, last, c, gates if saving else None, cells if saving else None


def lstm_grad(
    dy: np.ndarray, dh: np.ndarray | None, dc: np.ndarray | None, gates: np.ndarray,
    cells: np.ndarray, c: np.ndarray, weight_hh: np.ndarray, lengths: np.ndarray | None,
    reverse: bool, with_state: bool,
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:  # fmt: skip
    """The gradients of `lstm` for the inputs, h (`with_state`) and c. dh, dc: of the last state."""
    n, steps, size = dy.shape
    dtype = dy.dtype
    shape = tile_shape(size, dtype.itemsize)
    packed = packed_turned(weight_hh, shape)
    order, known = order_of(lengths, n, steps)
    dx = empty((n, steps, GATES * size), dtype)
    dh, dc = start_of(dh, (n, size), dtype), start_of(dc, (n, size), dtype)
    parts, *split = divided(n, size, shape.width, shape.rows, GATES * size)
    sizes = (steps, size, *split, reverse)
    dy, gates, cells, c = map(contiguous, (dy, gates, cells, c))
    for s in range(steps - 1, -1 - with_state, -1):
        _back_stepper(*shape)(
            parts, s, sizes, dy.reshape(-1), gates.reshape(-1), cells.reshape(-1), c.reshape(-1),
            packed, order, known, dh.reshape(-1), dc.reshape(-1), dx.reshape(-1),
        )  # fmt: skip
    clear(known, dx)
    return dx, dh if with_state else None, dc
