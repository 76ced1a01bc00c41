"""Boxes in tables: CSV, or with tabs, semicolons or bars, a row a box."""

import math
from collections.abc import Sequence
from pathlib import Path

from minidl.data.containers import containers
from minidl.data.detection.records import Annotated, Box, Found
from minidl.data.images import SUFFIXES
from minidl.data.listing import Table, read_table
from minidl.data.parts import class_folders, part_of
from minidl.errors import FileFormatError

__all__ = ["holds_boxes", "image_folders", "read_table_of_boxes"]

# What columns are called, in lower case without _ and spaces
COLUMNS = {
    "image": {"image", "filename", "file", "imageid", "imagename", "imagepath", "path", "img"},
    "xmin": {"xmin", "x1", "left", "bboxx1"},
    "ymin": {"ymin", "y1", "top", "bboxy1"},
    "xmax": {"xmax", "x2", "right", "bboxx2"},
    "ymax": {"ymax", "y2", "bottom", "bboxy2"},
    "label": {"label", "class", "classname", "name", "category", "labelname"},
    "part": {"split", "part", "set", "subset"},
    "difficult": {"difficult"}, "crowd": {"crowd", "iscrowd"},
    "width": {"width", "imagewidth"}, "height": {"height", "imageheight"},
}  # fmt: skip
CORNERS = ("xmin", "ymin", "xmax", "ymax")
NEEDED = ("image", *CORNERS, "label")
FORM = "image,xmin,ymin,xmax,ymax,label"


def image_folders(folder: Path) -> list[Path]:
    """Return where images may be that are told of in `folder`: there, beside it, in an archive."""
    around = [folder, folder.parent]
    named = [f / name for f in around for name in containers(class_folders(f))]
    packed = [f / "images.zip" for f in around if (f / "images.zip").is_file()]
    return [*named, *packed, *around[:1]]


def holds_boxes(path: Path) -> bool:
    """Return whether a table has the columns of boxes, by their names or their cells."""
    try:
        return _candidates(read_table(path)) is not None
    except FileFormatError:
        return False


def read_table_of_boxes(path: Path) -> Found:
    """Return what a table tells, a row a box; a row with an image alone is one without objects.

    The first row names the columns (image, xmin, ymin, xmax, ymax, label, in any order; perhaps
    split, difficult, crowd, and width and height of the image), or there is none and they are
    image, xmin, ymin, xmax, ymax, label.
    Raises FileFormatError for other tables, naming row and column.
    """
    if not path.read_text(encoding="utf-8-sig", errors="replace").strip():
        raise FileFormatError(f"{path}: the file is empty, expected a table of boxes: {FORM}")
    table = read_table(path)
    found = _candidates(table)
    if found is None:
        raise FileFormatError(
            f"{path}: expected a table of boxes with the columns {FORM}, found "
            f"{', '.join(table.columns)}"
        )
    for column, places in found.items():
        if len(places) > 1:
            several = " and ".join(table.columns[i] for i in places)
            raise FileFormatError(f"{path}: {several} may both be the column {column}: leave one")
    columns = {column: places[0] for column, places in found.items() if places}
    images: dict[str, Annotated] = {}
    for number, row in enumerate(table.rows, table.first):
        _read_row(f"{path}: row {number}", columns, row, images)
    return Found(path, "CSV", list(images.values()), image_folders(path.parent))


def _candidates(table: Table) -> dict[str, list[int]] | None:
    """Return the columns that may have each meaning; None for a table of something else."""
    if table.first == 1:  # no row of names
        numbers = [_is_number(cell) or not cell for cell in table.rows[0]]
        named = Path(table.rows[0][0]).suffix.lower() in SUFFIXES
        fits = len(numbers) == len(NEEDED) and all(numbers[1:5]) and named
        return {name: [i] for i, name in enumerate(NEEDED)} if fits else None
    plain = [name.lower().replace("_", "").replace(" ", "") for name in table.columns]
    found = {
        column: [i for i, name in enumerate(plain) if name in names]
        for column, names in COLUMNS.items()
    }
    return found if all(found[column] for column in NEEDED) else None


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _read_row(
    place: str, columns: dict[str, int], row: Sequence[str], images: dict[str, Annotated]
) -> None:
    cells = {name: row[i] for name, i in columns.items()}
    name, part = cells["image"], None
    if not name:
        raise FileFormatError(f"{place}: the name of the image is missing")
    if cells.get("part"):
        part = part_of(cells["part"])
        if part is None:
            raise FileFormatError(
                f"{place}: expected train, validation or test as the part, found {cells['part']!r}"
            )
    size = _size(place, cells)
    each = images.setdefault(name, Annotated(name, place, [], size, part))
    if (each.part, each.size) != (part, size):
        what = "part" if each.part != part else "size"
        raise FileFormatError(
            f"{place}: the image {name!r} is listed twice with another {what}, first at "
            f"{each.place}: leave one"
        )
    told = [cells[corner] for corner in CORNERS]
    if any(told) or cells["label"]:
        each.boxes.append(_box(place, cells))


def _size(place: str, cells: dict[str, str]) -> tuple[int, int] | None:
    if not (cells.get("width") and cells.get("height")):
        return None
    height, width = (int(_number(place, name, cells[name])) for name in ("height", "width"))
    return height, width


def _box(place: str, cells: dict[str, str]) -> Box:
    x1, y1, x2, y2 = (_number(place, name, cells[name]) for name in CORNERS)
    if not cells["label"]:
        raise FileFormatError(f"{place}: the box has no class")
    difficult, crowd = (_flag(place, name, cells.get(name, "")) for name in ("difficult", "crowd"))
    return Box((x1, y1, x2, y2), cells["label"], place, difficult, crowd)


def _number(place: str, column: str, cell: str) -> float:
    if not _is_number(cell):
        raise FileFormatError(f"{place}: expected a number in the column {column}, found {cell!r}")
    return float(cell)


def _flag(place: str, column: str, cell: str) -> bool:
    if cell.lower() not in ("", "0", "1", "true", "false"):
        raise FileFormatError(f"{place}: expected 0 or 1 in the column {column}, found {cell!r}")
    return cell.lower() in ("1", "true")
