"""`minidl train`: the command of `train.train`."""

import argparse
from pathlib import Path
from typing import Any

from minidl.cli.arguments import (
    add_class_weights,
    add_config,
    add_material,
    add_mixing,
    add_no_mirror,
    add_shards,
    add_threads,
    amount,
    keywords,
    names,
    rate,
    set_threads,
    whole,
)  # fmt: skip

__all__ = ["add_train"]


def add_train(commands: Any) -> None:
    """Add the command `train`."""
    train = commands.add_parser(
        "train",
        help="train a network on digits, CIFAR-10 or images of your own",
        description="Train a network, report its accuracy on the test part, and save weights,\n"
        "settings, history, figures and a page that shows them. Ctrl-C saves what there\n"
        "is.",
        argument_default=argparse.SUPPRESS,
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
        "      (or test); a fifth of what isn't split is held out\n"
        "  minidl train --config pets.toml --seed 1\n"
        "      arguments from a file, but for the seed\n",
    )
    train.set_defaults(run=_train)
    add_material(train)
    train.add_argument(
        "--weights", metavar="FILE",
        help="weights to start with, of minidl's, Keras's, torchvision's or timm's; a new head "
        "unless the classes are the same (default: untrained)",
    )  # fmt: skip
    _add_recipe(train)
    _add_optimization(train)
    train.add_argument(
        "--workers", type=int, metavar="N",
        help="threads that read and alter images ahead (default: 2, if there is anything to do)",
    )  # fmt: skip
    train.add_argument(
        "--log", type=names, metavar="NAMES",
        help="also write, after each epoch, history.csv (csv) or files for TensorBoard "
        "(tensorboard), or both: csv,tensorboard",
    )  # fmt: skip
    train.add_argument(
        "--resume", action="store_true",
        help="keep a checkpoint and curves.png after each epoch, and go on from the last "
        "checkpoint there is",
    )  # fmt: skip
    train.add_argument(
        "-o", "--output", type=Path, metavar="DIR",
        help="the folder to save in, made if it isn't there (default: runs/MODEL-DATA)",
    )  # fmt: skip
    add_config(train)


def _train(options: argparse.Namespace) -> int:
    from minidl.train import train

    set_threads(options)
    train(**keywords(options))
    return 0


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
    train.add_argument(
        "--epochs", type=whole, metavar="N",
        help="passes over the training part (default: 20 for digits, 10 for mnist, "
        "40 for cifar10 and images of your own)",
    )  # fmt: skip
    train.add_argument(
        "--accumulate", type=whole, metavar="N",
        help="batches whose mean gradient is one step (default: 1)",
    )  # fmt: skip
    add_shards(train)
    train.add_argument(
        "--patience", type=whole, metavar="N",
        help="stop after N epochs without a lower validation loss (default: never)",
    )  # fmt: skip
    train.add_argument(
        "--seed", type=int, metavar="N",
        help="where all random numbers come from; the same seed gives the same bits (default: 0)",
    )  # fmt: skip
    add_threads(train)


def _add_optimization(train: argparse.ArgumentParser) -> None:
    """Add what is minimized, and how."""
    train.add_argument(
        "--optimizer", metavar="NAME",
        help="one of minidl.optim, such as adamw or lion; sgd has momentum 0.9 (default: sgd)",
    )  # fmt: skip
    train.add_argument(
        "--lr", type=rate, metavar="X",
        help="first learning rate; with onecycle, the highest (default: by data set, or the "
        "optimizer's own)",
    )  # fmt: skip
    train.add_argument(
        "--weight-decay", type=amount, metavar="X",
        help="of the optimizer (default: by data set, or the optimizer's own)",
    )  # fmt: skip
    train.add_argument(
        "--schedule", metavar="NAME",
        help="how the learning rate changes: constant, cosine, onecycle, or plateau, where the "
        "validation loss decides (default: cosine)",
    )  # fmt: skip
    train.add_argument(
        "--label-smoothing", type=amount, metavar="SHARE",
        help="the share of each target that is spread over all classes (default: 0)",
    )  # fmt: skip
    add_class_weights(train)
