"""Image files of classes: a folder a class, or a list in a CSV file."""

import csv
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from minidl.data.dataset import Dataset
from minidl.data.images import SUFFIXES, Size, check_size, read_image
from minidl.errors import ArgumentError, FileFormatError

__all__ = ["ImageFiles", "ImageFolder", "ImageList", "reason_of"]


class ImageFiles(Dataset):
    """Image files below the folder `root`: item i is (image (H, W, 3) uint8 RGB, label ()).

    paths: where the N images are.  labels: (N,) int64, numbers of classes.
    classes: their names.  size, fit: as `minidl.data.images.read_image` takes them.
    """

    def __init__(
        self,
        root: Path,
        paths: Sequence[Path],
        labels: Sequence[int] | np.ndarray,
        classes: Sequence[str],
        size: Size | None = None,
        fit: str = "crop",
    ) -> None:
        check_size(size, fit)
        self.root = root
        self.paths = list(paths)
        self.labels = np.asarray(labels, np.int64)
        self.classes = list(classes)
        self.size, self.fit = size, fit

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
        if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
            raise ArgumentError(f"workers must be a whole number from 1 up, got {workers!r}")
        with ThreadPoolExecutor(workers, thread_name_prefix="minidl-images") as pool:
            reasons = list(pool.map(self._why_unreadable, self.paths))
        readable = np.array([reason is None for reason in reasons])
        for label in np.setdiff1d(self.labels, self.labels[readable]):
            first = int(np.flatnonzero(self.labels == label)[0])
            raise FileFormatError(
                f"none of the images of class {self.classes[label]!r} can be read, for example "
                f"{self.paths[first]}: {reasons[first]}"
            )
        bad = [(path, why) for path, why in zip(self.paths, reasons) if why is not None]
        self.paths = [path for path, good in zip(self.paths, readable) if good]
        self.labels = self.labels[readable]
        return bad

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

    root: the folder. Images are found by their suffix in each sub-folder and below it, and stand
        in the order of their names; what is hidden (starts with a dot) is passed over.
    size, fit: as `minidl.data.images.read_image` takes them. Batches need one size for all.
    classes: their names in the order of their labels, where these must be those of another
        folder; otherwise the sub-folders' names, sorted.
    Raises FileNotFoundError for a missing folder, ArgumentError for one without classes, a class
    without images, or other classes than asked for.
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
        names = found if classes is None else _same_classes(top, found, classes)
        paths: list[Path] = []
        labels: list[int] = []
        for label, name in enumerate(names):
            of_class = _images(top / name)
            if not of_class:
                raise ArgumentError(
                    f"ImageFolder: {top / name} holds no image, so class {name!r} would be "
                    f"empty: remove the folder, or put images there ({', '.join(sorted(SUFFIXES))})"
                )
            paths += of_class
            labels += [label] * len(of_class)
        super().__init__(top, paths, labels, names, size, fit)


def _class_folders(root: Path) -> list[str]:
    if not root.exists():
        raise FileNotFoundError(f"ImageFolder: there is no folder {root}")
    if not root.is_dir():
        raise NotADirectoryError(f"ImageFolder: {root} is a file, expected a folder")
    names = sorted(f.name for f in root.iterdir() if f.is_dir() and not f.name.startswith("."))
    if not names:
        raise ArgumentError(
            f"ImageFolder: {root} has no sub-folders: put the images of each class in one, such as "
            f"{root / 'cats'} and {root / 'dogs'}"
        )
    return names


def _same_classes(root: Path, found: list[str], classes: Sequence[str]) -> list[str]:
    missing, unknown = sorted(set(classes) - set(found)), sorted(set(found) - set(classes))
    if missing or unknown or len(set(classes)) < len(classes):
        raise ArgumentError(
            f"ImageFolder: expected the sub-folders {', '.join(map(str, classes))} in {root}, "
            f"missing: {', '.join(missing) or 'none'}; unexpected: {', '.join(unknown) or 'none'}"
        )
    return list(classes)


def _images(folder: Path) -> list[Path]:
    """The images in a folder and below it, in the order of their names."""
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            Path(parent, name)
            for name in files
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES
        ]
    return sorted(found, key=lambda path: path.relative_to(folder).parts)


class ImageList(ImageFiles):
    """Image files that a CSV file lists, with their classes.

    csv_path: a table whose first row names its columns; row i is item i.
    root: the folder that files are relative to; None: the CSV file's own.
    size, fit: as `minidl.data.images.read_image` takes them.
    label_column: its texts are the classes' names. They are sorted: as numbers if all are whole
        numbers, otherwise as text.
    Raises FileFormatError for what is no such table, FileNotFoundError for files that aren't there.
    """

    def __init__(
        self,
        csv_path: str | os.PathLike[str],
        root: str | os.PathLike[str] | None = None,
        size: Size | None = None,
        fit: str = "crop",
        file_column: str = "file",
        label_column: str = "label",
    ) -> None:
        folder = Path(csv_path).parent if root is None else Path(root)
        rows = _table(Path(csv_path), file_column, label_column)
        paths = [folder / file for file, _ in rows]
        if missing := [path for path in paths if not path.is_file()]:
            raise FileNotFoundError(
                f"{os.fspath(csv_path)}: {len(missing)} of the {len(paths)} files aren't there, "
                f"the first being {missing[0]}: give the folder they are relative to as root"
            )
        names = {label for _, label in rows}
        numbers = all(name.isdecimal() for name in names)
        classes = sorted(names, key=(lambda name: (int(name), name)) if numbers else None)
        number = {name: i for i, name in enumerate(classes)}
        super().__init__(folder, paths, [number[label] for _, label in rows], classes, size, fit)


def _table(path: Path, file_column: str, label_column: str) -> list[tuple[str, str]]:
    """(file, label) of every row."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines, strict=True)
            columns = reader.fieldnames or []
            if missing := [name for name in (file_column, label_column) if name not in columns]:
                raise FileFormatError(
                    f"{path}: expected a column {' and a column '.join(map(repr, missing))}, found "
                    f"{', '.join(columns) or 'none'}: name them with file_column= and label_column="
                )
            rows = [(row[file_column], row[label_column]) for row in reader]
    except (csv.Error, UnicodeDecodeError) as error:
        raise FileFormatError(f"{path}: expected a table in CSV (UTF-8): {error}") from error
    for number, row in enumerate(rows, 2):
        if not all(row):
            raise FileFormatError(f"{path}: row {number} lacks its file or its label")
    if not rows:
        raise FileFormatError(f"{path}: the table has no rows below its column names")
    return rows
