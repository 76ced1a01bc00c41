"""`train.evaluate`: networks, and ensembles of them, measured on labelled images."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minidl.checks import real
from minidl.constants.pixels import PIXELS
from minidl.constants.tasks import CLASSES
from minidl.data.opening import Part, open_for_measuring
from minidl.errors import ArgumentError, DTypeError
from minidl.io.plain_json import plain
from minidl.train.ensemble import ensemble
from minidl.train.inference import Members, class_numbers, load_members
from minidl.train.metrics import (
    accuracy,
    balanced_accuracy,
    confusion_matrix,
    macro_f1,
    precision_recall,
    rank_accuracy,
)
from minidl.train.settings import check_paths, check_settings, choice, several_paths
from minidl.train.task import TASKS

__all__ = ["ELSEWHERE", "Evaluation", "evaluate"]

ELSEWHERE = "(any other)"
LARGEST = 4  # times as large as usual
CROPS = ("top left", "top right", "bottom left", "bottom right", "centre")  # as TenCrop's


@dataclass(frozen=True)
class Evaluation:
    """What networks were measured to be.

    rows: {"name", "accuracy", "balanced_accuracy", "macro_f1", "rank5", "loss", "right"} of each
        network and each ensemble; of labels and numbers "name" and what `Labels.figures` or
        `Numbers.figures` gives.
    crops: {"name", "crop", "accuracy", "right"} of each network by each of ten crops alone; without
        ten crops, and of labels and numbers, none.
    task: what the networks tell: "classes", "labels" or "numbers".
    classes: those in `confusion` (C, C), [truth, guess]; the last may stand for all others. Labels
        and numbers have none.
    images: where they are from.  part: "train", "validation", "test" or "all".
    count: of the images.  image_classes: how many classes these are of.
    num_classes: how many classes the networks know.
    skipped, passed_over: (file, reason) of what can't be read and of what isn't taken for an image.
    notes: what was taken for granted about the classes.
    """

    rows: list[dict[str, Any]]
    crops: list[dict[str, Any]]
    task: str
    classes: list[str]
    confusion: np.ndarray
    weights: list[Path]
    images: Path
    part: str
    count: int
    image_classes: int
    num_classes: int
    ten_crop: bool
    skipped: list[tuple[str, str]]
    passed_over: list[tuple[str, str]]
    notes: list[str]

    def record(self) -> dict[str, Any]:
        """Return the figures as plain values for JSON; NaN and infinities are None."""
        left_out = [*self.skipped, *self.passed_over]
        figures = {
            "images": str(self.images),
            "part": self.part,
            "weights": list(map(str, self.weights)),
            "count": self.count,
            "ten_crop": self.ten_crop,
            "networks": self.rows,
            "crops": self.crops,
            "classes": self.classes,
            "per_class": precision_recall(self.confusion, self.classes),
            "confusion": self.confusion.tolist(),
            "skipped": [{"file": file, "reason": reason} for file, reason in left_out],
        }
        found: dict[str, Any] = plain(figures, "Evaluation")
        return found


def evaluate(
    weights: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    images: str | os.PathLike[str],
    *,
    part: str | None = None,
    file_column: str | None = None,
    label_column: str | Sequence[str] | None = None,
    strict: bool = False,
    classes: str | os.PathLike[str] | None = None,
    ten_crop: bool = False,
    scales: Sequence[float] | None = None,
    pixels: str | None = None,
    batch_size: int = 32,
    verbose: bool = True,
) -> Evaluation:
    """Measure networks, and what several reach together, on labelled images.

    weights: a file that `models.load` reads, or several.
    images: a path that `data.image_parts` or `HDF5Dataset` reads. Its classes are found among the
        networks' by name, in whatever order they come.
    part: of images that are split; None: validation or, where there is none, test.
    file_column, label_column: as `data.ImageList` takes them.
    strict: raise the error of the first image that can't be read, instead of leaving it out.
    classes: a file of the classes' names, one a line, in the place of those that the weights carry.
    ten_crop: average over the corners and the centre of an image, and their mirror images.
    scales: how much larger than usual to decode the images, such as (1, 1.25): each network is
        measured at each of them, and all of these are members of the ensemble. A network that takes
        any size sees the whole of a larger image, another one its centre.
    pixels: how networks take pixels that don't say it, such as those of ONNX files: "imagenet"
        (torchvision's mean and deviation), "unit" (0 to 1), "signed" (-1 to 1), "bytes" (0 to 255).
    batch_size: images, or crops, that go through a network at once.
    verbose: show progress on a terminal.
    Raises ArgumentError for images of classes that the networks don't know, networks that tell
    different classes apart, and scales of images that are decoded already.
    """
    check_paths("train.evaluate", images=images, classes=classes or "")
    zooms = _checked_scales(scales)
    check_settings("train.evaluate", strict=strict, ten_crop=ten_crop, batch_size=batch_size)
    path, files = Path(images), several_paths("train.evaluate", weights=weights)
    if pixels is not None:
        pixels = choice("train.evaluate", "pixels=", pixels, tuple(PIXELS))
    members = load_members(files, None if classes is None else Path(classes), pixels)
    opened = {
        size: open_for_measuring(
            path,
            size,
            part=part,
            file_column=file_column,
            label_column=label_column,
            strict=strict,
            task=members.task,
            classes=_named(members),
        )
        for size in sorted({round(zoom * size) for size in members.sizes for zoom in zooms})
    }
    found = next(iter(opened.values()))
    _check_decoded({size: each.images for size, each in opened.items()}, scales)
    if members.task == CLASSES:
        listed = path.suffix.lower() == ".csv"
        numbers, notes = class_numbers(members, found.images.classes, listed)
    names, answers = [], []
    for zoom in zooms:
        own = {size: opened[round(zoom * size)].images for size in members.sizes}
        answers += members.answers(own, batch_size, ten_crop, verbose)
        at = "" if scales is None else f" at {zoom:g}"
        names += [f"{name}{at}" for name in _names(members.files)]
    scores = [each for each, _ in answers]
    if members.task != CLASSES:
        rows = _rows_of_targets(members.task, names, scores, found.images)
        none = np.zeros((0, 0), np.int64)
        return _evaluation(members, path, found, ten_crop, rows, [], [], none, [])
    labels = np.array(numbers)[found.images.labels]
    rows, joint = _rows(names, scores, labels)
    crops = _crops(names, [guesses for _, guesses in answers], labels) if ten_crop else []
    shown, confusion = _confusion(members, joint, found, numbers)
    return _evaluation(members, path, found, ten_crop, rows, crops, shown, confusion, notes)


def _named(members: Members) -> list[str] | None:
    """The names of the labels or numbers that the networks give; None of classes."""
    if members.task == CLASSES:
        return None
    if members.names is None:
        raise ArgumentError(
            f"{members.files[0]} doesn't name the {members.task} that it gives: give a file of "
            "their names, one a line, as classes="
        )
    return members.names


def _rows_of_targets(
    task: str, names: list[str], scores: list[np.ndarray], images: Any
) -> list[dict[str, Any]]:
    """The figures of each network of labels or numbers, and of their average."""
    asked, called = TASKS[task](images.labels), [*names, "average"]
    if len(scores) > 1:
        scores = [*scores, asked.joined(np.stack(scores, axis=1))]  # (N, networks, C) -> (N, C)
    return [
        {"name": name, **asked.figures(each, images.labels, images.classes)}
        for name, each in zip(called, scores, strict=False)
    ]


def _evaluation(
    members: Members,
    path: Path,
    found: Part,
    ten_crop: bool,
    rows: list[dict[str, Any]],
    crops: list[dict[str, Any]],
    classes: list[str],
    confusion: np.ndarray,
    notes: list[str],
) -> Evaluation:
    return Evaluation(
        rows=rows,
        crops=crops,
        task=members.task,
        classes=classes,
        confusion=confusion,
        weights=members.files,
        images=path,
        part=found.name,
        count=len(found.images),
        image_classes=len(found.images.classes),
        num_classes=members.num_classes,
        ten_crop=ten_crop,
        skipped=found.skipped,
        passed_over=found.passed_over,
        notes=[*members.notes, *notes],
    )


def _checked_scales(scales: Any) -> list[float]:
    """The scales, each once; 1 where none are given."""
    given = [1.0] if scales is None else scales
    if not isinstance(given, list | tuple):
        raise DTypeError(f"train.evaluate: scales= must be numbers, got {type(scales).__name__}")
    zooms = [real("train.evaluate", "scales=", each) for each in given]
    if not zooms or min(zooms) < 1 or max(zooms) > LARGEST or len({*zooms}) < len(zooms):
        raise ArgumentError(
            f"train.evaluate: scales= must be different numbers from 1 to {LARGEST}, got {scales}"
        )
    return zooms


def _check_decoded(images: Mapping[int, Any], scales: Any) -> None:
    """Raise ArgumentError where images are of one size, whatever they were to be decoded to."""
    if scales is None:
        return
    for size, each in images.items():
        if each[0][0].shape[0] != size:
            raise ArgumentError(
                "train.evaluate: scales= are for image files, and these images are decoded "
                f"already, to {each[0][0].shape[0]} pixels: leave scales= out"
            )


def _rows(
    names: list[str], scores: list[np.ndarray], labels: np.ndarray
) -> tuple[list[dict[str, Any]], np.ndarray]:
    """The figures of each network and each ensemble, and the joint scores (N, C)."""
    rows = [_row(name, each, labels) for name, each in zip(names, scores, strict=True)]
    if len(scores) == 1:
        return rows, scores[0]
    joint = {how: ensemble(scores, how) for how in ("average", "vote")}
    with np.errstate(divide="ignore"):
        average = np.log(joint["average"])
    rows.append(_row("average", average, labels))
    # Vote fractions are not probabilities, so no loss is computed.
    rows.append(_row("vote", joint["vote"], labels) | {"loss": None})
    return rows, average


def _row(name: str, scores: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """The figures of log-probabilities (N, C)."""
    own = np.take_along_axis(scores, labels[:, np.newaxis], axis=1)  # (N, 1)
    share = accuracy(scores, labels)
    confusion = confusion_matrix(scores, labels)
    return {
        "name": name,
        "accuracy": share,
        "balanced_accuracy": balanced_accuracy(confusion),
        "macro_f1": macro_f1(confusion),
        "rank5": rank_accuracy(5)(scores, labels) if scores.shape[1] > 5 else None,
        "loss": float(-own.mean()),
        "right": round(share * len(labels)),
    }


def _crops(names: list[str], guesses: list[np.ndarray], labels: np.ndarray) -> list[dict[str, Any]]:
    """The figures of each network by each of the ten crops alone."""
    called = [*CROPS, *(f"{crop}, mirrored" for crop in CROPS)]
    return [
        {"name": name, "crop": crop, "accuracy": float(right.mean()), "right": int(right.sum())}
        for name, each in zip(names, guesses, strict=True)
        for crop, right in zip(called, (each == labels[:, np.newaxis]).T, strict=True)
    ]


def _names(files: Sequence[Path]) -> list[str]:
    """What the networks are called: by their files, with the folder where that tells them apart."""
    short = [file.name for file in files]
    return short if len(set(short)) == len(short) else [str(file) for file in files]


def _confusion(
    members: Members, scores: np.ndarray, part: Part, numbers: list[int]
) -> tuple[list[str], np.ndarray]:
    """The images' classes, and their confusion matrix (C, C), [truth, guess].

    numbers: the networks' numbers of the images' classes.
    """
    labels = np.array(numbers)[part.images.labels]
    confusion = confusion_matrix(scores, labels, members.num_classes)
    shown = np.unique(numbers)
    named = dict(zip(numbers, part.images.classes, strict=True))
    classes = [named[n] if members.names is None else members.called(n) for n in shown.tolist()]
    if confusion[:, shown].sum() == len(labels):
        return classes, confusion[np.ix_(shown, shown)]
    # Guesses that are none of the images' classes
    rest = np.setdiff1d(np.arange(members.num_classes), shown)
    within = np.zeros((len(shown) + 1, len(shown) + 1), np.int64)
    within[:-1, :-1] = confusion[np.ix_(shown, shown)]
    within[:-1, -1] = confusion[np.ix_(shown, rest)].sum(axis=1)
    return [*classes, ELSEWHERE], within
