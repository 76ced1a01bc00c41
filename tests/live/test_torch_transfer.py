"""benchmarks.transfer_torch: the networks compute what minidl's do, and a seed gives the same."""

import numpy as np
import pytest
from torch_compare import torch

import minidl as md
from benchmarks import transfer, transfer_torch
from minidl.models import create
from minidl.train.pretrained import pretrained


@pytest.mark.parametrize("name", ["mobilenet_0.25", "mobilenet_0.75"])
def test_the_body_computes_the_same(shared_data, name):
    file, model = transfer.WEIGHTS[name]
    network = pretrained(shared_data / file, model, None, 96).eval()
    x = np.random.default_rng(0).uniform(-1, 1, (2, 96, 96, 3)).astype(np.float32)
    body = transfer_torch.body_of(network).eval()
    with torch.no_grad():
        found = body(torch.from_numpy(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    with md.no_grad():
        expected = network.features(x).data
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-4)


def test_recipes(monkeypatch):
    """Colours are learned, and twice the same."""
    monkeypatch.setattr(transfer_torch, "BIT_STEPS", 4)
    monkeypatch.setattr(transfer_torch, "EPOCHS", 1)
    md.manual_seed(0)
    network = create("mobilenet_v1", width=0.25, num_classes=2)
    network.image_format = md.models.ImageFormat(32, "RGB", 127.5, (1.0,) * 3, (1.0,) * 3)
    random = np.random.default_rng(0)
    labels = np.arange(64) % 2
    images = random.integers(0, 100, (64, 32, 32, 3)).astype(np.uint8)
    images[labels == 1, ..., 0] += 150
    parts = (images[:48], labels[:48]), (images[48:], labels[48:])
    for name in transfer_torch.RECIPES:
        first, second = (transfer_torch.run(network, name, parts, 32, 0) for _ in range(2))
        assert first == second
        assert 0 <= first <= 1
