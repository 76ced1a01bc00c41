"""Images with labels that lie together in files: idx, .npz and CIFAR-10's."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minidl.data.cifar10 import cifar10
from minidl.data.dataset import Dataset
from minidl.data.idx import idx_axes, read_idx
from minidl.data.images import Size, check_size, fit_pixels
from minidl.data.parts import part_of
from minidl.errors import FileFormatError

__all__ = ["ImageArrays", "cifar10_parts", "idx_parts", "npz_parts"]

MOST_BYTES = 4 * 2**30  # of the arrays in an .npz
T10K = "t10k"  # MNIST's name for its test part
TEST_BATCH = "test_batch.bin"
LABELLED = ("label", "target", "class", "y")
SAVE = "np.savez(path, x_train=images, y_train=labels, ...)"


class ImageArrays(Dataset):
    """Images in memory: item i is (image (H, W, 3) uint8 RGB, label ()).

    images: (N, H, W), (N, H, W, 1) or (N, H, W, 3) uint8.  labels: (N,), numbers of `classes`.
    source: what they are from, for their names.
    size, fit: as `minidl.data.images.read_image` takes them.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        classes: Sequence[str],
        source: str,
        *,
        size: Size | None = None,
        fit: str = "crop",
    ) -> None:
        check_size(size, fit)
        self.images = images if images.ndim == 4 else images[..., np.newaxis]
        self.labels, self.classes = np.asarray(labels, np.int64), list(classes)
        self.source, self.size, self.fit = source, size, fit
        self.passed_over: list[tuple[str, str]] = []

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        image = self.images[index]
        if image.shape[-1] == 1:
            image = np.repeat(image, 3, axis=-1)
        return fit_pixels(image, self.size, self.fit), np.asarray(self.labels[index])

    def name(self, index: int) -> str:
        """Return what image `index` is called: its file, and its place there."""
        return f"{self.source}[{index}]"


Pairs = Mapping[str, tuple[np.ndarray, np.ndarray, str]]  # part -> images, labels, source


def _datasets(pairs: Pairs, size: Size | None, fit: str) -> dict[str, Any]:
    """Return a data set for each part; all have the classes of the first."""
    first = next(iter(pairs.values()))[1]
    known = np.unique(first)  # sorted
    classes = [str(value) for value in known.tolist()]
    found: dict[str, Any] = {}
    for part, (images, labels, source) in pairs.items():
        if unknown := sorted({*labels.tolist()} - {*known.tolist()}):
            raise FileFormatError(
                f"{source}: expected the classes {', '.join(classes)}, found "
                f"{', '.join(map(str, unknown))} too"
            )
        numbers = np.searchsorted(known, labels)
        found[part] = ImageArrays(images, numbers, classes, source, size=size, fit=fit)
    return found


# CIFAR-10


def cifar10_parts(folder: Path, size: Size | None, fit: str) -> dict[str, Any]:
    """Return the parts in a folder of CIFAR-10's binary files; {} if there are none."""
    files = sorted(folder.glob("*_batch*.bin")) or sorted(folder.glob("train*.bin"))
    training = [file for file in files if file.name != TEST_BATCH]
    parts = {"train": training, "test": [file for file in files if file.name == TEST_BATCH]}
    found: dict[str, Any] = {}
    for part, paths in parts.items():
        if paths:
            read = cifar10(paths)
            found[part] = ImageArrays(
                read.arrays[0], read.labels, read.classes, str(folder), size=size, fit=fit
            )
    return found


# idx


def idx_parts(folder: Path, size: Size | None, fit: str) -> dict[str, Any]:
    """Return the parts in a folder of idx files; {} if there are none.

    Images and labels are paired by the part in their names.
    Raises FileFormatError where files have no partner, or several.
    """
    files = sorted(p for p in folder.iterdir() if p.is_file() and "idx" in p.name.lower())
    axes = {file: idx_axes(file) for file in files}
    if not any(axes.values()):
        return {}
    found: dict[str, dict[bool, Path]] = {}
    for file, number in axes.items():
        if not number:
            continue
        part = "test" if T10K in file.name else _part_in(file.name)
        if (taken := found.setdefault(part, {}).get(number > 2)) is not None:
            raise FileFormatError(
                f"{folder}: {taken.name} and {file.name} both seem to hold the "
                f"{'images' if number > 2 else 'labels'} of the part {part}: leave one, or put "
                "train, validation or test into the files' names"
            )
        found[part][number > 2] = file
    pairs: dict[str, tuple[np.ndarray, np.ndarray, str]] = {}
    for part in sorted(found, key=_by_part):
        if len(both := found[part]) < 2:
            (file,) = both.values()
            lacks = "labels" if True in both else "images"
            raise FileFormatError(
                f"{file}: there are no {lacks} for it in {folder}: put the idx file of its {lacks} "
                "beside it"
            )
        images, labels = read_idx(both[True]), read_idx(both[False])
        if images.shape[3:] not in ((), (1,), (3,)) or len(images) != len(labels):
            raise FileFormatError(
                f"{both[True]}: holds {images.shape}, and {both[False].name} {labels.shape}: "
                "expected images (N, H, W) or (N, H, W, C) and labels (N,)"
            )
        pairs[part] = (images, labels, str(both[True]))
    return _datasets(pairs, size, fit)


def _part_in(name: str) -> str:
    words = name.replace(".", "-").replace("_", "-").split("-")
    return next((part for word in words if (part := part_of(word))), "all")


def _by_part(part: str) -> int:
    return ("train", "all", "validation", "test").index(part)


# .npz


def npz_parts(path: Path, size: Size | None, fit: str) -> dict[str, Any]:
    """Return the parts in an .npz file: arrays such as x_train and y_train, or images and labels.

    Images are uint8 (N, H, W), (N, H, W, C) or (N, C, H, W); labels (N,) whole numbers or texts, or
    (N, classes) one-hot. Raises FileFormatError for other files.
    """
    arrays = _read_npz(path)
    halves: dict[str, dict[str, list[str]]] = {}
    for name, array in arrays.items():
        kind = "labels" if array.ndim < 3 else "images"
        halves.setdefault(_part_in(name), {}).setdefault(kind, []).append(name)
    pairs: dict[str, tuple[np.ndarray, np.ndarray, str]] = {}
    for part in sorted(halves, key=_by_part):
        names = {
            kind: _one(path, part, halves[part].get(kind, []), kind)
            for kind in ("images", "labels")
        }
        source = f"{path}:{names['images']}"
        images = _pixels(source, arrays[names["images"]])
        labels = _labels(f"{path}:{names['labels']}", arrays[names["labels"]], len(images))
        pairs[part] = (images, labels, source)
    if not pairs:
        raise FileFormatError(f"{path}: it holds no arrays: {SAVE}")
    return _datasets(pairs, size, fit)


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(path) as archive:
            total = sum(info.file_size for info in archive.infolist())
        if total > MOST_BYTES:
            raise FileFormatError(
                f"{path}: its arrays take {total:,} bytes, more than {MOST_BYTES:,}: write them to "
                "an HDF5 file with data.HDF5Writer"
            )
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except FileFormatError:
        raise
    except Exception as error:  # what NumPy raises for damaged files is of many kinds
        if isinstance(error, MemoryError) or getattr(error, "errno", None) is not None:
            raise
        raise FileFormatError(
            f"{path}: expected an .npz of arrays of numbers (no Python objects): {error}"
        ) from error


def _one(path: Path, part: str, names: list[str], kind: str) -> str:
    if len(names) > 1 and kind == "labels":
        names = [n for n in names if any(word in n.lower() for word in LABELLED)]
    if len(names) != 1:
        of = "" if part == "all" else f" of the part {part}"
        raise FileFormatError(
            f"{path}: expected one array of {kind}{of}, found {', '.join(names) or 'none'}: {SAVE}"
        )
    return names[0]


def _pixels(source: str, array: np.ndarray) -> np.ndarray:
    if array.dtype != np.uint8:
        raise FileFormatError(
            f"{source}: expected uint8 pixels, 0 to 255, found {array.dtype} from {array.min()} to "
            f"{array.max()}: save them as uint8, such as np.rint(255 * x).astype(np.uint8) if they "
            "go from 0 to 1"
        )
    if array.ndim == 4 and array.shape[-1] not in (1, 3) and array.shape[1] in (1, 3):
        array = array.transpose(0, 2, 3, 1)  # (N, C, H, W) -> (N, H, W, C)
    elif array.ndim == 4 and array.shape[-1] in (1, 3) and array.shape[1] in (1, 3):
        raise FileFormatError(
            f"{source}: which axis of {array.shape} holds the channels is unknown"
        )
    if array.ndim not in (3, 4) or array.shape[3:] not in ((), (1,), (3,)) or not array.size:
        raise FileFormatError(
            f"{source}: expected images (N, H, W), (N, H, W, 1) or (N, H, W, 3), found "
            f"{array.shape}"
        )
    return array


def _labels(source: str, array: np.ndarray, count: int) -> np.ndarray:
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 2 and array.dtype.kind in "biuf" and _is_one_hot(array):
        array = array.argmax(axis=1)
    if array.shape != (count,) or array.dtype.kind not in "iuUb":
        raise FileFormatError(
            f"{source}: expected labels ({count},), whole numbers or texts, found {array.dtype} "
            f"{array.shape}"
        )
    return array


def _is_one_hot(array: np.ndarray) -> bool:
    return bool(np.isin(array, (0, 1)).all() and (array.sum(axis=1) == 1).all())
