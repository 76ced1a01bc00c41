"""train.Checkpoint: which files it writes, keeps and calls the best, and what a kill leaves.

And the states of callbacks.
"""

import math
import os
import random
import subprocess
import sys
import time

import numpy as np
import pytest
from small import (
    a_full_trainer,
    a_loader,
    a_model,
    bits,
    child_path,
    disturb,
    everything,
    generators,
)

import minidl as md
from minidl.errors import ArgumentError, StateError
from minidl.train import Callback, Checkpoint

NAN = math.nan


class Score(Callback):
    """Writes a column "score" of these values, an epoch each."""

    def __init__(self, values, name="score"):
        self.values, self.name, self.columns = values, name, (name,)

    def on_epoch_end(self, trainer, row):
        row[self.name] = self.values[trainer.epoch - 1]


class Count(Callback):
    def __init__(self, batches=0):
        self.batches = batches

    def on_batch_end(self, trainer, means):
        self.batches += 1

    def state_dict(self):
        return {"batches": self.batches}

    def load_state_dict(self, state):
        self.batches = state["batches"]


def fit(callbacks, epochs, resume=None, validation=None):
    """A trainer after `epochs` epochs; `resume`: a checkpoint to go on from."""
    trainer = a_full_trainer(seed=1 if resume is None else 77, callbacks=callbacks)
    if resume is not None:
        disturb()
        trainer.resume(resume)
    trainer.fit(a_loader(), epochs, validation, progress=False)
    return trainer


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def epoch_of(path):
    """How many epochs were done when it was written."""
    return a_full_trainer(seed=5).resume(path).epoch


# What is kept


@pytest.mark.parametrize("keep", [1, 3, 9])
def test_the_last_ones_are_kept(keep, tmp_path):
    folder = tmp_path / "not" / "there"
    trainer = fit([Checkpoint(folder, keep=keep)], 5)
    last = [f"epoch-{epoch:04d}.h5" for epoch in range(1, 6)][-keep:]
    assert names(folder) == ["best.h5", *last]
    assert [epoch_of(folder / name) for name in last] == list(range(1, 6))[-keep:]
    assert Checkpoint.last(folder) == Checkpoint.last(str(folder)) == folder / "epoch-0005.h5"
    again = a_full_trainer(seed=77).resume(folder / "epoch-0005.h5")
    assert everything(again) == everything(trainer)


def test_every_few_batches_too(tmp_path):
    fit([Count(), Checkpoint(tmp_path / "all", keep=99, every=4)], 2)
    assert names(tmp_path / "all") == [
        "best.h5",
        "epoch-0001-batch-000004.h5",
        "epoch-0001.h5",
        "epoch-0002-batch-000004.h5",
        "epoch-0002.h5",
    ]
    count = Count()
    a_full_trainer(callbacks=[count]).resume(tmp_path / "all" / "epoch-0002-batch-000004.h5")
    assert count.batches == 10
    fit([Checkpoint(tmp_path / "two", keep=2, every=4)], 2)
    assert names(tmp_path / "two") == ["best.h5", *names(tmp_path / "all")[-2:]]


def test_foreign_files_are_left_alone(tmp_path):
    foreign = [
        "epoch-1.h5",  # not as it writes them
        "my-epoch-0001.h5",
        "epoch-0001.h5.bak",
        "epoch-0001-batch-000002.h5.old",
        "epoch-0001.json",
        ".epoch-0001.h5",
        "weights.h5",
        "best-so-far.h5",
    ]
    for name in foreign:
        (tmp_path / name).write_text("mine")
    (tmp_path / "epoch-0001").mkdir()
    fit([Checkpoint(tmp_path, keep=1, every=2)], 3)
    assert names(tmp_path) == sorted([*foreign, "epoch-0001", "epoch-0003.h5", "best.h5"])
    assert all((tmp_path / name).read_text() == "mine" for name in foreign)


def test_last_is_the_one_that_has_come_furthest(tmp_path):
    assert Checkpoint.last(tmp_path) is None
    assert Checkpoint.last(tmp_path / "absent") is None
    order = [
        "epoch-0001.h5",
        "epoch-0002-batch-000009.h5",
        "epoch-0002-batch-000010.h5",
        "epoch-0002-batch-1000000.h5",
        "epoch-0002.h5",
        "epoch-0010.h5",
        "epoch-9999.h5",
        "epoch-10000-batch-000001.h5",
    ]
    (tmp_path / "best.h5").touch()
    for name in random.Random(0).sample(order, len(order)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, ns=(0, 0))  # at the same time, so far as the system tells
    for name in reversed(order):
        assert Checkpoint.last(tmp_path) == tmp_path / name
        (tmp_path / name).unlink()
    assert Checkpoint.last(tmp_path) is None


@pytest.mark.parametrize("every", [None, 3])
def test_it_is_written_last_even_if_it_stands_first(every, tmp_path):
    fit([Checkpoint(tmp_path, keep=99, every=every), Score([1, 2]), Count()], 2)
    for path in tmp_path.glob("epoch-*.h5"):
        count = Count()
        trainer = a_full_trainer(callbacks=[count]).resume(path)
        of_this_epoch = int(path.stem[-6:]) if "batch" in path.name else 0
        assert count.batches == 6 * trainer.epoch + of_this_epoch
        assert trainer.history["score"] == [1, 2][: trainer.epoch]


def test_checkpoints_change_nothing_in_what_is_learnt(tmp_path):
    assert everything(fit([Checkpoint(tmp_path, every=1)], 2)) == everything(fit([], 2))


# The best


@pytest.mark.parametrize(
    ("mode", "values", "best"),
    [
        ("min", [3, 2, 4, 2, 5], 2),
        ("max", [3, 2, 4, 4, 1], 3),
        ("min", [NAN, 3, NAN, 2, NAN], 4),
        ("max", [NAN, 3, NAN, 2, NAN], 2),
        ("min", [math.inf, NAN, 7, math.inf, 8], 3),
        ("min", [-1, -math.inf, -2, NAN, -3], 2),
    ],
)
@pytest.mark.parametrize("stops", [[5], [2, 5], [3, 4, 5]])
def test_the_best_is_kept_also_when_training_is_resumed(mode, values, best, stops, tmp_path):
    for stop in stops:
        callbacks = [Checkpoint(tmp_path, keep=1, monitor="score", mode=mode), Score(values)]
        fit(callbacks, stop, Checkpoint.last(tmp_path))
    assert epoch_of(tmp_path / "best.h5") == best


def test_nan_is_never_the_best(tmp_path):
    fit([Checkpoint(tmp_path, monitor="score", mode="min"), Score([NAN, NAN])], 2)
    assert names(tmp_path) == ["epoch-0001.h5", "epoch-0002.h5"]


def test_the_best_is_of_the_validation_loss_if_there_is_one(tmp_path):
    alone = fit([Checkpoint(tmp_path / "alone")], 5).history
    validated = fit([Checkpoint(tmp_path / "both")], 5, validation=a_loader(7, seed=3)).history
    best = 1 + np.argmin(alone["loss"]), 1 + np.argmin(validated["val_loss"])
    assert best[0] != best[1]  # else this shows nothing
    assert epoch_of(tmp_path / "alone" / "best.h5") == best[0]
    assert epoch_of(tmp_path / "both" / "best.h5") == best[1]


@pytest.mark.parametrize("resumed", ["a", "b"])
def test_two_that_watch_different_columns_both_go_on(resumed, tmp_path):
    """Each of them writes what the other knows of this epoch, too."""

    def callbacks():
        folders = [tmp_path / "a", tmp_path / "b"]
        checkpoints = [Checkpoint(f, monitor=f.name, mode="max") for f in folders]
        return [*checkpoints, Score([1, 2, 9, 4], "a"), Score([1, 9, 5, 6], "b")]

    fit(callbacks(), 2)
    fit(callbacks(), 4, Checkpoint.last(tmp_path / resumed))
    assert epoch_of(tmp_path / "a" / "best.h5") == 3
    assert epoch_of(tmp_path / "b" / "best.h5") == 2


def test_a_best_that_could_not_be_written_is_made_up_for(tmp_path):
    """As after a kill between the writing of an epoch's checkpoint and of the best."""

    class Block(Callback):
        def on_epoch_end(self, trainer, row):
            if trainer.epoch == 2:
                (tmp_path / "best.h5").unlink()
                (tmp_path / "best.h5").mkdir()

    watched = {"monitor": "score", "mode": "min", "keep": 1}
    with pytest.raises(OSError, match="best"):
        fit([Checkpoint(tmp_path, **watched), Score([5, 1, 3, 4]), Block()], 4)
    (tmp_path / "best.h5").rmdir()
    last = Checkpoint.last(tmp_path)
    fit([Checkpoint(tmp_path, **watched), Score([5, 1, 3, 4])], 4, last)
    assert epoch_of(tmp_path / "best.h5") == 2


def test_training_goes_on_from_the_best(tmp_path):
    score = Score([3, 1, 2, 4])
    fit([Checkpoint(tmp_path, monitor="score", mode="min"), score], 3)
    got = fit([score], 4, tmp_path / "best.h5")
    assert everything(got) == everything(fit([score], 4))


def test_load_weights_reads_the_best(tmp_path):
    weights = []

    class Note(Callback):
        def on_epoch_end(self, trainer, row):
            weights.append(bits(trainer.model.state_dict()))

    fit([Checkpoint(tmp_path, monitor="score", mode="min"), Score([3, 1, 2]), Note()], 3)
    model = a_model(seed=77)
    md.load_weights(model, tmp_path / "best.h5")
    assert bits(model.state_dict()) == weights[1] != weights[2]


# What is refused


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"keep": 0}, "keep must be a whole number from 1 up, got 0"),
        ({"keep": -1}, "keep .* got -1"),
        ({"keep": True}, "keep .* got True"),
        ({"keep": None}, "keep .* got None"),
        ({"keep": 2.0}, "keep .* got 2.0"),
        ({"every": 0}, "every must be a whole number from 1 up, got 0"),
        ({"every": "1"}, "every .* got '1'"),
        ({"mode": "least"}, 'mode is "min" or "max", got \'least\''),
    ],
)
def test_bad_arguments(arguments, named, tmp_path):
    with pytest.raises(ArgumentError, match=f"Checkpoint: {named}"):
        Checkpoint(tmp_path, **arguments)


def test_a_column_that_is_not_there(tmp_path):
    with pytest.raises(ArgumentError, match=r"monitor='f1' is not a column .*: epoch, lr, loss"):
        fit([Checkpoint(tmp_path, monitor="f1", mode="max")], 1)


def test_a_folder_that_can_not_be_made_stops_before_training_begins(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        count = Count()
        with pytest.raises(OSError, match="file"):
            fit([Checkpoint(folder), count], 1)
        assert count.batches == 0


# Callbacks' states


def test_callbacks_go_on(tmp_path):
    """Matched by class, in their order; a new one begins afresh."""

    class Other(Count):
        pass

    fit([Checkpoint(tmp_path), Count(100), Other(200), Count(300)], 1)
    callbacks = [Other(), Callback(), Count(), Count(), Count(7)]
    a_full_trainer(callbacks=callbacks).resume(Checkpoint.last(tmp_path))
    assert [getattr(each, "batches", None) for each in callbacks] == [206, None, 106, 306, 7]


def test_a_callback_that_refuses_its_state_leaves_all_as_it_was(tmp_path):
    class Refuses(Count):
        def load_state_dict(self, state):
            if state["batches"]:
                raise StateError("not so")

    fit([Checkpoint(tmp_path), Count(3), Refuses()], 1)
    count = Count(1)
    trainer = a_full_trainer(seed=77, callbacks=[count, Refuses()])
    before = everything(trainer), generators()
    with pytest.raises(StateError, match="not so"):
        trainer.resume(Checkpoint.last(tmp_path))
    assert (everything(trainer), generators()) == before
    assert count.batches == 1


# Kills

EPOCHS = 15
TRAIN = """
import sys
sys.path[:0] = sys.argv[3:]
from small import a_full_trainer, a_loader
from minidl.train import Callback, Checkpoint
class Tell(Callback):
    def on_batch_end(self, trainer, means):
        print("a batch", flush=True)
trainer = a_full_trainer(callbacks=[Checkpoint(sys.argv[1], keep=2, every=3), Tell()])
last = Checkpoint.last(sys.argv[1])
if last is not None:
    trainer.resume(last)
trainer.fit(a_loader(), int(sys.argv[2]), progress=False)
"""


def test_after_kills_training_ends_as_without_them(tmp_path):
    rng, reached = random.Random(4), [0]
    command = [sys.executable, "-c", TRAIN, str(tmp_path), str(EPOCHS), *child_path()]
    for batches in (2, 11, 8):
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            for _ in range(batches):
                assert child.stdout.readline() == b"a batch\n"
            time.sleep(rng.uniform(0, 0.03))  # about what writing a checkpoint takes
            child.kill()
        assert child.returncode != 0
        last = Checkpoint.last(tmp_path)
        reached.append(0 if last is None else epoch_of(last))
    assert reached == sorted(reached)
    assert 0 < reached[-1] < EPOCHS  # else the kills showed nothing
    got = fit([Checkpoint(tmp_path, keep=2, every=3)], EPOCHS, Checkpoint.last(tmp_path))
    assert everything(got) == everything(fit([], EPOCHS))
    written = sorted(path.name for path in tmp_path.glob("*.h5"))
    assert written == ["best.h5", "epoch-0015-batch-000006.h5", "epoch-0015.h5"]
    assert epoch_of(tmp_path / "best.h5") == 1 + np.argmin(got.history["loss"])
