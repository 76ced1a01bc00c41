"""Weights in minidl's own files: what comes back, and what the file looks like to others."""

import random

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sealing import crc32, edit, resealed, store
from stand_in import Model, a_model, same

import minidl as md
from minidl import nn, optim
from minidl.errors import ArgumentError, FileFormatError, StateError
from minidl.io import load_weights, save_weights

COMPRESSIONS = [None, "gzip"]


@pytest.fixture
def saved(tmp_path):
    model, path = a_model(), tmp_path / "w.h5"
    save_weights(model, path)
    return model.state_dict(), path


def a_net():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.Linear(4, 2)))


# Round trip


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_what_was_saved_comes_back(tmp_path, compression):
    model, other = a_model(), a_model(fill=0)
    save_weights(model, tmp_path / "w.h5", compression=compression)
    report = load_weights(other, tmp_path / "w.h5")
    assert same(other.state_dict(), model.state_dict())
    assert report.loaded == list(model.state_dict())
    assert not report.missing + report.unexpected + report.misshaped


def test_layers(tmp_path):
    one, other = a_net(), a_net()
    one[1].running_mean.data[:] = [1, 2, 3, 4]
    md.save_weights(one, tmp_path / "w.h5")
    assert not same(one.state_dict(), other.state_dict())
    report = md.load_weights(other, tmp_path / "w.h5")
    assert same(one.state_dict(), other.state_dict())
    assert report.loaded == list(one.state_dict())

    before = other.state_dict()
    md.save_weights(
        nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Linear(4, 2)), tmp_path / "x.h5"
    )
    with pytest.raises(StateError, match=r"2\.0\.weight") as caught:
        md.load_weights(other, tmp_path / "x.h5")
    for name in ("0.weight", "0.bias", "1.running_var", "2.weight"):
        assert name in str(caught.value)
    assert same(other.state_dict(), before)


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
@given(
    states=st.dictionaries(st.tuples(part, part).map(".".join), arrays, max_size=4),
    compression=st.sampled_from(COMPRESSIONS),
)
def test_any_state_comes_back_in_native_byte_order(tmp_path_factory, states, compression):
    path = tmp_path_factory.mktemp("any") / "w.h5"
    native = {name: array.astype(array.dtype.newbyteorder("=")) for name, array in states.items()}
    other = Model({name: np.zeros_like(array) for name, array in native.items()})
    save_weights(Model(states), path, compression=compression)
    load_weights(other, path)
    assert same(other.state_dict(), native)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_views_are_stored_in_their_order_of_axes(tmp_path, compression):
    array = np.arange(24.0).reshape(2, 3, 4)
    view = array.transpose(2, 0, 1)[::-1, :, 1:]
    save_weights(Model({"w": view}), tmp_path / "w.h5", compression=compression)
    other = Model({"w": np.zeros(view.shape)})
    load_weights(other, tmp_path / "w.h5")
    expected = [[[array[i, j, k] for j in (1, 2)] for i in (0, 1)] for k in (3, 2, 1, 0)]
    np.testing.assert_array_equal(other.w.data, expected)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_two_saves_of_one_model_are_the_same_bytes(tmp_path, compression):
    for name in ("one.h5", "other.h5"):
        save_weights(a_model(), tmp_path / name, compression=compression)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "other.h5").read_bytes()


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_no_time_of_day_is_in_the_file(tmp_path, compression):
    # Else two saves would differ where a second has passed between them.
    save_weights(a_model(), tmp_path / "w.h5", compression=compression)
    with h5py.File(tmp_path / "w.h5") as file:
        timed = []
        file.visititems(
            lambda name, thing: (
                timed.append(name) if thing.id.get_create_plist().get_obj_track_times() else None
            )
        )
    assert timed == []


def test_the_model_trains_after_loading(tmp_path):
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    parameters = list(net.parameters())
    optimizer = optim.SGD(net.parameters(), lr=0.5)
    save_weights(a_linear_twin(net), tmp_path / "w.h5")
    load_weights(net, tmp_path / "w.h5")
    assert list(map(id, net.parameters())) == list(map(id, parameters))
    before = net.state_dict()
    loss = (net(np.ones((1, 3), np.float32)) ** 2).sum()
    loss.backward()
    gradients = {name: parameter.grad.copy() for name, parameter in net.named_parameters()}
    optimizer.step()
    for name, parameter in net.named_parameters():
        assert gradients[name].any()
        np.testing.assert_allclose(
            parameter.data, before[name] - 0.5 * gradients[name], rtol=1e-5, atol=1e-6
        )
    # The file wasn't trained along.
    load_weights(net, tmp_path / "w.h5")
    assert same(net.state_dict(), before)


def a_linear_twin(net):
    twin = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    twin.load_state_dict({n: np.full(a.shape, 0.25) for n, a in net.state_dict().items()})
    return twin


def test_numbers_are_converted_to_the_models_dtype(tmp_path):
    save_weights(
        Model({"w": np.array([1.5, 2.5]), "n": np.array([3], np.int16)}), tmp_path / "w.h5"
    )
    other = Model({"w": np.zeros(2, np.float32), "n": np.zeros(1, np.int64)})
    load_weights(other, tmp_path / "w.h5")
    assert other.w.dtype == np.float32
    assert other.w.data.tolist() == [1.5, 2.5]
    assert other.n.data.tolist() == [3]
    assert other.n.dtype == np.int64


# Names and shapes


def test_strict_loading_lists_every_mismatch_and_loads_nothing(saved):
    state, path = saved
    state["conv1.bias"] = np.zeros(5)
    state["head.weight"] = np.zeros(2)
    del state["block.0.bn.steps"]
    other = Model(state)
    before = other.state_dict()
    with pytest.raises(StateError) as caught:
        load_weights(other, path)
    for line in (
        "missing: head.weight",
        "unexpected: block.0.bn.steps",
        "shape of conv1.bias: expected (5,), got (4,)",
    ):
        assert line in str(caught.value)
    assert same(other.state_dict(), before)


def test_loose_loading_takes_what_fits_and_reports_the_rest(saved):
    state, path = saved
    kept = {name: np.zeros_like(array) for name, array in state.items()}
    kept["conv1.bias"] = np.zeros(5)
    other = Model(kept)
    report = load_weights(other, path, strict=False)
    assert report.misshaped == [("conv1.bias", (5,), (4,))]
    assert "conv1.bias" not in report.loaded
    np.testing.assert_array_equal(other.conv1.weight.data, state["conv1.weight"])
    np.testing.assert_array_equal(other.conv1.bias.data, np.zeros(5))


def test_data_that_do_not_fit_are_not_read(tmp_path):
    # Two terabytes are declared, and a reading of them would end in a MemoryError.
    path = tmp_path / "w.h5"
    save_weights(Model({"w": np.zeros(3), "b": np.zeros(2)}), path)

    def declare(file):
        del file["b"]
        for name in ("b", "more"):
            file.create_dataset(name, shape=(2**37,), dtype="f8", chunks=(2**10,))
            file[name].attrs["crc32"] = "00000000"

    edit(path, declare)
    other = Model({"w": np.ones(3), "b": np.ones(2)})
    report = load_weights(other, path, strict=False, max_bytes=2**42)
    assert report.misshaped == [("b", (2,), (2**37,))]
    assert report.unexpected == ["more"]
    np.testing.assert_array_equal(other.w.data, np.zeros(3))
    np.testing.assert_array_equal(other.b.data, np.ones(2))


def test_a_part_of_the_file_by_its_prefix(saved):
    state, path = saved
    part = Model({"0.bn.running_mean": np.zeros(4, "f2"), "0.bn.steps": np.zeros((), int)})
    load_weights(part, path, prefix="block")
    assert same(part.state_dict(), {n[6:]: a for n, a in state.items() if n.startswith("block.")})
    part = Model({"running_mean": np.zeros(4, "f2"), "steps": np.zeros((), int)})
    for prefix in ("block.0.bn", "block.0.bn."):
        load_weights(part, path, prefix=prefix)
        assert part.steps.data == state["block.0.bn.steps"]
    with pytest.raises(StateError, match="missing: running_mean"):
        load_weights(part, path, prefix="blo")


@pytest.mark.parametrize(
    "rename",
    [
        {"conv1": "stem", "conv1.bias": "stem.b", "block.0": "body", "block.0.bn.steps": None},
        {
            "conv1.weight": "stem.weight", "conv1.bias": "stem.b",
            "block": None, "block.0.bn.running_mean": "body.bn.running_mean",
        },
    ],
)  # fmt: skip
def test_renaming_layers_groups_and_arrays(saved, rename):
    state, path = saved
    names = {
        "stem.weight": "conv1.weight", "stem.b": "conv1.bias",
        "body.bn.running_mean": "block.0.bn.running_mean",
    }  # fmt: skip
    other = Model({new: np.zeros_like(state[old]) for new, old in names.items()})
    load_weights(other, path, rename=rename)
    assert same(other.state_dict(), {new: state[old] for new, old in names.items()})


def test_prefix_and_renaming_together(saved):
    state, path = saved
    other = Model({"running_mean": np.zeros(4, "f2"), "n.steps": np.zeros((), int)})
    load_weights(other, path, prefix="block", rename={"0.bn": "", "0.bn.steps": "n.steps"})
    assert other.n.steps.data == state["block.0.bn.steps"]
    np.testing.assert_array_equal(other.running_mean.data, state["block.0.bn.running_mean"])


def test_renaming_two_arrays_to_one_name(saved):
    _, path = saved
    with pytest.raises(ArgumentError, match=r"rename gives two arrays the name 'conv1\.bias'"):
        load_weights(a_model(), path, rename={"conv1.weight": "conv1.bias"})


@pytest.mark.parametrize("wrong", [{"rename": [1]}, {"rename": "a"}, {"prefix": 3}])
def test_no_prefix_and_no_renaming(saved, wrong):
    with pytest.raises(ArgumentError, match=f"load_weights: {next(iter(wrong))} is a "):
        load_weights(a_model(), saved[1], **wrong)


# The file as others see it


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_numbers_and_checksums_as_h5py_reads_them(tmp_path, compression):
    path, state = tmp_path / "w.h5", a_model().state_dict()
    save_weights(a_model(), path, compression=compression)
    with h5py.File(path) as file:
        assert file.attrs["format"] == b"minidl weights"
        assert file.attrs["format_version"] == 1
        assert file.attrs["minidl_version"].decode() == md.__version__
        assert "architecture" not in file.attrs
        assert isinstance(file["block/0/bn"], h5py.Group)
        assert file.userblock_size >= 512
        assert list(file) == ["conv1", "block"]
        for name, array in state.items():
            stored = file[name.replace(".", "/")]
            assert stored.dtype == array.dtype.newbyteorder("<")
            np.testing.assert_array_equal(stored[()], array)
            assert stored.attrs["crc32"].decode() == crc32(array)
            assert tuple(stored.attrs["shape"]) == array.shape
            assert stored.attrs["dtype"].decode() == array.dtype.name
            assert stored.compression == (compression if array.ndim else None)


def test_what_layers_are_as_h5py_reads_it(tmp_path):
    save_weights(a_net(), tmp_path / "w.h5")
    with h5py.File(tmp_path / "w.h5") as file:
        kinds = [file[name].attrs["kind"] for name in ("0", "1", "2/0")]
        assert kinds == [b"convolution", b"batch_norm", b"linear"]
        assert file["1"].attrs["eps"] == pytest.approx(a_net()[1].eps)
        assert "eps" not in file["0"].attrs
        assert file["0/weight"].attrs["layout"] == b"height width in/groups out"
        assert file["2/0/weight"].attrs["layout"] == b"in out"
        assert file["2/0/weight"].attrs["shape"].tolist() == [4, 2]
        assert file["2/0/weight"].attrs["dtype"] == b"float32"


def test_the_seal_is_what_its_description_says(saved):
    _, path = saved
    content = path.read_bytes()
    assert content.startswith(b"minidl sealed HDF5 file 1\n")
    assert resealed(content) == content


def test_other_programs_may_change_the_numbers_of_a_file_and_seal_it(saved):
    _, path = saved
    edit(path, lambda file: store(file, "conv1/bias", np.array([1.0, 2.0, 3.0, 4.0], ">f4")))
    other = a_model()
    load_weights(other, path)
    assert other.conv1.bias.data.tolist() == [1, 2, 3, 4]


# Compression


def test_compressed_files_are_smaller_where_numbers_repeat(tmp_path):
    model = Model({"w": np.tile(np.arange(100.0), (1000, 1)), "b": np.zeros(10_000, "f4")})
    save_weights(model, tmp_path / "plain.h5")
    save_weights(model, tmp_path / "packed.h5", compression="gzip")
    plain, packed = ((tmp_path / f"{n}.h5").stat().st_size for n in ("plain", "packed"))
    assert packed < plain / 20
    assert plain < 840_000 + 10_000


@pytest.mark.parametrize("shape", [(1, 700_000), (700_000,), (3, 1, 300_000), (2, 2), (2**17, 8)])
def test_compressed_chunks_are_small_whatever_the_shape(tmp_path, shape):
    array = np.random.default_rng(0).integers(0, 9, shape).astype(np.float64)
    save_weights(Model({"w": array}), tmp_path / "w.h5", compression="gzip")
    with h5py.File(tmp_path / "w.h5") as file:
        chunk = np.prod(file["w"].chunks) * 8
        assert chunk <= 2**20
        assert chunk >= min(array.nbytes, 2**19)
    other = Model({"w": np.zeros(shape)})
    load_weights(other, tmp_path / "w.h5")
    np.testing.assert_array_equal(other.w.data, array)


def test_a_flipped_byte_of_compressed_numbers_is_refused(tmp_path):
    path = tmp_path / "w.h5"
    save_weights(Model({"w": np.arange(5000.0), "b": np.ones(3)}), path, compression="gzip")
    good, rng = path.read_bytes(), random.Random(4)
    for at in rng.sample(range(len(good)), 300):
        bad = bytearray(good)
        bad[at] ^= 1 << rng.randrange(8)
        path.write_bytes(bad)
        other = Model({"w": np.zeros(5000), "b": np.zeros(3)})
        with pytest.raises(FileFormatError):
            load_weights(other, path)
        assert not other.w.data.any()


def test_a_compressed_file_is_read_though_its_name_is_gone_or_anothers(tmp_path):
    from minidl.io.sealed import open_sealed, read_verified

    path = tmp_path / "w.h5"
    save_weights(Model({"w": np.arange(5000.0)}), path, compression="gzip")
    with open_sealed(path, {"minidl weights": 1}) as (_, file):
        file.datasets()
        path.unlink()
        path.write_bytes(b"short")
        np.testing.assert_array_equal(read_verified(file, "w"), np.arange(5000.0))


@pytest.mark.parametrize("wrong", ["lzf", "zip", 3, True])
def test_other_compressions(tmp_path, wrong):
    with pytest.raises(ArgumentError, match="compression is None or"):
        save_weights(a_model(), tmp_path / "w.h5", compression=wrong)
    with pytest.raises(ArgumentError, match="compression is None or"):
        save_weights(a_net(), tmp_path / "w.weights.h5", format="keras", compression="gzip")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "theirs"), [("w.safetensors", "safetensors"), ("w.weights.h5", "keras")]
)
def test_a_name_of_another_format_is_refused(tmp_path, name, theirs):
    with pytest.raises(ArgumentError, match=f'give format="{theirs}", or a name that ends in .h5'):
        save_weights(a_net(), tmp_path / name)
    assert list(tmp_path.iterdir()) == []
    save_weights(a_net(), tmp_path / "weights.h5")
