"""What ops are in ONNX: the graph of each sample gives what the op gives, by onnx's evaluator."""

import numpy as np
from each import of_each
from onnx_running import Wrapped, assert_runs_alike
from op_cases import OPS, Case

from minidl.autograd.primitive import Primitive
from minidl.io.onnx.exporting.table import FORMS, WITHOUT

PRIMITIVES = [name for name, op in OPS.items() if isinstance(op, Primitive)]
CASES = [
    Case(name, i, sample)
    for name in FORMS
    for i, sample in enumerate(OPS[name].sample_inputs(np.float32))
    if not any(x is True for x in (*sample.inputs, sample.settings.get("training")))  # in training
    if getattr(sample.settings.get("key"), "dtype", None) != bool  # a mask
]
OUTSIDE = {"lstm": (0, 4, 5), "gru": (0, 4), "rnn": (0, 4)}  # which inputs no weights are given for


def test_every_primitive_has_a_form_or_a_reason():
    """A new op says what it is in ONNX (minidl/io/onnx/exporting), or why it is nothing there."""
    assert sorted(FORMS.keys() & WITHOUT.keys()) == []
    assert [name for name in PRIMITIVES if name not in FORMS and name not in WITHOUT] == []
    assert [name for name in (*FORMS, *WITHOUT) if name not in OPS] == []


@of_each(CASES, "name")
def test_form(case: Case):
    """The first input, and states, come from outside; the others are constants, as weights are."""
    inputs = [*case.sample.inputs]
    places = [i for i in OUTSIDE.get(case.name, (0,)) if i < len(inputs) and inputs[i] is not None]
    if not isinstance(inputs[0], np.ndarray) or 0 in inputs[0].shape:
        return

    def run(*arrays):
        for place, array in zip(places, arrays, strict=True):
            inputs[place] = array
        return case.op(*inputs, **case.sample.settings)

    assert_runs_alike(Wrapped(run), [inputs[i] for i in places])
