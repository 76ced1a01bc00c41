"""`train.predict`: the likeliest classes of images."""

import errno
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minidl.checks import positive
from minidl.constants.pixels import PIXELS
from minidl.constants.tasks import CLASSES, LABELS, NUMBERS
from minidl.data import ArrayDataset, read_image
from minidl.data.folder import reason_of
from minidl.data.images import SUFFIXES
from minidl.data.scanning import images_in
from minidl.errors import ArgumentError, FileFormatError
from minidl.train.ensemble import ensemble
from minidl.train.inference import Members, load_members
from minidl.train.settings import check_paths, check_settings, choice, several_paths
from minidl.train.task import TASKS

__all__ = ["Prediction", "predict"]

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


@dataclass(frozen=True)
class Prediction:
    """What an image shows.

    classes: {"class", "number", "probability"} of the likeliest classes, the likeliest first; of a
        network of labels, of all that are likelier than not; of one of numbers {"class", "number",
        "value"}, in their order, where "class" is what the number is called.
    error: why the image can't be read, in which case there are no classes.
    """

    image: Path
    classes: list[dict[str, Any]] = field(default_factory=list)
    error: str | None = None


def predict(
    weights: Paths,
    images: Paths,
    *,
    top: int = 5,
    vote: bool = False,
    classes: str | os.PathLike[str] | None = None,
    ten_crop: bool = False,
    pixels: str | None = None,
    batch_size: int = 32,
    verbose: bool = True,
) -> Iterator[Prediction]:
    """Return an iterator over the predictions for images, which are read as it advances.

    weights: a file that `models.load` reads, or several, for an ensemble.
    images: image files, or folders of them, one or several. Those of a folder come in natural
        order: 2.png before 10.png.
    top: classes of each image; of labels and numbers all are given.
    vote: join several networks by their votes, the average of their probabilities being one more,
        instead of by that average.
    classes, ten_crop, pixels, batch_size, verbose: see `train.evaluate`.
    Raises FileNotFoundError for a missing image, ArgumentError for a folder without any and for
    networks that tell different classes apart. An image that can't be read has an `error`.
    """
    top = positive("train.predict", "top=", top)
    check_paths("train.predict", classes=classes or "")
    check_settings("train.predict", vote=vote, ten_crop=ten_crop, batch_size=batch_size)
    networks = several_paths("train.predict", weights=weights)
    if vote and len(networks) == 1:
        raise ArgumentError(
            f"train.predict: vote=True joins several networks, and {networks[0]} is one"
        )
    files = _files(several_paths("train.predict", images=images))
    if pixels is not None:
        pixels = choice("train.predict", "pixels=", pixels, tuple(PIXELS))
    members = load_members(networks, None if classes is None else Path(classes), pixels)
    if vote and members.task != CLASSES:
        raise ArgumentError(f"train.predict: vote=True is for classes, not for {members.task}")
    how = "vote" if vote else "average"
    batches = (files[i : i + batch_size] for i in range(0, len(files), batch_size))
    return (
        _prediction(members, file, given, top)
        for batch in batches
        for file, given in _answers(members, batch, how, ten_crop, batch_size, verbose)
    )


def _prediction(members: Members, file: Path, given: np.ndarray | str, top: int) -> Prediction:
    """given: the probabilities (C,), log-odds of labels, numbers, or why it can't be read."""
    if isinstance(given, str):
        return Prediction(file, error=given)
    if members.task == NUMBERS:
        values = enumerate(given.tolist())
        told = [{"class": members.called(n), "number": n, "value": value} for n, value in values]
        return Prediction(file, told)
    if members.task == LABELS:
        given = np.asarray(1 / (1 + np.exp(-given)))  # of log-odds
        top = int((given > 0.5).sum())
    likeliest = (-given).argsort(kind="stable")[:top].tolist()
    return Prediction(
        file,
        [
            {"class": members.called(n), "number": n, "probability": float(given[n])}
            for n in likeliest
        ],
    )


def _files(given: Iterable[Path]) -> list[Path]:
    """The image files, those of folders in natural order."""
    files: list[Path] = []
    for path in given:
        if not path.exists():
            raise FileNotFoundError(errno.ENOENT, f"there is no {path}")
        if not path.is_dir():
            files.append(path)
            continue
        inside = images_in(path)
        if not inside:
            raise ArgumentError(
                f"there is no image in the folder {path} (those in its sub-folders aren't taken): "
                f"expected files that end with {', '.join(sorted(SUFFIXES))}"
            )
        files += sorted(inside, key=_natural)
    return files


def _natural(file: Path) -> list[Any]:
    """A key to sort by: text as text, digits as numbers."""
    parts = re.split(r"(\d+)", file.name)
    return [[int(part) if i % 2 else part for i, part in enumerate(parts)], file.name]


def _answers(
    members: Members, batch: Sequence[Path], how: str, ten_crop: bool, batch_size: int,
    verbose: bool,
) -> Iterator[tuple[Path, np.ndarray | str]]:  # fmt: skip
    """Each file of a batch with its probabilities (C,), or what it has instead of them, or why it
    can't be read."""
    sizes = sorted({*members.sizes})
    answers: dict[Path, Any] = {file: _decoded(file, sizes) for file in batch}
    good = [file for file, pixels in answers.items() if not isinstance(pixels, str)]
    if good:
        images = {
            size: ArrayDataset(np.stack([answers[file][size] for file in good])) for size in sizes
        }
        scores = members.log_probabilities(images, batch_size, ten_crop, verbose)
        if members.task == CLASSES:
            joint = ensemble(scores, how)
        else:
            joint = TASKS[members.task].joined(np.stack(scores, axis=1))  # (N, networks, C)
        answers |= dict(zip(good, joint, strict=True))
    return ((file, answers[file]) for file in batch)


def _decoded(file: Path, sizes: Iterable[int]) -> dict[int, np.ndarray] | str:
    """The pixels in each size, or why they can't be read."""
    try:
        return {size: read_image(file, size) for size in sizes}
    except (FileFormatError, OSError) as error:
        return reason_of(error, file)
