"""Images for the commands: what IMAGES names, and how a network takes them."""

import argparse
import errno
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from minidl.errors import ArgumentError, FileFormatError

if TYPE_CHECKING:
    from minidl.data import Dataset
    from minidl.models import Network

__all__ = [
    "SMALL", "Parts", "columns_of", "decoded_size", "name_of", "open_part", "open_parts",
    "opened_parts", "passed_over", "preparation",
]  # fmt: skip

PARTS = ("train", "validation", "test")
SMALL = 96  # pixels of images that are decoded to the size that a network takes
HELD_OUT = 0.2  # of images that aren't split
MOST_IN_MEMORY = 2**30  # bytes of decoded images
HDF5 = (".h5", ".hdf5")


class Parts(NamedTuple):
    """The parts of a set of images, and what was left out.

    skipped: (file, reason) of each image that can't be read.
    passed_over: (file, reason) of what isn't taken for an image.
    measured: what the second part is: "validation" or "test".
    """

    training: Any
    validation: Any
    skipped: list[tuple[str, str]]
    passed_over: list[tuple[str, str]]
    measured: str = "validation"


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


def columns_of(options: argparse.Namespace, path: Path) -> dict[str, str]:
    """The columns that --file-column and --label-column name."""
    from minidl.data.layouts import TABLES

    given = {"file_column": options.file_column, "label_column": options.label_column}
    columns = {name: value for name, value in given.items() if value is not None}
    if columns and path.suffix.lower() not in TABLES and not path.is_dir():
        raise ArgumentError(f"--file-column and --label-column are for .csv lists, not {path}")
    return columns


def open_parts(
    path: Path, size: int, seed: int, columns: dict[str, str], strict: bool = False
) -> Parts:
    """The training part of IMAGES and the one to measure on, its images `size` x `size`.

    That is the validation part, or the test part where there is none. From what isn't split a
    fifth of each class is held out.
    strict: whether an image that can't be read is an error.
    """
    from minidl.data import split

    opened = opened_parts(path, size, columns)
    names = list(opened)
    if names[0] not in ("train", "all"):
        raise ArgumentError(f"{path} has no part to train on, only {', '.join(names)}")
    training, skipped = _in_memory(opened[names[0]], strict)
    over = [pair for name in names for pair in passed_over(opened[name])]
    _check_classes(path, training)
    if len(names) == 1:
        training, validation = split(training, (1 - HELD_OUT, HELD_OUT), seed)
        return Parts(training, validation, skipped, over)
    measured = "validation" if "validation" in names else "test"
    validation, more = _in_memory(opened[measured], strict)
    if validation.classes != training.classes:
        raise ArgumentError(
            f"the {measured} part of {path} has the classes {', '.join(validation.classes)}, and "
            f"the training part {', '.join(training.classes)}: build both of one folder"
        )
    return Parts(training, validation, [*skipped, *more], over, measured)


def open_part(
    path: Path, part: str | None, size: int, columns: dict[str, str], strict: bool = False
) -> tuple["Dataset", list[tuple[str, str]], list[tuple[str, str]], str]:
    """One part of IMAGES, or all: the images, what can't be read, what was passed over, and the
    part's name.

    part: None for the validation part, or the test part where there is none.
    """
    opened = opened_parts(path, size, columns)
    if list(opened) == ["all"]:
        if part is not None:
            raise ArgumentError(f"{path} isn't split into parts: leave out --part")
        part = "all"
    elif part is None:
        part = next(name for name in ("validation", "test", "train") if name in opened)
    if part not in opened:
        raise ArgumentError(f"{path} has the parts {', '.join(opened)}, not {part}")
    images, skipped = _in_memory(opened[part], strict)
    return images, skipped, passed_over(opened[part]), part


def opened_parts(
    path: Path, size: int, columns: dict[str, str], fit: str = "crop"
) -> dict[str, Any]:
    """The parts of IMAGES, undecoded: "train", "validation", "test", or "all"."""
    from minidl.data import image_parts

    if path.suffix in HDF5:
        built = {part: path.with_name(f"{path.stem}.{part}{path.suffix}") for part in PARTS}
        there = {part: file for part, file in built.items() if file.exists()}
        if not path.exists() and "train" in there and len(there) > 1:
            return {part: _rows(file, size) for part, file in there.items()}
        return {"all": _rows(_existing(path), size)}
    try:
        return image_parts(_existing(path), size=size, fit=fit, **columns)
    except (ArgumentError, FileFormatError) as error:
        text = str(error).replace("file_column=", "--file-column")
        raise type(error)(text.replace("label_column=", "--label-column")) from error


def _existing(path: Path) -> Path:
    if not path.exists():
        raise FileNotFoundError(errno.ENOENT, f"there is no {path}")
    return path


def _check_classes(path: Path, training: Any) -> None:
    """Raise ArgumentError unless there are classes to tell apart, with images of each."""
    import numpy as np

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
    from minidl.data.parts import class_folders

    inside = class_folders(path) if path.is_dir() else []
    if len(inside) == 1 and len(class_folders(path / inside[0])) > 1:
        return f", or give {path / inside[0]}"
    return ""


def passed_over(images: Any) -> list[tuple[str, str]]:
    """(file, reason) of what was found beside a part's images and isn't taken."""
    return list(getattr(images, "passed_over", ()))


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

    from minidl.data import DataLoader, HDF5Dataset
    from minidl.data.dataset import LabelledImages
    from minidl.data.folder import ImageFiles

    if isinstance(images, HDF5Dataset):
        return images, []
    bad: list[tuple[str, str]] = []
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


def name_of(images: Any, index: int) -> str:
    """What an image is called."""
    from minidl.data import Subset

    if isinstance(images, Subset):
        return name_of(images.dataset, int(images.indices[index]))
    return images.name(index) if hasattr(images, "name") else f"image {index}"
