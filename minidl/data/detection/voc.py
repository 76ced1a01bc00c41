"""Pascal VOC's annotations: an XML file an image.

Source: Everingham, Winn 2012, "The PASCAL visual object classes challenge 2012 development kit",
section 2. Corners of the original sets are numbers of pixels from 1; other programs write edges.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder

from minidl.data.containers import containers
from minidl.data.detection.records import Annotated, Box, Found
from minidl.data.detection.texts import listed_parts
from minidl.data.parts import class_folders
from minidl.errors import FileFormatError

__all__ = ["read_voc", "xml_files"]

MOST_BYTES = 2**24  # of a file
MOST_DEPTH = 64
LINE = " line"  # no name in XML has a space
ORIGINAL = ("VOC", "Database")  # what the original sets say of their source, such as "VOC2007"
CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read_voc(path: Path, files: list[Path]) -> Found:
    """Return what XML files tell.  path: the folder, or the file, that was asked for.

    Lists of names in ImageSets/Main, beside the files' folder, tell the parts.
    Raises FileFormatError for other files, naming file and line.
    """
    parts = _parts(files[0].parent.parent)
    images = []
    for file in files:
        each = _image(file)
        each.part = parts.get(file.stem)
        images.append(each)
    folder = files[0].parent
    around = [folder.parent / name for name in containers(class_folders(folder.parent))]
    packed = [f / "images.zip" for f in (folder, folder.parent) if (f / "images.zip").is_file()]
    return Found(path, "Pascal VOC", images, [folder, *around, *packed, folder.parent])


def _parts(root: Path) -> dict[str, str]:
    """Return the part of each image that a list in ImageSets/Main names, by its name."""
    lists = sorted((root / "ImageSets" / "Main").glob("*.txt"))
    return listed_parts([file for file in lists if file.stem != "trainval"], str)


def _image(file: Path) -> Annotated:
    root = _parse(file)
    if root.tag != "annotation":
        raise FileFormatError(
            f"{file}: expected Pascal VOC's <annotation>, found <{root.tag}>: name the folder that "
            "has nothing but the annotations"
        )
    shift = 1 if all(word in root.findtext("source/database", "") for word in ORIGINAL) else 0
    name = root.findtext("filename", "").strip() or file.stem
    size = root.find("size")
    boxes = [_box(file, each, shift) for each in root.iter("object")]
    return Annotated(name, str(file), boxes, None if size is None else _size(file, size))


def _size(file: Path, size: Element) -> tuple[int, int] | None:
    height, width = (_number(file, size, name, size.findtext(name)) for name in ("height", "width"))
    # Some programs write 0 where they don't know it.
    return (int(height), int(width)) if height and width else None


def _box(file: Path, each: Element, shift: int) -> Box:
    place = f"{file}: line {each.get(LINE)}"
    label = each.findtext("name", "").strip()
    if not label:
        raise FileFormatError(f"{place}: the object has no <name>, which is its class")
    bounds = each.find("bndbox")
    if bounds is None:
        raise FileFormatError(f"{place}: the object {label!r} has no <bndbox>")
    x1, y1, x2, y2 = (_number(file, bounds, name, bounds.findtext(name)) for name in CORNERS)
    difficult = each.findtext("difficult", "0").strip()
    if difficult not in ("0", "1", ""):
        raise FileFormatError(f"{place}: expected <difficult> 0 or 1, found {difficult!r}")
    return Box((x1 - shift, y1 - shift, x2, y2), label, place, difficult == "1")


def _number(file: Path, where: Element, name: str, text: str | None) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise FileFormatError(
            f"{file}: line {where.get(LINE)}: expected a number as <{name}>, found {text!r:.40}"
        )
    return value


def _parse(file: Path) -> Element:
    """Return the root of an XML file; each element tells its line.

    Document types, and with them all entities but XML's own five, are refused: they can name other
    files and grow without bounds.
    """
    from xml.parsers import expat

    if file.stat().st_size > MOST_BYTES:
        raise FileFormatError(f"{file}: expected at most {MOST_BYTES:,} bytes of XML")
    content = file.read_bytes()
    if not content.strip():
        raise FileFormatError(f"{file}: the file is empty, expected Pascal VOC's XML")
    parser, builder = expat.ParserCreate(), TreeBuilder()
    depth = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MOST_DEPTH:
            raise FileFormatError(f"{file}: line {parser.CurrentLineNumber}: nested too deep")
        builder.start(tag, {LINE: str(parser.CurrentLineNumber)})

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def refuse(*_: Any) -> None:
        raise FileFormatError(
            f"{file}: line {parser.CurrentLineNumber}: document types and entities aren't read: "
            "remove <!DOCTYPE ...>"
        )

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise FileFormatError(f"{file}: the XML is damaged or cut off: {error}") from error
    except (LookupError, ValueError) as error:
        raise FileFormatError(
            f"{file}: its encoding can't be read, {error}: save it in UTF-8"
        ) from error
    return builder.close()


def xml_files(folder: Path) -> Iterator[Path]:
    """Yield the XML files of a folder, in the order of their names."""
    for each in sorted(folder.glob("*.xml")):
        if each.is_file() and not each.name.startswith("."):
            yield each
