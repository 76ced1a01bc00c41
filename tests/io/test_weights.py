"""Weights in HDF5: what comes back, and what is refused."""

import hashlib

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from stand_in import Model, a_model, same

import minidl as md
from minidl import nn
from minidl.errors import ArgumentError, DTypeError, FileFormatError, StateError
from minidl.io import load_weights, save_weights


@pytest.fixture
def saved(tmp_path):
    model, path = a_model(), tmp_path / "w.h5"
    save_weights(model, path)
    return model, path


# Round trip


def test_what_was_saved_comes_back(saved):
    model, path = saved
    other = a_model(fill=0)
    load_weights(other, path)
    assert same(other.state, model.state)


def test_a_real_module(tmp_path):
    def net():
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.Linear(4, 2)))

    one, other = net(), net()
    one[1].running_mean.data[:] = [1, 2, 3, 4]
    md.save_weights(one, tmp_path / "w.h5")
    assert not same(one.state_dict(), other.state_dict())
    report = md.load_weights(other, tmp_path / "w.h5")
    assert same(one.state_dict(), other.state_dict())
    assert report.loaded == list(one.state_dict())
    with h5py.File(tmp_path / "w.h5") as file:
        assert file["1/running_mean"][()].tolist() == [1, 2, 3, 4]
        assert file["2/0/weight"].shape == (4, 2)
        assert file.attrs["minidl_version"].decode() == md.__version__

    before = other.state_dict()
    md.save_weights(
        nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Linear(4, 2)), tmp_path / "x.h5"
    )
    with pytest.raises(StateError, match=r"2\.0\.weight") as caught:
        md.load_weights(other, tmp_path / "x.h5")
    for name in ("0.weight", "0.bias", "1.running_var", "2.weight"):
        assert name in str(caught.value)
    assert same(other.state_dict(), before)


def test_layout_as_h5py_reads_it(saved):
    model, path = saved
    with h5py.File(path) as file:
        assert file.attrs["format"] == b"minidl weights"
        assert file.attrs["format_version"] == 1
        assert file.attrs["minidl_version"]
        weight = file["conv1"]["weight"]
        np.testing.assert_array_equal(weight[()], model.state["conv1.weight"])
        assert isinstance(file["block/0/bn"], h5py.Group)
        for name in ("conv1/weight", "conv1/bias", "block/0/bn/running_mean", "block/0/bn/steps"):
            stored = file[name][()]
            expected = hashlib.sha256(stored.tobytes()).hexdigest()
            assert file[name].attrs["sha256"].decode() == expected


part = st.text(
    st.characters(exclude_characters="./\0", exclude_categories=["Cs"]), min_size=1, max_size=6
)
arrays = hnp.arrays(
    dtype=st.one_of(
        hnp.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
        hnp.integer_dtypes(endianness="?"),
        hnp.unsigned_integer_dtypes(endianness="?"),
    ),
    shape=hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
)


@settings(max_examples=60, deadline=None)
@given(states=st.dictionaries(st.tuples(part, part).map(".".join), arrays, max_size=4))
def test_any_state_comes_back_in_native_byte_order(tmp_path_factory, states):
    path = tmp_path_factory.mktemp("any") / "w.h5"
    model, other = Model(), Model()
    model.state = states
    other.state = {name: np.zeros_like(array) for name, array in states.items()}
    save_weights(model, path)
    load_weights(other, path)
    native = {name: array.astype(array.dtype.newbyteorder("=")) for name, array in states.items()}
    assert same(other.state, native)


def test_views_are_stored_in_their_order_of_axes(tmp_path):
    array = np.arange(24.0).reshape(2, 3, 4)
    view = array.transpose(2, 0, 1)[::-1, :, 1:]
    save_weights(Model(w=view), tmp_path / "w.h5")
    other = Model(w=np.zeros(view.shape))
    load_weights(other, tmp_path / "w.h5")
    expected = [[[array[i, j, k] for j in (1, 2)] for i in (0, 1)] for k in (3, 2, 1, 0)]
    np.testing.assert_array_equal(other.state["w"], expected)


def test_two_saves_of_one_model_are_the_same_bytes(saved, tmp_path):
    model, path = saved
    save_weights(model, tmp_path / "again.h5")
    assert (tmp_path / "again.h5").read_bytes() == path.read_bytes()


# Names and shapes


def test_strict_loading_lists_every_mismatch_and_loads_nothing(saved):
    _, path = saved
    other = a_model(fill=0)
    other.state["conv1.bias"] = np.zeros(5)
    other.state["head.weight"] = np.zeros(2)
    del other.state["block.0.bn.steps"]
    before = other.state_dict()
    with pytest.raises(StateError) as caught:
        load_weights(other, path)
    assert str(caught.value) == (
        "conv1.bias has shape (4,), missing head.weight, unexpected block.0.bn.steps"
    )
    assert same(other.state, before)


def test_loose_loading_takes_what_fits_and_reports_the_rest(saved):
    model, path = saved
    other = a_model(fill=0)
    other.state["conv1.bias"] = np.zeros(5)
    report = load_weights(other, path, strict=False)
    assert report == ["conv1.bias has shape (4,)"]
    np.testing.assert_array_equal(other.state["conv1.weight"], model.state["conv1.weight"])
    np.testing.assert_array_equal(other.state["conv1.bias"], np.zeros(5))


def test_data_that_do_not_fit_are_not_read(tmp_path):
    # Two terabytes are declared, and a reading of them would end in a MemoryError.
    path = tmp_path / "w.h5"
    save_weights(Model(w=np.zeros(3), b=np.zeros(2)), path)
    with h5py.File(path, "r+") as file:
        del file["b"]
        for name in ("b", "more"):
            file.create_dataset(name, shape=(2**37,), dtype="f8", chunks=(2**10,))
    other = Model(w=np.ones(3), b=np.ones(2))
    report = load_weights(other, path, strict=False, max_bytes=2**42)
    assert report == [f"b has shape ({2**37},)", "unexpected more"]
    np.testing.assert_array_equal(other.state["w"], np.zeros(3))
    np.testing.assert_array_equal(other.state["b"], np.ones(2))


# Damage


def refused_or_right(path, expected):
    """Whether loading `path` is refused; a model must then be untouched, and else be right."""
    model = a_model(fill=0)
    before = model.state_dict()
    try:
        load_weights(model, path)
    except FileFormatError as error:
        message = str(error)
    else:
        assert same(model.state, expected)
        return False
    assert str(path) in message
    assert same(model.state, before)
    return True


def test_a_flipped_byte_of_any_dataset_is_detected_and_named(saved, tmp_path):
    model, path = saved
    good = path.read_bytes()
    for name, array in model.state.items():
        start = good.index(array.tobytes())
        for at in range(start, start + array.nbytes):
            bad = bytearray(good)
            bad[at] ^= 1 << at % 8
            path.write_bytes(bad)
            other = a_model(fill=0)
            with pytest.raises(FileFormatError, match=r"is damaged: .*SHA-256") as caught:
                load_weights(other, path)
            assert repr(name.replace(".", "/")) in str(caught.value)


def test_a_flipped_byte_anywhere_else_is_refused_or_harmless(saved):
    model, path = saved
    good = path.read_bytes()
    refused = 0
    for at in range(len(good)):
        bad = bytearray(good)
        bad[at] ^= 0xFF
        path.write_bytes(bad)
        refused += refused_or_right(path, model.state)
    assert refused > len(good) / 2


def test_a_truncated_file_is_refused(saved):
    model, path = saved
    good = path.read_bytes()
    for length in [*range(0, len(good), 50), len(good) - 1]:
        path.write_bytes(good[:length])
        assert refused_or_right(path, model.state), length


def test_a_missing_checksum_is_refused(saved):
    _, path = saved
    with h5py.File(path, "r+") as file:
        del file["conv1/bias"].attrs["sha256"]
    with pytest.raises(FileFormatError, match="'conv1/bias' has no sha256 attribute"):
        load_weights(a_model(), path)


# Other files


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty one"),
        (b"hello, world", "one starting with b'hello, w'"),
        (b"PK\x03\x04" + bytes(100), "one starting with b'PK"),
    ],
)
def test_a_file_that_is_not_hdf5(tmp_path, content, found):
    path = tmp_path / "w.h5"
    path.write_bytes(content)
    with pytest.raises(FileFormatError) as caught:
        load_weights(a_model(), path)
    assert f"{path}: expected an HDF5 file, found {found}" in str(caught.value)


def test_hdf5_of_another_kind(tmp_path, shared_data):
    keras = shared_data / "keras_h5" / "mlperf_tiny_resnet8_cifar10.h5"
    with pytest.raises(FileFormatError, match="format='minidl weights', found none"):
        load_weights(a_model(), keras)
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.attrs["format"] = "somebody's weights"
    with pytest.raises(FileFormatError, match='found "somebody\'s weights"'):
        load_weights(a_model(), tmp_path / "w.h5")


def test_a_newer_format_version(saved):
    _, path = saved
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = 2
    with pytest.raises(
        FileFormatError, match=r"format_version 2, expected at most 1.*update minidl"
    ):
        load_weights(a_model(), path)


@pytest.mark.parametrize("version", [0, -1, "1", 1.5, [1], None])
def test_a_bad_format_version(saved, version):
    _, path = saved
    with h5py.File(path, "r+") as file:
        del file.attrs["format_version"]
        if version is not None:
            file.attrs["format_version"] = version
    with pytest.raises(FileFormatError, match="format_version"):
        load_weights(a_model(), path)


def test_a_name_with_a_dot_is_refused(saved):
    _, path = saved
    with h5py.File(path, "r+") as file:
        file["conv1.weight"] = file["conv1/weight"]
    with pytest.raises(FileFormatError, match=r"dot in the dataset name 'conv1\.weight'"):
        load_weights(a_model(), path)


def test_too_many_bytes(saved):
    model, path = saved
    size = sum(array.nbytes for array in model.state.values())
    load_weights(a_model(), path, max_bytes=size)
    with pytest.raises(FileFormatError, match=f"need {size} bytes of memory.*raise max_bytes"):
        load_weights(a_model(), path, max_bytes=size - 1)
    with pytest.raises(ArgumentError, match=r"max_bytes must be a whole number of bytes, got 1.5"):
        load_weights(a_model(), path, max_bytes=1.5)


# What the system refuses, and what can't be saved


def test_loading_from_where_nothing_is(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"could not read .*w.h5"):
        load_weights(a_model(), tmp_path / "w.h5")
    with pytest.raises(OSError, match="could not read"):
        load_weights(a_model(), tmp_path)


def test_saving_to_a_folder_or_into_none(tmp_path):
    with pytest.raises(OSError, match=r"could not write .*: it is a folder"):
        save_weights(a_model(), tmp_path)
    with pytest.raises(FileNotFoundError, match="does not exist: create it first"):
        save_weights(a_model(), tmp_path / "runs" / "w.h5")


@pytest.mark.parametrize(
    "array", [np.array(["a"]), np.array([True]), np.array([1j]), np.array([None]), np.zeros(2, "g")]
)
def test_arrays_that_are_no_numbers_leave_the_old_file(saved, array):
    _, path = saved
    before = path.read_bytes()
    with pytest.raises(StateError, match=r"'net\.w' is .*: convert it"):
        save_weights(Model(net__w=array), path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["w.h5"]


@pytest.mark.parametrize("name", ["a/b", "/a", "a..b", ".a", "a.", ""])
def test_names_that_are_no_dotted_names(tmp_path, name):
    model = Model()
    model.state[name] = np.zeros(2)
    with pytest.raises(StateError, match="can't store the name"):
        save_weights(model, tmp_path / "w.h5")


def test_swapped_arguments(tmp_path):
    with pytest.raises(DTypeError, match="save_weights expected a module first, got str"):
        save_weights("w.h5", a_model())
    with pytest.raises(DTypeError, match="load_weights expected a module first, got str"):
        load_weights("w.h5", a_model())
