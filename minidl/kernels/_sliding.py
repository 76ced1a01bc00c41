"""Windows that slide over channels-last images: what depthwise convolution and pooling share.

Along one axis, output number t takes from each of its taps one input:

    for k in range(count):    input t*step + shift + k*shift_step    through tap + k*tap_step

These six numbers (step, shift, shift_step, tap, tap_step, count) are a row of the axis' table.
Forward, there is one. A gradient is gathered too: the pixels of dx fall into `stride` phases,
phase + t*stride, each with taps of its own, so that its table has `stride` rows.

A kernel makes a line of outputs a tile at a time: some pixels, a vector of their channels.
"""

import functools
from typing import NamedTuple

import numpy as np

from minidl.kernels._jit import inlined
from minidl.kernels.simd import MANY_REGISTERS

__all__ = [
    "PIXELS",
    "Line",
    "backward_axis",
    "backward_line",
    "edges_only",
    "forward_axis",
    "forward_line",
    "taps_of",
    "tiles",
]

# Pixels of a tile. Without the two at the ends of a line, which miss taps, five divide the image
# sizes of ImageNet's networks, 7 to 112, well.
PIXELS = 5 if MANY_REGISTERS else 4


@functools.lru_cache(256)
def forward_axis(kernel: int, stride: int, before: int, dilation: int = 1) -> np.ndarray:
    """The table (1, 6) of a forward pass along one axis; before: padding before the image."""
    return np.array([[stride, -before, dilation, 0, 1, kernel]])


@functools.lru_cache(256)
def backward_axis(kernel: int, stride: int, before: int, dilation: int = 1) -> np.ndarray:
    """The table (stride, 6) of a gradient along one axis, the inputs of an output ascending."""
    table = np.tile(np.array([1, 0, 1, 0, 0, 0]), (stride, 1))  # a phase without taps
    for phase in range(stride):
        taps = [k for k in range(kernel) if (phase + before - k * dilation) % stride == 0][::-1]
        shifts = [(phase + before - k * dilation) // stride for k in taps]
        if taps:
            apart = (shifts[1] - shifts[0], taps[1] - taps[0]) if len(taps) > 1 else (1, 0)
            table[phase] = 1, shifts[0], apart[0], taps[0], apart[1], len(taps)
    return table


class Line(NamedTuple):
    """How to go along a line of outputs. table: of the axis; edges: the outputs outside of runs.

    A row of runs (R, 12) is (first, last, output, unit, apart, place, step, spacing, shift_step,
    tap, tap_step, groups): tiles begin at t = first to last, PIXELS apart; a tile's first output is
    output + t*unit, the next ones `apart` from each other; its first input is place + t*step, the
    next ones `spacing` from each other, for its first group of taps; `groups` are shift_step apart.
    """

    table: np.ndarray
    runs: np.ndarray
    edges: np.ndarray


def _line(table, runs, outputs: int, inputs: int, made: int, taken: int) -> Line:
    """Return the Line of runs without their first two numbers; a tile has `made` outputs."""
    found, is_edge = [], np.ones(outputs, bool)
    for output, unit, apart, place, step, spacing, shift_step, tap, tap_step, groups in runs:
        reach = place + (taken - 1) * spacing + (groups - 1) * shift_step
        first = max(0, -(place // step), -(output // unit))
        last = min(
            (inputs - 1 - reach) // step, (outputs - 1 - output - (made - 1) * apart) // unit
        )
        if first <= last:
            covered = output + unit * np.arange(first, last + 1)[:, None] + apart * np.arange(made)
            is_edge[covered] = False
            found.append(
                (first, last, output, unit, apart, place, step, spacing, shift_step, tap, tap_step,
                 groups)
            )  # fmt: skip
    return Line(table, np.array(found, np.int64).reshape(-1, 12), np.flatnonzero(is_edge))


def _by_phases(table: np.ndarray, outputs: int, inputs: int) -> Line:
    phases = len(table)
    runs = [
        (phase, phases, phases, shift, step, step, shift_step, tap, tap_step, count)
        for phase, (step, shift, shift_step, tap, tap_step, count) in enumerate(table)
    ]
    return _line(table, runs, outputs, inputs, PIXELS, PIXELS)


@functools.lru_cache(256)
def forward_line(
    kernel: int, stride: int, before: int, dilation: int, outputs: int, inputs: int, strip: int = 0
) -> Line:
    """The line of a forward pass; strip: inputs of a tile, where all taps share what it loads."""
    table = forward_axis(kernel, stride, before, dilation)
    if strip == 0:
        return _by_phases(table, outputs, inputs)
    runs = [(0, 1, 1, -before, stride, 1, 0, 0, 1, 1)]
    return _line(table, runs, outputs, inputs, PIXELS, strip)


@functools.lru_cache(256)
def backward_line(
    kernel: int, stride: int, before: int, dilation: int, outputs: int, inputs: int, strip: int = 0
) -> Line:
    """The line of a gradient; strip: as in `forward_line`, and a tile has PIXELS of each phase."""
    table = backward_axis(kernel, stride, before, dilation)
    if strip == 0:
        return _by_phases(table, outputs, inputs)
    if stride == 1:
        runs = [(0, 1, 1, before - kernel + 1, 1, 1, 0, kernel - 1, -1, 1)]
    else:
        runs = [(kernel - 1 - before, stride, 1, 0, 1, 1, 0, 0, 1, 1)]
    return _line(table, runs, outputs, inputs, PIXELS * stride, strip)


def edges_only(line: Line, outputs: int) -> Line:
    """Return a line without runs."""
    return Line(line.table, line.runs[:0], np.arange(outputs))


@inlined
def taps_of(table, output, size):
    """What an output takes of `size` inputs: the first, its tap, the steps of both, their count."""
    step, shift, shift_step, tap, tap_step, count = table[output % len(table)]
    start = output // len(table) * step + shift
    first = 0
    while first < count and start + first * shift_step < 0:
        first += 1
    last = count
    while last > first and start + (last - 1) * shift_step >= size:
        last -= 1
    return start + first * shift_step, tap + first * tap_step, shift_step, tap_step, last - first


@functools.lru_cache(256)
def tiles(
    kernel: int,
    stride: int,
    before: int,
    outputs: int,
    inputs: int,
    pixels: int,
    backward: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """An axis' table, and how to make its outputs by tiles of up to `pixels` with the same taps.

    A tile's row of (T, 9): its first output, the distance to the next, the number of the last; of
    the first output's first input the place, the distance to the next output's, and the tap;
    then, as in the table, shift_step, tap_step, count.
    """
    table = (backward_axis if backward else forward_axis)(kernel, stride, before)
    found: list[list[int]] = []
    for phase in range(min(len(table), outputs)):
        taps = None
        for output in range(phase, outputs, len(table)):
            place, tap, shift_step, tap_step, count = taps_of.py_func(table, output, inputs)
            if taps == (tap, count) and found[-1][2] < pixels - 1:
                found[-1][2] += 1
                continue
            taps = tap, count
            apart = len(table), 0, place, table[phase, 0]
            found.append([output, *apart, tap, shift_step, tap_step, count])
    return table, np.array(sorted(found), np.int64).reshape(-1, 9)  # in the order of memory
