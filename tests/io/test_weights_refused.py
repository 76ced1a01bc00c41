"""Weights in minidl's own files: damage, other files, and what can't be stored."""

import random
import shutil

import h5py
import numpy as np
import pytest
from sealing import edit, reseal, split, summed_blocks, with_sums
from stand_in import Model, a_model, same

from minidl.errors import ArgumentError, DTypeError, FileFormatError, StateError
from minidl.io import load_weights, save_weights


@pytest.fixture
def saved(tmp_path):
    model, path = a_model(), tmp_path / "w.h5"
    save_weights(model, path)
    return model.state_dict(), path


def refused(path, match=None, model=None):
    """Loading `path` must be refused, and leave the model as it was."""
    model = model or a_model(fill=0)
    before = model.state_dict()
    with pytest.raises(FileFormatError, match=match) as caught:
        load_weights(model, path)
    assert str(path) in str(caught.value)
    assert same(model.state_dict(), before)
    return str(caught.value)


# Damage


def test_a_flipped_byte_of_any_dataset_is_detected_and_named(saved):
    state, path = saved
    good = path.read_bytes()
    for name, array in state.items():
        start = good.index(array.tobytes())
        for at in range(start, start + array.nbytes, 3):
            bad = bytearray(good)
            bad[at] ^= 1 << at % 8
            path.write_bytes(bad)
            found = refused(path, r"is damaged: .*CRC-32")
            assert repr(name.replace(".", "/")) in found


def test_a_flipped_byte_anywhere_else_is_always_refused(saved):
    # The first bytes make it HDF5 with a user block of somebody's, which a child reads, slowly.
    _, path = saved
    good = path.read_bytes()
    for at in [0, *range(24, len(good))]:
        bad = bytearray(good)
        bad[at] ^= 0xFF
        path.write_bytes(bad)
        refused(path)


def test_a_flipped_bit_anywhere_is_refused(saved):
    _, path = saved
    good, rng = path.read_bytes(), random.Random(8)
    for _ in range(600):
        bad, at = bytearray(good), rng.randrange(24, len(good))
        bad[at] ^= 1 << rng.randrange(8)
        path.write_bytes(bad)
        refused(path)


def test_a_truncated_file_is_refused(saved):
    _, path = saved
    good = path.read_bytes()
    for length in [0, 5, *range(24, len(good), 50), len(good) - 1]:
        path.write_bytes(good[:length])
        refused(path)


def test_a_longer_file_is_refused(saved):
    _, path = saved
    good = path.read_bytes()
    for more in (b"\0", b"\n", bytes(4096)):
        path.write_bytes(good + more)
        refused(path, f"it has {len(good) + len(more)} bytes, expected {len(good)}")


def test_a_file_that_another_program_changed(saved):
    _, path = saved
    with h5py.File(path, "r+") as file:
        file["conv1/bias"].attrs["unit"] = "volt"
    refused(path, "the file is damaged, cut off, or was changed by another program since minidl")


def test_a_missing_checksum_is_refused(saved):
    _, path = saved

    def remove(file):
        del file["conv1/bias"].attrs["crc32"]

    edit(path, remove)
    refused(path, "'conv1/bias' has no crc32 attribute")


@pytest.mark.parametrize("wrong", ["", "0", "xyz", 5, "a" * 5000, "é"])
def test_a_wrong_checksum_is_refused(saved, wrong):
    _, path = saved
    edit(path, lambda file: file["conv1/bias"].attrs.update(crc32=wrong))
    found = refused(path, "dataset 'conv1/bias' (is damaged|has no crc32)")
    assert len(found) < 500


# Seals made for harm


@pytest.mark.parametrize(
    "changes",
    [
        {"plain": [[0, 10]]},
        {"plain": [[600, 2**62]]},
        {"plain": [[600, 50], [610, 50]]},
        {"plain": [[2000, 10], [600, 10]]},
        {"plain": [[600, -1]]},
        {"plain": [[600.0, 1]]},
        {"plain": [[True, 1]]},
        {"plain": [600]},
        {"plain": 3},
        {"plain": {"ab": 1}},
        {"block": 2**40},
        {"block": -1},
        {"block": 0},
        {"block": "512"},
        {"size": 2**63},
        {"size": None},
    ],
    ids=str,
)
def test_a_list_in_the_user_block_that_makes_no_sense(saved, changes):
    import json

    _, path = saved
    content = path.read_bytes()
    first, digest, seal, _ = split(content)
    head = len(first) + 65
    listed = json.dumps(seal | changes).encode() + b"\n"
    path.write_bytes(first + digest + b"\n" + listed.ljust(512 - head, b"\0") + content[512:])
    refused(path, "is damaged, cut off, or was changed")


@pytest.mark.parametrize(
    "listed", [b"", b"[]", b"3", b"null", b"{", b"\xff", b"[" * 10**5, b"1" * 9999, b'"\xff"']
)
def test_a_list_in_the_user_block_that_is_none(saved, listed):
    _, path = saved
    content = path.read_bytes()
    first, digest, *_ = split(content)
    path.write_bytes(first + digest + b"\n" + listed + b"\n" + content[512:])
    refused(path, "the list in its user block can't be read")


@pytest.mark.parametrize("version", [b"2", b"99999999999"])
def test_a_newer_seal(saved, version):
    _, path = saved
    path.write_bytes(path.read_bytes().replace(b"file 1\n", b"file " + version + b"\n", 1))
    refused(path, r"a seal of version \d+, expected at most 1: a newer minidl wrote it")


@pytest.mark.parametrize("version", [b"", b"-1", b"1.5", b"one", b"\xb2", b"1" * 100])
def test_a_bad_version_of_the_seal(saved, version):
    _, path = saved
    path.write_bytes(path.read_bytes().replace(b"file 1\n", b"file " + version + b"\n", 1))
    refused(path)


def test_a_right_seal_around_broken_structures(saved):
    _, path = saved
    good = path.read_bytes()
    blocks = summed_blocks(good)
    loaded = refusals = 0
    for start, end in blocks:
        for at in range(start + 4, end, 3):
            bad = bytearray(good)
            bad[at] ^= 1 << at % 8
            path.write_bytes(with_sums(bad, blocks))
            reseal(path)
            model = a_model(fill=0)
            try:
                load_weights(model, path, strict=False)
                loaded += 1
            except (FileFormatError, StateError):
                refusals += 1
                assert not any(array.any() for array in model.state_dict().values())
    assert loaded
    assert refusals > loaded


# Other files


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty one"),
        (b"hello, world", "one starting with b'hello, world'"),
        (b"minidl sealed", "one starting with b'minidl sealed'"),
        (b"PK\x03\x04" + bytes(100), "a damaged zip archive"),
        (b"\x80\x04\x95" + bytes(100), "a pickle, which minidl never reads"),
        (b"\x93NUMPY" + bytes(100), r"NumPy's \.npy: read it with np\.load"),
    ],
)
def test_a_file_of_another_kind(tmp_path, content, found):
    path = tmp_path / "w.h5"
    path.write_bytes(content)
    refused(path, f"expected .*, found {found}")


def test_hdf5_of_another_kind(tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.attrs["format"] = "somebody's weights"
        file["numbers"] = np.arange(3)
    refused(tmp_path / "w.h5", "expected weights that minidl or Keras wrote, found HDF5 with num")


def test_a_sealed_file_of_another_format(saved):
    _, path = saved
    edit(path, lambda file: file.attrs.update(format="somebody's weights"))
    refused(path, 'format minidl weights or minidl checkpoint, found "somebody\'s weights"')


def test_a_newer_format_version(saved):
    _, path = saved
    edit(path, lambda file: file.attrs.update(format_version=2))
    refused(path, r"format_version 2 of minidl weights, expected at most 1.*update minidl")


@pytest.mark.parametrize("version", [0, -1, "1", 1.5, [1], None])
def test_a_bad_format_version(saved, version):
    _, path = saved

    def change(file):
        del file.attrs["format_version"]
        if version is not None:
            file.attrs["format_version"] = version

    edit(path, change)
    refused(path, "format_version")


def test_a_name_with_a_dot_is_refused(saved):
    _, path = saved

    def add(file):
        file["conv1.weight"] = file["conv1/weight"]

    edit(path, add)
    refused(path, r"dot in the dataset name 'conv1\.weight'")


@pytest.mark.parametrize("link", [h5py.SoftLink("/conv1/bias"), h5py.ExternalLink("x.h5", "/a")])
def test_what_points_elsewhere(saved, link):
    _, path = saved

    def add(file):
        file["link"] = link

    edit(path, add)
    refused(path, "'link' is a soft or external link")


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_too_many_bytes(tmp_path, compression):
    model, path = a_model(), tmp_path / "w.h5"
    save_weights(model, path, compression=compression)
    size = sum(array.nbytes for array in model.state_dict().values())
    load_weights(a_model(), path, max_bytes=size)
    with pytest.raises(FileFormatError, match=f"need {size} bytes of memory.*raise max_bytes"):
        load_weights(a_model(), path, max_bytes=size - 1)
    for wrong in (1.5, -1, True, "1"):
        with pytest.raises(ArgumentError, match="max_bytes must be a whole number of bytes, got"):
            load_weights(a_model(), path, max_bytes=wrong)


# What the system refuses, and what can't be saved


def test_loading_from_where_nothing_is(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"could not read .*w.h5"):
        load_weights(a_model(), tmp_path / "w.h5")
    refused(tmp_path, "found a folder: name a file in it")


def test_saving_to_a_folder_or_into_none(tmp_path):
    with pytest.raises(OSError, match=r"could not write .*: it is a folder"):
        save_weights(a_model(), tmp_path)
    with pytest.raises(FileNotFoundError, match="does not exist: create it first"):
        save_weights(a_model(), tmp_path / "runs" / "w.h5")


@pytest.mark.parametrize(
    "array", [np.array(["a"]), np.array([True]), np.array([1j]), np.array([None]), np.zeros(2, "g")]
)
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_arrays_that_are_no_numbers_leave_the_old_file(saved, array, compression):
    _, path = saved
    before = path.read_bytes()
    with pytest.raises(StateError, match=r"'net\.w' is .*: convert it"):
        save_weights(Model({"net.w": array}), path, compression=compression)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["w.h5"]


@pytest.mark.parametrize("names", [["a/b"], ["a", "b.c"], ["a", "b/c"], ["", "c"], ["a", ""], [""]])
def test_names_that_are_no_dotted_names_leave_the_old_file(saved, names):
    _, path = saved
    before = path.read_bytes()
    model = leaf = Model({})
    for name in names[:-1]:
        setattr(leaf, name, Model({}))
        leaf = vars(leaf)[name]
    vars(leaf)[names[-1]] = vars(Model({"x": np.zeros(2)}))["x"]
    with pytest.raises(StateError, match="can't store the name"):
        save_weights(model, path)
    assert path.read_bytes() == before


def test_swapped_arguments(tmp_path):
    with pytest.raises(DTypeError, match="save_weights expected a module first, got str"):
        save_weights("w.h5", a_model())
    with pytest.raises(DTypeError, match="load_weights expected a module first, got str"):
        load_weights("w.h5", a_model())


def test_a_copy_is_as_good_and_a_repacked_file_is_said_to_be_no_longer_minidls(saved, tmp_path):
    state, path = saved
    shutil.copy(path, tmp_path / "copy.h5")
    other = a_model(fill=0)
    load_weights(other, tmp_path / "copy.h5")
    assert same(other.state_dict(), state)
    with h5py.File(path) as source, h5py.File(tmp_path / "repacked.h5", "w") as target:
        target.attrs.update(source.attrs)
        for name in source:
            source.copy(name, target)
    refused(tmp_path / "repacked.h5", "another program")
