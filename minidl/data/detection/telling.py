"""What a detection set holds, for people: the command `minidl inspect`."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from minidl.data.detection.dataset import Detection
from minidl.data.detection.hdf5 import FORMAT, FORMAT_VERSION
from minidl.data.detection.overlap import overlaps
from minidl.data.parts import PARTS
from minidl.errors import FileFormatError
from minidl.text import shortened, table

__all__ = ["describe", "is_detection"]

ANNOTATIONS = (".json", ".csv", ".tsv", ".xml", ".yaml", ".yml")
SMALL, LARGE = 32**2, 96**2  # square pixels, COCO's
CLOSE = 0.5  # an overlap from which non-maximum suppression takes one box for the other
BLOCK = 256  # boxes of an image that are compared with all of it at once, for memory
LONGEST = 40  # characters of a class's name


def is_detection(path: str | os.PathLike[str]) -> bool:
    """Return whether a folder or file is one of boxes, or is meant to be: no file of weights."""
    from minidl.io.sealed import open_sealed

    if os.path.isdir(path) or Path(path).suffix.lower() in ANNOTATIONS:
        return True
    try:
        with open_sealed(path, {FORMAT: FORMAT_VERSION}):
            return True
    except (FileFormatError, OSError):
        return False


def describe(detection: Detection) -> str:
    """Return tables of a set: images and boxes of each part and class, sizes, and overlaps."""
    return "\n\n".join([_images(detection), _classes(detection), _overlaps(detection)])


def _images(detection: Detection) -> str:
    sizes = np.array([detection.size(i) for i in range(len(detection))])
    counts = np.array([len(target["boxes"]) for target in detection.targets])
    low, high = sizes.min(axis=0), sizes.max(axis=0)
    span = f"{low[1]} x {low[0]}"
    if (low != high).any():
        span = f"{low[1]} to {high[1]} x {low[0]} to {high[0]}"
    rows = [
        ("images", f"{len(detection):,}"),
        ("without objects", f"{int((counts == 0).sum()):,}"),
        ("width x height", span),
        ("boxes", f"{counts.sum():,}"),
        ("boxes an image", f"{counts.min()} to {counts.max()}, median {np.median(counts):g}"),
    ]
    for name in ("difficult", "crowd"):
        if flagged := sum(int(t[name].sum()) for t in detection.targets if name in t):
            rows.append((name, f"{flagged:,}"))
    if detection.passed_over:
        rows.append(("left out or changed", f"{len(detection.passed_over):,}"))
    return table(rows, left=2)


def _classes(detection: Detection) -> str:
    """Return a row for each class: boxes of each part, images, sizes."""
    labels = np.concatenate([target["labels"] for target in detection.targets])
    boxes = np.concatenate([target["boxes"] for target in detection.targets])
    place = np.repeat(np.arange(len(detection)), [len(t["labels"]) for t in detection.targets])
    sides = boxes[:, 2:] - boxes[:, :2]  # (M, 2): width, height
    areas = sides.prod(axis=1)
    own = np.array(detection.parts or [None] * len(detection), object)
    parts = [part for part in PARTS if part in own]
    head = ("class", "boxes", *parts, "images", "small", "medium", "large", "width x height",
            "aspect")  # fmt: skip
    rows = [head]
    for label, name in enumerate(detection.classes):
        of = labels == label
        medium = (areas >= SMALL) & (areas <= LARGE)
        kinds = (areas < SMALL, medium, areas > LARGE)
        typical = np.median(sides[of], axis=0) if of.any() else (np.nan, np.nan)
        aspect = float(np.median(sides[of, 0] / sides[of, 1])) if of.any() else np.nan
        counts = [(of & (own[place] == part)).sum() for part in parts]
        numbers = [of.sum(), *counts, len({*place[of]}), *((of & kind).sum() for kind in kinds)]
        rows.append(
            (shortened(name, LONGEST), *(f"{n:,}" for n in numbers),
             f"{typical[0]:.0f} x {typical[1]:.0f}", f"{aspect:.2f}")
        )  # fmt: skip
    note = "small: below 32 x 32 pixels, large: above 96 x 96; width, height and aspect are medians"
    return f"{table(rows)}\n{note}"


def _overlaps(detection: Detection) -> str:
    """Return how many boxes overlap another one of their class, and of others, by so much."""
    found = [_best(target) for target in detection.targets]
    same, other = (np.concatenate([each[i] for each in found]) for i in (0, 1))
    limits = (0.1, 0.3, CLOSE, 0.7, 0.9)
    rows = [
        ("boxes that overlap by", *(f"{limit:g}" for limit in limits)),
        ("another one of their class", *_counts(same, limits)),
        ("one of another class", *_counts(other, limits)),
    ]
    return (
        f"{table(rows)}\nnon-maximum suppression at {CLOSE:g} would take one of "
        f"{int((same >= CLOSE).sum()):,} boxes of a class for another"
    )


def _counts(values: np.ndarray, limits: Sequence[float]) -> Iterator[str]:
    return (f"{int((values >= limit).sum()):,}" for limit in limits)


def _best(target: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest overlap of each box with others, of its class and of other ones, (n,)."""
    boxes, labels = target["boxes"].astype(np.float64), target["labels"]
    same, other = np.zeros(len(boxes)), np.zeros(len(boxes))
    for start in range(0, len(boxes), BLOCK):
        rows = slice(start, start + BLOCK)
        shared = overlaps(boxes[rows], boxes)
        np.fill_diagonal(shared[:, start:], 0)
        alike = labels[rows, np.newaxis] == labels
        same[rows] = np.where(alike, shared, 0).max(axis=1)
        other[rows] = np.where(alike, 0, shared).max(axis=1)
    return same, other
