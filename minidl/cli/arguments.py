"""What commands' arguments are."""

import argparse
import json
from typing import Any

__all__ = [
    "add_arguments", "add_columns", "add_mixing", "add_no_mirror", "add_strict", "add_threads",
    "rate", "whole",
]  # fmt: skip

RESERVED = ("name", "weights")  # of `models.create`: they have options of their own


def whole(text: str) -> int:
    """A whole number from 1 up, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {text}")
    return number


def rate(text: str) -> float:
    """A number above 0, for argparse."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text}")
    return number


def amount(text: str) -> float:
    """A number from 0 up, for argparse."""
    number = float(text)
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number from 0 up, got {text}")
    return number


def _arguments(text: str) -> dict[str, Any]:
    """Names and values to make a network with, for argparse."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"expected JSON, got {text!r}: {error}") from error
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError(f"expected names and values in JSON, got {text!r}")
    if reserved := [name for name in RESERVED if name in found]:
        raise argparse.ArgumentTypeError(f"can't hold {', '.join(reserved)}")
    return found


def add_arguments(command: Any, what: str) -> None:
    """Add --arguments; `what` is its help."""
    command.add_argument("--arguments", type=_arguments, default={}, metavar="JSON", help=what)


def add_threads(command: Any) -> None:
    """Add --threads, for `md.set_num_threads`."""
    command.add_argument(
        "--threads", type=whole, metavar="N", help="threads to use (default: all cores)"
    )


def add_no_mirror(command: Any) -> None:
    """Add --no-mirror, for commands that augment images."""
    command.add_argument(
        "--no-mirror", action="store_true",
        help="for images that mean something else when mirrored, such as text",
    )  # fmt: skip


def add_mixing(command: Any, mixup: float) -> None:
    """Add --mixup, whose default is given, and --cutmix, for commands that train."""
    for name, what, default in (
        ("mixup", "mixtures of two images", mixup),
        ("cutmix", "images with a rectangle of another one in them", 0),
    ):
        command.add_argument(
            f"--{name}", type=amount, default=default, metavar="ALPHA",
            help=f"train on {what}; the larger, the more of both (default: {default}; 0: none)",
        )  # fmt: skip


def add_columns(command: Any) -> None:
    """Add --file-column and --label-column, for commands that read tables of images."""
    for column in ("file", "label"):
        command.add_argument(
            f"--{column}-column", metavar="NAME",
            help=f"the column of a .csv list that holds the {column}s (default: {column}, or the "
            "only one that can be)",
        )  # fmt: skip


def add_strict(command: Any) -> None:
    """Add --strict, for commands that read images."""
    command.add_argument(
        "--strict", action="store_true",
        help="stop at the first image that can't be read (default: leave it out)",
    )  # fmt: skip


# As argparse's errors call them
whole.__name__, rate.__name__, amount.__name__ = "whole number", "number", "number"
