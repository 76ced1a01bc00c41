"""`minidl finetune`: the command of `train.finetune`."""

import argparse
from pathlib import Path
from typing import Any

from minidl.cli.arguments import (
    add_arguments,
    add_class_weights,
    add_columns,
    add_config,
    add_mixing,
    add_no_mirror,
    add_pixels,
    add_shards,
    add_strict,
    add_task,
    add_threads,
    keywords,
    rate,
    set_threads,
    whole,
)  # fmt: skip
from minidl.errors import ArgumentError

__all__ = ["add_finetune"]


def add_finetune(commands: Any) -> None:
    """Add the command `finetune`."""
    finetune = commands.add_parser(
        "finetune",
        help="fine-tune a pretrained network, and compare what that gains",
        description="Train a pretrained network for the classes of IMAGES: its last layer alone\n"
        "(the linear probe), then all of it, as far as cross-validation on the training\n"
        "images says that this pays; and, to compare, the same network untrained.",
        argument_default=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  minidl finetune mobilenet_2_5_224_tf.h5 pets\n"
        "      a file of Keras's and a folder with a sub-folder of images a class, or\n"
        "      with the sub-folders train and val (or test) of such\n"
        "  minidl finetune mobilenet.h5 leaves.csv --task numbers --label-column age,size\n"
        "      numbers to predict, in two columns of a table that lists the images\n"
        "  minidl finetune\n"
        "      minidl's own LeNet-5 for MNIST on scikit-learn's digits, ten of a class\n",
    )
    finetune.set_defaults(run=_finetune)
    _add_material(finetune)
    _add_recipe(finetune)
    finetune.add_argument(
        "--resume", action="store_true",
        help="keep a checkpoint after each epoch, and go on from those that there are",
    )  # fmt: skip
    finetune.add_argument(
        "-o", "--output", type=Path, metavar="DIR",
        help="the folder to save in (default: runs/finetune-MODEL-IMAGES)",
    )  # fmt: skip
    add_config(finetune)


def _add_material(finetune: argparse.ArgumentParser) -> None:
    """Add what is fine-tuned, and on what."""
    finetune.add_argument(
        "weights", nargs="?", default=None, metavar="WEIGHTS",
        help="a file of weights, of minidl's, Keras's, torchvision's or timm's, or an ONNX file",
    )  # fmt: skip
    finetune.add_argument(
        "images", nargs="?", type=Path, default=None, metavar="IMAGES",
        help="a folder of images, a CSV list, an .npz, or an HDF5 file of `minidl build`",
    )  # fmt: skip
    add_columns(finetune, several=True)
    add_task(finetune)
    finetune.add_argument(
        "--model", metavar="NAME",
        help="the network that the weights are of (default: known by the file)",
    )  # fmt: skip
    add_arguments(finetune, "with --model, what to make it with, such as '{\"width\": 0.25}'")
    add_strict(finetune)
    finetune.add_argument(
        "--size", type=whole, metavar="N",
        help="height and width of the images (default: what the weights were trained on)",
    )  # fmt: skip
    add_pixels(finetune)


def _add_recipe(finetune: argparse.ArgumentParser) -> None:
    """Add how it is fine-tuned."""
    finetune.add_argument(
        "--epochs", type=whole, metavar="N",
        help="passes over the training images in fine-tuning (default: 6)",
    )  # fmt: skip
    finetune.add_argument("--batch-size", type=whole, metavar="N", help="(default: 16)")
    add_shards(finetune)
    finetune.add_argument(
        "--lr", type=rate, metavar="X",
        help="largest learning rate of fine-tuning (default: found on images held out)",
    )  # fmt: skip
    finetune.add_argument(
        "--freeze", metavar="LAYER",
        help="the layer up to which the body isn't trained (default: all of it is)",
    )  # fmt: skip
    add_no_mirror(finetune)
    add_mixing(finetune, mixup=0)
    add_class_weights(finetune)
    finetune.add_argument(
        "--no-scratch",
        dest="scratch",
        action="store_false",
        help="leave out the training from scratch",
    )
    finetune.add_argument(
        "--seed", type=int, metavar="N",
        help="where all random numbers come from (default: 0)",
    )  # fmt: skip
    finetune.add_argument(
        "--seeds", type=whole, metavar="N",
        help="repeat it with N seeds, to tell how sure the gain is (default: 1)",
    )  # fmt: skip
    add_threads(finetune)


def _finetune(options: argparse.Namespace) -> int:
    from minidl.train import finetune

    if options.weights is not None and options.images is None:
        raise ArgumentError("IMAGES is missing: minidl finetune WEIGHTS IMAGES")
    set_threads(options)
    finetune(**keywords(options))
    return 0
