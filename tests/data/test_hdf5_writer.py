"""Writing HDF5 files of rows: what is in them, and what is refused."""

import json
import sys
import zlib

import h5py
import numpy as np
import pytest
from hdf5_rows import SHAPE, interrupted, names, rows_of, write

from minidl.data import hdf5_writer
from minidl.data.hdf5_dataset import HDF5Dataset
from minidl.data.hdf5_writer import HDF5Writer
from minidl.errors import ArgumentError, DTypeError, ShapeError, StateError


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("shape", [SHAPE, (7,), (300, 400, 3)])
def test_other_programs_read_the_file(tmp_path, dtype, shape):
    images, labels = rows_of(30 if len(shape) == 1 or shape == SHAPE else 7, shape=shape)
    images = images.astype(dtype)
    if dtype == "float32":
        images = images / np.float32(7)
    write(tmp_path / "a.h5", images, labels, 4, classes=["a", "b", "c"], source="me")
    assert names(tmp_path) == ["a.h5"]
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["images"].dtype == dtype
        assert file["images"].chunks is None
        np.testing.assert_array_equal(file["images"][()], images)
        np.testing.assert_array_equal(file["labels"][()], labels)
        assert file["labels"].dtype == np.int64
        flat = images.reshape(-1, shape[-1]).astype(np.float64)
        np.testing.assert_allclose(file["mean"][()], flat.mean(axis=0), rtol=1e-13)
        np.testing.assert_allclose(file["std"][()], flat.std(axis=0), rtol=1e-10)
        assert file.attrs["format"] == b"minidl data"
        assert json.loads(file.attrs["classes"]) == ["a", "b", "c"]
        assert file.attrs["source"] == b"me"
        block = int(file["images"].attrs["block_rows"])
        assert block == max(1, 2**20 // images[0].nbytes)
        sums = [zlib.crc32(images[i : i + block].tobytes()) for i in range(0, len(images), block)]
        assert file["checksums"][()].tolist() == sums
        assert file["checksums"].dtype == np.uint32


def test_the_bytes_depend_on_the_rows_alone(tmp_path):
    images, labels = rows_of(50)
    for i, (at_a_time, buffer) in enumerate([(50, 1024), (1, 1), (7, 3), (20, 8)]):
        path = tmp_path / str(i) / "a.h5"
        path.parent.mkdir()
        write(path, images.astype(np.float32), labels, at_a_time, buffer=buffer)
    assert len({(tmp_path / str(i) / "a.h5").read_bytes() for i in range(4)}) == 1


def test_rows_count_what_is_on_the_disk(tmp_path):
    images, labels = rows_of(10)
    with HDF5Writer(tmp_path / "a.h5", SHAPE, buffer=4) as writer:
        writer.add(images[:3], labels[:3])
        assert writer.rows == 0
        writer.add(images[3:], labels[3:])
        assert writer.rows == 8
    assert writer.rows == 10


# What is refused


def test_files_in_the_way(tmp_path):
    images, labels = rows_of(4)
    path = tmp_path / "a.h5"
    write(path, images, labels)
    for options in ({}, {"resume": True}):
        with pytest.raises(FileExistsError, match="replace it with overwrite"):
            HDF5Writer(path, SHAPE, **options)
    before = path.read_bytes()
    interrupted(path, images, labels, overwrite=True)
    assert path.read_bytes() == before
    write(path, images[:1], labels[:1], overwrite=True)  # forgets what was interrupted
    assert names(tmp_path) == ["a.h5"]
    assert len(HDF5Dataset(path)) == 1
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        HDF5Writer(tmp_path / "none" / "a.h5", SHAPE)
    with pytest.raises(IsADirectoryError, match="name a file in it"):
        HDF5Writer(tmp_path, SHAPE)


def test_rows_that_do_not_fit(tmp_path):
    images, labels = rows_of(4)
    with HDF5Writer(tmp_path / "a.h5", SHAPE, classes=["a", "b", "c"]) as writer:
        for bad, error, said in (
            ((images[0], labels), ShapeError, r"images \(n, 6, 5, 3\), got \(6, 5, 3\)"),
            ((images[..., :2], labels), ShapeError, "images"),
            ((images.astype(np.float32), labels), DTypeError, "expected uint8, got float32"),
            ((images, labels[:3]), ShapeError, r"labels \(4,\), one a row, got \(3,\)"),
            ((images, labels / 2), DTypeError, "whole numbers as labels"),
            ((images, labels + 1), ArgumentError, "labels from 0 to 2, got"),
            ((images, labels - 1), ArgumentError, "labels from 0 to 2, got -1"),
        ):
            with pytest.raises(error, match=said):
                writer.add(*bad)
        writer.add(images, labels)
        writer.add(images[:0], labels[:0])
    with pytest.raises(StateError, match="is closed"):
        writer.add(images, labels)
    writer.close()
    assert len(HDF5Dataset(tmp_path / "a.h5")) == 4


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"shape": ()}, ShapeError),
        ({"shape": (0, 3)}, ShapeError),
        ({"shape": 3}, ShapeError),
        ({"dtype": "float64"}, DTypeError),
        ({"dtype": "no type"}, DTypeError),
        ({"dtype": None}, DTypeError),
        ({"buffer": 0}, ArgumentError),
        ({"classes": ["x" * 70_000]}, ArgumentError),
    ],
)
def test_bad_arguments(tmp_path, change, error):
    with pytest.raises(error):
        HDF5Writer(tmp_path / "a.h5", **({"shape": SHAPE} | change))
    assert names(tmp_path) == []


def test_large_rows_do_not_fill_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5_writer, "MOST_WAITING", 250)
    with HDF5Writer(tmp_path / "a.h5", SHAPE) as writer:  # rows of 90 bytes
        writer.add(*rows_of(3))
        assert writer.rows == 2


@pytest.mark.skipif(sys.platform == "win32", reason="needs a system with file locks")
def test_two_writers_of_one_file_do_not_mix(tmp_path):
    path = tmp_path / "rows.h5"
    with HDF5Writer(path, (2,), "float32") as first:
        first.add(np.ones((3, 2), np.float32), np.zeros(3, int))
        for how in ({"resume": True}, {"overwrite": True}):
            with pytest.raises(FileExistsError, match="being written by another writer"):
                HDF5Writer(path, (2,), "float32", **how)
    assert [p.name for p in tmp_path.iterdir()] == ["rows.h5"]
    with HDF5Writer(path, (2,), "float32", overwrite=True) as second:
        second.add(np.zeros((1, 2), np.float32), np.zeros(1, int))


def test_a_row_too_large_for_memory_leaves_nothing(tmp_path):
    with pytest.raises(MemoryError):
        HDF5Writer(tmp_path / "rows.h5", (2**50,), "float32")
    assert list(tmp_path.iterdir()) == []


# Names


def test_names_of_rows(tmp_path):
    rows = np.zeros((7, 2, 3), np.uint8)
    names = ["a/1.png", "b\nc.png", "été/日本.jpg", "", "caf\udce9.jpg"]  # the last isn't UTF-8
    with HDF5Writer(tmp_path / "a.h5", (2, 3), buffer=2) as writer:
        writer.add(rows[:3], [0, 1, 2], names[:3])
        writer.add(rows[:2], [0, 1], names[3:])
        writer.add(rows[:2], [0, 1])
    with HDF5Dataset(tmp_path / "a.h5") as data:
        found = [data.name(i) for i in range(7)]
        assert found == [*names[:3], "image 3", names[4], "image 5", "image 6"]
        assert data.name(-7) == "a/1.png"
        with pytest.raises(IndexError):
            data.name(7)


def test_files_without_names_have_no_such_dataset(tmp_path):
    with HDF5Writer(tmp_path / "a.h5", (2,)) as writer:
        writer.add(np.zeros((2, 2), np.uint8), [0, 1])
    with h5py.File(tmp_path / "a.h5") as file:
        assert "names" not in file
    with HDF5Dataset(tmp_path / "a.h5") as data:
        assert data.name(1) == "image 1"


@pytest.mark.parametrize("names", [["a"], ["a", "b", "c"], "ab", ["a", 1], ["a", "b\0"]])
def test_bad_names(tmp_path, names):
    with HDF5Writer(tmp_path / "a.h5", (2,)) as writer:
        with pytest.raises(ArgumentError, match=r"expected names \(2,\), texts"):
            writer.add(np.zeros((2, 2), np.uint8), [0, 1], names)
        writer.add(np.zeros((2, 2), np.uint8), [0, 1])
