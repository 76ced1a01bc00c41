"""Texts about images, for the terminal: classes with counts, and files that were left out."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from minidl.constants.tasks import NUMBERS
from minidl.data.duplicates import Duplicate, exact_duplicates
from minidl.data.scanning import kinds
from minidl.data.splits import labels_of, name_of
from minidl.distributed.world import world
from minidl.text import printable, shortened, table

__all__ = [
    "Tell", "left_out", "parts_table", "repeated", "teller", "warn",
]  # fmt: skip

MOST = 20  # classes that are listed one by one
MOST_PAIRS = 10  # of images
LONGEST = 40  # characters of a class's name

Tell = Callable[[str], None]


def teller(verbose: bool) -> Tell:
    """Return a function that prints a text at once or, unless `verbose`, does nothing."""
    if world().rank > 0:
        return _leave_to_rank_0
    return _print if verbose else _ignore


def _print(text: str) -> None:
    if text:
        print(text, flush=True)


def _ignore(text: str) -> None:
    pass


def _leave_to_rank_0(text: str) -> None:
    pass


def warn(tell: Tell, text: str) -> None:
    """Tell something bad, which is a RuntimeWarning of Python's where nothing is told."""
    if text and tell is _ignore:
        warnings.warn(text, RuntimeWarning, stacklevel=3)
    tell(text)


def parts_table(task: str, classes: Sequence[str], parts: Mapping[str, Any]) -> str:
    """Return a table of how many images of each class, or with each label, each part has; of
    numbers, of their range.

    classes: names of classes, labels or numbers.  parts: data sets by the parts' names.
    """
    return (_numbers_table if task == NUMBERS else _classes_table)(classes, parts)


def _numbers_table(names: Sequence[str], parts: Mapping[str, Any]) -> str:
    rows = []
    for part, images in parts.items():
        targets = labels_of(images)
        assert targets is not None
        for name, column in zip(names, targets.T, strict=True):
            mean, spread = column.mean(dtype=np.float64), column.std(dtype=np.float64)
            numbers = (f"{each:.4g}" for each in (column.min(), mean, column.max(), spread))
            rows.append((part, shortened(name, LONGEST), f"{len(column):,}", *numbers))
    head = ("part", "number", "images", "least", "mean", "largest", "deviation")
    return table([head, *rows], left=2)


def _classes_table(classes: Sequence[str], parts: Mapping[str, Any]) -> str:
    counts = {part: _counts(images, len(classes)) for part, images in parts.items()}
    rows = [
        (shortened(name, LONGEST), *(f"{counts[part][i]:,}" for part in parts))
        for i, name in enumerate(classes[:MOST])
    ]
    text = table([("class", *parts), *rows])
    if len(classes) > MOST:
        some = " and ".join(
            f"{min(found)} to {max(found)} images in {part}" for part, found in counts.items()
        )
        text += f"\nand {len(classes) - MOST:,} more; of all {len(classes):,}, each has {some}"
    return text


def _counts(images: Any, classes: int) -> list[int]:
    labels = labels_of(images)
    if labels is not None and labels.ndim == 2:  # (N, C), which labels an image has
        return [int(count) for count in labels.sum(axis=0)]
    return np.bincount(() if labels is None else labels, minlength=classes).tolist()


def left_out(skipped: Sequence[tuple[str, str]], passed_over: Sequence[tuple[str, str]]) -> str:
    """Return what was left out, and why: images that can't be read one a line, others by reason.

    The text is empty where nothing was left out.
    """
    lines = []
    if skipped:
        lines.append(f"left out, since they can't be read: {len(skipped):,}")
        lines += [f"  {printable(name)}: {reason}" for name, reason in skipped]
    if passed_over:
        lines.append(f"passed over: {len(passed_over):,}")
        named = [(printable(name), reason) for name, reason in passed_over]
        lines += [f"  {line}" for line in kinds(named)]
    return "\n".join(lines)


def repeated(parts: Mapping[str, Any]) -> str:
    """Return which images are in two parts, or have two labels; the text is empty if none are.

    parts: data sets by the parts' names. Copies are found that are exactly the same.
    """
    pairs = exact_duplicates(parts)
    across = [pair for pair in pairs if pair.across]
    twice = [pair for pair in pairs if not pair.across and not pair.same_label]
    texts = [
        ("the same image is in two parts, so that what is measured is too good", across),
        ("the same image has two labels, one of which is wrong", twice),
    ]
    return "\n".join(_pairs(text, found, parts) for text, found in texts if found)


def _pairs(text: str, pairs: list[Duplicate], parts: Mapping[str, Any]) -> str:
    lines = [f"warning: {text}: {len(pairs):,}"]
    for pair in pairs[:MOST_PAIRS]:
        one, other = (f"{name_of(parts[part], i)} ({part})" for part, i in pair[:2])
        lines.append(f"  {printable(one)} is {printable(other)}")
    if len(pairs) > MOST_PAIRS:
        lines.append(f"  and {len(pairs) - MOST_PAIRS:,} more; `minidl find-issues` lists all")
    return "\n".join(lines)
