"""HDF5Dataset: rows of a file that HDF5Writer or `minidl build` wrote, read as they are asked for.

HDF5 reads the file's structures only, once they are verified. They tell where the rows stand,
which are then read as plain bytes, a block at a time, each against its CRC-32.
"""

import json
import math
import os
import threading
import weakref
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import numpy as np

from minidl.checks import whole
from minidl.constants.tasks import CLASSES, LABELS, TASKS
from minidl.data.dataset import Dataset
from minidl.data.hdf5_writer import DTYPES, FORMAT, FORMAT_VERSION
from minidl.errors import ArgumentError, FileFormatError, ShapeError, StateError

__all__ = ["ANY_SIZE", "HDF5Dataset", "read_at"]

ANY_SIZE = 2**63  # of a file that is read by rows
OF_A_PROCESS = ("_file", "_lock", "_kept")

_opened: "weakref.WeakSet[HDF5Dataset]" = weakref.WeakSet()


def _in_a_fork() -> None:
    """Of the parent's threads none is there that would release a lock it held."""
    for dataset in _opened:
        dataset._start_afresh()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_a_fork)


class HDF5Dataset(Dataset):
    """Item i is (row (*shape), label) of a file; the file may be larger than memory.

    The label is () int64 or, of the tasks "labels" and "numbers", (L,) float32: see HDF5Writer.

    shape: what a row must be.
    cache: bytes of memory for blocks of rows that were read last.
    labels: of all rows; classes: their names, or None; task: what they tell; mean and std (C,)
    float64, over all axes of the rows but the last; shape and dtype of a row; source: what its
    writer was told.

    Several threads may read at once, several processes, forked ones too, and several datasets one
    file. A copy, or what was pickled, opens the file anew, with an empty cache.
    Raises ArgumentError for a negative cache, FileFormatError for other files and damaged ones,
    naming the block whose bytes aren't those that were written; ShapeError for other rows than
    asked for; OSError where the system refuses. It is a context manager; a closed one raises
    StateError.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        shape: Sequence[int] | None = None,
        cache: int = 256 * 2**20,
    ) -> None:
        from minidl.io.sealed import open_sealed

        cache = whole("HDF5Dataset", "cache", cache, 0)
        self.path = os.fspath(path)
        try:
            with open_sealed(path, {FORMAT: FORMAT_VERSION}, ANY_SIZE) as (_, file):
                self._describe(file)
        except FileFormatError as error:
            raise FileFormatError(f"{error}; `minidl build` writes files of images") from error
        if shape is not None and tuple(shape) != self.shape:
            raise ShapeError(
                f"{self.path}: expected rows of shape {tuple(shape)}, found {self.shape}: build "
                "the file anew with that size"
            )
        block_bytes = self._block_rows * math.prod(self.shape) * self.dtype.itemsize
        self._room = max(1, cache // block_bytes)  # blocks that are kept
        self._open()

    def _open(self) -> None:
        self._start_afresh()
        self._file: Any = open(self.path, "rb", buffering=0)  # noqa: SIM115
        weakref.finalize(self, self._file.close)  # for those who don't
        _opened.add(self)

    def _start_afresh(self) -> None:
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()  # the one used last comes last
        self._lock = threading.Lock()  # of the file and of `_kept`

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in vars(self).items() if name not in OF_A_PROCESS}
        return state | {"path": os.path.abspath(self.path), "closed": self._file.closed}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Should the file be another one by now, its blocks don't have the checksums known."""
        closed = state.pop("closed")
        vars(self).update(state)
        self._open()
        if closed:
            self.close()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        images, labels = self.batch([index])
        return images[0], np.asarray(labels[0])

    def name(self, index: int) -> str:
        """Return what row `index` is called, such as its file; "image N" where that isn't known."""
        index = range(len(self))[index]
        if self._names is None:
            return f"image {index}"
        start = 0 if index == 0 else self._ends[index - 1]
        text = self._names[start : self._ends[index] - 1].tobytes()
        return text.decode("utf-8", "surrogateescape") or f"image {index}"

    def batch(self, indices: Sequence[int] | np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the rows of these numbers (n, *shape), and their labels (n,).

        Raises ArgumentError for other than whole numbers, IndexError for rows that aren't there.
        """
        wanted = np.asarray(indices)
        if wanted.ndim != 1 or not len(wanted) or wanted.dtype.kind not in "iu":
            raise ArgumentError(
                f"HDF5Dataset.batch expected whole numbers (n,), got {indices!r:.80}"
            )
        if wanted.min() < -len(self) or wanted.max() >= len(self):
            raise IndexError(
                f"{self.path} has rows 0 to {len(self) - 1}, asked for {indices!r:.80}"
            )
        wanted = np.where(wanted < 0, wanted + len(self), wanted)
        rows = np.empty((len(wanted), *self.shape), self.dtype)
        blocks = wanted // self._block_rows
        found, first = np.unique(blocks, return_index=True)
        for number in found[np.argsort(first)]:  # in the order asked for: earlier ones go first
            here = blocks == number
            rows[here] = self._block(int(number))[wanted[here] % self._block_rows]
        return rows, self.labels[wanted]

    def order(self, generator: np.random.Generator) -> np.ndarray:
        """Return the numbers (N,) of all rows, shuffled so that each block is read about once.

        Blocks are shuffled, then the rows within as many blocks as the cache holds: a full shuffle
        where it holds all.
        """
        blocks = generator.permutation(len(self._checksums))
        windows = [blocks[i : i + self._room] for i in range(0, len(blocks), self._room)]
        rows = np.arange(self._block_rows)
        shuffled = []
        for window in windows:
            inside = (window[:, np.newaxis] * self._block_rows + rows).reshape(-1)
            shuffled.append(generator.permutation(inside[inside < len(self)]))
        return np.concatenate(shuffled)

    def close(self) -> None:
        """Close the file, and free the memory."""
        with self._lock:
            self._file.close()
            self._kept.clear()

    def __enter__(self) -> "HDF5Dataset":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # Blocks

    def _block(self, number: int) -> np.ndarray:
        """Return the rows of a block (block_rows, *shape), or fewer at the end."""
        with self._lock:  # held while it is read: who asks for the same one shall not read it too
            block = self._kept.get(number)
            if block is None:
                block = self._kept[number] = self._read(number)
                while len(self._kept) > self._room:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(number)
            return block

    def _read(self, number: int) -> np.ndarray:
        if self._file.closed:
            raise StateError(f"this HDF5Dataset of {self.path} is closed")
        start = number * self._block_rows
        count = min(self._block_rows, len(self) - start)
        block = np.empty((count, *self.shape), self.dtype)
        view = block.data.cast("B")  # flat: bytes in C order
        place = self._place + start * (view.nbytes // count)
        while view:
            read = read_at(self._file, view, place)
            if not read:
                raise FileFormatError(f"{self.path}: block {number} of its images is cut off")
            view, place = view[read:], place + read
        found, expected = zlib.crc32(block.data), int(self._checksums[number])
        if found != expected:
            raise FileFormatError(
                f"{self.path}: block {number} of its images (rows {start} to {start + count - 1}) "
                f"is damaged: its bytes have CRC-32 {found:08x}, expected {expected:08x}: build "
                "the file anew"
            )
        return block

    # What the file says

    def _describe(self, file: Any) -> None:
        from minidl.io.sealed import read_verified

        places = self._places(file)
        entries = file.datasets()
        self._place, images = places["images"], entries["images"]
        self.shape, self.dtype = images.shape[1:], images.dtype.newbyteorder("<")
        self.labels = read_verified(file, "labels")
        self._checksums = read_verified(file, "checksums")
        self.mean, self.std = read_verified(file, "mean"), read_verified(file, "std")
        self._names = read_verified(file, "names") if "names" in places else None
        self._ends = (
            np.flatnonzero((self._names if self._names is not None else np.ones(0)) == 0) + 1
        )
        block_rows = file.attribute("block_rows", of="images")
        self.source = str(file.attribute("source") or "")
        self.classes = self._read_classes(file.attribute("classes"))
        self.task = str(file.attribute("task") or CLASSES)
        count = images.shape[0] if images.shape else 0
        fits = (
            self.shape
            and images.dtype.name in DTYPES
            and isinstance(block_rows, int)
            and block_rows >= 1
            and self._are_labels(count)
            and self._checksums.shape == (-(-count // block_rows),)
            and self._checksums.dtype == np.uint32
            and self.mean.shape == self.std.shape == self.shape[-1:]
            and (self._names is None or self._are_names(self._names, count))
        )
        if not fits:
            raise FileFormatError(f"{self.path}: its datasets don't fit together")
        self._block_rows = min(int(block_rows), count)

    def _are_labels(self, count: int) -> bool:
        labels, known = self.labels, self.classes
        if self.task == CLASSES:
            most = ANY_SIZE if known is None else len(known)
            whole = labels.shape == (count,) and labels.dtype == np.int64
            return bool(whole and labels.min() >= 0 and labels.max() < most)
        if self.task not in TASKS or not known or labels.shape != (count, len(known)):
            return False
        fits = labels.dtype == np.float32 and np.isfinite(labels).all()
        return bool(fits and (self.task != LABELS or np.isin(labels, (0, 1)).all()))

    def _are_names(self, names: np.ndarray, count: int) -> bool:
        whole = names.ndim == 1 and names.dtype == np.uint8 and len(names) > 0
        return bool(whole and names[-1] == 0 and len(self._ends) == count)

    def _places(self, file: Any) -> dict[str, int]:
        """Where each dataset stands: in the file itself, so that none takes more memory than it."""
        length = os.path.getsize(self.path)
        entries, places = file.datasets(), {}
        for name in ("images", "labels", "checksums", "mean", "std", "names"):
            if name == "names" and name not in entries:
                continue
            entry = entries.get(name)
            place = None if entry is None else file.place(name)
            if place is None or place + math.prod(entry.shape) * entry.dtype.itemsize > length:
                raise FileFormatError(f"{self.path}: expected a dataset {name!r} of plain numbers")
            places[name] = place
        return places

    def _read_classes(self, text: Any) -> list[str] | None:
        try:
            classes = json.loads(str(text))
        except (ValueError, RecursionError):
            classes = ()
        if classes is not None and not (
            isinstance(classes, list) and all(isinstance(name, str) for name in classes)
        ):
            raise FileFormatError(f"{self.path}: the names of its classes can't be read")
        return classes


def read_at(file: Any, view: memoryview, place: int) -> int:
    """Read into `view` from a place of the file; return how many bytes came.

    Forked processes share the file's own position, so it isn't used where the system allows.
    """
    if hasattr(os, "preadv"):
        return os.preadv(file.fileno(), [view], place)
    file.seek(place)
    return int(file.readinto(view))
