"""Where the images of a detection set are: files, members of a zip archive, arrays."""

import io
import os
import threading
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np

from minidl.data.images import SUFFIXES, image_size, read_image, read_image_file
from minidl.errors import FileFormatError

__all__ = ["ArrayPicture", "FilePicture", "Picture", "Place", "place_of"]

MOST_BYTES = 2**28  # of a member of an archive
# What zipfile raises on damaged, encrypted and unknown members
DAMAGE = (
    zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError,
)  # fmt: skip


class Picture(Protocol):
    """An image that isn't decoded yet."""

    def read(self) -> np.ndarray:
        """Return its pixels, (H, W, 3) uint8, RGB, upright."""

    def about(self) -> tuple[tuple[int, int], bool]:
        """Return (H, W), and whether EXIF data turn it, without decoding it where that can be."""


class ArrayPicture:
    """An image in memory."""

    def __init__(self, pixels: np.ndarray) -> None:
        self._pixels = pixels

    def read(self) -> np.ndarray:
        return self._pixels

    def about(self) -> tuple[tuple[int, int], bool]:
        height, width = self._pixels.shape[:2]
        return (height, width), False


class FilePicture:
    """An image in a file of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> np.ndarray:
        return read_image(self.path)

    def about(self) -> tuple[tuple[int, int], bool]:
        with self.path.open("rb") as file:
            return image_size(file, str(self.path))


class _Member:
    """An image in a zip archive."""

    def __init__(self, archive: "_Archive", member: str) -> None:
        self._archive, self._member = archive, member

    def read(self) -> np.ndarray:
        return read_image_file(*self._opened())

    def about(self) -> tuple[tuple[int, int], bool]:
        return image_size(*self._opened())

    def _opened(self) -> tuple[io.BytesIO, str]:
        name = f"{self._archive.path}: {self._member}"
        return io.BytesIO(self._archive.bytes(self._member)), name


class _Archive:
    """A zip archive that several threads may read; a process, forked ones too, opens its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._opened: tuple[int, zipfile.ZipFile] | None = None  # by which process

    def __getstate__(self) -> dict[str, Any]:
        return {"path": Path(os.path.abspath(self.path))}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"])  # type: ignore[misc]

    def names(self) -> list[str]:
        with self._lock:
            return [info.filename for info in self._zip().infolist() if not info.is_dir()]

    def bytes(self, member: str) -> bytes:
        with self._lock:
            size = self._zip().getinfo(member).file_size
            if size > MOST_BYTES:
                raise FileFormatError(
                    f"{self.path}: {member} takes {size:,} bytes, expected at most {MOST_BYTES:,}"
                )
            try:
                return self._zip().read(member)
            except DAMAGE as error:
                raise FileFormatError(f"{self.path}: {member} can't be read: {error}") from error

    def _zip(self) -> zipfile.ZipFile:
        if self._opened is None or self._opened[0] != os.getpid():
            try:
                self._opened = (os.getpid(), zipfile.ZipFile(self.path))
            except zipfile.BadZipFile as error:
                raise FileFormatError(
                    f"{self.path}: the zip archive is damaged: {error}"
                ) from error
        return self._opened[1]


class Place:
    """A folder or a zip archive that has images.

    names: the image files in it and below it, by their paths relative to it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._archive = _Archive(path) if path.is_file() else None
        self.names = sorted(self._walk())
        self._found: dict[str, list[str]] = {}  # by whole path, by name, and by name without suffix
        for name in self.names:
            pure = _pure(name)
            keys = {str(pure), str(pure.with_suffix("")), pure.name, pure.stem}
            for key in keys:
                self._found.setdefault(key, []).append(name)

    def look_up(self, name: str) -> list[str]:
        """Return the images that a name may mean: by path, else by the end of it.

        What doesn't end like an image, such as YOLO's, is taken to lack its suffix. Folders in the
        name and in the place may be fewer than in the other, but not different ones.
        """
        pure = _pure(name)
        wanted = str(pure)
        if wanted in self._found:
            return self._found[wanted]
        alike = [n for n in self._found.get(pure.name, ()) if _agree(pure, _pure(n))]
        return alike if alike or pure.suffix.lower() in SUFFIXES else self._found.get(str(pure), [])

    def picture(self, name: str) -> Picture:
        """Return the image of this path."""
        if self._archive is not None:
            return _Member(self._archive, name)
        return FilePicture(self.path / name)

    def _walk(self) -> Iterator[str]:
        names = self._archive.names() if self._archive is not None else _files(self.path)
        for name in names:
            pure = _pure(name)
            if pure.suffix.lower() in SUFFIXES and not pure.name.startswith("."):
                yield name


def _files(root: Path) -> Iterator[str]:
    """Yield the files below a folder, relative to it; links are followed, each folder once."""
    seen: set[str] = set()
    for folder, inside, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            inside.clear()
            continue
        seen.add(real)
        inside[:] = sorted(each for each in inside if not each.startswith("."))
        for file in files:
            yield (Path(folder) / file).relative_to(root).as_posix()


def _pure(name: str) -> PurePosixPath:
    """Return a path, of which archives and lists that were made on Windows have backslashes."""
    return PurePosixPath(name.replace("\\", "/"))


def _agree(one: PurePosixPath, other: PurePosixPath) -> bool:
    """Return whether the folders of one path are the last ones of the other's."""
    count = min(len(one.parts), len(other.parts)) - 1
    return count == 0 or one.parts[-count - 1 : -1] == other.parts[-count - 1 : -1]


def place_of(path: Path) -> Place:
    """Return the folder or zip archive `path`; raises where it is neither."""
    if not path.exists():
        raise FileNotFoundError(f"there is no {path}")
    if path.is_file() and not zipfile.is_zipfile(path):
        raise FileFormatError(f"{path}: expected a folder of images or a zip archive of them")
    return Place(path)
