"""Guided saliency beside PyTorch's hooks, which clip the gradients of its ReLUs."""

import numpy as np
import pytest
from torch_compare import torch

import minidl as md
from minidl import analysis, models, nn, ops
from minidl.analysis import saliency


def weights_of(conv):
    """(kh, kw, C_in, C_out) -> (C_out, C_in, kh, kw), and the bias."""
    return torch.tensor(conv.weight.data.transpose(3, 2, 0, 1)), torch.tensor(conv.bias.data)


class Residual(nn.Module):
    """Two convolutions, one fused with its ReLU, around a ReLU6 that only the graph shows."""

    def __init__(self):
        self.first = nn.Conv2d(3, 8, 3, padding=1, activation="relu")
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = self.first(x)
        return self.head(ops.relu6(self.second(x) + x).mean(axis=(1, 2)))


def theirs(model, image, number, clip):
    functional = torch.nn.functional
    x = torch.tensor(image.transpose(2, 0, 1)[None], requires_grad=True)

    def guided(y):
        if clip:
            y.register_hook(lambda g: g.clamp(min=0))
        return y

    first = guided(functional.relu(functional.conv2d(x, *weights_of(model.first), padding=1)))
    y = functional.conv2d(first, *weights_of(model.second), padding=1) + first
    y = guided(functional.relu6(y)).mean(dim=(2, 3))
    scores = y @ torch.tensor(model.head.weight.data) + torch.tensor(model.head.bias.data)
    (gradient,) = torch.autograd.grad(scores[0, number], [x])
    heat = gradient[0].abs().amax(dim=0).numpy()
    return heat / heat.max()


@pytest.mark.parametrize("number", [0, 3])
def test_guided_saliency(number):
    model = Residual().eval()
    image = np.random.default_rng(0).standard_normal((9, 7, 3)).astype(np.float32) * 3
    found = analysis.guided_saliency(model, image, number)
    np.testing.assert_allclose(found, theirs(model, image, number, True), atol=2e-5)
    assert np.abs(found - theirs(model, image, number, False)).max() > 0.05
    model.freeze()
    np.testing.assert_array_equal(analysis.guided_saliency(model, image, number), found)


def test_a_pool_that_runs_in_one_pass_with_its_relu():
    """As LeNet-5's body runs it: convolution, ReLU and pooling in a row."""
    body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2))
    model = nn.Sequential(body, nn.Flatten(), nn.Linear(4 * 9, 3)).eval()
    image = np.random.default_rng(1).standard_normal((8, 8, 1)).astype(np.float32)
    x = torch.tensor(image.transpose(2, 0, 1)[None], requires_grad=True)
    y = torch.relu(torch.nn.functional.conv2d(x, *weights_of(body[0])))
    y.register_hook(lambda g: g.clamp(min=0))
    y = torch.nn.functional.max_pool2d(y, 2).permute(0, 2, 3, 1).flatten(1)
    scores = y @ torch.tensor(model[2].weight.data) + torch.tensor(model[2].bias.data)
    (gradient,) = torch.autograd.grad(scores[0, 2], [x])
    heat = gradient[0, 0].abs().numpy()
    np.testing.assert_allclose(
        analysis.guided_saliency(model, image, 2), heat / heat.max(), atol=2e-5
    )


@pytest.mark.parametrize(
    ("make", "relus"),
    [
        (lambda: models.mobilenet_v1(num_classes=4, width=0.25), 27),
        (lambda: models.resnet18(num_classes=4), 17),
        (lambda: models.squeezenet1_1(num_classes=4), 26),
    ],
)
def test_all_relus_are_found(make, relus):
    """However they are fused: a network of the papers has so many."""
    x = md.tensor(np.ones((1, 64, 64, 3), np.float32), requires_grad=True)
    nodes = list(saliency._nodes(make().eval()(x)))
    assert sum(map(saliency._is_relu, nodes)) == relus


def test_networks_of_the_zoo_are_left_as_they_are():
    model = models.mobilenet_v1(num_classes=4, width=0.25).freeze()
    image = np.random.default_rng(2).random((64, 64, 3), np.float32)
    before = model.state_dict()
    found = analysis.guided_saliency(model, image)
    assert found.shape == (64, 64)
    assert found.max() == 1
    assert all((value == before[name]).all() for name, value in model.state_dict().items())
