"""Image files with labels: a folder for each class."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from minidl.checks import positive
from minidl.data.containers import check_no_containers
from minidl.data.dataset import Dataset, as_labels
from minidl.data.images import Size, check_size, read_image
from minidl.data.parts import check_no_parts, class_folders
from minidl.data.scanning import HIDDEN, NO_CLASS, NOWHERE, SYSTEM, Scan, kinds
from minidl.errors import ArgumentError, FileFormatError

__all__ = ["ImageFiles", "ImageFolder", "reason_of"]


class ImageFiles(Dataset):
    """Image files below the folder `root`: item i is (image (H, W, 3) uint8 RGB, label ()).

    paths: where the N images are.  labels: (N,) int64, numbers of classes, or (N, C) float32: which
        of C labels an image has, or C numbers that are to be predicted.
    classes: the names of the classes, the labels or the numbers.
    size, fit: as `minidl.data.images.read_image` takes them.
    passed_over: (name, reason) of what was found beside them and isn't taken.
    """

    def __init__(
        self,
        root: Path,
        paths: Sequence[Path],
        labels: Sequence[int] | np.ndarray,
        classes: Sequence[str],
        *,
        size: Size | None = None,
        fit: str = "crop",
        passed_over: Sequence[tuple[str, str]] = (),
    ) -> None:
        check_size(size, fit)
        self.root = root
        self.paths = list(paths)
        self.labels = as_labels(labels)
        self.classes = list(classes)
        self.size, self.fit = size, fit
        self.passed_over = list(passed_over)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        """Raises FileFormatError naming the file that can't be read."""
        image = read_image(self.paths[index], self.size, self.fit)
        return image, np.asarray(self.labels[index])

    def name(self, index: int) -> str:
        """What image `index` is called: its path relative to the root, with forward slashes."""
        path = self.paths[index]
        return (path.relative_to(self.root) if path.is_relative_to(self.root) else path).as_posix()

    def drop_unreadable(self, workers: int = 2) -> list[tuple[Path, str]]:
        """Read every image, and leave out those that can't be; (path, reason) of each of these.

        workers: threads that read.
        Raises FileFormatError, and leaves nothing out, if a class would lose all its images.
        """
        workers = positive("drop_unreadable", "workers", workers)
        with ThreadPoolExecutor(workers, thread_name_prefix="minidl-images") as pool:
            reasons = list(pool.map(self._why_unreadable, self.paths))
        readable = np.array([reason is None for reason in reasons])
        if self.labels.ndim == 1:
            self._check_no_class_is_lost(readable, reasons)
        elif not readable.any():
            raise FileFormatError(
                f"none of the images can be read, for example {self.paths[0]}: {reasons[0]}"
            )
        bad = [(path, why) for path, why in zip(self.paths, reasons) if why is not None]
        self.paths = [path for path, good in zip(self.paths, readable) if good]
        self.labels = self.labels[readable]
        return bad

    def _check_no_class_is_lost(self, readable: np.ndarray, reasons: list[str | None]) -> None:
        for label in np.setdiff1d(self.labels, self.labels[readable]):
            first = int(np.flatnonzero(self.labels == label)[0])
            raise FileFormatError(
                f"none of the images of class {self.classes[label]!r} can be read, for example "
                f"{self.paths[first]}: {reasons[first]}"
            )

    def _why_unreadable(self, path: Path) -> str | None:
        try:
            read_image(path, self.size, self.fit)
        except (FileFormatError, OSError) as error:
            return reason_of(error, path)
        return None


def reason_of(error: Exception, path: Path) -> str:
    """Why an image can't be read, without its name."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).removeprefix(f"{path}: ")


class ImageFolder(ImageFiles):
    """A folder with a sub-folder of images for each class.

    root: the folder. Images are found by their suffix in each sub-folder and below it, links
        included, and stand in the order of their names. What is hidden (starts with a dot) or has
        another suffix is listed in `passed_over`, and so are masks beside their images.
    size, fit: as `minidl.data.images.read_image` takes them. Batches need one size for all.
    classes: their names in the order of their labels, where these must be those of another
        folder; otherwise the sub-folders' names, sorted.
    Raises FileNotFoundError for a missing folder, ArgumentError for one without classes or whose
    sub-folders are parts (`image_parts` reads those), a class without images, an image that links
    make part of two classes, or other classes than asked for.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        size: Size | None = None,
        fit: str = "crop",
        classes: Sequence[str] | None = None,
    ) -> None:
        top = Path(root)
        found = _class_folders(top)
        if classes is None:
            check_no_parts(top, found)
            check_no_containers(top, found)
        names = found if classes is None else _same_classes(top, found, classes)
        scan = Scan(top)
        for each in sorted(top.iterdir()):
            if each.name not in found:
                scan.pass_over(each, _why_no_class(each))
        paths: list[Path] = []
        labels: list[int] = []
        for label, name in enumerate(names):
            before = len(scan.passed_over)
            of_class = scan.images(top / name)
            if not of_class:
                there = kinds(scan.passed_over[before:], 3)
                raise ArgumentError(
                    f"ImageFolder: {top / name} holds no image, so class {name!r} would be empty: "
                    f"remove the folder, or put images there (.jpg, .png, ...); "
                    f"found: {'; '.join(there) or 'nothing'}"
                )
            paths += of_class
            labels += [label] * len(of_class)
        scan.check_links()
        super().__init__(
            top, paths, labels, names, size=size, fit=fit, passed_over=scan.passed_over
        )


def _class_folders(root: Path) -> list[str]:
    if not root.exists():
        raise FileNotFoundError(f"ImageFolder: there is no folder {root}")
    if not root.is_dir():
        raise NotADirectoryError(f"ImageFolder: {root} is a file, expected a folder")
    names = class_folders(root)
    if not names:
        raise ArgumentError(
            f"ImageFolder: {root} has no sub-folders: put the images of each class in one, such as "
            f"{root / 'cats'} and {root / 'dogs'}; data.image_parts reads other layouts too"
        )
    return names


def _why_no_class(path: Path) -> str:
    if path.name.startswith("."):
        return HIDDEN
    if path.is_dir():
        return SYSTEM
    return NO_CLASS if path.exists() else NOWHERE


def _same_classes(root: Path, found: list[str], classes: Sequence[str]) -> list[str]:
    missing, unknown = sorted(set(classes) - set(found)), sorted(set(found) - set(classes))
    if missing or unknown or len(set(classes)) < len(classes):
        raise ArgumentError(
            f"ImageFolder: expected the sub-folders {', '.join(map(str, classes))} in {root}, "
            f"missing: {', '.join(missing) or 'none'}; unexpected: {', '.join(unknown) or 'none'}: "
            "put images of every class in each part, or take the class out of all parts"
        )
    return list(classes)
