"""`minidl find-issues`: the command of `train.find_issues`."""

import argparse
import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minidl.cli.arguments import (
    add_columns,
    add_strict,
    add_threads,
    keywords,
    set_threads,
    whole,
)  # fmt: skip
from minidl.cli.figures import check_figures
from minidl.text import table

if TYPE_CHECKING:
    from minidl.train import Issues

__all__ = ["add_find_issues"]

MOST = 20  # rows of each kind that are printed


def add_find_issues(commands: Any) -> None:
    """Add the command `find-issues`."""
    find = commands.add_parser(
        "find-issues",
        help="find wrong labels and duplicates among labelled images",
        description="Find images whose label is likely wrong, by what a classifier on features\n"
        "of a pretrained network says of images it hasn't seen, and images that are\n"
        "there more than once: the same, resized, saved anew, brighter or mirrored.\n"
        "Nothing is changed: look at them, then correct or remove what is wrong.",
        argument_default=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  minidl find-issues pets --weights mobilenet.h5\n"
        "  minidl find-issues pets.csv --weights mobilenet.h5 --csv issues.csv\n",
    )
    find.set_defaults(run=_find_issues)
    find.add_argument("images", type=Path, metavar="IMAGES", help="labelled images")
    find.add_argument(
        "--weights", type=Path, required=True, metavar="FILE",
        help="a file of weights of a pretrained network, which hasn't been trained on these images",
    )  # fmt: skip
    add_columns(find)
    add_strict(find)
    find.add_argument(
        "--batch-size", type=whole, metavar="N",
        help="images that go through the network at once (default: 32)",
    )  # fmt: skip
    find.add_argument(
        "--seed", type=int, metavar="N", help="of the folds of cross-validation (default: 0)"
    )
    add_threads(find)
    find.add_argument("--csv", type=Path, metavar="FILE", help="also save all of them in a table")


def _find_issues(options: argparse.Namespace) -> int:
    from minidl.data.telling import left_out
    from minidl.train import find_issues

    check_figures(options)
    set_threads(options)
    found = find_issues(**keywords(options))
    print("\n\n".join(_texts(found)))
    if lost := left_out(found.skipped, found.passed_over):
        print(f"\n{lost}")
    if "csv" in options:
        _save_csv(options.csv, found)
    return 0


def _texts(found: "Issues") -> Iterator[str]:
    yield (
        f"{found.count:,} images of {len(found.classes):,} classes: "
        f"{len(found.labels):,} labels are likely wrong, {len(found.duplicates):,} pairs are the "
        "same image"
    )
    if found.labels:
        labels = [
            (row["file"], row["class"], row["suggested"], f"{row['probability']:.1%}")
            for row in found.labels
        ]  # fmt: skip
        yield _table(("file", "label", "likely", "label's probability"), labels, 3)
    if found.duplicates:
        pairs = [
            (row["file"], row["other"], row["kind"], f"{row['similarity']:.3f}", _differing(row))
            for row in found.duplicates
        ]  # fmt: skip
        yield _table(("file", "other file", "how", "similarity", ""), pairs, 3)


def _differing(row: dict[str, Any]) -> str:
    """The parts and the classes of a pair, if there are two."""
    pairs = [(row["part"], row["other_part"]), (row["class"], row["other_class"])]
    return ", ".join(f"{one} and {other}" for one, other in pairs if one != other)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> str:
    rest = len(rows) - MOST
    more = f"\nand {rest:,} more, which --csv FILE saves" if rest > 0 else ""
    return table([head, *rows[:MOST]], left, rules=(1,)) + more


def _save_csv(path: Path, found: "Issues") -> None:
    """Write a row for each issue, whole or not at all."""
    from minidl.io.atomic import atomic_write

    columns = (
        "kind", "file", "part", "class", "other", "other_part", "other_class", "score",
    )  # fmt: skip
    # A file's name may hold bytes that aren't text: they are kept.
    how: dict[str, Any] = {"newline": "", "encoding": "utf-8", "errors": "surrogateescape"}
    with atomic_write(path) as temporary, open(temporary, "w", **how) as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(found.rows())
