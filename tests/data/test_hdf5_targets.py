"""HDF5 files whose rows have labels, any of several, or numbers."""

import json

import h5py
import numpy as np
import pytest
from hdf5_rows import interrupted, rows_of, write

from minidl import nn, train
from minidl.data import DataLoader, HDF5Dataset, HDF5Writer
from minidl.errors import ArgumentError, DTypeError, FileFormatError, ShapeError, StateError
from minidl.io.compose import Content
from minidl.io.sealed import write_sealed

NAMES = ["a", "b"]
TARGETS = {
    "labels": np.array([[0, 1], [1, 1], [0, 0]], np.float32),
    "numbers": np.array([[0.5, -3], [1e6, 2], [7, 0.1]], np.float32),
}


def written(path, task, **options):
    images, _ = rows_of(3)
    write(path, images, TARGETS[task], classes=NAMES, task=task, **options)
    return images


@pytest.mark.parametrize("task", TARGETS)
def test_what_is_in_it(task, tmp_path):
    images = written(tmp_path / "a.h5", task)
    with h5py.File(tmp_path / "a.h5") as file:
        assert file.attrs["task"] == task.encode()
        assert file["labels"].dtype == np.float32
        np.testing.assert_array_equal(file["labels"][()], TARGETS[task])
    with HDF5Dataset(tmp_path / "a.h5") as data:
        assert (data.task, data.classes) == (task, NAMES)
        image, label = data[1]
        np.testing.assert_array_equal(image, images[1])
        np.testing.assert_array_equal(label, TARGETS[task][1])
        ((_, labels),) = DataLoader(data, 3)
        np.testing.assert_array_equal(labels, TARGETS[task])


def test_files_of_classes_are_as_before(tmp_path):
    images, labels = rows_of(3)
    write(tmp_path / "a.h5", images, labels, classes=["a", "b", "c"])
    with h5py.File(tmp_path / "a.h5") as file:
        assert "task" not in file.attrs
    with HDF5Dataset(tmp_path / "a.h5") as data:
        assert data.task == "classes"


def test_an_interrupted_writer_goes_on(tmp_path):
    images, _ = rows_of(3)
    whole, parts = tmp_path / "whole.h5", tmp_path / "parts.h5"
    written(whole, "numbers")
    interrupted(parts, images[:2], TARGETS["numbers"][:2], classes=NAMES, task="numbers")
    with pytest.raises(StateError, match="their task is 'numbers', expected 'labels'"):
        HDF5Writer(parts, images.shape[1:], classes=NAMES, task="labels", resume=True)
    with pytest.raises(StateError, match="their task is 'numbers', expected 'classes'"):
        HDF5Writer(parts, images.shape[1:], classes=NAMES, resume=True)
    options = {"classes": NAMES, "task": "numbers", "resume": True}
    with HDF5Writer(parts, images.shape[1:], **options) as writer:
        assert writer.rows == 2
        writer.add(images[2:], TARGETS["numbers"][2:])
    assert parts.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize(
    ("task", "labels", "error", "said"),
    [
        ("labels", [[0, 2]], ArgumentError, "0 or 1 for each label, got 0 to 2"),
        ("labels", [[0, np.nan]], ArgumentError, "0 or 1 for each label"),
        ("labels", [1], ShapeError, r"expected labels \(1, 2\)"),
        ("numbers", [[1, 2, 3]], ShapeError, r"expected numbers \(1, 2\), .* got \(1, 3\)"),
        ("numbers", [[np.inf, 0]], ArgumentError, "numbers that float32 can hold"),
        ("numbers", [[1e39, 0]], ArgumentError, "numbers that float32 can hold"),
    ],
)
def test_other_targets(task, labels, error, said, tmp_path):
    images, _ = rows_of(1)
    with HDF5Writer(tmp_path / "a.h5", images.shape[1:], classes=NAMES, task=task) as writer:
        with pytest.raises(error, match=said):
            writer.add(images, np.array(labels))
        writer.add(images, TARGETS[task][:1])


@pytest.mark.parametrize("task", TARGETS)
@pytest.mark.parametrize("labels", [[["1", "0"]], [[1j, 0]], [[None, 1]]])
def test_targets_that_are_no_numbers(task, labels, tmp_path):
    images, _ = rows_of(1)
    with HDF5Writer(tmp_path / "a.h5", images.shape[1:], classes=NAMES, task=task) as writer:
        with pytest.raises(DTypeError, match=f"expected {task} as numbers, got"):
            writer.add(images, np.array(labels))
        writer.add(images, TARGETS[task][:1])


def test_an_older_writers_journal_is_of_classes(tmp_path):
    images, labels = rows_of(3)
    interrupted(tmp_path / "a.h5", images, labels, classes=["a", "b", "c"])
    meta = tmp_path / ".a.h5.partial" / "meta.json"
    held = json.loads(meta.read_text())
    del held["task"]
    meta.write_text(json.dumps(held))
    with HDF5Writer(
        tmp_path / "a.h5", images.shape[1:], classes=["a", "b", "c"], resume=True
    ) as writer:
        assert writer.rows == 3


def test_bad_tasks(tmp_path):
    with pytest.raises(ArgumentError, match="task must be one of classes, labels, numbers"):
        HDF5Writer(tmp_path / "a.h5", (2, 2, 3), classes=NAMES, task="poems")
    with pytest.raises(ArgumentError, match="needs the names of the numbers as classes="):
        HDF5Writer(tmp_path / "a.h5", (2, 2, 3), task="numbers")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("task", "change"),
    [
        ("labels", lambda x: x * 2), ("labels", lambda x: x[:, :1]), ("poems", lambda x: x),
        ("numbers", lambda x: x.astype(np.float64)), ("numbers", lambda x: x / np.float32(0)),
        ("classes", lambda x: x),
    ],
)  # fmt: skip
def test_sealed_files_that_make_no_sense(task, change, tmp_path):
    written(tmp_path / "a.h5", "labels")
    with h5py.File(tmp_path / "a.h5") as file:
        held = {name: file[name][()] for name in file}
        rows = int(file["images"].attrs["block_rows"])
    with np.errstate(all="ignore"):
        held["labels"] = change(held["labels"])
    content = Content(held)
    content.add("images", block_rows=rows)
    content.add("", classes='["a", "b"]', source="", task=task)
    write_sealed(tmp_path / "b.h5", content, ("minidl data", 1))
    with pytest.raises(FileFormatError, match="don't fit together"):
        HDF5Dataset(tmp_path / "b.h5")


@pytest.mark.parametrize("task", TARGETS)
def test_features_keep_the_task(task, tmp_path):
    written(tmp_path / "a.h5", task)
    body = nn.Sequential(nn.Conv2d(3, 2, 3))
    with (
        HDF5Dataset(tmp_path / "a.h5") as data,
        train.extract_features(
            body, "0", DataLoader(data, 2, transform=[floats]), tmp_path / "f.h5"
        ) as found,
    ):
        assert (found.task, found.classes, found.shape) == (task, NAMES, (2,))
        np.testing.assert_array_equal(found.labels, TARGETS[task])


def floats(images, rng=None):
    return images.astype(np.float32)
