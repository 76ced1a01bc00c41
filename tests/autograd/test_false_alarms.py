"""gradcheck raises no alarm about the library's own ops, whatever the shapes and numbers.

Each case is a sample of an op, drawn anew with other numbers and, of public ops that take them,
other lengths of axes. What is only a part of a public op keeps its lengths: it checks nothing, and
the public op calls it with others. `MINIDL_GRADCHECKS=1000 pytest` of this file makes as many as
that.
"""

import itertools
import os

import numpy as np
import pytest
from op_cases import OPS, Case

import minidl as md
from minidl.autograd.samples import Draw
from minidl.errors import GradError, MinidlError

COUNT = int(os.environ.get("MINIDL_GRADCHECKS", "60"))
GROUPS = 12
TRIES = 8  # at other lengths, before a sample is taken at its own


class OtherDraw(Draw):
    """Draws of another seed, in which each length of axes stands for another, everywhere alike."""

    def __init__(self, generator, change):
        super().__init__(np.float64)
        self._random = generator
        lengths = generator.integers(1, 8, 64)
        self._length = (lambda n: int(lengths[n]) if 0 < n < 64 else n) if change else (lambda n: n)

    def _shape(self, shape):
        return tuple(map(self._length, shape))

    def normal(self, *shape):
        return super().normal(*self._shape(shape))

    def uniform(self, low, high, *shape):
        return super().uniform(low, high, *self._shape(shape))

    def nonzero(self, *shape):
        return super().nonzero(*self._shape(shape))

    def distinct(self, *shape):
        return super().distinct(*self._shape(shape))

    def integers(self, high, *shape):
        return super().integers(self._length(high), *self._shape(shape))

    def mask(self, *shape):
        return super().mask(*self._shape(shape))


def drawn(op, generator):
    """Return a case of an op that it takes, at other lengths if it takes such."""
    tries = TRIES if op.function.__name__ in md.ops.__all__ else 0
    for attempt in range(tries + 1):
        change = attempt < tries
        try:
            samples = list(op._samples(OtherDraw(generator, change)))
            case = Case(op.function.__name__, 0, samples[generator.integers(len(samples))])
            if not case.differentiable:
                continue
            function, inputs = case.function()
            if all(np.isfinite(out).all() for out in function(*inputs) if hasattr(out, "dtype")):
                return case
        except (MinidlError, ValueError, IndexError, TypeError):
            if not change:
                raise
    raise AssertionError(f"{op.name} gave no finite output")


DIFFERENTIABLE = [
    name
    for name, op in OPS.items()
    if any(Case(name, 0, sample).differentiable for sample in op.sample_inputs())
]
STRIDE = 67  # through the table, so that few cases are of many families


@pytest.mark.parametrize("group", range(GROUPS))
def test_no_false_alarm(group):
    alarms = []
    for number in range(group, COUNT, GROUPS):
        name = DIFFERENTIABLE[number * STRIDE % len(DIFFERENTIABLE)]
        case = drawn(OPS[name], np.random.default_rng(number))
        function, inputs = case.function()
        try:
            md.gradcheck(function, inputs, order=1 + number // len(DIFFERENTIABLE) % 2)
        except GradError as error:
            alarms.append(f"{number}: {name} on {case.sample}: {error}")
    assert not alarms


def test_a_wrong_gradient_raises_one():
    """The check can fail: the same, of a rule that lacks a factor."""
    inputs = [np.arange(1.0, 7), np.arange(2.0, 8)]
    with pytest.raises(GradError, match=r"it is 0\.5 times what it should be"):
        md.gradcheck(lambda x, y: x * y, inputs, backward=lambda g, x, y: (0.5 * g * y, g * x))


def test_lengths_are_changed_alike():
    draws = [OtherDraw(np.random.default_rng(seed), True) for seed in range(20)]
    shapes = [(draw.normal(3, 5).shape, draw.mask(5, 3).shape) for draw in draws]
    assert all(a == b[::-1] for a, b in shapes)
    assert len(set(itertools.chain.from_iterable(shapes))) > 10
