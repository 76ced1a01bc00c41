"""What a table says of its images: classes, labels or numbers, read from its cells."""

import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from minidl.constants.tasks import NUMBERS
from minidl.errors import ArgumentError, FileFormatError

__all__ = [
    "Targets", "check_targets", "is_indicator", "read_classes", "read_indicators", "read_labels",
    "read_numbers", "sorted_classes",
]  # fmt: skip

SEPARATORS = re.compile(r"[;|,]")

Targets = tuple[list[str], np.ndarray]


def sorted_classes(texts: Sequence[str]) -> list[str]:
    """The different texts, sorted: as numbers if all are whole numbers, otherwise as text."""
    names = {*texts}
    numbers = all(name.isdecimal() for name in names)
    return sorted(names, key=(lambda name: (int(name), name)) if numbers else None)


def read_classes(path: Path, texts: Sequence[str], known: Sequence[str] | None) -> Targets:
    """Return the classes of these texts, or those known, and their numbers, (N,) int64."""
    names = sorted_classes(texts) if known is None else list(known)
    if unknown := sorted({*texts} - {*names}):
        raise FileFormatError(
            f"{path}: expected the classes {', '.join(names)}, found {', '.join(unknown)} too"
        )
    number_of = {name: i for i, name in enumerate(names)}
    return names, np.array([number_of[text] for text in texts], np.int64)


def read_labels(
    path: Path, cells: Sequence[str], first: int, known: Sequence[str] | None
) -> Targets:
    """Return the labels that cells list, sorted, and which each image has, (N, C) float32.

    Labels of a cell stand between semicolons, bars or commas or, where no cell has any of these,
    between spaces.  first: the number of the first row in the file.
    known: the labels that there are, in their order; None: those that are found.
    """
    spaced = not any(SEPARATORS.search(cell) or cell in (known or ()) for cell in cells)
    parts = [cell.split() if spaced else SEPARATORS.split(cell) for cell in cells]
    given = [[text.strip() for text in row if text.strip()] for row in parts]
    found = {text for row in given for text in row}
    names = sorted(found) if known is None else list(known)
    if unknown := sorted(found - {*names}):
        raise FileFormatError(
            f"{path}: expected the labels {', '.join(names)}, found {', '.join(unknown)} too"
        )
    if not names:
        raise FileFormatError(f"{path}: expected labels from row {first} on, all cells are empty")
    number = {name: i for i, name in enumerate(names)}
    targets = np.zeros((len(cells), len(names)), np.float32)
    for row, texts in zip(targets, given, strict=True):
        row[[number[text] for text in texts]] = 1
    return names, targets


def is_indicator(cells: Sequence[str]) -> bool:
    """Return whether a column says of each image whether it has a label: 0 and 1."""
    return {*cells} <= {"0", "1", "0.0", "1.0"}


def read_indicators(
    path: Path, names: Sequence[str], rows: Sequence[Sequence[str]], first: int
) -> Targets:
    """Return labels that have a column each, of 0 and 1, named like it."""
    for number, row in enumerate(rows, first):
        for name, cell in zip(names, row, strict=True):
            if not is_indicator([cell]):
                raise FileFormatError(
                    f"{path}: row {number}: expected 0 or 1 in the column {name!r}, found {cell!r}"
                )
    return list(names), np.array(rows, np.float64).astype(np.float32)


def read_numbers(
    path: Path, names: Sequence[str], rows: Sequence[Sequence[str]], first: int
) -> Targets:
    """Return the numbers in columns of these names, (N, C) float32."""
    found = np.empty((len(rows), len(names)))
    for i, row in enumerate(rows):
        for j, cell in enumerate(row):
            found[i, j] = _number(path, names[j], cell, first + i)
    for name, column in zip(names, found.T, strict=True):
        if len(np.unique(column.astype(np.float32))) < 0.9 * len(np.unique(column)):
            raise FileFormatError(
                f"{path}: the numbers in the column {name!r} differ by less than 32 bits can tell, "
                f"such as {column[0]:.10g}: subtract what they have in common"
            )
    return list(names), found.astype(np.float32)


def _number(path: Path, name: str, cell: str, row: int) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or abs(value) > float(np.finfo(np.float32).max):
        what = f"found {cell!r}" if cell else "the cell is empty"
        raise FileFormatError(
            f"{path}: row {row}: expected a number in the column {name!r}, {what}: give it one, or "
            "take the row out"
        )
    return value


def check_targets(path: Path, task: str, names: Sequence[str], targets: np.ndarray) -> None:
    """Raise ArgumentError for labels or numbers of images to train on that teach nothing."""
    for name, column in zip(names, targets.T, strict=True):
        if column.min() < column.max():
            continue
        if task == NUMBERS:
            why = f"the number {name!r} is {column[0]:g} of every image to train on"
        else:
            which = "every" if column[0] else "no"
            why = f"{which} image to train on has the label {name!r}"
        raise ArgumentError(f"{path}: {why}: there is nothing to learn; leave it out")
