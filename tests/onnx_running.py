"""Exported graphs, run by the package onnx's own evaluator in NumPy."""

from typing import Any

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

import minidl as md
from minidl import nn
from minidl.autograd.tensor import ops
from minidl.io.onnx.export import built
from minidl.io.onnx.exporting.table import has_form
from minidl.io.onnx.exporting.tracing import trace
from minidl.io.onnx.exporting.writing import filled


class Wrapped(nn.Module):
    """A function of arrays as a model."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def forward(self, *arrays: Any) -> Any:
        return self.function(*arrays)


def flat(outputs: Any) -> list[np.ndarray]:
    """All arrays of an output that may be nested."""
    if isinstance(outputs, tuple | list):
        return [array for each in outputs for array in flat(each)]
    return [] if outputs is None else [np.asarray(getattr(outputs, "data", outputs))]


def beyond_evaluator(node: Any) -> bool:
    """Whether onnx's evaluator (1.23) computes something else than ONNX says; ONNX Runtime, in
    tests/live, doesn't.

    It takes the batch's size for the number of channels, cuts grouped weights wrongly, and has no
    Relu for a recurrent layer.
    """
    settings = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    return (
        node.op_type == "LRN"
        or (node.op_type == "ConvTranspose" and settings["group"] > 1)
        or (node.op_type == "RNN" and settings["activations"] == [b"Relu"])
    )


def whole(model: nn.Module, arrays: list[np.ndarray], layout: str = "NHWC") -> Any:
    """The checked graph of a model for these arrays, whatever their first axis is."""
    found = trace(model.eval(), [arrays, arrays], has_form)
    proto = filled(*built(model, found, layout))
    onnx.checker.check_model(proto, full_check=True)
    return proto


def exported(model: nn.Module, folder: Any, shape: Any, **settings: Any) -> Any:
    """The content of the file that a model is written to."""
    md.export_onnx(model, folder / "net.onnx", shape, **settings)
    return onnx.load(folder / "net.onnx")


OUTSIDE = {"lstm": (0, 4, 5), "gru": (0, 4), "rnn": (0, 4)}  # inputs that aren't weights


RECURRENT = ("gru", "lstm", "rnn")


def of_sample(name: str, sample: Any) -> tuple[nn.Module, list[np.ndarray]] | None:
    """A sample of an op as a model of its first input, and states; the others are constants.

    None for what only training does, for masks, for sequences of different length, and for samples
    without numbers.
    """
    inputs = [*sample.inputs]
    if name in RECURRENT and any(getattr(x, "dtype", None) == np.int64 for x in inputs):
        return None
    trains = any(x is True for x in (*inputs, sample.settings.get("training")))
    if trains or getattr(sample.settings.get("key"), "dtype", None) == np.bool_:
        return None
    if not isinstance(inputs[0], np.ndarray) or not inputs[0].size:
        return None
    places = [i for i in OUTSIDE.get(name, (0,)) if i < len(inputs) and inputs[i] is not None]

    def run(*arrays: Any) -> Any:
        for place, array in zip(places, arrays, strict=True):
            inputs[place] = array
        return ops[name](*inputs, **sample.settings)

    return Wrapped(run), [inputs[i] for i in places]


def assert_close(got: Any, wanted: list[np.ndarray], tolerance: float = 1e-5) -> None:
    """Equal shapes and types, and numbers relative to the largest."""
    assert len(got) == len(wanted)
    for mine, theirs in zip(wanted, got, strict=True):
        assert (theirs.dtype, theirs.shape) == (mine.dtype, mine.shape)
        scale = max(np.abs(mine).max(initial=0), 1e-3)
        np.testing.assert_allclose(theirs, mine, rtol=0, atol=tolerance * scale)


def assert_runs_alike(model: nn.Module, arrays: list[np.ndarray]) -> None:
    """The graph gives what the model gives, by onnx's evaluator; or, where that is wrong, is at
    least well-formed."""
    proto = whole(model, arrays)
    if any(beyond_evaluator(node) for node in proto.graph.node):
        return
    names = [value.name for value in proto.graph.input]
    got = ReferenceEvaluator(proto).run(None, dict(zip(names, arrays, strict=True)))
    with md.no_grad():
        assert_close(got, flat(model(*arrays)))
