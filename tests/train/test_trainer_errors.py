"""What the Trainer refuses, in words that tell how to mend it."""

import functools

import numpy as np
import pytest
from small import a_loader, a_model, an_optimizer, arrays, assert_same_bits, train_by_hand

from minidl import data, nn, optim
from minidl.errors import ArgumentError, GradError
from minidl.train import Trainer, accuracy


def a_trainer(metrics=(), loss=None, model=None):
    model = a_model() if model is None else model
    return Trainer(model, an_optimizer(model), loss, metrics)


def test_a_loss_that_is_not_finite_ends_training_with_the_weights_of_the_batch_before():
    x, labels = arrays()
    x[13] = np.nan  # in the fourth batch of four rows
    loader = data.DataLoader(data.ArrayDataset(x, labels), 4, seed=0)
    trainer = a_trainer()
    trainer.ema = optim.EMA(trainer.model.parameters(), 0.9)
    with pytest.raises(GradError, match=r"the loss is nan at epoch 1, batch 4: lower the"):
        trainer.fit(loader, 2, progress=False)
    assert (trainer.epoch, len(trainer.history)) == (0, 0)

    model = a_model()
    optimizer, ema = an_optimizer(model), optim.EMA(model.parameters(), 0.9)
    three = data.DataLoader(data.ArrayDataset(x[:12], labels[:12]), 4, seed=0)
    train_by_hand(model, optimizer, three, 1, ema=ema)
    for got, expected in zip(trainer.model.parameters(), model.parameters(), strict=True):
        np.testing.assert_array_equal(got.data, expected.data)
    assert_same_bits(trainer.ema.state_dict()["averages"], ema.state_dict()["averages"])
    for number, state in optimizer.state_dict()["state"].items():
        assert_same_bits(trainer.optimizer.state_dict()["state"][number], state)


def test_the_epoch_and_batch_are_those_of_the_whole_training():
    model = a_model()
    losses = iter([1.0] * 8 + [float("inf")])
    trainer = a_trainer(loss=lambda outputs, target: outputs.sum() * 0 + next(losses), model=model)
    with pytest.raises(GradError, match="the loss is inf at epoch 2, batch 3"):
        trainer.fit(a_loader(), 5, progress=False)
    assert trainer.history["epoch"] == [1]


@pytest.mark.parametrize("epochs", [-1, 1.5, True, "3", None, np.float64(2)])
def test_bad_epochs(epochs):
    with pytest.raises(ArgumentError, match="fit: epochs must be a whole number from 0 up, got"):
        a_trainer().fit(a_loader(), epochs, progress=False)


def test_an_empty_loader():
    with pytest.raises(ArgumentError, match="fit: the loader has no batches"):
        a_trainer().fit([], 1, progress=False)


@pytest.mark.parametrize(
    ("batch", "found"),
    [
        ((np.zeros((4, 5), np.float32),), "1 parts"),
        ([1, 2, 3], "3 parts"),
        (np.zeros((2, 5), np.float32), "ndarray"),
    ],
)
@pytest.mark.parametrize("call", ["fit", "evaluate"])
def test_batches_that_are_no_pairs(call, batch, found):
    trainer = a_trainer()
    settings = {"epochs": 1, "progress": False} if call == "fit" else {}
    with pytest.raises(
        ArgumentError, match=rf"{call} expected batches \(x, target\), got {found}: .*DataLoader"
    ):
        getattr(trainer, call)([batch], **settings)


@pytest.mark.parametrize("metric", ["acuracy", 3, None])
def test_unknown_metrics(metric):
    with pytest.raises(
        ArgumentError,
        match=rf"metrics are functions or names of \['accuracy.*\], got {metric!r}",
    ):
        a_trainer([metric])


@pytest.mark.parametrize(
    ("metrics", "name"),
    [
        ([lambda y, t: 1.0, lambda y, t: 2.0], "<lambda>"),
        (["accuracy", accuracy], "accuracy"),
        ([functools.partial(accuracy), functools.partial(accuracy)], "partial"),
    ],
)
def test_two_metrics_of_one_name_would_hide_one_another(metrics, name):
    with pytest.raises(ArgumentError, match=f"a metric is called '{name}' like another column"):
        a_trainer(metrics)


@pytest.mark.parametrize("name", ["loss", "epoch", "lr", "seconds", "val_loss", "val_right"])
def test_a_metric_must_not_hide_a_column(name):
    metric = functools.partial(accuracy)
    metric.__name__ = name
    with pytest.raises(ArgumentError, match="give it its own __name__"):
        a_trainer([metric])
    metric.__name__ = "right"
    assert "right" in a_trainer([metric]).evaluate(a_loader())


def test_errors_of_the_layers_come_through():
    model = nn.Sequential(nn.Linear(5, 2))
    trainer = Trainer(model, an_optimizer(model))
    with pytest.raises(ArgumentError, match="labels from 0 to 1, got 2"):
        trainer.fit(a_loader(), 1, progress=False)


def test_a_metric_gives_one_number():
    def hits(outputs, targets):
        return outputs.argmax(1) == targets

    with pytest.raises(ArgumentError, match=r"metric 'hits' must return one number.*take its mean"):
        a_trainer([hits]).fit(a_loader(), 1, progress=False)

    def quarter(outputs, targets):
        return np.array([0.25])

    trainer = a_trainer([quarter])
    trainer.fit(a_loader(), 1, progress=False)
    assert trainer.history["quarter"] == [0.25]
