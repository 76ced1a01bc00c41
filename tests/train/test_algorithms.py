"""Which algorithm computes the convolutions doesn't show in what a network learns."""

import numpy as np
import pytest

import minidl as md
from minidl import data, nn, optim

EPOCHS = 3


def accuracy(convolution, monkeypatch):
    """Share of scikit-learn's digits that a small network has right, after training on others."""
    monkeypatch.setattr(md.config, "convolution", convolution)
    md.manual_seed(0)
    training, test = data.digits()
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, activation="relu"),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1, activation="relu"),
        nn.Conv2d(32, 32, 3, padding=1, activation="relu"),
        nn.MaxPool2d(4),
        nn.Flatten(),
        nn.Linear(4 * 4 * 32, 10),
    )
    optimizer = optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(EPOCHS):
        for images, labels in data.DataLoader(training, 64, shuffle=True):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
    with md.no_grad():
        right = [
            model.eval()(images).data.argmax(axis=1) == labels
            for images, labels in data.DataLoader(test, 500)
        ]
    return np.concatenate(right).mean()


def test_winograd_learns_what_direct_convolution_does(monkeypatch):
    direct = accuracy("direct", monkeypatch)
    assert direct > 0.96
    for algorithm in ("winograd", "winograd2"):
        assert accuracy(algorithm, monkeypatch) == pytest.approx(direct, abs=0.012), algorithm
