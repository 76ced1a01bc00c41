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
    assert "onnx on an input of 1 x 16 x 16 x 3" in told.out
    assert "conv Conv2d" in told.out
    drawn = minidl("draw", "net.onnx", "-o", "net.svg")
    assert (drawn.status, (here / "net.svg").read_text().count("Conv2d") > 0) == (0, True)


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
