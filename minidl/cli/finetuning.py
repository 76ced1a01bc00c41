"""`minidl finetune`: what a pretrained network is worth for images of your own."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import minidl as md
from minidl.cli.arguments import (
    add_arguments,
    add_columns,
    add_mixing,
    add_no_mirror,
    add_strict,
    add_threads,
    rate,
    whole,
)  # fmt: skip
from minidl.cli.images import (
    SMALL,
    Parts,
    columns_of,
    decoded_size,
    open_parts,
    preparation,
)  # fmt: skip
from minidl.cli.reporting import save_report, save_results
from minidl.cli.telling import tell_classes, tell_left_out
from minidl.errors import ArgumentError, GradError

if TYPE_CHECKING:
    from minidl.models import Network
    from minidl.train.transfer import Approach, Transfer

__all__ = ["add_finetune"]


def add_finetune(commands: Any) -> None:
    """Add the command `finetune`."""
    finetune = commands.add_parser(
        "finetune",
        help="fine-tune a pretrained network, and compare what that gains",
        description="Train a pretrained network for the classes of IMAGES in four ways (a linear\n"
        "classifier on its features; a new head; head and top of the body; all of it,\n"
        "untrained) and compare them in one report.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  minidl finetune mobilenet_2_5_224_tf.h5 pets\n"
        "      a file of Keras's and a folder with a sub-folder of images a class, or\n"
        "      with the sub-folders train and val (or test) of such\n"
        "  minidl finetune\n"
        "      minidl's own LeNet-5 for MNIST on scikit-learn's digits, ten of a class\n",
    )
    finetune.set_defaults(run=_finetune)
    _add_material(finetune)
    _add_recipe(finetune)
    finetune.add_argument(
        "-o", "--output", type=Path, metavar="DIR",
        help="the folder to save in (default: runs/finetune-MODEL-IMAGES)",
    )  # fmt: skip


def _add_material(finetune: argparse.ArgumentParser) -> None:
    """Add what is fine-tuned, and on what."""
    finetune.add_argument(
        "weights", nargs="?", metavar="WEIGHTS",
        help="a file of weights, of minidl's, Keras's, torchvision's or timm's",
    )  # fmt: skip
    finetune.add_argument(
        "images", nargs="?", type=Path, metavar="IMAGES",
        help="a folder of images, a CSV list, an .npz, or an HDF5 file of `minidl build`",
    )  # fmt: skip
    add_columns(finetune)
    finetune.add_argument(
        "--model", metavar="NAME",
        help="the network that the weights are of (default: known by the file)",
    )  # fmt: skip
    add_arguments(finetune, "with --model, what to make it with, such as '{\"width\": 0.25}'")
    add_strict(finetune)


def _add_recipe(finetune: argparse.ArgumentParser) -> None:
    """Add how it is fine-tuned."""
    finetune.add_argument(
        "--epochs", type=whole, default=30, metavar="N",
        help="passes over the training images in fine-tuning (default: 30)",
    )  # fmt: skip
    finetune.add_argument(
        "--warm-up", type=whole, default=10, metavar="N",
        help="passes of the new head alone, before (default: 10)",
    )  # fmt: skip
    finetune.add_argument("--batch-size", type=whole, default=16, metavar="N", help="(default: 16)")
    finetune.add_argument(
        "--lr", type=rate, default=5e-3, metavar="X",
        help="learning rate of the head; the body's is a tenth (default: 0.005)",
    )  # fmt: skip
    finetune.add_argument(
        "--freeze", metavar="LAYER",
        help="the layer up to which the body isn't trained (default: its first half)",
    )  # fmt: skip
    add_no_mirror(finetune)
    add_mixing(finetune, mixup=0.4)
    finetune.add_argument(
        "--no-scratch", action="store_true", help="leave out the training from scratch"
    )
    finetune.add_argument(
        "--seed", type=int, default=0, metavar="N",
        help="where all random numbers come from (default: 0)",
    )  # fmt: skip
    add_threads(finetune)


def _finetune(options: argparse.Namespace) -> int:
    from minidl.train.run import Run

    md.manual_seed(options.seed)
    if options.threads:
        md.set_num_threads(options.threads)
    if options.weights is None:
        network, parts, name = _own_network(), _few_digits(), "digits"
    elif options.images is None:
        raise ArgumentError("IMAGES is missing: minidl finetune WEIGHTS IMAGES")
    else:
        network = _pretrained(options)
        size, columns = decoded_size(network), columns_of(options, options.images)
        parts = open_parts(options.images, size, options.seed, columns, options.strict)
        name = options.images.resolve().stem
    settings = _settings(options, network, name)
    transfer = _transfer(options, network, parts)
    run = Run(options.output or Path("runs") / f"finetune-{settings['model']}-{name}", settings)
    run.write("settings", run.settings)
    print(
        f"{settings['model']} ({network.num_parameters:,} parameters) on {name}: "
        f"{len(parts.training):,} images to train on, {len(parts.validation):,} to validate on, "
        f"{len(transfer.classes):,} classes; threads: {md.config.num_threads}, seed: {options.seed}"
    )
    tell_classes(
        parts.training.classes, {"train": parts.training, parts.measured: parts.validation}
    )
    tell_left_out(parts.skipped, parts.passed_over)
    sys.stdout.flush()
    done: list[tuple[Approach, dict[str, Any]]] = []
    try:
        for approach in transfer:
            done.append((approach, _measured(approach, transfer)))
            _keep(run, done, transfer, parts)
    except GradError as error:  # the ways before it are worth their table
        print(f"the next way failed: {error}")
    print(_table([row for _, row in done]))
    missing = save_report(run)
    print(f"no report.html: {missing}" if missing else f"report: {run.folder / 'report.html'}")
    return 0


def _pretrained(options: argparse.Namespace) -> "Network":
    from minidl import models

    if options.model is None:
        if options.arguments:
            raise ArgumentError("--arguments are for --model: a file alone knows its own")
        return models.load(options.weights)
    return models.create(options.model, weights=options.weights, **options.arguments)


def _own_network() -> "Network":
    from minidl import models

    return models.create("lenet5", weights="mnist")


def _few_digits() -> Parts:
    """UCI's digits: ten of each class to learn from, and the test part."""
    from minidl.data.digits import few_digits

    training, validation = few_digits()
    return Parts(training, validation, [], [])


def _settings(options: argparse.Namespace, network: "Network", name: str) -> dict[str, Any]:
    assert network.architecture is not None
    model, arguments = network.architecture
    return {
        "command": "finetune",
        "model": model,
        "arguments": arguments,
        "weights": options.weights or "minidl's own, of MNIST",
        "data": str(options.images or name),
        "warm_up": options.warm_up,
        "epochs": options.epochs,
        "batch_size": options.batch_size,
        "lr": options.lr,
        "freeze": options.freeze,
        "mirror": _mirrors(options, network),
        "mixup": options.mixup,
        "cutmix": options.cutmix,
        "seed": options.seed,
    }


def _mirrors(options: argparse.Namespace, network: "Network") -> bool:
    """Photographs may be mirrored; what is grey and small is mostly text."""
    return not options.no_mirror and network.input_shape[2] == 3


def _transfer(options: argparse.Namespace, network: "Network", parts: Parts) -> "Transfer":
    from minidl import models
    from minidl.train.transfer import Transfer

    assert network.architecture is not None
    name, arguments = network.architecture
    return Transfer(
        network,
        None if options.no_scratch else lambda: models.create(name, **arguments),
        parts.training,
        parts.validation,
        parts.training.classes,
        prepare=preparation(network),
        augment=_augmentation(options, network),
        mirror=_mirrors(options, network),
        mixup=options.mixup,
        cutmix=options.cutmix,
        batch_size=options.batch_size,
        warm_up=options.warm_up,
        epochs=options.epochs,
        lr=options.lr,
        freeze=options.freeze,
        seed=options.seed,
    )


def _augmentation(options: argparse.Namespace, network: "Network") -> list[Any]:
    from minidl.data import transforms

    assert network.image_format is not None
    size = network.image_format.size
    if size < SMALL:
        moved: list[Any] = [
            transforms.RandomAffine(
                10, translate=(0.1, 0.1), shear=10, scale=(0.9, 1.1), fill="edge"
            )
        ]
    else:
        moved = [transforms.RandomResizedCrop(size, (0.35, 1), (0.85, 1 / 0.85))]
    if _mirrors(options, network):
        moved.append(transforms.RandomHorizontalFlip())
    return moved


def _measured(approach: "Approach", transfer: "Transfer") -> dict[str, Any]:
    """The figures of an approach, as results.json has them."""
    import numpy as np

    from minidl.train.results import figures

    labels = np.asarray(transfer.validation.batch(range(len(transfer.validation)))[1])
    row = {
        "name": approach.name,
        **figures(approach.scores, labels, transfer.classes),
        "seconds": approach.seconds,
        "trained_parameters": approach.trained_parameters,
        "epochs": approach.rows,
    }
    print(f"{approach.name}: accuracy {row['accuracy']:.2%}", flush=True)
    return row


def _keep(run: Any, done: list[Any], transfer: "Transfer", parts: Parts) -> None:
    """Write what there is so far: results, and the weights of the best network."""
    best = max(done, key=lambda each: each[1]["accuracy"])[0]
    counts = {"train": len(parts.training), "validation": len(parts.validation)}
    rows = [row for _, row in done]
    left_out = [*parts.skipped, *parts.passed_over]
    save_results(run, rows, best.scores, parts.validation, list(transfer.classes), counts, left_out)
    networks = [each for each in done if each[0].model is not None]
    if networks and max(networks, key=lambda each: each[1]["accuracy"]) is networks[-1]:
        md.save_weights(networks[-1][0].model, run.folder / "weights.h5")


def _table(rows: list[dict[str, Any]]) -> str:
    """The approaches, one a line."""
    lines = [f"{'':14}{'accuracy':>9}{'loss':>9}{'trained':>13}{'seconds':>9}"]
    for row in rows:
        lines.append(
            f"{row['name']:14}{row['accuracy']:>9.2%}{row['loss']:>9.4f}"
            f"{row['trained_parameters']:>13,}{row['seconds']:>9.1f}"
        )
    return "\n".join(lines)
