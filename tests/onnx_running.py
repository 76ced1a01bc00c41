"""Exported graphs, run by the package onnx's own evaluator in NumPy."""

from typing import Any

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

import minidl as md
from minidl import nn
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


def evaluated(model: nn.Module, arrays: list[np.ndarray], layout: str = "NHWC") -> Any:
    """What the graph of a model gives for these arrays, whatever their first axis is; None where
    only its form was checked."""
    model.eval()
    proto = filled(*built(model, trace(model, [arrays, arrays], has_form), layout))
    onnx.checker.check_model(proto, full_check=True)
    if any(beyond_evaluator(node) for node in proto.graph.node):
        return None
    names = [value.name for value in proto.graph.input]
    return ReferenceEvaluator(proto).run(None, dict(zip(names, arrays, strict=True)))


def assert_runs_alike(model: nn.Module, arrays: list[np.ndarray], tolerance: float = 1e-5) -> None:
    """The graph gives what the model gives, relative to the largest number."""
    with md.no_grad():
        wanted = flat(model.eval()(*arrays))
    got = evaluated(model, arrays)
    if got is None:
        return
    assert len(got) == len(wanted)
    for mine, theirs in zip(wanted, got, strict=True):
        assert theirs.dtype == mine.dtype and theirs.shape == mine.shape
        scale = max(np.abs(mine).max(initial=0), 1e-3)
        np.testing.assert_allclose(theirs, mine, rtol=0, atol=tolerance * scale)
