"""Exported models in ONNX Runtime and OpenVINO: every network, layer and op with a form."""

import collections
import inspect
from importlib.util import find_spec

import numpy as np
import onnxruntime as ort
import pytest
from onnx_running import assert_close, exported, flat, of_sample, whole
from op_cases import OPS

import minidl as md
from minidl import models
from minidl.io.onnx.exporting.table import FORMS

TRANSPOSING = {"convnext_tiny", "shufflenet_v2"}  # whose own layers mix orders
DAMPED = {"senet154"}  # untrained, it turns a rounding into half its scores; float64 shows it too


def in_onnxruntime(content, arrays):
    options = ort.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    return session.run(None, dict(zip(names, arrays, strict=True)))


def in_openvino(content, arrays):
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = core.compile_model(core.read_model(content), "CPU", settings)
    found = compiled(arrays)
    return [found[i] for i in range(len(found))]


def network(name):
    """A small one of its kind, with statistics of its own, and the images that it takes."""
    known = inspect.signature(getattr(models, name)).parameters
    arguments = {"num_classes": 7} if "num_classes" in known else {}
    if "input_size" in known:
        arguments["input_size"] = 67 if name in ("alexnet", "zfnet") else 32
    model = models.create(name, **arguments).eval()
    rng = np.random.default_rng(0)
    for key, buffer in model.named_buffers():
        shift = rng.normal(0, 0.1, buffer.shape)
        buffer.data[...] = 1 + shift if "var" in key else shift
    for parameter in model.parameters():
        if name in DAMPED and parameter.ndim == 1:
            parameter.data[...] *= 0.5
    size = max(model.smallest_size(), 40) if model.any_size else model.input_shape[0]
    shape = (size, size, model.input_shape[2])
    return model, rng.standard_normal((3, *shape)).astype(np.float32)


@pytest.mark.parametrize("name", models.list())
def test_network(name, tmp_path):
    model, x = network(name)
    proto = exported(model, tmp_path, x.shape[1:])
    initialisers = {t.name for t in proto.graph.initializer}
    assert model.state_dict().keys() <= initialisers
    kinds = collections.Counter(node.op_type for node in proto.graph.node)
    flattened = sum(type(m).__name__ == "Flatten" for m in model.modules())
    assert name in TRANSPOSING or kinds["Transpose"] <= 1 + flattened
    with md.no_grad():
        wanted = [model(x).data]
    assert_close(in_onnxruntime(proto.SerializeToString(), [x]), wanted, 1e-4)


if find_spec("openvino") is not None:  # which the extra `oracle` leaves out

    @pytest.mark.parametrize("name", ["densenet121", "lenet5", "mobilenet_v3_small", "vgg11_lrn"])
    def test_network_in_openvino(name, tmp_path):
        model, x = network(name)
        proto = exported(model, tmp_path, x.shape[1:], layout="NCHW")
        with md.no_grad():
            wanted = [model(x).data]
        planes = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        assert_close(in_openvino(proto.SerializeToString(), [planes]), wanted, 1e-4)


@pytest.mark.parametrize("name", sorted(FORMS))
def test_op(name):
    """Of each sample the first input comes from outside, the others are constants."""
    for sample in OPS[name].sample_inputs(np.float32):
        found = of_sample(name, sample)
        if found is not None:
            model, arrays = found
            proto = whole(model, arrays)
            assert_close(in_onnxruntime(proto.SerializeToString(), arrays), flat(model(*arrays)))
