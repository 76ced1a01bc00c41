"""`minidl train`: LeNet-5 on handwritten digits."""

import argparse
import errno
import json
import math
import platform
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import minidl as md
from minidl.cli.arguments import rate, whole
from minidl.errors import ArgumentError

__all__ = ["INTERRUPTED", "RECIPES", "add_train"]

INTERRUPTED = 130  # the exit status of a program that Ctrl-C ended

SAVED = ("weights.h5", "settings.json", "history.json")

# What suits each data set
RECIPES: dict[str, dict[str, Any]] = {
    "digits": {"epochs": 20, "batch_size": 32, "lr": 0.02, "weight_decay": 1e-2},
    "mnist": {"epochs": 10, "batch_size": 64, "lr": 0.02, "weight_decay": 2e-3},
}


def add_train(commands: Any) -> None:
    """Add the command `train`."""
    train = commands.add_parser(
        "train",
        help="train LeNet-5 on handwritten digits",
        description="Train LeNet-5 on handwritten digits, report its accuracy on the test part\n"
        "and save weights.h5, settings.json and history.json. Ctrl-C saves what there is.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  minidl train\n"
        "      scikit-learn's 1,797 digits, upsampled to 32x32\n"
        "  minidl train --data mnist --data-dir mnist --download\n"
        "      MNIST's 70,000, fetched into the folder mnist if they aren't there\n",
    )
    train.set_defaults(run=_train)
    train.add_argument(
        "--data", choices=sorted(RECIPES), default="digits",
        help="what to train on: scikit-learn's digits or MNIST (default: digits)",
    )  # fmt: skip
    train.add_argument(
        "--data-dir", type=Path, metavar="DIR",
        help="the folder with MNIST's four idx.gz files (default: data/mnist)",
    )  # fmt: skip
    train.add_argument(
        "--download", action="store_true", help="fetch MNIST's files that aren't in the folder"
    )
    epochs = ", ".join(f"{recipe['epochs']} for {name}" for name, recipe in sorted(RECIPES.items()))
    train.add_argument(
        "--epochs",
        type=whole,
        metavar="N",
        help=f"passes over the training part (default: {epochs})",
    )
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
    train.add_argument(
        "--threads", type=whole, metavar="N", help="threads to use (default: all cores)"
    )
    train.add_argument(
        "-o", "--output", type=Path, metavar="DIR",
        help="the folder to save in, made if it isn't there (default: runs/lenet5-DATA)",
    )  # fmt: skip


def _train(options: argparse.Namespace) -> int:
    from minidl import data, models, optim, train

    settings = _settings(options)
    md.manual_seed(options.seed)
    if options.threads:
        md.set_num_threads(options.threads)
    training, test = _load(options)
    folder = options.output or Path("runs") / f"lenet5-{options.data}"
    _check_output(folder)
    model = models.lenet5()
    optimizer = optim.SGD(model.parameters(), **settings["optimizer"])
    scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, settings["epochs"])
    trainer = train.Trainer(model, optimizer, metrics=["accuracy"], scheduler=scheduler)
    print(
        f"LeNet-5 ({model.num_parameters:,} parameters) on {options.data}: "
        f"{len(training):,} images to train on, {len(test):,} to test on; "
        f"threads: {md.config.num_threads}, seed: {options.seed}"
    )
    result = None
    try:
        trainer.fit(data.DataLoader(training, settings["batch_size"], True), settings["epochs"])
        result = trainer.evaluate(data.DataLoader(test, 256))
    except KeyboardInterrupt:
        epochs = "1 whole epoch" if trainer.epoch == 1 else f"{trainer.epoch} whole epochs"
        if trainer.epoch == 0 and (folder / SAVED[0]).exists():
            print(f"\ninterrupted in the first epoch: {folder} keeps what an earlier run saved")
            return INTERRUPTED
        print(f"\ninterrupted after {epochs}: saving what there is", flush=True)
    if result is not None:
        right = round(result["accuracy"] * len(test))
        print(
            f"test accuracy {result['accuracy']:.2%} ({right:,} of {len(test):,}), "
            f"loss {result['loss']:.4f}"
        )
    _save(folder, model, settings, trainer.history, result)
    print(f"saved {', '.join(SAVED[:-1])} and {SAVED[-1]} in {folder}")
    return INTERRUPTED if result is None else 0


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """All that decides the result, as it is saved."""
    recipe = RECIPES[options.data]
    return {
        "model": "lenet5",
        "data": options.data,
        "epochs": options.epochs or recipe["epochs"],
        "batch_size": options.batch_size or recipe["batch_size"],
        "optimizer": {
            "lr": options.lr or recipe["lr"],
            "momentum": 0.9,
            "weight_decay": recipe["weight_decay"],
        },
        "seed": options.seed,
        "minidl": md.__version__,
        "python": platform.python_version(),
        **{package: version(package) for package in ("numpy", "numba", "h5py")},
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def _load(options: argparse.Namespace) -> Any:
    """The training and the test part."""
    from minidl import data

    if options.data != "mnist" and (options.data_dir or options.download):
        raise ArgumentError("--data-dir and --download are for MNIST: add --data mnist")
    if options.data == "mnist":
        return data.mnist(options.data_dir or Path("data") / "mnist", download=options.download)
    return data.digits()


def _check_output(folder: Path) -> None:
    """Make the folder, and refuse now what would be refused after the training."""
    try:
        if folder.exists() and not folder.is_dir():
            raise OSError(errno.ENOTDIR, "it is a file, not a folder")
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        for name in SAVED:
            if (folder / name).is_dir():
                raise OSError(errno.EISDIR, f"{name} there is a folder")
    except OSError as error:
        raise OSError(f"can't save in {folder}: {error.strerror or error}") from error


def _save(
    folder: Path, model: Any, settings: dict[str, Any], history: Any, test: dict[str, Any] | None
) -> None:
    """Weights, settings and history, each file whole or not at all."""
    from minidl.io.atomic import atomic_write

    weights, *texts = SAVED
    md.save_weights(model, folder / weights)
    if test is not None:  # JSON knows no NaN or infinity
        test = {name: value if math.isfinite(value) else None for name, value in test.items()}
    record = {"epochs": history.rows, "test": test}
    for name, content in zip(texts, (settings, record), strict=True):
        with atomic_write(folder / name) as temporary:
            Path(temporary).write_text(json.dumps(content, indent=1) + "\n")
