"""Image files that a table lists with their labels: CSV, or with tabs, semicolons or bars."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from minidl.constants.tasks import CLASSES, LABELS, NUMBERS
from minidl.data.containers import masks
from minidl.data.folder import ImageFiles
from minidl.data.images import SUFFIXES, Size
from minidl.data.parts import class_folders, part_of
from minidl.data.targets import (
    Targets,
    is_indicator,
    read_classes,
    read_indicators,
    read_labels,
    read_numbers,
)  # fmt: skip
from minidl.errors import ArgumentError, FileFormatError

__all__ = [
    "ImageList", "Table", "lists_images", "read_table", "repeats_folders",
]  # fmt: skip

DELIMITERS = ",;\t|"
FILE, LABEL = "file", "label"
SOME = 50  # rows that tell whether a table lists images
LABEL_WORDS = {
    "label", "labels", "class", "classes", "class_name", "classname", "category", "target", "tags",
}  # fmt: skip


class ImageList(ImageFiles):
    """Image files that a table lists, with their classes, labels or numbers.

    csv_path: a table, in CSV or with tabs, semicolons or bars between its columns. Its first row
        names them, unless it names an image.
    root: the folder that files are relative to; None: the table's own or, if they aren't there, the
        sub-folder of it that has them, or the sub-folders that have some each. Names may lack their
        suffix.
    size, fit: as `minidl.data.images.read_image` takes them.
    file_column, label_column: names of columns. None: "file" and "label" or, if there are none
        such, the only column that names files, and the only other one or the one with a name like
        "class".
    classes: their names in the order of their labels; None: the texts in the label column, sorted:
        as numbers if all are whole numbers, otherwise as text.
    task: "classes", one an image; "labels", any of several: a column of them, between semicolons,
        bars, commas or spaces, or a column of 0 and 1 for each label; "numbers", in one column or
        several. Of these, label_column may be a list, and `classes` are their names, which are
        looked for as columns too.
    parts: of each image, "train", "validation" or "test", if a column tells; otherwise None.
    Raises FileFormatError for what is no such table, or where several columns would do,
    FileNotFoundError for files that aren't there.
    """

    def __init__(
        self,
        csv_path: str | os.PathLike[str],
        root: str | os.PathLike[str] | None = None,
        *,
        size: Size | None = None,
        fit: str = "crop",
        file_column: str | None = None,
        label_column: str | Sequence[str] | None = None,
        classes: Sequence[str] | None = None,
        task: str = CLASSES,
    ) -> None:
        path = Path(csv_path)
        table = read_table(path)
        folders = _folders(path) if root is None else [Path(root)]
        file = _file_column(path, table, file_column, folders)
        if label_column is None and classes and {*classes} <= {*table.columns}:
            label_column = None if task == CLASSES else list(classes)
        columns = _label_columns(path, table, label_column, file, task)
        for number, row in enumerate(table.rows, table.first):
            if not row[file] or (task == CLASSES and not row[columns[0]]):
                said = f"{path}: row {number} lacks its file or its label"
                raise FileFormatError(f"{said}: give it one, or take the row out")
        names = [row[file] for row in table.rows]
        folder, paths = _located(path, names, folders)
        kept = _once(path, paths, [", ".join(row[i] for i in columns) for row in table.rows])
        repeated = [(names[i], "listed before") for i in sorted({*range(len(names))} - {*kept})]
        known, labels = _targets(path, table, columns, task, classes)
        super().__init__(
            folder, [paths[i] for i in kept], labels[kept], known, size=size, fit=fit,
            passed_over=repeated,
        )  # fmt: skip
        at = _part_column(table, {file, *columns})
        self.parts = None if at is None else [part_of(table.rows[i][at]) for i in kept]


class Table(NamedTuple):
    """The cells of a table below its column names."""

    columns: list[str]
    rows: list[list[str]]
    first: int  # the number of the first of these rows in the file


def read_table(path: Path) -> Table:
    """Return the table in a file; raises FileFormatError for what is none."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        start = text.lstrip().partition("\n")[0]
        delimiter = max(DELIMITERS, key=start.count)
        lines = [
            [cell.strip() for cell in row]
            for row in csv.reader(text.splitlines(), delimiter=delimiter, strict=True)
            if any(cell.strip() for cell in row)
        ]
    except (csv.Error, UnicodeDecodeError) as error:
        said = f"{path}: expected a table in CSV (UTF-8): {error}; save it as CSV in UTF-8"
        raise FileFormatError(said) from error
    columns, first = (lines[0], 2) if lines else ([], 1)
    if any(Path(cell).suffix.lower() in SUFFIXES for cell in columns):
        columns, first = [f"{FILE} {i}" for i in range(1, 1 + len(columns))], 1
    rows = [row + [""] * (len(columns) - len(row)) for row in lines[first - 1 :]]
    if lines and not rows:
        raise FileFormatError(f"{path}: the table has no rows below its column names")
    for number, row in enumerate(rows, first):
        if len(row) > len(columns):
            raise FileFormatError(
                f"{path}: row {number} has {len(row)} columns, expected {len(columns)}"
            )
    return Table(columns, rows, first)


# Columns


def _named(path: Path, table: Table, name: str, argument: str) -> int:
    if name not in table.columns:
        raise FileFormatError(
            f"{path}: expected a column {name!r}, found {', '.join(table.columns) or 'none'}: name "
            f"it with {argument}="
        )
    return table.columns.index(name)


def _file_column(path: Path, table: Table, name: str | None, folders: list[Path]) -> int:
    if name is not None or FILE in table.columns:
        return _named(path, table, name or FILE, "file_column")
    cells = list(zip(*table.rows, strict=True))
    found = [
        i for i, column in enumerate(cells)
        if any(_place(folder, column[0], {}) for folder in folders)
        or Path(column[0]).suffix.lower() in SUFFIXES
    ]  # fmt: skip
    if len(found) > 1:  # numbers of classes may be names of images, too
        found = [i for i in found if len({*cells[i]}) == len(cells[i])]
    if len(found) != 1:
        raise FileFormatError(
            f"{path}: expected a column {FILE!r}, or one column that names images in {folders[0]} "
            f"or a folder there, found {', '.join(table.columns) or 'none'}: name it with "
            "file_column="
        )
    return found[0]


def _label_column(path: Path, table: Table, name: str | None, file: int) -> int:
    if name is not None or LABEL in table.columns:
        return _named(path, table, name or LABEL, "label_column")
    part = _part_column(table, {file})
    others = [i for i in range(len(table.columns)) if i not in (file, part)]
    if len(others) > 1:
        others = [i for i in others if table.columns[i].lower().replace(" ", "_") in LABEL_WORDS]
    if len(others) != 1:
        raise FileFormatError(
            f"{path}: expected a column {LABEL!r}, or one column beside the images' names, found "
            f"{', '.join(table.columns)}: name it with label_column="
        )
    values = [row[others[0]] for row in table.rows]
    if any(map(_is_fraction, values)):
        raise FileFormatError(
            f"{path}: the column {table.columns[others[0]]!r} holds numbers with fractions, not "
            "classes: name the column of the classes with label_column=; train.finetune with "
            'task="numbers" learns to predict numbers'
        )
    return others[0]


def _label_columns(
    path: Path, table: Table, names: str | Sequence[str] | None, file: int, task: str
) -> list[int]:
    """The columns of what is asked of the images; several for labels and numbers only."""
    given = [names] if isinstance(names, str) else list(names or ())
    if task == CLASSES:
        if len(given) > 1:
            raise ArgumentError(
                f"{path}: label_column= is one column of classes, got {', '.join(given)}: several "
                'are for task="labels" and task="numbers"'
            )
        return [_label_column(path, table, given[0] if given else None, file)]
    if twice := sorted({name for name in given if given.count(name) > 1}):
        raise ArgumentError(f"{path}: label_column= names {', '.join(twice)} more than once")
    if given:
        return [_named(path, table, name, "label_column") for name in given]
    part = _part_column(table, {file})
    others = [i for i in range(len(table.columns)) if i not in (file, part)]
    named = [i for i in others if table.columns[i].lower().replace(" ", "_") in LABEL_WORDS]
    if len(others) == 1 or len(named) == 1:
        return others if len(others) == 1 else named
    if task == LABELS and others and all(is_indicator([r[i] for r in table.rows]) for i in others):
        return others
    wanted = "each of 0 and 1" if task == LABELS else "of numbers"
    raise FileFormatError(
        f"{path}: expected a column {LABEL!r}, or one column beside the images' names, or several "
        f"{wanted}, found {', '.join(table.columns)}: name them with label_column="
    )


def _targets(
    path: Path, table: Table, columns: list[int], task: str, known: Sequence[str] | None
) -> Targets:
    """The names of what is asked, and of all rows the labels, as `ImageFiles` has them."""
    names = [table.columns[i] for i in columns]
    rows = [[row[i] for i in columns] for row in table.rows]
    if task == NUMBERS:
        found = read_numbers(path, names, rows, table.first)
    elif task == LABELS and (len(columns) > 1 or is_indicator([row[0] for row in rows])):
        found = read_indicators(path, names, rows, table.first)
    elif task == LABELS:
        return read_labels(path, [row[0] for row in rows], table.first, known)
    else:
        return read_classes(path, [row[0] for row in rows], known)
    if known is not None and list(known) != names:
        raise FileFormatError(
            f"{path}: expected the columns {', '.join(known)}, found {', '.join(names)}"
        )
    return found


def _is_fraction(text: str) -> bool:
    try:
        return not float(text).is_integer()
    except (ValueError, OverflowError):
        return False


def _part_column(table: Table, but: set[int]) -> int | None:
    """Return the column that tells of each image which part it is of."""
    for i in range(len(table.columns)):
        parts = {part_of(row[i]) for row in table.rows}
        if i not in but and None not in parts and len(parts) > 1:
            return i
    return None


# Files


def _folders(path: Path) -> list[Path]:
    """Where images may be: beside the table, or in a folder beside it that isn't for masks."""
    names = class_folders(path.parent)
    beside = [path.parent / name for name in names if name not in masks(names)]
    return [path.parent, *beside]


def lists_images(path: Path) -> bool:
    """Whether a table tells something of images: most of the first cells of a column name some."""
    try:
        table = read_table(path)
    except FileFormatError:
        return False
    if len(table.columns) < 2:
        return False
    folders = _folders(path)
    known: dict[Path, dict[str, str | None]] = {}
    for column in zip(*table.rows[:SOME], strict=True):
        cells = {*column} - {""}
        found = sum(
            any(_place(folder, cell, known.setdefault(folder, {})) for folder in folders)
            for cell in cells
        )
        if found > len(cells) / 2:
            return True
    return False


def repeats_folders(path: Path) -> bool:
    """Return whether a column tells the sub-folder of each image, each by a word of its own."""
    table, folders = read_table(path), _folders(path)
    try:
        names = [row[_file_column(path, table, None, folders)] for row in table.rows]
        _, places = _located(path, names, folders)
    except (FileFormatError, FileNotFoundError, ArgumentError):
        return False
    tops = [place.relative_to(path.parent).parts[0] for place in places]
    for cells in zip(*table.rows, strict=True):
        pairs = {*zip(tops, cells, strict=True)}
        if cells != tuple(names) and len(pairs) == len({*tops}) == len({*cells}) > 1:
            return True
    return False


def _place(folder: Path, name: str, known: dict[str, str | None]) -> Path | None:
    """Return the image of this name in the folder.

    known: names of files by those without suffix, which this fills at its first use; None for
        names of several files.
    """
    if not name:
        return None
    if (folder / name).is_file():
        return folder / name
    if not known and folder.is_dir():
        known[""] = None  # it is filled, also if there are no images
        for file in os.listdir(folder):
            stem, suffix = os.path.splitext(file)
            if suffix.lower() in SUFFIXES:
                known[stem] = None if stem in known else file
    found = known.get(name)
    return None if found is None else folder / found


def _located(path: Path, names: list[str], folders: list[Path]) -> tuple[Path, list[Path]]:
    """Return the folder that has the images of all these names, and where each is."""
    best: tuple[int, Path, list[Path | None]] = (-1, folders[0], [])
    whole: list[Path] = []
    for folder in folders:
        known: dict[str, str | None] = {}
        if len(folders) > 1 and whole and not _place(folder, names[0], known):
            continue
        places = [_place(folder, name, known) for name in names]
        found = sum(place is not None for place in places)
        if found == len(names):
            whole.append(folder)
            if len(whole) == 1:
                best = (found, folder, places)
            if folder == path.parent:
                break
        elif found > best[0]:
            best = (found, folder, places)
    if len(whole) > 1:
        raise ArgumentError(
            f"{path}: {', '.join(map(str, whole))} all have images of these names: put the table "
            "in the folder that is meant (ImageList takes that folder as root=, too)"
        )
    _, folder, places = best
    if len(folders) > 1 and not whole:
        folder, places = path.parent, _spread(path, names, folders)
    missing = [name for name, place in zip(names, places, strict=True) if place is None]
    if missing:
        raise FileNotFoundError(
            f"{path}: {len(missing)} of the {len(names)} files "
            f"{'isn' if len(missing) == 1 else 'aren'}'t there, the first being "
            f"{folder / missing[0]}: put the table in the folder they are relative to (ImageList "
            "takes that folder as root=, too), or take what is missing out of the table"
        )
    return folder, [place for place in places if place is not None]


def _spread(path: Path, names: list[str], folders: list[Path]) -> list[Path | None]:
    """Return where the images of all these names are, each in whichever of the folders has it."""
    known: dict[Path, dict[str, str | None]] = {folder: {} for folder in folders}
    places: list[Path | None] = []
    for name in names:
        found = [place for f in folders if (place := _place(f, name, known[f])) is not None]
        if len(found) > 1:
            raise ArgumentError(
                f"{path}: {name} is both {found[0]} and {found[1]}: name the folder in the table, "
                "or give the one that is meant as root"
            )
        places += found or [None]
    return places


def _once(path: Path, paths: list[Path], texts: list[str]) -> list[int]:
    """Return the numbers of the rows that name an image for the first time."""
    label_of: dict[Path, str] = {}
    kept = []
    for i, (image, text) in enumerate(zip(paths, texts, strict=True)):
        if image not in label_of:
            kept.append(i)
        elif label_of[image] != text:
            raise FileFormatError(
                f"{path}: {image} is listed as {label_of[image]!r} and as {text!r}: give each "
                "image one class, or one row"
            )
        label_of[image] = text
    return kept
