"""Weights between two networks, and which of them images that were held out speak for."""

import numpy as np
import pytest

from minidl import nn
from minidl.train.shares import SHARES, Tried, set_between, weights_of


def test_between():
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    start = weights_of(network)
    end = {name: array + 1 for name, array in start.items()}
    for share in SHARES:
        set_between(network, start, end, share)
        for name, array in network.state_dict().items():
            assert array.dtype == start[name].dtype
            np.testing.assert_allclose(array, start[name] + share, rtol=1e-6)
    set_between(network, start, end, 0.0)
    assert all(np.array_equal(a, start[n]) for n, a in network.state_dict().items())


def tried(losses):
    """Of images whose right class 0 has these losses, of two classes."""
    found = np.array(losses, np.float64)
    return Tried(found, (np.exp(-found) > 0.5).astype(np.float64))


def test_rows():
    found = tried([[0.1, 1.0], [0.2, 0.4], [0.3, 0.3], [0.1, 0.1], [2.0, 2.0]]).rows()
    assert [row["share"] for row in found] == list(SHARES)
    assert [row["loss"] for row in found] == pytest.approx([0.55, 0.3, 0.3, 0.1, 2.0])
    assert [row["accuracy"] for row in found] == [0.5, 1, 1, 1, 0]  # log 2 is 0.69


def test_images_that_count_more():
    losses = np.array([[0.1, 1.0]] * 5)
    counts = np.array([0.5, 1.5])
    found = Tried(counts * losses, np.tile(counts * [1, 0], (5, 1)))
    assert found.rows()[0]["loss"] == pytest.approx((0.5 * 0.1 + 1.5 * 1.0) / 2)
    assert found.rows()[0]["accuracy"] == 0.25
    both = Tried.joined([found, tried(losses)])
    assert both.count == 4
    assert both.losses[0].tolist() == pytest.approx([0.05, 1.5, 0.1, 1.0])


def test_what_is_clearly_better_is_taken():
    losses = np.random.default_rng(0).uniform(0.1, 0.6, 100)
    assert tried([losses, losses * 0.8, losses * 0.5, losses * 0.6, losses]).best() == 0.5


def test_what_may_be_chance_is_not():
    """A gain of one and a half standard errors tells nothing; one of three does."""
    random = np.random.default_rng(0)
    losses, noise = random.uniform(0.3, 0.4, 100), random.normal(0, 0.1, 100)
    noise = np.clip(noise, -0.25, 0.25)
    noise = (noise - noise.mean()) * 0.1 / noise.std()  # whose mean has a standard error of 0.01
    half, more, three = (losses + noise - by for by in (0.005, 0.015, 0.03))
    assert tried([losses, losses, losses, losses, more]).best() == 0
    assert tried([losses, losses, losses, losses, three]).best() == 1
    assert tried([three + 1, losses, losses, losses, half]).best() == 0.25
    assert tried([three + 1, losses, losses, losses, more]).best() == 1


def test_a_share_that_gets_fewer_right_is_not_taken():
    """However small its loss: it may be surer of what it gets right."""
    losses = np.full(100, 0.6)
    surer = np.full(100, 0.1)
    surer[:2] = 3.0  # now wrong
    assert surer.mean() < losses.mean()
    assert tried([losses, surer, losses, losses, losses]).best() == 0
    assert tried([losses, surer, losses * 0.5, surer, surer]).best() == 0.5


def test_one_image_fewer_right_says_nothing():
    """Two turn right and three wrong: that may be chance. One and four is a standard error."""
    losses, surer = np.full(100, 0.5), np.full(100, 0.2)
    losses[:2] = 1.0  # wrong
    surer[2:5] = 0.8  # wrong
    assert tried([losses, losses, losses, losses, surer]).best() == 1
    surer[[0, 5]] = 0.8
    assert tried([losses, losses, losses, losses, surer]).best() == 0
