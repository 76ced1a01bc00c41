"""What the guarded reader refuses, before it reads any of it."""

import zlib

import h5py
import numpy as np
import pytest
from reading import read_all

from minidl.errors import FileFormatError
from minidl.io.guarded import MAX_DEPTH, MAX_OBJECTS


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


# Data elsewhere


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


# Filters


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


def test_a_chunk_larger_than_the_file(tmp_path):
    path = tmp_path / "w.h5"
    with h5py.File(path, "w", libver="earliest") as file:
        dataset = file.create_dataset("w", (9999,), "u1", chunks=(9999,), compression="gzip")
        dataset.id.write_direct_chunk((0,), zlib.compress(bytes(9999)).ljust(1234, b"\0"))
    size, changed = (n.to_bytes(4, "little") for n in (1234, 2**31 - 1))
    content = path.read_bytes()
    assert content.count(size) == 1
    path.write_bytes(content.replace(size, changed))
    with pytest.raises(FileFormatError, match="a chunk of dataset 'w' is larger than the file"):
        read_all(path)


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


# Sizes


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


# Types


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


def test_a_float_that_needs_more_bits_than_it_is_stored_in(hostile):
    wide = h5py.h5t.IEEE_F64LE.copy()
    wide.set_fields(63, 48, 15, 0, 48)  # 15 bits of exponent, as in a quadruple
    wide.set_ebias(16383)
    declare(hostile, "w", (2,), dtype=wide)
    # Where long double is no wider than double, h5py has no type for it at all.
    refused(hostile, "'w' doesn't hold integers or floats of up to 64 bits|precision")


def test_ragged_rows(hostile):
    hostile.create_dataset("w", (2,), h5py.vlen_dtype(np.float32))
    refused(hostile, "'w' doesn't hold integers or floats")


def test_no_shape(hostile):
    hostile["w"] = h5py.Empty("f4")
    refused(hostile, "dataset 'w' has no shape")


def test_a_named_type(hostile):
    hostile["w"] = np.dtype("f4")
    refused(hostile, "'w' is neither a group nor a dataset")
