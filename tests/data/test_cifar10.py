"""CIFAR-10's binary files."""

import numpy as np
import pytest
from PIL import Image

from minidl.data import DataLoader
from minidl.data.cifar10 import cifar10
from minidl.errors import FileFormatError


def write(path, count, seed=0):
    """The images and labels that a new file holds."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 32, 32, 3)).astype(np.uint8)
    labels = rng.integers(0, 10, count)
    records = []
    for image, label in zip(images, labels, strict=True):
        planes = (image[..., 0], image[..., 1], image[..., 2])  # red, green, blue
        records.append(bytes([label]) + b"".join(plane.tobytes() for plane in planes))
    path.write_bytes(b"".join(records))
    return images, labels


def test_a_folder_and_a_list(tmp_path):
    first = write(tmp_path / "data_batch_1.bin", 3)
    second = write(tmp_path / "data_batch_2.bin", 2, seed=1)
    test = write(tmp_path / "test_batch.bin", 4, seed=2)
    data = cifar10(tmp_path)
    images, labels = data.arrays
    np.testing.assert_array_equal(images, np.concatenate([first[0], second[0]]))
    np.testing.assert_array_equal(labels, np.concatenate([first[1], second[1]]))
    assert labels.dtype == np.int64
    assert data.labels is labels
    assert data.classes[3] == "cat"
    np.testing.assert_array_equal(cifar10([tmp_path / "test_batch.bin"]).arrays[0], test[0])
    assert next(iter(DataLoader(data, 5)))[0].shape == (5, 32, 32, 3)


def test_names(tmp_path):
    write(tmp_path / "a.bin", 1)
    names = tmp_path / "batches.meta.txt"
    names.write_text("".join(f"name{i}\n" for i in range(10)) + "\n")
    assert cifar10(tmp_path).classes == [f"name{i}" for i in range(10)]
    names.write_text("one\ntwo\n")
    with pytest.raises(FileFormatError, match="expected 10 names, found 2"):
        cifar10(tmp_path)


def test_real_files(shared_data):
    data = cifar10(shared_data / "cifar10_4k")
    assert len(data) == 4000
    assert np.bincount(data.labels).min() > 350
    assert data.classes[data.labels[0]] == "frog"  # the first training image, as is known
    # Neighbouring pixels of a photograph are alike, which they aren't in a wrong order of axes.
    images = data.arrays[0][:200].astype(float)
    across = np.abs(np.diff(images, axis=2)).mean()
    assert across < 0.2 * np.abs(images[:100] - images[100:]).mean()
    assert Image.fromarray(data.arrays[0][0]).size == (32, 32)


def test_damage(tmp_path):
    path = tmp_path / "a.bin"
    write(path, 2)
    whole = path.read_bytes()
    for content, said in (
        (b"", "found 0 bytes"),
        (whole[:-1], "found 6145 bytes"),
        (whole + b"\0", "found 6147 bytes"),
        (b"\x0a" + whole[1:], "expected labels 0..9, found 10"),
    ):
        path.write_bytes(content)
        with pytest.raises(FileFormatError, match=said):
            cifar10(tmp_path)


def test_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file to read"):
        cifar10(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        cifar10(tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        cifar10([tmp_path / "none.bin"])
