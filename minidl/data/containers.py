"""Folders that hold images or masks without being classes, and folders around all the others."""

import re
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from minidl.data.images import SUFFIXES
from minidl.data.parts import class_folders, part_of
from minidl.errors import ArgumentError

__all__ = ["MASK", "check_no_containers", "containers", "mask_files", "masks", "unwrapped"]

IMAGES = {"image", "images", "img", "imgs", "jpegimages", "photo", "photos", "picture", "pictures"}
BESIDE_IMAGES = {"all", "batch", "color", "colour", "data", "original", "part", "raw", "set"}
MASKS = {
    "annotation", "annotations", "bbox", "bboxes", "gt", "groundtruth", "label", "labels", "mask",
    "masks", "seg", "segmentation", "segmentations", "trimap", "trimaps", "xml", "xmls",
}  # fmt: skip
MASK = "a mask or annotation of the images beside it"
MASK_FILE = re.compile(r"(.+?)[ _-](?:masks?|seg|segmentation|gt)(?:[ _-]?\d+)?", re.IGNORECASE)


def _words(name: str) -> list[str]:
    return [word.lower() for word in re.findall(r"[^\W\d_]+", name)]


def containers(names: Collection[str]) -> list[str]:
    """Those of a folder's sub-folders that hold images of any class: images, or images_1, images_2.

    A class may be called cat_images, so other words than IMAGES have to be those of all.
    """
    found = [
        name for name in names
        if {*_words(name)} & IMAGES and {*_words(name)} <= IMAGES | BESIDE_IMAGES
    ]  # fmt: skip
    numbered = [name for name in names if {*_words(name)} & IMAGES and re.search(r"\d", name)]
    alike = len({tuple(_words(name)) for name in numbered}) == 1 < len(numbered)
    return sorted({*found, *(numbered if alike else ())})


def masks(names: Collection[str]) -> list[str]:
    """Those that hold masks or annotations: by their names, beside a folder that holds images."""
    words = {name: {*_words(name)} for name in names}
    beside = [name for name in names if words[name] & MASKS and words[name] <= MASKS | IMAGES]
    images = {*containers(names)} - {*beside}
    return sorted(beside) if images else []


def mask_files(names: Iterable[str]) -> set[str]:
    """Files named after another one in their folder, as cat1_mask.png beside cat1.png is."""
    stems = {Path(name).stem: name for name in names}
    found = {name: MASK_FILE.fullmatch(stem) for stem, name in stems.items()}
    return {name for name, match in found.items() if match and match[1] in stems}


def unwrapped(
    folder: Path, stop: Callable[[Path], object], classes: Collection[str] = ()
) -> tuple[Path, list[tuple[str, str]]]:
    """Return the folder itself or, if all there is in it is one that holds the others, that one.

    stop: whether there is something else in a folder.
    classes: names that a folder of a class may have.
    Also gives (name, reason) of what lies beside that one.
    """
    beside: list[tuple[str, str]] = []
    root = folder
    while (inside := _wrapped(folder, classes)) is not None and not stop(folder):
        for each in sorted(folder.iterdir()):
            if each != inside:
                place = each.relative_to(root).as_posix()
                beside.append((place, f"beside {inside.name}, which holds the images"))
        folder = inside
    return folder, beside


def _wrapped(folder: Path, classes: Collection[str]) -> Path | None:
    names = class_folders(folder)
    if len(names) != 1 or names[0] in classes:
        return None
    inside = folder / names[0]
    if names[0] == folder.name:
        return inside
    if part_of(names[0]) or any(each.suffix.lower() in SUFFIXES for each in folder.iterdir()):
        return None
    # a class's own folder holds images: this one holds folders, and one alone may be a wrapper too
    within = class_folders(inside)
    bare = not any(each.suffix.lower() in SUFFIXES for each in inside.iterdir())
    several = len(within) > 1 or containers(within) or _wrapped(inside, classes)
    return inside if bare and several else None


def check_no_containers(root: Path, names: list[str]) -> None:
    """Raise ArgumentError where the sub-folders `names` hold images or masks, not classes."""
    holding = containers(names)
    others = {*names} - {*holding} - {*masks(names)}
    if holding and not others and (len(names) > 1 or class_folders(root / names[0])):
        raise ArgumentError(
            f"ImageFolder: {', '.join(names)} in {root} hold images, or masks of them, and aren't "
            f"classes: write data.image_parts({str(root)!r}), which reads a table beside them too, "
            f"or ImageFolder({str(root / holding[0])!r}) if the classes are folders there"
        )
