"""Files of Caffe's: written here byte by byte, damaged, and real ones."""

import struct

import numpy as np
import pytest
from caffe_writing import blob, field, layer, varint

from minidl.errors import FileFormatError
from minidl.io.caffe import read_caffemodel

RANDOM = np.random.default_rng(0)


@pytest.fixture
def kernel():
    return RANDOM.standard_normal((4, 3, 2, 2)).astype(np.float32)


@pytest.mark.parametrize("packed", [True, False])
def test_layers(tmp_path, kernel, packed):
    bias = np.arange(4, dtype=np.float32)
    content = field(1, b"net") + layer("data", "Input")
    content += layer("conv", "Convolution", blob(kernel, packed=packed), blob(bias))
    (tmp_path / "net.caffemodel").write_bytes(content)
    (found,) = read_caffemodel(tmp_path / "net.caffemodel")
    assert (found.name, found.type) == ("conv", "Convolution")
    np.testing.assert_array_equal(found.blobs[0], kernel)
    np.testing.assert_array_equal(found.blobs[1], bias)
    assert found.blobs[0].dtype == np.float32


def test_files_of_before_2014(tmp_path, kernel):
    content = layer("conv", 4, blob(kernel, old=True), old=True)
    content += layer("odd", 7, blob(kernel, old=True), old=True)
    (tmp_path / "old.caffemodel").write_bytes(content)
    conv, odd = read_caffemodel(tmp_path / "old.caffemodel")
    assert (conv.type, odd.type) == ("Convolution", "")
    np.testing.assert_array_equal(conv.blobs[0], kernel)


def test_doubles(tmp_path):
    message = field(7, field(1, varint(2))) + field(8, struct.pack("<2d", 1.5, -2))
    (tmp_path / "d.caffemodel").write_bytes(layer("fc", "InnerProduct", message))
    assert read_caffemodel(tmp_path / "d.caffemodel")[0].blobs[0].tolist() == [1.5, -2]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no layer with weights"),
        (b"not a network", "damaged|unknown kind|no layer"),
        (layer("data", "Input"), "no layer with weights"),
        (field(100, b"\xff" * 12), "without end"),
        (varint(100 << 3 | 2) + varint(1 << 40), "1,099,511,627,776 bytes where 0 are left"),
        (layer("c", "C", field(7, field(1, varint(5))) + field(5, b"\0" * 8)), "2 numbers for an"),
        (layer("c", "C", field(7, field(1, varint(1 << 62) * 3))), "0 numbers for an"),
        (layer("c", "C", field(7, field(1, varint(1) * 99))), "more than 32 numbers"),
        (layer("c", "C", field(5, b"\0" * 7)), "of 4 bytes each"),
        (layer("\0", "C") + field(100, field(1, b"\xff\xfe")), "text in UTF-8"),
        (varint(1 << 3 | 3), "unknown kind 3"),
        (field(100, 5), "layers of a network"),
    ],
)
def test_what_is_damaged(tmp_path, content, said):
    (tmp_path / "net.caffemodel").write_bytes(content)
    with pytest.raises(FileFormatError, match=said):
        read_caffemodel(tmp_path / "net.caffemodel")


def test_every_cut_is_an_error_or_less(tmp_path, kernel):
    """Whatever is cut off, what is read is what was there."""
    content = layer("a", "Convolution", blob(kernel)) + layer("b", "Convolution", blob(kernel))
    for length in range(0, len(content), 7):
        (tmp_path / "net.caffemodel").write_bytes(content[:length])
        try:
            found = read_caffemodel(tmp_path / "net.caffemodel")
        except FileFormatError:
            continue
        assert len(found) == 1
        np.testing.assert_array_equal(found[0].blobs[0], kernel)


def test_too_large(tmp_path, kernel):
    (tmp_path / "net.caffemodel").write_bytes(layer("a", "Convolution", blob(kernel)))
    with pytest.raises(FileFormatError, match="more than max_bytes=50"):
        read_caffemodel(tmp_path / "net.caffemodel", max_bytes=50)


def test_real_files(shared_data):
    """LeNet's shapes are Caffe's example's, MTCNN's those of its paper."""
    (lenet,) = (shared_data / "caffe_lenet_mnist").glob("*.caffemodel")
    shapes = [[each.shape for each in layer.blobs] for layer in read_caffemodel(lenet)]
    assert shapes == [
        [(20, 1, 5, 5), (20,)], [(50, 20, 5, 5), (50,)], [(500, 800), (500,)], [(10, 500), (10,)],
    ]  # fmt: skip
    for path in (shared_data / "mtcnn_caffe").glob("*.caffemodel"):
        first = read_caffemodel(path)[0]
        assert first.type == "Convolution"
        assert first.blobs[0].shape[1:] == (3, 3, 3)


def test_shapes_beyond_all_numbers(tmp_path):
    for sides in ((0, 2**64 - 1), (0, 2**40, 2**40)):
        message = field(7, field(1, b"".join(map(varint, sides))))
        (tmp_path / "net.caffemodel").write_bytes(layer("c", "C", message))
        with pytest.raises(FileFormatError, match="0 numbers for an array of shape"):
            read_caffemodel(tmp_path / "net.caffemodel")
