"""ONNX files on the disk: external data, other forms of numbers, damage, files of weights."""

import struct

import fuzz_onnx
import numpy as np
import onnx_writing as writing
import pytest
from onnx_writing import draw, model, node, one

import minidl as md
from minidl import models
from minidl.errors import ArgumentError, FileFormatError, ShapeError, StateError
from minidl.io.onnx.importing import read_onnx

# External data


def external(location, **entries):
    weight = writing.tensor("w", np.zeros((6, 2), np.float32),
                            external={"location": location, **entries})  # fmt: skip
    return one("MatMul", ["x", "w"], [weight], shape=("n", 6))


def test_external_data_beside_the_file(load, tmp_path):
    weight = draw(6, 2)
    (tmp_path / "data.bin").write_bytes(b"1234" + weight.tobytes())
    net = load(external("data.bin", offset="4", length="48"))
    np.testing.assert_allclose(net(draw(3, 6)).data, draw(3, 6) @ weight, 1e-5, 1e-6)


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("../data.bin", "only files beside the model"),
        ("/etc/hostname", "only files beside the model"),
        ("a/../../data.bin", "only files beside the model"),
        ("", "only files beside the model"),
        ("link.bin", "which is a link"),
        ("folder/data.bin", "which is a link"),
        ("missing.bin", "isn't there: put it beside the model"),
        ("short.bin", "expected 48 bytes at byte 0, the file has 4"),
        (".", "expected|only files"),
    ],
)
def test_external_data_elsewhere(load, tmp_path, location, told):
    inner = tmp_path / "models"
    inner.mkdir()
    (tmp_path / "data.bin").write_bytes(bytes(48))
    (inner / "link.bin").symlink_to(tmp_path / "data.bin")
    (inner / "folder").symlink_to(tmp_path)
    (inner / "short.bin").write_bytes(b"1234")
    (inner / "net.onnx").write_bytes(external(location))
    with pytest.raises(FileFormatError, match=told):
        models.load(inner / "net.onnx")


def test_max_bytes(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(writing.classifier())
    with pytest.raises(FileFormatError, match="more than max_bytes=100"):
        read_onnx(path, max_bytes=100)
    with pytest.raises(FileFormatError, match="more memory than max_bytes"):
        read_onnx(path, max_bytes=path.stat().st_size + 10)


def test_numbers_stored_as_lists_and_16_bit_floats(load):
    dims = writing.number(1, 2) + writing.number(2, 1) + writing.message(8, "w")
    listed = dims + writing.message(4, struct.pack("<2f", 1.5, -2))
    half = writing.tensor("v", np.array([0.5, 4], np.float16))
    content = model(
        [node("Mul", ["x", "w"], ["a"]), node("Add", ["a", "v"], ["y"])],
        {"x": (2,)}, {"y": (2,)}, [listed, half],
    )  # fmt: skip
    assert load(content)(np.ones(2, np.float32)).data.tolist() == [2, 2]


def test_damaged_and_hostile_files():
    assert list(fuzz_onnx.violations(300, seed=5)) == []


# Files of minidl's weights


def test_saved_weights_make_the_network_again(load, tmp_path):
    """The file of weights holds the graph, without its numbers; the head's classes are another."""
    net = load(writing.classifier(softmax=True)).eval()
    x, path = draw(2, 8, 8, 2), tmp_path / "w.h5"
    md.save_weights(net, path)
    again = models.load(path).eval()
    np.testing.assert_array_equal(again(x).data, net(x).data)
    net.replace_head(4).classes = list("abcd")
    md.save_weights(net, path)
    again = models.load(path).eval()
    assert again.classes == list("abcd")
    np.testing.assert_array_equal(again(x).data, net(x).data)
    new = models.create("onnx", **net.architecture[1]).eval()
    assert new(x).shape == (2, 4)
    assert not np.array_equal(new.features.second.weight.data, net.features.second.weight.data)
    assert "onnx" not in models.list()


@pytest.mark.parametrize("title", ["../up", "a/b", "", 3, "x" * 101])
def test_a_title_that_is_none(title, load, tmp_path):
    """It becomes part of a folder's name."""
    net, path = load(writing.classifier()), tmp_path / "w.h5"
    net.architecture = "onnx", net.architecture[1] | {"title": title}
    md.save_weights(net, path)
    with pytest.raises(FileFormatError, match="arguments are of another version"):
        models.load(path)


def test_a_network_is_called_as_its_file(tmp_path):
    """Also after it was saved as weights; what can't be in a folder's name is replaced."""
    path, kept = tmp_path / "my net.v2.onnx", tmp_path / "w.h5"
    path.write_bytes(writing.classifier())
    net = models.load(path)
    md.save_weights(net, kept)
    assert net.title == models.load(kept).title == "my_net.v2"
    with pytest.raises(ShapeError, match=r"my_net\.v2 expected images of 8x8"):
        net(draw(1, 9, 9, 2))


def test_a_graph_that_cannot_be_written_again(tmp_path):
    """One for a single image that isn't proved to keep images apart: it is run image by image."""
    path = tmp_path / "net.onnx"
    nodes = [node("Conv", ["x", "w"], ["a"]), node("Gather", ["a", "i"], ["y"], axis=1)]
    arrays = {"w": draw(2, 3, 1, 1), "i": np.array(0)}
    path.write_bytes(model(nodes, {"x": (1, 3, 4, 4)}, {"y": (1, 4, 4)}, arrays))
    with pytest.raises(StateError, match=r"keep that file, and save .* md\.save_weights"):
        md.export_onnx(models.load(path).eval(), tmp_path / "again.onnx", (4, 4, 3))


def test_a_graph_that_is_none(load):
    net = load(writing.classifier())
    for graph in ("", "?", net.architecture[1]["graph"][:-8]):
        with pytest.raises(ArgumentError, match="graph of an ONNX file makes no sense"):
            models.create("onnx", graph=graph)


def test_what_a_file_of_minidls_says_of_its_images(load):
    text = {
        "minidl.image_format": '{"size": 8, "order": "RGB", "scale": 255, "mean": [0], "std": [1]}',
        "minidl.classes": '["a", "b", "c"]',
    }  # fmt: skip
    entries = [writing.message(14, writing.message(1, k) + writing.message(2, v))
               for k, v in text.items()]  # fmt: skip
    net = load(writing.classifier() + b"".join(entries))
    assert (net.image_format.size, net.classes) == (8, ["a", "b", "c"])
    bad = writing.message(14, writing.message(1, "minidl.image_format") + writing.message(2, "{"))
    with pytest.raises(FileFormatError, match=r"minidl\.image_format makes no sense"):
        load(writing.classifier() + bad)
