"""Detection: images with boxes, as a data set."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from minidl.data.dataset import Dataset
from minidl.data.detection.collate import Target, collate_boxes
from minidl.data.detection.pictures import ArrayPicture, FilePicture, Picture
from minidl.data.parts import PARTS
from minidl.data.splits import Subset
from minidl.errors import ArgumentError, DTypeError, ShapeError

__all__ = ["FIELDS", "Detection", "Target", "checked_classes", "checked_target"]

# What a target may hold beside its boxes: dtype, and the shape of one box's
FIELDS: dict[str, Any] = {
    "labels": np.int64, "difficult": np.bool_, "crowd": np.bool_, "area": np.float32,
    "points": np.float32,
}  # fmt: skip


class Detection(Dataset):
    """Images with boxes: item i is (image (H, W, 3) uint8 RGB, target).

    images: arrays (H, W, 3) uint8 or files; they may differ in size.
    targets: a dict for each image: "boxes" (n, 4) float32, x1, y1, x2, y2 in pixels from the top
        left corner, edges of the box (all of the image is 0, 0, W, H); "labels" (n,) int64,
        numbers of `classes`; and, where there are such, "difficult" (n,) and "crowd" (n,) bool,
        "area" (n,) float32 of the outlines, "points" (n, P, 2) float32. n may be 0: background.
    classes: their names, in the order of their labels.
    names: what each image is called; None: its file, or "image N".
    parts: of each image, "train", "validation" or "test", or None; None where nothing is split.
    passed_over: (place, reason) of what a file told and isn't taken.
    `data.read_boxes` makes it of annotation files; `save` writes it to HDF5, `open` reads that.
    Raises ShapeError, DTypeError or ArgumentError for targets that aren't so, naming the image.
    """

    def __init__(
        self,
        images: Sequence[Any],
        targets: Sequence[Mapping[str, np.ndarray]],
        classes: Sequence[str],
        *,
        names: Sequence[str] | None = None,
        parts: Sequence[str | None] | None = None,
        passed_over: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.classes = checked_classes("Detection", classes)
        if len({*self.classes}) < len(self.classes):
            raise ArgumentError(f"Detection expected classes, each once, got {self.classes}")
        lengths = [len(each) for each in (images, targets, names, parts) if each is not None]
        if len({*lengths}) > 1 or not lengths[0]:
            raise ShapeError(
                "Detection expected as many images as targets (and names and parts), at least one, "
                f"got {', '.join(map(str, lengths))}"
            )
        self.pictures = [_picture(image) for image in images]
        self.names = [_name(image, i) for i, image in enumerate(images)]
        if names is not None:
            self.names = [str(name) for name in names]
        self.targets = [
            checked_target("Detection", self.names[i], target, len(self.classes))
            for i, target in enumerate(targets)
        ]
        self.parts = None if parts is None else list(parts)
        for part in self.parts or ():
            if part is not None and part not in PARTS:
                raise ArgumentError(f"Detection: parts are {', '.join(PARTS)}, got {part!r}")
        self.passed_over = list(passed_over)

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> Any:
        """Raises FileFormatError naming the file that can't be read."""
        target = {name: array.copy() for name, array in self.targets[index].items()}
        return self.pictures[index].read(), target

    def name(self, index: int) -> str:
        """Return what image `index` is called."""
        return self.names[index]

    def size(self, index: int) -> tuple[int, int]:
        """Return (H, W) of image `index`, which isn't decoded for it."""
        return self.pictures[index].about()[0]

    def batch(self, indices: Sequence[int] | np.ndarray) -> Any:
        """Return images (n, H, W, 3) and a list of targets, as `collate_boxes` puts them."""
        return self.prepared(indices, (), None)

    def prepared(
        self, indices: Sequence[int] | np.ndarray, transforms: Sequence[Any], rng: Any
    ) -> Any:
        """Return a batch of items that are transformed one by one, then put together.

        indices: (n,).  rng: what random transforms draw from; None in evaluation. Returns images
            and targets as `batch` does.
        """
        from minidl.data.transforms.box_base import on_both

        items = []
        for index in indices:
            image, target = self[int(index)]
            for transform in transforms:
                image, target = on_both(transform, image, target, rng)
            items.append((image, target))
        return collate_boxes(items)

    def subset(self, indices: Sequence[int] | np.ndarray) -> "Detection":
        """Return the images of these numbers (n,), in that order, as a set of the same classes."""
        chosen = Subset(self, indices).indices.tolist()
        return Detection(
            [self.pictures[i] for i in chosen], [self.targets[i] for i in chosen], self.classes,
            names=[self.names[i] for i in chosen],
            parts=None if self.parts is None else [self.parts[i] for i in chosen],
        )  # fmt: skip

    def part(self, name: str) -> "Detection":
        """Return the images of one part: "train", "validation" or "test".

        Raises ArgumentError where no image is of it.
        """
        chosen = [i for i, part in enumerate(self.parts or ()) if part == name]
        if not chosen:
            there = sorted({part for part in self.parts or () if part})
            raise ArgumentError(
                f"Detection: no image is of the part {name!r}, only of {', '.join(there)}"
                if there
                else f"Detection: the set isn't split, so that it has no part {name!r}; "
                "data.split(detection, stratify=False) splits it at random"
            )
        return self.subset(chosen)

    def counts(self) -> np.ndarray:
        """Return how many boxes there are of each class, (classes,) int64."""
        labels = [target["labels"] for target in self.targets]
        return np.bincount(np.concatenate(labels), minlength=len(self.classes))

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write images, boxes, classes and parts to an HDF5 file, whole or not at all.

        Pixels are stored as they are, each image with a checksum.
        Raises FileExistsError where the file is there, unless `overwrite`.
        """
        from minidl.data.detection.hdf5 import save_detection

        save_detection(self, path, overwrite)

    @staticmethod
    def open(path: str | os.PathLike[str]) -> "Detection":
        """Return the set in an HDF5 file that `save` wrote; images are read as they are asked for.

        Raises FileFormatError for other and damaged files, also once a damaged image is read.
        """
        from minidl.data.detection.hdf5 import open_detection

        return open_detection(path)


def _picture(image: Any) -> Picture:
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise ShapeError(
                f"Detection expected images (H, W, 3) uint8, got {image.dtype} {image.shape}"
            )
        return ArrayPicture(image)
    if isinstance(image, str | os.PathLike):
        from pathlib import Path

        return FilePicture(Path(image))
    if not hasattr(image, "read") or not hasattr(image, "about"):
        raise DTypeError(
            f"Detection expected images to be arrays or files, got {type(image).__name__}"
        )
    found: Picture = image
    return found


def _name(image: Any, index: int) -> str:
    if isinstance(image, str | os.PathLike):
        return os.path.basename(os.fspath(image))
    return f"image {index}"


def checked_classes(who: str, classes: Sequence[str]) -> list[str]:
    """Return names of classes; raise ArgumentError for none, and for a text, which is one name."""
    if isinstance(classes, str) or not len(classes):
        raise ArgumentError(f"{who} expected a list of the classes' names, got {classes!r:.60}")
    return [str(name) for name in classes]


def checked_target(who: str, name: str, target: Any, classes: int) -> Target:
    """Return a target with its arrays in their dtypes; raise where they aren't as they must be.

    who, name: what errors call the caller and the image.
    """
    if not isinstance(target, Mapping) or not {"boxes", "labels"} <= {*target}:
        raise DTypeError(f'{who}: {name}: expected a dict with "boxes" and "labels"')
    boxes = np.asarray(target["boxes"], np.float32)
    if boxes.shape[1:] != (4,) and boxes.size:
        raise ShapeError(f"{who}: {name}: expected boxes (n, 4), got {boxes.shape}")
    boxes = boxes.reshape(-1, 4)  # also of a list without any
    found = {"boxes": boxes}
    for field, value in target.items():
        if field == "boxes" or field not in FIELDS:
            continue
        array = np.asarray(value)
        ends = array.ndim == 3 and array.shape[2] == 2 if field == "points" else array.ndim == 1
        if len(array) != len(boxes) or not ends:
            shape = "(n, P, 2)" if field == "points" else "(n,)"
            raise ShapeError(
                f"{who}: {name}: expected {field} {shape} of {len(boxes)} boxes, got {array.shape}"
            )
        if field == "labels" and array.size and array.dtype.kind not in "iu":
            raise DTypeError(f"{who}: {name}: labels must be whole numbers, got {array.dtype}")
        found[field] = array.astype(FIELDS[field])
    _check_numbers(who, name, found, classes)
    return found


def _check_numbers(who: str, name: str, target: Target, classes: int) -> None:
    boxes, labels = target["boxes"], target["labels"]
    if not np.isfinite(boxes).all():
        raise ArgumentError(f"{who}: {name}: boxes must be finite numbers")
    if not (np.isfinite(area := target.get("area", np.zeros(0))) & (area >= 0)).all():
        raise ArgumentError(f"{who}: {name}: area must be finite numbers from 0 up")
    if (boxes[:, 2:] <= boxes[:, :2]).any():
        bad = int(np.flatnonzero((boxes[:, 2:] <= boxes[:, :2]).any(axis=1))[0])
        raise ArgumentError(
            f"{who}: {name}: box {bad} is degenerate, {boxes[bad].tolist()}: expected x1 < x2 and "
            "y1 < y2; leave it out"
        )
    if len(labels) and not (labels.min() >= 0 and labels.max() < classes):
        raise ArgumentError(
            f"{who}: {name}: expected labels from 0 to {classes - 1}, got {labels.min()} to "
            f"{labels.max()}"
        )
