"""EarlyStopping: when it stops, what it goes back to, and how it goes on."""

import math

import numpy as np
import pytest
from small import a_full_trainer, a_loader, a_model, an_optimizer, bits, disturb, everything

from minidl.errors import ArgumentError
from minidl.train import Callback, Checkpoint, Trainer
from minidl.train.stopping import EarlyStopping

NAN = math.nan


class Score(Callback):
    """Writes a column "score" of these values, an epoch each, and keeps each epoch's weights."""

    columns = ("score",)

    def __init__(self, values):
        self.values, self.weights, self.averages = values, {}, {}

    def on_epoch_end(self, trainer, row):
        row["score"] = self.values[trainer.epoch - 1]
        self.weights[trainer.epoch] = bits(trainer.model.state_dict())
        if trainer.ema is not None:
            self.averages[trainer.epoch] = bits(trainer.ema.state_dict())


def fit(values, epochs=None, **settings):
    score = Score(values)
    stopping = EarlyStopping("score", **{"mode": "min", **settings})
    trainer = a_full_trainer(callbacks=[score, stopping])
    trainer.fit(a_loader(), epochs or len(values), progress=False)
    return trainer, stopping, score


@pytest.mark.parametrize(
    ("values", "settings", "epochs", "best"),
    [
        ([3, 2, 2.5, 2.5, 2.5, 1], {"patience": 3}, 5, 2),
        ([3, 2, 2.5, 2.5, 1.9, 1], {"patience": 3}, 6, 6),
        ([3, 2, 2, 2], {"patience": 2}, 4, 2),  # the same is no better
        ([1, 2, 1.5, 1.5, 9], {"patience": 2, "mode": "max"}, 4, 2),
        ([3, 2.9, 2.8, 2.7, 2.6], {"patience": 2, "min_delta": 0.5}, 3, 1),
        ([3, 2.9, 2.4, 2.3, 2.2], {"patience": 2, "min_delta": 0.5}, 5, 3),
        ([3, NAN, NAN, 1], {"patience": 2}, 3, 1),
        ([NAN, NAN, 5, 6], {"patience": 2}, 2, None),
        ([NAN, 5, NAN, 4], {"patience": 2}, 4, 4),
        ([3, -math.inf, -math.inf], {"patience": 1}, 3, 2),
    ],
)
def test_when_it_stops_and_which_weights_stay(values, settings, epochs, best):
    trainer, stopping, score = fit(values, **settings)
    assert trainer.epoch == epochs
    assert stopping.best_epoch == best
    assert stopping.best == (None if best is None else values[best - 1])
    stays = epochs if best is None else best
    assert bits(trainer.model.state_dict()) == score.weights[stays]
    assert bits(trainer.ema.state_dict()) == score.averages[stays]
    if epochs < len(values):
        assert f"score got no better in {settings['patience']} epochs" in trainer.stopped
    else:
        assert trainer.stopped is None or stopping.wait >= settings["patience"]


def test_without_restore_the_last_weights_stay():
    trainer, stopping, score = fit([1, 2, 3, 4], patience=2, restore=False)
    assert (trainer.epoch, stopping.best_epoch) == (3, 1)
    assert bits(trainer.model.state_dict()) == score.weights[3]
    assert stopping.state_dict()["best_weights"] is None


def test_the_default_is_the_validation_loss():
    def a_trainer(*callbacks):
        model = a_model()
        return Trainer(model, an_optimizer(model), callbacks=callbacks)

    stopping = EarlyStopping(patience=3)
    trainer = a_trainer(stopping)
    losses = trainer.fit(a_loader(), 60, a_loader(9, seed=3), progress=False)["val_loss"]
    assert len(losses) < 60
    assert stopping.best == min(losses) == losses[-4]
    measured = trainer.evaluate(a_loader(9, seed=3))
    assert measured["loss"] == pytest.approx(min(losses), rel=1e-6)


def test_weights_come_back_after_an_exception_too():
    class Fail(Callback):
        def on_batch_end(self, trainer, means):
            if trainer.epoch == 3:
                raise KeyboardInterrupt

    score = Score([3, 1, 2])
    trainer = a_full_trainer(callbacks=[score, EarlyStopping("score", mode="min"), Fail()])
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(a_loader(), 5, progress=False)
    assert bits(trainer.model.state_dict()) == score.weights[2]


# Going on

VALUES = [5, 4, 4.5, 4.4, 3, 3.5, 3.5, 3.5, 3.5]  # patience 3: stops after epoch 8, best is 5


def parts():
    return [Score(VALUES), EarlyStopping("score", patience=3, mode="min")]


def the_end():
    trainer = a_full_trainer(callbacks=parts())
    trainer.fit(a_loader(), 9, progress=False)
    assert trainer.epoch == 8
    return trainer


def all_of(trainer):
    return everything(trainer), bits(trainer.callbacks[1].state_dict()), trainer.stopped


@pytest.mark.parametrize("epochs", [1, 3, 4, 6, 8, 9])
def test_a_later_fit_goes_on_from_the_last_weights(epochs):
    trainer, loader = a_full_trainer(callbacks=parts()), a_loader()
    trainer.fit(loader, epochs, progress=False)
    trainer.fit(loader, 9, progress=False)
    assert all_of(trainer) == all_of(the_end())


@pytest.mark.parametrize("epochs", [1, 4, 6, 8])
def test_a_resumed_training_ends_alike(epochs, tmp_path):
    """Saved after a fit, when the best weights are in the model, or in it by Checkpoint."""
    first = a_full_trainer(callbacks=[*parts(), Checkpoint(tmp_path, keep=9)])
    first.fit(a_loader(), epochs, progress=False)
    first.save(tmp_path / "saved.h5")
    for name in ("saved.h5", f"epoch-{epochs:04d}.h5"):
        disturb()
        trainer = a_full_trainer(seed=77, callbacks=parts()).resume(tmp_path / name)
        trainer.fit(a_loader(order=5), 9, progress=False)
        assert all_of(trainer) == all_of(the_end())


def test_a_stopped_training_goes_on_without_it_or_with_more_patience(tmp_path):
    first = a_full_trainer(callbacks=[*parts(), Checkpoint(tmp_path)])
    first.fit(a_loader(), 9, progress=False)
    for callbacks in ([], [EarlyStopping("score", patience=4, mode="min")]):
        trainer = a_full_trainer(seed=77, callbacks=[Score(VALUES), *callbacks])
        trainer.resume(Checkpoint.last(tmp_path)).fit(a_loader(), 9, progress=False)
        assert trainer.epoch == 9
        whole = a_full_trainer()
        whole.fit(a_loader(), 9, progress=False)
        last = trainer.callbacks[1].state_dict()["last_weights"] if callbacks else None
        weights = last["model"] if callbacks else trainer.model.state_dict()
        assert bits(weights) == bits(whole.model.state_dict())


def test_weights_given_by_hand_are_kept():
    trainer, loader = a_full_trainer(callbacks=parts()), a_loader()
    trainer.fit(loader, 3, progress=False)
    other = a_model(seed=50).state_dict()
    trainer.model.load_state_dict(other)
    seen = []
    look = Callback()
    look.on_fit_begin = lambda trainer, batches: seen.append(bits(trainer.model.state_dict()))
    trainer.callbacks.append(look)
    trainer.fit(loader, 4, progress=False)
    assert seen == [bits(other)]


def test_it_begins_anew_with_a_new_trainer():
    stopping = EarlyStopping("score", patience=2, mode="min")
    for values in ([1, 2, 3, 4], [7, 8, 6, 5]):
        trainer = a_full_trainer(callbacks=[Score(values), stopping])
        trainer.fit(a_loader(), 4, progress=False)
    assert (trainer.epoch, stopping.best) == (4, 5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "least"}, 'mode is "min" or "max", got \'least\''),
        ({"monitor": "val_accuracy"}, "say whether less of 'val_accuracy' is better"),
        ({"patience": 0}, "patience must be a whole number from 1"),
        ({"min_delta": -1}, "min_delta must be from 0 up, got -1"),
        ({"min_delta": NAN}, "min_delta must be a finite number"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ArgumentError, match=message):
        EarlyStopping(**settings)


def test_an_unknown_column_lists_the_columns():
    trainer = a_full_trainer(callbacks=[EarlyStopping()])
    with pytest.raises(
        ArgumentError,
        match=r"monitor='val_loss' is not a column of the history: epoch, lr, loss, accuracy, "
        r"seconds \(give fit a validation loader\)",
    ):
        trainer.fit(a_loader(), 2, progress=False)


def test_weights_are_copies():
    trainer, stopping, _ = fit([1, 2], patience=5)
    before = bits(stopping.state_dict()["best_weights"])
    for p in trainer.model.parameters():
        p.data += np.float32(1)
    assert bits(stopping.state_dict()["best_weights"]) == before
