"""optim.LBFGS beside PyTorch's, on the same functions."""

import numpy as np
import pytest

import minidl as md
from minidl import optim

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install minidl[oracle]")

START = np.tile([-1.2, 1.0], 5)


def valley(x):
    """Rosenbrock's function."""
    a, b = x[1:] - x[:-1] ** 2, 1 - x[:-1]
    return (100 * a * a + b * b).sum()


def run(kind, x, steps, **settings):
    values = []
    optimizer = kind([x], **settings)

    def closure():
        optimizer.zero_grad()
        loss = valley(x)
        loss.backward()
        values.append(loss.item())
        return loss

    for _ in range(steps):
        optimizer.step(closure)
    return values


@pytest.mark.parametrize("history", [3, 10])
def test_without_a_search_the_same_trajectory(history):
    """Nothing is left to choose. PyTorch doesn't evaluate where the last step leads to."""
    settings = {"lr": 0.1, "max_iter": 8, "history_size": history}
    x, y = md.tensor(START, requires_grad=True), torch.tensor(START, requires_grad=True)
    theirs = run(torch.optim.LBFGS, y, 1, **settings)
    ours = run(optim.LBFGS, x, 1, **settings)
    np.testing.assert_allclose(ours[:-1], theirs, rtol=1e-9)
    np.testing.assert_allclose(x.data, y.detach().numpy(), rtol=1e-9)


def test_with_a_search_as_few_evaluations():
    settings = {"max_iter": 100, "max_eval": 200, "line_search_fn": "strong_wolfe"}
    x, y = md.tensor(START, requires_grad=True), torch.tensor(START, requires_grad=True)
    theirs = run(torch.optim.LBFGS, y, 1, **settings)
    ours = run(optim.LBFGS, x, 1, **settings)
    np.testing.assert_allclose(x.data, y.detach().numpy(), atol=1e-4)
    assert len(ours) < 1.5 * len(theirs)
