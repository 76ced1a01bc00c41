"""Kernels of the tests' own."""

import numpy as np

from minidl.kernels._jit import background, kernel
from minidl.kernels._raw import load_word, pause, store_word

__all__ = ["alone", "count", "do_meet", "double", "gather", "line_up", "new", "room_for", "wide"]


@kernel
def count(part, counts):
    counts[part] += 1


@kernel
def line_up(part, seen, place):
    seen[place[0]] = part
    place[0] += 1


@background
def alone(part, seen, place):
    seen[place[0]] = part
    place[0] += 1


@kernel
def double(part, x):
    for i in range(x.size):
        x.reshape(-1)[i] *= 2


@kernel
def meet(part, flags, met, looks):
    """Whether another thread runs the other part meanwhile: each waits for it for a while."""
    store_word(flags + 8 * part, 1)
    for _ in range(looks):
        if load_word(flags + 8 * (1 - part)) == 1:
            met[part] = 1
            break
        pause()


def do_meet(looks=1 << 28):
    """How many of two parts saw the other."""
    flags, met = np.zeros(2, np.int64), np.zeros(2, np.int64)
    meet(2, flags.ctypes.data, met, looks)
    return int(met.sum())


@kernel
def gather(part, found, number, other, flag, shape, x):
    found[0], found[1], found[2] = number, other, flag
    found[3], found[4], found[5] = shape[0], shape[1], x[0, 1]


@kernel
def room_for(part, sizes, found):
    found[part] = np.zeros(sizes[part]).size


@kernel
def wide(part, shape):
    pass


def new(number):
    """A kernel that isn't compiled yet."""
    space = {"__name__": "new"}
    exec(f"def write(part, x):\n    x[part] = {number}", space)
    return kernel(space["write"])
