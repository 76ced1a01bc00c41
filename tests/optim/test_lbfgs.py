"""L-BFGS finds minima that are known in closed form."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.errors import GradError
from minidl.optim.lbfgs import lbfgs


def rosenbrock(x):
    """Of n numbers, with its minimum 0 at ones, at the end of a bent valley."""
    a, b = x[1:] - x[:-1] ** 2, 1 - x[:-1]
    gradient = np.zeros_like(x)
    gradient[1:] += 200 * a
    gradient[:-1] += -400 * a * x[:-1] - 2 * b
    return float((100 * a**2 + b**2).sum()), gradient


@pytest.mark.parametrize("n", [2, 20])
def test_rosenbrock(n):
    found = lbfgs(rosenbrock, np.tile([-1.2, 1.0], n // 2), 1e-9)
    np.testing.assert_allclose(found.x, np.ones(n), atol=1e-8)
    assert found.converged
    assert found.gradient_norm <= 1e-9
    assert found.value == pytest.approx(0, abs=1e-15)


@given(st.integers(1, 30), st.floats(0, 4), st.floats(-6, 6), st.integers(0, 99))
def test_quadratics_of_any_scale(n, condition, scale, seed):
    """Far from 0 as values go: near the minimum rounding hides what a step gains."""
    random = np.random.default_rng(seed)
    basis = np.linalg.qr(random.standard_normal((n, n)))[0]
    matrix = basis @ np.diag(10 ** random.uniform(0, condition, n)) @ basis.T * 10**scale
    target = random.standard_normal(n)

    def quadratic(x):
        gradient = matrix @ (x - target)
        return float((x - target) @ gradient / 2 + 10**scale), gradient

    start = np.zeros(n)
    first = np.linalg.norm(quadratic(start)[1])
    found = lbfgs(quadratic, start, 1e-9 * first)
    assert found.converged
    assert np.linalg.norm(quadratic(found.x)[1]) <= 1e-9 * first
    np.testing.assert_array_equal(start, 0)


def test_a_step_into_the_undefined_is_taken_back():
    def barrier(x):  # x - log(x), undefined from 0 down, with its minimum 0 at 1
        with np.errstate(invalid="ignore", divide="ignore"):
            return float((x - np.log(x)).sum()), 1 - 1 / x

    found = lbfgs(barrier, np.array([0.05, 30.0]), 1e-10)
    assert found.converged
    np.testing.assert_allclose(found.x, 1, rtol=1e-9)


def test_it_ends_unconverged():
    found = lbfgs(rosenbrock, np.array([-1.2, 1.0]), 1e-9, max_iterations=3)
    assert (found.converged, found.iterations) == (False, 3)
    assert found.value < rosenbrock(np.array([-1.2, 1.0]))[0]
    np.testing.assert_array_equal(found.value, rosenbrock(found.x)[0])

    def wrong(x):  # a gradient that points uphill: no step descends
        return float(x @ x), -2 * x

    found = lbfgs(wrong, np.ones(3), 1e-9)
    assert not found.converged
    np.testing.assert_array_equal(found.x, 1)

    found = lbfgs(lambda x: (float(-x.sum()), -np.ones(2)), np.zeros(2), 1e-9, max_iterations=5)
    assert not found.converged  # downhill for ever


def test_at_the_minimum_already():
    found = lbfgs(rosenbrock, np.ones(4), 0.0)
    assert (found.converged, found.iterations, found.gradient_norm) == (True, 0, 0)


@pytest.mark.parametrize(("value", "slope"), [(np.nan, 1.0), (np.inf, 1.0), (1.0, np.nan)])
def test_a_start_that_is_not_finite(value, slope):
    with pytest.raises(GradError, match=r"lbfgs: the value .* at the start is not finite"):
        lbfgs(lambda x: (value, np.full(2, slope)), np.zeros(2), 1e-9)
