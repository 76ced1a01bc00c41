"""find_learning_rate: the rates and losses of a loop by hand, and that nothing is left of it."""

import math

import numpy as np
import pytest
from small import a_loader, a_model, bits, generators

import minidl as md
from minidl import data, nn, optim
from minidl.errors import ArgumentError
from minidl.train.range_finder import LearningRateRange, find_learning_rate


def in_the_middle(make=optim.SGD, seed=1):
    """Parts that have trained a little: gradients, momenta, modes and a position of their own."""
    model, loader = a_model(seed), a_loader()
    settings = {"momentum": 0.9} if make is optim.SGD else {}
    groups = [
        {"params": list(model[0].parameters()), "lr": 0.02},
        {"params": [*model[1].parameters(), *model[3].parameters()], "lr": 0.1},
    ]
    optimizer = make(groups, lr=0.1, **settings)
    for (x, y), _ in zip(loader, range(3)):
        optimizer.zero_grad()
        nn.CrossEntropyLoss()(model(x), y).backward()
        optimizer.step()
    model[1].eval()
    model[0].freeze()
    model[0].unfreeze()
    return model, optimizer, loader


def all_of(model, optimizer, loader):
    return bits(
        [
            model.state_dict(),
            [module.training for module in model.modules()],
            [p.grad for p in model.parameters()],
            [p.requires_grad for p in model.parameters()],
            optimizer.state_dict(),
            [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups],
            loader.state_dict(),
        ]
    ), generators()


@pytest.mark.parametrize("make", [optim.SGD, optim.Adam, optim.RMSprop])
def test_all_is_as_it_was(make):
    parts = in_the_middle(make)
    before, places = all_of(*parts), [p.data for p in parts[0].parameters()]
    found = find_learning_rate(*parts, steps=30)
    assert all_of(*parts) == before
    assert all(p.data is place for p, place in zip(parts[0].parameters(), places, strict=True))
    assert len(found.rates) == len(found.losses)
    # And so the next training is the same.
    other = in_the_middle(make)
    for model, optimizer, loader in (parts, other):
        md.manual_seed(4)
        for x, y in loader:
            nn.CrossEntropyLoss()(model(x), y).backward()
            optimizer.step()
    assert bits(parts[0].state_dict()) == bits(other[0].state_dict())


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_all_is_as_it_was_after_an_exception(error):
    parts = in_the_middle()
    before, losses = all_of(*parts), []

    def loss(outputs, target):
        losses.append(1)
        if len(losses) == 8:
            raise error
        return nn.functional.cross_entropy(outputs, target)

    with pytest.raises(error):
        find_learning_rate(*parts, loss)
    assert all_of(*parts) == before


def test_rates_and_losses_are_those_of_a_loop_by_hand():
    model = nn.Linear(5, 3)
    start = model.state_dict()
    loader = list(a_loader(shuffle=False))
    groups = [{"params": [model.weight], "lr": 0.5}, {"params": [model.bias], "lr": 0.1}]
    optimizer = optim.SGD(groups, lr=1)
    found = find_learning_rate(model, optimizer, loader, lowest=1e-3, highest=0.1, steps=9)
    assert bits(model.state_dict()) == bits(start)

    rates = [1e-3 * 100 ** (i / 8) for i in range(9)]
    np.testing.assert_allclose(found.rates, rates, rtol=1e-12)
    weight, bias = (start[name].astype(np.float64) for name in ("weight", "bias"))
    plain = []
    for i, rate in enumerate(rates):  # 9 batches: one epoch of 6 and a half
        x, labels = loader[i % 6]
        scores = x.astype(np.float64) @ weight + bias
        p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        plain.append(-np.log(p[np.arange(len(x)), labels]).mean())
        slope = (p - np.eye(3)[labels]) / len(x)
        weight -= rate * (x.T @ slope)
        bias -= rate / 5 * slope.sum(axis=0)  # keeps its ratio
    weights = [0.9 ** np.arange(i + 1)[::-1] for i in range(9)]
    smoothed = [(w @ plain[: i + 1]) / w.sum() for i, w in enumerate(weights)]
    np.testing.assert_allclose(found.losses, smoothed, rtol=1e-5)


def test_it_ends_where_the_loss_diverges():
    losses = iter([1.0] * 20 + [1e3] * 80)
    model = nn.Linear(5, 3)
    optimizer = optim.SGD(model.parameters(), lr=1)
    found = find_learning_rate(
        model, optimizer, a_loader(), lambda outputs, target: outputs.sum() * 0 + next(losses)
    )
    assert len(found.rates) == 20
    np.testing.assert_allclose(found.losses, 1)
    losses = iter([1.0] * 7 + [math.inf])
    found = find_learning_rate(
        model, optimizer, a_loader(), lambda outputs, target: outputs.sum() * 0 + next(losses)
    )
    assert len(found.losses) == 7


def test_a_real_descent():
    """Least squares, for which plain gradient descent diverges above 2 / the largest eigenvalue."""
    random = np.random.default_rng(0)
    x = random.standard_normal((64, 6)).astype(np.float32)
    y = (x @ random.standard_normal((6, 1)) + 1).astype(np.float32)
    model = nn.Linear(6, 1)
    optimizer = optim.SGD(model.parameters(), lr=1)
    loader = data.DataLoader(data.ArrayDataset(x, y), 64)
    found = find_learning_rate(model, optimizer, loader, nn.functional.mse_loss, 1e-5, 100)
    ones = np.column_stack([x, np.ones(64)])
    limit = 2 / np.linalg.eigvalsh(2 * ones.T @ ones / 64).max()
    assert limit < found.rates[-1] < 10 * limit
    assert limit / 100 < found.suggested < limit


def test_the_suggestion_is_below_the_least_loss():
    log_rates = np.linspace(-6, 0, 200)
    valley = 2 - np.tanh(3 * (log_rates + 3)) + np.where(log_rates > -1, 5 * (log_rates + 1), 0)
    found = LearningRateRange(10**log_rates, valley)
    assert found.suggested == pytest.approx(0.01, rel=0.1)
    noisy = valley + np.where(np.arange(200) < 40, 1, 0)  # the steepest fall, and no learning
    assert LearningRateRange(10**log_rates, noisy).suggested == found.suggested
    early = np.where(np.arange(200) < 10, 0, valley)  # the mean of a few batches
    assert LearningRateRange(10**log_rates, early).suggested == found.suggested
    figure = found.plot()
    line, mark = figure.axes[0].get_lines()
    np.testing.assert_array_equal(line.get_xdata(), found.rates)
    assert mark.get_xdata()[0] == found.suggested


@pytest.mark.parametrize("losses", [[1.0], [1.0, 1.0, 1.0], [1.0, 2.0, 3.0]])
def test_no_fall_no_suggestion(losses):
    found = LearningRateRange(np.geomspace(1e-3, 1, len(losses)), np.array(losses))
    with pytest.raises(ArgumentError, match="the loss never falls"):
        _ = found.suggested
    assert len(found.plot().axes[0].get_lines()) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lowest": 0}, "expected 0 < lowest < highest, got 0.0 and 10.0"),
        ({"lowest": 1, "highest": 1}, "expected 0 < lowest < highest"),
        ({"highest": math.nan}, "highest must be a finite number"),
        ({"steps": 1}, "steps must be a whole number from 2 up, got 1"),
        ({"steps": 2.5}, "steps must be a whole number"),
        ({"loader": []}, "the loader has no batches"),
        ({"loader": [(1, 2, 3)]}, r"find_learning_rate expected batches \(x, target\)"),
        ({"loss": lambda y, t: y.sum() * math.nan}, "the loss of the first batch isn't finite"),
    ],
)
def test_bad_arguments(settings, message):
    model = nn.Linear(5, 3)
    given = {"loader": a_loader(), "optimizer": optim.SGD(model.parameters(), lr=1), **settings}
    with pytest.raises(ArgumentError, match=message):
        find_learning_rate(model, **given)


def test_a_first_rate_of_0_has_no_ratio():
    model = nn.Linear(5, 3)
    with pytest.raises(ArgumentError, match="first group has lr 0"):
        find_learning_rate(model, optim.SGD(model.parameters(), lr=0), a_loader())


class OwnLoader(list):
    """With a position that each pass moves on."""

    position = 2

    def __iter__(self):
        for batch in super().__iter__():
            self.position += 1
            yield batch

    def state_dict(self):
        return {"position": self.position}

    def load_state_dict(self, state):
        self.position = state["position"]


def test_a_users_loader_is_put_back_too():
    model, loader = nn.Linear(5, 3), OwnLoader(a_loader())
    find_learning_rate(model, optim.SGD(model.parameters(), lr=1), loader, steps=8)
    assert loader.position == 2
