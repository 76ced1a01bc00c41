"""Images for the commands: what IMAGES names, and how a network takes them."""

import errno
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from minidl.errors import ArgumentError

if TYPE_CHECKING:
    from minidl.data import Dataset
    from minidl.models import Network

__all__ = [
    "SMALL", "Parts", "decoded_size", "name_of", "open_images", "open_parts", "part_folders",
    "part_paths", "preparation",
]  # fmt: skip

FOLDERS = {"train": ("train",), "validation": ("val", "valid", "validation"), "test": ("test",)}
SMALL = 96  # pixels of images that are decoded to the size that a network takes
HELD_OUT = 0.2  # of images that aren't split
MOST_IN_MEMORY = 2**30  # bytes of decoded images
HDF5 = (".h5", ".hdf5")


class Parts(NamedTuple):
    """The parts of a set of images, and (file, reason) of each image that can't be read."""

    training: Any
    validation: Any
    skipped: list[tuple[str, str]]


def decoded_size(network: "Network") -> int:
    """Height and width that images are decoded to: of photographs a little more than the network
    was trained on, so that there is something to crop."""
    size = _format(network).size
    return size if size < SMALL else size * 8 // 7


def preparation(network: "Network") -> list[Any]:
    """The transforms that make of decoded images what the network takes, in evaluation."""
    from minidl.data import transforms

    return transforms.prepare(_format(network), crop=not network.any_size)


def _format(network: "Network") -> Any:
    if network.image_format is None:
        raise ArgumentError(
            "the file doesn't say what images its network takes: set model.image_format to a "
            "models.ImageFormat and save it again"
        )
    return network.image_format


def open_parts(path: Path, size: int, seed: int, strict: bool = False) -> Parts:
    """The parts of IMAGES, as `_opened` finds them, if there is something to tell apart."""
    found = _opened(path, size, seed, strict)
    if len(found.training.classes) < 2:
        raise ArgumentError(
            f"{path} has images of one class, {found.training.classes[0]!r}: there is nothing to "
            "learn; put the images of each class in a folder of its own"
        )
    return found


def _opened(path: Path, size: int, seed: int, strict: bool) -> Parts:
    """The training and the validation part of IMAGES, its images `size` x `size`.

    A folder with train and val in it is split already, and so is NAME.h5 where NAME.train.h5 and
    NAME.validation.h5 stand. From anything else a fifth of each class is held out.
    strict: whether an image that can't be read is an error.
    """
    from minidl.data import ImageFolder, split

    if path.suffix in HDF5 and (built := part_paths(path)):
        return Parts(_rows(built["train"], size), _rows(built["validation"], size), [])
    folders = part_folders(path)
    if folders:
        known = ImageFolder(path / folders["train"], size=size)
        others = ImageFolder(path / folders["validation"], size=size, classes=known.classes)
        found = [_in_memory(each, strict) for each in (known, others)]
        skipped = [
            (f"{folders[part]}/{name}", why)
            for part, (_, bad) in zip(("train", "validation"), found, strict=True)
            for name, why in bad
        ]
        return Parts(found[0][0], found[1][0], skipped)
    whole, skipped = open_images(path, size, strict)
    training, validation = split(whole, (1 - HELD_OUT, HELD_OUT), seed)
    return Parts(training, validation, skipped)


def open_images(
    path: Path, size: int, strict: bool = False, **columns: str
) -> tuple["Dataset", list[tuple[str, str]]]:
    """All images of a folder of class folders, a CSV list or an HDF5 file; (file, reason) of those
    that can't be read.

    columns: file_column and label_column of a CSV list.
    """
    from minidl.data import ImageFolder, ImageList, cifar10

    if not path.exists():
        raise FileNotFoundError(errno.ENOENT, f"there is no {path}")
    if path.suffix in HDF5:
        return _rows(path, size), []
    if path.suffix.lower() == ".csv":
        return _in_memory(ImageList(path, size=size, **columns), strict)
    if any(path.glob("*_batch*.bin")) or any(path.glob("train*.bin")):
        return cifar10(path), []
    return _in_memory(ImageFolder(path, size=size), strict)


def part_paths(path: Path) -> dict[str, Path]:
    """Where each part of IMAGES is, if they are split already."""
    if path.suffix not in HDF5:
        return {part: path / name for part, name in part_folders(path).items()}
    built = {part: path.with_name(f"{path.stem}.{part}{path.suffix}") for part in FOLDERS}
    found = {part: file for part, file in built.items() if file.exists() and not path.exists()}
    return found if {"train", "validation"} <= found.keys() else {}


def part_folders(root: Path) -> dict[str, str]:
    """The sub-folder of each part, where `root` has some for training and validation."""
    found = {
        part: name for part, names in FOLDERS.items() for name in names if (root / name).is_dir()
    }
    return found if {"train", "validation"} <= found.keys() else {}


def _rows(path: Path, size: int) -> Any:
    from minidl.data import HDF5Dataset

    data = HDF5Dataset(path)
    if len(data.shape) == 3 and min(data.shape[:2]) > 2 * size:
        raise ArgumentError(
            f"{path} holds images of {data.shape[0]} x {data.shape[1]} pixels, far more than the "
            f"{size} x {size} asked for, which would be small parts of them: "
            f"minidl build IMAGES {path} --size {size} --overwrite"
        )
    least = size if size < SMALL else size * 7 // 8  # what a network was trained on will do
    if len(data.shape) != 3 or min(data.shape[:2]) < least or data.classes is None:
        raise ArgumentError(
            f"{path} holds rows of shape {data.shape}"
            f"{'' if data.classes else ' without names of classes'}, expected images of at least "
            f"{least} x {least} pixels: minidl build IMAGES {path} --size {size}"
        )
    return data


def _in_memory(images: Any, strict: bool) -> tuple[Any, list[tuple[str, str]]]:
    """Image files, decoded once where memory allows; those that can't be read are left out."""
    import numpy as np

    from minidl.data import DataLoader
    from minidl.data.dataset import LabelledImages

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


def name_of(images: Any, index: int) -> str:
    """What an image is called."""
    from minidl.data import Subset

    if isinstance(images, Subset):
        return name_of(images.dataset, int(images.indices[index]))
    return images.name(index) if hasattr(images, "name") else f"image {index}"
