"""The guarded reader: plain numbers in, everything else refused before it is read."""

import errno
import os
import random
import zlib

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl.errors import FileFormatError
from minidl.io.guarded import MAX_DEPTH, MAX_OBJECTS, open_guarded

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


def read_all(path, max_bytes=2**30):
    with open_guarded(path, max_bytes) as file:
        return {name: file.read(name) for name in file.datasets()}


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


@pytest.fixture
def hostile(tmp_path):
    """A new file to fill; `refused` closes it and says how it was refused."""
    with h5py.File(tmp_path / "hostile.h5", "w") as file:
        file["good"] = np.arange(3.0)
        yield file


def refused(file, match):
    path = file.filename
    file.close()
    with pytest.raises(FileFormatError, match=match) as caught:
        read_all(path)
    assert path in str(caught.value)


def declare(file, name, shape, filters=(), chunk=None, dtype=h5py.h5t.IEEE_F64LE):
    """A dataset made through HDF5's own calls, for what h5py's won't make."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    if chunk:
        properties.set_chunk(chunk)
    for number, values in filters:
        properties.set_filter(number, h5py.h5z.FLAG_OPTIONAL, values)
    space = h5py.h5s.create_simple(shape)
    return h5py.h5d.create(file.id, name.encode(), dtype, space, properties)


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
        for name in ("many", "float", "flag", "empty", "latin", "numbers"):
            with pytest.raises(FileFormatError, match=f"attribute '{name}'"):
                file.attribute(name)


# What is refused: data elsewhere


def test_links_that_are_not_hard(hostile, tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["secret"] = np.ones(3)
    hostile["deep/er/link"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/secret")
    refused(hostile, "'deep/er/link' is a soft or external link")


@pytest.mark.parametrize("target", ["/good", "/nowhere", "/link", "/"])
def test_soft_links(hostile, target):
    hostile["link"] = h5py.SoftLink(target)
    refused(hostile, "'link' is a soft or external link")


def test_external_storage(hostile, tmp_path):
    (tmp_path / "secret").write_bytes(bytes(24))
    hostile.create_dataset("w", (3,), "f8", external=[(str(tmp_path / "secret"), 0, 24)])
    refused(hostile, "dataset 'w' keeps its data in other files")


@pytest.mark.parametrize("unlimited", [False, True])
def test_virtual_datasets(hostile, tmp_path, unlimited):
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other.create_dataset("secret", data=np.ones(3), maxshape=(None,))
    most = (None,) if unlimited else (3,)
    layout = h5py.VirtualLayout(shape=(3,), dtype="f8", maxshape=most)
    source = h5py.VirtualSource(tmp_path / "other.h5", "secret", shape=(3,), maxshape=most)
    if unlimited:
        layout[: h5py.h5s.UNLIMITED] = source[: h5py.h5s.UNLIMITED]
    else:
        layout[:] = source
    hostile.create_virtual_dataset("w", layout)
    refused(hostile, "dataset 'w' keeps its data in other files")


def test_a_slash_within_a_name(tmp_path):
    # Such a name would be followed as a path, through links that nobody checked.
    path = tmp_path / "w.h5"
    with h5py.File(path, "w", libver="earliest") as file:
        file["a~b"] = np.ones(3)
    path.write_bytes(path.read_bytes().replace(b"a~b", b"a/b"))
    with pytest.raises(FileFormatError, match="the name b'a/b' is not allowed"):
        read_all(path)


# What is refused: filters


def test_other_filters_of_h5py(hostile):
    hostile.create_dataset("w", data=np.ones(100), compression="lzf")
    refused(hostile, "'w' needs filter number 32000; only deflate")


def test_lossy_filters(hostile):
    hostile.create_dataset("w", data=np.arange(100), scaleoffset=0)
    refused(hostile, "'w' needs filter number 6")


@pytest.mark.parametrize("number", [h5py.h5z.FILTER_SZIP, h5py.h5z.FILTER_NBIT, 32001, 32015, 999])
def test_filters_that_would_be_loaded_as_code(tmp_path, number):
    # HDF5 writes only filters it has, so the number of one is changed in the file.
    path = tmp_path / "w.h5"
    with h5py.File(path, "w", libver="earliest") as file:
        file.create_dataset("w", data=np.ones(100), chunks=(100,), compression="lzf")
    lzf, other = (n.to_bytes(2, "little") for n in (h5py.h5z.FILTER_LZF, number))
    content = path.read_bytes()
    assert content.count(lzf + b"\x08\x00") == 1  # followed by the length of the filter's name
    path.write_bytes(content.replace(lzf + b"\x08\x00", other + b"\x08\x00"))
    with pytest.raises(FileFormatError, match=f"'w' needs filter number {number};"):
        read_all(path)


@pytest.mark.parametrize(
    "filters",
    [
        [(h5py.h5z.FILTER_DEFLATE, (4,)), (h5py.h5z.FILTER_DEFLATE, (4,))],
        [(h5py.h5z.FILTER_DEFLATE, (4,)), (h5py.h5z.FILTER_SHUFFLE, (8,))],
    ],
)
def test_filters_twice_or_in_another_order(hostile, filters):
    declare(hostile, "w", (10,), filters, chunk=(10,))
    refused(hostile, "'w' applies its filters twice or in an unusual order")


def test_a_chunk_that_unpacks_to_more_than_its_size(hostile):
    bomb = zlib.compress(bytes(2**26), 9)  # 64 MiB out of 64 KiB
    dataset = hostile.create_dataset("w", (2**17,), "u1", chunks=(2**17,), compression="gzip")
    dataset.id.write_direct_chunk((0,), bomb)
    refused(hostile, "a chunk of dataset 'w' unpacks to more than 131072 bytes")


def test_a_chunk_that_is_no_deflate_stream(hostile):
    dataset = hostile.create_dataset("w", (64,), "u1", chunks=(64,), compression="gzip")
    dataset.id.write_direct_chunk((0,), b"\x00" * 32)
    refused(hostile, "a chunk of dataset 'w' can't be unpacked")


def test_a_chunk_stored_without_its_filter_is_read(hostile):
    dataset = hostile.create_dataset("w", (4,), "u1", chunks=(4,), compression="gzip")
    dataset.id.write_direct_chunk((0,), b"\x01\x02\x03\x04", filter_mask=1)
    path = hostile.filename
    hostile.close()
    assert read_all(path)["w"].tolist() == [1, 2, 3, 4]


# What is refused: sizes


@pytest.mark.parametrize("shape", [(2**40,), (2**20, 2**20, 2**20), (2**31, 2**31, 4)])
def test_a_huge_shape_without_data(hostile, shape):
    declare(hostile, "w", shape, chunk=(1,) * len(shape))
    refused(hostile, r"up to 'w' need \d+ bytes of memory, more than max_bytes=1073741824")


def test_a_huge_chunk_under_a_small_shape(hostile):
    hostile.create_dataset("w", (1,), "f8", chunks=(2**28,), maxshape=(None,))
    refused(hostile, "up to 'w' need 2147483672 bytes")


def test_many_datasets_that_are_huge_together(hostile):
    for i in range(5):
        declare(hostile, f"w{i}", (2**25,), chunk=(2**10,))  # 256 MiB each
    refused(hostile, "up to 'w3' need")


def test_one_dataset_under_many_names_counts_each_time(hostile):
    declare(hostile, "w", (2**26,), chunk=(2**10,))
    hostile["z"] = hostile["w"]
    refused(hostile, "up to 'z' need")


def test_ten_thousand_datasets(hostile):
    for i in range(10_000):
        hostile[f"w{i}"] = hostile["good"]
    refused(hostile, f"holds more than {MAX_OBJECTS} groups and datasets")


def test_ten_thousand_datasets_in_many_groups(hostile):
    for i in range(100):
        group = hostile.create_group(f"g{i}")
        for j in range(100):
            group[f"w{j}"] = hostile["good"]
    refused(hostile, f"holds more than {MAX_OBJECTS} groups and datasets")


def test_deep_nesting(hostile):
    hostile["/".join("g" * (MAX_DEPTH - 1)) + "/w"] = np.ones(2)
    path = hostile.filename
    hostile.close()
    assert len(read_all(path)) == 2
    with h5py.File(path, "a") as file:
        file["/".join("h" * MAX_DEPTH) + "/w"] = np.ones(2)
        refused(file, f"nested more than {MAX_DEPTH} deep")


@pytest.mark.parametrize("links", [1, 3])
def test_a_group_that_holds_itself(hostile, links):
    group = hostile.create_group("g")
    for i in range(links):
        group[f"again{i}"] = group
    refused(hostile, "nested more than|holds more than")


# What is refused: types


@pytest.mark.parametrize(
    "data",
    [
        ["text", "of any length"],
        np.array([b"abc"]),
        np.array([True, False]),
        np.array([1j]),
        np.zeros(2, [("a", "f4"), ("b", "i4")]),
        np.array([b"abc"], h5py.opaque_dtype(np.dtype("V3"))),
    ],
    ids=["strings", "bytes", "bool", "complex", "compound", "opaque"],
)
def test_other_types(hostile, data):
    hostile["w"] = data
    refused(hostile, "'w' doesn't hold integers or floats of up to 64 bits")


def test_wide_numbers(hostile):
    wide = h5py.h5t.STD_I64LE.copy()
    wide.set_size(16)
    declare(hostile, "w", (2,), dtype=wide)
    refused(hostile, "'w' doesn't hold integers or floats of up to 64 bits")


def test_ragged_rows(hostile):
    hostile.create_dataset("w", (2,), h5py.vlen_dtype(np.float32))
    refused(hostile, "'w' doesn't hold integers or floats")


def test_no_shape(hostile):
    hostile["w"] = h5py.Empty("f4")
    refused(hostile, "dataset 'w' has no shape")


def test_a_named_type(hostile):
    hostile["w"] = np.dtype("f4")
    refused(hostile, "'w' is neither a group nor a dataset")


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
