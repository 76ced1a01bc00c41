"""Where features are pixels: PyTorch's row (c, h, w) is minidl's (h, w, c), wherever it is."""

import numpy as np
import pytest
from keras_files import layer, legacy, model, numbers, same
from safetensors.numpy import save_file

import minidl as md
from minidl import nn, ops
from minidl.errors import StateError


class Net(nn.Module):
    def __init__(self, run, **parts):
        vars(self)["run"] = run
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.run(self, x)


def rows(x):
    return x.reshape(len(x), -1)


def turned(array, channels, pixels, start=0):
    """Rows (c, p) as (p, c), by the formula; those outside stay."""
    found = array.copy()
    for c, p in np.ndindex(channels, pixels):
        found[start + p * channels + c] = array[start + c * pixels + p]
    return found


def torch_state(net):
    """Random arrays in PyTorch's layouts, by name."""
    axes = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}
    return {
        name: np.ascontiguousarray(numbers(*a.shape, seed=i).transpose(axes[a.ndim]))
        for i, (name, a) in enumerate(net.state_dict().items())
    }


def load(net, folder, **settings):
    """The state written as PyTorch's, once it is loaded."""
    state = torch_state(net)
    save_file(state, folder / "x.safetensors")
    md.load_weights(net, folder / "x.safetensors", **settings)
    return state


def test_two_layers_on_one_flattened_image(tmp_path):
    net = Net(
        lambda s, x: (s.a(rows(s.conv(x))), s.b(rows(s.conv(x)))),
        conv=nn.Conv2d(1, 4, 1), a=nn.Linear(24, 2), b=nn.Linear(24, 3),
    )  # fmt: skip
    state = load(net, tmp_path)
    same(net.a.weight, turned(state["a.weight"].T, 4, 6))
    same(net.b.weight, turned(state["b.weight"].T, 4, 6))


def test_a_linear_layer_before_a_reshape_to_an_image(tmp_path):
    net = Net(
        lambda s, x: s.up(s.norm(s.fc(x)).reshape(-1, 3, 2, 4)),
        fc=nn.Linear(5, 24), norm=nn.BatchNorm1d(24), up=nn.ConvTranspose2d(4, 3, 2),
    )  # fmt: skip
    state = load(net, tmp_path)
    same(net.fc.weight, turned(state["fc.weight"], 4, 6).T)
    same(net.fc.bias, turned(state["fc.bias"], 4, 6))
    same(net.norm.running_var, turned(state["norm.running_var"], 4, 6))


def test_a_row_that_is_given_out_as_an_image_is_refused(tmp_path):
    """A generator's pixels lie otherwise in PyTorch; the scores of a grid don't."""
    net = Net(lambda s, x: ops.tanh(s.fc(x).reshape(-1, 6, 6, 3)), fc=nn.Linear(7, 108))
    for settings in ({}, {"input_shape": (7,)}):
        with pytest.raises(StateError, match=r"fc \(linear\)"):
            load(net, tmp_path, **settings)
    net = Net(lambda s, x: s.fc(x).reshape(-1, 1, 1, 6), fc=nn.Linear(7, 6))
    same(net.fc.weight, load(net, tmp_path)["fc.weight"].T)


def test_pixels_beside_features(tmp_path):
    net = Net(
        lambda s, x: s.fc(ops.concatenate([x.mean(axis=(1, 2)), rows(s.conv(x))], axis=1)),
        conv=nn.Conv2d(2, 3, 1), fc=nn.Linear(2 + 18, 2),
    )  # fmt: skip
    with pytest.raises(StateError, match=r"fc \(linear\): the features it takes.*input_shape="):
        load(net, tmp_path)
    state = load(net, tmp_path, input_shape=(3, 2, 2))
    same(net.fc.weight, turned(state["fc.weight"].T, 3, 6, start=2))


def test_a_network_of_rows_and_one_of_images_that_it_flattens(tmp_path):
    state = load(net := nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2)), tmp_path)
    same(net[2].weight, state["2.weight"].T)
    net = nn.Sequential(nn.Flatten(), nn.Linear(6, 2))
    with pytest.raises(StateError, match=r"guessed input of shape \(6,\).*input_shape="):
        load(net, tmp_path)
    state = load(net, tmp_path, input_shape=(6,))
    same(net[1].weight, state["1.weight"].T)
    state = load(net, tmp_path, input_shape=(3, 1, 2))
    same(net[1].weight, turned(state["1.weight"].T, 2, 3))


def test_a_part_that_forward_does_not_run_is_refused_and_loads_by_itself(tmp_path):
    net = Net(lambda s, x: s.a(x), a=nn.Linear(4, 4), decoder=nn.Sequential(nn.Linear(3, 2)))
    with pytest.raises(StateError, match=r"decoder\.0 \(linear\).*by itself"):
        load(net, tmp_path)
    md.load_weights(net.decoder, tmp_path / "x.safetensors", prefix="decoder")
    same(net.decoder[0].weight, torch_state(net)["decoder.0.weight"].T)


def test_saving_is_refused_where_loading_is(tmp_path):
    net = nn.Sequential(nn.Flatten(), nn.Linear(6, 2))
    path = tmp_path / "x.safetensors"
    with pytest.raises(StateError, match=r"save_weights: PyTorch flattens.*input_shape="):
        md.save_weights(net, path, "safetensors")
    assert not path.exists()
    md.save_weights(net, path, "safetensors", input_shape=(3, 1, 2))
    other = nn.Sequential(nn.Flatten(), nn.Linear(6, 2))
    md.load_weights(other, path, input_shape=(3, 1, 2))
    same(other[1].weight, net[1].weight.data)


def test_the_run_leaves_the_model_and_the_generators_alone(tmp_path):
    net = nn.Sequential(
        nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Dropout(), nn.Flatten(), nn.Linear(12, 2)
    )
    seen = []
    net[0].register_forward_hook(lambda *call: seen.append(call))
    md.manual_seed(3)
    expected = ops.dropout(md.tensor(np.ones(50, np.float32)), 0.5, True).data
    md.manual_seed(3)
    state = load(net, tmp_path)
    got = ops.dropout(md.tensor(np.ones(50, np.float32)), 0.5, True).data
    np.testing.assert_array_equal(got, expected)
    same(net[1].running_mean, state["1.running_mean"])
    assert net.training
    assert not seen


# Keras with channels first


def keras_file(path, *rows, **arrays):
    arrays = {
        name: {f"{name}/{role}:0": array for role, array in own.items()}
        for name, own in arrays.items()
    }
    return legacy(path, arrays, model(layer("InputLayer", "in", []), *rows))


FIRST = {"data_format": "channels_first"}
CONV = layer("Conv2D", "conv", ["in"], **FIRST)
KERNEL = {"kernel": numbers(1, 1, 1, 4), "bias": numbers(4)}


@pytest.mark.parametrize("form", ["channels_last", "channels_first"])
def test_a_normalisation_and_two_dense_layers_on_a_flattened_image(form, tmp_path):
    """Keras's Flatten turns the image itself only if it is told that its channels are first."""
    path = keras_file(
        tmp_path / "x.h5", CONV, layer("Flatten", "flat", ["conv"], data_format=form),
        layer("BatchNormalization", "norm", ["flat"], epsilon=1e-3),
        layer("Dense", "a", ["norm"]), layer("Dense", "b", ["flat"]),
        conv=KERNEL, a={"kernel": numbers(24, 2)}, b={"kernel": numbers(24, 3)},
        norm={r: np.abs(numbers(24, seed=i)) for i, r in
              enumerate(("gamma", "beta", "moving_mean", "moving_variance"))},
    )  # fmt: skip
    net = Net(
        lambda s, x: (s.a(s.norm(rows(s.conv(x)))), s.b(rows(s.conv(x)))),
        conv=nn.Conv2d(1, 4, 1), norm=nn.BatchNorm1d(24, 1e-3),
        a=nn.Linear(24, 2, bias=False), b=nn.Linear(24, 3, bias=False),
    )  # fmt: skip
    md.load_weights(net, path)

    def expected(array):
        return turned(array, 4, 6) if form == "channels_last" else array

    same(net.a.weight, expected(numbers(24, 2)))
    same(net.b.weight, expected(numbers(24, 3)))
    same(net.norm.bias, expected(np.abs(numbers(24, seed=1))))


@pytest.mark.parametrize("form", ["channels_first", "channels_last"])
def test_a_dense_layer_before_a_reshape_to_an_image(form, tmp_path):
    shape = [4, 3, 2] if form == "channels_first" else [3, 2, 4]
    path = keras_file(
        tmp_path / "x.h5", layer("Dense", "fc", ["in"]),
        layer("Reshape", "reshape", ["fc"], target_shape=shape),
        layer("Conv2D", "conv", ["reshape"], data_format=form),
        fc={"kernel": numbers(5, 24), "bias": numbers(24)},
        conv={"kernel": numbers(1, 1, 4, 2), "bias": numbers(2)},
    )  # fmt: skip
    net = Net(
        lambda s, x: s.conv(s.fc(x).reshape(-1, 3, 2, 4)),
        fc=nn.Linear(5, 24), conv=nn.Conv2d(4, 2, 1),
    )  # fmt: skip
    md.load_weights(net, path)
    first = form == "channels_first"
    same(net.fc.weight, turned(numbers(5, 24).T, 4, 6).T if first else numbers(5, 24))
    same(net.fc.bias, turned(numbers(24), 4, 6) if first else numbers(24))


@pytest.mark.parametrize("turn", [True, False])
def test_a_permute_before_flatten(turn, tmp_path):
    """Keras turns channels that came last; the model does so, too, or flattens them as they are."""
    path = keras_file(
        tmp_path / "x.h5", layer("Conv2D", "conv", ["in"], data_format="channels_last"),
        layer("Permute", "turn", ["conv"], dims=[3, 1, 2]), layer("Flatten", "flat", ["turn"]),
        layer("Dense", "fc", ["flat"]), conv=KERNEL, fc={"kernel": numbers(24, 2)},
    )  # fmt: skip
    net = Net(
        lambda s, x: s.fc(rows(s.conv(x).transpose(0, 3, 1, 2) if turn else s.conv(x))),
        conv=nn.Conv2d(1, 4, 1), fc=nn.Linear(24, 2, bias=False),
    )  # fmt: skip
    md.load_weights(net, path)
    same(net.fc.weight, numbers(24, 2) if turn else turned(numbers(24, 2), 4, 6))


@md.autograd.primitive(flops=lambda output, x: x.size)
def backwards(x):
    """An op of a user's that orders features anew, which nothing tells."""
    return np.ascontiguousarray(x[:, ::-1])


def test_an_op_of_yours_on_flattened_pixels(tmp_path):
    head = {"conv": nn.Conv2d(2, 3, 3), "head": nn.Linear(3 * 4, 5)}
    net = Net(lambda self, x: self.head(backwards(rows(self.conv(x)))), **head)
    save_file(torch_state(net), tmp_path / "w.safetensors")
    with pytest.raises(StateError, match=r"head \(linear\): the features it takes"):
        md.load_weights(net, tmp_path / "w.safetensors", input_shape=(4, 4, 2))
