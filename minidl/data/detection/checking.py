"""From what annotation files tell to a data set: images found, boxes in pixels, nothing wrong."""

import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from minidl.data.detection.dataset import Detection, Target
from minidl.data.detection.pictures import Picture, Place, place_of
from minidl.data.detection.records import Annotated, Box, Found
from minidl.data.listing import sorted_classes
from minidl.errors import FileFormatError

__all__ = ["detection_of"]

NAMED = 5  # that a message tells one by one
SLACK = 1.0  # pixels that a box may reach beyond its image, by rounding
DEGENERATE = "is degenerate (xmax <= xmin or ymax <= ymin)"
OUTSIDE = "is outside its image"
CLIPPED = "reaches beyond its image, and is cut off there"
TURNED = "is turned by EXIF data: its boxes are taken to go with the upright picture"

Told = list[tuple[str, str]]  # (place, what is wrong there)


def detection_of(
    found: Found,
    images: str | os.PathLike[str] | None,
    classes: Sequence[str] | None,
    check: bool,
) -> Detection:
    """Return the data set. Degenerate boxes and those outside are left out, with a warning.

    images: the folder or zip archive of them; None: where the annotations say, or beside them.
    classes: the names wanted, in the order of their labels.  check: decode every image.
    Raises FileFormatError, FileNotFoundError or ArgumentError for all that would be wrong later.
    """
    if not found.images:
        raise FileFormatError(f"{found.path}: no image is listed there: the file is empty")
    if not any(each.boxes for each in found.images):
        raise FileFormatError(f"{found.path}: no image has a box, of {len(found.images):,}")
    names = _classes(found, classes)
    pictures, called = _located(found, images)
    sizes = _sizes(found, pictures, check)
    told: Told = []
    _check_sizes(found, sizes, pictures, told)
    number = {name: i for i, name in enumerate(names)}
    targets = []
    for each, size in zip(found.images, sizes, strict=True):
        kept = list(_kept(each, size, found, told))
        targets.append(_target(each.boxes, kept, number))
    _check_shares_of_bad(found, told)
    _warn(found.path, told)
    parts = [each.part for each in found.images]
    return Detection(
        pictures, targets, names, names=called, parts=parts if any(parts) else None,
        passed_over=told,
    )  # fmt: skip


def some(texts: Sequence[str]) -> str:
    """Return the first few texts, and how many more there are."""
    rest = f", and {len(texts) - NAMED:,} more" if len(texts) > NAMED else ""
    return "; ".join(texts[:NAMED]) + rest


# Classes


def _classes(found: Found, wanted: Sequence[str] | None) -> list[str]:
    places: dict[str, str] = {}
    for each in found.images:
        for box in each.boxes:
            places.setdefault(box.label, box.place)
    declared = list(wanted) if wanted is not None else found.classes
    if declared is None:
        alike: dict[str, str] = {}
        for name in places:
            other = alike.setdefault(name.casefold(), name)
            if other != name:
                raise FileFormatError(
                    f"{places[name]}: the class {name!r} differs from {other!r} "
                    f"({places[other]}) in capitals alone: write them alike, or tell all with "
                    "classes="
                )
        return sorted_classes(list(places))
    if len({*declared}) < len(declared):
        twice = sorted({name for name in declared if declared.count(name) > 1})
        raise FileFormatError(f"{found.path}: classes listed twice: {', '.join(twice)}")
    if unknown := [name for name in places if name not in declared]:
        where = some([f"{name!r} ({places[name]})" for name in unknown])
        raise FileFormatError(
            f"{found.path}: expected the classes {', '.join(declared)}, found {where}: correct "
            "it, or tell all with classes="
        )
    empty = [name for name in declared if name not in places]
    if empty and wanted is None:
        rest = [name for name in declared if name in places]
        raise FileFormatError(
            f"{found.path}: no box is of the class {', '.join(empty)}, which is listed there: "
            f"classes={rest} leaves it out, classes={declared} keeps it"
        )
    return declared


# Images


def _located(found: Found, images: str | os.PathLike[str] | None) -> tuple[list[Picture], list[str]]:
    """Return the image of each entry, and what it is called: its path in its folder."""
    folders = list(found.folders) if images is None else [Path(images)]
    best: tuple[int, Place | None, list[list[str]]] = (-1, None, [])
    for folder in folders:
        if images is None and not folder.exists():
            continue
        place = place_of(folder)
        names = [place.look_up(each.name) for each in found.images]
        hits = sum(map(bool, names))
        if hits > best[0]:
            best = (hits, place, names)
        if hits == len(names):
            break
    hits, place, names = best
    if place is None or hits < len(names):
        missing = [e for e, n in zip(found.images, names or [[]] * len(found.images)) if not n]
        where = place.path if place is not None else found.path.parent
        raise FileNotFoundError(
            f"{missing[0].place}: there is no image {missing[0].name!r} in {where}: "
            f"{len(missing):,} of {len(found.images):,} are missing; images= names the folder or "
            "zip archive that has them"
        )
    for each, several in zip(found.images, names, strict=True):
        if len(several) > 1:
            raise FileFormatError(
                f"{each.place}: {each.name!r} may be {' or '.join(several[:3])} in {place.path}: "
                "write the path, or name the folder with images="
            )
    called = [several[0] for several in names]
    _check_once(found, called)
    return [place.picture(name) for name in called], called


def _check_once(found: Found, called: Sequence[str]) -> None:
    first: dict[str, Annotated] = {}
    for each, name in zip(found.images, called, strict=True):
        before = first.setdefault(name, each)
        if before is not each:
            parts = "" if before.part == each.part else f", of the parts {before.part}, {each.part}"
            raise FileFormatError(
                f"{each.place}: the image {name!r} is listed twice, first at {before.place}{parts}"
                ": leave one"
            )


def _sizes(found: Found, pictures: list[Picture], check: bool) -> list[tuple[int, int]]:
    """Return (H, W) of each image; raise for those that can't be read, naming where they are listed."""

    def measured(picture: Picture) -> tuple[int, int] | Exception:
        try:
            size = picture.size()
            if check:
                picture.read()
            return size
        except (FileFormatError, OSError) as error:
            return error

    with ThreadPoolExecutor(2, thread_name_prefix="minidl-images") as pool:
        results = list(pool.map(measured, pictures))
    bad = [(e, r) for e, r in zip(found.images, results) if isinstance(r, Exception)]
    if bad:
        each, error = bad[0]
        raise FileFormatError(
            f"{each.place}: {len(bad):,} of {len(results):,} images can't be read, such as "
            f"{each.name}: {error}: mend them, or take them out of the annotations"
        ) from error
    return [size for size in results if not isinstance(size, Exception)]


def _check_sizes(
    found: Found, sizes: Sequence[tuple[int, int]], pictures: Sequence[Picture], told: Told
) -> None:
    """Raise where boxes are of a picture of another size than the file has."""
    for each, size, picture in zip(found.images, sizes, pictures, strict=True):
        turned = picture.is_turned()
        if each.size is not None and each.size != size:
            asked, has = ("{1} x {0}".format(*s) for s in (each.size, size))
            why = "the file has"
            if turned and each.size == size[::-1]:
                why = "EXIF data turn it, upright it has"
            raise FileFormatError(
                f"{each.place}: the boxes are of a picture of {asked} pixels (width x height), and "
                f"{each.name} isn't one: {why} {has}; give the images that were annotated"
            )
        if turned and each.size is None and each.boxes and not found.shares:
            told.append((f"{each.place} ({each.name})", TURNED))
        elif turned and each.size is None and each.boxes:
            told.append((f"{each.place} ({each.name})", TURNED))


# Boxes


def _kept(
    each: Annotated, size: tuple[int, int], found: Found, told: Told
) -> Iterator[tuple[int, tuple[float, ...]]]:
    """Yield (number, corners in pixels) of the boxes of an image that make sense."""
    height, width = size
    limits = (width, height, width, height)
    for i, box in enumerate(each.boxes):
        _check_units(box, size, found)
        scale = limits if found.shares else (1, 1, 1, 1)
        x1, y1, x2, y2 = (c * s for c, s in zip(box.corners, scale, strict=True))
        where = f"{box.place} ({each.name})"
        if not (x2 > x1 and y2 > y1):
            told.append((where, DEGENERATE))
            continue
        inside = (max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height)))
        rounded = np.array(inside, np.float32)
        if not (rounded[2:] > rounded[:2]).all():
            told.append((where, OUTSIDE))
            continue
        if max(-x1, -y1, x2 - width, y2 - height) > SLACK:
            told.append((where, CLIPPED))
        yield i, inside


def _check_units(box: Box, size: tuple[int, int], found: Found) -> None:
    """Raise where pixels are expected and shares found, or the other way round."""
    x1, y1, x2, y2 = box.corners
    if not found.shares and min(box.corners) >= 0 and x1 < x2 <= 1 and y1 < y2 <= 1 < min(size):
        raise FileFormatError(
            f"{box.place}: expected a box in pixels, found {_numbers(box)}, which look like shares "
            f"of the image's size, 0 to 1: multiply them by its {size[1]} x {size[0]} pixels"
        )
    if found.shares and max(box.corners) > 2:
        raise FileFormatError(
            f"{box.place}: expected a box in shares of the image's size, 0 to 1, found "
            f"{_numbers(box)} as its corners, which look like pixels: divide them by its "
            f"{size[1]} x {size[0]} pixels"
        )


def _numbers(box: Box) -> str:
    return ", ".join(f"{number:g}" for number in box.corners)


def _target(
    boxes: Sequence[Box], kept: Sequence[tuple[int, tuple[float, ...]]], number: dict[str, int]
) -> Target:
    chosen = [boxes[i] for i, _ in kept]
    target = {
        "boxes": np.array([corners for _, corners in kept], np.float32).reshape(-1, 4),
        "labels": np.array([number[box.label] for box in chosen], np.int64),
    }
    for name in ("difficult", "crowd"):
        if any(getattr(box, name) for box in boxes):
            target[name] = np.array([getattr(box, name) for box in chosen], np.bool_)
    if boxes and all(box.area is not None for box in boxes):
        target["area"] = np.array([box.area for box in chosen], np.float32)
    return target


def _check_shares_of_bad(found: Found, told: Told) -> None:
    """Raise where most boxes make no sense: then it is the reading of them that is wrong."""
    count = sum(len(each.boxes) for each in found.images)
    for what, why in (
        (DEGENERATE, "its columns may be x, y, width, height, or in another order"),
        (OUTSIDE, "the images may have been made smaller since, or be others"),
        (CLIPPED, "the images may have been made smaller since, or be others"),
    ):
        bad = [place for place, reason in told if reason == what]
        if 2 * len(bad) > count or (what == OUTSIDE and len(bad) > max(3, count // 10)):
            raise FileFormatError(
                f"{bad[0]}: {len(bad):,} of {count:,} boxes {what.replace('is', 'are', 1)}, so "
                f"that they can't be meant so: {why}"
            )


def _warn(path: Path, told: Told) -> None:
    texts = []
    for what in (DEGENERATE, OUTSIDE, CLIPPED, TURNED):
        if places := [place for place, reason in told if reason == what]:
            thing = "image" if what == TURNED else "box"
            fate = "left out, since it " if what in (DEGENERATE, OUTSIDE) else ""
            many = len(places)
            texts.append(f"{many:,} {thing}{'es' if thing == 'box' and many > 1 else ''}: "
                         f"{fate}{what}: {some(places)}")
    if texts:
        warnings.warn(f"{path}: " + "\n".join(texts), RuntimeWarning, stacklevel=4)



