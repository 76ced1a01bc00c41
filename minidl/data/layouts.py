"""Data sets of images as people have them: which files are which part, and what labels them."""

import contextlib
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from minidl.constants.tasks import CLASSES
from minidl.data.containers import MASK, containers, masks, unwrapped
from minidl.data.folder import ImageFiles, ImageFolder
from minidl.data.images import Size
from minidl.data.listing import ImageList, lists_images, repeats_folders
from minidl.data.packed import cifar10_parts, idx_parts, npz_parts
from minidl.data.parts import PARTS, class_folders, part_folders, part_of
from minidl.data.scanning import Scan, images_in
from minidl.data.targets import sorted_classes
from minidl.errors import ArgumentError, FileFormatError

__all__ = ["check_no_columns", "image_parts"]

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
    label_column: str | Sequence[str] | None = None,
    task: str = CLASSES,
    classes: Sequence[str] | None = None,
) -> dict[str, Any]:
    """The parts of a data set of images: "train", "validation", "test"; "all" if it isn't split.

    path: a folder with a sub-folder for each class; one with the folders train and val or test (or
        training, valid, testing, ...) of such; images named after their classes, such as cat.0.jpg;
        Tiny-ImageNet's folder; a table (`ImageList`), with a column that tells parts or without, or
        a folder with a table of its images, or with one for each part; an .npz file, such as
        Keras's mnist.npz; a folder of idx files or of CIFAR-10's; a folder of nothing but one of
        these, or with one in a folder images beside masks.
    size, fit: as `read_image` takes them.  file_column, label_column, task: as `ImageList`; labels
        and numbers are read from tables.
    classes: the names of labels and numbers, in their order; None: those that are found.
    All parts have the classes of the first. A part for testing without labels is in `passed_over`.
    Raises FileNotFoundError, ArgumentError or FileFormatError where labels or parts can't be told
    for sure, saying what would tell.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no {path}")
    suffix = path.suffix.lower()
    read = _Reader(size, fit, file_column, label_column, task, classes)
    if path.is_file() and suffix in TABLES:
        return _of_table(read.table(path))
    if path.is_dir():
        return _in_folder(path, read)
    read.check_no_columns(path)
    if suffix != ".npz":
        raise FileFormatError(
            f"{path}: expected a folder of images, a table ({', '.join(TABLES)}) or an .npz file"
        )
    return npz_parts(path, size, fit)


class _Reader(NamedTuple):
    """How images and tables are read."""

    size: Size | None
    fit: str
    file_column: str | None
    label_column: str | Sequence[str] | None
    task: str = CLASSES
    classes: Sequence[str] | None = None

    def table(
        self, path: Path, root: Path | None = None, classes: Sequence[str] | None = None
    ) -> ImageList:
        found = self._asdict()
        return ImageList(path, root, **found | {"classes": classes or found["classes"]})

    def check_no_columns(self, path: Path) -> None:
        check_no_columns(path, self.file_column, self.label_column, self.task)


def check_no_columns(
    path: object,
    file_column: str | None,
    label_column: str | Sequence[str] | None,
    task: str = CLASSES,
) -> None:
    """Raise ArgumentError where columns are named of what is no table, or it is to tell more."""
    if file_column or label_column:
        raise ArgumentError(f"file_column= and label_column= are for tables, not for {path}")
    if task != CLASSES:
        raise ArgumentError(
            f'task="{task}" wants a table of images (.csv) that tells their {task}, and {path} is '
            "none"
        )


def _in_folder(path: Path, read: _Reader) -> dict[str, Any]:
    root, beside = unwrapped(path, _tables)
    folders = part_folders(root)
    for arrays in (cifar10_parts, idx_parts):
        if found := arrays(root, read.size, read.fit):
            read.check_no_columns(path)
            return found
    if folders:
        found = _of_folders(root, folders, read)
    elif tables := _part_tables(root):
        found = _of_part_tables(root, tables, read)
    else:
        images = _labelled(root, read)
        found = _of_table(images) if isinstance(images, ImageList) else {ALL: images}
    next(iter(found.values())).passed_over += beside
    return found


def _tables(folder: Path) -> list[Path]:
    """Return the tables in a folder that tell something of images in it, or in its sub-folders."""
    found = [p for p in sorted(folder.iterdir()) if p.suffix.lower() in TABLES]
    return [p for p in found if p.name[0] != "." and p.is_file() and lists_images(p)]


def _part_tables(root: Path) -> dict[str, Path]:
    """The table of each part, such as train.csv and test.csv, where there are several tables."""
    tables = {path: part_of(path.stem) for path in _tables(root)}
    if len(tables) < 2:
        return {}
    parts = {part: path for path, part in tables.items() if part is not None}
    if len(parts) < len(tables) or "train" not in parts:
        raise ArgumentError(
            f"{root} has several tables of images, {', '.join(path.name for path in tables)}: give "
            f"the one that tells their classes, such as {next(iter(tables))}"
        )
    return {part: parts[part] for part in PARTS if part in parts}


def _of_part_tables(root: Path, tables: dict[str, Path], read: _Reader) -> dict[str, Any]:
    found: dict[str, Any] = {}
    over: list[tuple[str, str]] = []
    for part, table in tables.items():
        classes = found["train"].classes if found else None
        try:
            found[part] = read.table(table, classes=classes)
        except FileFormatError as error:
            if part != "test" or "label_column=" not in str(error):
                raise
            over.append((table.name, "without labels"))
    paths = [path for images in found.values() for path in images.paths]
    found["train"].passed_over += [*over, *_unlisted(root, paths)]
    return found


def _unlisted(root: Path, paths: Sequence[Path]) -> list[tuple[str, str]]:
    """(name, reason) of what lies in the folder of a table, and which the table doesn't list."""
    names = class_folders(root)
    over = [(name, MASK) for name in masks(names)]
    listed = {*paths}
    for folder in sorted({path.parent for path in paths}):
        rest = [path for path in images_in(folder) if path not in listed]
        over += [(path.relative_to(root).as_posix(), "not in the table") for path in rest]
    holding = {path.relative_to(root).parts[0] for path in paths}
    others = sorted({*names} - holding - {*masks(names)})
    return [*over, *((name, "a folder of which the table lists no image") for name in others)]


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


def _of_folders(root: Path, folders: dict[str, Path], read: _Reader) -> dict[str, Any]:
    found: dict[str, Any] = {}
    over: list[tuple[str, str]] = []
    taken = {folder.name for folder in folders.values()}
    for each in sorted(root.iterdir()):
        if each.name not in taken:
            reason = "hidden" if each.name.startswith(".") else "no part: train, validation or test"
            over.append((each.name, reason))
    classes = None
    for part, folder in folders.items():
        inside, beside = unwrapped(folder, _tables, classes or ())
        if part == "test" and (count := _unlabelled(inside, classes or ())):
            over.append((f"{folder.name}, {count:,} images", "without labels"))
            continue
        images = found[part] = _labelled(inside, read, classes)
        within = inside.relative_to(root).as_posix()
        images.passed_over = [(f"{within}/{name}", why) for name, why in images.passed_over]
        images.passed_over += [(f"{folder.name}/{name}", why) for name, why in beside]
        images.root = root  # its images' names tell the part
        classes = images.classes
    found["train"].passed_over += over
    return found


def _labelled(folder: Path, read: _Reader, classes: Sequence[str] | None = None) -> ImageFiles:
    """Return the images of one folder with their labels, however it tells them."""
    if (folder / ANNOTATIONS).is_file():
        return _annotated(folder, read, classes)
    names = class_folders(folder)
    holding = containers(names)
    of_classes = [name for name in names if name not in {*holding, *masks(names)}]
    if tables := _tables(folder):
        if len(of_classes) < 2:
            return _by_table(folder, tables, read, classes)
        _check_folders_agree(folder, of_classes, tables)
    read.check_no_columns(folder)
    if len(holding) == 1 and not of_classes:
        images = _labelled(folder / holding[0], read, classes)
        over = [(f"{holding[0]}/{name}", why) for name, why in images.passed_over]
        images.passed_over = [*over, *((name, MASK) for name in masks(names))]
        return images
    if holding and not of_classes:
        raise ArgumentError(
            f"{folder}: {', '.join(holding)} hold images of any class, and no table beside them "
            "tells which: put one there with the columns file and label, or put the images of each "
            f"class in a folder, such as {folder / 'cats'}"
        )
    if names:
        return ImageFolder(folder, size=read.size, fit=read.fit, classes=classes)
    return _by_name(folder, read, classes)


def _by_table(
    folder: Path, tables: list[Path], read: _Reader, classes: Sequence[str] | None
) -> ImageList:
    """Images that a table in their folder, or beside it, lists."""
    if len(tables) > 1:
        raise ArgumentError(
            f"{folder} has several tables of images, {', '.join(path.name for path in tables)}: "
            "leave the one that tells their classes, or move the others elsewhere"
        )
    images = read.table(tables[0], classes=classes)
    texts = _texts(images_in(folder))
    if texts and all(texts) and _are_classes(texts):
        raise ArgumentError(
            f"both {tables[0]} and the names of the images beside it, such as "
            f"{images.paths[0].name}, tell classes: give the table itself, or move it elsewhere "
            "for the names to count"
        )
    images.passed_over += _unlisted(folder, images.paths)
    return images


def _check_folders_agree(folder: Path, names: list[str], tables: list[Path]) -> None:
    """Raise ArgumentError unless a table of images beside folders of classes says the same."""
    for table in tables:
        if not repeats_folders(table):
            raise ArgumentError(
                f"{folder} has the folders {', '.join(names[:3])}{', ...' * (len(names) > 3)} and "
                f"a table of their images, {table.name}, and either may tell the classes: give "
                f"{table} itself if the table does, or move it elsewhere if the folders do"
            )


def _unlabelled(folder: Path, classes: Sequence[str]) -> int:
    """How many images a folder, or its only sub-folder, holds if nothing tells their classes."""
    inside = class_folders(folder)
    if len(inside) == 1 and inside[0] not in classes:
        return len(images_in(folder / inside[0]))
    if inside or (folder / ANNOTATIONS).is_file():
        return 0
    files = images_in(folder)
    return 0 if all(text in classes for text in _texts(files)) else len(files)


def _annotated(folder: Path, read: _Reader, classes: Sequence[str] | None) -> ImageFiles:
    """Tiny-ImageNet's validation part: a table without a row of names, its first columns being file
    and class; images may have been sorted into folders of classes since."""
    inside = class_folders(folder)
    if "images" not in inside:
        return ImageFolder(folder, size=read.size, fit=read.fit, classes=classes)
    read = read._replace(file_column="file 1", label_column="file 2")
    return read.table(folder / ANNOTATIONS, folder / "images", classes)


def _texts(paths: Sequence[Path]) -> list[str]:
    """Return the names of images without their numbers; empty where there is none."""
    found = [NUMBERED.fullmatch(path.stem) for path in paths]
    return [match[1].strip() if match else "" for match in found]


def _by_name(folder: Path, read: _Reader, classes: Sequence[str] | None) -> ImageFiles:
    """Images named after their classes: cat.0.jpg, dog.0.jpg."""
    scan = Scan(folder)
    paths = scan.images(folder)
    if not paths:
        ImageFolder(folder)  # says what is missing
    texts = _texts(paths)
    known = sorted_classes(texts)
    other = [path.name for path, text in zip(paths, texts, strict=True) if not text]
    told = not other and (classes is not None or _are_classes(texts))
    if not told:
        example = (other or [path.name for path in paths])[0]
        raise ArgumentError(
            f"{folder} has images but no folders of classes, and their names, such as {example}, "
            "don't tell classes as cat.0.jpg does: put the images of each class in a folder, such "
            f"as {folder / 'cats'}, or list them in a table with the columns file and label"
            f"{_tables_near(folder, [path.name for path in paths])}"
        )
    if classes is not None and (unknown := sorted({*known} - {*classes})):
        raise ArgumentError(
            f"{folder}: expected the classes {', '.join(classes)}, found {', '.join(unknown)} too"
        )
    names = list(known if classes is None else classes)
    number = {name: i for i, name in enumerate(names)}
    return ImageFiles(
        folder, paths, [number[text] for text in texts], names, size=read.size, fit=read.fit,
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


def _tables_near(folder: Path, images: Sequence[str]) -> str:
    """Return what to give instead: tables in the folder or beside it, called as it is or naming
    its images."""
    beside = [path for each in (folder, folder.parent) for path in sorted(each.iterdir())]
    near = [
        path
        for path in beside
        if path.suffix in TABLES and (path.stem == folder.name or _names_one(path, images))
    ]
    if not near:
        return ""
    are, which = ("is", "it") if len(near) == 1 else ("are", "one of them")
    return f"; there {are} {', '.join(map(str, near))}: give {which} instead of the folder"


def _names_one(table: Path, images: Sequence[str]) -> bool:
    with contextlib.suppress(OSError), table.open("rb") as file:
        head = file.read(2**16)
        return any(name.encode() in head for name in images)
    return False
