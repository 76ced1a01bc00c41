"""Annotation files written: Pascal VOC, COCO, YOLO and CSV."""

import csv
import io
import json
import os
import re
import shutil
import warnings
from pathlib import Path, PurePosixPath
from typing import Any
from xml.sax.saxutils import escape

import numpy as np

from minidl.data.detection.dataset import Detection
from minidl.errors import ArgumentError, DTypeError

__all__ = ["write_boxes"]

Files = dict[str, str]  # path in the folder -> content
# Of characters: those that UTF-8 hasn't, and those that XML hasn't or that end a line
UNENCODED, CONTROLS = r"\ud800-\udfff", r"\x00-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff"


def write_boxes(
    path: str | os.PathLike[str],
    detection: Detection,
    *,
    format: str | None = None,
    overwrite: bool = False,
) -> None:
    """Write the boxes of a set, without its images, for other programs or for `read_boxes`.

    path: a .csv; a .json, COCO's; or else a new folder, of Pascal VOC's or YOLO's files.
    format: "voc" or "yolo", for a folder.
    overwrite: replace what is there, unless it is a folder that holds more than annotations.
    CSV and COCO hold all of a box but its points; VOC has no crowds and no areas, and YOLO neither
    these nor difficult boxes, which is told as a RuntimeWarning. COCO's file has no parts.
    All of it is written, or nothing. Raises DTypeError for what is no Detection, ArgumentError for
    another format and for names that it can't hold, FileExistsError for what is in the way.
    """
    if not isinstance(detection, Detection):
        raise DTypeError(f"write_boxes expected a Detection, got {type(detection).__name__}")
    target = Path(path)
    suffix = target.suffix.lower()
    given = {".csv": "csv", ".json": "coco"}.get(suffix, format)
    if given not in ("csv", "coco", "voc", "yolo") or (format is not None and format != given):
        raise ArgumentError(
            'write_boxes expected a path that ends in .csv or .json (COCO), or format="voc" or '
            f'"yolo" and a folder, got {target} and format={format!r}'
        )
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists: name another one, or replace it with overwrite")
    _check_texts(detection, given)
    _tell_losses(detection, given)
    if given in ("csv", "coco"):
        _write_file(target, (_csv if given == "csv" else _coco)(detection))
    else:
        _write_folder(target, (_voc if given == "voc" else _yolo)(detection))


def _check_texts(detection: Detection, format: str) -> None:
    """Raise ArgumentError for names that a file can't hold, such as one of two lines."""
    unheard = UNENCODED if format in ("csv", "coco") else f"{UNENCODED}{CONTROLS}"
    for text in (*detection.classes, *detection.names):
        if re.search(f"[{unheard}]", text):
            raise ArgumentError(f"write_boxes: {format} can't hold the name {text!r}: change it")


def _tell_losses(detection: Detection, format: str) -> None:
    lost = {"voc": ("crowd", "points"), "yolo": ("difficult", "crowd", "points")}
    for name in lost.get(format, ("points",)):
        having = [t for t in detection.targets if name in t and np.any(t[name])]
        if having:
            warnings.warn(
                f"write_boxes: {format} can't tell {name}, which {len(having):,} images have",
                RuntimeWarning,
                stacklevel=3,
            )


def _write_file(target: Path, text: str) -> None:
    from minidl.io.atomic import atomic_write

    with atomic_write(target) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def _write_folder(target: Path, files: Files) -> None:
    """Write a folder whole: it is filled under another name first."""
    _check_replaceable(target)
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        for name, text in files.items():
            place = partial / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text, encoding="utf-8")
        if target.exists():
            shutil.rmtree(target)
        os.replace(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _check_replaceable(target: Path) -> None:
    """Raise FileExistsError where more would be lost than annotations, such as the images."""
    if not target.exists():
        return
    others = [f for f in target.rglob("*") if not f.is_dir() and f.suffix not in (".xml", ".txt")]
    if not target.is_dir() or target.is_symlink() or others:
        has = f"has {others[0].relative_to(target)} in it" if others else "is no folder"
        raise FileExistsError(
            f"{target} {has}, so that it isn't replaced by a folder of annotations: name another"
        )


def _number(value: Any) -> str:
    """Return the shortest text that gives the same float32."""
    return np.format_float_positional(np.float32(value), trim="-")


def _rows(detection: Detection, index: int) -> list[dict[str, Any]]:
    target = detection.targets[index]
    return [{name: array[n] for name, array in target.items()} for n in range(len(target["boxes"]))]


# CSV


def _csv(detection: Detection) -> str:
    extra = [n for n in ("difficult", "crowd") if any(n in t for t in detection.targets)]
    split = ["split"] if detection.parts else []
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", *split, "class", "xmin", "ymin", "xmax", "ymax", *extra])
    for i, name in enumerate(detection.names):
        start = [name, *([detection.parts[i] or ""] if detection.parts else [])]
        for row in _rows(detection, i):
            flags = [int(row.get(name, False)) for name in extra]
            label = detection.classes[int(row["labels"])]
            writer.writerow([*start, label, *map(_number, row["boxes"]), *flags])
        if not len(detection.targets[i]["boxes"]):
            writer.writerow([*start, *[""] * (5 + len(extra))])
    return text.getvalue()


# COCO


def _coco(detection: Detection) -> str:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for i, name in enumerate(detection.names):
        height, width = detection.size(i)
        images.append({"id": i + 1, "file_name": name, "width": width, "height": height})
        for row in _rows(detection, i):
            x1, y1, x2, y2 = map(float, row["boxes"])
            area = float(row.get("area", (x2 - x1) * (y2 - y1)))
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": i + 1,
                    "category_id": int(row["labels"]) + 1, "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": area, "iscrowd": int(row.get("crowd", False)),
                    **({"difficult": int(row["difficult"])} if "difficult" in row else {}),
                }
            )  # fmt: skip
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(detection.classes)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    return json.dumps(document, ensure_ascii=False) + "\n"


# Folders


def _named(detection: Detection, suffix: str, folder: str = "/") -> list[str]:
    """Return what each image's file is called; raise where two would be one.

    folder: what stands after the names of folders in these.
    """
    paths = [PurePosixPath(name).with_suffix(suffix) for name in detection.names]
    names = [str(path).replace("/", folder) for path in paths]
    twice = {name for name in names if names.count(name) > 1} if len({*names}) < len(names) else {}
    if twice or any(".." in path.parts or path.is_absolute() for path in paths):
        raise ArgumentError(
            "write_boxes: a file an image needs names that differ without their suffix, got "
            f"{sorted(twice or names)[0]} twice or outside of the folder"
        )
    return names


def _voc(detection: Detection) -> Files:
    found: Files = {}
    lists: dict[str, list[str]] = {}
    for i, file in enumerate(_named(detection, ".xml", "__")):
        found[f"Annotations/{file}"] = _xml(detection, i)
        if detection.parts and (part := detection.parts[i]):
            lists.setdefault(part, []).append(file.removesuffix(".xml"))
    for part, names in lists.items():
        name = {"validation": "val"}.get(part, part)
        found[f"ImageSets/Main/{name}.txt"] = "".join(f"{each}\n" for each in names)
    return found


def _xml(detection: Detection, index: int) -> str:
    height, width = detection.size(index)
    lines = [
        "<annotation>", f"  <filename>{escape(detection.names[index])}</filename>",
        "  <source><database>minidl</database></source>",
        f"  <size><width>{width}</width><height>{height}</height><depth>3</depth></size>",
    ]  # fmt: skip
    for row in _rows(detection, index):
        name = escape(detection.classes[int(row["labels"])])
        corners = zip(("xmin", "ymin", "xmax", "ymax"), map(_number, row["boxes"]), strict=True)
        bounds = "".join(f"<{corner}>{number}</{corner}>" for corner, number in corners)
        hard = int(row.get("difficult", False))
        lines.append(
            f"  <object><name>{name}</name><difficult>{hard}</difficult><bndbox>{bounds}</bndbox>"
            "</object>"
        )
    return "\n".join([*lines, "</annotation>", ""])


def _yolo(detection: Detection) -> Files:
    found = {"classes.txt": "".join(f"{name}\n" for name in detection.classes)}
    for i, file in enumerate(_named(detection, ".txt")):
        height, width = detection.size(i)
        lines = []
        for row in _rows(detection, i):
            x1, y1, x2, y2 = map(float, row["boxes"])
            shares = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height,
                      (x2 - x1) / width, (y2 - y1) / height)  # fmt: skip
            lines.append(" ".join([str(int(row["labels"])), *(f"{s:.9g}" for s in shares)]) + "\n")
        part = detection.parts[i] if detection.parts else None
        folder = f"labels/{part}" if part and not file.startswith(f"{part}/") else "labels"
        found[f"{folder}/{file}"] = "".join(lines)
    return found
