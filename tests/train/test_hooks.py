"""What callbacks may do to a training: replace batches, see gradients, stop it."""

import re

import numpy as np
import pytest
from small import (
    a_full_trainer,
    a_loader,
    a_model,
    an_optimizer,
    arrays,
    assert_same_bits,
    everything,
    train_by_hand,
)

from minidl import data
from minidl.errors import ArgumentError, GradError
from minidl.optim.lr_scheduler import LinearWarmup
from minidl.train import Callback, Checkpoint, Trainer


def a_trainer(*callbacks):
    model = a_model()
    return Trainer(model, an_optimizer(model), metrics=["accuracy"], callbacks=callbacks)


class Scale(Callback):
    def __init__(self, factor):
        self.factor = np.float32(factor)

    def on_batch_begin(self, trainer, x, target):
        return x * self.factor, target


class Look(Callback):
    def __init__(self):
        self.seen = []

    def on_batch_begin(self, trainer, x, target):
        self.seen.append(x)


def test_a_batch_may_be_replaced_by_one_callback_after_the_other():
    look, trainer = Look(), a_trainer(Scale(2), Scale(-0.25))
    trainer.callbacks.append(look)
    trainer.fit(a_loader(), 2, progress=False)

    x, labels = arrays()
    scaled = data.ArrayDataset(x * np.float32(-0.5), labels)  # a power of two: no rounding
    model = a_model()
    train_by_hand(model, an_optimizer(model), data.DataLoader(scaled, 4, True, seed=9), 2)
    assert_same_bits(trainer.model.state_dict(), model.state_dict())
    assert sorted(np.concatenate(look.seen[:6])[:, 0]) == sorted(scaled.arrays[0][:, 0])


@pytest.mark.parametrize("returned", [5, ("x",), [1, 2], ("x", "y", "z")])
def test_what_a_batch_may_be_replaced_by(returned):
    wrong = Callback()
    wrong.on_batch_begin = lambda trainer, x, target: returned
    with pytest.raises(ArgumentError, match=r"on_batch_begin must return \(x, target\) or None"):
        a_trainer(wrong).fit(a_loader(), 1, progress=False)


def test_gradients_are_seen_and_changed_before_the_step():
    class Negate(Callback):
        def on_backward_end(self, trainer):
            assert all(p.grad is not None for p in trainer.model.parameters())
            for p in trainer.model.parameters():
                p.grad[...] = 0

    trainer = a_trainer(Negate())
    trainer.optimizer.param_groups[0]["weight_decay"] = 0.0
    before = [p.data.copy() for p in trainer.model.parameters()]
    trainer.fit(a_loader(), 1, progress=False)
    for p, old in zip(trainer.model.parameters(), before, strict=True):
        np.testing.assert_array_equal(p.data, old)


def test_a_bad_loss_is_told_with_its_batch():
    told = []
    note = Callback()
    note.on_bad_loss = lambda trainer, x, target, loss: told.append((x, target, loss))
    x, labels = arrays()
    x[5] = np.inf  # in the second batch
    with pytest.raises(GradError, match="the loss is nan at epoch 1, batch 2"):
        a_trainer(note).fit(data.DataLoader(data.ArrayDataset(x, labels), 4), 1, progress=False)
    (bad, target, loss), *others = told
    assert not others
    np.testing.assert_array_equal(bad, x[4:8])
    np.testing.assert_array_equal(target, labels[4:8])
    assert np.isnan(loss)


# stop


class StopAt(Callback):
    """In the call numbered `at`."""

    def __init__(self, call, at=1):
        self.left = at
        setattr(self, call, self.told)

    def told(self, trainer, *facts):
        self.left -= 1
        if not self.left:
            trainer.stop("I saw enough")


@pytest.mark.parametrize(
    ("call", "at", "epochs"),
    [("on_epoch_end", 3, 3), ("on_batch_end", 8, 2), ("on_fit_begin", 1, 0)],
)
def test_stop_ends_training_after_the_epoch(call, at, epochs, capsys):
    trainer = a_trainer(StopAt(call, at))
    history = trainer.fit(a_loader(), 5)
    assert len(history) == trainer.epoch == epochs
    assert trainer.stopped == "I saw enough"
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"stopped after epoch {epochs}: I saw enough"

    trainer.fit(a_loader(), 5, progress=False)  # now it goes on
    assert trainer.epoch == 5
    assert trainer.stopped is None


def test_a_stop_is_no_end(tmp_path):
    """Training that was stopped and goes on, here or resumed, is the same training."""
    whole = a_full_trainer()
    whole.fit(a_loader(), 4, progress=False)
    stopped = a_full_trainer(callbacks=[StopAt("on_epoch_end", 2), Checkpoint(tmp_path)])
    loader = a_loader()
    stopped.fit(loader, 4, progress=False)
    resumed = a_full_trainer(seed=77).resume(Checkpoint.last(tmp_path))
    resumed.fit(a_loader(order=5), 4, progress=False)
    assert everything(resumed) == everything(whole)


# Loaders for training only


class Augmenting(list):
    augment = True


@pytest.mark.parametrize("call", ["fit", "evaluate", "predict"])
def test_augmentation_is_for_training(call):
    trainer = a_trainer()
    loader = Augmenting(a_loader())
    text = re.escape("augment=True, and augmentation is for training data only: make it with")
    settings = {"epochs": 2, "validation": loader} if call == "fit" else {}
    with pytest.raises(ArgumentError, match=text):
        getattr(trainer, call)(loader, **settings)
    assert trainer.epoch == 0
    trainer.fit(loader, 1, progress=False)


# What users write


class WarmUp(Callback):
    """A warm-up batch by batch, as a user would write it."""

    def __init__(self, optimizer, batches):
        self.schedule = LinearWarmup(optimizer, batches)

    def on_batch_end(self, trainer, means):
        self.schedule.step()

    def state_dict(self):
        return self.schedule.state_dict()

    def load_state_dict(self, state):
        self.schedule.load_state_dict(state)


def test_a_schedule_by_batches_is_a_callback_of_ten_lines():
    model = a_model()
    optimizer = an_optimizer(model)
    rates = []
    note = Callback()
    note.on_backward_end = lambda trainer: rates.append(optimizer.param_groups[0]["lr"])
    Trainer(model, optimizer, callbacks=[WarmUp(optimizer, 10), note]).fit(
        a_loader(), 2, progress=False
    )
    wanted = [0.1 * min(1, 0.1 + 0.9 * i / 10) for i in range(12)]  # from a tenth of the rate
    np.testing.assert_allclose(rates, wanted, rtol=1e-12)
