"""The descriptions: their sizes by known numbers, and minidl's side by its shapes."""

import numpy as np
import pytest

from benchmarks import in_minidl
from benchmarks.networks import NETWORKS, leaves, resnet18, resnet20, state_shapes

PARAMETERS = {  # published, or counted by hand
    "lenet5": 61_706,
    "vgg-cifar": 3_838_282,
    "resnet20": 269_722,
    "resnet18": 11_689_512,
    "mobilenet": 4_231_976,
    "vgg16": 138_357_544,
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
