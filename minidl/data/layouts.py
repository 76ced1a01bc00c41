"""Data sets of images as people have them: which files are which part, and what labels them."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minidl.data.folder import ImageFiles, ImageFolder
from minidl.data.images import SUFFIXES, Size
from minidl.data.listing import ImageList, sorted_classes
from minidl.data.packed import cifar10_parts, idx_parts, npz_parts
from minidl.data.parts import PARTS, class_folders, part_folders, unwrapped
from minidl.data.scanning import Scan
from minidl.errors import ArgumentError, FileFormatError

__all__ = ["TABLES", "image_parts"]

TABLES = (".csv", ".tsv")
ANNOTATIONS = "val_annotations.txt"  # Tiny-ImageNet's
NUMBERED = re.compile(r"(.*[^\W\d_])[\W_]*\d+[\W_]*")  # cat.0, great_dane_12, dog (3)
# What cameras and programs put before a number
CAMERAS = {
    "img", "image", "images", "dsc", "dscn", "dscf", "dcim", "pict", "pic", "p", "photo", "foto",
    "scan", "screenshot", "frame", "pxl", "mvimg", "picture", "file", "untitled", "vid", "x", "n",
    "sample", "train", "test", "val", "imag", "gopr", "dji", "whatsapp image", "signal",
}  # fmt: skip
ALL = "all"


def image_parts(
    path: str | os.PathLike[str],
    *,
    size: Size | None = None,
    fit: str = "crop",
    file_column: str | None = None,
    label_column: str | None = None,
) -> dict[str, Any]:
    """The parts of a data set of images: "train", "validation", "test"; "all" if it isn't split.

    path: a folder with a sub-folder for each class; one with the folders train and val or test (or
        training, valid, testing, ...) of such; images named after their classes, such as cat.0.jpg;
        Tiny-ImageNet's folder; a table (`ImageList`), with a column that tells parts or without;
        an .npz file, such as Keras's mnist.npz; a folder of idx files or of CIFAR-10's.
    size, fit: as `read_image` takes them.  file_column, label_column: as `ImageList`.
    All parts have the classes of the first. A part for testing without labels is in `passed_over`.
    Raises FileNotFoundError, ArgumentError or FileFormatError where labels or parts can't be told
    for sure, saying what would tell.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no {path}")
    suffix = path.suffix.lower()
    if path.is_file() and suffix in TABLES:
        columns = {"file_column": file_column, "label_column": label_column}
        return _of_table(ImageList(path, size=size, fit=fit, **columns))
    if file_column or label_column:
        raise ArgumentError(f"file_column and label_column are for tables, not for {path}")
    if suffix == ".npz" and path.is_file():
        return npz_parts(path, size, fit)
    if not path.is_dir():
        raise FileFormatError(
            f"{path}: expected a folder of images, a table ({', '.join(TABLES)}) or an .npz file"
        )
    path = unwrapped(path)
    for read in (cifar10_parts, idx_parts):
        if found := read(path, size, fit):
            return found
    folders = part_folders(path)
    return _of_folders(path, folders, size, fit) if folders else {ALL: _labelled(path, size, fit)}


def _of_table(images: ImageList) -> dict[str, Any]:
    if images.parts is None:
        return {ALL: images}
    found: dict[str, Any] = {}
    for part in PARTS:
        chosen = [i for i, of in enumerate(images.parts) if of == part]
        if chosen:
            found[part] = ImageFiles(
                images.root, [images.paths[i] for i in chosen], images.labels[chosen],
                images.classes, size=images.size, fit=images.fit,
                passed_over=images.passed_over if not found else (),
            )  # fmt: skip
    return found


def _of_folders(
    root: Path, folders: dict[str, Path], size: Size | None, fit: str
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    over: list[tuple[str, str]] = []
    taken = {folder.name for folder in folders.values()}
    for each in sorted(root.iterdir()):
        if each.name not in taken:
            reason = "hidden" if each.name.startswith(".") else "no part: train, validation or test"
            over.append((each.name, reason))
    classes = None
    for part, folder in folders.items():
        inside = unwrapped(folder)
        if part == "test" and (count := _unlabelled(inside, classes or ())):
            over.append((f"{folder.name}, {count:,} images", "without labels"))
            continue
        images = found[part] = _labelled(inside, size, fit, classes)
        within = inside.relative_to(root).as_posix()
        images.passed_over = [(f"{within}/{name}", why) for name, why in images.passed_over]
        images.root = root  # its images' names tell the part
        classes = images.classes
    found["train"].passed_over += over
    return found


def _labelled(
    folder: Path, size: Size | None, fit: str, classes: Sequence[str] | None = None
) -> ImageFiles:
    """The images of one folder with their labels, however it tells them."""
    if (folder / ANNOTATIONS).is_file():
        return _annotated(folder, size, fit, classes)
    if class_folders(folder):
        return ImageFolder(folder, size=size, fit=fit, classes=classes)
    return _by_name(folder, size, fit, classes)


def _files(folder: Path) -> list[Path]:
    return [p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.name[0] != "."]


def _unlabelled(folder: Path, classes: Sequence[str]) -> int:
    """How many images a folder, or its only sub-folder, holds if nothing tells their classes."""
    inside = class_folders(folder)
    if len(inside) == 1 and inside[0] not in classes:
        return len(_files(folder / inside[0]))
    if inside or (folder / ANNOTATIONS).is_file():
        return 0
    files = _files(folder)
    found = [NUMBERED.fullmatch(file.stem) for file in files]
    return 0 if all(match and match[1].strip() in classes for match in found) else len(files)


def _annotated(
    folder: Path, size: Size | None, fit: str, classes: Sequence[str] | None
) -> ImageFiles:
    """Tiny-ImageNet's validation part: a table without a row of names, its first columns being file
    and class; images may have been sorted into folders of classes since."""
    inside = class_folders(folder)
    if "images" not in inside:
        return ImageFolder(folder, size=size, fit=fit, classes=classes)
    images = folder / "images"
    return ImageList(
        folder / ANNOTATIONS, images, size=size, fit=fit, file_column="file 1",
        label_column="file 2", classes=classes,
    )  # fmt: skip


def _by_name(
    folder: Path, size: Size | None, fit: str, classes: Sequence[str] | None
) -> ImageFiles:
    """Images named after their classes: cat.0.jpg, dog.0.jpg."""
    scan = Scan(folder)
    paths = scan.images(folder)
    if not paths:
        ImageFolder(folder)  # says what is missing
    found = [NUMBERED.fullmatch(path.stem) for path in paths]
    texts = [match[1].strip() if match else "" for match in found]
    known = sorted_classes(texts)
    other = [path.name for path, text in zip(paths, texts, strict=True) if not text]
    told = not other and (classes is not None or _are_classes(texts))
    if not told:
        example = (other or [path.name for path in paths])[0]
        raise ArgumentError(
            f"{folder} has images but no folders of classes, and their names, such as {example}, "
            "don't tell classes as cat.0.jpg does: put the images of each class in a folder, such "
            f"as {folder / 'cats'}, or list them in a table with the columns file and label"
            f"{_tables_near(folder)}"
        )
    if classes is not None and (unknown := sorted({*known} - {*classes})):
        raise ArgumentError(
            f"{folder}: expected the classes {', '.join(classes)}, found {', '.join(unknown)} too"
        )
    names = list(known if classes is None else classes)
    number = {name: i for i, name in enumerate(names)}
    return ImageFiles(
        folder, paths, [number[text] for text in texts], names, size=size, fit=fit,
        passed_over=scan.passed_over,
    )  # fmt: skip


def _are_classes(texts: Sequence[str]) -> bool:
    """Whether names without their numbers look like those of classes: several, each several times,
    and not what a camera calls its images."""
    counts = Counter(texts)
    return (
        len(counts) > 1
        and min(counts.values()) > 1
        and not any(name.lower() in CAMERAS for name in counts)
    )


def _tables_near(folder: Path) -> str:
    near = [p for f in (folder, folder.parent) for p in sorted(f.iterdir()) if p.suffix in TABLES]
    return (
        f"; there is {', '.join(map(str, near[:3]))}: give it instead of the folder" if near else ""
    )
