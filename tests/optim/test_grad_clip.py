"""Gradient clipping. Values are in test_trajectories.py."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from minidl.autograd import Tensor
from minidl.errors import ArgumentError, DTypeError, GradError, ShapeError
from minidl.optim import clip_grad_norm, clip_grad_value


def with_gradients(*gradients):
    params = [Tensor(np.zeros_like(g), True) for g in gradients]
    for p, g in zip(params, gradients, strict=True):
        p.grad = np.array(g)
    return params


@given(
    st.lists(arrays(np.float64, st.integers(0, 6), elements=st.floats(-1e9, 1e9)), min_size=1),
    st.floats(1e-3, 1e3),
    st.sampled_from([1.0, 1.5, 2.0, 4.0, math.inf]),
)
def test_norm_after_is_at_most_the_limit(gradients, limit, p):
    params = with_gradients(*gradients)
    whole = np.concatenate(gradients)
    expected = np.linalg.norm(whole, p) if whole.size else 0.0
    total = clip_grad_norm(params, limit, p)
    assert total == pytest.approx(expected, rel=1e-9)
    after = np.concatenate([p.grad for p in params])
    if after.size:
        assert np.linalg.norm(after, p) <= limit * (1 + 1e-9)
    if expected < limit - 1e-6:
        np.testing.assert_array_equal(after, whole)
    elif expected > 0:
        np.testing.assert_allclose(after * (expected / limit), whole, rtol=2e-6 / limit, atol=1e-9)


@pytest.mark.parametrize("scale", [1e-200, 1e-30, 1.0, 1e30, 1e200])
@pytest.mark.parametrize("p", [1.0, 2.0, 8.0])
def test_norm_neither_overflows_nor_underflows(scale, p):
    params = with_gradients(np.full(4, 3.0) * scale, np.full(5, -3.0) * scale)
    assert clip_grad_norm(params, math.inf, p) == pytest.approx(3 * scale * 9 ** (1 / p), rel=1e-12)


def test_float32_stays_and_is_summed_in_float64():
    rng = np.random.default_rng(0)
    g = (1e25 * rng.normal(size=200_001)).astype(np.float32)  # its squares are infinite in float32
    (p,) = params = with_gradients(g)
    exact = math.sqrt(math.fsum(float(x) ** 2 for x in g))
    array = p.grad
    assert clip_grad_norm(params, 2.0) == pytest.approx(exact, rel=1e-12)
    assert p.grad is array
    assert p.grad.dtype == np.float32
    assert np.linalg.norm(p.grad) == pytest.approx(2.0, rel=1e-5)


def test_an_infinite_limit_only_measures():
    params = with_gradients(np.array([3.0, 4.0]))
    assert clip_grad_norm(params, math.inf) == 5.0
    np.testing.assert_array_equal(params[0].grad, [3, 4])


def test_tensors_without_a_gradient_count_for_nothing():
    params = with_gradients(np.array([3.0, 4.0]))
    still = Tensor(np.ones(3), True)
    assert clip_grad_norm([still, *params], 1.0) == 5.0
    clip_grad_value([still, *params], 1.0)
    assert still.grad is None
    assert clip_grad_norm([still], 1.0) == 0.0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_norm_that_is_not_finite_names_the_parameter(bad):
    params = with_gradients(np.full(3, 100.0), np.array([[1.0, bad]]))
    text = rf"clip_grad_norm: the gradient of parameter 1, of shape \(1, 2\), holds {abs(bad)}"
    with pytest.raises(GradError, match=text):
        clip_grad_norm(params, 1.0)
    np.testing.assert_array_equal(params[0].grad, 100)


def test_a_norm_beyond_the_largest_number():
    params = with_gradients(np.full(3, 1.7e308))
    with pytest.raises(GradError, match="the norm of the gradients is inf: they are too large"):
        clip_grad_norm(params, 1.0)


def test_value():
    params = with_gradients(np.array([-3.0, 0.5, math.nan, 2.0]), np.array(7, np.float32))
    assert clip_grad_value(params, 1.5) is None
    np.testing.assert_array_equal(params[0].grad, [-1.5, 0.5, math.nan, 1.5])
    np.testing.assert_array_equal(params[1].grad, np.float32(1.5), strict=False)
    assert params[1].grad.dtype == np.float32


A = Tensor(np.zeros(2), True)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda: clip_grad_norm([A], 0),
            ArgumentError,
            "clip_grad_norm expected max_norm to be a number above 0, or inf, got 0",
        ),
        (lambda: clip_grad_norm([A], math.nan), ArgumentError, "max_norm .* got nan"),
        (lambda: clip_grad_norm([A], 1, 0.5), ArgumentError, "norm_type .* from 1 up, .* got 0.5"),
        (lambda: clip_grad_norm([], 1), ArgumentError, "clip_grad_norm got no parameters"),
        (lambda: clip_grad_norm(A, 1), DTypeError, "got a Tensor: put it in a list"),
        (lambda: clip_grad_norm([A, A], 1), ArgumentError, "the same tensor at positions 0 and 1"),
        (lambda: clip_grad_value([A], -1), ArgumentError, "clip_grad_value expected clip_value"),
        (lambda: clip_grad_value([1.0], 1), DTypeError, "expected Tensors, got a float"),
    ],
)
def test_refuses(call, error, text):
    with pytest.raises(error, match=text):
        call()


@pytest.mark.parametrize("clip", [clip_grad_norm, clip_grad_value])
@pytest.mark.parametrize(
    ("g", "error", "text"),
    [
        (np.ones(3), ShapeError, r"parameter 1, expected .grad of shape \(2,\), got \(3,\)"),
        (np.ones(2, np.float32), DTypeError, "expected .grad of dtype float64, got float32"),
        (1.0, DTypeError, "an ndarray or None, got a float"),
    ],
)
def test_refuses_a_gradient_unlike_its_tensor(clip, g, error, text):
    params = with_gradients(np.full(2, 9.0), np.ones(2))
    params[1].grad = g
    with pytest.raises(error, match=text):
        clip(params, 1.0)
    np.testing.assert_array_equal(params[0].grad, 9)
