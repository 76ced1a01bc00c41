"""YOLO's annotations: a text file an image, a line a box, and a list of the classes.

A line is class, centre x, centre y, width, height, in shares of the image's size. Classes are in
data.yaml, classes.txt or obj.names; an image without a file, or with an empty one, has no objects.
Parts are folders, or lists of images in train.txt, valid.txt, test.txt.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from minidl.data.containers import containers
from minidl.data.detection.pictures import Place, place_of
from minidl.data.detection.records import Annotated, Box, Found
from minidl.data.detection.texts import listed_parts, read_lines
from minidl.data.parts import class_folders, part_of
from minidl.errors import FileFormatError

__all__ = ["is_yolo", "read_yolo"]

LISTS = ("classes.txt", "obj.names", "_darknet.labels", "labels.txt")
YAMLS = ("data.yaml", "data.yml", "dataset.yaml")
APART = ("README", "readme", "requirements", "train", "val", "valid", "test", "notes", "LICENSE")


def is_yolo(folder: Path) -> bool:
    """Return whether a folder has YOLO's text files: most lines of one are five numbers."""
    return any(map(_begins_with_box, _texts(folder)))


def _begins_with_box(file: Path) -> bool:
    with file.open(encoding="utf-8-sig", errors="replace") as text:
        cells = text.read(1000).lstrip().split("\n")[0].split()
    return len(cells) >= 5 and all(map(_is_number, cells[:5]))


def read_yolo(path: Path, classes: list[str] | None, where: Path | None) -> Found:
    """Return what text files tell.  path: the folder of labels/ and images/, or data.yaml in it.

    classes: their names in the order of their numbers; None: those that a file beside lists.
    where: the folder or zip archive of the images, if it is another one.
    Raises FileFormatError for other files, naming file and line.
    """
    root = path.parent if path.is_file() else path
    names = classes if classes is not None else _classes(path, root)
    lists = [file for file in sorted(root.glob("*.txt")) if not _begins_with_box(file)]
    listed = listed_parts(lists, _stem)
    images: list[Annotated] = []
    for file in sorted(_texts(root)):
        boxes = list(_boxes(file, names))
        part = _part(file.relative_to(root).as_posix()) or listed.get(file.stem)
        images.append(Annotated(file.stem, str(file), boxes, None, part))
    around = [root / name for name in containers(class_folders(root))]
    for folder in [where] if where else around or [root]:
        images += _without_objects(place_of(folder), images, listed)
    packed = [root / "images.zip"] if (root / "images.zip").is_file() else []
    return Found(path, "YOLO", images, [*around, *packed, root], names, shares=True)


def _part(name: str) -> str | None:
    """Return the part that a folder in a path stands for."""
    return next((part for word in name.split("/")[:-1] if (part := part_of(word))), None)


def _stem(name: str) -> str:
    """Return the last part of a path without its suffix."""
    return PurePosixPath(name).stem


def _without_objects(
    place: Place, told: list[Annotated], listed: dict[str, str]
) -> Iterator[Annotated]:
    """Yield the images that have no text file."""
    parts: dict[str, set[str | None]] = {}
    for each in told:
        parts.setdefault(each.name, set()).add(each.part)
    for name in place.names:
        known, part = parts.get(_stem(name), set()), _part(name)
        if not known or (part is not None and None not in known and part not in known):
            yield Annotated(
                name, f"{place.path}: {name}", [], None, part or listed.get(_stem(name))
            )


def _texts(root: Path) -> Iterator[Path]:
    """Yield the files of boxes. Images may be called like lists, such as test1 or classes."""
    for file in root.rglob("*.txt"):
        hidden = any(word.startswith(".") for word in file.relative_to(root).parts)
        if hidden or not file.is_file():
            continue
        like_a_list = file.name in LISTS or file.stem in APART or part_of(file.stem)
        if not like_a_list or _begins_with_box(file):
            yield file


def _boxes(file: Path, names: list[str]) -> Iterator[Box]:
    for number, line in enumerate(read_lines(file, "a box in each line"), 1):
        if line.strip():
            yield _box(f"{file}: line {number}", line.split(), names)


def _box(place: str, cells: list[str], names: list[str]) -> Box:
    if not all(map(_is_number, cells)) or len(cells) != 5:
        more = ""
        if len(cells) == 6:
            more = ": six numbers are predictions with their confidence, not annotations"
        elif len(cells) > 6:
            more = ": more numbers are outlines, not boxes"
        raise FileFormatError(
            f"{place}: expected class, centre x, centre y, width, height, found "
            f"{' '.join(cells):.60}{more}"
        )
    if not cells[0].isdecimal() or int(cells[0]) >= len(names):
        from_one = ": do its classes start from 1?" if cells[0] == str(len(names)) else ""
        raise FileFormatError(
            f"{place}: expected a class from 0 to {len(names) - 1}, found {cells[0]}{from_one}"
        )
    x, y, width, height = map(float, cells[1:])
    if max(x, y, width, height) > 1.5 or min(x, y) < -0.5:
        raise FileFormatError(
            f"{place}: expected shares of the image's size, 0 to 1, found {' '.join(cells[1:])}, "
            "which look like pixels: divide them by the image's width and height"
        )
    corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    return Box(corners, names[int(cells[0])], place)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


# Classes


def _classes(path: Path, root: Path) -> list[str]:
    yamls = [f / name for f in (root, root.parent) for name in YAMLS]
    yamls = [path] if path.is_file() else yamls
    for file in yamls:
        if file.is_file():
            return _of_yaml(file)
    lists = [f / n for f in (root, root / "labels", root.parent) for n in LISTS]
    lists += sorted(root.glob("*.names"))
    for file in lists:
        if file.is_file():
            lines = read_lines(file, "a class in each line")
            names = [line.strip() for line in lines if line.strip()]
            if not names:
                raise FileFormatError(f"{file}: the file is empty, expected a class in each line")
            return names
    raise FileFormatError(
        f"{root}: YOLO's files tell the classes by number alone: put classes.txt there, a name a "
        "line, or data.yaml, or tell them with classes="
    )


def _of_yaml(file: Path) -> list[str]:
    """Return `names` of a data.yaml: [a, b], or lines of "- a" or "0: a"."""
    lines = read_lines(file, "names: [...], the classes")
    start = next((i for i, line in enumerate(lines) if re.match(r"names\s*:", line)), None)
    if start is None:
        raise FileFormatError(f"{file}: expected names: [...], the classes")
    text = lines[start].split(":", 1)[1].split(" #")[0].strip()
    while text.startswith(("[", "{")) and not text.endswith(("]", "}")) and start + 1 < len(lines):
        start += 1
        text += " " + lines[start].split(" #")[0].strip()
    if text.startswith("[") and text.endswith("]"):
        names = _items(text[1:-1])
    elif text.startswith("{") and text.endswith("}"):
        names = _numbered(file, _items(text[1:-1]))
    elif not text:
        names = _below(file, lines[start + 1 :])
    else:
        names = []
    if not names:
        raise FileFormatError(f"{file}: line {start + 1}: expected names: [a, ...], found {text!r}")
    return names


def _items(text: str) -> list[str]:
    """Return the items between commas; quotes, which may hold commas, are taken off."""
    found = re.findall(r"""\s*((?:"[^"]*"|'[^']*'|[^,"'])+)\s*(?:,|$)""", text)
    return [_unquoted(item) for item in found if item.strip()]


def _unquoted(text: str) -> str:
    text = text.strip()
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    return text


def _below(file: Path, lines: list[str]) -> list[str]:
    block = []
    for line in lines:
        bare = line.split(" #")[0].rstrip()
        if bare and not bare.startswith((" ", "\t", "-", "#")):
            break
        if bare.strip() and not bare.strip().startswith("#"):
            block.append(bare.strip())
    if all(line.startswith("- ") for line in block):
        return [_unquoted(line[2:]) for line in block]
    return _numbered(file, block)


def _numbered(file: Path, entries: list[str]) -> list[str]:
    found: dict[int, str] = {}
    for entry in entries:
        key, colon, name = entry.partition(":")
        if not colon or not _unquoted(key).isdecimal():
            raise FileFormatError(f"{file}: expected names as NUMBER: NAME, found {entry!r:.60}")
        found[int(_unquoted(key))] = _unquoted(name)
    if sorted(found) != list(range(len(found))):
        raise FileFormatError(
            f"{file}: expected names from 0 to {len(found) - 1}, found the numbers "
            f"{', '.join(map(str, sorted(found)))}"
        )
    return [found[i] for i in range(len(found))]
