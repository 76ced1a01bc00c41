"""Files that Keras itself writes, and files that Keras reads."""

import re

import h5py
import numpy as np
import pytest
from keras_models import (
    NESTED,
    PAIRS,
    L,
    Last,
    Pair,
    assert_close,
    filled,
    functional,
    inputs,
    keras,
    outputs,
    sequential,
)

import minidl as md
from minidl import nn
from minidl.errors import StateError

pytestmark = pytest.mark.filterwarnings(
    # Keras's torch backend and NumPy 2
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning",
)


def legacy_weights(model, path):
    """As Keras 2's `save_weights("x.h5")`: its own code, which Keras 3 keeps for loading."""
    from keras.src.legacy.saving import legacy_h5_format

    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)


WRITERS = {
    "whole.h5": lambda model, path: model.save(path),
    "legacy.h5": legacy_weights,
    "new.weights.h5": lambda model, path: model.save_weights(path),
    "whole.keras": lambda model, path: model.save(path),
}
every_form = pytest.mark.parametrize("name", WRITERS)


def write(model, folder, name):
    path = folder / name
    WRITERS[name](model, path)
    return path


def check(theirs, ours, x, path, **settings):
    """Load what Keras wrote, and compare the outputs."""
    before = outputs(ours, x)
    expected = outputs(theirs, x)
    assert np.abs(before - expected).max() > 1e-3
    report = md.load_weights(ours, path, **settings)
    assert report.loaded == list(ours.state_dict())
    assert_close(outputs(ours, x), expected)


@every_form
@pytest.mark.parametrize("pair", PAIRS)
def test_what_keras_writes_computes_the_same(pair, name, tmp_path):
    pair = PAIRS[pair]
    theirs = filled(pair.keras())
    path = write(theirs, tmp_path, name)
    if pair is PAIRS["norms"] and name == "new.weights.h5":  # gamma or beta, nothing tells
        with pytest.raises(StateError, match=r"one of gamma and beta.*model\.save"):
            md.load_weights(pair.minidl(), path)
    else:
        check(theirs, pair.minidl(), inputs(pair), path)


@pytest.mark.parametrize("pair", [name for name in PAIRS if name != "norms"])
def test_keras_loads_what_minidl_writes(pair, tmp_path):
    pair, path = PAIRS[pair], tmp_path / "x.weights.h5"
    md.manual_seed(3)
    ours, theirs, x = pair.minidl(), filled(pair.keras()), inputs(pair)
    for i, buffer in enumerate(ours.buffers()):
        buffer.data = np.random.default_rng(i).uniform(0.5, 1.5, buffer.shape).astype(np.float32)
    md.save_weights(ours, path, "keras")
    theirs.load_weights(path)
    assert_close(outputs(theirs, x), outputs(ours, x))


def check_or_refused(theirs, ours, x, path):
    """Where a file can't tell which layer is which, an error is right, and wrong numbers never."""
    try:
        md.load_weights(ours, path)
    except StateError:
        return
    assert_close(outputs(ours, x), outputs(theirs, x))


# Models within models


@every_form
@pytest.mark.parametrize("pair", NESTED)
def test_models_within_models_are_never_loaded_in_another_order(pair, name, tmp_path):
    pair = NESTED[pair]
    theirs = filled(pair.keras())
    check_or_refused(theirs, pair.minidl(), inputs(pair), write(theirs, tmp_path, name))


@pytest.mark.parametrize("name", ["whole.h5", "legacy.h5", "whole.keras"])
@pytest.mark.parametrize("pair", ["nested", "twins"])
def test_models_within_models_load_where_the_file_has_their_graph(pair, name, tmp_path):
    pair = NESTED[pair]
    theirs = filled(pair.keras())
    path, settings = write(theirs, tmp_path, name), {}
    if name == "legacy.h5":
        with pytest.raises(StateError, match="order=True"):
            md.load_weights(pair.minidl(), path)
        settings = {"order": True}
    check(theirs, pair.minidl(), inputs(pair), path, **settings)


@pytest.mark.parametrize("name", ["new.weights.h5", "whole.keras"])
def test_a_subclassed_model_is_matched_by_its_attributes(name, tmp_path):
    """Keras saves them as /first, /bn, ... and calls them dense_3, ... in an attribute."""
    pair = NESTED["early"]
    theirs = filled(pair.keras())
    check(
        theirs, pair.minidl(), inputs(pair), write(theirs, tmp_path, name),
        rename={"blocks.dense": "blocks.0", "blocks.sequential.dense": "blocks.1"},
    )  # fmt: skip


@every_form
def test_a_part_of_a_model(name, tmp_path):
    """Features below a head that another model doesn't have."""
    features = sequential((11, 9, 3), L.Conv2D(4, 3), L.BatchNormalization())
    theirs = filled(functional((11, 9, 3), features, L.Flatten(), L.Dense(5)))
    ours = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, 1e-3))
    x = inputs(PAIRS["convolutions"])
    report = md.load_weights(ours, write(theirs, tmp_path, name), strict=False)
    assert not report.missing
    assert len(report.unexpected) == 2
    assert_close(outputs(ours, x), outputs(features, x))


# Layers that look alike


@every_form
def test_a_separable_convolution_before_a_plain_one_of_its_shape(name, tmp_path):
    theirs = filled(functional((6, 5, 3), L.SeparableConv2D(3, 2), L.Conv2D(3, 1)))
    ours = nn.Sequential(nn.SeparableConv2d(3, 3, 2), nn.Conv2d(3, 3, 1))
    x = inputs(Pair(None, None, (6, 5, 3)))
    check(theirs, ours, x, write(theirs, tmp_path, name))


@every_form
def test_a_separable_convolution_before_a_depthwise_one_of_its_shape(name, tmp_path):
    theirs = filled(functional((6, 5, 3), L.SeparableConv2D(3, 2), L.DepthwiseConv2D(2)))
    ours = nn.Sequential(nn.SeparableConv2d(3, 3, 2), nn.DepthwiseConv2d(3, 2))
    x = inputs(Pair(None, None, (6, 5, 3)))
    check(theirs, ours, x, write(theirs, tmp_path, name))


@every_form
@pytest.mark.parametrize("left_out", ["scale", "center"])
@pytest.mark.parametrize("kind", ["BatchNormalization", "LayerNormalization"])
def test_a_normalisation_without_one_of_its_vectors(kind, left_out, name, tmp_path):
    """Numbered arrays don't tell which of the two is left out, unless a configuration does."""
    theirs = filled(functional((4,), getattr(L, kind)(epsilon=1e-3, **{left_out: False})))
    if left_out == "center":
        theirs.layers[-1].gamma.assign([0.5, 1.5, 0.9, 1.1])
    layer = nn.BatchNorm1d if kind == "BatchNormalization" else nn.LayerNorm
    x, path = inputs(Pair(None, None, (4,))), write(theirs, tmp_path, name)
    if name == "new.weights.h5":
        with pytest.raises(StateError, match=r"one of gamma and beta.*model\.save"):
            md.load_weights(nn.Sequential(layer(4, 1e-3)), path)
    else:
        check(theirs, nn.Sequential(layer(4, 1e-3)), x, path)


@every_form
def test_both_directions_of_a_recurrent_layer_never_change_places(name, tmp_path):
    class Both(nn.Module):
        def __init__(self):
            self.forth, self.back = nn.LSTM(3, 4), nn.LSTM(3, 4)

        def forward(self, x):
            reverse = md.from_numpy(np.ascontiguousarray(x.data[:, ::-1]))
            return md.ops.concatenate([self.forth(x)[1][0], self.back(reverse)[1][0]], axis=-1)

    theirs = filled(functional((5, 3), L.Bidirectional(L.LSTM(4))))
    x = inputs(Pair(None, None, (5, 3)))
    check_or_refused(theirs, Both(), x, write(theirs, tmp_path, name))


@every_form
@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU"])
def test_both_directions_in_one_layer_are_refused_with_what_works(kind, name, tmp_path):
    cell = getattr(L, kind)(4, return_sequences=True)
    theirs = filled(functional((5, 3), L.Bidirectional(cell)))
    path = write(theirs, tmp_path, name)
    layer = getattr(nn, kind.removeprefix("Simple"))
    ours = Last(layer(3, 4, bidirectional=True))
    with pytest.raises(StateError, match="which the file keeps as layers of their own") as refused:
        md.load_weights(ours, path)
    names = re.search("their own: (.*?)\\. Load", str(refused.value))[1].split(", ")
    assert len(names) == 2
    both = next(part for part in ours.modules() if isinstance(part, layer))
    for part_name in names:
        part, end = layer(3, 4), "_l0_reverse" if "backward" in part_name else "_l0"
        md.load_weights(part, path, prefix=part_name)
        for role, array in part.state_dict().items():
            getattr(both, f"{role}{end}").data[...] = array
    x = inputs(Pair(None, None, (5, 3)))
    assert_close(outputs(ours, x), outputs(theirs, x))


# What minidl computes otherwise


@pytest.mark.parametrize("name", ["whole.h5", "whole.keras"])
@pytest.mark.parametrize("use_bias", [True, False])
def test_a_gru_that_resets_before_the_product_is_refused(use_bias, name, tmp_path):
    theirs = filled(functional((5, 3), L.GRU(4, reset_after=False, use_bias=use_bias)))
    with pytest.raises(StateError, match=r"reset|bias"):
        md.load_weights(nn.GRU(3, 4), write(theirs, tmp_path, name))


@every_form
def test_a_gru_without_biases(name, tmp_path):
    pair = Pair(None, None, (5, 3))
    theirs = filled(functional((5, 3), L.GRU(4, return_sequences=True, use_bias=False)))
    check(theirs, Last(nn.GRU(3, 4)), inputs(pair), write(theirs, tmp_path, name))


@every_form
def test_other_activations_within_a_recurrent_layer_are_told_where_the_file_tells(name, tmp_path):
    """hard_sigmoid was Keras's own choice until 2.3."""
    theirs = filled(functional((5, 3), L.LSTM(4, recurrent_activation="hard_sigmoid")))
    path = write(theirs, tmp_path, name)
    if name in ("whole.h5", "whole.keras"):
        with pytest.raises(StateError, match="activation"):
            md.load_weights(nn.LSTM(3, 4), path)


@pytest.mark.parametrize("name", ["whole.h5", "whole.keras"])
@pytest.mark.parametrize(("theirs", "other"), [("relu", "tanh"), ("tanh", "relu")])
def test_the_nonlinearity_of_a_plain_rnn_must_be_the_file_s(theirs, other, name, tmp_path):
    model = filled(functional((5, 3), L.SimpleRNN(4, activation=theirs, return_sequences=True)))
    path = write(model, tmp_path, name)
    with pytest.raises(StateError, match=f"nonlinearity is '{other}', in the file '{theirs}'"):
        md.load_weights(Last(nn.RNN(3, 4, nonlinearity=other)), path)
    check(model, Last(nn.RNN(3, 4, nonlinearity=theirs)), inputs(Pair(None, None, (5, 3))), path)


# Biases that a batch normalisation takes up


def folded(**settings):
    return nn.Sequential(nn.Conv2d(3, 3, 2, bias=False, **settings), nn.BatchNorm2d(3, 1e-3))


@pytest.mark.parametrize("name", ["whole.h5", "whole.keras"])
@pytest.mark.parametrize("rename", [None, {"stem": "0", "norm": "1"}])
def test_a_bias_before_a_batch_normalisation_is_taken_up(rename, name, tmp_path):
    theirs = sequential((6, 5, 3), L.Conv2D(3, 2, name="stem"), L.BatchNormalization(name="norm"))
    theirs, x = filled(theirs), inputs(Pair(None, None, (6, 5, 3)))
    check(theirs, folded(), x, write(theirs, tmp_path, name), rename=rename)


@every_form
@pytest.mark.parametrize("fused", [True, False])
def test_a_bias_before_an_activation_is_not(fused, name, tmp_path):
    keras.backend.clear_session()  # the names are conv2d and batch_normalization, which go together
    between = [] if fused else [L.ReLU()]
    first = L.Conv2D(3, 2, activation="relu" if fused else None)
    theirs = filled(functional((6, 5, 3), first, *between, L.BatchNormalization()))
    with pytest.raises(StateError, match=r"0\.bias"):
        md.load_weights(folded(activation="relu"), write(theirs, tmp_path, name))


@every_form
def test_a_bias_that_others_see_too_is_not(name, tmp_path):
    class Twice(nn.Module):
        def __init__(self):
            self.conv, self.norm = nn.Conv2d(3, 3, 2, bias=False), nn.BatchNorm2d(3, 1e-3)

        def forward(self, x):
            x = self.conv(x)
            return self.norm(x, residual=x)

    keras.backend.clear_session()
    first = keras.Input((6, 5, 3))
    x = L.Conv2D(3, 2)(first)
    theirs = filled(keras.Model(first, L.Add()([x, L.BatchNormalization()(x)])))
    with pytest.raises(StateError, match=r"conv\.bias"):
        md.load_weights(Twice(), write(theirs, tmp_path, name))


# Large files, trained models


def test_lists_of_names_longer_than_hdf5_allows_in_one_attribute(tmp_path):
    def dense(i):
        return L.Dense(2, name=f"{i:03d}_" + "n" * 220)

    inner = sequential((2,), *(dense(i) for i in range(150, 300)))
    theirs = functional((2,), *(dense(i) for i in range(150)), inner, *map(dense, range(300, 440)))
    for i, layer in enumerate(layer for layer in theirs._flatten_layers() if layer.weights):
        random = np.random.default_rng(i)
        if isinstance(layer, L.Dense):
            kernel = np.linalg.qr(random.standard_normal((2, 2)))[0]
            layer.set_weights([kernel, 0.01 * random.standard_normal(2)])
    path = write(theirs, tmp_path, "whole.h5")
    with h5py.File(path) as file:
        assert "layer_names0" in file["model_weights"].attrs
        assert "weight_names1" in file[f"model_weights/{inner.name}"].attrs
    ours = nn.Sequential(*(nn.Linear(2, 2) for _ in range(440)))
    check(theirs, ours, inputs(Pair(None, None, (2,))), path)


@pytest.mark.parametrize("name", ["whole.h5", "new.weights.h5", "whole.keras"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop"])
def test_a_trained_model_with_the_state_of_its_optimizer(optimizer, name, tmp_path):
    pair = PAIRS["deep"]
    theirs, x = filled(pair.keras()), inputs(pair, 8)
    theirs.compile(optimizer, "mse", metrics=["mae"])
    theirs.fit(x, np.ones((8, 11, 9, 3)), batch_size=4, epochs=2, verbose=0)
    path = write(theirs, tmp_path, name)
    with h5py.File(path) if name.endswith("h5") else open(path, "rb") as file:
        assert name == "whole.keras" or any("optimizer" in key for key in file)
    check(theirs, pair.minidl(), x, path)


@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer:UserWarning")
def test_a_compiled_model_loads_what_minidl_writes(tmp_path):
    pair = PAIRS["pooling"]
    ours, theirs, x = pair.minidl(), filled(pair.keras()), inputs(pair)
    theirs.compile("adam", "mse")
    md.save_weights(ours, tmp_path / "x.weights.h5", "keras")
    theirs.load_weights(tmp_path / "x.weights.h5")
    assert_close(outputs(theirs, x), outputs(ours, x))


@every_form
def test_float16_and_float64_models(name, tmp_path):
    for dtype in ("float16", "float64"):
        theirs = filled(functional((4,), L.Dense(3, dtype=dtype)))
        ours = nn.Sequential(nn.Linear(4, 3))
        md.load_weights(ours, write(theirs, tmp_path, name))
        assert ours[0].weight.dtype == np.float32
        expected = theirs.get_weights()[0].astype(np.float32)
        np.testing.assert_array_equal(ours[0].weight.data, expected)
