"""The guarded reader on files of others, damaged files, and all that it reads."""

import errno
import os
import random

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import read_all

from minidl.errors import FileFormatError
from minidl.io.guarded import open_guarded

PYFIVE = {
    "attr_datatypes": None,
    "chunked": None,
    "compressed": None,
    "compressed_v1": None,
    "dataset_datatypes": None,
    "dataset_multidim": None,
    "dim_scales": None,
    "earliest": None,
    "fillvalue_earliest": None,
    "fillvalue_latest": None,
    "filter_pipeline_v2": None,
    "fletcher32": None,
    "groups": None,
    "latest": None,
    "new_style_groups": None,
    "references": "'chunked_ref_dataset' doesn't hold integers or floats",
    "resizable": None,
}


def by_h5py(path):
    """Every dataset as h5py itself reads it."""
    found = {}

    def note(name, thing):
        if isinstance(thing, h5py.Dataset):
            found[name] = thing[()]

    with h5py.File(path) as file:
        file.visititems(note)
    return found


def equal(found, expected):
    assert found.keys() == expected.keys()
    for name, array in found.items():
        assert array.dtype == expected[name].dtype.newbyteorder("=")
        assert array.flags.c_contiguous
        np.testing.assert_array_equal(array, expected[name])
        assert array.shape == expected[name].shape


# Files of others


@pytest.mark.parametrize(("name", "refusal"), PYFIVE.items())
def test_unusual_files_are_read_as_h5py_reads_them_or_refused(shared_data, name, refusal):
    path = shared_data / "hdf5_pyfive" / f"{name}.hdf5"
    if refusal:
        with pytest.raises(FileFormatError, match=refusal):
            read_all(path)
    else:
        equal(read_all(path), by_h5py(path))


def test_every_unusual_file_is_tried(shared_data):
    files = {path.stem for path in (shared_data / "hdf5_pyfive").glob("*.hdf5")}
    assert files == set(PYFIVE)


@pytest.mark.parametrize(
    ("path", "count"),
    [
        ("mobilenet_v1_0.25_224_imagenet/mobilenet_v1_0.25_224.h5", 137),
        ("keras_h5/mlperf_tiny_resnet8_cifar10.h5", None),
        ("keras_h5/fer2013_mini_XCEPTION.102-0.66.hdf5", None),
    ],
)
def test_files_that_keras_wrote(shared_data, path, count):
    found = read_all(shared_data / path)
    equal(found, by_h5py(shared_data / path))
    assert len(found) > 20
    assert count is None or len(found) == count


def test_damaged_files_are_read_or_refused_and_nothing_else(shared_data, tmp_path):
    rng = random.Random(11)
    files = sorted((shared_data / "hdf5_pyfive").glob("*.hdf5"))
    files = [path.read_bytes() for path in files if path.stem != "compressed_v1"]
    path = tmp_path / "damaged.h5"
    refusals = 0
    for _ in range(500):
        content = bytearray(rng.choice(files))
        for _ in range(rng.choice([1, 2, 5])):
            content[rng.randrange(len(content))] = rng.choice([0, 255, rng.randrange(256)])
        path.write_bytes(content)
        try:
            read_all(path, 2**28)
        except FileFormatError:
            refusals += 1
    assert 0 < refusals < 500


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_what_only_begins_like_hdf5_is_refused(tmp_path_factory, rest):
    path = tmp_path_factory.mktemp("junk") / "junk.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + rest)
    with pytest.raises(FileFormatError, match="damaged or truncated"):
        read_all(path)


# What is read


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chunks": (4, 3)},
        {"compression": "gzip"},
        {"compression": "gzip", "shuffle": True, "fletcher32": True, "chunks": (7, 2)},
        {"shuffle": True, "chunks": (5, 5)},
        {"fletcher32": True},
        {"maxshape": (None, 10)},
    ],
)
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<f2", ">i2", "u1", "<u8"])
def test_storage_that_is_allowed(tmp_path, options, dtype):
    array = np.random.default_rng(1).integers(0, 100, (20, 10)).astype(dtype)
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.create_dataset("a/b", data=array, **options)
    equal(read_all(tmp_path / "w.h5"), {"a/b": array})


def test_data_in_the_header_and_data_never_written(hostile):
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.COMPACT)
    space = h5py.h5s.create_simple((3,))
    compact = h5py.h5d.create(hostile.id, b"compact", h5py.h5t.STD_I32LE, space, properties)
    compact.write(h5py.h5s.ALL, h5py.h5s.ALL, np.array([1, 2, 3], np.int32))
    hostile.create_dataset("unwritten", shape=(2, 2), dtype="f4", fillvalue=7, chunks=(1, 2))
    path = hostile.filename
    hostile.close()
    found = read_all(path)
    assert found["compact"].tolist() == [1, 2, 3]
    assert found["unwritten"].tolist() == [[7, 7], [7, 7]]


def test_entries_say_what_reading_gives_and_takes(hostile):
    hostile.create_dataset("big_endian", data=np.zeros((2, 3), ">f4"))
    hostile.create_dataset("loose", data=np.zeros(10), chunks=(100,), maxshape=(None,))
    hostile["scalar"] = np.int16(4)
    path = hostile.filename
    hostile.close()
    with open_guarded(path) as file:
        entries = file.datasets()
    assert list(entries) == ["big_endian", "good", "loose", "scalar"]
    assert entries["big_endian"].shape == (2, 3)
    assert entries["big_endian"].dtype == np.dtype("=f4")
    assert [entry.cost for entry in entries.values()] == [24, 24, 800, 2]
    assert entries["scalar"].shape == ()


def test_attributes(hostile):
    hostile.attrs.update({"text": "é", "bytes": np.bytes_("abc"), "number": np.uint8(5)})
    hostile["good"].attrs["sha256"] = "00"
    hostile.attrs.update({"many": [1, 2], "float": 1.5, "flag": True, "empty": h5py.Empty("f")})
    hostile.attrs["latin"] = np.bytes_("é".encode("latin-1"))
    hostile.attrs.create("numbers", np.zeros(()), dtype=np.dtype([("a", "f4")]))
    path = hostile.filename
    hostile.close()
    with open_guarded(path) as file:
        assert file.attribute("text") == "é"
        assert file.attribute("bytes") == "abc"
        assert file.attribute("number") == 5
        assert file.attribute("sha256", of="good") == "00"
        assert file.attribute("absent") is None
        for name in ("many", "flag", "empty", "latin", "numbers"):
            with pytest.raises(FileFormatError, match=f"attribute '{name}'"):
                file.attribute(name)


def test_a_huge_attribute_is_not_read(tmp_path):
    path = tmp_path / "w.h5"
    with h5py.File(path, "w", libver="v110") as file:
        file.attrs["format"] = np.bytes_(b"x" * (2**20 + 1))
    with (
        open_guarded(path) as file,
        pytest.raises(FileFormatError, match="'format' of '/' is not one string"),
    ):
        file.attribute("format")


# What the system refuses


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileFormatError, match="found a device or a pipe"):
        read_all(tmp_path / "pipe")


def test_a_locked_file_is_not_called_damaged(hostile, monkeypatch):
    path = hostile.filename
    hostile.close()

    def refuse(*_):
        raise BlockingIOError(errno.EAGAIN, "unable to lock file")

    monkeypatch.setattr(h5py, "File", refuse)
    with pytest.raises(BlockingIOError, match=r"could not read .*hostile\.h5.*unable to lock file"):
        read_all(path)


def test_errors_of_the_caller_pass_through(hostile):
    path = hostile.filename
    hostile.close()
    with pytest.raises(KeyError, match="mine"), open_guarded(path):
        raise KeyError("mine")
