"""The descriptions: their sizes by known numbers, and minidl's side by its shapes."""

import numpy as np
import pytest

import minidl as md
from benchmarks import in_minidl
from benchmarks.networks import NETWORKS, leaves, mobilenet_v1, resnet18, resnet20, state_shapes
from minidl import nn

PARAMETERS = {  # published, or counted by hand
    "lenet5": 61_706,
    "vgg-cifar": 3_838_282,
    "resnet20": 269_722,
    "resnet18": 11_689_512,
    "mobilenet": 4_231_976,
    "mobilenet-grouped": 4_231_976,
    "vgg16": 138_357_544,
    "resnet50": 25_557_032,
    "se-resnext50": 27_559_896,
    "densenet121": 7_978_856,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_of_the_description(name):
    count = 0
    for leaf in leaves(NETWORKS[name]().layers):
        shapes = state_shapes(leaf)
        count += sum(int(np.prod(shapes[n])) for n in ("weight", "bias") if n in shapes)
    assert count == PARAMETERS[name]


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "vgg16"])  # 550 MB
def test_minidl_holds_what_is_described(name):
    layers = NETWORKS[name]().layers
    model = in_minidl.build(layers)
    assert model.num_parameters == PARAMETERS[name]
    described = [shape for leaf in leaves(layers) for shape in state_shapes(leaf).values()]
    assert [array.shape for array in model.state_dict().values()] == described


def test_a_shortcut_keeps_every_other_pixel_and_adds_zeros():
    x = np.random.default_rng(0).standard_normal((2, 5, 6, 4), np.float32)
    y = in_minidl.Subsample(2, 1, 3)(x)
    y = np.asarray(getattr(y, "data", y))
    assert y.shape == (2, 3, 3, 8)
    np.testing.assert_array_equal(y[..., 1:5], x[:, ::2, ::2])
    assert not y[..., :1].any()
    assert not y[..., 5:].any()


def test_a_depthwise_network_is_the_same_spelt_in_groups():
    """Its arrays go from (k, k, C, 1) to (k, k, 1, C), and the scores stay."""
    both = (mobilenet_v1(32, grouped=grouped) for grouped in (False, True))
    depthwise, grouped = (in_minidl.build(network.layers).eval() for network in both)
    kinds = [type(module) for module in grouped.modules()]
    assert (kinds.count(nn.DepthwiseConv2d), kinds.count(nn.Conv2d)) == (0, 14)
    places, arrays = grouped.state_dict(), depthwise.state_dict().values()
    pairs = zip(places.items(), arrays, strict=True)
    grouped.load_state_dict({name: array.reshape(p.shape) for (name, p), array in pairs})
    x = np.random.default_rng(0).standard_normal((1, 32, 32, 3), np.float32)
    expected = np.asarray(depthwise(x).data)
    np.testing.assert_allclose(grouped(x).data, expected, 0, 1e-5 * np.abs(expected).max())


def test_steps_are_captured_unless_eager(monkeypatch):
    """As a function of images and labels: what it closes over is the network's state."""
    seen = []

    def compiled(what):
        seen.append([])
        return lambda *arrays: seen[-1].append([a.shape for a in arrays]) or what(*arrays)

    monkeypatch.setattr(md, "compile", compiled, raising=False)
    in_minidl.train_step(NETWORKS["lenet5"](), 2, 0.1)()
    in_minidl.inference(NETWORKS["lenet5"](), 3)()
    assert seen == [[[(2, 32, 32, 1), (2,)]], [[(3, 32, 32, 1)]]]
    in_minidl.train_step(NETWORKS["lenet5"](), 2, 0.1, eager=True)()
    in_minidl.inference(NETWORKS["lenet5"](), 2, eager=True)()
    assert len(seen) == 2


def test_a_step_moves_every_parameter(monkeypatch):
    models = []
    build = in_minidl.build
    monkeypatch.setattr(
        in_minidl, "build", lambda layers: models.append(build(layers)) or models[-1]
    )
    step = in_minidl.train_step(resnet20(), 4, lr=0.1)
    model = models[-1]
    before = {name: p.data.copy() for name, p in model.named_parameters()}
    step()
    assert all((before[name] != p.data).any() for name, p in model.named_parameters())


def test_inference_of_any_size():
    layers = in_minidl.build(resnet18(size=32).layers).eval()
    assert layers(np.zeros((1, 32, 32, 3), np.float32)).shape == (1, 1000)


def test_an_unknown_layer_is_named():
    with pytest.raises(TypeError, match="no layer for pool"):
        in_minidl.build(["pool"])
