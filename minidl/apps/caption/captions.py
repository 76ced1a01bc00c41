"""Captions of images from files: tables, COCO's JSON, and Flickr's token files."""

import csv
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from minidl.errors import ArgumentError, FileFormatError

__all__ = ["Captions", "read_captions"]

MOST_BYTES = 2**30
IMAGE = ("image", "image_id", "file", "file_name", "filename", "image_name")
CAPTION = ("caption", "comment", "text", "sentence")


class Captions(NamedTuple):
    """Images with what people say of them.

    images: file names, in the order in which the file first names them.
    captions: the texts of each.
    """

    images: list[str]
    captions: list[list[str]]


def read_captions(
    path: str | os.PathLike[str], images: str | os.PathLike[str] | None = None
) -> Captions:
    """Return the captions in a file, known by its content.

    path: a table with a column of images and one of captions (CSV, or with tabs or | between),
        COCO's JSON, or a token file of Flickr8k, whose lines are "NAME#0<tab>caption".
    images: a folder that must have each of the images.
    Raises FileFormatError for other files and for empty captions, naming the line or the entry;
    ArgumentError for images that aren't there.
    """
    path = Path(path)
    if path.stat().st_size > MOST_BYTES:
        raise FileFormatError(f"{path}: expected at most {MOST_BYTES:,} bytes of captions")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileFormatError(f"{path}: expected text in UTF-8: {error}") from error
    if not text.strip():
        raise FileFormatError(f"{path}: there is no caption in it")
    rows = _of_json(path, text) if text.lstrip()[:1] in ("{", "[") else _of_lines(path, text)
    found: dict[str, list[str]] = {}
    for where, name, caption in rows:
        if not name or not caption.strip():
            what = "an image without a name" if not name else f"an empty caption of {name}"
            raise FileFormatError(f"{where}: {what}")
        found.setdefault(name, []).append(" ".join(caption.split()))
    if not found:
        raise FileFormatError(f"{path}: there is no caption in it")
    if images is not None:
        _check_there(path, found, Path(images))
    return Captions(list(found), list(found.values()))


Rows = Iterator[tuple[str, str, str]]  # where it stands, the image, the caption


def _of_json(path: Path, text: str) -> Rows:
    """{"images": [{"id", "file_name"}], "annotations": [{"image_id", "caption"}]}"""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{path}: its JSON is broken: {error}") from error
    lists = document if isinstance(document, dict) else {}
    if not all(isinstance(lists.get(name), list) for name in ("images", "annotations")):
        raise FileFormatError(f'{path}: expected COCO\'s lists "images" and "annotations"')
    names: dict[Any, str] = {}
    for i, each in enumerate(lists["images"]):
        _check_entry(f"{path}: images[{i}]", each, "id", "file_name")
        names[each["id"]] = each["file_name"]
    for i, each in enumerate(lists["annotations"]):
        place = f"{path}: annotations[{i}]"
        _check_entry(place, each, "image_id", "caption")
        if each["image_id"] not in names:
            raise FileFormatError(f"{place}: there is no image with the id {each['image_id']!r}")
        yield place, names[each["image_id"]], each["caption"]


def _check_entry(place: str, each: Any, number: str, text: str) -> None:
    known = isinstance(each, dict) and isinstance(each.get(number), int | str)
    if not known or not isinstance(each.get(text), str):
        raise FileFormatError(f'{place}: expected "{number}" and a text "{text}", got {each!r:.80}')


def _of_lines(path: Path, text: str) -> Rows:
    first = text.lstrip("\n").partition("\n")[0]
    if "#" in first.partition("\t")[0] and "\t" in first:
        return _of_tokens(path, text)
    return _of_table(path, text, max(",\t|", key=first.count))


def _of_tokens(path: Path, text: str) -> Rows:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        head, tab, caption = line.partition("\t")
        name, _, which = head.rpartition("#")
        if not tab or not which.isdecimal():
            raise FileFormatError(f"{path}, line {number}: expected NAME#0<tab>caption")
        yield f"{path}, line {number}", name, caption


def _of_table(path: Path, text: str, between: str) -> Rows:
    """The columns are known by their names, which the first line has."""
    try:
        reader = csv.reader(
            io.StringIO(text), delimiter=between, skipinitialspace=True, strict=True
        )
        head = [name.strip().lower() for name in next(reader, [])]
        columns = [
            [i for i, name in enumerate(head) if name in known] for known in (IMAGE, CAPTION)
        ]
        if any(len(found) != 1 for found in columns):
            raise FileFormatError(
                f"{path}, line 1: expected a column of images ({IMAGE[0]}) and one of captions "
                f"({CAPTION[0]}), got {', '.join(head)[:200]}"
            )
        (image,), (caption,) = columns
        for row in reader:
            if not any(row):
                continue
            if len(row) <= max(image, caption):
                raise FileFormatError(
                    f"{path}, line {reader.line_num}: expected {len(head)} cells, got {len(row)}"
                )
            yield f"{path}, line {reader.line_num}", row[image].strip(), row[caption]
    except csv.Error as error:
        raise FileFormatError(f"{path}: its table is broken: {error}") from error


def _check_there(path: Path, found: dict[str, list[str]], folder: Path) -> None:
    for name in found:
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if ".." in parts or PurePosixPath(name).is_absolute():
            raise FileFormatError(f"{path}: expected names of images in a folder, got {name!r}")
    missing = [name for name in found if not (folder / name).is_file()]
    if missing:
        raise ArgumentError(
            f"{path} has captions of {len(missing):,} images that {folder} doesn't have, such as "
            f"{missing[0]}"
        )
