"""Every layer says what files call it; those that Keras has, too, are written and read."""

import numpy as np
import pytest
from keras_files import layer, legacy, model

import minidl as md
from minidl import nn
from minidl.errors import StateError
from minidl.io.keras_config import snake
from minidl.nn.stored import Stored

LAYERS = [
    nn.Conv2d(2, 4, 3), nn.PointwiseConv2d(2, 4), nn.ConvTranspose2d(2, 4, 3),
    nn.DepthwiseConv2d(2, 3, multiplier=2), nn.SeparableConv2d(2, 4, 3), nn.Linear(2, 4),
    nn.Embedding(5, 2), nn.BatchNorm1d(4), nn.BatchNorm2d(4), nn.LayerNorm(4), nn.GroupNorm(2, 4),
    nn.InstanceNorm2d(4, affine=True), nn.PReLU(4), nn.RNN(2, 3), nn.LSTM(2, 3), nn.GRU(2, 3),
]  # fmt: skip
IN_KERAS = [each for each in LAYERS if each.stored.keras is not None]


def holds_arrays(cls):
    """Whether layers of a class, or of one made of it, stand in LAYERS."""
    return any(isinstance(each, cls) for each in LAYERS)


def test_every_layer_with_arrays_says_what_files_call_it():
    plain = {nn.Module, nn.Parameter, nn.Buffer, nn.LoadReport}
    for name in nn.__all__:
        cls = getattr(nn, name)
        if isinstance(cls, type) and issubclass(cls, nn.Module) and cls not in plain:
            makes = "Parameter" in str(cls.__init__.__code__.co_names) or hasattr(cls, "stored")
            assert holds_arrays(cls) == (makes and cls.__init__ is not nn.Module.__init__), name
    for each in LAYERS:
        assert isinstance(each.stored, Stored), each
        names = set(each.state_dict())
        assert each.stored.keras is None or names <= set(each.stored.arrays.values()), each


def filled(each, seed):
    random = np.random.default_rng(seed)
    for _, place in (*each.named_parameters(), *each.named_buffers()):
        place.data[...] = random.uniform(0.5, 1.5, place.shape)
    return each


@pytest.mark.parametrize("each", IN_KERAS, ids=repr)
def test_what_keras_has_is_written_and_read(each, tmp_path):
    path = tmp_path / "x.weights.h5"
    wanted = {name: array.copy() for name, array in filled(each, 1).state_dict().items()}
    md.save_weights(nn.Sequential(each), path, "keras")
    report = md.load_weights(nn.Sequential(filled(each, 2)), path)
    assert report.loaded == [f"0.{name}" for name in wanted]
    for name, array in each.state_dict().items():
        np.testing.assert_array_equal(array, wanted[name])


@pytest.mark.parametrize("each", IN_KERAS, ids=repr)
def test_what_keras_has_is_read_from_whole_models(each, tmp_path):
    """Under Keras's names, in a file that says what class the layer is of."""
    stored, state = each.stored, filled(each, 1).state_dict()
    arrays = {f"one/{theirs}:0": state[ours] for theirs, ours in stored.arrays.items()}
    settings = {theirs: getattr(each, ours) for theirs, ours in stored.settings.items()}
    config = model(layer(stored.keras, "one", [], **settings))
    path = legacy(tmp_path / "x.h5", {"one": arrays}, config)
    wanted = {name: array.copy() for name, array in state.items()}
    md.load_weights(nn.Sequential(filled(each, 2)), path, strict=False)
    for name, array in each.state_dict().items():
        np.testing.assert_array_equal(array, wanted[name])


def test_what_keras_lacks_is_not_written(tmp_path):
    with pytest.raises(StateError, match="Keras has no layer for the arrays of 0"):
        md.save_weights(
            nn.Sequential(nn.InstanceNorm2d(4, affine=True)), tmp_path / "x.weights.h5", "keras"
        )


@pytest.mark.parametrize(
    ("settings", "text"),
    [({"groups": 4, "epsilon": 1e-5}, "num_groups is 2, in the file 4: make it with that"),
     ({"groups": 2}, "eps is 1e-05, in the file 0.001")],
)  # fmt: skip
def test_other_settings_are_refused(settings, text, tmp_path):
    arrays = {f"one/{name}:0": np.ones(4, np.float32) for name in ("gamma", "beta")}
    config = model(layer("GroupNormalization", "one", [], **settings))
    path = legacy(tmp_path / "x.h5", {"one": arrays}, config)
    with pytest.raises(StateError, match=text):
        md.load_weights(nn.Sequential(nn.GroupNorm(2, 4)), path)


def test_a_class_of_somebody_s_own_is_stored_as_the_layer_that_it_is(tmp_path):
    class Mine(nn.Linear):
        pass

    md.save_weights(nn.Sequential(Mine(2, 3)), tmp_path / "x.weights.h5", "keras")
    md.load_weights(nn.Sequential(nn.Linear(2, 3)), tmp_path / "x.weights.h5")


@pytest.mark.parametrize(
    ("name", "spelt"), [("Conv2DTranspose", "conv2d_transpose"), ("PReLU", "p_re_lu"),
                        ("GRU", "gru"), ("GroupNormalization", "group_normalization")],
)  # fmt: skip
def test_keras_s_spelling(name, spelt):
    assert snake(name) == spelt
