"""Stochastic depth in networks: its rates, in training alone."""

import numpy as np
import pytest

import minidl as md
from minidl import errors, models, nn

# What torchvision's constructors compute, by the papers' linear rule.
RATES = {
    "efficientnet_b0": (0.2, [0.2 * i / 16 for i in range(16)]),
    "efficientnet_lite0": (0.3, [0.3 * i / 16 for i in range(16)]),
    "efficientnet_b1": (0.2, [0.2 * i / 23 for i in range(23)]),
    "convnext_tiny": (0.1, [0.1 * i / 17 for i in range(18)]),
}


def blocks(model):
    return [part for part in model.features.modules() if "drop" in vars(part)]


@pytest.mark.parametrize("name", RATES)
def test_rates_grow_from_the_first_block_to_the_last(name):
    last, expected = RATES[name]
    model = models.create(name, num_classes=3, stochastic_depth=last)
    found = blocks(model)
    assert len(found) == len(expected)
    for block, p in zip(found, expected, strict=True):
        shortcut = getattr(block, "same", True)
        assert (block.drop is not None) == (shortcut and p > 0)
        if block.drop is not None:
            assert block.drop.mode == "row"
            np.testing.assert_allclose(block.drop.p, p)
    assert sum(block.drop is not None for block in found) >= 9


@pytest.mark.parametrize("name", ["efficientnet_b0", "convnext_tiny"])
def test_it_changes_training_alone(name, tmp_path):
    def built(p):
        md.manual_seed(0)
        return models.create(name, num_classes=3, stochastic_depth=p)

    plain, dropping = built(0.0), built(0.8)
    assert not any(isinstance(part, nn.StochasticDepth) for part in plain.modules())
    assert list(plain.state_dict()) == list(dropping.state_dict())
    x = np.random.default_rng(0).standard_normal((2, 32, 32, 3)).astype(np.float32)
    np.testing.assert_array_equal(dropping.eval()(x).data, plain.eval()(x).data)

    md.save_weights(dropping, tmp_path / "x.h5")
    loaded = models.load(tmp_path / "x.h5")
    assert [type(part) for part in loaded.modules()] == [type(part) for part in dropping.modules()]
    for part in dropping.modules():
        part.training = isinstance(part, nn.StochasticDepth) or "drop" in vars(part)
    md.manual_seed(1)
    dropping(x).sum().backward()
    firsts = [next(block.parameters()) for block in blocks(dropping) if block.drop is not None]
    gradients = [np.abs(first.grad).max() for first in firsts]
    assert 0 in gradients  # a block that both images left out
    assert max(gradients) > 0


def test_a_rate_is_a_probability():
    with pytest.raises(errors.ArgumentError, match="must be a probability from 0 to 1"):
        models.create("efficientnet_b0", stochastic_depth=3.0)
