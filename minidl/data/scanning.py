"""Finding the image files in a folder and below it, links included, and what is passed over."""

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from minidl.data.containers import MASK, mask_files, masks
from minidl.data.images import SUFFIXES
from minidl.data.parts import is_system
from minidl.errors import ArgumentError

__all__ = ["HIDDEN", "NOWHERE", "NO_CLASS", "SYSTEM", "Scan", "images_in", "kinds"]

HIDDEN, NO_CLASS = "hidden", "not in a folder of a class"
NOWHERE = "a link that leads nowhere"
SYSTEM = "a folder of a program's, not of images"


def images_in(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the image files in a folder, without those of its sub-folders, sorted by name."""
    with os.scandir(folder) as entries:
        found = [Path(e.path) for e in entries if not e.is_dir() and _why_not(e) is None]
    return sorted(found, key=lambda path: path.name)


class Scan:
    """Look for images in several folders below `root`, following links.

    passed_over: (path relative to the root, reason) of all that was found and isn't taken.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.passed_over: list[tuple[str, str]] = []
        self._above = _with_parents(root)
        self._folders: dict[str, tuple[Path, Path]] = {}  # real path -> (as found, its top)
        self._files: list[tuple[Path, Path]] = []  # (as found, its top)
        self._linked = False  # whether any of these is a link

    def images(self, top: Path) -> list[Path]:
        """Return the images in the folder `top` and below it, in the order of their names.

        Raises ArgumentError where links make a folder, or an image, part of two tops.
        """
        found: list[Path] = []
        self._visit(top, top, self._above | _with_parents(top), found)
        self._files += [(path, top) for path in found]
        return sorted(found, key=lambda path: path.relative_to(top).parts)

    def check_links(self) -> None:
        """Raise ArgumentError where a link makes an image part of two tops."""
        if not self._linked:
            return
        real: dict[str, tuple[Path, Path]] = {}
        for path, top in self._files:
            other, its_top = real.setdefault(os.path.realpath(path), (path, top))
            if its_top != top:
                raise _in_two(other, path)

    def pass_over(self, path: Path, reason: str) -> None:
        """Note what isn't taken."""
        self.passed_over.append((path.relative_to(self.root).as_posix(), reason))

    def _visit(self, folder: Path, top: Path, above: set[str], found: list[Path]) -> None:
        real = os.path.realpath(folder)
        before = self._folders.setdefault(real, (folder, top))
        if before[0] != folder:
            if before[1] != top:
                raise _in_two(before[0], folder)
            self.pass_over(
                folder, f"the same folder as {before[0].relative_to(self.root).as_posix()}"
            )
            return
        with os.scandir(folder) as found_here:
            entries = sorted(found_here, key=lambda entry: entry.name)
            reasons = {entry.name: _why_not(entry) for entry in entries}
            taken = [entry for entry in entries if reasons[entry.name] is None]
            of_images = {*masks([entry.name for entry in taken if entry.is_dir()])}
            of_images |= mask_files(entry.name for entry in taken if not entry.is_dir())
            for entry in entries:
                path = folder / entry.name
                if reason := MASK if entry.name in of_images else reasons[entry.name]:
                    self.pass_over(path, reason)
                elif not entry.is_dir():
                    self._linked = self._linked or entry.is_symlink()
                    found.append(path)
                elif entry.is_symlink() and os.path.realpath(path) in above | {real}:
                    self.pass_over(path, "a link to a folder that holds it")
                else:
                    self._visit(path, top, above | {real}, found)


def _why_not(entry: os.DirEntry[str]) -> str | None:
    """Why an entry is neither an image nor a folder to look in."""
    if entry.name.startswith("."):
        return HIDDEN
    if entry.is_symlink() and not os.path.exists(entry):  # also what leads to itself
        return NOWHERE
    if entry.is_dir():
        return SYSTEM if is_system(entry) else None
    suffix = os.path.splitext(entry.name)[1].lower()
    if suffix not in SUFFIXES:
        return f"no image by its suffix, {suffix}" if suffix else "no image: it has no suffix"
    return None if entry.is_file() else "not a file"


def _with_parents(path: Path) -> set[str]:
    real = Path(os.path.realpath(path))
    return {str(real), *map(str, real.parents)}


def _in_two(one: Path, other: Path) -> ArgumentError:
    return ArgumentError(
        f"ImageFolder: {one} and {other} are the same by a link, so that its images would be of "
        "two classes: remove the link"
    )


def kinds(passed_over: Iterable[tuple[str, str]], most: int = 8) -> list[str]:
    """Lines that count what was passed over by its reason, with an example of each."""
    passed_over = list(passed_over)
    counts = Counter(reason for _, reason in passed_over)
    example: dict[str, str] = {}
    for name, reason in passed_over:
        example.setdefault(reason, name)
    lines = [
        f"{count:,} {reason} ({'such as ' if count > 1 else ''}{example[reason]})"
        for reason, count in counts.most_common(most)
    ]
    rest = sum(counts.values()) - sum(count for _, count in counts.most_common(most))
    return [*lines, *([f"{rest:,} for other reasons"] if rest else [])]
