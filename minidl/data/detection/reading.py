"""Annotation files of any known format, known by their content."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from minidl.data.containers import masks
from minidl.data.detection.checking import detection_of
from minidl.data.detection.coco import is_coco, read_coco
from minidl.data.detection.dataset import Detection
from minidl.data.detection.records import Annotated, Found
from minidl.data.detection.tables import FORM, holds_boxes, read_table_of_boxes
from minidl.data.detection.voc import read_voc, xml_files
from minidl.data.detection.yolo import is_yolo, read_yolo
from minidl.data.parts import PARTS, class_folders, part_folders, part_of
from minidl.errors import ArgumentError, FileFormatError

__all__ = ["read_boxes"]

TABLES = (".csv", ".tsv")
KNOWN = (
    "Pascal VOC's XML, COCO's JSON, YOLO's text files with their images, or a table with the "
    f"columns {FORM}"
)
Reader = Callable[[], Found]


def read_boxes(
    path: str | os.PathLike[str],
    images: str | os.PathLike[str] | None = None,
    *,
    classes: Sequence[str] | None = None,
    check: bool = True,
) -> Detection:
    """Return the images with boxes that annotation files tell of.

    path: a file or a folder of Pascal VOC (a folder of .xml, or one with Annotations/), COCO (a
        .json), YOLO (a folder of labels/ and images/, or its data.yaml) or CSV (a row a box); or a
        folder with such folders, or files, for train, validation and test; or an HDF5 file that
        `Detection.save` wrote. The content tells which it is.
    images: the folder or zip archive of the images; None: beside the annotations.
    classes: their names in the order of their labels; None: as the files list them or, where they
        don't, those that are found, sorted.
    check: read every image once, so that a damaged one is found now and not during training.

    Boxes are in pixels, x1, y1, x2, y2, edges. VOC's numbers are taken as they stand, but in the
    original sets, which count pixels from 1. Boxes that reach beyond their image are cut off;
    degenerate ones and those outside are left out; a RuntimeWarning counts and names them, and
    `passed_over` lists them all. Images without objects are kept.
    Raises FileFormatError, FileNotFoundError or ArgumentError, naming file and line, for images
    that are missing, damaged, listed twice or of another size than the boxes, shares where pixels
    are expected or the other way round, classes unknown or without a box, files without anything,
    and where two formats are found.
    """
    where = Path(path)
    if not where.exists():
        raise FileNotFoundError(f"there is no {where}")
    if where.suffix.lower() in (".h5", ".hdf5"):
        if images is not None or classes is not None:
            raise ArgumentError(f"{where} holds images and classes: leave images=, classes= out")
        stored = Detection.open(where)
        for picture in stored.pictures if check else ():
            picture.read()
        return stored
    if isinstance(classes, str):
        raise ArgumentError(f"read_boxes: classes must be several names, got {classes!r}")
    names = None if classes is None else [str(name) for name in classes]
    found = _read(where, names, None if images is None else Path(images))
    return detection_of(found, images, names, check)


def _read(path: Path, classes: list[str] | None, images: Path | None) -> Found:
    of = _of_file if path.is_file() else _of_folder
    readers = of(path, classes, images)
    if len(readers) > 1:
        files = ", ".join(map(str, readers))
        raise FileFormatError(
            f"{path}: expected annotations of one format, found several, {files}: name one of them"
        )
    if not readers:
        below = [path / n for n in class_folders(path) if _of_folder(path / n, classes, images)]
        there = f"; {', '.join(map(str, below))} has some: name it" if below else ""
        raise FileFormatError(f"{path}: found no annotations, expected {KNOWN}{there}")
    (reader,) = readers.values()
    return reader()


def _of_file(path: Path, classes: list[str] | None, images: Path | None) -> dict[Path, Reader]:
    with path.open("rb") as file:
        start = file.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n")
    if not start:
        raise FileFormatError(f"{path}: the file is empty, expected {KNOWN}")
    if start[:1] in b"{[":
        return {path: lambda: read_coco(path)}
    if start[:1] == b"<":
        return {path: lambda: read_voc(path, [path])}
    if path.suffix.lower() in (".yaml", ".yml"):
        return {path: lambda: read_yolo(path, classes, images)}
    return {path: lambda: read_table_of_boxes(path)}


def _of_folder(folder: Path, classes: list[str] | None, images: Path | None) -> dict[Path, Reader]:
    """Return a reader for each set of annotations in a folder, by what it would read."""
    if parts := part_folders(folder):
        found = {part: _of_folder(inside, classes, images) for part, inside in parts.items()}
        if all(len(readers) == 1 for readers in found.values()):
            each = {part: next(iter(readers.values())) for part, readers in found.items()}
            return {folder: _joined_reader(folder, each)}
    readers: dict[Path, Reader] = {}
    for around in (folder, *_beside(folder)):
        if files := list(xml_files(around)):
            readers[around] = _voc_reader(folder, files)
        for file in sorted(around.iterdir()):
            if file.suffix.lower() == ".json" and file.is_file() and is_coco(file):
                readers[file] = _reader(read_coco, file)
            elif file.suffix.lower() in TABLES and holds_boxes(file):
                readers[file] = _reader(read_table_of_boxes, file)
        if readers:
            by_part = {str(part_of(file.stem)): read for file, read in readers.items()}
            if 1 < len(by_part) == len(readers) and "None" not in by_part:
                ordered = {part: by_part[part] for part in PARTS if part in by_part}
                return {folder: _joined_reader(folder, ordered)}
            return readers
    return {folder: lambda: read_yolo(folder, classes, images)} if is_yolo(folder) else {}


def _joined_reader(folder: Path, parts: dict[str, Reader]) -> Reader:
    return lambda: _joined(folder, {part: read() for part, read in parts.items()})


def _reader(read: Callable[[Path], Found], file: Path) -> Reader:
    return lambda: read(file)


def _voc_reader(folder: Path, files: list[Path]) -> Reader:
    return lambda: read_voc(folder, files)


def _beside(folder: Path) -> list[Path]:
    """Return the sub-folders that hold annotations, by their names."""
    names = class_folders(folder)
    alone = [name for name in names if name.lower() in ("annotations", "xml", "xmls")]
    return [folder / name for name in {**dict.fromkeys(alone), **dict.fromkeys(masks(names))}]


def _joined(folder: Path, parts: dict[str, Found]) -> Found:
    """Return the annotations of several parts as one; images go by their folders' names."""
    kinds = {found.kind for found in parts.values()}
    listed = {tuple(found.classes or ()) for found in parts.values()}
    if len(kinds) > 1 or len(listed) > 1:
        what = "formats" if len(kinds) > 1 else "classes"
        raise FileFormatError(f"{folder}: its parts have different {what}: make them alike")
    images: list[Annotated] = []
    for part, found in parts.items():
        images += [replace(each, part=part) for each in found.images]
    first = next(iter(parts.values()))
    return replace(
        first, path=folder, images=images, folders=[folder],
        by_part={part: found.folders for part, found in parts.items()},
    )  # fmt: skip
