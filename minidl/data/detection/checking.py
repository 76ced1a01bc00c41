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
from minidl.data.parts import part_of
from minidl.data.targets import sorted_classes
from minidl.errors import FileFormatError

__all__ = ["detection_of"]

NAMED = 5  # that a message tells one by one
SLACK = 1.0  # pixels that a box may reach beyond its image, by rounding
DEGENERATE = "degenerate (xmax <= xmin or ymax <= ymin)"
OUTSIDE = "outside of the image"
CLIPPED = "beyond the edge of the image by more than a pixel"
TURNED = "turned by EXIF data"
FATES = {
    DEGENERATE: "left out, since {} degenerate (xmax <= xmin or ymax <= ymin)",
    OUTSIDE: "left out, since {} outside of the image",
    CLIPPED: "cut off, since {} beyond the edge of the image",
    TURNED: "turned by EXIF data, so that boxes are taken to be of the upright picture",
}

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
    told: Told = []
    number = {name: i for i, name in enumerate(names)}
    targets = []
    for each, about in zip(found.images, _about(found, pictures, check), strict=True):
        _check_size(each, about, told)
        kept = list(_kept(each, about[0], found, told))
        targets.append(_target(each.boxes, kept, number))
    _check_most_make_sense(found, told)
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
            f"name the classes to keep, such as {', '.join(rest)}, with classes="
        )
    return declared


# Images


def _located(
    found: Found, images: str | os.PathLike[str] | None
) -> tuple[list[Picture], list[str]]:
    """Return the image of each entry, and what it is called: its path in its folder."""
    if images is not None:
        place = place_of(Path(images))
        return _in_places(found, {None: place})
    places: dict[str | None, Place] = {}
    for part in {each.part for each in found.images} if found.by_part else {None}:
        folders = found.by_part.get(part) or found.folders
        entries = [e for e in found.images if part is None or e.part == part]
        places[part] = _best(folders, entries, found.path)
    return _in_places(found, places)


def _best(folders: Sequence[Path], entries: Sequence[Annotated], path: Path) -> Place:
    """Return the first folder that has all images of these entries, else that with most."""
    best: tuple[int, Place] | None = None
    for folder in dict.fromkeys(folders):
        if folder.exists():
            place = place_of(folder)
            hits = sum(bool(place.look_up(each.name)) for each in entries)
            if hits == len(entries):
                return place
            if best is None or hits > best[0]:
                best = (hits, place)
    return place_of(path.parent) if best is None else best[1]


def _in_places(found: Found, places: dict[str | None, Place]) -> tuple[list[Picture], list[str]]:
    pictures, called, missing = [], [], []
    for each in found.images:
        place = places.get(each.part) or places[None]
        names = place.look_up(each.name)
        if len(names) > 1:
            names = [n for n in names if each.part in map(part_of, n.split("/")[:-1])] or names
        if len(names) > 1:
            raise FileFormatError(
                f"{each.place}: {each.name!r} may be {' or '.join(names[:3])} in {place.path}: "
                "write the path, or name the folder with images="
            )
        if not names:
            missing.append((each, place))
            continue
        pictures.append(place.picture(names[0]))
        folder = "" if len(places) == 1 else f"{each.part}/"
        called.append(folder + names[0])
    if missing:
        each, place = missing[0]
        raise FileNotFoundError(
            f"{each.place}: there is no image {each.name!r} in {place.path}: {len(missing):,} of "
            f"{len(found.images):,} are missing; images= names the folder or zip archive that has "
            "them"
        )
    _check_once(found, called)
    return pictures, called


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


About = tuple[tuple[int, int], bool]  # (H, W) of an image, and whether EXIF data turn it


def _about(found: Found, pictures: list[Picture], check: bool) -> list[About]:
    """Return the size of each image; raise for those that can't be read, naming their places."""

    def looked_at(picture: Picture) -> About | Exception:
        try:
            if check:
                picture.read()
            return picture.about()
        except (FileFormatError, OSError) as error:
            return error

    with ThreadPoolExecutor(2, thread_name_prefix="minidl-images") as pool:
        results = list(pool.map(looked_at, pictures))
    bad = [(e, r) for e, r in zip(found.images, results) if isinstance(r, Exception)]
    if bad:
        each, error = bad[0]
        raise FileFormatError(
            f"{each.place}: {len(bad):,} of {len(results):,} images can't be read, such as "
            f"{each.name}: {error}: mend them, or take them out of the annotations"
        ) from error
    return [about for about in results if not isinstance(about, Exception)]


def _check_size(each: Annotated, about: About, told: Told) -> None:
    """Raise where boxes are of a picture of another size than the file has."""
    size, turned = about
    if each.size is not None and each.size != size:
        asked, has = ("{1} x {0}".format(*s) for s in (each.size, size))
        why = "the file has"
        if turned and each.size == size[::-1]:
            why = "EXIF data turn it, upright it has"
        raise FileFormatError(
            f"{each.place}: the boxes are of a picture of {asked} pixels (width x height), and "
            f"{each.name} isn't one: {why} {has}; give the images that were annotated"
        )
    if turned and each.size is None and each.boxes:
        told.append((f"{each.place} ({each.name})", TURNED))


# Boxes


def _kept(
    each: Annotated, size: tuple[int, int], found: Found, told: Told
) -> Iterator[tuple[int, tuple[float, ...]]]:
    """Yield (number, corners in pixels) of the boxes of an image that make sense."""
    height, width = size
    limits = (width, height, width, height)
    for i, box in enumerate(each.boxes):
        if not found.shares:
            _check_pixels(box, size)
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


def _check_pixels(box: Box, size: tuple[int, int]) -> None:
    """Raise where shares of the image's size are found instead of pixels."""
    x1, y1, x2, y2 = box.corners
    if 0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1 < min(size):
        raise FileFormatError(
            f"{box.place}: expected a box in pixels, found {_numbers(box)}, which look like shares "
            f"of the image's size, 0 to 1: multiply them by its {size[1]} x {size[0]} pixels"
        )


def _numbers(box: Box) -> str:
    return ", ".join(f"{number:g}" for number in box.corners)


def _target(
    boxes: Sequence[Box], kept: Sequence[tuple[int, tuple[float, ...]]], number: dict[str, int]
) -> Target:
    chosen = [boxes[i] for i, _ in kept]
    target: Target = {
        "boxes": np.array([corners for _, corners in kept], np.float32).reshape(-1, 4),
        "labels": np.array([number[box.label] for box in chosen], np.int64),
    }
    for name in ("difficult", "crowd"):
        if any(getattr(box, name) for box in boxes):
            target[name] = np.array([getattr(box, name) for box in chosen], np.bool_)
    if boxes and all(box.area is not None for box in boxes):
        target["area"] = np.array([box.area for box in chosen], np.float32)
    return target


def _check_most_make_sense(found: Found, told: Told) -> None:
    """Raise where most boxes make no sense: then it is the reading of them that is wrong."""
    count = sum(len(each.boxes) for each in found.images)
    other = "the images may have been made smaller or larger since, or be others"
    for what, why in (
        (DEGENERATE, "the columns may be x, y, width, height, or in another order"),
        (OUTSIDE, other),
        (CLIPPED, other),
    ):
        bad = [place for place, reason in told if reason == what]
        if 2 * len(bad) > count:
            raise FileFormatError(
                f"{bad[0]}: {len(bad):,} of {count:,} boxes are {what}, so that they can't be "
                f"meant so: {why}"
            )


def _warn(path: Path, told: Told) -> None:
    """Warn of what is left out or changed, with counts and names."""
    lines = []
    for what, fate in FATES.items():
        if places := [p.removeprefix(f"{path}: ") for p, reason in told if reason == what]:
            one = len(places) == 1
            thing = ("image" if one else "images") if what == TURNED else "box" + "es" * (not one)
            is_ = "it is" if one else "they are"
            lines.append(f"{len(places):,} {thing} {fate.format(is_)}: {some(places)}")
    if lines:
        warnings.warn(f"{path}: " + "\n".join(lines), RuntimeWarning, stacklevel=4)
