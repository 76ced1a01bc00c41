"""`minidl train`: a network on digits, CIFAR-10 or images of your own."""

import argparse
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import minidl as md
from minidl.cli.arguments import (
    add_arguments,
    add_columns,
    add_mixing,
    add_no_mirror,
    add_threads,
    rate,
    whole,
)  # fmt: skip
from minidl.cli.reporting import save_report, save_results
from minidl.cli.telling import tell_classes, tell_left_out
from minidl.cli.training_data import NAMED, Material, open_material
from minidl.errors import ArgumentError, FileFormatError, StateError

__all__ = ["INTERRUPTED", "RECIPES", "add_train"]

INTERRUPTED = 130  # the exit status of a program that Ctrl-C ended

# What suits each data set
RECIPES: dict[str, dict[str, Any]] = {
    "digits": {"epochs": 20, "batch_size": 32, "lr": 0.02, "weight_decay": 1e-2},
    "mnist": {"epochs": 10, "batch_size": 64, "lr": 0.02, "weight_decay": 2e-3},
    "cifar10": {"epochs": 40, "batch_size": 64, "lr": 0.1, "weight_decay": 5e-4},
}
OTHERS: dict[str, Any] = {"epochs": 40, "batch_size": 32, "lr": 0.05, "weight_decay": 5e-4}
STRONGEST = 30  # of RandAugment's magnitudes
WEIGHTS, CHECKPOINTS = "weights.h5", "checkpoints"
# Of the settings, those that a training which goes on must share
DECISIVE = (
    "model", "arguments", "data", "size", "epochs", "batch_size", "optimizer", "augment",
    "mirror", "rand_augment", "mixup", "cutmix", "seed",
)  # fmt: skip


def add_train(commands: Any) -> None:
    """Add the command `train`."""
    train = commands.add_parser(
        "train",
        help="train a network on digits, CIFAR-10 or images of your own",
        description="Train a network, report its accuracy on the test part, and save weights,\n"
        "settings, history, figures and a page that shows them. Ctrl-C saves what there\n"
        "is.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  minidl train\n"
        "      LeNet-5 on scikit-learn's 1,797 digits, upsampled to 32x32\n"
        "  minidl train --data mnist --data-dir mnist --download\n"
        "      MNIST's 70,000, fetched into the folder mnist if they aren't there\n"
        "  minidl train --model resnet20 --data cifar10 --augment --resume\n"
        "      the same command, after a kill, goes on where it was\n"
        "  minidl train --model resnet18 --data pets --augment\n"
        "      a folder with a sub-folder of images a class, or of train and val\n"
        "      (or test); a fifth of what isn't split is held out\n",
    )
    train.set_defaults(run=_train)
    _add_material(train)
    _add_recipe(train)
    train.add_argument(
        "--resume", action="store_true",
        help="keep a checkpoint and curves.png after each epoch, and go on from the last "
        "checkpoint there is",
    )  # fmt: skip
    train.add_argument(
        "-o", "--output", type=Path, metavar="DIR",
        help="the folder to save in, made if it isn't there (default: runs/MODEL-DATA)",
    )  # fmt: skip


def _add_material(train: argparse.ArgumentParser) -> None:
    """Add what is trained, and on what."""
    train.add_argument(
        "--model", default="lenet5", metavar="NAME",
        help="a network of minidl.models (default: lenet5)",
    )  # fmt: skip
    add_arguments(train, "what else to make it with, such as '{\"input_size\": 64}'")
    train.add_argument(
        "--data", default="digits", metavar="NAME|PATH",
        help=f"{', '.join(NAMED)}, or a folder of images, a CSV list, an .npz, or an HDF5 file of "
        "`minidl build` (default: digits)",
    )  # fmt: skip
    add_columns(train)
    train.add_argument(
        "--data-dir", type=Path, metavar="DIR",
        help="the folder with the files of MNIST or CIFAR-10 (default: data/NAME)",
    )  # fmt: skip
    train.add_argument(
        "--download", action="store_true", help="fetch MNIST's files that aren't in the folder"
    )
    train.add_argument(
        "--size", type=whole, metavar="N",
        help="height and width of images of your own (default: the network's)",
    )  # fmt: skip


def _add_recipe(train: argparse.ArgumentParser) -> None:
    """Add how it is trained."""
    train.add_argument(
        "--augment", action="store_true",
        help="alter the training images at random: shifts, crops, mirror images",
    )  # fmt: skip
    add_no_mirror(train)
    train.add_argument(
        "--rand-augment", type=whole, metavar="N",
        help="with --augment, alter photographs also by two changes of shape, colour or tone, of "
        "strength N up to 30; 9 is usual",
    )  # fmt: skip
    add_mixing(train, mixup=0)
    epochs = ", ".join(f"{recipe['epochs']} for {name}" for name, recipe in sorted(RECIPES.items()))
    train.add_argument(
        "--epochs", type=whole, metavar="N",
        help=f"passes over the training part (default: {epochs})",
    )  # fmt: skip
    train.add_argument(
        "--batch-size", type=whole, metavar="N", help="images a step (default: by data set)"
    )
    train.add_argument(
        "--lr", type=rate, metavar="X", help="first learning rate (default: by data set)"
    )
    train.add_argument(
        "--seed", type=int, default=0, metavar="N",
        help="where all random numbers come from; the same seed gives the same bits (default: 0)",
    )  # fmt: skip
    add_threads(train)


def _train(options: argparse.Namespace) -> int:
    from minidl.train.run import Run

    _check_together(options)
    md.manual_seed(options.seed)
    if options.threads:
        md.set_num_threads(options.threads)
    material = open_material(options)
    settings = _settings(options)
    folder = options.output or Path("runs") / f"{options.model}-{Path(options.data).resolve().stem}"
    model = _model(options, material)
    run = Run(folder, settings)
    trainer = _trainer(model, settings, folder if options.resume else None)
    if options.resume:
        _go_on(trainer, run.settings, folder)
    print(
        f"{_title(options.model)} ({model.num_parameters:,} parameters) on {options.data}: "
        f"{len(material.training):,} images to train on, {len(material.test):,} to test on; "
        f"threads: {md.config.num_threads}, seed: {options.seed}"
    )
    tell_classes(material.classes, {"train": material.training, "test": material.test})
    tell_left_out(material.skipped, material.passed_over)
    sys.stdout.flush()
    result = None
    try:
        trainer.fit(
            material.loader(settings["batch_size"], options.augment),
            settings["epochs"],
            material.test_loader() if material.is_validation else None,
        )
        result = trainer.evaluate(material.test_loader())
    except KeyboardInterrupt:
        epochs = "1 whole epoch" if trainer.epoch == 1 else f"{trainer.epoch} whole epochs"
        if trainer.epoch == 0 and (folder / WEIGHTS).exists():
            print(f"\ninterrupted in the first epoch: {folder} keeps what an earlier run saved")
            return INTERRUPTED
        print(f"\ninterrupted after {epochs}: saving what there is", flush=True)
    if result is not None:
        right = round(result["accuracy"] * len(material.test))
        print(
            f"test accuracy {result['accuracy']:.2%} ({right:,} of {len(material.test):,}), "
            f"loss {result['loss']:.4f}"
        )
    _save(run, model, trainer.history, result)
    saved = [WEIGHTS, "settings.json", "history.json"]
    if result is not None:
        saved += _report(run, trainer, material)
    print(f"saved {', '.join(saved[:-1])} and {saved[-1]} in {folder}")
    return INTERRUPTED if result is None else 0


def _check_together(options: argparse.Namespace) -> None:
    if options.data not in ("mnist", "cifar10") and options.data_dir:
        raise ArgumentError("--data-dir is for MNIST and CIFAR-10: add --data mnist")
    if options.data != "mnist" and options.download:
        raise ArgumentError("--download is for MNIST: add --data mnist")
    if options.data in NAMED and (options.file_column or options.label_column):
        raise ArgumentError(
            f"--file-column and --label-column are for .csv lists, not {options.data}"
        )
    if options.data in NAMED and options.size:
        raise ArgumentError(f"--size is for images of your own: {options.data} has its own")
    if options.rand_augment and not options.augment:
        raise ArgumentError("--rand-augment is a part of --augment: add --augment")
    if options.rand_augment and options.data in ("digits", "mnist"):
        raise ArgumentError(f"--rand-augment is for photographs, not {options.data}: leave it out")
    if (options.rand_augment or 0) > STRONGEST:
        raise ArgumentError(f"--rand-augment must be from 1 to {STRONGEST}")


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """All that decides the result, as it is saved."""
    recipe = RECIPES.get(options.data, OTHERS)
    return {
        "command": "train",
        "model": options.model,
        "arguments": options.arguments,
        "data": options.data,
        "size": options.size,
        "epochs": options.epochs or recipe["epochs"],
        "batch_size": options.batch_size or recipe["batch_size"],
        "optimizer": {
            "lr": options.lr or recipe["lr"],
            "momentum": 0.9,
            "weight_decay": recipe["weight_decay"],
        },
        "augment": options.augment,
        "mirror": not options.no_mirror,
        "rand_augment": options.rand_augment,
        "mixup": options.mixup or None,  # as in the settings of runs that don't know of it
        "cutmix": options.cutmix or None,
        "seed": options.seed,
    }


def _model(options: argparse.Namespace, material: Material) -> Any:
    """The network, new, for the images and classes of the data."""
    import inspect

    from minidl import models

    given = {"num_classes": len(material.classes), **options.arguments}
    known = options.model in models.list() and getattr(models, options.model)
    if known and "in_channels" in inspect.signature(known).parameters:
        given = {"in_channels": material.channels, **given}
    model = models.create(options.model, **given)
    model.image_format, model.classes = material.image_format, material.classes
    return model


def _title(model: str) -> str:
    return "LeNet-5" if model == "lenet5" else model


def _trainer(model: Any, settings: dict[str, Any], folder: Path | None) -> Any:
    from minidl import optim, train

    optimizer = optim.SGD(model.parameters(), **settings["optimizer"])
    scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, settings["epochs"])
    callbacks: list[Any] = [
        kind(settings[name], num_classes=len(model.classes))
        for name, kind in (("mixup", train.MixUp), ("cutmix", train.CutMix))
        if settings[name]
    ]
    if folder is not None:
        callbacks.append(train.Checkpoint(folder / CHECKPOINTS, keep=1))
        if find_spec("matplotlib"):
            callbacks.append(train.TrainingMonitor(folder))
    return train.Trainer(
        model, optimizer, metrics=["accuracy"], scheduler=scheduler, callbacks=callbacks
    )


def _go_on(trainer: Any, settings: dict[str, Any], folder: Path) -> None:
    """Resume the training whose checkpoints are in the folder, if there are any.

    Its settings stand beside them, so that another training isn't taken for it.
    """
    from minidl.io.atomic import atomic_write
    from minidl.train import Checkpoint

    last, beside = Checkpoint.last(folder / CHECKPOINTS), folder / CHECKPOINTS / "settings.json"
    wanted = json.loads(json.dumps({name: settings[name] for name in DECISIVE}))
    if last is None:
        beside.parent.mkdir(exist_ok=True)
        with atomic_write(beside) as temporary:
            temporary.write_text(json.dumps(wanted, indent=1) + "\n")
        return
    begun = _read_settings(beside)
    other = [name for name in DECISIVE if begun.get(name) != wanted[name]]
    if other:
        told = ", ".join(f"{name}={begun.get(name)!r}, not {wanted[name]!r}" for name in other)
        raise StateError(
            f"{folder} holds a training begun with {told}: give the same arguments, or another -o"
        )
    try:
        trainer.resume(last)
    except FileFormatError as error:
        raise FileFormatError(
            f"{error}: remove it to go on from the checkpoint before it, or {last.parent} to begin "
            "anew"
        ) from error
    print(f"going on after epoch {trainer.epoch}, from {last}")


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise StateError(f"{path}: what the checkpoints beside it are of can't be read") from error
    return found if isinstance(found, dict) else {}


def _report(run: Any, trainer: Any, material: Material) -> list[str]:
    """Write results.json and report.html; the names of what could be written."""
    import numpy as np

    from minidl.train.results import figures

    scores = trainer.predict(material.test_loader())
    if not np.isfinite(scores).all():
        print("no report.html: the scores of the test images aren't finite")
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
    left_out = [*material.skipped, *material.passed_over]
    save_results(run, [approach], scores, material.test, material.classes, counts, left_out)
    missing = save_report(run)
    if missing is not None:
        print(f"no report.html: {missing}")
    return ["results.json", *([] if missing else ["report.html"])]


def _save(run: Any, model: Any, history: Any, test: dict[str, Any] | None) -> None:
    """Weights, settings and history, each file whole or not at all."""
    md.save_weights(model, run.folder / WEIGHTS)
    run.write("settings", run.settings)
    run.write("history", {"epochs": history.rows, "test": test})
