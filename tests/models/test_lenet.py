"""LeNet-5: its size, shapes and names, and what it says to images that don't fit."""

import numpy as np
import pytest

import minidl as md
from minidl import models, nn
from minidl.errors import ArgumentError, DTypeError, ShapeError

STATE = {
    "features.0.weight": (5, 5, 1, 6),
    "features.0.bias": (6,),
    "features.2.weight": (5, 5, 6, 16),
    "features.2.bias": (16,),
    "classifier.0.weight": (400, 120),
    "classifier.0.bias": (120,),
    "classifier.1.weight": (120, 84),
    "classifier.1.bias": (84,),
    "classifier.2.weight": (84, 10),
    "classifier.2.bias": (10,),
}


def images(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_state_has_these_names_and_shapes():
    state = models.lenet5().state_dict()
    assert {name: array.shape for name, array in state.items()} == STATE
    assert list(state) == list(STATE)
    assert {array.dtype for array in state.values()} == {np.dtype(np.float32)}


def test_61706_parameters():
    model = models.lenet5()
    assert model.num_parameters == model.num_trainable == 61_706
    assert sum(int(np.prod(shape)) for shape in STATE.values()) == 61_706


@pytest.mark.parametrize(("classes", "channels"), [(10, 1), (2, 3), (1, 4), (100, 1)])
def test_classes_and_channels(classes, channels):
    model = models.lenet5(num_classes=classes, in_channels=channels)
    assert isinstance(model, models.LeNet5)
    for rows in (1, 3):
        assert model(images(rows, 32, 32, channels)).shape == (rows, classes)
    extra = 5 * 5 * (channels - 1) * 6 + 85 * (classes - 10)
    assert model.num_parameters == 61_706 + extra


def test_shapes_within_are_those_of_the_paper():
    model, shapes = models.lenet5(), []
    for part in (*model.features, *model.classifier):
        part.register_forward_hook(lambda module, inputs, output: shapes.append(output.shape[1:]))
    model(images(2, 32, 32, 1))
    assert shapes == [
        (28, 28, 6), (14, 14, 6), (10, 10, 16), (5, 5, 16), (400,), (120,), (84,), (10,),
    ]  # fmt: skip


def test_it_computes_what_its_layers_compute():
    """The same network with the activations as layers of their own, in float64."""
    model = models.lenet5().astype(np.float64)
    apart = nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84),
        nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip
    apart.astype(np.float64)
    arrays = model.state_dict().values()
    apart.load_state_dict(dict(zip(apart.state_dict(), arrays, strict=True)))
    x = images(4, 32, 32, 1).astype(np.float64)
    np.testing.assert_allclose(model(x).data, apart(x).data, rtol=1e-12)


def test_a_seed_gives_the_weights():
    states = []
    for seed in (0, 0, 1):
        md.manual_seed(seed)
        states.append(models.lenet5().state_dict())
    for name in STATE:
        np.testing.assert_array_equal(states[0][name], states[1][name])
        assert name.endswith("bias") or np.any(states[0][name] != states[2][name])


def test_every_parameter_gets_a_gradient():
    model = models.lenet5()
    nn.CrossEntropyLoss()(model(images(4, 32, 32, 1)), np.array([0, 3, 9, 1])).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.shape == parameter.shape, name
        assert np.any(parameter.grad), name


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 1, 32, 32), r"expected 1 input channels.* got shape \(2, 1, 32, 32\): this looks "
         r"channels-first; use x\.transpose\(0, 2, 3, 1\)"),
        ((2, 28, 28, 1), r"LeNet5 expected images of 32x32 pixels, got shape \(2, 28, 28, 1\): "
         r"pad or resize them, for example MNIST's 28x28 with nn\.ZeroPad2d\(2\)"),
        ((2, 8, 8, 1), "LeNet5 expected images of 32x32 pixels"),
        ((2, 224, 224, 1), "LeNet5 expected images of 32x32 pixels"),
        ((2, 32, 32, 3), r"expected 1 input channels \(axis -1.*got shape \(2, 32, 32, 3\)"),
        ((32, 32, 1), r"got shape \(32, 32, 1\): add the batch axis with x\[None\]"),
        ((2, 1024), r"expected images as a \(N, H, W, C\) array, got shape \(2, 1024\)"),
    ],
)  # fmt: skip
def test_images_that_do_not_fit(shape, message):
    with pytest.raises(ShapeError, match=message):
        models.lenet5()(images(*shape))


def test_the_remedy_helps():
    padded = nn.Sequential(nn.ZeroPad2d(2), models.lenet5())
    assert padded(images(2, 28, 28, 1)).shape == (2, 10)


@pytest.mark.parametrize("x", [np.zeros((2, 32, 32, 1), np.uint8), [[0.0]], None])
def test_what_is_no_array_of_floats(x):
    with pytest.raises(DTypeError):
        models.lenet5()(x)


@pytest.mark.parametrize(
    ("settings", "name"),
    [({"num_classes": 0}, "out_features"), ({"num_classes": 2.5}, "out_features"),
     ({"in_channels": -1}, "in_channels")],
)  # fmt: skip
def test_bad_settings(settings, name):
    with pytest.raises(ArgumentError, match=f"{name} must be a whole number from 1 up"):
        models.lenet5(**settings)
