"""Files that aren't weights, or not any more: one error that says what was found."""

import os
import pickle
import struct
import zipfile

import h5py
import numpy as np
import pytest
from keras_files import archive, layer, legacy, model, numbered, numbers

import minidl as md
from minidl import nn
from minidl.errors import ArgumentError, FileFormatError, MinidlError
from minidl.io.foreign import read_file
from minidl.io.report import inspect


def refused(path, match, **settings):
    """Neither loaded nor inspected, and the model is left as it was."""
    net = nn.Linear(3, 2)
    before = net.state_dict()
    with pytest.raises(FileFormatError, match=match) as caught:
        md.load_weights(net, path, **settings)
    assert str(path) in str(caught.value)
    np.testing.assert_array_equal(net.weight.data, before["weight"])
    if not settings:
        with pytest.raises(FileFormatError, match=match):
            inspect(path)


# Pickles


class Trap:
    """Makes a folder if it is ever unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def torch_zip(path, content):
    """As torch.save writes: an archive with the pickle and the numbers apart."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", content)
        file.writestr("archive/data/0", bytes(24))
        file.writestr("archive/version", "3\n")


def torch_legacy(path, content):
    """As torch.save wrote until 1.5: pickles in a row, of a magic number first."""
    path.write_bytes(pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + content)


WAYS = {
    "zip": torch_zip,
    "legacy": torch_legacy,
    "plain": lambda path, content: path.write_bytes(content),
}


@pytest.mark.parametrize("name", ["x.pt", "x.h5", "x.safetensors"])
@pytest.mark.parametrize("way", WAYS)
def test_pickles_are_never_unpickled(way, name, tmp_path):
    trap, path = tmp_path / "sprung", tmp_path / name
    WAYS[way](path, pickle.dumps({"weight": Trap(trap)}, 2))
    refused(path, r"found a pickle, which minidl never reads.*safetensors\.torch\.save_file")
    assert not trap.exists()
    pickle.loads(pickle.dumps(Trap(trap)))
    assert trap.is_dir()  # the trap works


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_of_every_protocol(protocol, tmp_path):
    trap, path = tmp_path / "sprung", tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps({"weight": Trap(trap)}, protocol))
    refused(path, "found a pickle" if protocol > 1 else "found ")
    assert not trap.exists()


def test_an_npy_of_objects_is_a_pickle_too(tmp_path):
    trap, path = tmp_path / "sprung", tmp_path / "x.npy"
    np.save(path, np.array([Trap(trap)], object))
    refused(path, r"NumPy's \.npy")
    assert not trap.exists()


# Other files


@pytest.mark.parametrize("name", ["x.npz", "x.h5"])
def test_npz(name, tmp_path):
    with (tmp_path / name).open("wb") as file:
        np.savez(file, weight=np.ones((3, 2)), bias=np.ones(2))
    refused(tmp_path / name, r"NumPy's \.npz: state = dict\(np\.load\(path\)\).*load_state_dict")


def test_npy(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((3, 2)))
    refused(tmp_path / "x.npy", r"NumPy's \.npy: read it with np\.load")


def test_a_zip_of_other_things(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.keras", "w") as file:
        file.writestr("readme.txt", "hello")
        file.writestr("config.json", "{}")
    refused(tmp_path / "x.keras", r"found a zip archive of readme\.txt, config\.json")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(99), "PNG"),
        (b"\xff\xd8\xff\xe0" + bytes(99), r"starting with b'\\xff\\xd8"),
        (b"conv1.weight 0.1 0.2\n" * 9, "starting with b'conv1"),
        (b"<!DOCTYPE html><html>Not found</html>", "DOCTYP"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "version"),
        (b"{" * 99, "starting with"),
        (b"\0" * 99, "starting with"),
        (b"\x1f\x8b\x08" + bytes(99), "starting with"),
        (b"PK\x05\x06" + bytes(18), "starting with|empty"),  # an empty archive
        (b"PK\x03\x04" + bytes(99), "damaged zip archive"),
        (b"x", "starting with b'x'"),
        (b"", r"empty one \(0 bytes\)"),
    ],
)
@pytest.mark.parametrize("name", ["x.h5", "x"])
def test_what_starts_as_something_else(content, match, name, tmp_path):
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, match)


def test_a_folder(tmp_path):
    """Such as TensorFlow's SavedModel."""
    refused(tmp_path, "expected a file, found a folder: name a file in it")


def test_a_file_that_is_not_there(tmp_path):
    for call in (lambda path: md.load_weights(nn.Linear(3, 2), path), inspect):
        with pytest.raises(FileNotFoundError, match=r"could not read .*gone\.h5"):
            call(tmp_path / "gone.h5")


@pytest.mark.parametrize("form", ["x.h5", "x.weights.h5", "x.keras", "x.safetensors"])
@pytest.mark.parametrize("left", [0.2, 0.9, 0.999])
def test_truncated_files(form, left, tmp_path):
    path = every_form(tmp_path)[form]
    content = path.read_bytes()
    path.write_bytes(content[: int(left * len(content))])
    refused(path, "damaged|truncated|expected weights")


def every_form(folder):
    """A Linear in each kind of file that others write."""
    from safetensors.numpy import save_file

    arrays = {"fc": {"fc/kernel:0": numbers(3, 2), "fc/bias:0": numbers(2)}}
    grouped = {"layers/dense": [numbers(3, 2), numbers(2)]}
    paths = {name: folder / name for name in ("x.h5", "x.weights.h5", "x.keras", "x.safetensors")}
    legacy(paths["x.h5"], arrays)
    numbered(paths["x.weights.h5"], grouped)
    archive(paths["x.keras"], grouped, model(layer("Dense", "dense")))
    save_file({"weight": numbers(2, 3), "bias": numbers(2)}, paths["x.safetensors"])
    return paths


# Whatever a file's name is


def test_content_decides_whatever_the_name(tmp_path):
    for form, path in every_form(tmp_path).items():
        path = path.rename(tmp_path / f"{form}.bin")
        net = nn.Sequential(nn.Linear(3, 2))
        md.load_weights(net, path)
        np.testing.assert_array_equal(net[0].bias.data, numbers(2))


def test_hdf5_behind_a_user_block(tmp_path):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w", userblock_size=1024) as file:
        file["layers/dense/vars/0"], file["layers/dense/vars/1"] = numbers(3, 2), numbers(2)
    net = nn.Linear(3, 2)
    md.load_weights(net, path)
    np.testing.assert_array_equal(net.weight.data, numbers(3, 2))


@pytest.mark.parametrize("form", ["x.h5", "x.weights.h5", "x.keras", "x.safetensors"])
def test_max_bytes_of_every_kind_of_file(form, tmp_path):
    path = every_form(tmp_path)[form]
    refused(path, "max_bytes=20", max_bytes=20)
    for most in (-1, "9", None, 2.0):
        with pytest.raises(ArgumentError, match="max_bytes must be a whole number"):
            md.load_weights(nn.Linear(3, 2), path, max_bytes=most)


# Keras archives


def rewritten(path, compression=zipfile.ZIP_DEFLATED, **members):
    """A Keras archive with other members; None leaves one out."""
    with zipfile.ZipFile(path) as file:
        contents = {name: file.read(name) for name in file.namelist()}
    contents |= {name.replace("__", "."): content for name, content in members.items()}
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in contents.items():
            if content is not None:
                file.writestr(name, content)


@pytest.fixture
def keras_archive(tmp_path):
    arrays = {"layers/dense": [numbers(3, 2), numbers(2)]}
    return archive(tmp_path / "x.keras", arrays, model(layer("Dense", "dense")))


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_packed_and_unpacked_archives(compression, keras_archive):
    rewritten(keras_archive, compression)
    net = nn.Sequential(nn.Linear(3, 2))
    md.load_weights(net, keras_archive)
    np.testing.assert_array_equal(net[0].weight.data, numbers(3, 2))


@pytest.mark.parametrize(
    "compression",
    [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA],
)
def test_damage_within_an_archive(compression, keras_archive):
    rewritten(keras_archive, compression)
    content, errors = keras_archive.read_bytes(), []
    for at in range(0, len(content), max(37, len(content) // 40)):
        harmed = bytearray(content)
        harmed[at] ^= 0x55
        keras_archive.write_bytes(harmed)
        try:
            read_file(keras_archive)
        except MinidlError as error:
            errors.append(str(error))
    assert errors
    assert all(str(keras_archive) in error for error in errors)


def test_a_bomb_of_weights(keras_archive):
    """128 MiB out of less than one."""
    rewritten(keras_archive, model__weights__h5=bytes(2**27))
    assert keras_archive.stat().st_size < 2**20
    refused(keras_archive, r"model\.weights\.h5.* unpacks to more", max_bytes=2**20)


def test_a_bomb_of_a_configuration(keras_archive):
    rewritten(keras_archive, config__json=b" " * (2**26 + 1))
    refused(keras_archive, r"config\.json.* unpacks to more")


def test_a_bomb_that_lies_about_its_size(keras_archive):
    """The sizes in its directory say 100 bytes."""
    rewritten(keras_archive, model__weights__h5=bytes(2**24))
    content = keras_archive.read_bytes()
    assert content.count(struct.pack("<I", 2**24)) == 2
    keras_archive.write_bytes(content.replace(struct.pack("<I", 2**24), struct.pack("<I", 100)))
    refused(keras_archive, "archive is damaged|HDF5")


@pytest.mark.parametrize("name", ["model__weights__h5", "config__json"])
def test_archives_without_a_member(name, keras_archive):
    rewritten(keras_archive, **{name: None})
    refused(keras_archive, "found a zip archive of")


@pytest.mark.parametrize("config", [b"", b"{", b"[]", b"null", b'"text"', b"[" * 100_000, b"1e999"])
def test_weights_load_without_a_readable_configuration(config, keras_archive):
    rewritten(keras_archive, config__json=config)
    net = nn.Sequential(nn.Linear(3, 2))
    md.load_weights(net, keras_archive)
    np.testing.assert_array_equal(net[0].weight.data, numbers(3, 2))


def test_weights_that_are_no_hdf5_are_named_by_the_archive(keras_archive):
    rewritten(keras_archive, model__weights__h5=b"nothing of the kind" * 9)
    refused(keras_archive, "HDF5")


def test_weights_that_are_hostile_are_named_by_the_archive(keras_archive, tmp_path):
    with h5py.File(tmp_path / "inner.h5", "w") as file:
        file["layers"] = h5py.ExternalLink("/etc/passwd", "/")
    rewritten(keras_archive, model__weights__h5=(tmp_path / "inner.h5").read_bytes())
    refused(keras_archive, "soft or external link")


def test_encrypted_archives(keras_archive):
    content = bytearray(keras_archive.read_bytes())
    for start, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = content.find(start)
        while place >= 0:
            content[place + at] |= 1
            place = content.find(start, place + 1)
    keras_archive.write_bytes(content)
    refused(keras_archive, "archive is damaged.*encrypted")


def test_nothing_of_an_archive_is_left_behind(keras_archive, tmp_path, monkeypatch):
    import tempfile

    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    md.load_weights(nn.Sequential(nn.Linear(3, 2)), keras_archive)
    rewritten(keras_archive, model__weights__h5=b"x")
    with pytest.raises(FileFormatError):
        read_file(keras_archive)
    assert not list(folder.iterdir())
