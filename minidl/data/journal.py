"""What HDF5Writer keeps of a file that isn't whole yet, so that a kill loses next to nothing.

A hidden folder beside the file:

    .NAME.partial/rows.bin      rows, one after the other
    .NAME.partial/labels.bin    their labels, each written once its row is on the disk
    .NAME.partial/names.bin     their names in UTF-8, a zero byte after each, written before labels
    .NAME.partial/skipped.json  [rows before it, name, reason] of each item left out, one a line
    .NAME.partial/meta.json     what kind of rows they are
"""

import json
import math
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from minidl.constants.tasks import CLASSES
from minidl.errors import FileFormatError, StateError

__all__ = ["Journal", "check_target", "left_by"]

ROWS, LABELS, NAMES = "rows.bin", "labels.bin", "names.bin"
SKIPPED, META = "skipped.json", "meta.json"


def check_target(path: Path, overwrite: bool, resume: bool) -> None:
    """Raise FileExistsError where the file `path`, or what is left of an interrupted writer, is
    in the way, and FileNotFoundError where its folder is missing."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to write {path.name} in")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: name a file in it")
    left = (_folder(path) / META).exists()
    if left and not (overwrite or resume):
        raise FileExistsError(
            f"an interrupted writer of {path} left rows in {_folder(path).name} beside it: "
            "continue with resume, or start over with overwrite"
        )
    # Of an interrupted writer the file was replaced already, or was to be.
    if path.exists() and not overwrite and not left:
        raise FileExistsError(f"{path} exists: name another file, or replace it with overwrite")


def left_by(path: Path) -> int:
    """Bytes of rows that an interrupted writer of the file `path` left; 0 if it left none."""
    folder = _folder(path)
    return (folder / ROWS).stat().st_size if (folder / META).exists() else 0


def _folder(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


def _locked(path: Path) -> BinaryIO | None:
    """A file that nobody else can lock until it is closed; None where the system has no locks.

    It stands beside the journal's folder, which `overwrite` removes.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    file = path.with_name(f".{path.name}.lock").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(file.fileno()), os.stat(file.name)):
            raise FileNotFoundError  # removed by a writer that was just done
    except OSError as error:
        file.close()
        raise FileExistsError(f"{path} is being written by another writer: let it end") from error
    return file


class Journal:
    """The rows written so far for the file `path`.

    meta: plain values that tell what kind of rows they are.  label: the shape and dtype of one.
    resume: continue a journal that is there, whose meta must be the same.
    rows: how many rows are there, with their labels.
    skipped: (name, reason) of items left out up to then.
    """

    def __init__(
        self,
        path: Path,
        meta: dict[str, Any],
        row_bytes: int,
        label: tuple[tuple[int, ...], np.dtype[Any]],
        resume: bool,
    ) -> None:
        self._label_shape, self._label_type = label
        self._label_bytes = math.prod(label[0]) * label[1].itemsize
        self.folder = _folder(path)
        self.rows = 0
        self.skipped: list[tuple[str, str]] = []
        self._row_bytes = row_bytes
        self._lock = _locked(path)
        try:
            if not (resume and (self.folder / META).exists()):
                self._begin(meta)
            self._check_meta(meta)
        except BaseException:
            self._unlock()
            raise
        rows, labels = ((self.folder / name).stat().st_size for name in (ROWS, LABELS))
        self.rows = min(rows // row_bytes, labels // self._label_bytes, len(self._ends()))
        self._read_skipped()
        # Not in append mode: what was half written is written again, at the same place.
        self._rows_file = (self.folder / ROWS).open("r+b", buffering=0)
        self._labels_file = (self.folder / LABELS).open("r+b", buffering=0)
        self._names_file = (self.folder / NAMES).open("r+b", buffering=0)
        self._names_bytes = int(self._ends()[self.rows - 1]) if self.rows else 0

    def _begin(self, meta: dict[str, Any]) -> None:
        """An empty journal, which is one from the moment that meta.json is there."""
        from minidl.io.atomic import atomic_write

        if self.folder.exists():
            (self.folder / META).unlink(missing_ok=True)
            shutil.rmtree(self.folder)
        self.folder.mkdir()
        for name in (ROWS, LABELS, NAMES, SKIPPED):
            (self.folder / name).touch()
        with atomic_write(self.folder / META) as temporary:
            temporary.write_text(json.dumps(meta) + "\n", encoding="utf-8")

    def _check_meta(self, meta: dict[str, Any]) -> None:
        try:
            found = json.loads((self.folder / META).read_text(encoding="utf-8"))
            before = {"task": CLASSES}  # of journals that older writers left
            kinds = {name: found.get(name, before.get(name)) for name in meta}
        except (ValueError, AttributeError, RecursionError) as error:
            raise FileFormatError(
                f"{self.folder / META} is damaged: remove the folder, or start over with overwrite"
            ) from error
        for name, value in meta.items():
            if kinds[name] != value:
                raise StateError(
                    f"can't continue the rows in {self.folder}: their {name} is "
                    f"{kinds[name]!r:.200}, expected {value!r:.200}: give what the interrupted "
                    "writer had, or start over with overwrite"
                )

    def _read_skipped(self) -> None:
        """Take up what was skipped by the last row; forget what came later, and half a line."""
        kept = []
        for line in (self.folder / SKIPPED).read_bytes().split(b"\n")[:-1]:
            try:
                at, name, reason = json.loads(line)
            except ValueError:
                break
            if at <= self.rows:
                kept.append(line + b"\n")
                self.skipped.append((name, reason))
        (self.folder / SKIPPED).write_bytes(b"".join(kept))

    def append(self, images: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> None:
        """Write rows to the disk; a second attempt after an error writes to the same place."""
        # Names of files that aren't UTF-8 come back as they were.
        text = "".join(f"{name}\0" for name in names).encode("utf-8", "surrogateescape")
        _write_at(self._rows_file, self.rows * self._row_bytes, images)
        _write_at(self._names_file, self._names_bytes, np.frombuffer(text, np.uint8))
        _write_at(self._labels_file, self.rows * self._label_bytes, labels)
        self._names_bytes += len(text)
        self.rows += len(images)

    def skip(self, at: int, name: str, reason: str) -> None:
        """Note an item that was left out after the first `at` rows."""
        with (self.folder / SKIPPED).open("ab") as file:
            file.write((json.dumps([at, name, reason]) + "\n").encode())
        self.skipped.append((name, reason))

    def images(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
        """Return the rows, (rows, *shape), unread."""
        return np.memmap(self.folder / ROWS, dtype, "r", shape=(self.rows, *shape))

    def labels(self) -> np.ndarray:
        """(rows, *shape of a label)"""
        count = self.rows * math.prod(self._label_shape)
        found = np.fromfile(self.folder / LABELS, self._label_type, count)
        return found.reshape(self.rows, *self._label_shape)  # (rows * ...,)

    def names(self) -> np.ndarray:
        """(bytes,) uint8: the rows' names, a zero byte after each."""
        return np.fromfile(self.folder / NAMES, np.uint8, self._names_bytes)

    def _ends(self) -> np.ndarray:
        """Return where each name in the file ends, after its zero byte."""
        return np.flatnonzero(np.fromfile(self.folder / NAMES, np.uint8) == 0) + 1

    def close(self) -> None:
        self._rows_file.close()
        self._names_file.close()
        self._labels_file.close()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            Path(self._lock.name).unlink(missing_ok=True)
            self._lock.close()
            self._lock = None

    def remove(self) -> None:
        """Close it and remove it from the disk, as far as the system allows."""
        self.close()
        (self.folder / META).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def _write_at(file: BinaryIO, start: int, array: np.ndarray) -> None:
    """Write an array's bytes to a place of the file, and wait for the disk."""
    view = array.data.cast("B")  # flat: bytes in C order
    file.seek(start)
    while view:
        view = view[file.write(view) :]
    os.fsync(file.fileno())
