"""The Trainer against a loop written by hand, and its history against sums by hand."""

import math

import numpy as np
import pytest
from small import (
    BATCH,
    CLASSES,
    ROWS,
    a_loader,
    a_model,
    an_optimizer,
    arrays,
    assert_same_bits,
    softmax_loss,
    train_by_hand,
)

from minidl import data, models, nn, optim
from minidl.train import History, Trainer, accuracy

EPOCHS = 4


def schedule(optimizer):
    return optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)


def weighted(batches, of):
    """The mean of `of(batch)` weighted by the batches' sizes."""
    sizes = [batch[0] for batch in batches]
    return math.fsum(size * of(batch) for size, batch in zip(sizes, batches)) / sum(sizes)


@pytest.fixture
def by_hand():
    """Model, optimizer, EMA and batches after EPOCHS epochs of the loop written out."""
    model = a_model()
    optimizer, ema = an_optimizer(model), optim.EMA(model, 0.9)
    batches = train_by_hand(model, optimizer, a_loader(), EPOCHS, schedule(optimizer), ema)
    return model, optimizer, ema, batches


def a_trainer(metrics=("accuracy",), callbacks=()):
    model = a_model()
    optimizer = an_optimizer(model)
    ema = optim.EMA(model, 0.9)
    return Trainer(
        model, optimizer, None, metrics, schedule(optimizer), ema=ema, callbacks=callbacks
    )


@pytest.mark.parametrize("validate", [False, True])
def test_same_bits_as_a_loop_by_hand(by_hand, validate):
    """Weights, running statistics, momenta, averages; validation in between changes nothing."""
    model, optimizer, ema, _ = by_hand
    trainer = a_trainer()
    validation = a_loader(rows=7, seed=3, shuffle=False) if validate else None
    trainer.fit(a_loader(), EPOCHS, validation, progress=False)
    assert_same_bits(trainer.model.state_dict(), model.state_dict())
    assert_same_bits(trainer.ema.state_dict()["averages"], ema.state_dict()["averages"])
    got, expected = trainer.optimizer.state_dict(), optimizer.state_dict()
    assert got["groups"] == expected["groups"]
    assert got["state"].keys() == expected["state"].keys()
    for number, state in expected["state"].items():
        assert_same_bits(got["state"][number], state)
    before = a_model().state_dict()
    assert all(np.any(array != before[name]) for name, array in model.state_dict().items())


def test_history_holds_what_was_computed_by_hand(by_hand):
    batches = by_hand[3]
    history = a_trainer().fit(a_loader(), EPOCHS, progress=False)
    assert len(history) == EPOCHS
    assert history["epoch"] == [1, 2, 3, 4]
    assert history["lr"] == [0.1, 0.1, 0.05, 0.05]  # the rate that the epoch was trained with
    for row, epoch in zip(history, batches, strict=True):
        assert [batch[0] for batch in epoch] == [BATCH] * 5 + [ROWS % BATCH]
        assert list(row) == ["epoch", "lr", "loss", "accuracy", "seconds"]
        assert row["loss"] == pytest.approx(weighted(epoch, lambda b: b[1]), rel=1e-12)
        right = sum((outputs.argmax(axis=1) == y).sum() for _, _, outputs, y in epoch)
        assert row["accuracy"] == pytest.approx(right / ROWS, rel=1e-12)
        assert row["seconds"] > 0
    unweighted = np.mean([batch[1] for batch in batches[0]])
    assert history["loss"][0] != pytest.approx(unweighted, rel=1e-6)  # else this shows nothing


def test_validation_columns_are_of_the_averaged_weights_in_evaluation_mode(by_hand):
    model, _, ema, _ = by_hand
    x, labels = arrays(7, seed=3)
    history = a_trainer().fit(a_loader(), EPOCHS, a_loader(7, seed=3), progress=False)
    assert list(history.rows[-1]) == [
        "epoch", "lr", "loss", "accuracy", "val_loss", "val_accuracy", "seconds",
    ]  # fmt: skip
    model.load_state_dict(ema.state_dict()["averages"])
    outputs = model.eval()(x).data
    assert history["val_loss"][-1] == pytest.approx(softmax_loss(outputs, labels), rel=1e-5)
    right = (outputs.argmax(axis=1) == labels).sum()
    assert history["val_accuracy"][-1] == pytest.approx(right / 7, rel=1e-12)


def test_fit_counts_epochs_in_all(by_hand):
    """Two epochs and two more are four; a finished training is left alone."""
    trainer, loader = a_trainer(), a_loader()
    assert trainer.fit(loader, 2, progress=False)["epoch"] == [1, 2]
    assert trainer.epoch == 2
    history = trainer.fit(loader, np.int64(EPOCHS), progress=False)
    assert history["epoch"] == [1, 2, 3, 4]
    assert history is trainer.history
    assert_same_bits(trainer.model.state_dict(), by_hand[0].state_dict())
    for epochs in (EPOCHS, 1, 0):
        assert len(trainer.fit(loader, epochs, progress=False)) == EPOCHS
    assert_same_bits(trainer.model.state_dict(), by_hand[0].state_dict())


def test_fit_sets_training_mode_for_each_epoch():
    modes = []

    def note(model, inputs, output):
        modes.append({part.training for part in model.modules()})

    trainer = a_trainer()
    trainer.model.eval().register_forward_hook(note)
    trainer.fit(a_loader(), 2, a_loader(4, shuffle=False), progress=False)
    assert modes == ([{True}] * 6 + [{False}]) * 2


def test_metrics_are_functions_or_names():
    seen = []

    def first_score(outputs, targets):
        seen.append((type(outputs), type(targets), outputs.shape, targets.shape))
        return outputs[:, 0].mean()

    class Rows:
        def __call__(self, outputs, targets):
            return len(outputs)

    trainer = a_trainer(["accuracy", first_score, Rows()])
    loader = a_loader(shuffle=False)
    row = trainer.fit(loader, 1, progress=False).rows[0]
    assert list(row) == ["epoch", "lr", "loss", "accuracy", "first_score", "Rows", "seconds"]
    assert row["Rows"] == (5 * 4 * 4 + 2 * 2) / 22  # sizes, weighted by sizes
    assert set(seen) == {
        (np.ndarray, np.ndarray, (4, CLASSES), (4,)),
        (np.ndarray, np.ndarray, (2, CLASSES), (2,)),
    }
    outputs = trainer.predict(loader)
    measured = trainer.evaluate(loader)
    assert measured["first_score"] == pytest.approx(outputs[:, 0].astype(float).mean(), rel=1e-5)
    assert list(Trainer(a_model(), None, metrics="accuracy").metrics) == ["accuracy"]


def test_targets_can_be_label_probabilities():
    x, labels = arrays()
    probabilities = np.full((ROWS, CLASSES), 0.05, np.float32)
    probabilities[np.arange(ROWS), labels] = 0.9
    loader = data.DataLoader(data.ArrayDataset(x, probabilities), BATCH)
    trainer = a_trainer()
    trainer.fit(loader, 2, progress=False)
    outputs = trainer.predict(loader).astype(np.float64)
    measured = trainer.evaluate(loader)
    assert measured["accuracy"] == pytest.approx((outputs.argmax(axis=1) == labels).mean())
    logp = outputs - np.log(np.exp(outputs).sum(axis=1, keepdims=True))
    assert measured["loss"] == pytest.approx(-(probabilities * logp).sum(axis=1).mean(), rel=1e-5)


def test_accuracy_counts_rows():
    outputs = np.array([[0, 1], [2, 1], [0, 3], [5, 4]])
    assert accuracy(outputs, np.array([1, 0, 0, 0])) == 0.75
    assert accuracy(outputs, np.array([[0.1, 0.9], [0.2, 0.8], [1, 0], [0.6, 0.4]])) == 0.5


def test_a_loss_and_targets_of_another_kind():
    """Regression: any function of outputs and targets that gives a scalar."""
    x, _ = arrays()
    y = (x @ np.ones((5, 1)) + 1).astype(np.float32)
    model = nn.Linear(5, 1)
    trainer = Trainer(model, optim.SGD(model.parameters(), lr=0.3), nn.functional.mse_loss)
    loader = data.DataLoader(data.ArrayDataset(x, y), ROWS)
    history = trainer.fit(loader, 200, progress=False)
    assert history["loss"][-1] < 1e-4 < history["loss"][0]
    np.testing.assert_allclose(model.weight.data, np.ones((5, 1)), atol=0.02)
    assert trainer.predict(loader).shape == (ROWS, 1)


class Spy:
    """A scheduler that notes what it is told."""

    def __init__(self, needs_metric):
        self.needs_metric, self.told = needs_metric, []

    def step(self, *numbers):
        self.told.append(numbers)


@pytest.mark.parametrize("validate", [False, True])
def test_a_scheduler_that_wants_it_gets_the_validation_loss_or_else_the_loss(validate):
    model = a_model()
    spy = Spy(needs_metric=True)
    trainer = Trainer(model, an_optimizer(model), scheduler=spy)
    history = trainer.fit(a_loader(), 3, a_loader(7, 3) if validate else None, progress=False)
    assert spy.told == [(number,) for number in history["val_loss" if validate else "loss"]]


def test_other_schedulers_get_nothing():
    model = a_model()
    spy = Spy(needs_metric=False)
    Trainer(model, an_optimizer(model), scheduler=spy).fit(a_loader(), 3, progress=False)
    assert spy.told == [(), (), ()]


def test_reduce_lr_on_plateau_lowers_the_rate():
    model = a_model()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    plateau = optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    no_better = Trainer(model, optimizer, lambda y, target: y.sum() * 0 + 1, scheduler=plateau)
    history = no_better.fit(a_loader(), 6, progress=False)
    assert history["loss"] == [1.0] * 6
    assert history["lr"] == [0.1, 0.1, 0.1, 0.05, 0.05, 0.025]


def test_history_reads_as_lines():
    assert repr(History()) == str(History()) == "History: nothing trained yet"
    row = {"epoch": 3, "lr": 0.1, "loss": 0.25, "accuracy": 0.5, "seconds": 1.25}
    history = History([row, row | {"epoch": 12, "val_loss": 1.0}])
    assert str(history).splitlines() == [
        "epoch   3  loss 0.2500  accuracy 0.5000  (1.2 s)",
        "epoch  12  loss 0.2500  accuracy 0.5000  val_loss 1.0000  (1.2 s)",
    ]
    assert repr(history) == (
        "History of 2 epochs, the last: "
        "epoch  12  loss 0.2500  accuracy 0.5000  val_loss 1.0000  (1.2 s)"
    )
    assert history["val_loss"] == [1.0]  # rows that lack it are passed over
    assert [row["epoch"] for row in history] == [3, 12]


class TwoHeads(nn.Module):
    """Scores, and in training also those of a second head."""

    def __init__(self, model):
        self.model, self.second = model, nn.Linear(CLASSES, CLASSES)

    def forward(self, x):
        scores = self.model(x)
        return (scores, self.second(scores)) if self.training else scores


def test_models_that_give_several_scores_in_training():
    model = TwoHeads(a_model())
    trainer = Trainer(model, an_optimizer(model), models.AuxiliaryLoss(weight=0.5), ["accuracy"])
    before = model.second.weight.data.copy()
    history = trainer.fit(a_loader(), 2, a_loader(), progress=False)
    assert (model.second.weight.data != before).any()
    assert 0 <= history.rows[-1]["accuracy"] <= 1
    assert history.rows[-1]["val_loss"] < history.rows[-1]["loss"]  # of one head
