"""`train.train`: a network of the zoo, trained and saved as a run."""

import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np

import minidl as md
from minidl.checks import positive
from minidl.constants.tasks import CLASSES
from minidl.data.splits import labels_in
from minidl.data.telling import Tell, left_out, parts_table, repeated, teller, warn
from minidl.errors import ArgumentError
from minidl.models import Network
from minidl.train.checkpoint import Checkpoint
from minidl.train.logs import checked_logs, logs_of
from minidl.train.monitor import TrainingMonitor
from minidl.train.recipe import RECIPES, best_weights, recipe_of, trainer_of
from minidl.train.results import save_results
from minidl.train.resuming import CHECKPOINTS, resume_run
from minidl.train.run import Run
from minidl.train.settings import check_arguments, check_paths, check_settings
from minidl.train.sharding import shards_of
from minidl.train.showing import LivePage, data_shown, save_report, training_share
from minidl.train.starting import begin
from minidl.train.stopping import EarlyStopping
from minidl.train.stopwatch import Stopwatch
from minidl.train.trainer import Trainer
from minidl.train.training_data import NAMED, Material, check_folder, check_task

__all__ = ["RECIPES", "train"]

STRONGEST = 30  # of RandAugment's magnitudes
WEIGHTS = "weights.h5"


def train(
    model: str = "lenet5",
    data: str | os.PathLike[str] = "digits",
    *,
    arguments: Mapping[str, Any] | None = None,
    weights: str | os.PathLike[str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    download: bool = False,
    size: int | None = None,
    file_column: str | None = None,
    label_column: str | Sequence[str] | None = None,
    task: str = CLASSES,
    augment: bool = False,
    mirror: bool = True,
    rand_augment: int | None = None,
    mixup: float = 0,
    cutmix: float = 0,
    label_smoothing: float = 0,
    class_weights: bool = False,
    epochs: int | None = None,
    patience: int | None = None,
    batch_size: int | None = None,
    accumulate: int = 1,
    shards: int | None = None,
    optimizer: str = "sgd",
    lr: float | None = None,
    weight_decay: float | None = None,
    schedule: str = "cosine",
    workers: int | None = None,
    seed: int = 0,
    resume: bool = False,
    log: str | Sequence[str] | None = None,
    output: str | os.PathLike[str] | None = None,
    verbose: bool = True,
) -> Run:
    """Train a network of `minidl.models`, as `minidl train` does, and save the run.

    The weights of the epoch with the lowest validation loss are saved, and measured on the test
    part, which nothing is chosen by. Where the data has no third part of its own to validate on, a
    tenth of each class of the training part, drawn by the seed, is held out for that. The digits
    are too few: they train on all of it, and the last weights are saved, unless there is patience=.

    model, arguments: the network's name, and what else `models.create` gets.
    weights: start with these, as `models.create` takes them; a new head unless the classes are the
        same. Images are normalized as the weights want it, if that is known.
    data: "digits", "mnist", "cifar10", or a path that `data.image_parts` or `HDF5Dataset` reads.
    data_dir: the folder with the files of MNIST or CIFAR-10; None: data/NAME.
    download: fetch MNIST's files that aren't there.
    size: height and width of images of your own, in pixels; None: the network's.
    file_column, label_column: as `data.ImageList` takes them.
    task: "classes": which of them an image is of; "labels": which of several it has; "numbers":
        numbers that are to be predicted. Labels and numbers are read from a table.
    augment: alter the training images at random; numbers such as places and sizes don't follow.
    mirror: also by mirroring.
    rand_augment: the strength, 1 to 30, of `RandAugment` on top of that; None: none.
    mixup, cutmix: alpha of `MixUp` and `CutMix`; 0: none.
    label_smoothing: as `CrossEntropyLoss` takes it, from 0 to below 1.
    class_weights: weigh the loss so that all classes count alike, by `train.class_weights`.
    epochs, batch_size: None: what suits the data (`RECIPES`).
    patience: stop after so many epochs without a lower validation loss; None: never.
    accumulate: of how many batches a step takes the mean gradient.
    shards: into how many a batch is cut, which the ranks of an MPI run share, as `Trainer` takes
        them; None: under mpiexec 8, or as many as have four images; otherwise none.
    optimizer: the name of one in `minidl.optim`, such as "sgd", with momentum 0.9, or "adamw".
    lr, weight_decay: None: for SGD what suits the data (`RECIPES`), for others their own defaults.
    schedule: of the learning rate: "cosine" falls to 0, "onecycle" rises before and falls, after
        each step, "plateau" falls when the validation loss doesn't, "constant" stays.
    workers: as `DataLoader` takes them; None: two, if there is anything to do for them.
    seed: of all random numbers; it is given to `md.manual_seed`.
    resume: keep a checkpoint after each epoch, and go on from the last one there is.
    log: "csv", for history.csv, "tensorboard", for the folder logs, or both, as a list or with a
        comma; each is written after each epoch.
    output: the folder to save in; None: runs/MODEL-DATA.
    verbose: print what is done, with a progress bar.
    Returns the run: `run.folder` has weights.h5, settings.json, history.json, results.json and
    report.html. Ctrl-C saves weights, settings and history, and raises KeyboardInterrupt.
    Raises ArgumentError for arguments that don't go together, StateError for a checkpoint of
    another training, ImportError for a log whose package is missing.
    """
    given = {**locals(), "data": os.fspath(data) if isinstance(data, os.PathLike) else data}
    settings, logs = _checked(given)
    md.manual_seed(seed)
    watch = Stopwatch()
    network, material = begin(given)
    name = f"{model}-{Path(given['data']).resolve().stem}"
    run, tell = Run(output or Path("runs") / name, settings, watch), teller(verbose)
    loader = material.loader(settings["batch_size"], augment, workers)
    best = None if material.validation is None else best_weights(settings)
    page = LivePage(run, tell)
    callbacks = [*([] if best is None else [best]), *logs_of(logs, run.folder), page]
    if resume:
        callbacks.append(Checkpoint(run.folder / CHECKPOINTS, keep=1))
        if find_spec("matplotlib"):
            callbacks.append(TrainingMonitor(run.folder))
    trainer = trainer_of(network, settings, material.goal, len(loader), callbacks)
    if resume:
        resume_run(trainer, run, tell)
    _tell_before(tell, network, material, settings)
    changes = material.augment if augment else []
    run.results = data_shown(run, material.shown, material.classes, changes, seed, tell)
    page.begin(trainer.history.rows)
    watch.lap("opening images")
    _fit(run, trainer, loader, material, best, verbose)
    return run


def _checked(given: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The settings of the run, and the names of logs; or an error for arguments that can't be.

    The task's name in `given` becomes what others know it by.
    """
    who, data = "train.train", given["data"]
    check_arguments(who, given["arguments"])
    optional = {name: given[name] or "" for name in ("weights", "data_dir", "output")}
    check_paths(who, data=data, **optional)
    named = (
        "download", "size", "augment", "mirror", "rand_augment", "mixup", "cutmix",
        "label_smoothing", "class_weights", "patience", "batch_size", "accumulate", "shards", "lr",
        "weight_decay", "workers", "seed", "resume",
    )  # fmt: skip
    check_settings(who, **{name: given[name] for name in named})
    given["task"] = check_task(who, given)
    recipe = recipe_of(who, given)
    recipe["epochs"] = positive(who, "epochs=", recipe["epochs"])
    check_folder(who, data, given["data_dir"], given["download"])
    _check_own(data, given["size"], given["file_column"], given["label_column"])
    _check_augmentation(data, given["augment"], given["rand_augment"])
    weights = given["weights"]
    settings = {
        "command": "train",
        "model": given["model"],
        "arguments": dict(given["arguments"] or {}),
        "weights": None if weights is None else os.fspath(weights),
        **{n: given[n] for n in ("data", "data_dir", "size", "file_column")},
        **{n: given[n] for n in ("label_column", "task")},
        **recipe,
        **{n: given[n] for n in ("augment", "mirror", "rand_augment", "seed")},
        "shards": shards_of(given["shards"], recipe["batch_size"]),
    }
    return settings, checked_logs(who, given["log"])


def _check_own(
    data: str, size: int | None, file_column: str | None, label_column: str | Sequence[str] | None
) -> None:
    """Raise ArgumentError for arguments for images of the user's own, where `data` is none."""
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


def _tell_before(
    tell: Tell, network: Network, material: Material, settings: dict[str, Any]
) -> None:
    """Say what is trained on what."""
    chosen_by = material.validation
    validation = "" if chosen_by is None else f"{len(chosen_by):,} to validate on, "
    tell(
        f"{_title(settings['model'])} ({network.num_parameters:,} parameters) "
        f"on {settings['data']}: {len(material.training):,} images to train on, {validation}"
        f"{len(material.test):,} to test on; "
        f"threads: {md.config.num_threads}, seed: {settings['seed']}"
    )
    tell(parts_table(material.task, material.classes, material.parts))
    tell(left_out(material.skipped, material.passed_over))
    if settings["data"] not in NAMED:
        warn(tell, repeated(material.parts))


def _title(model: str) -> str:
    return "LeNet-5" if model == "lenet5" else model


def _fit(
    run: Run,
    trainer: Trainer,
    loader: Any,
    material: Material,
    best: EarlyStopping | None,
    verbose: bool,
) -> None:
    """Train, measure and save; the model then has the weights that `best` goes back to."""
    tell, goal, model = teller(verbose), material.goal, cast(Network, trainer.model)
    # By the plain loss, without weights of classes and smoothing
    measuring = Trainer(model, None, goal.loss(), goal.metrics)
    try:
        trainer.fit(loader, run.settings["epochs"], material.validation_loader(), verbose)
        run.watch.lap("training")
        result = measuring.evaluate(material.test_loader())
    except KeyboardInterrupt:
        goal.from_standard(model)
        _save_interrupted(run, trainer, tell)
        raise
    goal.from_standard(model)
    if best is not None and best.best is not None:
        tell(f"best: epoch {best.best_epoch}, validation loss {best.best:.4f}")
    if material.task == CLASSES:
        right = round(result["accuracy"] * len(material.test))
        tell(
            f"test accuracy {result['accuracy']:.2%} ({right:,} of {len(material.test):,}), "
            f"loss {result['loss']:.4f}"
        )
    saved = _save(run, model, trainer.history, result)
    best_epoch = None if best is None else best.best_epoch
    saved += _save_figures(run, trainer, measuring, material, best_epoch, tell)
    tell(f"saved {', '.join(saved[:-1])} and {saved[-1]} in {run.folder}")


def _save_interrupted(run: Run, trainer: Trainer, tell: Tell) -> None:
    """Save what there is after Ctrl-C, unless that is less than an earlier run saved."""
    if trainer.epoch == 0 and (run.folder / WEIGHTS).exists():
        tell(f"\ninterrupted in the first epoch: {run.folder} keeps what an earlier run saved")
        return
    epochs = "1 whole epoch" if trainer.epoch == 1 else f"{trainer.epoch} whole epochs"
    tell(f"\ninterrupted after {epochs}: saving what there is")
    saved = _save(run, trainer.model, trainer.history, None)
    save_report(run, tell)
    tell(f"saved {', '.join(saved[:-1])} and {saved[-1]} in {run.folder}")


def _save(run: Run, model: Any, history: Any, test: dict[str, Any] | None) -> list[str]:
    """Weights, settings and history, each file whole or not at all; their names."""
    md.save_weights(model, run.folder / WEIGHTS)
    run.write("settings", run.settings)
    run.write("history", {"epochs": history.rows, "test": test})
    return [WEIGHTS, "settings.json", "history.json"]


def _save_figures(
    run: Run,
    trainer: Trainer,
    measuring: Trainer,
    material: Material,
    best_epoch: int | None,
    tell: Tell,
) -> list[str]:
    """Write results.json and report.html; the names of what could be written."""
    scores = measuring.predict(material.test_loader())
    if not np.isfinite(scores).all():
        tell("no report.html: the scores of the test images aren't finite")
        return []
    goal, labels = material.goal, labels_in(material.test)
    figures = goal.figures(scores, labels, material.classes)
    if told := material.task != CLASSES:
        tell(f"test {goal.told(figures)}, loss {figures['loss']:.4f}")
    approach = {
        "name": "trained",
        **figures,
        "training": None
        if told
        else training_share(
            lambda images: measuring.predict(material.plain(images)), material.training
        ),
        "seconds": sum(row["seconds"] for row in trainer.history),
        "trained_parameters": trainer.model.num_trainable,
        "epochs": trainer.history.rows,
        "best_epoch": best_epoch,
    }
    skipped = [*material.skipped, *material.passed_over]
    save_results(
        run, goal, [approach], "trained", scores, material.test, trainer.model, material.prepare,
        skipped, tell,
    )  # fmt: skip
    save_report(run, tell)
    return ["results.json", *([] if run.report is None else ["report.html"])]
