"""What ops are in ONNX: the graph of each sample gives what the op gives, by onnx's evaluator."""

import numpy as np
import pytest
from each import of_each
from onnx_running import assert_runs_alike, of_sample
from op_cases import OPS, Case

from minidl import nn
from minidl.autograd.primitive import Primitive
from minidl.errors import StateError
from minidl.io.onnx.exporting.table import FORMS, WITHOUT

PRIMITIVES = [name for name, op in OPS.items() if isinstance(op, Primitive)]
CASES = [
    Case(name, i, sample)
    for name in FORMS
    for i, sample in enumerate(OPS[name].sample_inputs(np.float32))
]


def test_every_primitive_has_a_form_or_a_reason():
    """A new op says what it is in ONNX (minidl/io/onnx/exporting), or why it is nothing there."""
    assert sorted(FORMS.keys() & WITHOUT.keys()) == []
    assert [name for name in PRIMITIVES if name not in FORMS and name not in WITHOUT] == []
    assert [name for name in (*FORMS, *WITHOUT) if name not in OPS] == []


@of_each(CASES, "name")
def test_form(case: Case):
    found = of_sample(case.name, case.sample)
    if found is not None:
        assert_runs_alike(*found)


def test_sequences_of_different_length_are_refused():
    lstm = nn.LSTM(3, 4)

    class Reader(nn.Module):
        def __init__(self):
            self.lstm = lstm

        def forward(self, x):
            return self.lstm(x, lengths=np.full(len(x), 2))[0]

    with pytest.raises(StateError, match=r"lstm_steps.*sequences of different length have no form"):
        assert_runs_alike(Reader().eval(), [np.ones((3, 5, 3), np.float32)])
