"""Gated recurrent unit. Shapes and names as in the twin, `minidl.reference.gru`.

A launch computes a step of time, as in `lstm.py`.
"""

import functools

import numpy as np

from minidl.kernels._jit import EXACT, kernel
from minidl.kernels._recurrent import (
    BEFORE,
    INPUT,
    OUTPUT,
    SAVED,
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

__all__ = ["gru", "gru_grad"]

GATES, KEPT = 3, 4  # kept of a step: the gates, and what the reset gate multiplies


@functools.cache
def _stepper(rows, vectors, lanes, units):
    projected = projector(rows, vectors, lanes, GATES, units)
    width = units * lanes

    @functools.partial(kernel, flags=EXACT)
    def step(part, s, sizes, inputs, before, packed, bias, order, lengths, outputs, saved):
        """Step s of a block of units. before: where h lies, the outputs or, at first, the state."""
        steps, size, part_rows, row_parts, reverse = sizes
        block, first = part // row_parts, part % row_parts * part_rows
        unit, stop = block * width, min(first + part_rows, under_way(order, lengths, s))
        count, line = size - unit, GATES * width
        scratch, places = np.empty(rows * line, bias.dtype), np.empty(TABLES * rows, np.int64)
        zero, one = zeros(bias, rows, units, lanes), zeros(bias, 1, units, lanes)
        own = row_steps(line, zero)
        for row in range(first, stop, rows):
            locate(
                places, rows, order, lengths, row, stop - 1, s, steps, reverse, size, GATES, KEPT
            )
            of_h = take(places, (BEFORE if s > 0 else STATE) * rows, zero)
            projected(scratch, before, of_h, packed, block, size)
            of_x, of_y = take(places, INPUT * rows, zero), take(places, OUTPUT * rows, zero)
            x = resume(zero, inputs, unit, of_x, count, width)
            b = resume(one, bias, unit, (0,), count, width)
            z = sigmoid(load(scratch, 0, own, zero) + b + x)
            x = resume(zero, inputs, unit + size, of_x, count, width)
            b = resume(one, bias, unit + size, (0,), count, width)
            r = sigmoid(load(scratch, width, own, zero) + b + x)
            x = resume(zero, inputs, unit + 2 * size, of_x, count, width)
            b = resume(one, bias, unit + 2 * size, (0,), count, width)
            inner = load(scratch, 2 * width, own, zero) + b
            new = tanh(x + r * inner)
            h = resume(zero, before, unit, of_h, count, width)
            finish(z * h + (1.0 - z) * new, outputs, unit, of_y, count, width)
            if saved.size > 0:
                kept = take(places, SAVED * rows, zero)
                finish(z, saved, unit, kept, count, width)
                finish(r, saved, unit + size, kept, count, width)
                finish(new, saved, unit + 2 * size, kept, count, width)
                finish(inner, saved, unit + 3 * size, kept, count, width)

    return step


@functools.cache
def _back_stepper(rows, vectors, lanes):
    carried = carrier(rows, vectors, lanes, GATES)
    width = vectors * lanes

    @functools.partial(kernel, flags=EXACT)
    def step_back(part, s, sizes, dy, saved, outputs, start, packed, order, lengths, dh, dx, dp):
        """dh: of the state after step s, then what bypasses the gates. s = -1: that of `start`.

        dp: the gradient of h @ weight_hh + bias; dx: of the inputs.
        """
        steps, size, part_rows, row_parts, reverse = sizes
        block, first = part // row_parts, part % row_parts * part_rows
        places = np.empty(TABLES * rows, np.int64)
        carried(part, s + 1, sizes, packed, order, lengths, dp, places, dh, True)
        unit, one = block * width, zeros(dh, 1, vectors, lanes)
        count, stop = size - unit, min(first + part_rows, under_way(order, lengths, s))
        for row in range(first, stop if s >= 0 else first):
            locate(places, 1, order, lengths, row, stop - 1, s, steps, reverse, size, GATES, KEPT)
            state, before = places[STATE] + unit, places[BEFORE] + unit
            of_y, x, kept = places[OUTPUT] + unit, places[INPUT] + unit, places[SAVED] + unit
            z = resume(one, saved, kept, (0,), count, width)
            r = resume(one, saved, kept + size, (0,), count, width)
            new = resume(one, saved, kept + 2 * size, (0,), count, width)
            inner = resume(one, saved, kept + 3 * size, (0,), count, width)
            if s > 0:
                h = resume(one, outputs, before, (0,), count, width)
            else:
                h = resume(one, start, state, (0,), count, width)
            d = resume(one, dh, state, (0,), count, width)
            d = d + resume(one, dy, of_y, (0,), count, width)
            d_new = d * (1.0 - z) * (1.0 - new * new)
            d_z, d_r = d * (h - new) * z * (1.0 - z), d_new * inner * r * (1.0 - r)
            finish(d_z, dx, x, (0,), count, width)
            finish(d_r, dx, x + size, (0,), count, width)
            finish(d_new, dx, x + 2 * size, (0,), count, width)
            finish(d_z, dp, x, (0,), count, width)
            finish(d_r, dp, x + size, (0,), count, width)
            finish(d_new * r, dp, x + 2 * size, (0,), count, width)
            finish(d * z, dh, state, (0,), count, width)

    return step_back


def gru(
    inputs: np.ndarray, weight_hh: np.ndarray, bias: np.ndarray, h: np.ndarray,
    lengths: np.ndarray | None, reverse: bool, saving: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:  # fmt: skip
    """The outputs, the last h and, `saving`, what the gradient needs of all steps."""
    n, steps, size = *inputs.shape[:2], h.shape[1]
    dtype = inputs.dtype
    shape, units = gate_shape(GATES, size, dtype.itemsize)
    packed = packed_gates(weight_hh, GATES, shape, units)
    order, known = order_of(lengths, n, steps)
    outputs = empty((n, steps, size), dtype)
    saved = empty((n, steps, KEPT * size), dtype) if saving else np.empty(0, dtype)
    parts, *split = divided(n, size, units * shape.lanes, shape.rows, GATES * size)
    sizes = (steps, size, *split, reverse)
    inputs, bias = contiguous(inputs), contiguous(bias)
    before, flat = contiguous(h).reshape(-1), outputs.reshape(-1)
    for s in range(steps):
        _stepper(*shape, units)(
            parts, s, sizes, inputs.reshape(-1), before, packed, bias, order, known, flat,
            saved.reshape(-1),
        )  # fmt: skip
        before = flat
    clear(known, outputs, *((saved,) if saving else ()))
    return outputs, last_of(outputs, known, reverse), saved if saving else None


def gru_grad(
    dy: np.ndarray, dh: np.ndarray | None, saved: np.ndarray, outputs: np.ndarray, h: np.ndarray,
    weight_hh: np.ndarray, lengths: np.ndarray | None, reverse: bool, with_state: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:  # fmt: skip
    """The gradients for the inputs, for h @ weight_hh + bias of all steps and, `with_state`, h."""
    n, steps, size = dy.shape
    dtype = dy.dtype
    shape = tile_shape(size, dtype.itemsize)
    packed = packed_turned(weight_hh, shape)
    order, known = order_of(lengths, n, steps)
    dx, dp = (empty((n, steps, GATES * size), dtype) for _ in range(2))
    dh = start_of(dh, (n, size), dtype)
    parts, *split = divided(n, size, shape.width, shape.rows, GATES * size)
    sizes = (steps, size, *split, reverse)
    dy, saved, outputs, h = map(contiguous, (dy, saved, outputs, h))
    for s in range(steps - 1, -1 - with_state, -1):
        _back_stepper(*shape)(
            parts, s, sizes, dy.reshape(-1), saved.reshape(-1), outputs.reshape(-1), h.reshape(-1),
            packed, order, known, dh.reshape(-1), dx.reshape(-1), dp.reshape(-1),
        )  # fmt: skip
    clear(known, dx, dp)
    return dx, dp, dh if with_state else None
