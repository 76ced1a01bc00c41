"""COCO's annotations: one JSON file of images, categories and boxes.

Source: Lin et al. 2014, "Microsoft COCO: common objects in context", and cocodataset.org, Data
format. A box is x, y, width, height, from the top left corner.
"""

import json
import math
from pathlib import Path
from typing import Any

from minidl.checks import is_whole
from minidl.data.containers import containers
from minidl.data.detection.records import Annotated, Box, Found
from minidl.data.parts import class_folders
from minidl.errors import FileFormatError

__all__ = ["is_coco", "read_coco"]

MOST_BYTES = 2**30
LISTS = ("images", "annotations", "categories")


def is_coco(path: Path) -> bool:
    """Return whether a JSON file seems to be one of COCO's boxes, by its first bytes and names."""
    with path.open("rb") as file:
        start = file.read(2**16).lstrip()
    return start.startswith(b"{") and (
        path.stat().st_size > 2**16 or all(f'"{name}"'.encode() in start for name in LISTS[:2])
    )


def read_coco(path: Path) -> Found:
    """Return what a JSON file tells. Categories in the order of their numbers are the classes.

    Their numbers may start from 0 or 1 and have gaps. "iscrowd", "area" and "difficult" are kept.
    Raises FileFormatError for other files, naming the entry.
    """
    document = _document(path)
    names = _categories(path, document["categories"])
    images = _images(path, document["images"])
    seen: dict[Any, str] = {}
    for i, each in enumerate(document["annotations"]):
        place = f"{path}: annotations[{i}]"
        _check_entry(place, each, "image_id", "category_id", "bbox")
        if "id" in each:
            _check_entry(place, each, "id")
        if "id" in each and seen.setdefault(each["id"], place) != place:
            raise FileFormatError(f"{place}: its id {each['id']!r} is that of {seen[each['id']]}")
        if each["image_id"] not in images:
            raise FileFormatError(f"{place}: there is no image with the id {each['image_id']!r}")
        images[each["image_id"]].boxes.append(_box(place, each, names))
    found = list(images.values())
    classes = list(dict.fromkeys(names.values()))
    return Found(path, "COCO", found, _folders(path), classes)


def _document(path: Path) -> dict[str, list[Any]]:
    if path.stat().st_size > MOST_BYTES:
        raise FileFormatError(f"{path}: expected at most {MOST_BYTES:,} bytes of JSON")
    content = path.read_bytes()
    if not content.strip():
        raise FileFormatError(f"{path}: the file is empty, expected COCO's JSON")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{path}: the JSON is damaged or cut off: {error}") from error
    if isinstance(document, list):
        raise FileFormatError(
            f"{path}: expected COCO's images, annotations and categories, found a list: results of "
            "a detector, which don't tell the images' files"
        )
    if not isinstance(document, dict) or not all(
        isinstance(document.get(name), list) for name in LISTS
    ):
        raise FileFormatError(f"{path}: expected COCO's lists {', '.join(LISTS)}")
    return document


def _check_entry(place: str, entry: Any, *names: str) -> None:
    missing = [n for n in names if not isinstance(entry, dict) or n not in entry]
    if missing:
        raise FileFormatError(f"{place}: expected {', '.join(names)}, {missing[0]!r} is missing")
    for name in names:
        if name.endswith("id") and not isinstance(entry[name], int | str):
            raise FileFormatError(f"{place}: expected a number as {name}, found {entry[name]!r}")


def _categories(path: Path, categories: list[Any]) -> dict[Any, str]:
    """Return the name of each category by its number, in the order of these."""
    found: dict[Any, str] = {}
    for i, each in enumerate(categories):
        place = f"{path}: categories[{i}]"
        _check_entry(place, each, "id", "name")
        name = str(each["name"])
        if each["id"] in found or name in found.values():
            raise FileFormatError(f"{place}: {name!r} or its id {each['id']!r} is listed before")
        found[each["id"]] = name
    by_number = all(map(is_whole, found))
    return dict(sorted(found.items())) if by_number else found


def _images(path: Path, images: list[Any]) -> dict[Any, Annotated]:
    found: dict[Any, Annotated] = {}
    for i, each in enumerate(images):
        place = f"{path}: images[{i}]"
        _check_entry(place, each, "id", "file_name")
        if each["id"] in found:
            raise FileFormatError(f"{place}: its id {each['id']!r} is that of another image")
        height, width = (_side(place, name, each.get(name)) for name in ("height", "width"))
        size = (height, width) if height and width else None
        found[each["id"]] = Annotated(str(each["file_name"]), place, [], size)
    return found


def _side(place: str, name: str, value: Any) -> int:
    """Return a height or width; 0 where it isn't known, as some programs write it."""
    if value is None:
        return 0
    if not _is_number(value) or value < 0 or value != int(value):
        raise FileFormatError(f"{place}: expected a whole number as {name}, found {value!r:.40}")
    return int(value)


def _flag(place: str, name: str, value: Any) -> bool:
    if value not in (None, 0, 1):
        raise FileFormatError(f"{place}: expected 0 or 1 as {name}, found {value!r:.40}")
    return bool(value)


def _box(place: str, each: dict[str, Any], names: dict[Any, str]) -> Box:
    if each["category_id"] not in names:
        raise FileFormatError(
            f"{place}: there is no category with the id {each['category_id']!r}, only "
            f"{', '.join(map(str, names))}"
        )
    box = each["bbox"]
    if not (isinstance(box, list) and len(box) == 4 and all(map(_is_number, box))):
        raise FileFormatError(f"{place}: expected bbox [x, y, width, height], found {box!r:.80}")
    x, y, width, height = map(float, box)
    area = each.get("area")
    if area is not None and not (_is_number(area) and area >= 0):
        raise FileFormatError(f"{place}: expected a number from 0 up as area, found {area!r:.40}")
    difficult, crowd = (_flag(place, name, each.get(name)) for name in ("difficult", "iscrowd"))
    return Box(
        (x, y, x + width, y + height), names[each["category_id"]], place,
        difficult=difficult, crowd=crowd, area=None if area is None else float(area),
    )  # fmt: skip


def _is_number(value: Any) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return math.isfinite(value) if isinstance(value, float) else abs(value) < 2**53


def _folders(path: Path) -> list[Path]:
    """Return where the images may be: beside the file, in images/, or in train2017/ as COCO's."""
    found = []
    for folder in (path.parent, path.parent.parent):
        names = class_folders(folder)
        alike = [name for name in names if name and name in path.stem]
        found += [folder / name for name in [*alike, *containers(names)]]
    packed = [f / "images.zip" for f in (path.parent, path.parent.parent)]
    return [path.parent, *found, *(each for each in packed if each.is_file()), path.parent.parent]
