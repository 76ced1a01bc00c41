"""Every callback survives a checkpoint: 2 epochs and 2 more are 4, to the bit."""

import importlib
import pkgutil

import numpy as np
import pytest
from small import CLASSES, a_full_trainer, a_loader, bits, disturb, everything, generators
from test_hooks import WarmUp
from test_resume import SaveAndStop, Stop

import minidl.train
from minidl.train import Callback, Checkpoint, ProgressBar
from minidl.train.ensemble import Snapshots
from minidl.train.guards import ClipGradients, NaNGuard
from minidl.train.logs import CSVLog, TensorBoardLog
from minidl.train.mixup import CutMix, MixUp
from minidl.train.monitor import TrainingMonitor
from minidl.train.run import Run
from minidl.train.showing import LivePage
from minidl.train.stopping import EarlyStopping


class AsImages(CutMix):
    """Takes rows of numbers for images of one row."""

    def on_batch_begin(self, trainer, x, target):
        images, target = super().on_batch_begin(trainer, np.asarray(x)[:, None, :, None], target)
        return images[:, 0, :, 0], target


def csv_log(folder):
    folder.mkdir(exist_ok=True)
    return CSVLog(folder / "history.csv")


SAMPLES = {
    CSVLog: [csv_log],
    Callback: [lambda folder: Callback()],
    Checkpoint: [lambda folder: Checkpoint(folder / "checkpoints", every=2)],
    ClipGradients: [
        lambda folder: ClipGradients(max_norm=0.1),
        lambda folder: ClipGradients(max_value=0.01),
    ],
    CutMix: [lambda folder: AsImages(1.0, num_classes=CLASSES)],
    EarlyStopping: [
        lambda folder: EarlyStopping(patience=9),
        lambda folder: EarlyStopping(patience=1),
        lambda folder: EarlyStopping("accuracy", patience=1, mode="max", restore=False),
        lambda folder: EarlyStopping("loss", 2, min_delta=9),  # the first epoch is the best
    ],
    LivePage: [lambda folder: LivePage(Run(folder / "run", {"command": "train"}), print)],
    MixUp: [lambda folder: MixUp(1.0, num_classes=CLASSES)],
    NaNGuard: [lambda folder: NaNGuard()],
    ProgressBar: [lambda folder: ProgressBar()],
    Snapshots: [lambda folder: Snapshots(folder / "snapshots", 2)],
    TensorBoardLog: [lambda folder: TensorBoardLog(folder / "logs")],
    TrainingMonitor: [lambda folder: TrainingMonitor(folder / "run")],
}
ALL = [make for samples in SAMPLES.values() for make in samples]


def subclasses(kind):
    return {kind}.union(*(subclasses(each) for each in kind.__subclasses__()))


def test_every_callback_has_a_sample():
    for module in pkgutil.iter_modules(minidl.train.__path__):
        importlib.import_module(f"minidl.train.{module.name}")
    own = {each for each in subclasses(Callback) if each.__module__.startswith("minidl.train.")}
    own = {kind for kind in own if not kind.__name__.startswith("_")}
    assert set(SAMPLES) == own


def a_trainer(make, folder, seed=1):
    return a_full_trainer(seed, callbacks=[make(folder)])


def fit(trainer, epochs, order=9):
    trainer.fit(a_loader(order=order), epochs, a_loader(7, seed=3, shuffle=False), progress=False)
    return trainer


def the_end(trainer):
    (callback,) = trainer.callbacks
    return everything(trainer), bits(callback.state_dict()), generators(), trainer.stopped


def uninterrupted(make, folder):
    disturb()  # the generators of NumPy and Python begin the same each time
    return the_end(fit(a_trainer(make, folder), 4))


@pytest.mark.parametrize("make", ALL)
def test_between_epochs(make, tmp_path):
    whole = uninterrupted(make, tmp_path / "a")
    disturb()
    fit(a_trainer(make, tmp_path / "b"), 2).save(tmp_path / "c.h5")
    disturb()
    trainer = a_trainer(make, tmp_path / "b", seed=77).resume(tmp_path / "c.h5")
    assert the_end(fit(trainer, 4, order=5)) == whole


@pytest.mark.parametrize("make", ALL)
def test_in_an_epoch(make, tmp_path):
    """After 2 of the 6 batches of the second epoch."""
    whole = uninterrupted(make, tmp_path / "a")
    disturb()
    first = a_trainer(make, tmp_path / "b")
    first.callbacks.append(SaveAndStop(tmp_path / "c.h5", 8))
    with pytest.raises(Stop):
        fit(first, 4)
    disturb()
    trainer = a_trainer(make, tmp_path / "b", seed=77).resume(tmp_path / "c.h5")
    assert the_end(fit(trainer, 4, order=5)) == whole


def test_a_users_schedule(tmp_path):
    """And a callback that writes to the optimizer, whose state is resumed too."""

    def a_trainer(seed=1):
        trainer = a_full_trainer(seed, schedule=lambda optimizer: None)
        trainer.callbacks.append(WarmUp(trainer.optimizer, 15))
        return trainer

    def end(trainer):
        parts = (trainer.model, trainer.optimizer, trainer.ema, trainer.callbacks[0])
        return bits([part.state_dict() for part in parts])

    whole = end(fit(a_trainer(), 4))
    fit(a_trainer(), 2).save(tmp_path / "c.h5")
    trainer = a_trainer(seed=77).resume(tmp_path / "c.h5")
    assert end(fit(trainer, 4, order=5)) == whole
