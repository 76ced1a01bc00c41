"""HDF5Writer: images or features with their labels, for one HDF5 file that is read by rows.

Rows gather in a journal beside the file (`journal`); `close` makes the sealed file of them
(`minidl.io.sealed`). It has the datasets images (N, *shape), labels (N,) int64, or (N, L) float32
of the tasks "labels" and "numbers", mean and std (C,) float64 and checksums, uint32: the CRC-32 of
each block of `block_rows` rows (an attribute of images), the last block perhaps shorter; and, if
rows have names, names, uint8: these in UTF-8, each ended by a zero byte. The root's attributes are
format="minidl data", classes (JSON), source and, where it isn't "classes", task.
"""

import contextlib
import json
import math
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from minidl.checks import is_whole, positive
from minidl.constants.tasks import CLASSES, LABELS, TASKS
from minidl.data.journal import Journal, check_target
from minidl.data.statistics import ChannelStatistics
from minidl.errors import ArgumentError, DTypeError, ShapeError, StateError

__all__ = ["DTYPES", "FORMAT", "FORMAT_VERSION", "MOST_NAMES", "HDF5Writer"]

FORMAT, FORMAT_VERSION = "minidl data", 1
DTYPES = ("uint8", "float32")
BLOCK = 2**20  # bytes of rows under one checksum, about
MOST_WAITING = 2**24  # bytes of rows that wait in memory
MOST_NAMES = 60_000  # bytes of the classes' names: an attribute takes 64 KiB


class HDF5Writer:
    """Write rows to the HDF5 file `path`; it comes to stand there whole, at `close`, or not.

    shape: of a row, such as (H, W, C) or (features,).  dtype: "uint8" or "float32".
    classes: names of the labels; None: labels are whole numbers from 0 up.
    task: what the labels tell. "classes": which one it is of, a number a row; "labels": which of
        `classes` it has, 0 or 1 for each; "numbers": the numbers that `classes` names.
    overwrite: replace the file `path`, and forget what an interrupted writer left.
    resume: continue what an interrupted writer left, if there is any: `rows` are kept, and
        `skipped` items, (name, reason), came before the next one.
    buffer: rows that wait in memory until they are written together; fewer where these would take
        more than 16 MiB.
    source: a text that stands for what the rows are made from. The file holds it, and only a
        writer with the same text continues an interrupted one.

    As a context manager it closes the file at the end. An exception in the block keeps all rows
    for `resume`, as a kill keeps those that had been written. While it closes, the disk holds the
    rows twice. Mean and standard deviation are over all axes of the rows but the last.
    Raises ArgumentError for settings out of range, FileExistsError for files in the way, StateError
    for rows of another kind than those to continue, OSError, with what is kept, where the system
    refuses, such as on a full disk.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        shape: Sequence[int],
        dtype: str = "uint8",
        classes: Sequence[str] | None = None,
        overwrite: bool = False,
        resume: bool = False,
        buffer: int = 1024,
        source: str = "",
        task: str = CLASSES,
    ) -> None:
        self.path = Path(path)
        self.shape = _check_shape(shape)
        self.dtype = _check_dtype(dtype)
        self.classes = None if classes is None else [str(name) for name in classes]
        if len(json.dumps(self.classes)) > MOST_NAMES:
            raise ArgumentError(f"HDF5Writer: the classes' names take more than {MOST_NAMES} bytes")
        buffer = positive("HDF5Writer", "buffer", buffer)
        self.task = task
        label = _label_of(task, self.classes)
        self._row_bytes = math.prod(self.shape) * self.dtype.itemsize
        self._source = str(source)
        self._state = "open"  # or "failed", "closed"
        check_target(self.path, overwrite, resume)
        meta = {
            "version": FORMAT_VERSION, "shape": list(self.shape), "dtype": self.dtype.name,
            "classes": self.classes, "source": self._source, "task": task,
        }  # fmt: skip
        room = min(buffer, max(1, MOST_WAITING // self._row_bytes))
        self._images = np.empty((room, *self.shape), self.dtype)
        self._labels = np.empty((room, *label[0]), label[1])
        self._names: list[str] = []
        self._waiting = 0  # rows in these three
        self._journal = Journal(self.path, meta, self._row_bytes, label, resume)

    @property
    def rows(self) -> int:
        """How many rows have been written to the disk: those a kill would leave."""
        return self._journal.rows

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """(name, reason) of the items that were left out."""
        return list(self._journal.skipped)

    def add(
        self,
        images: np.ndarray,
        labels: np.ndarray | Sequence[Any],
        names: Sequence[str] | None = None,
    ) -> None:
        """Append rows: images (n, *shape) of the writer's dtype, and their labels.

        labels: whole numbers (n,) or, of the tasks "labels" and "numbers", (n, L).

        names: what the n rows are called, such as their files, for `HDF5Dataset.name`.
        """
        self._check_open()
        images, labels = np.asarray(images), np.asarray(labels)
        self._check_rows(images, labels)
        called = [""] * len(images) if names is None else _check_names(names, len(images))
        at = 0
        while at < len(images):
            count = min(len(images) - at, len(self._images) - self._waiting)
            place = slice(self._waiting, self._waiting + count)
            self._images[place] = images[at : at + count]
            self._labels[place] = labels[at : at + count]
            self._names += called[at : at + count]
            self._waiting += count
            at += count
            if self._waiting == len(self._images):
                self._flush()

    def skip(self, name: str, reason: str) -> None:
        """Note that the next item was left out: `rows` and `skipped` tell where to continue."""
        self._check_open()
        with self._keeping():
            self._journal.skip(self.rows + self._waiting, str(name), str(reason))

    def close(self) -> None:
        """Make the file of all rows; once it is made, nothing more happens.

        Raises StateError, and leaves nothing on the disk, if there are no rows.
        """
        if self._state == "closed":
            return
        self._check_open()
        try:
            self._flush()
        finally:
            self._journal.close()
        if self.rows:
            with self._keeping():
                self._compose()
        self._journal.remove()
        self._state = "closed"
        if not self.rows:
            why = "; ".join(f"{name}: {reason}" for name, reason in self.skipped[:1])
            raise StateError(
                f"HDF5Writer: {self.path} would be empty: no row was added, "
                f"{len(self.skipped)} were left out{why and f', such as {why}'}"
            )

    def discard(self) -> None:
        """Forget all rows, also those to continue with: nothing is left but an older file.

        After `close` nothing happens.
        """
        if self._state != "closed":
            self._journal.remove()
            self._state = "closed"

    def __enter__(self) -> "HDF5Writer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        elif self._state != "closed":
            if self._state == "open":
                with contextlib.suppress(OSError):
                    self._flush()
            self._state = "closed"
            if self.rows or self.skipped:
                self._journal.close()
                error.add_note(self._kept())
            else:
                self._journal.remove()

    def _flush(self) -> None:
        if self._waiting:
            count = self._waiting
            with self._keeping():
                self._journal.append(self._images[:count], self._labels[:count], self._names)
            self._waiting = 0
            self._names = []

    def _compose(self) -> None:
        from minidl.io.compose import Content
        from minidl.io.sealed import write_sealed

        images = self._journal.images(self.shape, self.dtype)
        block_rows = max(1, BLOCK // self._row_bytes)
        checksums, mean, std = _account(images, block_rows)
        content = Content({"images": images, "labels": self._journal.labels()})
        content.arrays |= {"checksums": checksums, "mean": mean, "std": std}
        if (names := self._journal.names()).any():
            content.arrays["names"] = names
        content.add("images", block_rows=block_rows)
        content.add("", classes=json.dumps(self.classes), source=self._source)
        if self.task != CLASSES:
            content.add("", task=self.task)
        write_sealed(self.path, content, (FORMAT, FORMAT_VERSION))

    @contextlib.contextmanager
    def _keeping(self) -> Iterator[None]:
        """Where the system refuses, say what is kept."""
        try:
            yield
        except OSError as error:
            if self._state == "open":
                self._state = "failed"
            reason = error.strerror or str(error)
            if not reason.startswith("minidl could not"):
                reason = f"minidl could not write {self._journal.folder}: {reason}"
            raise OSError(error.errno, f"{reason}; {self._kept()}") from error

    def _kept(self) -> str:
        folder = self._journal.folder.name
        return f"{self.rows} rows for {self.path} are kept in {folder}: continue with resume"

    def _check_open(self) -> None:
        if self._state == "failed":
            raise StateError(f"this HDF5Writer could not write; {self._kept()}, in a new one")
        if self._state == "closed":
            raise StateError(f"this HDF5Writer of {self.path} is closed")

    def _check_rows(self, images: np.ndarray, labels: np.ndarray) -> None:
        who = "HDF5Writer.add expected"
        if images.ndim != len(self.shape) + 1 or images.shape[1:] != self.shape:
            wanted = ", ".join(map(str, self.shape))
            raise ShapeError(f"{who} images (n, {wanted}), got {images.shape}")
        if images.dtype != self.dtype:
            raise DTypeError(
                f"{who} {self.dtype.name}, got {images.dtype}: convert the images, or make the "
                "writer with their dtype"
            )
        if self.task != CLASSES:
            self._check_targets(labels, len(images))
            return
        if labels.shape != (len(images),):
            raise ShapeError(f"{who} labels ({len(images)},), one a row, got {labels.shape}")
        if len(labels) and labels.dtype.kind not in "iu":
            raise DTypeError(f"{who} whole numbers as labels, got {labels.dtype}")
        most = 2**63 if self.classes is None else len(self.classes)
        if len(labels) and not (int(labels.min()) >= 0 and int(labels.max()) < most):
            raise ArgumentError(
                f"{who} labels from 0 to {most - 1}, got {labels.min()} to {labels.max()}"
            )

    def _check_targets(self, labels: np.ndarray, count: int) -> None:
        who, width = "HDF5Writer.add expected", self._labels.shape[1]
        if labels.shape != (count, width):
            raise ShapeError(
                f"{who} {self.task} ({count}, {width}), for each row one of each name, got "
                f"{labels.shape}"
            )
        if labels.dtype.kind not in "biuf":
            raise DTypeError(f"{who} {self.task} as numbers, got {labels.dtype}")
        if self.task == LABELS and not np.isin(labels, (0, 1)).all():
            raise ArgumentError(
                f"{who} 0 or 1 for each label, got {labels.min()} to {labels.max()}"
            )
        with np.errstate(over="ignore"):  # the error tells it
            held = labels.astype(np.float32)
        if not np.isfinite(held).all():
            raise ArgumentError(f"{who} numbers that float32 can hold, got {labels!r:.80}")


def _label_of(task: str, classes: Sequence[str] | None) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """The shape and dtype of a row's label."""
    if task not in TASKS:
        raise ArgumentError(f"HDF5Writer: task must be one of {', '.join(TASKS)}, got {task!r}")
    if task == CLASSES:
        return (), np.dtype("<i8")
    if not classes:
        raise ArgumentError(f"HDF5Writer: task={task!r} needs the names of the {task} as classes=")
    return (len(classes),), np.dtype("<f4")


def _account(images: np.ndarray, block_rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the CRC-32 of each block, and mean and standard deviation of the last axis.

    In blocks, so that they don't depend on how many rows were added at a time.
    """
    statistics = ChannelStatistics(images.shape[-1])
    checksums = []
    for start in range(0, len(images), block_rows):
        block = np.array(images[start : start + block_rows])
        checksums.append(zlib.crc32(block.data))
        statistics.add(block)
    return np.array(checksums, np.uint32), *statistics.result()


def _check_names(names: Any, count: int) -> list[str]:
    found = [] if isinstance(names, str | bytes) else list(names)
    if len(found) != count or not all(isinstance(name, str) and "\0" not in name for name in found):
        raise ArgumentError(
            f"HDF5Writer.add expected names ({count},), texts without zero characters, got "
            f"{names!r:.80}"
        )
    return found


def _check_shape(shape: Any) -> tuple[int, ...]:
    sizes = tuple(shape) if isinstance(shape, Sequence) else ()
    if not sizes or not all(is_whole(n) and n > 0 for n in sizes):
        raise ShapeError(
            f"HDF5Writer expected the shape of a row, such as (224, 224, 3), got {shape!r}"
        )
    return tuple(int(n) for n in sizes)


def _check_dtype(dtype: Any) -> np.dtype[Any]:
    try:
        found = np.dtype(dtype).name if dtype is not None else "None"
    except TypeError:
        found = repr(dtype)
    if found not in DTYPES:
        raise DTypeError(f"HDF5Writer writes {' or '.join(DTYPES)}, got {found}")
    return np.dtype(found).newbyteorder("<")
