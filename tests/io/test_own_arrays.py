"""Arrays that a module uses itself, in files whose channels come first; and what is asked for."""

import re

import numpy as np
import pytest
from keras_files import layer, legacy, model, numbers, same
from safetensors.numpy import save_file
from test_flattened import Net, load, rows, turned

import minidl as md
from minidl import nn
from minidl.errors import ArgumentError, DTypeError, StateError


def scaled(**parts):
    return Net(
        lambda s, x: s.fc(rows(s.conv(x) + s.image) * s.scale), conv=nn.Conv2d(1, 4, 1),
        fc=nn.Linear(24, 2), image=nn.Parameter(np.zeros((3, 2, 4), np.float32)),
        scale=nn.Parameter(np.zeros(24, np.float32)), **parts,
    )  # fmt: skip


def test_a_scale_of_pixels_and_an_image(tmp_path):
    net, image = scaled(), numbers(4, 3, 2)
    state = {"image": image, "scale": numbers(24), "conv.weight": numbers(4, 1, 1, 1),
             "conv.bias": numbers(4), "fc.weight": numbers(2, 24),
             "fc.bias": numbers(2)}  # fmt: skip
    save_file(state, tmp_path / "x.safetensors")
    md.load_weights(net, tmp_path / "x.safetensors", input_shape=(3, 2, 1))
    same(net.scale, turned(numbers(24), 4, 6))
    for h, w, c in np.ndindex(3, 2, 4):
        assert net.image.data[h, w, c] == image[c, h, w]


@pytest.mark.parametrize("first", [True, False])
def test_a_layer_of_keras_s_that_minidl_does_not_know(first, tmp_path):
    form = "channels_first" if first else "channels_last"
    path = legacy(
        tmp_path / "x.h5",
        {"conv": {"conv/kernel:0": numbers(1, 1, 1, 4), "conv/bias:0": numbers(4)},
         "own": {"own/scale:0": numbers(24)}},
        model(layer("InputLayer", "in", []), layer("Conv2D", "conv", ["in"], data_format=form),
              layer("Flatten", "flat", ["conv"], data_format="channels_last"),
              layer("Scale", "own", ["flat"])),
    )  # fmt: skip
    own = Net(lambda s, x: x * s.scale, scale=nn.Parameter(np.zeros(24, np.float32)))
    net = Net(lambda s, x: s.own(rows(s.conv(x))), conv=nn.Conv2d(1, 4, 1), own=own)
    md.load_weights(net, path, input_shape=(3, 2, 1))
    same(net.own.scale, turned(numbers(24), 4, 6) if first else numbers(24))


def test_what_is_refused_can_be_left_out_and_set(tmp_path):
    net = Net(
        lambda s, x: s.fc(s.conv(x).transpose(0, 2, 1, 3).reshape(len(x), 2, 12)),
        conv=nn.Conv2d(1, 4, 1), fc=nn.Linear(12, 2),
    )  # fmt: skip
    with pytest.raises(StateError) as refused:
        load(net, tmp_path, input_shape=(3, 2, 1))
    text = str(refused.value)
    found = re.search(r"rename=(\{.*?\}) and strict=False.*model\.(fc\.weight)\.data", text)
    assert found[1] == "{'fc': None}"
    state = load(net, tmp_path, input_shape=(3, 2, 1), rename={"fc": None}, strict=False)
    net.fc.weight.data[...] = state["fc.weight"].T
    same(net.conv.bias, state["conv.bias"])


def test_a_subclass_with_a_forward_of_its_own(tmp_path):
    class Halved(nn.Linear):
        def forward(self, x):
            return super().forward(x) * 0.5

    net = Net(
        lambda s, x: s.up(s.fc(rows(x)).reshape(-1, 3, 2, 4)),
        fc=Halved(12, 24), up=nn.ConvTranspose2d(4, 3, 2),
    )  # fmt: skip
    state = load(net, tmp_path, input_shape=(2, 2, 3))
    same(net.fc.weight, turned(turned(state["fc.weight"], 4, 6).T, 3, 4))
    same(net.fc.bias, turned(state["fc.bias"], 4, 6))


@pytest.mark.parametrize("shape", [(1, 3, 1, 2), (8, 3, 1, 2), (None, 3, 1, 2), (-1, 3, 1, 2)])
def test_an_input_shape_with_a_batch_axis(shape, tmp_path):
    net = nn.Sequential(nn.Conv2d(2, 2, 1), nn.Flatten(), nn.Linear(6, 2))
    text = rf"input_shape={re.escape(str(shape))} has a batch axis.*input_shape=\(3, 1, 2\)$"
    with pytest.raises(ArgumentError, match=text):
        load(net, tmp_path, input_shape=shape)
    with pytest.raises(ArgumentError, match=r"has a batch axis.*input_shape=\[\(3, 1, 2\)\]$"):
        load(net, tmp_path, input_shape=[shape])
    load(net, tmp_path, input_shape=(3, 1, 2))


def test_a_batch_axis_that_would_run(tmp_path):
    net = nn.Sequential(nn.Flatten(), nn.Linear(6, 2))
    with pytest.raises(ArgumentError, match=r"batch axis first.*input_shape=\(3, 1, 2\)"):
        load(net, tmp_path, input_shape=(1, 3, 1, 2))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"rename": 3}, "rename is a dict or a function, got 3"),
        ({"rename": {"fc": 3}}, "rename maps names to names, .* got 'fc': 3"),
        ({"rename": {3: "fc"}}, "got 3: 'fc'"),
        ({"rename": lambda name: 3}, "rename gives a name, .* got 3 for '0'"),
        ({"order": "yes"}, "order is True or False, got 'yes'"),
        ({"order": 1}, "order is True or False, got 1"),
        ({"strict": None}, "strict is True or False, got None"),
        ({"prefix": 3}, "prefix is a dotted name, got 3"),
    ],
)
def test_arguments_of_other_types(settings, text, tmp_path):
    net = nn.Sequential(nn.Linear(2, 2))
    load(net, tmp_path)
    with pytest.raises(ArgumentError, match=text):
        md.load_weights(net, tmp_path / "x.safetensors", **settings)


@pytest.mark.parametrize("path", [None, 3, nn.Linear(2, 2)])
def test_what_is_no_path(path):
    with pytest.raises(DTypeError, match=f"path of a file second, got {type(path).__name__}"):
        md.load_weights(nn.Linear(2, 2), path)
    with pytest.raises(DTypeError, match="expected a module first, got NoneType"):
        md.load_weights(None, path)
