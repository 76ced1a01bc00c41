"""Commands that take ONNX files where they take weights."""

import sys
from pathlib import Path

import numpy as np
import pytest
from command import minidl, read_json
from pictures import class_folders

from minidl import models

sys.path.insert(0, str(Path(__file__).parent / "io"))
import onnx_writing as writing


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    nodes = [
        writing.node("Conv", ["x", "conv.weight"], ["a"], strides=[2, 2]),
        writing.node("Relu", ["a"], ["b"]),
        writing.node("GlobalAveragePool", ["b"], ["c"]),
        writing.node("Flatten", ["c"], ["d"]),
        writing.node("Gemm", ["d", "fc.weight"], ["e"], transB=1),
        writing.node("Softmax", ["e"], ["y"], axis=1),
    ]
    arrays = {"conv.weight": rng.normal(size=(8, 3, 3, 3)), "fc.weight": rng.normal(size=(3, 8))}
    arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    content = writing.model(nodes, {"x": ("n", 3, 16, 16)}, {"y": ("n", 3)}, arrays)
    (tmp_path / "net.onnx").write_bytes(content)
    class_folders(tmp_path / "pets", {"ant": 10, "bee": 12}, size=(20, 20))
    return tmp_path


def test_summary_and_draw(here):
    told = minidl("summary", "net.onnx")
    assert told.status == 0
    assert "net on an input of 1 x 16 x 16 x 3" in told.out
    assert "conv Conv2d" in told.out
    drawn = minidl("draw", "net.onnx", "-o", "net.svg")
    assert (drawn.status, (here / "net.svg").read_text().count("Conv2d") > 0) == (0, True)


def test_summary_of_two_inputs(here):
    nodes = [writing.node("Add", ["left", "right"], ["y"])]
    content = writing.model(nodes, {"left": ("n", 4), "right": ("n", 4)}, {"y": ("n", 4)}, {})
    (here / "two.onnx").write_bytes(content)
    told = minidl("summary", "two.onnx")
    assert told.status == 2
    assert "networks of one input, and two takes 2: left, right" in told.err


def test_predict(here):
    """Probabilities are the file's own: those before its softmax aren't normalized twice."""
    image = next((here / "pets" / "ant").iterdir())
    refused = minidl("predict", image, "--weights", "net.onnx")
    assert refused.status == 2
    assert "or give --pixels (one of imagenet, unit, signed, bytes)" in refused.err
    done = minidl("predict", image, "--weights", "net.onnx", "--pixels", "unit", "--json", "a.json")
    assert done.status == 0, done.err
    found = read_json(here / "a.json")["predictions"][0]["classes"]
    net = models.load("net.onnx").eval()
    net.take_pixels("unit")
    from minidl.data import read_image

    x = read_image(image, net.decoded_size)[None]
    for transform in net.preparation():
        x = transform(x)
    expected = np.sort(net(x).data[0])[::-1]
    np.testing.assert_allclose([row["probability"] for row in found], expected, 1e-4)


def test_finetune_and_predict_with_what_it_saved(here):
    run = ["--pixels", "signed", "--epochs", 1, "--lr", 0.01, "--no-scratch", "-o", "out"]
    done = minidl("finetune", "net.onnx", "pets", *run)
    assert done.status == 0, done.err
    assert read_json(here / "out" / "settings.json")["pixels"] == "signed"
    net = models.load(here / "out" / "weights.h5")
    assert (net.num_classes, net.classes) == (2, ["ant", "bee"])
    assert net.image_format.scale == 127.5
    asked = minidl("predict", "pets/ant", "--weights", "out/weights.h5")
    assert asked.status == 0, asked.err


def test_a_network_that_scores_no_classes(here):
    nodes = [writing.node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2])]
    shape = {"x": ("n", 3, 16, 16)}
    (here / "net.onnx").write_bytes(writing.model(nodes, shape, {"y": None}))
    told = minidl("predict", "pets/ant", "--weights", "net.onnx", "--pixels", "unit")
    assert told.status == 2
    assert "has no layer that scores classes" in told.err


def test_inspect_and_convert(here):
    told = minidl("inspect", "net.onnx")
    assert told.status == 0, told.err
    assert "3 x 3 x 3 x 8" in told.out  # (kh, kw, in, out)
    done = minidl("convert", "net.onnx", "net.h5")
    assert done.status == 0, done.err
    before, after = (models.load(name).state_dict() for name in ("net.onnx", "net.h5"))
    assert {n: a.tobytes() for n, a in before.items()} == {n: a.tobytes() for n, a in after.items()}


def test_a_file_that_breaks_off(here):
    whole = (here / "net.onnx").read_bytes()
    (here / "net.onnx").write_bytes(whole[: len(whole) // 2])
    told = minidl("summary", "net.onnx")
    assert told.status == 2
    assert "begins as an ONNX file and breaks off" in told.err


def test_a_description_holds_no_weights(here):
    (here / "net.prototxt").write_text(
        'input: "x" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 } '
        'layer { name: "c" type: "Convolution" bottom: "x" top: "c" '
        "convolution_param { num_output: 2 kernel_size: 3 } }"
    )
    class_folders(here / "images", {"cats": 2, "dogs": 2}, size=(8, 8))
    for command in (
        ["inspect", "net.prototxt"], ["convert", "net.prototxt", "net.h5"],
        ["convert", "net.prototxt", "net.onnx"], ["finetune", "net.prototxt", "images"],
        ["predict", "images/cats", "--weights", "net.prototxt"],
        ["find-issues", "images", "--weights", "net.prototxt"],
    ):  # fmt: skip
        told = minidl(*command)
        assert told.status == 2
        assert "holds no weights" in told.err


def test_finetune_what_ends_in_relu_as_squeezenet_does(here):
    """The new head's scores may be negative; what was saved makes the same network."""
    rng = np.random.default_rng(0)
    nodes = [
        writing.node("Conv", ["x", "conv.weight"], ["a"], strides=[2, 2]),
        writing.node("Relu", ["a"], ["b"]),
        writing.node("MaxPool", ["b"], ["p"], kernel_shape=[2, 2]),
        writing.node("Conv", ["p", "last.weight"], ["c"]),
        writing.node("Relu", ["c"], ["d"]),
        writing.node("GlobalAveragePool", ["d"], ["e"]),
        writing.node("Flatten", ["e"], ["y"]),
    ]
    shapes = {"conv.weight": (8, 3, 3, 3), "last.weight": (3, 8, 1, 1)}
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    content = writing.model(nodes, {"x": ("n", 3, 16, 16)}, {"y": ("n", 3)}, arrays)
    (here / "net.onnx").write_bytes(content)
    run = ["--pixels", "signed", "--epochs", 1, "--lr", 0.01, "--no-scratch", "-o", "out"]
    done = minidl("finetune", "net.onnx", "pets", *run)
    assert done.status == 0, done.err
    x = rng.normal(size=(8, 16, 16, 3)).astype(np.float32)
    assert (models.load(here / "out" / "weights.h5").eval()(x).data < 0).any()


def test_summary_where_the_file_tells_no_channels(here):
    nodes = [writing.node("Relu", ["x"], ["y"])]
    (here / "net.onnx").write_bytes(writing.model(nodes, {"x": ("n", "c", 8, 8)}, {"y": None}))
    told = minidl("summary", "net.onnx")
    assert told.status == 2
    assert "give an input_shape" in told.err
    (here / "net.onnx").write_bytes(writing.model(nodes, {"x": ("n", 3, 8, 8)}, {"y": None}))
    told = minidl("summary", "net.onnx")  # no layer of it takes images
    assert told.status == 0, told.err
