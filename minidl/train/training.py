"""`train.train`: a network of the zoo, trained from scratch and saved as a run."""

import inspect
import json
import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import minidl as md
from minidl import models, optim
from minidl.checks import positive
from minidl.data.telling import Tell, classes_table, left_out, teller
from minidl.errors import ArgumentError, FileFormatError, StateError
from minidl.io.atomic import atomic_write
from minidl.models import Network
from minidl.nn import init
from minidl.train.checkpoint import Checkpoint
from minidl.train.mixup import CutMix, MixUp
from minidl.train.monitor import TrainingMonitor
from minidl.train.results import figures, save_report, save_results
from minidl.train.run import Run
from minidl.train.settings import check_arguments, check_paths, check_settings
from minidl.train.trainer import Trainer
from minidl.train.training_data import NAMED, Material, open_images, open_named

__all__ = ["RECIPES", "train"]

# What suits each data set
RECIPES: dict[str, dict[str, Any]] = {
    "digits": {"epochs": 20, "batch_size": 32, "lr": 0.02, "weight_decay": 1e-2},
    "mnist": {"epochs": 10, "batch_size": 64, "lr": 0.02, "weight_decay": 2e-3},
    "cifar10": {"epochs": 40, "batch_size": 64, "lr": 0.1, "weight_decay": 5e-4},
}
OTHERS: dict[str, Any] = {"epochs": 40, "batch_size": 32, "lr": 0.05, "weight_decay": 5e-4}
STRONGEST = 30  # of RandAugment's magnitudes
WEIGHTS, CHECKPOINTS = "weights.h5", "checkpoints"
# Of the settings, those that a resumed training must share with the one it resumes
DECISIVE = (
    "model", "arguments", "data", "size", "file_column", "label_column", "epochs", "batch_size",
    "optimizer", "augment", "mirror", "rand_augment", "mixup", "cutmix", "seed",
)  # fmt: skip


def train(
    model: str = "lenet5",
    data: str | os.PathLike[str] = "digits",
    *,
    arguments: Mapping[str, Any] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    download: bool = False,
    size: int | None = None,
    file_column: str | None = None,
    label_column: str | None = None,
    augment: bool = False,
    mirror: bool = True,
    rand_augment: int | None = None,
    mixup: float = 0,
    cutmix: float = 0,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    seed: int = 0,
    resume: bool = False,
    output: str | os.PathLike[str] | None = None,
    verbose: bool = True,
) -> Run:
    """Train a network of `minidl.models` from scratch, as `minidl train` does, and save the run.

    model, arguments: the network's name, and what else `models.create` gets.
    data: "digits", "mnist", "cifar10", or a path that `data.image_parts` or `HDF5Dataset` reads.
    data_dir: the folder with the files of MNIST or CIFAR-10; None: data/NAME.
    download: fetch MNIST's files that aren't there.
    size: height and width of images of your own, in pixels; None: the network's.
    file_column, label_column: as `data.ImageList` takes them.
    augment: alter the training images at random.  mirror: also by mirroring.
    rand_augment: the strength, 1 to 30, of `RandAugment` on top of that; None: none.
    mixup, cutmix: alpha of `MixUp` and `CutMix`; 0: none.
    epochs, batch_size, lr: None: what suits the data (`RECIPES`).
    seed: of all random numbers; it is given to `md.manual_seed`.
    resume: keep a checkpoint after each epoch, and go on from the last one there is.
    output: the folder to save in; None: runs/MODEL-DATA.
    verbose: print what is done, with a progress bar.
    Returns the run: `run.folder` has weights.h5, settings.json, history.json, results.json and
    report.html. Ctrl-C saves weights, settings and history, and raises KeyboardInterrupt.
    Raises ArgumentError for arguments that don't go together and StateError for a checkpoint of
    another training.
    """
    check_arguments("train.train", arguments)
    check_paths("train.train", data=data, data_dir=data_dir or "", output=output or "")
    check_settings(
        "train.train", download=download, size=size, augment=augment, mirror=mirror,
        rand_augment=rand_augment, mixup=mixup, cutmix=cutmix, batch_size=batch_size, lr=lr,
        seed=seed, resume=resume,
    )  # fmt: skip
    data = os.fspath(data)
    _check_together(data, data_dir, download, size, file_column, label_column)
    _check_augmentation(data, augment, rand_augment)
    recipe = RECIPES.get(data, OTHERS)
    epochs = positive("train.train", "epochs=", recipe["epochs"] if epochs is None else epochs)
    md.manual_seed(seed)
    arguments = dict(arguments or {})
    if data in NAMED:
        folder = Path("data") / data if data_dir is None else Path(data_dir)
        material = open_named(data, folder, download, mirror, rand_augment, seed)
    else:
        pixels = _input_size(model, arguments) if size is None else size
        columns = {"file_column": file_column, "label_column": label_column}
        material = open_images(Path(data), pixels, columns, mirror, rand_augment, seed)
    settings: dict[str, Any] = {
        "command": "train",
        "model": model,
        "arguments": arguments,
        "data": data,
        "data_dir": data_dir,
        "size": size,
        "file_column": file_column,
        "label_column": label_column,
        "epochs": epochs,
        "batch_size": recipe["batch_size"] if batch_size is None else batch_size,
        "optimizer": {
            "lr": recipe["lr"] if lr is None else lr,
            "momentum": 0.9,
            "weight_decay": recipe["weight_decay"],
        },
        "augment": augment,
        "mirror": mirror,
        "rand_augment": rand_augment,
        "mixup": mixup or None,  # as in the settings of runs that don't know of it
        "cutmix": cutmix or None,
        "seed": seed,
    }
    network = _new_network(model, arguments, material)
    run = Run(output or Path("runs") / f"{model}-{Path(data).resolve().stem}", settings)
    tell = teller(verbose)
    trainer = _trainer(network, settings, run.folder if resume else None)
    if resume:
        _resume(trainer, run, tell)
    _tell_before(tell, network, material, settings)
    loader = material.loader(settings["batch_size"], augment)
    _fit(run, trainer, loader, material, verbose)
    return run


def _check_together(
    data: str,
    data_dir: Any,
    download: bool,
    size: int | None,
    file_column: str | None,
    label_column: str | None,
) -> None:
    """Raise ArgumentError for arguments that `data` has no use for."""
    if data not in ("mnist", "cifar10") and data_dir:
        raise ArgumentError('train.train: data_dir= is for MNIST and CIFAR-10: add data="mnist"')
    if data != "mnist" and download:
        raise ArgumentError('train.train: download= is for MNIST: add data="mnist"')
    if data in NAMED and (file_column or label_column):
        raise ArgumentError(
            f"train.train: file_column= and label_column= are for tables, not for {data}"
        )
    if data in NAMED and size:
        raise ArgumentError(f"train.train: size= is for images of your own: {data} has its own")


def _check_augmentation(data: str, augment: bool, rand_augment: int | None) -> None:
    if rand_augment is None:
        return
    if not augment:
        raise ArgumentError("train.train: rand_augment= is a part of augment=: add augment=True")
    if data in ("digits", "mnist"):
        raise ArgumentError(
            f"train.train: rand_augment= is for photographs, not {data}: leave it out"
        )
    if not 1 <= rand_augment <= STRONGEST:
        raise ArgumentError(f"train.train: rand_augment= must be from 1 to {STRONGEST}")


def _input_size(model: str, arguments: dict[str, Any]) -> int:
    """Height and width of the images that a network is made for."""
    with init.skipped():
        return int(models.create(model, **arguments).input_shape[0])


def _new_network(model: str, arguments: dict[str, Any], material: Material) -> Network:
    """The network, new, for the images and classes of the data."""
    given = {"num_classes": len(material.classes), **arguments}
    known = model in models.list() and getattr(models, model)
    if known and "in_channels" in inspect.signature(known).parameters:
        given = {"in_channels": material.channels, **given}
    network = models.create(model, **given)
    network.image_format, network.classes = material.image_format, material.classes
    return network


def _tell_before(
    tell: Tell, network: Network, material: Material, settings: dict[str, Any]
) -> None:
    """Say what is trained on what."""
    tell(
        f"{_title(settings['model'])} ({network.num_parameters:,} parameters) "
        f"on {settings['data']}: "
        f"{len(material.training):,} images to train on, {len(material.test):,} to test on; "
        f"threads: {md.config.num_threads}, seed: {settings['seed']}"
    )
    tell(classes_table(material.classes, {"train": material.training, "test": material.test}))
    tell(left_out(material.skipped, material.passed_over))


def _title(model: str) -> str:
    return "LeNet-5" if model == "lenet5" else model


def _trainer(network: Any, settings: dict[str, Any], folder: Path | None) -> Trainer:
    """The trainer; with checkpoints in `folder`, if there is to be one."""
    optimizer = optim.SGD(network.parameters(), **settings["optimizer"])
    scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, settings["epochs"])
    callbacks: list[Any] = [
        kind(settings[name], num_classes=len(network.classes))
        for name, kind in (("mixup", MixUp), ("cutmix", CutMix))
        if settings[name]
    ]
    if folder is not None:
        callbacks.append(Checkpoint(folder / CHECKPOINTS, keep=1))
        if find_spec("matplotlib"):
            callbacks.append(TrainingMonitor(folder))
    return Trainer(
        network, optimizer, metrics=["accuracy"], scheduler=scheduler, callbacks=callbacks
    )


def _fit(run: Run, trainer: Trainer, loader: Any, material: Material, verbose: bool) -> None:
    """Train, measure and save."""
    tell = teller(verbose)
    try:
        validation = material.test_loader() if material.is_validation else None
        trainer.fit(loader, run.settings["epochs"], validation, verbose)
        result = trainer.evaluate(material.test_loader())
    except KeyboardInterrupt:
        _save_interrupted(run, trainer, tell)
        raise
    right = round(result["accuracy"] * len(material.test))
    tell(
        f"test accuracy {result['accuracy']:.2%} ({right:,} of {len(material.test):,}), "
        f"loss {result['loss']:.4f}"
    )
    saved = _save(run, trainer.model, trainer.history, result)
    saved += _save_figures(run, trainer, material, tell)
    tell(f"saved {', '.join(saved[:-1])} and {saved[-1]} in {run.folder}")


def _save_interrupted(run: Run, trainer: Trainer, tell: Tell) -> None:
    """Save what there is after Ctrl-C, unless that is less than an earlier run saved."""
    if trainer.epoch == 0 and (run.folder / WEIGHTS).exists():
        tell(f"\ninterrupted in the first epoch: {run.folder} keeps what an earlier run saved")
        return
    epochs = "1 whole epoch" if trainer.epoch == 1 else f"{trainer.epoch} whole epochs"
    tell(f"\ninterrupted after {epochs}: saving what there is")
    saved = _save(run, trainer.model, trainer.history, None)
    tell(f"saved {', '.join(saved[:-1])} and {saved[-1]} in {run.folder}")


def _save(run: Run, model: Any, history: Any, test: dict[str, Any] | None) -> list[str]:
    """Weights, settings and history, each file whole or not at all; their names."""
    md.save_weights(model, run.folder / WEIGHTS)
    run.write("settings", run.settings)
    run.write("history", {"epochs": history.rows, "test": test})
    return [WEIGHTS, "settings.json", "history.json"]


def _save_figures(run: Run, trainer: Trainer, material: Material, tell: Tell) -> list[str]:
    """Write results.json and report.html; the names of what could be written."""
    scores = trainer.predict(material.test_loader())
    if not np.isfinite(scores).all():
        tell("no report.html: the scores of the test images aren't finite")
        return []
    labels = np.asarray(material.test.batch(range(len(material.test)))[1])
    approach = {
        "name": "trained",
        **figures(scores, labels, material.classes),
        "seconds": sum(row["seconds"] for row in trainer.history),
        "trained_parameters": trainer.model.num_trainable,
        "epochs": trainer.history.rows,
    }
    counts = {"train": len(material.training), "validation": len(material.test)}
    skipped = [*material.skipped, *material.passed_over]
    save_results(
        run, [approach], "trained", scores, material.test, material.classes, counts, skipped, tell
    )
    save_report(run, tell)
    return ["results.json", *([] if run.report is None else ["report.html"])]


def _resume(trainer: Trainer, run: Run, tell: Tell) -> None:
    """Resume the training whose checkpoints are in the run's folder, if there are any.

    Its settings stand beside them, so that another training isn't taken for it.
    """
    folder = run.folder / CHECKPOINTS
    last, beside = Checkpoint.last(folder), folder / "settings.json"
    wanted = json.loads(json.dumps({name: run.settings[name] for name in DECISIVE}))
    if last is None:
        folder.mkdir(exist_ok=True)
        with atomic_write(beside) as temporary:
            temporary.write_text(json.dumps(wanted, indent=1) + "\n")
        return
    begun = _read_settings(beside)
    other = [name for name in DECISIVE if begun.get(name) != wanted[name]]
    if other:
        told = ", ".join(f"{name}={begun.get(name)!r}, not {wanted[name]!r}" for name in other)
        raise StateError(
            f"{run.folder} holds a training begun with {told}: give the same arguments, or another "
            "output="
        )
    try:
        trainer.resume(last)
    except FileFormatError as error:
        raise FileFormatError(
            f"{error}: remove it to go on from the checkpoint before it, or {folder} to begin anew"
        ) from error
    tell(f"going on after epoch {trainer.epoch}, from {last}")


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise StateError(f"{path}: what the checkpoints beside it are of can't be read") from error
    return found if isinstance(found, dict) else {}
