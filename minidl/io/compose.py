"""The structures of an HDF5 file, composed in memory around the numbers it is to hold."""

import io
import os
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import h5py
import numpy as np

__all__ = ["Content", "write_hdf5"]

CHUNK = 2**20  # bytes of a dataset that are compressed as one


@dataclass
class Content:
    """What a file is to hold: arrays and attributes by path, such as "conv1/weight"; "" is the
    file itself."""

    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    attributes: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, path: str, **attributes: Any) -> None:
        """Add attributes of a group or dataset."""
        self.attributes.setdefault(path, {}).update(attributes)


class Structure(io.RawIOBase):
    """The file as HDF5 composes it, in memory: only what is written takes any.

    HDF5 writes its structures where they belong, and nothing where the numbers will be.
    """

    def __init__(self) -> None:
        self._starts: list[int] = []  # of the pieces written, which never overlap, in order
        self._written: dict[int, bytearray] = {}
        self._at = 0
        self.size = 0

    def pieces(self) -> Iterator[tuple[int, bytearray]]:
        """(start, bytes) of all that was written, in order."""
        return ((start, self._written[start]) for start in self._starts)

    def write(self, data: Any) -> int:
        data = memoryview(data).cast("B")
        end = self._at + len(data)
        # What was written here before is taken up in the new piece.
        first = max(0, bisect_right(self._starts, self._at) - 1)
        last = bisect_left(self._starts, end)
        near = self._starts[first:last]
        touched = [s for s in near if s + len(self._written[s]) > self._at]
        start = min([self._at, *touched])
        stop = max([end, *(s + len(self._written[s]) for s in touched)])
        whole = bytearray(stop - start)
        for old in touched:
            piece = self._written.pop(old)
            whole[old - start : old - start + len(piece)] = piece
        whole[self._at - start : end - start] = data
        if touched:
            at = self._starts.index(touched[0])
            self._starts[at : at + len(touched)] = [start]
        else:
            insort(self._starts, start)
        self._written[start] = whole
        self._at = end
        self.size = max(self.size, end)
        return len(data)

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")[: max(0, self.size - self._at)]
        view[:] = bytes(len(view))
        first = max(0, bisect_right(self._starts, self._at) - 1)
        last = bisect_left(self._starts, self._at + len(view))
        for start in self._starts[first:last]:
            piece = self._written[start]
            low, high = max(start, self._at), min(start + len(piece), self._at + len(view))
            if low < high:
                view[low - self._at : high - self._at] = piece[low - start : high - start]
        self._at += len(view)
        return len(view)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def truncate(self, size: int | None = None) -> int:
        self.size = self._at if size is None else size
        for start in list(self._starts):
            del self._written[start][max(0, self.size - start) :]
            if start >= self.size:
                self._starts.remove(start)
                del self._written[start]
        return self.size

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


def _reserve_all(file: Any, content: Content, compression: str | None) -> dict[str, int]:
    """Make the datasets; where in the file the numbers of each plain one belong."""
    places = {}
    for name, array in content.arrays.items():
        parent, _, leaf = name.rpartition("/")
        group = _group(file, parent)
        if compression is None or not array.size or not array.ndim:
            dataset = _reserve(group, leaf, array)
            if array.nbytes:
                places[name] = dataset.id.get_offset()
        else:
            group.create_dataset(
                leaf, data=array, chunks=_chunks(array), compression=compression, shuffle=True
            )
    return places


def _add_attributes(file: Any, content: Content) -> None:
    for name, attributes in content.attributes.items():
        owner = file[name] if name in content.arrays else _group(file, name)
        for key, value in attributes.items():
            owner.attrs[key] = np.bytes_(value.encode()) if isinstance(value, str) else value


def _group(file: Any, path: str) -> Any:
    """The group at `path`, made if needed; groups list their members in the order of writing."""
    group = file
    for part in filter(None, path.split("/")):
        group = group[part] if part in group else group.create_group(part, track_order=True)
    return group


def _reserve(group: Any, name: str, array: np.ndarray) -> Any:
    """A dataset like `array` whose place in the file is fixed, and to which nothing is written."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.CONTIGUOUS)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    properties.set_obj_track_times(False)  # the same weights make the same file
    space = h5py.h5s.create_simple(array.shape) if array.ndim else h5py.h5s.create(h5py.h5s.SCALAR)
    kind = h5py.h5t.py_create(array.dtype)
    made = h5py.h5d.create(group.id, name.encode(), kind, space, properties)
    return h5py.Dataset(made)


def _chunks(array: np.ndarray) -> tuple[int, ...]:
    """The shape of a chunk: about a mebibyte of neighbours."""
    chunk, size = list(array.shape), array.nbytes
    for axis, length in enumerate(array.shape):
        rest = size // length
        chunk[axis] = min(length, max(1, CHUNK // rest))
        size = chunk[axis] * rest if chunk[axis] > 1 else rest
    return tuple(chunk)


def write_hdf5(
    file: BinaryIO,
    content: Content,
    block: int = 0,
    compression: str | None = None,
    meanwhile: Callable[[], None] = lambda: None,
) -> list[tuple[int, int]]:
    """Write `content` as HDF5 to an empty file; (start, length) of each range of plain numbers.

    HDF5 only composes the structures, in memory; the numbers go from their arrays to the disk
    without a copy, and a full disk is an error of the operating system's, not a half-written file.
    block: the size of the user block in front.
    meanwhile: called while the numbers are on their way to the disk; it may add attributes.

    It runs in a thread of its own: an interrupt reaches the main thread only, and one that
    struck where HDF5 calls `Structure` could be lost there, together with what it was writing.
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(_write, file, content, block, compression, meanwhile).result()


def _write(
    file: BinaryIO,
    content: Content,
    block: int,
    compression: str | None,
    meanwhile: Callable[[], None],
) -> list[tuple[int, int]]:
    structure = Structure()
    # Version 1.10 of the format gives HDF5's own structures checksums too; it dates from 2016.
    with h5py.File(
        structure, "w", libver=("v110", "v110"), userblock_size=block, track_order=True
    ) as hdf5:
        places = _reserve_all(hdf5, content, compression)
        for name, start in places.items():
            file.seek(start)
            file.write(content.arrays[name].data)
        file.flush()
        with ThreadPoolExecutor(1) as pool:
            synced = pool.submit(os.fsync, file.fileno())
            meanwhile()
            synced.result()
        _add_attributes(hdf5, content)
    for start, piece in structure.pieces():
        file.seek(start)
        file.write(piece)
    file.truncate(structure.size)
    file.flush()
    return sorted((start, content.arrays[name].nbytes) for name, start in places.items())
