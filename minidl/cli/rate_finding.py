"""`minidl find-lr`: the command of `train.find_lr`."""

import argparse
from pathlib import Path
from typing import Any

from minidl.cli.arguments import add_material, add_threads, keywords, set_threads
from minidl.cli.pictures import check_picture, save_picture
from minidl.errors import ArgumentError

__all__ = ["add_find_lr"]


def add_find_lr(commands: Any) -> None:
    """Add the command `find-lr`."""
    find = commands.add_parser(
        "find-lr",
        help="find a learning rate for `minidl train`",
        description="Train a new network for a hundred steps, each at a higher learning rate than\n"
        "the one before, and suggest a tenth of the rate at which the loss is least.",
        argument_default=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  minidl find-lr\n"
        "  minidl find-lr --model resnet18 --data pets --batch-size 16 -o rates.png\n",
    )
    find.set_defaults(run=_find_lr)
    add_material(find)
    find.add_argument(
        "--seed", type=int, metavar="N",
        help="where all random numbers come from; the same seed gives the same rate (default: 0)",
    )  # fmt: skip
    find.add_argument(
        "-o", "--output", type=Path, default=None, metavar="FILE",
        help="also draw the loss at each rate: .png, .pdf or .svg",
    )  # fmt: skip
    add_threads(find)


def _find_lr(options: argparse.Namespace) -> int:
    from minidl.train import find_lr

    set_threads(options)
    given = keywords(options)
    output = given.pop("output")
    if output is not None:
        check_picture(output)
    found = find_lr(**given)
    if output is not None:
        save_picture(found.plot(), output)
    shown = "draw it with -o" if output is None else f"{output} shows it"
    try:
        rate = found.suggested
    except ArgumentError as error:
        raise ArgumentError(
            f"the loss never falls, so there is no rate to suggest: {shown}"
        ) from error
    print(f"suggested rate: {rate:.2g}, a tenth of that at which the loss is least ({shown})")
    return 0
