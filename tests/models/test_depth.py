"""First weights: activations and gradients neither vanish nor explode, however deep the network."""

import numpy as np
import pytest

import minidl as md
from minidl import models, nn


@pytest.mark.parametrize("depth", [1, 4, 16, 40])
@pytest.mark.parametrize("seed", [0, 1])
def test_plain_networks_keep_the_scale(depth, seed):
    """He et al. 2015, section 2.2: the second moment stays through convolutions and ReLU.

    Up to chance, which adds up over layers, and a little that is lost at the borders. A gain of 1
    in place of sqrt(2) would leave 2**-40 after forty layers.
    """
    md.manual_seed(seed)
    model = models.plain_cnn(n=depth, m=1, k=0, widths=[64], input_size=64).eval()
    moments, gradients = [], []
    x = md.tensor(np.random.default_rng(seed).standard_normal((2, 64, 64, 3)).astype(np.float32))
    for layer in model.features[:-1]:
        x = layer(x)
        moments.append(float((x.data**2).mean()))
    assert min(moments) > 0.02
    assert max(moments) < 10
    x.sum().backward()
    for layer in model.features[:-1]:
        gradients.append(float(np.sqrt((layer.weight.grad**2).mean())))
    assert max(gradients[1:] or [1]) < 30 * min(gradients[1:] or [1])


@pytest.mark.parametrize("name", ["vgg19", "nin_cifar", "resnet56", "densenet121", "senet154"])
def test_scores_of_new_networks_are_of_moderate_size(name):
    """In training, as the first step sees them."""
    md.manual_seed(0)
    arguments = {"input_size": 64} if name == "vgg19" else {}
    model = models.create(name, num_classes=10, **arguments)
    size = 64 if name not in ("nin_cifar", "resnet56") else 32
    x = np.random.default_rng(0).standard_normal((4, size, size, 3)).astype(np.float32)
    scores = model(x)
    assert 1e-2 < scores.data.std() < 20
    loss = nn.CrossEntropyLoss()(scores, np.arange(4))
    assert float(loss) < 40
