"""Linear heads as convolutions: the same numbers, and larger images."""

import numpy as np
import pytest

import minidl as md
from minidl import models, nn
from minidl.errors import ArgumentError

NETWORKS = {
    "lenet5": {},
    "alexnet": {"input_size": 67},
    "vgg11": {"input_size": 32},
    "plain_cnn": {"input_size": 16, "k": 2},
    "googlenet": {},
    "resnet20": {},
    "mobilenet_v1": {"width": 0.25},
    "squeezenet1_1": {},
    "nin_cifar": {},
}


def made(name):
    classes = {} if name == "lenet5" else {"num_classes": 4}
    return models.create(name, **NETWORKS[name], **classes).eval()


def images(height, width, channels):
    return np.random.default_rng(0).standard_normal((1, height, width, channels)).astype(np.float32)


@pytest.mark.parametrize("name", NETWORKS)
def test_an_image_of_its_size_gives_its_numbers(name):
    network = made(name)
    height, width, channels = network.input_shape
    x = images(height, width, channels)
    scores = network(x).data
    maps = models.fully_convolutional(network)(x).data
    assert maps.shape == (1, 1, 1, scores.shape[1])
    np.testing.assert_allclose(maps[:, 0, 0], scores, rtol=1e-4, atol=1e-5 * abs(scores).max())


def test_a_larger_image_gives_scores_of_each_window():
    """Without padding in the body, the scores at a place are those of the image cut out there."""
    network = made("lenet5")
    x = images(40, 36, 1)
    maps = models.fully_convolutional(network)(x).data
    assert maps.shape == (1, 3, 2, 10)
    for row in range(3):
        for column in range(2):
            window = x[:, 4 * row : 4 * row + 32, 4 * column : 4 * column + 32]
            np.testing.assert_allclose(
                maps[:, row, column], network(window).data, rtol=1e-4, atol=1e-5
            )


def test_a_mean_over_the_map_becomes_one_over_windows():
    network = made("resnet20")
    x = images(40, 48, 3)
    maps = models.fully_convolutional(network)(x).data
    assert maps.shape == (1, 3, 5, 4)
    features = network.features(x).data  # (1, 10, 12, 64)
    mean = features[:, 1:9, 2:10].mean(axis=(1, 2))
    head = network.classifier[-1]
    expected = mean @ head.weight.data + head.bias.data
    np.testing.assert_allclose(maps[:, 1, 2], expected, rtol=1e-4, atol=1e-4)


def test_the_network_itself_stays_as_it_was():
    network = made("vgg11").train()
    before = network.state_dict()
    modes = [module.training for module in network.modules()]
    converted = models.fully_convolutional(network)
    assert [module.training for module in network.modules()] == modes
    assert all((before[n] == a).all() for n, a in network.state_dict().items())
    converted[-1].weight.data[...] = 0  # a copy
    assert network.classifier[-1].weight.data.any()
    assert converted[0] is network.features


@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenet_v1", "nin_cifar", "lenet5"])
def test_the_head_is_a_copy(name):
    network = made(name).freeze()
    state = md.random.get_state()
    converted = models.fully_convolutional(network)
    assert str(md.random.get_state()) == str(state)
    assert converted.num_trainable == 0
    before = network.state_dict()
    for layer in list(converted)[1:]:
        for parameter in layer.parameters():
            parameter.data[...] = 0
    assert all((before[n] == a).all() for n, a in network.state_dict().items())


@pytest.mark.parametrize(
    "model", [models.alphago_policy(width=2), nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2)), None]
)
def test_what_has_no_body_and_head_is_refused(model):
    with pytest.raises(ArgumentError, match="fully_convolutional expected a network with a body"):
        models.fully_convolutional(model)
