"""Detection sets in HDF5: images of any size, boxes, classes and parts in one sealed file.

The file has the datasets pixels (bytes,) uint8: all images, one after the other, (H, W, 3) each;
sizes (N, 2) int64: H and W; checksums (N,) uint32: the CRC-32 of each image's bytes; counts (N,)
int64: boxes of each image; boxes (M, 4) float32 and labels (M,) int64 of all images; names, uint8:
what images are called, in UTF-8, each ended by a zero byte; and, where there are such, difficult,
crowd (M,) uint8, area (M,) float32, points (M, P, 2) float32 and parts (N,) int64, the place in
train, validation, test, or -1. The root's attributes are format="minidl detection" and classes
(JSON).
"""

import json
import math
import os
import tempfile
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from minidl.data.detection.dataset import FIELDS, Detection, Target
from minidl.data.hdf5_dataset import ANY_SIZE, read_at
from minidl.data.hdf5_writer import MOST_NAMES
from minidl.data.parts import PARTS
from minidl.errors import ArgumentError, DTypeError, FileFormatError, ShapeError

__all__ = ["FORMAT", "FORMAT_VERSION", "open_detection", "save_detection"]

FORMAT, FORMAT_VERSION = "minidl detection", 1
OPTIONAL = ("difficult", "crowd", "area", "points")
MOST_PIXELS = 2**31  # bytes of an image


def save_detection(
    detection: Detection, path: str | os.PathLike[str], overwrite: bool = False
) -> None:
    """Write a set. Its pixels gather in a temporary file beside it: memory needn't hold them."""
    from minidl.io.compose import Content
    from minidl.io.sealed import write_sealed

    target = Path(path)
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists: name another file, or replace it with overwrite")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{target}: there is no folder {target.parent}: create it first")
    classes = json.dumps(detection.classes)
    if len(classes) > MOST_NAMES:
        raise ArgumentError(f"Detection.save: the classes' names take more than {MOST_NAMES} bytes")
    with tempfile.TemporaryFile(dir=target.parent) as file:
        sizes, checksums = [], []
        for i in range(len(detection)):
            pixels = np.ascontiguousarray(detection.pictures[i].read())
            sizes.append(pixels.shape[:2])
            checksums.append(zlib.crc32(pixels.data))
            file.write(pixels.data)
        file.flush()
        content = Content({"pixels": np.memmap(file, np.uint8, "r")})
        content.arrays["sizes"] = np.array(sizes, np.int64)
        content.arrays["checksums"] = np.array(checksums, np.uint32)
        content.arrays |= _arrays(detection)
        content.add("", classes=classes)
        write_sealed(target, content, (FORMAT, FORMAT_VERSION))


def _arrays(detection: Detection) -> dict[str, np.ndarray]:
    """Return what the file holds beside the images."""
    targets = detection.targets
    counts = np.array([len(target["boxes"]) for target in targets], np.int64)
    names = "".join(f"{name}\0" for name in detection.names).encode("utf-8", "surrogateescape")
    found: dict[str, np.ndarray] = {
        "counts": counts, "names": np.frombuffer(names, np.uint8),
        "boxes": np.concatenate([target["boxes"] for target in targets]),
        "labels": np.concatenate([target["labels"] for target in targets]),
    }  # fmt: skip
    with_boxes = [target for target in targets if len(target["boxes"])]
    for name in OPTIONAL:
        flags = FIELDS[name] is np.bool_
        if (any if flags else all)(name in target for target in with_boxes) and with_boxes:
            found[name] = _joined(name, with_boxes)
    if detection.parts is not None:
        found["parts"] = np.array([PARTS.index(p) if p else -1 for p in detection.parts], np.int64)
    return found


def _joined(name: str, targets: list[Target]) -> np.ndarray:
    """Return one field of all boxes; flags that an image doesn't tell are off."""
    arrays = [t.get(name, np.zeros(len(t["boxes"]), FIELDS[name])) for t in targets]
    if len({array.shape[1:] for array in arrays}) > 1:
        raise ArgumentError("Detection.save expected as many points in each box")
    joined = np.concatenate(arrays)
    return joined.astype(np.uint8) if joined.dtype == np.bool_ else joined


# Reading


class _Store:
    """The pixels of an HDF5 file, read from their place, each image against its CRC-32."""

    def __init__(self, path: str, places: np.ndarray, sizes: np.ndarray, sums: np.ndarray) -> None:
        self.path, self.places, self.sizes, self.sums = path, places, sizes, sums
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in vars(self).items() if name != "_lock"}
        return state | {"path": os.path.abspath(self.path)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._lock = threading.Lock()

    def read(self, index: int) -> np.ndarray:
        pixels = np.empty((*self.sizes[index].tolist(), 3), np.uint8)
        view, place = pixels.data.cast("B"), int(self.places[index])
        with open(self.path, "rb", buffering=0) as file:
            while view:
                read = read_at(file, view, place)
                if not read:
                    raise FileFormatError(f"{self.path}: image {index} is cut off")
                view, place = view[read:], place + read
        if zlib.crc32(pixels.data) != int(self.sums[index]):
            raise FileFormatError(
                f"{self.path}: image {index} is damaged: its bytes don't have the checksum that "
                "was written; save the set anew"
            )
        return pixels


class _StoredPicture:
    """One image of a file."""

    def __init__(self, store: _Store, index: int) -> None:
        self._store, self._index = store, index

    def read(self) -> np.ndarray:
        return self._store.read(self._index)

    def about(self) -> tuple[tuple[int, int], bool]:
        height, width = self._store.sizes[self._index].tolist()
        return (height, width), False


def open_detection(path: str | os.PathLike[str]) -> Detection:
    """Return the set in a file; all but its pixels is read and verified at once."""
    from minidl.io.sealed import open_sealed, read_verified

    name = os.fspath(path)
    with open_sealed(path, {FORMAT: FORMAT_VERSION}, ANY_SIZE) as (_, file):
        entries = file.datasets()
        length = os.path.getsize(path)
        if "pixels" not in entries or sum(e.cost for e in entries.values()) > length:
            raise FileFormatError(f"{name}: its datasets don't fit together")
        pixels, place = entries["pixels"], file.place("pixels")
        arrays = {each: read_verified(file, each) for each in entries if each != "pixels"}
        classes = _classes(name, file.attribute("classes"))
    if place is None or not _fit(arrays, pixels, len(classes)):
        raise FileFormatError(f"{name}: its datasets don't fit together")
    sizes, counts = arrays["sizes"], arrays["counts"]
    places = place + np.concatenate([[0], np.cumsum(sizes.prod(axis=1) * 3)[:-1]])
    store = _Store(name, places, sizes, arrays["checksums"])
    ends = np.cumsum(counts)
    fields = [f for f in ("boxes", "labels", *OPTIONAL) if f in arrays]
    targets = [
        {f: arrays[f][end - count : end].astype(FIELDS.get(f, np.float32)) for f in fields}
        for end, count in zip(ends.tolist(), counts.tolist(), strict=True)
    ]
    texts = arrays["names"].tobytes().decode("utf-8", "surrogateescape").split("\0")[:-1]
    parts = None
    if "parts" in arrays:
        parts = [None if p < 0 else PARTS[p] for p in arrays["parts"].tolist()]
    pictures = [_StoredPicture(store, i) for i in range(len(sizes))]
    try:
        return Detection(pictures, targets, classes, names=texts, parts=parts)
    except (ArgumentError, DTypeError, ShapeError) as error:
        raise FileFormatError(f"{name}: what it holds is no detection set: {error}") from error


def _classes(path: str, text: Any) -> list[str]:
    try:
        classes = json.loads(str(text))
    except (ValueError, RecursionError):
        classes = None
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise FileFormatError(f"{path}: the names of its classes can't be read")
    return classes


def _fit(arrays: dict[str, np.ndarray], pixels: Any, classes: int) -> bool:
    """Return whether the datasets of a file are what the format says."""
    needed = {
        "sizes": (np.int64, 2), "checksums": (np.uint32, 1), "counts": (np.int64, 1),
        "boxes": (np.float32, 2), "labels": (np.int64, 1), "names": (np.uint8, 1),
    }  # fmt: skip
    for name, (dtype, ndim) in needed.items():
        if name not in arrays or arrays[name].dtype != dtype or arrays[name].ndim != ndim:
            return False
    sizes, counts, labels = arrays["sizes"], arrays["counts"], arrays["labels"]
    images, boxes = len(sizes), len(labels)
    if not images or sizes.shape != (images, 2) or sizes.min() < 1 or sizes.max() >= MOST_PIXELS:
        return False
    total = sum(math.prod(size) * 3 for size in sizes.tolist())
    parts = arrays.get("parts", np.zeros(images, np.int64))
    return bool(
        pixels.shape == (total,)
        and pixels.dtype == np.uint8
        and arrays["checksums"].shape == counts.shape == parts.shape == (images,)
        and counts.min() >= 0
        and sum(counts.tolist()) == boxes
        and arrays["boxes"].shape == (boxes, 4)
        and all(len(arrays[name]) == boxes for name in OPTIONAL if name in arrays)
        and arrays["names"].tobytes().count(0) == images
        and parts.dtype == np.int64
        and -1 <= parts.min() <= parts.max() < len(PARTS)
        and classes > 0
    )
