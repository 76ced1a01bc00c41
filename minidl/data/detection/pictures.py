"""Where the images of a detection set are: files, members of a zip archive, arrays."""

import io
import os
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np

from minidl.data.images import SUFFIXES, image_size, read_image, read_image_file
from minidl.errors import FileFormatError

__all__ = ["ArrayPicture", "FilePicture", "Picture", "Place", "place_of"]

MOST_BYTES = 2**28  # of a member of an archive


class Picture(Protocol):
    """An image that isn't decoded yet."""

    def read(self) -> np.ndarray:
        """Return its pixels, (H, W, 3) uint8, RGB, upright."""

    def size(self) -> tuple[int, int]:
        """Return (H, W), without decoding it where that can be."""

    def is_turned(self) -> bool:
        """Return whether EXIF data turn it."""


class ArrayPicture:
    """An image in memory."""

    def __init__(self, pixels: np.ndarray) -> None:
        self._pixels = pixels

    def read(self) -> np.ndarray:
        return self._pixels

    def size(self) -> tuple[int, int]:
        height, width = self._pixels.shape[:2]
        return height, width

    def is_turned(self) -> bool:
        return False


class FilePicture:
    """An image in a file of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> np.ndarray:
        return read_image(self.path)

    def size(self) -> tuple[int, int]:
        with self.path.open("rb") as file:
            return image_size(file, str(self.path))[0]

    def is_turned(self) -> bool:
        with self.path.open("rb") as file:
            return image_size(file, str(self.path))[1]


class _Member:
    """An image in a zip archive."""

    def __init__(self, archive: "_Archive", member: str) -> None:
        self._archive, self._member = archive, member

    def read(self) -> np.ndarray:
        return read_image_file(*self._opened())

    def size(self) -> tuple[int, int]:
        return image_size(*self._opened())[0]

    def is_turned(self) -> bool:
        return image_size(*self._opened())[1]

    def _opened(self) -> tuple[io.BytesIO, str]:
        name = f"{self._archive.path}: {self._member}"
        return io.BytesIO(self._archive.bytes(self._member)), name


class _Archive:
    """A zip archive, opened anew for each member: several threads and processes may read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"])  # type: ignore[misc]

    def names(self) -> list[str]:
        with self._lock, self._open() as archive:
            return [info.filename for info in archive.infolist() if not info.is_dir()]

    def bytes(self, member: str) -> bytes:
        with self._lock, self._open() as archive:
            size = archive.getinfo(member).file_size
            if size > MOST_BYTES:
                raise FileFormatError(
                    f"{self.path}: {member} takes {size:,} bytes, expected at most {MOST_BYTES:,}"
                )
            try:
                return archive.read(member)
            except (zipfile.BadZipFile, RuntimeError, NotImplementedError, ValueError) as error:
                raise FileFormatError(f"{self.path}: {member} can't be read: {error}") from error

    def _open(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self.path)
        except zipfile.BadZipFile as error:
            raise FileFormatError(f"{self.path}: the zip archive is damaged: {error}") from error


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
            pure = PurePosixPath(name)
            keys = {name, str(pure.with_suffix("")), pure.name, pure.stem}
            for key in keys:
                self._found.setdefault(key, []).append(name)

    def look_up(self, name: str) -> list[str]:
        """Return the images that a name may mean: by path, else by the last part of it.

        What doesn't end like an image, such as YOLO's, is taken to lack its suffix.
        """
        wanted = name.replace("\\", "/").removeprefix("./")
        pure = PurePosixPath(wanted)
        if wanted in self._found or pure.name in self._found:
            return self._found.get(wanted) or self._found[pure.name]
        if pure.suffix.lower() in SUFFIXES:
            return []
        return self._found.get(str(pure), [])

    def picture(self, name: str) -> Picture:
        """Return the image of this path."""
        if self._archive is not None:
            return _Member(self._archive, name)
        return FilePicture(self.path / name)

    def _walk(self) -> Iterator[str]:
        if self._archive is not None:
            names = self._archive.names()
        else:
            names = [
                (Path(folder) / file).relative_to(self.path).as_posix()
                for folder, _, files in os.walk(self.path, followlinks=True)
                for file in files
            ]
        for name in names:
            pure = PurePosixPath(name)
            if pure.suffix.lower() in SUFFIXES and not pure.name.startswith("."):
                yield name


def place_of(path: Path) -> Place:
    """Return the folder or zip archive `path`; raises where it is neither."""
    if not path.exists():
        raise FileNotFoundError(f"there is no {path}")
    if path.is_file() and not zipfile.is_zipfile(path):
        raise FileFormatError(f"{path}: expected a folder of images or a zip archive of them")
    return Place(path)
