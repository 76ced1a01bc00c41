"""Plain recurrent network. Shapes and names as in the twin, `minidl.reference.rnn`.

A launch computes a step of time, as in `lstm.py`.
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
    start_of,
    tanh,
    under_way,
)
from minidl.kernels.copy import contiguous
from minidl.kernels.memory import empty
from minidl.kernels.microkernel import finish, resume, tile_shape
from minidl.kernels.offsets import steps as row_steps
from minidl.kernels.offsets import take
from minidl.kernels.simd import load, maximum, spread, where_positive, zeros

__all__ = ["rnn", "rnn_grad"]


@functools.cache
def _stepper(rows, vectors, lanes, units):
    projected = projector(rows, vectors, lanes, 1, units)
    width = units * lanes

    @functools.partial(kernel, flags=EXACT)
    def step(part, s, sizes, relu, inputs, before, packed, order, lengths, outputs):
        """Step s of a block of units. before: where h lies, the outputs or, at first, the state."""
        steps, size, part_rows, row_parts, reverse = sizes
        block, first = part // row_parts, part % row_parts * part_rows
        unit, stop = block * width, min(first + part_rows, under_way(order, lengths, s))
        count = size - unit
        scratch, places = np.empty(rows * width, outputs.dtype), np.empty(TABLES * rows, np.int64)
        zero = zeros(outputs, rows, units, lanes)
        for row in range(first, stop, rows):
            locate(places, rows, order, lengths, row, stop - 1, s, steps, reverse, size, 1, 1)
            of_h = take(places, (BEFORE if s > 0 else STATE) * rows, zero)
            projected(scratch, before, of_h, packed, block, size)
            of_y = take(places, OUTPUT * rows, zero)
            x = resume(zero, inputs, unit, take(places, INPUT * rows, zero), count, width)
            y = load(scratch, 0, row_steps(width, zero), zero) + x
            y = maximum(y, spread(0.0, y)) if relu else tanh(y)
            finish(y, outputs, unit, of_y, count, width)

    return step


@functools.cache
def _back_stepper(rows, vectors, lanes):
    carried = carrier(rows, vectors, lanes, 1)
    width = vectors * lanes

    @functools.partial(kernel, flags=EXACT)
    def step_back(part, s, sizes, relu, dy, outputs, packed, order, lengths, dh, dx):
        """dh: of the state after step s. s = -1: that of the first state."""
        steps, size, part_rows, row_parts, reverse = sizes
        block, first = part // row_parts, part % row_parts * part_rows
        places = np.empty(TABLES * rows, np.int64)
        carried(part, s + 1, sizes, packed, order, lengths, dx, places, dh, False)
        unit, one = block * width, zeros(dh, 1, vectors, lanes)
        count, stop = size - unit, min(first + part_rows, under_way(order, lengths, s))
        for row in range(first, stop if s >= 0 else first):
            locate(places, 1, order, lengths, row, stop - 1, s, steps, reverse, size, 1, 1)
            of_y = places[OUTPUT] + unit
            y = resume(one, outputs, of_y, (0,), count, width)
            d = resume(one, dh, places[STATE] + unit, (0,), count, width)
            d = d + resume(one, dy, of_y, (0,), count, width)
            d = where_positive(y, d) if relu else d * (1.0 - y * y)
            finish(d, dx, of_y, (0,), count, width)

    return step_back


def rnn(
    inputs: np.ndarray, weight_hh: np.ndarray, h: np.ndarray, lengths: np.ndarray | None,
    nonlinearity: str, reverse: bool,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """The outputs of all steps and the last one."""
    n, steps, size = inputs.shape
    shape, units = gate_shape(1, size, inputs.itemsize)
    packed = packed_gates(weight_hh, 1, shape, units)
    order, known = order_of(lengths, n, steps)
    outputs = empty(inputs.shape, inputs.dtype)
    parts, *split = divided(n, size, units * shape.lanes, shape.rows, size)
    sizes, relu = (steps, size, *split, reverse), nonlinearity == "relu"
    inputs = contiguous(inputs)
    before, flat = contiguous(h).reshape(-1), outputs.reshape(-1)
    for s in range(steps):
        _stepper(*shape, units)(
            parts, s, sizes, relu, inputs.reshape(-1), before, packed, order, known, flat
        )
        before = flat
    clear(known, outputs)
    return outputs, last_of(outputs, known, reverse)


def rnn_grad(
    dy: np.ndarray, dh: np.ndarray | None, outputs: np.ndarray, weight_hh: np.ndarray,
    lengths: np.ndarray | None, nonlinearity: str, reverse: bool, with_state: bool,
) -> tuple[np.ndarray, np.ndarray | None]:  # fmt: skip
    """The gradients of `rnn` for the inputs and, `with_state`, h. dh: of the last output."""
    n, steps, size = dy.shape
    shape = tile_shape(size, dy.itemsize)
    packed = packed_turned(weight_hh, shape)
    order, known = order_of(lengths, n, steps)
    dx, dh = empty(dy.shape, dy.dtype), start_of(dh, (n, size), dy.dtype)
    parts, *split = divided(n, size, shape.width, shape.rows, size)
    sizes, relu = (steps, size, *split, reverse), nonlinearity == "relu"
    dy, outputs = contiguous(dy), contiguous(outputs)
    for s in range(steps - 1, -1 - with_state, -1):
        _back_stepper(*shape)(
            parts, s, sizes, relu, dy.reshape(-1), outputs.reshape(-1), packed, order, known,
            dh.reshape(-1), dx.reshape(-1),
        )  # fmt: skip
    clear(known, dx)
    return dx, dh if with_state else None
