"""The command `minidl`."""

import argparse
import errno
import json
import math
import platform
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import minidl as md
from minidl.errors import ArgumentError, MinidlError

__all__ = ["main"]

INTERRUPTED = 130  # the exit status of a program that Ctrl-C ended

SAVED = ("weights.h5", "settings.json", "history.json")

# What suits each data set
RECIPES: dict[str, dict[str, Any]] = {
    "digits": {"epochs": 20, "batch_size": 32, "lr": 0.02, "weight_decay": 1e-2},
    "mnist": {"epochs": 10, "batch_size": 64, "lr": 0.02, "weight_decay": 2e-3},
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except (MinidlError, ImportError, OSError) as error:
        print(f"minidl {options.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"minidl {options.command}: interrupted", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="minidl",
        description="A deep-learning engine for CPUs, from scratch on NumPy, Numba and h5py.",
        epilog="`minidl COMMAND --help` tells what a command takes.",
    )
    parser.add_argument("--version", action="version", version=f"minidl {md.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_train(commands)
    _add_warmup(commands)
    _add_doctor(commands)
    _add_bench(commands)
    _add_convert(commands)
    _add_inspect(commands)
    return parser


def _add_convert(commands: Any) -> None:
    convert = commands.add_parser(
        "convert",
        help="write a file of weights in another format",
        description="Write the weights of one file in another format: minidl's HDF5 (.h5), Keras\n"
        "3's (.weights.h5) or safetensors with PyTorch's names and layouts\n"
        "(.safetensors). The source may be any of these, a Keras .h5 or .keras file, or\n"
        "a checkpoint.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    convert.set_defaults(run=_convert)
    convert.add_argument("source", type=Path, metavar="IN", help="known by its content")
    convert.add_argument("target", type=Path, metavar="OUT", help="its ending tells the format")
    convert.add_argument(
        "--model", metavar="NAME",
        help="the network the weights are of, such as lenet5; needed where only the network tells "
        "a layout, and to name the layers as it does",
    )  # fmt: skip
    convert.add_argument(
        "--arguments", type=_json, default={}, metavar="JSON",
        help='what to make the network with, such as \'{"num_classes": 7}\'',
    )  # fmt: skip


def _add_inspect(commands: Any) -> None:
    inspect = commands.add_parser(
        "inspect",
        help="show what a file of weights or a checkpoint holds",
        description="Show what a file of weights or a checkpoint holds: minidl's, Keras's (.h5, "
        ".weights.h5, .keras) or safetensors. All of it is read, and checksums are verified.",
    )
    inspect.set_defaults(run=_inspect)
    inspect.add_argument("file", type=Path, metavar="FILE", help="known by its content")


def _add_warmup(commands: Any) -> None:
    warmup = commands.add_parser(
        "warmup",
        help="compile all kernels now",
        description="Compile all kernels for this machine, so that nothing has to wait for it.",
    )
    warmup.set_defaults(run=_warmup)
    warmup.add_argument(
        "--dtype", choices=("float32", "float64"), default="float32",
        help="the dtype to compile for (default: float32)",
    )  # fmt: skip


def _add_doctor(commands: Any) -> None:
    doctor = commands.add_parser(
        "doctor",
        help="tell what this machine has, and what is wrong",
        description="Tell what this machine has, and what is wrong. The status is 0 if all is "
        "well, 1 otherwise.",
    )
    doctor.set_defaults(run=_doctor)


def _add_bench(commands: Any) -> None:
    bench = commands.add_parser(
        "bench",
        help="measure this machine, beside PyTorch if it is installed",
        description="A training step, a convolution and an inference, beside PyTorch if it is "
        "installed; takes less than a minute. Let nothing else run meanwhile.",
    )
    bench.set_defaults(run=_bench)
    bench.add_argument(
        "--threads", type=_whole, default=md.config.num_threads, metavar="N",
        help="threads to use (default: all cores)",
    )  # fmt: skip
    bench.add_argument("--json", type=Path, metavar="FILE", help="also save the figures here")


def _add_train(commands: Any) -> None:
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
        type=_whole,
        metavar="N",
        help=f"passes over the training part (default: {epochs})",
    )
    train.add_argument(
        "--batch-size", type=_whole, metavar="N", help="images a step (default: by data set)"
    )
    train.add_argument(
        "--lr", type=_rate, metavar="X", help="first learning rate (default: by data set)"
    )
    train.add_argument(
        "--seed", type=int, default=0, metavar="N",
        help="where all random numbers come from; the same seed gives the same bits (default: 0)",
    )  # fmt: skip
    train.add_argument(
        "--threads", type=_whole, metavar="N", help="threads to use (default: all cores)"
    )
    train.add_argument(
        "-o", "--output", type=Path, metavar="DIR",
        help="the folder to save in, made if it isn't there (default: runs/lenet5-DATA)",
    )  # fmt: skip


def _whole(text: str) -> int:
    """A whole number from 1 up, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {text}")
    return number


def _rate(text: str) -> float:
    """A number above 0, for argparse."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text}")
    return number


_whole.__name__, _rate.__name__ = "whole number", "number"  # as argparse's errors call them


def _warmup(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from minidl import warmup
    from minidl.kernels import _cache, _notice

    folder = _cache.folder()
    if folder is None:
        raise OSError(
            f"there is no folder to keep compiled kernels in ({_cache.why_not()}): "
            "set the environment variable MINIDL_CACHE to a folder you may write"
        )
    _notice.keep_quiet()
    began = time.perf_counter()
    cases = list(warmup.cases(options.dtype))
    with tqdm(cases, unit="case", dynamic_ncols=True) as bar:
        for name, compile_it in bar:
            bar.set_description(name)
            compile_it()
    files, size = _cache.files_and_bytes()
    print(
        f"kernels for {options.dtype} are compiled, in {time.perf_counter() - began:.0f} s; "
        f"kept in {folder}: {files} files, {size / 1e6:.1f} MB"
    )
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from minidl import doctor

    rows, wrong = doctor.examine()
    for name, found in rows:
        print(f"{name:<9} {found}")
    for text in wrong:
        print(f"wrong: {text}")
    if not wrong:
        print("all is well")
    return 1 if wrong else 0


def _bench(options: argparse.Namespace) -> int:
    from minidl.bench import short
    from minidl.io.atomic import atomic_write

    md.set_num_threads(options.threads)  # refuses now what the measuring processes would refuse
    result = short.compare(options.threads, tell=lambda text: print(text, file=sys.stderr))
    print(short.render(result))
    if options.json:
        with atomic_write(options.json) as temporary:
            Path(temporary).write_text(json.dumps(result, indent=1) + "\n")
    return 0


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


def _json(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected JSON, got {text!r}: {error}") from error
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError(f"expected names and values in JSON, got {text!r}")
    return found


def _convert(options: argparse.Namespace) -> int:
    from minidl import models
    from minidl.io.convert import convert
    from minidl.io.layers import layers_of
    from minidl.io.save import format_of

    form = format_of(options.target)
    if options.model is None:
        layers = convert(options.source, options.target)
    else:
        model = models.create(options.model, weights=options.source, **options.arguments)
        md.save_weights(model, options.target, form)
        layers = layers_of(model)
    numbers = sum(array.size for layer in layers for array in layer.arrays.values())
    print(f"{options.target}: {len(layers)} layers, {numbers:,} numbers, format {form}")
    return 0


def _inspect(options: argparse.Namespace) -> int:
    from minidl.io.report import inspect

    print(inspect(options.file))
    return 0


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
