"""Networks captured for inference, as functions and as models."""

import numpy as np
import pytest

import minidl as md
from minidl import models, nn
from minidl.errors import StateError

NETWORKS = {
    "lenet5": ({}, (2, 32, 32, 1)),
    "resnet20": ({}, (2, 16, 16, 3)),
    "mobilenet_v1": ({"width": 0.25}, (1, 32, 32, 3)),
    "squeezenet1_1": ({}, (1, 32, 32, 3)),
    "nin_cifar": ({}, (2, 32, 32, 3)),
    "alphago_policy": ({}, (1, 19, 19, 48)),
}


def images(shape, count=4):
    random = np.random.default_rng(1)
    return [random.standard_normal(shape).astype(np.float32) for _ in range(count)]


@pytest.mark.parametrize("name", NETWORKS)
def test_without_gradients(name):
    settings, shape = NETWORKS[name]
    model = models.create(name, **settings).eval()
    compiled = md.compile(lambda x: model(x))
    for number, x in enumerate(images(shape, 5)):
        if number == 3:
            next(model.parameters()).data[...] *= 0.9
        with md.no_grad():
            np.testing.assert_array_equal(compiled(x).data, model(x).data)
    assert repr(compiled).endswith("1 kinds of calls recorded>")


@pytest.mark.parametrize("name", NETWORKS)
def test_models(name):
    settings, shape = NETWORKS[name]
    model = models.create(name, **settings).eval()
    before = model.state_dict()
    compiled = md.compile(model)
    for number, x in enumerate(images(shape)):
        if number == 2:
            for name, array in before.items():
                assert np.array_equal(array, model.state_dict()[name])
            for buffer in model.buffers():
                buffer.data[...] = np.abs(buffer.data) + 0.5
        with md.no_grad():
            expected = model(x).data
        error = np.abs(compiled(x).data - expected).max()
        assert error <= 1e-5 * np.abs(expected).max()


def test_a_part_in_training_mode():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)).eval()
    compiled = md.compile(model)
    model[1].train()
    model[2].train()
    with pytest.raises(StateError, match="1, 2 of the compiled model is in training mode"):
        compiled(images((5, 3))[0])
    assert not model[1].running_mean.data.any()
    model.train()
    with pytest.raises(StateError, match="the compiled model is in training mode"):
        compiled(images((5, 3))[0])


def test_with_gradients_recorded_or_not_are_calls_of_two_kinds():
    model = models.lenet5().eval()
    compiled = md.compile(lambda x: model(x))
    for x in images((2, 32, 32, 1)):
        y = compiled(x)
        assert not y.requires_grad
        np.testing.assert_array_equal(y.data, model(x).data)
        with md.no_grad():
            np.testing.assert_array_equal(compiled(x).data, model(x).data)
    assert repr(compiled).endswith("2 kinds of calls recorded>")
