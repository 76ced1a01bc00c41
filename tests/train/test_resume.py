"""Training that is taken up again from a checkpoint ends as if it had never stopped, to the bit."""

import functools
import pickle
import random
import subprocess
import sys

import numpy as np
import pytest
from optimizers import SAMPLES, title
from small import (
    BATCH,
    a_full_trainer,
    a_loader,
    a_model,
    arrays,
    bits,
    child_path,
    disturb,
    everything,
    generators,
)

import minidl as md
from minidl import optim
from minidl.errors import StateError
from minidl.optim import lr_scheduler
from minidl.train import Callback, Trainer

EPOCHS = 6
BATCHES = 6  # of an epoch

# How many batches were done when it was saved; None: after the third epoch.
MOMENTS = {"epoch": None, "mid-epoch": 15, "last batch": 18}


def a_list(order=None):
    """A loader without state."""
    x, labels = arrays()
    return [(x[i:][:BATCH], labels[i:][:BATCH]) for i in range(0, len(x), BATCH)]


class OwnLoader:
    """A user's, with a state of its own kind."""

    def __init__(self, order=None):
        self.batches, self.next = a_list(), 0

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        while self.next < len(self):
            self.next += 1
            yield self.batches[self.next - 1]
        self.next = 0

    def state_dict(self):
        return {"next": self.next}

    def load_state_dict(self, state):
        self.next = state["next"]


LOADERS = {
    "shuffled": a_loader,
    "workers": lambda order: a_loader(order=order, workers=2),
    "own seed": lambda order: a_loader(order=None),
    "list": a_list,
    "own": OwnLoader,
}


class Stop(Exception):  # noqa: N818  no error
    pass


class SaveAndStop(Callback):
    """Counts for itself, so that it doesn't rely on what the trainer says of its progress."""

    def __init__(self, path, moment):
        self.path, self.moment = path, moment
        self.batches = self.epochs = 0

    def on_batch_end(self, trainer, means):
        self.batches += 1
        if self.batches == self.moment:
            self.save(trainer)

    def on_epoch_end(self, trainer, row):
        self.epochs += 1
        if self.moment is None and self.epochs == 3:
            self.save(trainer)

    def save(self, trainer):
        trainer.save(self.path)
        raise Stop


def straight(loader=a_loader, validation=None, **parts):
    """All epochs in one go."""
    trainer = a_full_trainer(**parts)
    trainer.fit(loader(order=9), EPOCHS, validation, progress=False)
    return trainer


@functools.cache
def the_end(loader=a_loader):
    return everything(straight(loader))


def stopped(path, moment=15, loader=a_loader, validation=None, **parts):
    trainer = a_full_trainer(**parts)
    trainer.callbacks.append(SaveAndStop(path, moment))
    with pytest.raises(Stop):
        trainer.fit(loader(order=9), EPOCHS, validation, progress=False)


def resumed(path, loader=a_loader, loader_first=False, validation=None, **parts):
    """Fresh parts, made from other random numbers, that go on from `path` to the end."""
    disturb()
    trainer = a_full_trainer(seed=77, **parts)
    batches = loader(order=1234) if loader_first else None
    trainer.resume(path)
    trainer.fit(batches or loader(order=1234), EPOCHS, validation, progress=False)
    return trainer


# In a new process

CHILD = """
import pickle, sys
sys.path[:0] = sys.argv[4:]
from small import a_full_trainer, a_loader, everything
trainer = a_full_trainer(seed=77).resume(sys.argv[1])
trainer.fit(a_loader(order=1234, workers=int(sys.argv[2])), int(sys.argv[3]), progress=False)
sys.stdout.buffer.write(pickle.dumps(everything(trainer)))
"""


def test_a_new_process_goes_on(tmp_path):
    children = []
    for moment, workers in (("epoch", 0), ("epoch", 2), ("mid-epoch", 0), ("last batch", 2)):
        path = tmp_path / f"{moment} {workers}.h5"
        stopped(path, MOMENTS[moment])
        command = [sys.executable, "-c", CHILD, str(path), str(workers), str(EPOCHS), *child_path()]
        children.append(subprocess.Popen(command, stdout=subprocess.PIPE))
    expected = the_end()
    for child in children:
        out, _ = child.communicate()
        assert child.returncode == 0
        assert pickle.loads(out) == expected


# In fresh parts


@pytest.mark.parametrize("loader_first", [False, True])
@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
@pytest.mark.parametrize("loader", LOADERS.values(), ids=LOADERS)
def test_any_moment_and_loader(loader, moment, loader_first, tmp_path):
    stopped(tmp_path / "c.h5", moment, loader)
    got = resumed(tmp_path / "c.h5", loader, loader_first)
    assert everything(got) == the_end(loader)


SCHEDULERS = {
    "StepLR": [lambda o: lr_scheduler.StepLR(o, 2, 0.5)],
    "MultiStepLR": [lambda o: lr_scheduler.MultiStepLR(o, [2, 4], 0.5)],
    "ExponentialLR": [lambda o: lr_scheduler.ExponentialLR(o, 0.7)],
    "CosineAnnealingLR": [lambda o: lr_scheduler.CosineAnnealingLR(o, 4, 0.01)],
    "PolynomialLR": [lambda o: lr_scheduler.PolynomialLR(o, 8, 2.0)],
    "ReduceLROnPlateau": [
        lambda o: lr_scheduler.ReduceLROnPlateau(o, factor=0.5, patience=0, threshold=0.5),
        lambda o: lr_scheduler.ReduceLROnPlateau(
            o, "max", 0.5, patience=0, threshold=100, threshold_mode="abs", cooldown=1
        ),
    ],
    "CosineAnnealingWarmRestarts": [
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 2, 2),
    ],
    "OneCycleLR": [lambda o: lr_scheduler.OneCycleLR(o, 0.2, EPOCHS * BATCHES)],
    "LambdaLR": [lambda o: lr_scheduler.LambdaLR(o, lambda epoch: 1 / (1 + epoch))],
    "SequentialLR": [
        lambda o: lr_scheduler.SequentialLR(
            o, [lr_scheduler.StepLR(o, 1, 0.5), lr_scheduler.ExponentialLR(o, 0.9)], [3]
        ),
    ],
    "LinearWarmup": [
        lambda o: lr_scheduler.LinearWarmup(o, 5),
        lambda o: lr_scheduler.LinearWarmup(o, 2, after=lr_scheduler.StepLR(o, 2, 0.5)),
        lambda o: lr_scheduler.LinearWarmup(
            o, 1, after=lr_scheduler.ReduceLROnPlateau(o, factor=0.5, patience=0, threshold=0.5)
        ),
    ],
}


def test_every_scheduler_has_a_sample():
    assert set(SCHEDULERS) == set(lr_scheduler.__all__) - {"LRScheduler"}


@pytest.mark.parametrize(("kind", "settings"), SAMPLES, ids=title)
def test_every_optimizer(kind, settings, tmp_path):
    def make(model):
        return kind(model.parameters(), **settings)

    stopped(tmp_path / "c.h5", make=make)
    assert everything(resumed(tmp_path / "c.h5", make=make)) == everything(straight(make=make))


@pytest.mark.parametrize("moment", ["epoch", "mid-epoch"])
@pytest.mark.parametrize("schedule", [s for samples in SCHEDULERS.values() for s in samples])
def test_every_scheduler(schedule, moment, tmp_path):
    parts = {"schedule": schedule, "validation": a_loader(7, seed=3, shuffle=False)}
    stopped(tmp_path / "c.h5", MOMENTS[moment], **parts)
    expected = straight(**parts)
    assert everything(resumed(tmp_path / "c.h5", **parts)) == everything(expected)
    # Otherwise there was nothing to remember.
    assert len(set(expected.history["lr"][:3])) > 1
    assert len(set(expected.history["lr"][3:])) > 1


def test_without_scheduler_and_averages(tmp_path):
    def a_trainer(seed):
        model = a_model(seed)
        return Trainer(model, optim.Adam(model.parameters()))

    expected, loader = a_trainer(1), a_loader()
    expected.fit(loader, 2, progress=False)
    expected.save(tmp_path / "c.h5")
    expected.fit(loader, 4, progress=False)
    again = a_trainer(77).resume(tmp_path / "c.h5")
    again.fit(a_loader(), 4, progress=False)
    assert bits(again.model.state_dict()) == bits(expected.model.state_dict())


# Around it


def test_saving_changes_nothing(tmp_path):
    always = Callback()
    always.on_batch_end = lambda trainer, means: trainer.save(tmp_path / "c.h5")
    assert everything(straight(callbacks=[always])) == the_end()


def test_a_trainer_can_go_back(tmp_path):
    """In the same parts, after they went on or failed."""
    trainer, loader = a_full_trainer(), a_loader()
    trainer.fit(loader, 2, progress=False)
    trainer.save(tmp_path / "c.h5")
    trainer.fit(loader, 5, progress=False)
    trainer.callbacks = [SaveAndStop(tmp_path / "unused.h5", 2)]
    with pytest.raises(Stop):
        trainer.fit(loader, EPOCHS, progress=False)
    trainer.callbacks = []
    assert trainer.resume(tmp_path / "c.h5") is trainer
    assert trainer.epoch == len(trainer.history) == 2
    trainer.fit(loader, EPOCHS, progress=False)
    assert everything(trainer) == the_end()


def test_the_batches_to_go_are_told(tmp_path):
    told, note = [], Callback()
    note.on_fit_begin = lambda trainer, batches: told.append(batches)
    for moment in MOMENTS.values():
        stopped(tmp_path / "c.h5", moment)
        resumed(tmp_path / "c.h5", callbacks=[note])
    assert told == [EPOCHS * BATCHES - (moment or 18) for moment in MOMENTS.values()]


@pytest.mark.parametrize("loader", [a_loader, a_list])
def test_a_checkpoint_can_be_saved_again_before_training_goes_on(loader, tmp_path):
    stopped(tmp_path / "c.h5", loader=loader)
    a_full_trainer(seed=5).resume(tmp_path / "c.h5").save(tmp_path / "copy.h5")
    assert everything(resumed(tmp_path / "copy.h5", loader)) == the_end(loader)


def test_after_a_loader_that_does_not_fit_the_right_one_goes_on(tmp_path):
    stopped(tmp_path / "c.h5")
    trainer = a_full_trainer(seed=77).resume(tmp_path / "c.h5")
    before = everything(trainer)
    with pytest.raises(StateError, match="3 batches into an epoch of 6, the loader has 2"):
        trainer.fit(a_loader(rows=8), EPOCHS, progress=False)
    assert everything(trainer) == before
    trainer.fit(a_loader(), EPOCHS, progress=False)
    assert everything(trainer) == the_end()


@pytest.mark.parametrize("loader", [a_loader, a_list])
def test_a_fit_with_nothing_to_do_forgets_nothing(loader, tmp_path):
    stopped(tmp_path / "c.h5", loader=loader)
    trainer, batches = a_full_trainer(seed=77).resume(tmp_path / "c.h5"), loader()
    trainer.fit(batches, 2, progress=False)
    trainer.fit(batches, EPOCHS, progress=False)
    assert everything(trainer) == the_end(loader)


@pytest.mark.parametrize("loader", [a_loader, a_list])
def test_a_batch_that_was_not_finished_is_trained_again(loader, tmp_path):
    """As after Ctrl-C in the middle of it."""

    def interrupt(model, inputs, output):
        if len(sizes) == 3:
            raise KeyboardInterrupt
        sizes.append(len(output))

    sizes = []
    trainer = a_full_trainer()
    with trainer.model.register_forward_hook(interrupt), pytest.raises(KeyboardInterrupt):
        trainer.fit(loader(), 1, progress=False)
    trainer.save(tmp_path / "c.h5")
    trainer = a_full_trainer(seed=77).resume(tmp_path / "c.h5")
    with trainer.model.register_forward_hook(lambda m, i, output: sizes.append(len(output))):
        trainer.fit(loader(), 1, progress=False)
    assert sizes == [4, 4, 4, 4, 4, 2]


def test_all_generators_go_on(tmp_path):
    """Also NumPy's global one and Python's, which users' datasets and callbacks draw from."""

    class Draw(Callback):
        def __init__(self):
            self.drawn = []

        def on_batch_end(self, trainer, means):
            numbers = np.random.standard_normal(3).tolist()  # noqa: NPY002
            self.drawn.append((numbers, random.gauss(0, 1), md.random.generator().random()))

    disturb()
    whole, second = Draw(), Draw()
    straight(callbacks=[whole])
    at_end = generators()
    disturb()
    stopped(tmp_path / "c.h5", callbacks=[Draw()])
    resumed(tmp_path / "c.h5", callbacks=[second])
    assert second.drawn == whole.drawn[15:]
    assert generators() == at_end


def test_a_frozen_body_stays_and_the_head_goes_on(tmp_path):
    """The new optimizer doesn't know the body at all."""
    expected, loader = a_full_trainer(), a_loader()
    expected.fit(loader, 2, progress=False)
    expected.save(tmp_path / "c.h5")
    at_saving = bits(expected.model[0].state_dict())
    for part in expected.model[:2]:
        part.freeze()
    expected.fit(loader, 4, progress=False)

    trainer = a_full_trainer(seed=77, make=lambda model: optim.SGD(model[3].parameters(), lr=7))
    for part in trainer.model[:2]:
        part.freeze()
    trainer.resume(tmp_path / "c.h5").fit(a_loader(), 4, progress=False)
    got, wanted = everything(trainer), everything(expected)
    assert len(got.pop("optimizer")["state"]) < len(wanted.pop("optimizer")["state"])
    assert got == wanted
    assert bits(trainer.model[0].state_dict()) == at_saving


# What doesn't fit


@pytest.mark.parametrize("extra", [None, {"trainer": {"epoch": 3}, "callbacks": []}])
def test_a_checkpoint_of_no_trainer_changes_nothing(extra, tmp_path):
    other, trainer = a_full_trainer(seed=5), a_full_trainer(seed=77)
    parts = {name: getattr(other, name) for name in ("model", "optimizer", "scheduler", "ema")}
    md.save_checkpoint(tmp_path / "c.h5", **parts, extra=extra)
    disturb()
    before = everything(trainer), generators()
    with pytest.raises(StateError):
        trainer.resume(tmp_path / "c.h5")
    assert (everything(trainer), generators()) == before
