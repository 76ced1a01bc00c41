"""Dropout: its rate, scale and seed, and where it does nothing."""

import math

import numpy as np
import pytest

import minidl as md
from minidl import nn

SHAPE = (200, 300)


@pytest.mark.parametrize("kernels", ["fast", "reference"])
def test_which_are_dropped_is_splitmix64(kernels, monkeypatch):
    """The generator's published first numbers for the seed 1234567."""
    published = [
        6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431,
        16408922859458223821,
    ]  # fmt: skip
    monkeypatch.setattr(md.config, "kernels", kernels)
    for p in (0.2, 0.4, 0.8):
        y = md.kernels.use("dropout").dropout(np.ones(5), np.array([1234567], np.uint64), p)
        np.testing.assert_array_equal(y == 0, [number / 2**64 < p for number in published])


def test_nothing_but_the_seed_is_kept_for_the_gradient():
    x = ones()
    y = md.ops.dropout(x, 0.5, True)
    assert [kept.size for kept in y.edge.kept.values() if isinstance(kept, np.ndarray)] == [1]


def ones(dtype=np.float32) -> md.Tensor:
    return md.tensor(np.ones(SHAPE, dtype), requires_grad=True)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rate_and_scale(p, dtype):
    md.manual_seed(0)
    y = nn.Dropout(p)(ones(dtype)).data
    assert y.dtype == dtype
    dropped = y == 0
    np.testing.assert_array_equal(y[~dropped], dtype(1 / (1 - p)))
    error = 5 * math.sqrt(p * (1 - p) / y.size)
    assert abs(dropped.mean() - p) < error
    # by rows and columns too: no pattern
    for axis in (0, 1):
        error = 5.5 * math.sqrt(p * (1 - p) / SHAPE[axis])
        assert np.abs(dropped.mean(axis=axis) - p).max() < error
    neighbours = (dropped[:, 1:] & dropped[:, :-1]).mean()
    assert abs(neighbours - p * p) < 0.01


def test_gradients_go_where_the_numbers_went():
    md.manual_seed(1)
    x = ones()
    y = nn.Dropout(0.3)(x)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, y.data)


def test_each_call_draws_anew_and_the_seed_brings_it_back():
    layer = nn.Dropout(0.5)
    md.manual_seed(2)
    first, second = layer(ones()).data, layer(ones()).data
    assert not np.array_equal(first, second)
    md.manual_seed(2)
    np.testing.assert_array_equal(layer(ones()).data, first)
    np.testing.assert_array_equal(layer(ones()).data, second)
    md.manual_seed(3)
    assert not np.array_equal(layer(ones()).data, first)


def test_float64_drops_what_float32_does():
    masks = []
    for dtype in (np.float32, np.float64):
        md.manual_seed(4)
        masks.append(nn.Dropout(0.4)(ones(dtype)).data == 0)
    np.testing.assert_array_equal(*masks)


def test_the_number_of_threads_does_not_matter():
    most = md.config.num_threads
    draws = []
    for threads in (1, most):
        md.set_num_threads(threads)
        md.manual_seed(5)
        draws.append(nn.Dropout(0.4)(ones()).data)
    np.testing.assert_array_equal(*draws)


@pytest.mark.parametrize("layer", [nn.Dropout(0.5).eval(), nn.Dropout(0.0), nn.Dropout(1.0).eval()])
def test_it_does_nothing_in_eval_mode_or_with_p_0(layer):
    """Nor does it draw: the numbers after it are those without it."""
    md.manual_seed(6)
    expected = nn.Linear(3, 2).weight.data
    md.manual_seed(6)
    x = ones()
    np.testing.assert_array_equal(layer(x).data, x.data)
    np.testing.assert_array_equal(nn.Linear(3, 2).weight.data, expected)


def test_p_1_drops_all():
    x = ones()
    y = nn.Dropout(1)(x)
    y.sum().backward()
    assert not y.data.any()
    assert not x.grad.any()
    assert y.dtype == np.float32


def test_every_part_of_a_model_draws_its_own():
    model = nn.Sequential(nn.Dropout(0.5), nn.Dropout(0.5))
    md.manual_seed(7)
    kept = (model(ones()).data != 0).mean()
    assert abs(kept - 0.25) < 0.02


def test_eval_of_the_model_reaches_it():
    model = nn.Sequential(nn.Sequential(nn.Dropout(0.5)))
    assert (model.eval()(ones()).data == 1).all()
    assert not (model.train()(ones()).data == 1).any()


# Stochastic depth


@pytest.mark.parametrize("p", [0.2, 0.7])
def test_stochastic_depth_drops_whole_samples(p):
    md.manual_seed(0)
    x = np.random.default_rng(1).uniform(1, 2, (3000, 2, 3)).astype(np.float32)
    y = nn.StochasticDepth(p)(md.tensor(x)).data
    dropped = (y == 0).all(axis=(1, 2))
    np.testing.assert_array_equal(y[~dropped], x[~dropped] * np.float32(1 / (1 - p)))
    assert not y[dropped].any()
    assert abs(dropped.mean() - p) < 5 * math.sqrt(p * (1 - p) / len(x))


def test_stochastic_depth_drops_a_whole_batch():
    md.manual_seed(0)
    layer, x = nn.StochasticDepth(0.4, "batch"), np.ones((5, 3), np.float32)
    seen = [float(np.unique(layer(x).data)[()].item()) for _ in range(2000)]
    assert set(seen) == {0, float(np.float32(1 / 0.6))}
    assert abs(np.mean(np.equal(seen, 0)) - 0.4) < 5 * math.sqrt(0.24 / 2000)
    np.testing.assert_array_equal(layer.eval()(x).data, x)
