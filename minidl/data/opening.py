"""Images for training and for measuring, whatever names them: a folder, a table, an .npz file or
the HDF5 files of `minidl build`; decoded once where memory allows."""

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minidl.constants.tasks import CLASSES
from minidl.data.dataset import Dataset, LabelledImages
from minidl.data.folder import ImageFiles
from minidl.data.hdf5_dataset import HDF5Dataset
from minidl.data.images import without_margin
from minidl.data.layouts import check_no_columns, image_parts
from minidl.data.loader import DataLoader
from minidl.data.parts import PARTS, class_folders
from minidl.data.splits import split
from minidl.data.targets import check_targets
from minidl.errors import ArgumentError

__all__ = [
    "Part", "Parts", "check_there", "open_for_measuring", "open_for_training", "open_parts",
    "open_undecoded",
]  # fmt: skip

HELD_OUT = 0.2  # of images that aren't split
MOST_IN_MEMORY = 2**30  # bytes of decoded images
HDF5 = (".h5", ".hdf5")

LeftOut = list[tuple[str, str]]  # (file, reason)


class Parts(NamedTuple):
    """The part of a set of images to train on and the one to measure on.

    skipped: (file, reason) of each image that can't be read.
    passed_over: (file, reason) of what isn't taken for an image.
    measured: what the second part is: "validation" or "test".
    test: the test part, if it was asked for and the second is the validation part.
    """

    training: Any
    validation: Any
    skipped: LeftOut
    passed_over: LeftOut
    measured: str = "validation"
    test: Any = None


class Part(NamedTuple):
    """One part of a set of images; `name` is "train", "validation", "test" or, unsplit, "all"."""

    name: str
    images: Any
    skipped: LeftOut
    passed_over: LeftOut


def open_for_training(
    path: Path,
    size: int,
    *,
    seed: int = 0,
    file_column: str | None = None,
    label_column: str | Sequence[str] | None = None,
    task: str = CLASSES,
    strict: bool = False,
    with_test: bool = False,
) -> Parts:
    """Return the training part and the validation part, or the test part where there is none.

    A fifth of each class is held out of images that aren't split.
    size: height and width to decode to.  seed: decides what is held out.
    file_column, label_column, task: as `ImageList` takes them.
    strict: raise the error of the first image that can't be read, instead of leaving it out.
    with_test: open the test part too where there are both.
    Raises ArgumentError where there is no part to train on, or a class without images.
    """
    opened = open_undecoded(
        path, size, file_column=file_column, label_column=label_column, task=task
    )
    names = list(opened)
    if names[0] not in ("train", "all"):
        raise ArgumentError(f"{path} has no part to train on, only {', '.join(names)}")
    training, skipped = _in_memory(opened[names[0]], strict)
    over = [pair for name in names for pair in passed_over(opened[name])]
    if task == CLASSES:
        _check_classes(path, training)
    if len(names) == 1:
        shares = (1 - HELD_OUT, HELD_OUT)
        training, validation = split(training, shares, seed, stratify=task == CLASSES)
    if task != CLASSES:
        check_targets(path, task, training.classes, training.labels)
    if len(names) == 1:
        return Parts(training, validation, skipped, over)
    second, *third = [name for name in ("validation", "test") if name in names]
    others = []
    for name in (second, *third) if with_test else (second,):
        images, more = _in_memory(opened[name], strict)
        _check_same_classes(path, name, images, training)
        others.append(images)
        skipped = [*skipped, *more]
    return Parts(training, others[0], skipped, over, second, *others[1:])


def _check_same_classes(path: Path, name: str, images: Any, training: Any) -> None:
    if images.classes != training.classes:
        raise ArgumentError(
            f"the {name} part of {path} has the classes {', '.join(images.classes)}, and "
            f"the training part {', '.join(training.classes)}: build both of one folder"
        )


def open_for_measuring(
    path: Path,
    size: int,
    *,
    part: str | None = None,
    file_column: str | None = None,
    label_column: str | Sequence[str] | None = None,
    task: str = CLASSES,
    classes: Sequence[str] | None = None,
    strict: bool = False,
) -> Part:
    """Return one part, or all images where they aren't split.

    part: "train", "validation" or "test"; None: the validation part, or the test part where there
        is none.
    classes: the names of labels and numbers, as `image_parts` takes them.
    For the other arguments see `open_for_training`.
    Raises ArgumentError for a part that there isn't.
    """
    opened = open_undecoded(
        path, size, file_column=file_column, label_column=label_column, task=task,
        classes=classes,
    )  # fmt: skip
    if list(opened) == ["all"]:
        if part is not None:
            raise ArgumentError(f"{path} isn't split into parts: leave out part=")
        part = "all"
    elif part is None:
        part = next(name for name in ("validation", "test", "train") if name in opened)
    if part not in opened:
        raise ArgumentError(f"{path} has the parts {', '.join(opened)}, not {part}")
    images, skipped = _in_memory(opened[part], strict)
    return Part(part, images, skipped, passed_over(opened[part]))


def open_parts(
    path: Path,
    size: int,
    *,
    file_column: str | None = None,
    label_column: str | None = None,
    strict: bool = False,
) -> tuple[dict[str, Any], LeftOut, LeftOut]:
    """Return all parts by name, what is skipped and what is passed over, as `Parts` has them.

    For the arguments see `open_for_training`.
    Raises ArgumentError where there is one class, or parts have different classes.
    """
    opened = open_undecoded(path, size, file_column=file_column, label_column=label_column)
    parts, skipped = {}, []
    for name, images in opened.items():
        parts[name], bad = _in_memory(images, strict)
        skipped += bad
    first = next(iter(parts.values()))
    _check_classes(path, first)
    for name, images in parts.items():
        _check_same_classes(path, name, images, first)
    return parts, skipped, [pair for images in opened.values() for pair in passed_over(images)]


def open_undecoded(
    path: Path,
    size: int,
    *,
    file_column: str | None = None,
    label_column: str | Sequence[str] | None = None,
    task: str = CLASSES,
    classes: Sequence[str] | None = None,
    fit: str = "crop",
) -> dict[str, Any]:
    """Return the parts, "train", "validation" and "test", or "all", of images still to be decoded.

    path: what `image_parts` reads, or an HDF5 file of `minidl build`; pets.h5 also stands for
        pets.train.h5, pets.validation.h5 and pets.test.h5.
    Raises FileNotFoundError, and ArgumentError for HDF5 files of another task, of other labels or
    numbers than `classes`, and of images too small or far too large.
    """
    if path.suffix not in HDF5:
        return image_parts(
            _existing(path), size=size, fit=fit, file_column=file_column,
            label_column=label_column, task=task, classes=classes,
        )  # fmt: skip
    check_no_columns(path, file_column, label_column)
    there = _built(path)
    if not path.exists() and "train" in there and len(there) > 1:
        return {part: _rows(file, size, task, classes) for part, file in there.items()}
    return {"all": _rows(_existing(path), size, task, classes)}


def _built(path: Path) -> dict[str, Path]:
    """The files that `minidl build --split` makes, those that are there."""
    files = {part: path.with_name(f"{path.stem}.{part}{path.suffix}") for part in PARTS}
    return {part: file for part, file in files.items() if file.exists()}


def check_there(path: Path) -> None:
    """Raise FileNotFoundError where there are no images of that name, nor parts of them."""
    if not _built(path):
        _existing(path)


def _existing(path: Path) -> Path:
    if not path.exists():
        raise FileNotFoundError(errno.ENOENT, f"there is no {path}")
    return path


def _check_classes(path: Path, training: Any) -> None:
    """Raise ArgumentError unless there are classes to tell apart, with images of each."""
    if len(training.classes) < 2:
        raise ArgumentError(
            f"{path} has images of one class, {training.classes[0]!r}: there is nothing to "
            f"learn; put the images of each class in a folder of its own{_deeper(path)}"
        )
    counts = np.bincount(training.labels, minlength=len(training.classes))
    if empty := [name for name, count in zip(training.classes, counts) if not count]:
        raise ArgumentError(
            f"{path} has no image to train on that is of class {', '.join(empty)}: leave the class "
            "out, or add images of it"
        )


def _deeper(path: Path) -> str:
    """Where the classes may be instead, for errors."""
    inside = class_folders(path) if path.is_dir() else []
    if len(inside) == 1 and len(class_folders(path / inside[0])) > 1:
        return f", or give {path / inside[0]}"
    return ""


def passed_over(images: Any) -> LeftOut:
    """Return (file, reason) of what was found beside a part's images and isn't taken."""
    return list(getattr(images, "passed_over", ()))


def _rows(path: Path, size: int, task: str, classes: Sequence[str] | None) -> Dataset:
    data = HDF5Dataset(path)
    if data.task != task:
        raise ArgumentError(f"{path} tells {data.task} of its images, not {task}: {_of_task(data)}")
    if task != CLASSES and classes is not None and data.classes != list(classes):
        raise ArgumentError(
            f"{path} has the {task} {', '.join(data.classes or ())}, expected "
            f"{', '.join(classes)}, in this order"
        )
    if len(data.shape) == 3 and min(data.shape[:2]) > 2 * size:
        raise ArgumentError(
            f"{path} holds images of {data.shape[0]} x {data.shape[1]} pixels, far more than the "
            f"{size} x {size} asked for, which would be small parts of them: {_anew(size)}"
        )
    least = without_margin(size)  # what a network was trained on will do
    if len(data.shape) != 3 or min(data.shape[:2]) < least or data.classes is None:
        raise ArgumentError(
            f"{path} holds rows of shape {data.shape}"
            f"{'' if data.classes else ' without names of classes'}, expected images of at least "
            f"{least} x {least} pixels: {_anew(size)}"
        )
    return data


def _anew(size: int) -> str:
    """How to make images of another size, for errors; tables need their own options again."""
    return f"run the same minidl build again, with --size {size} --overwrite"


def _of_task(data: HDF5Dataset) -> str:
    """What to do with a file that tells something else, for errors."""
    if data.task == CLASSES:
        return "build one of a table of images that does"
    return (
        f'train.train and train.finetune take it with task="{data.task}", train.evaluate with a '
        "network of it"
    )


def _in_memory(images: Any, strict: bool) -> tuple[Any, LeftOut]:
    """Image files, decoded once where memory allows; those that can't be read are left out."""
    if isinstance(images, HDF5Dataset):
        return images, []
    bad: LeftOut = []
    if isinstance(images, ImageFiles):
        if strict:
            for i in range(len(images)):
                images[i]
        called = dict(zip(images.paths, map(images.name, range(len(images))), strict=True))
        bad = [(called[path], why) for path, why in images.drop_unreadable()]
    if len(images) * 3 * images.size**2 > MOST_IN_MEMORY:
        return images, bad
    pixels = np.concatenate([x for x, _ in DataLoader(images, 64, workers=2)])
    names = [images.name(i) for i in range(len(images))]
    return LabelledImages(pixels, images.labels, images.classes, names), bad
