"""Keras's files in all their forms, written by hand: which array becomes which of ours."""

import json

import h5py
import numpy as np
import pytest
from keras_files import archive, layer, legacy, model, numbered, numbers, same

import minidl as md
from minidl import nn
from minidl.errors import FileFormatError, MinidlError, StateError
from minidl.io.foreign import read_file

# Keras 2


def test_the_arrays_of_each_kind_of_layer(tmp_path):
    shapes = {
        "conv": {"kernel": (3, 2, 2, 4), "bias": (4,)},
        "dw": {"depthwise_kernel": (3, 3, 4, 2), "bias": (8,)},
        "sep": {"depthwise_kernel": (3, 3, 8, 1), "pointwise_kernel": (1, 1, 8, 3), "bias": (3,)},
        "up": {"kernel": (2, 2, 5, 3), "bias": (5,)},
        "norm": dict.fromkeys(("gamma", "beta", "moving_mean", "moving_variance"), (5,)),
        "rows": {"gamma": (5,), "beta": (5,)},
        "words": {"embeddings": (7, 5)},
        "rnn": {"kernel": (5, 3), "recurrent_kernel": (3, 3), "bias": (3,)},
        "lstm": {"kernel": (3, 8), "recurrent_kernel": (2, 8), "bias": (8,)},
        "gru": {"kernel": (2, 9), "recurrent_kernel": (3, 9), "bias": (2, 9)},
        "fc": {"kernel": (3, 2), "bias": (2,)},
    }
    arrays = {
        name: {f"{name}/{role}:0": numbers(*shape, seed=i) for role, shape in own.items()}
        for i, (name, own) in enumerate(shapes.items())
    }
    kinds = ["Conv2D", "DepthwiseConv2D", "SeparableConv2D", "Conv2DTranspose",
             "BatchNormalization", "LayerNormalization", "Embedding", "SimpleRNN", "LSTM", "GRU",
             "Dense"]  # fmt: skip
    config = model(*map(layer, kinds, arrays))

    class Net(nn.Module):
        def __init__(self):
            self.conv, self.dw = nn.Conv2d(2, 4, (3, 2)), nn.DepthwiseConv2d(4, 3, multiplier=2)
            self.sep, self.up = nn.SeparableConv2d(8, 3, 3), nn.ConvTranspose2d(3, 5, 2)
            self.norm, self.rows = nn.BatchNorm2d(5, 1e-3), nn.LayerNorm(5, 1e-3)
            self.words, self.rnn = nn.Embedding(7, 5), nn.RNN(5, 3)
            self.lstm, self.gru, self.fc = nn.LSTM(3, 2), nn.GRU(2, 3), nn.Linear(3, 2)

    for given in (config, None):
        net = Net()
        md.load_weights(net, legacy(tmp_path / "x.h5", arrays, given))
        stored = [array for own in arrays.values() for array in own.values()]
        for (name, got), expected in zip(net.state_dict().items(), stored, strict=True):
            np.testing.assert_array_equal(got, expected, strict=True, err_msg=name)


@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize("under", ["", "model_weights/"])
def test_whole_models_and_weights_alone_with_lists_of_names_in_pieces(under, pieces, tmp_path):
    arrays = {f"fc{i}": {f"fc{i}/W:0": numbers(2, 2, seed=i)} for i in range(5)}
    arrays["relu"] = {}
    net = nn.Sequential(*(nn.Linear(2, 2, bias=False) for _ in range(5)))
    path = legacy(tmp_path / "x.h5", arrays, None, under, pieces)
    with h5py.File(path) as file:
        assert ("layer_names" in file[under or "/"].attrs) == (pieces == 1)
        assert ("layer_names2" in file[under or "/"].attrs) == (pieces == 3)
    md.load_weights(net, path, rename=lambda name: f"part{name}")  # by their order, then
    for i, part in enumerate(net):
        same(part.weight, numbers(2, 2, seed=i))


@pytest.mark.parametrize("how", ["nested", "flat"])
def test_layers_of_a_model_within_a_model(how, tmp_path):
    """tf.keras leaves the inner model's name out of the arrays' names, Keras 3 doesn't."""
    at = "inner/" if how == "nested" else ""
    arrays = {
        "first": {"first/kernel:0": numbers(3, 3, seed=1)},
        "inner": {f"{at}{n}/kernel:0": numbers(3, 3, seed=i) for i, n in ((2, "a"), (3, "b"))},
        "last": {"last/kernel:0": numbers(3, 3, seed=4)},
    }
    net = nn.Sequential(*(nn.Linear(3, 3, bias=False) for _ in range(4)))
    path = legacy(tmp_path / "x.h5", arrays)
    with pytest.raises(StateError, match="order=True"):  # Keras lists frozen layers last
        md.load_weights(net, path)
    md.load_weights(net, path, order=True)
    for i, part in enumerate(net):
        same(part.weight, numbers(3, 3, seed=i + 1))


def test_a_part_by_its_prefix(tmp_path):
    arrays = {
        "encoder": {f"encoder/{n}/kernel:0": numbers(3, 3, seed=i) for i, n in enumerate("ab")},
        "head": {"head/kernel:0": numbers(3, 3, seed=9)},
    }
    net = nn.Sequential(*(nn.Linear(3, 3, bias=False) for _ in range(2)))
    path = legacy(tmp_path / "x.h5", arrays)
    report = md.load_weights(net, path, prefix="encoder", order=True)
    assert report.loaded == ["0.weight", "1.weight"]
    same(net[1].weight, numbers(3, 3, seed=1))


def test_a_nested_model_of_one_layer_with_weights(tmp_path):
    inner = model(layer("Dense", "fc"), name="inner", kind="Sequential")
    config = model({**inner, "name": "inner"} | {"inbound_nodes": []})
    path = legacy(tmp_path / "x.h5", {"inner": {"inner/fc/kernel:0": numbers(3, 2)}}, config)
    net = nn.Sequential(nn.Linear(3, 2, bias=False))
    md.load_weights(net, path)
    same(net[0].weight, numbers(3, 2))


def test_an_array_that_is_listed_and_missing(tmp_path):
    path = legacy(
        tmp_path / "x.h5", {"fc": {"fc/kernel:0": numbers(3, 2), "fc/bias:0": numbers(2)}}
    )
    with h5py.File(path, "a") as file:
        del file["model_weights/fc/fc/bias:0"]
    with pytest.raises(FileFormatError, match=r"damaged: it lists 'fc/bias:0' for the layer 'fc'"):
        md.load_weights(nn.Sequential(nn.Linear(3, 2)), path)


# Keras 1, and Theano


def keras1(path, arrays, *rows, **attributes):
    arrays = {
        name: {f"{name}_{role}": array for role, array in own.items()}
        for name, own in arrays.items()
    }
    config = {"class_name": "Sequential", "config": list(rows)}
    return legacy(path, arrays, config, keras_version="1.2.2", **attributes)


def test_names_of_keras_1(tmp_path):
    """running_std holds the variance."""
    arrays = {
        "convolution2d_1": {"W": numbers(3, 3, 2, 4), "b": numbers(4)},
        "batchnormalization_1": {
            role: numbers(4, seed=i)
            for i, role in enumerate(("gamma", "beta", "running_mean", "running_std"))
        },
        "dense_1": {"W": numbers(4, 2), "b": numbers(2)},
    }
    rows = [
        layer("Convolution2D", "convolution2d_1", dim_ordering="tf"),
        layer("BatchNormalization", "batchnormalization_1", epsilon=1e-3),
        layer("Dense", "dense_1"),
    ]
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4, 1e-3), nn.Linear(4, 2))
    md.load_weights(net, keras1(tmp_path / "x.h5", arrays, *rows))
    stored = [array for own in arrays.values() for array in own.values()]
    for got, expected in zip(net.state_dict().values(), stored, strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("backend", ["theano", "tensorflow"])
def test_kernels_of_keras_1_in_theano_s_order_and_turned_round(backend, tmp_path):
    stored = numbers(4, 2, 3, 3)  # (out, in, height, width)
    row = layer("Convolution2D", "convolution2d_1", dim_ordering="th")
    path = tmp_path / "x.h5"
    keras1(path, {"convolution2d_1": {"W": stored, "b": numbers(4)}}, row, backend=backend)
    net = nn.Sequential(nn.Conv2d(2, 4, 3))
    md.load_weights(net, path)
    for i, j, c, o in np.ndindex(3, 3, 2, 4):
        at = (2 - i, 2 - j) if backend == "theano" else (i, j)
        assert net[0].weight.data[i, j, c, o] == stored[o, c, *at]


def test_theano_turns_plain_and_transposed_kernels_but_no_depthwise_ones(tmp_path):
    """Keras's Theano backend turned depthwise kernels itself, before Theano turned them again."""
    arrays = {
        "conv": {"conv/kernel:0": numbers(3, 2, 2, 2)},
        "up": {"up/kernel:0": numbers(3, 2, 2, 2, seed=1)},
        "dw": {"dw/depthwise_kernel:0": numbers(3, 2, 2, 1)},
        "sep": {"sep/depthwise_kernel:0": numbers(3, 2, 2, 1, seed=1),
                "sep/pointwise_kernel:0": numbers(1, 1, 2, 2)},
    }  # fmt: skip
    kinds = ["Conv2D", "Conv2DTranspose", "DepthwiseConv2D", "SeparableConv2D"]
    path = tmp_path / "x.h5"
    legacy(path, arrays, model(*map(layer, kinds, arrays)), backend="theano", keras_version="2.1.6")
    net = nn.Sequential(
        nn.Conv2d(2, 2, (3, 2), bias=False), nn.ConvTranspose2d(2, 2, (3, 2), bias=False),
        nn.DepthwiseConv2d(2, (3, 2), bias=False), nn.SeparableConv2d(2, 2, (3, 2), bias=False),
    )  # fmt: skip
    md.load_weights(net, path)
    same(net[0].weight, numbers(3, 2, 2, 2)[::-1, ::-1])
    same(net[1].weight, numbers(3, 2, 2, 2, seed=1)[::-1, ::-1])
    same(net[3].pointwise.weight, numbers(1, 1, 2, 2))
    same(net[2].weight, numbers(3, 2, 2, 1))
    same(net[3].depthwise.weight, numbers(3, 2, 2, 1, seed=1))


def test_rows_behind_a_flatten_of_channels_first_are_never_left_in_that_order(tmp_path):
    """Keras 1 with Theano's ordering flattens (C, H, W), as in VGG-16's oldest files."""
    rows = [
        layer("Convolution2D", "convolution2d_1", dim_ordering="th"), layer("Flatten", "flatten_1"),
        layer("Dense", "dense_1"),
    ]  # fmt: skip
    stored = numbers(2 * 3 * 4, 5)
    arrays = {
        "convolution2d_1": {"W": numbers(2, 1, 1, 1), "b": numbers(2)},
        "dense_1": {"W": stored, "b": numbers(5)},
    }
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(24, 5))
    try:
        md.load_weights(net, keras1(tmp_path / "x.h5", arrays, *rows))
    except StateError:
        return
    for c, h, w in np.ndindex(2, 3, 4):
        expected = stored[c * 12 + h * 4 + w]
        np.testing.assert_array_equal(net[2].weight.data[h * 8 + w * 2 + c], expected)


def test_gates_that_keras_1_keeps_apart_are_one_error(tmp_path):
    arrays = {f"{a}_{gate}": numbers(3, 3) for gate in "icfo" for a in "WU"}
    path = keras1(tmp_path / "x.h5", {"lstm_1": arrays}, layer("LSTM", "lstm_1"))
    with pytest.raises(MinidlError, match="lstm_1"):
        md.load_weights(nn.LSTM(3, 3), path)


# Keras 3


def test_numbered_groups_in_the_order_of_their_numbers(tmp_path):
    """HDF5 lists conv2d, conv2d_1, conv2d_10, conv2d_11, conv2d_2, ..."""
    names = ["conv2d", *(f"conv2d_{i}" for i in range(1, 12))]
    path = tmp_path / "x.weights.h5"
    numbered(path, {f"layers/{n}": [numbers(1, 1, 2, 2, seed=i)] for i, n in enumerate(names)})
    net = nn.Sequential(*(nn.Conv2d(2, 2, 1, bias=False) for _ in names))
    md.load_weights(net, path)
    for i, part in enumerate(net):
        same(part.weight, numbers(1, 1, 2, 2, seed=i))


@pytest.mark.parametrize("given", ["names", "configuration"])
def test_layers_by_the_names_that_keras_gives_them(given, tmp_path):
    """In the file itself, or in an archive whose configuration has them in another order."""
    arrays = {f"layers/dense_{i}": [numbers(2, 2, seed=i), numbers(2)] for i in (1, 2)}
    names = {"layers/dense_1": "up", "layers/dense_2": "down"}

    class Net(nn.Module):
        def __init__(self):
            self.down, self.up = nn.Linear(2, 2), nn.Linear(2, 2)

    net = Net()
    if given == "names":
        path = numbered(tmp_path / "x.weights.h5", arrays, names)
    else:
        config = model(layer("Dense", "down"), layer("Dense", "up"))
        path = archive(tmp_path / "x.keras", arrays, config, names)
    md.load_weights(net, path)
    same(net.up.weight, numbers(2, 2, seed=1))
    same(net.down.weight, numbers(2, 2, seed=2))


def test_an_attribute_s_name_matches_before_the_one_keras_made_up(tmp_path):
    """A subclassed model is saved by its attributes; their layers are called dense, dense_1."""
    arrays = {"early": [numbers(2, 2, seed=1)], "late": [numbers(2, 2, seed=2)]}
    names = {"early": "dense_1", "late": "dense"}

    class Net(nn.Module):
        def __init__(self):
            self.late, self.early = (nn.Linear(2, 2, bias=False) for _ in range(2))

    net = Net()
    md.load_weights(net, numbered(tmp_path / "x.weights.h5", arrays, names))
    same(net.early.weight, numbers(2, 2, seed=1))
    same(net.late.weight, numbers(2, 2, seed=2))


def test_a_recurrent_layer_has_its_own_name_not_its_cell_s(tmp_path):
    arrays = {
        f"layers/{n}/cell": [numbers(3, 8, seed=i), numbers(2, 8), numbers(8)]
        for i, n in enumerate(("lstm", "lstm_1"))
    }
    names = {"layers/lstm": "back", "layers/lstm_1": "forth"}
    names |= {"layers/lstm/cell": "lstm_cell", "layers/lstm_1/cell": "lstm_cell"}

    class Net(nn.Module):
        def __init__(self):
            self.forth, self.back = nn.LSTM(3, 2), nn.LSTM(3, 2)

    path, net = tmp_path / "x.weights.h5", Net()
    with h5py.File(numbered(path, arrays, names), "a") as file:
        for group in ("layers/lstm", "layers/lstm_1"):
            file.create_group(f"{group}/vars").attrs["name"] = names[group]
    md.load_weights(net, path)
    same(net.forth.weight_ih, numbers(3, 8, seed=1))
    same(net.back.weight_ih, numbers(3, 8, seed=0))


@pytest.mark.parametrize(
    ("kind", "have"),
    [
        *[("batch_normalization", i) for i in range(3)],
        *[("layer_normalization", i) for i in (1, 2)],
    ],
)
def test_normalisations_of_fewer_vectors_are_told_by_their_configuration(kind, have, tmp_path):
    count = have + (2 if kind == "batch_normalization" else 0)
    arrays = [numbers(3, seed=i) for i in range(count)]
    class_name = {"b": "BatchNormalization", "l": "LayerNormalization"}[kind[0]]
    row = layer(class_name, kind, scale=have == 2, center=have > 0, epsilon=1e-3)
    path = archive(
        tmp_path / "x.keras", {f"layers/{kind}": arrays}, model(row), {f"layers/{kind}": kind}
    )
    net = nn.Sequential((nn.BatchNorm1d if kind[0] == "b" else nn.LayerNorm)(3, 1e-3))
    md.load_weights(net, path)
    expected = ([np.ones(3)] if have < 2 else []) + ([np.zeros(3)] if have < 1 else []) + arrays
    for got, wanted in zip(net.state_dict().values(), expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_optimizers_seeds_and_counters_are_no_layers(tmp_path):
    arrays = {
        "layers/dense": [numbers(3, 2), numbers(2)],
        "optimizer": [np.int32(7), np.float32(1e-3), numbers(3, 2), numbers(2)],
        "layers/dropout/seed_generator": [np.array([1, 2], np.uint32)],
        "loss_tracker": [],
    }
    found = read_file(numbered(tmp_path / "x.weights.h5", arrays)).layers
    assert [each.name for each in found] == ["dense"]


def test_variables_that_no_role_is_known_for_are_not_dropped(tmp_path):
    """Such as those of somebody's own class of that name."""
    arrays = [numbers(4, 4), numbers(4), numbers(4, 1), numbers(1, 4)]
    net = nn.Sequential(nn.Linear(4, 4))
    with pytest.raises(StateError, match="unexpected"):
        md.load_weights(net, numbered(tmp_path / "x.weights.h5", {"layers/dense": arrays}))


# What else a file can say


def junk(text):
    """Configurations that make no sense, one for each place in a good one."""
    good = json.loads(text)

    def places(value, path):
        if isinstance(value, dict | list):
            for key in value if isinstance(value, dict) else range(len(value)):
                yield (*path, key)
                yield from places(value[key], (*path, key))

    for path in places(good, ()):
        for bad in (None, [], {}, "x", -1, [[]], [None, "x"], 1e400, True):
            copy = json.loads(text)
            owner = copy
            for key in path[:-1]:
                owner = owner[key]
            owner[path[-1]] = bad
            yield json.dumps(copy)


def test_configurations_that_make_no_sense_are_never_another_error(tmp_path, monkeypatch):
    """The listing is read once; only what is made of it is tried again and again."""
    from minidl.io import foreign

    config = model(
        layer("Conv2D", "c", [], padding="same", strides=[2, 2], dim_ordering="th"),
        layer("BatchNormalization", "n", ["c"], epsilon=1e-3, scale=True, center=True),
    )
    arrays = {
        "c": {"c/kernel:0": numbers(3, 3, 2, 2), "c/bias:0": numbers(2)},
        "n": {f"n/{r}:0": numbers(2) for r in ("gamma", "beta", "moving_mean", "moving_variance")},
    }
    path = legacy(tmp_path / "x.h5", arrays, config)
    once = foreign.read_isolated(path, lambda listing: listing.datasets)
    text = once[0].attributes["/"]["model_config"]
    net, count = nn.Sequential(nn.Conv2d(2, 2, 3, 2, "same"), nn.BatchNorm2d(2, 1e-3)), 0

    def again(path, wanted, max_bytes):
        wanted(once[0])
        return once[0], {name: array.copy() for name, array in once[1].items()}

    monkeypatch.setattr(foreign, "read_isolated", again)
    for bad in junk(text):
        once[0].attributes["/"]["model_config"] = bad
        count += 1
        try:
            md.load_weights(net, path)
        except MinidlError:
            pass
        except Exception as error:
            raise AssertionError(f"{error!r} for {bad}") from error
    assert count > 200


@pytest.mark.parametrize("content", ["nothing", "a table", "layer_names"])
def test_hdf5_of_others_says_what_it_found(content, tmp_path):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        if content == "a table":
            file["measurements/temperature"] = np.ones(4)
        elif content == "layer_names":
            file.attrs["layer_names"] = np.array([], "S1")
    expected = "measurements/temperature" if content == "a table" else "no dataset"
    with pytest.raises(FileFormatError, match=f"found HDF5 with {expected}") as caught:
        md.load_weights(nn.Linear(3, 2), path)
    assert str(path) in str(caught.value)
