"""optim.LBFGS: `step(closure)` on parameters, by scipy's L-BFGS and closed forms."""

import numpy as np
import pytest
from scipy import optimize
from test_lbfgs import rosenbrock

import minidl as md
from minidl import optim
from minidl.errors import ArgumentError, DTypeError, GradError, StateError

START = np.tile([-1.2, 1.0], 5)


def valley(*parameters):
    """Rosenbrock's function of all numbers of the parameters, and how often it was asked for."""
    calls = []

    def closure():
        for p in parameters:
            p.grad = None
        x = md.cat([p.reshape(-1) for p in parameters])
        a, b = x[1:] - x[:-1] * x[:-1], 1 - x[:-1]
        loss = (100 * a * a + b * b).sum()
        loss.backward()
        calls.append(loss.item())
        return loss

    return closure, calls


def test_rosenbrock_in_two_parameters_as_fast_as_scipy():
    theirs = optimize.minimize(rosenbrock, START, jac=True, method="L-BFGS-B", tol=1e-14)
    a = md.tensor(START[:4].reshape(2, 2), requires_grad=True)
    b = md.tensor(START[4:], requires_grad=True)
    closure, calls = valley(a, b)
    optimizer = optim.LBFGS([a, b], max_iter=200, history_size=10, line_search_fn="strong_wolfe")
    first = optimizer.step(closure)
    assert first.item() == pytest.approx(rosenbrock(START)[0])
    for p, part in ((a, theirs.x[:4].reshape(2, 2)), (b, theirs.x[4:])):
        np.testing.assert_allclose(p.data, part, atol=1e-6)
        np.testing.assert_allclose(p.data, 1, atol=1e-6)
    assert len(calls) < 2 * theirs.nfev


def test_steps_of_lr_on_a_quadratic_without_a_search():
    """Closed form: the first step is lr / sum |g| along -g."""
    x = md.tensor(np.array([3.0, -1.0]), requires_grad=True)

    def closure():
        x.grad = None
        loss = (x * x).sum()
        loss.backward()
        return loss

    optim.LBFGS([x], lr=0.5, max_iter=1).step(closure)
    np.testing.assert_allclose(x.data, [3 - 0.5 / 8 * 6, -1 + 0.5 / 8 * 2])
    optim.LBFGS([x], max_iter=30).step(closure)
    np.testing.assert_allclose(x.data, 0, atol=1e-6)


def test_float32_stays_and_evaluations_are_bounded():
    x = md.tensor(START.astype(np.float32), requires_grad=True)
    closure, calls = valley(x)
    optim.LBFGS([x], max_iter=50, max_eval=7, line_search_fn="strong_wolfe").step(closure)
    assert (x.dtype, len(calls)) == (np.float32, 7)
    assert rosenbrock(x.data.astype(float))[0] == pytest.approx(min(calls), rel=1e-5)


def test_a_state_continues_to_the_bit():
    def run(split):
        x = md.tensor(START, requires_grad=True)
        closure, _ = valley(x)
        optimizer = optim.LBFGS([x], max_iter=5, line_search_fn="strong_wolfe")
        optimizer.step(closure)
        if split:
            state = optimizer.state_dict()
            optimizer = optim.LBFGS([x], max_iter=5, line_search_fn="strong_wolfe")
            optimizer.load_state_dict(state)
        optimizer.step(closure)
        return x.data

    np.testing.assert_array_equal(run(True), run(False))
    other = optim.LBFGS([md.tensor(np.ones(3), requires_grad=True)])
    with pytest.raises(StateError, match=r"expected float64 of shape \(K, 3\)"):
        other.load_state_dict({"steps": np.ones((2, 4)), "changes": np.ones((2, 4))})
    with pytest.raises(StateError, match="'steps' and 'changes'"):
        other.load_state_dict({})


def test_an_interrupt_leaves_the_best_point():
    x = md.tensor(START, requires_grad=True)
    closure, calls = valley(x)

    def interrupted():
        if len(calls) == 9:
            raise KeyboardInterrupt
        return closure()

    with pytest.raises(KeyboardInterrupt):
        optim.LBFGS([x], max_iter=50, line_search_fn="strong_wolfe").step(interrupted)
    assert rosenbrock(x.data)[0] == pytest.approx(min(calls))


def test_what_it_refuses():
    x = md.tensor(np.ones(2), requires_grad=True)
    for arguments, error, match in (
        ({"lr": 0}, ArgumentError, "lr must be above 0"),
        ({"max_iter": 0}, ArgumentError, "max_iter must be a whole number"),
        ({"history_size": 1.5}, ArgumentError, "history_size"),
        ({"line_search_fn": "armijo"}, ArgumentError, "'strong_wolfe' or None, got 'armijo'"),
    ):
        with pytest.raises(error, match=match):
            optim.LBFGS([x], **arguments)
    with pytest.raises(DTypeError, match="parameters of one dtype"):
        optim.LBFGS([x, md.tensor(np.ones(2, np.float32))])
    with pytest.raises(DTypeError, match="a function that computes the loss"):
        optim.LBFGS([x]).step(None)

    def undefined():
        loss = (x * np.nan).sum()
        loss.backward()
        return loss

    with pytest.raises(GradError, match="not finite at the start"):
        optim.LBFGS([x]).step(undefined)
