"""`md.export_onnx`: what the file says, for batches of any size, and what is refused."""

import inspect
import json
import os

import numpy as np
import onnx
import pytest
from onnx_running import Wrapped

import minidl as md
from minidl import models, nn
from minidl.errors import ArgumentError, DTypeError, StateError
from minidl.io.onnx.exporting import writing


def small_network():
    """Convolution, normalization, a branch, a flattened image and a linear layer."""

    class Network(nn.Module):
        def __init__(self):
            self.stem = nn.Conv2d(3, 4, 3, padding="same", stride=2, activation="relu")
            self.norm = nn.BatchNorm2d(4, activation="relu6")
            self.depthwise = nn.DepthwiseConv2d(4, 3, padding=1, multiplier=2)
            self.fc = nn.Linear(4 * 3 * 12, 5)

        def forward(self, x):
            x = self.norm(self.stem(x))
            x = md.ops.concatenate(x, self.depthwise(x), axis=-1)
            return self.fc(nn.Flatten()(x)).softmax(axis=-1)

    return Network().eval()


def run(path, *arrays):
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(str(path))
    return evaluator.run(None, dict(zip(evaluator.input_names, arrays, strict=True)))


def test_any_batch_either_layout(tmp_path):
    model, path = small_network(), tmp_path / "net.onnx"
    x = np.random.default_rng(0).standard_normal((5, 8, 6, 3)).astype(np.float32)
    for layout, given in (("NHWC", x), ("NCHW", x.transpose(0, 3, 1, 2))):
        md.export_onnx(model, path, (8, 6, 3), layout=layout)
        for count in (1, 5):
            (y,) = run(path, given[:count])
            np.testing.assert_allclose(y, model(x[:count]).data, rtol=0, atol=1e-6)


def test_images_out(tmp_path):
    """An output of images has the layout of the input."""
    model, path = (
        nn.Sequential(nn.Conv2d(3, 2, 3), nn.PixelShuffle(1)).eval(),
        tmp_path / "net.onnx",
    )
    x = np.random.default_rng(0).standard_normal((2, 5, 6, 3)).astype(np.float32)
    md.export_onnx(model, path, (5, 6, 3), layout="NCHW")
    (y,) = run(path, x.transpose(0, 3, 1, 2))
    np.testing.assert_allclose(y.transpose(0, 2, 3, 1), model(x).data, rtol=0, atol=1e-6)


def test_what_the_file_says(tmp_path):
    path = tmp_path / "net.onnx"
    model = models.create("lenet5", num_classes=3).eval()
    model.classes = ["a", "b", "c"]
    md.export_onnx(model, path)
    proto = onnx.load(path)
    onnx.checker.check_model(proto, full_check=True)
    assert proto.producer_name == "minidl"
    assert [(o.domain, o.version) for o in proto.opset_import] == [("", 17)]
    (dims,) = ([d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim]
               for v in proto.graph.input)  # fmt: skip
    assert dims == ["N", 32, 32, 1]
    said = {p.key: p.value for p in proto.metadata_props}
    assert said["minidl.architecture"] == "lenet5"
    assert json.loads(said["minidl.arguments"])["num_classes"] == 3
    assert json.loads(said["minidl.classes"]) == ["a", "b", "c"]


FEW = ["lenet5", "mobilenet_v2", "shufflenet_v2", "squeezenet1_1"]


@pytest.mark.parametrize("name", models.list() if "MINIDL_ZOO" in os.environ else FEW)
def test_networks_come_back_as_they_were(tmp_path, name):
    """The same function of minidl.models, the same bits, what it knows of images and classes."""
    known = inspect.signature(getattr(models, name)).parameters
    arguments = {"num_classes": 3} if "num_classes" in known else {}
    arguments |= {"width": 0.5} if name == "shufflenet_v2" else {}
    model, path = models.create(name, **arguments).eval(), tmp_path / "net.onnx"
    model.classes = [*"abc"] if "num_classes" in known else None
    size = max(model.smallest_size(), 16) if model.any_size else model.input_shape[0]
    md.export_onnx(model, path, (size, size, model.input_shape[2]), layout="NCHW")
    again = models.load(path)
    assert type(again) is type(model)
    assert (again.architecture, again.classes) == (model.architecture, model.classes)
    before, after = model.state_dict(), again.state_dict()
    assert [*before] == [*after]
    assert all(before[key].tobytes() == after[key].tobytes() for key in before)


def test_a_layer_with_axes_of_length_1(tmp_path):
    """ConvNeXt's layer scale, (1, 1, C): its initialiser broadcasts to planes."""
    model, path = models.create("convnext_tiny", num_classes=2).eval(), tmp_path / "net.onnx"
    md.export_onnx(model, path, (32, 32, 3))
    arrays = {t.name: t.dims for t in onnx.load(path).graph.initializer}
    assert [*arrays["features.1.0.scale.layer_scale"]] == [96, 1, 1]
    assert models.load(path).architecture == model.architecture


def test_a_changed_graph_is_read_as_it_stands(tmp_path):
    """Whoever changed the file meant it: the note of its network doesn't count any more."""
    path = tmp_path / "net.onnx"
    model = models.create("lenet5").eval()
    md.export_onnx(model, path)
    proto = onnx.load(path)
    first = next(node for node in proto.graph.node if node.op_type == "Relu")
    first.op_type = "Sigmoid"
    onnx.save(proto, path)
    changed = models.load(path).eval()
    x = np.random.default_rng(0).standard_normal((2, 32, 32, 1)).astype(np.float32)
    assert not isinstance(changed, type(model))
    np.testing.assert_allclose(changed(x).data, run(path, x)[0], rtol=0, atol=1e-5)


def test_transpositions_at_the_borders_only(tmp_path):
    path = tmp_path / "net.onnx"
    md.export_onnx(models.create("resnet20").eval(), path, (32, 32, 3), layout="NCHW")
    assert [n.op_type for n in onnx.load(path).graph.node if n.op_type == "Transpose"] == []


def test_batch_axis_left_in(tmp_path):
    for shape in ((32, 32, 1), (1, 32, 32, 1), (7, 32, 32, 1), None):
        md.export_onnx(models.create("lenet5").eval(), tmp_path / "net.onnx", shape)


def test_several_inputs_and_outputs(tmp_path):
    path, rng = tmp_path / "net.onnx", np.random.default_rng(0)
    model = Wrapped(lambda a, b: {"sum": a + b, "rest": [a * b, a.mean(axis=-1)]})
    a, b = (rng.standard_normal((4, 3)).astype(np.float32) for _ in range(2))
    md.export_onnx(model.eval(), path, [(3,), (3,)])
    for mine, theirs in zip((a + b, a * b, a.mean(-1)), run(path, a, b), strict=True):
        np.testing.assert_allclose(theirs, mine, rtol=1e-6)


def test_weights_beside(tmp_path, monkeypatch):
    """More than Protocol Buffers hold goes to a file beside, and leaves none of earlier exports."""
    monkeypatch.setattr(writing, "MOST_WITHIN", 100)
    model, path = small_network(), tmp_path / "net.onnx"
    x = np.random.default_rng(0).standard_normal((2, 8, 6, 3)).astype(np.float32)
    for _ in range(3):
        md.export_onnx(model, path, (8, 6, 3))
        np.testing.assert_allclose(run(path, x)[0], model(x).data, rtol=0, atol=1e-6)
        assert len([*tmp_path.iterdir()]) == 2
    monkeypatch.setattr(writing, "MOST_WITHIN", 2**30)
    md.export_onnx(model, path, (8, 6, 3))
    assert [file.name for file in tmp_path.iterdir()] == ["net.onnx"]


def refused(tmp_path, error, match, model, *shape, **settings):
    path = tmp_path / "net.onnx"
    path.write_bytes(b"old")
    with pytest.raises(error, match=match):
        md.export_onnx(model, path, *shape, **settings)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"old"]


def test_refusals(tmp_path):
    lenet = models.create("lenet5").eval()
    refused(tmp_path, DTypeError, "a module first, got list", [], (3,))
    refused(tmp_path, StateError, "training mode: call model.eval", models.create("lenet5"))
    refused(tmp_path, ArgumentError, "NHWC, NCHW, got 'CHW'", lenet, layout="CHW")
    for shape in ((0, 3), 3, "ab", (1.5,), [(3,), "a"]):
        refused(tmp_path, ArgumentError, "must be whole numbers from 1 up", lenet, shape)
    refused(tmp_path, ArgumentError, "32x32", lenet, (28, 28, 1))
    refused(tmp_path, ArgumentError, "doesn't tell its own", nn.Linear(3, 2).eval())


def test_refuses_what_no_graph_computes(tmp_path):
    def outside(x):
        return x * float(x.data.mean())

    def by_batch(x):
        return x[: len(x) // 2]

    def noisy(x):
        return md.nn.functional.dropout(x, 0.5, True)

    cases = [
        (outside, "computed without minidl's ops"),
        (by_batch, "depends on the size of the batch|cuts the batch"),
        (noisy, "calls the op dropout_forward, which can't be exported: it draws random"),
        (lambda x: [], "gives no array"),
    ]
    for function, match in cases:
        refused(tmp_path, StateError, match, Wrapped(function).eval(), (3,))
    signs = iter([True, False])
    turning = Wrapped(lambda x: x.exp() if next(signs) else x + 1).eval()
    refused(tmp_path, StateError, "another batch", turning, (3,))


def test_refuses_a_branch_on_the_sign_of_the_input(tmp_path):
    """Both runs took the same branch, and the file computed that one alone."""
    model = Wrapped(lambda x: x.exp() if float(x.data.mean()) > 0 else -x).eval()
    refused(tmp_path, StateError, "for another batch", model, (7, 9, 3))


def test_names_the_layer_that_has_no_form(tmp_path):
    class Noisy(nn.Module):
        def __init__(self):
            self.fc, self.noise = (
                nn.Linear(3, 2),
                Wrapped(lambda x: md.nn.functional.dropout(x, 0.5, True)),
            )

        def forward(self, x):
            return self.noise(self.fc(x))

    refused(tmp_path, StateError, "noise calls the op dropout_forward", Noisy().eval(), (3,))


def test_where_it_can_not_be_written(tmp_path):
    with pytest.raises(OSError, match="create it first"):
        md.export_onnx(models.create("lenet5").eval(), tmp_path / "none" / "net.onnx")


def test_missing_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'minidl\[interop\]'"):
        md.export_onnx(models.create("lenet5").eval(), tmp_path / "net.onnx")
