"""Folders that hold the parts of a data set: train, validation and test, as people name them."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from minidl.errors import ArgumentError

__all__ = [
    "PARTS", "check_no_parts", "class_folders", "is_system", "part_folders", "part_of",
]  # fmt: skip

PARTS = ("train", "validation", "test")
WORDS = {
    "train": {"train", "training", "trainset", "trainingset", "trainval", "trn"},
    "validation": {
        "val",
        "valid",
        "validation",
        "valset",
        "validationset",
        "dev",
        "devset",
        "eval",
    },
    "test": {"test", "testing", "testset", "testingset", "tst"},
}
# Words that say nothing more of a part, as in training_set, seg_train, test1, train-images
BESIDE = {"set", "data", "dataset", "image", "images", "img", "imgs", "seg", "split", "folder"}
# Folders of systems and programs, whose images are none of the user's
SYSTEM = {"__macosx", "@eadir", "lost+found", "$recycle.bin", "system volume information"}


def part_of(name: str) -> str | None:
    """The part that a name stands for: "train", "validation" or "test"; None for any other name."""
    words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)]
    said = [word for word in words if word not in BESIDE and len(word) > 1]
    if len(said) != 1:
        return None
    return next((part for part, known in WORDS.items() if said[0] in known), None)


def is_system(folder: str | os.PathLike[str]) -> bool:
    """Return whether a folder belongs to a system or a program, such as minidl's own `runs`."""
    path = Path(folder)
    is_runs = path.name == "runs" and any(path.glob("*/settings.json"))
    return is_runs or path.name.lower() in SYSTEM


def class_folders(root: Path) -> list[str]:
    """Return the names of the sub-folders, or of links to folders, that aren't hidden; sorted."""
    return sorted(
        each.name for each in root.iterdir()
        if not each.name.startswith(".") and not is_system(each) and each.is_dir()
    )  # fmt: skip


def part_folders(root: Path) -> dict[str, Path]:
    """Return the sub-folder of each part, where there is one for training and one for another part.

    Raises ArgumentError where two sub-folders stand for one part.
    """
    found = _by_part(class_folders(root))
    if "train" not in found or len(found) < 2:
        return {}
    for part, names in found.items():
        if len(names) > 1:
            raise ArgumentError(
                f"{root} has several folders for the part {part}: {', '.join(names)}: leave one, "
                "or move the others elsewhere"
            )
    return {part: root / found[part][0] for part in PARTS if part in found}


def _by_part(names: Iterable[str]) -> dict[str, list[str]]:
    """The names that stand for each part: by themselves, or as pets_train does beside pets_test."""
    found: dict[str, list[str]] = {}
    named: dict[str, dict[str, list[str]]] = {}  # what else the names say -> part -> names
    for name in names:
        if (part := part_of(name)) is not None:
            found.setdefault(part, []).append(name)
        words = re.split(r"[\W_]+", name)
        parts = [part_of(word) for word in words]
        if len(said := [part for part in parts if part]) == 1:
            rest = " ".join(word for word, part in zip(words, parts) if not part)
            named.setdefault(rest, {}).setdefault(str(said[0]), []).append(name)
    alike = [each for each in named.values() if "train" in each and len(each) > 1]
    return alike[0] if not found and len(alike) == 1 else found


def _is_split(folder: Path) -> bool:
    found = _by_part(class_folders(folder))
    return "train" in found and len(found) > 1


def check_no_parts(root: Path, names: list[str]) -> None:
    """Raise ArgumentError where the sub-folders `names` are parts of a data set, not classes."""
    if parts := part_folders(root):
        raise ArgumentError(
            f"ImageFolder: {root} is split into parts, "
            f"{', '.join(folder.name for folder in parts.values())}, which aren't classes: write "
            f"data.image_parts({str(root)!r}), or ImageFolder({str(parts['train'])!r}) for one"
        )
    for name in names:
        inside = class_folders(root / name)
        if len(names) == 1 and _is_split(root / name):
            raise ArgumentError(
                f"ImageFolder: {root / name} is all there is in {root}, and is split into parts: "
                f"write data.image_parts({str(root / name)!r})"
            )
        alone = all(part_of(other) for other in names)
        if part_of(name) and (alone or len(inside) > 1):
            raise ArgumentError(
                f"ImageFolder: {root / name} seems to be a part of a data set, not a class: write "
                f"ImageFolder({str(root / name)!r}), or give the folder the class's name"
            )
    each = [_by_part(class_folders(root / name)) for name in names]
    if len(names) > 1 and all(_is_split(root / name) for name in names):
        raise ArgumentError(
            f"ImageFolder: each class in {root} is split into parts, such as "
            f"{', '.join(name for found in each[0].values() for name in found)} in {names[0]}, "
            "which would be mixed: move them so that parts hold classes, such as "
            f"{root / each[0]['train'][0] / names[0]}"
        )
