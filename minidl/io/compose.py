"""The structures of an HDF5 file, composed in memory around the numbers it is to hold."""

import io
import os
from collections.abc import Iterator
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
    """The file as HDF5 composes it, in memory: only pages that were written to take any."""

    PAGE = 4096

    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = {}
        self._at = 0
        self.size = 0

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        """(start, bytes) of all that was written, in order; what lies between is nothing yet."""
        for number in sorted(self._pages):
            start = number * self.PAGE
            yield start, bytes(self._pages[number][: self.size - start])

    def write(self, data: Any) -> int:
        data = memoryview(data).cast("B")
        for page, inside, part in self._parts(len(data)):
            stored = self._pages.setdefault(page, bytearray(self.PAGE))
            stored[inside] = data[part]
        self._at += len(data)
        self.size = max(self.size, self._at)
        return len(data)

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")[: max(0, self.size - self._at)]
        for page, inside, part in self._parts(len(view)):
            view[part] = self._pages.get(page, bytearray(self.PAGE))[inside]
        self._at += len(view)
        return len(view)

    def _parts(self, length: int) -> Iterator[tuple[int, slice, slice]]:
        """Each page from here on, with the range inside it and inside the `length` bytes."""
        done = 0
        while done < length:
            page, offset = divmod(self._at + done, self.PAGE)
            count = min(self.PAGE - offset, length - done)
            yield page, slice(offset, offset + count), slice(done, done + count)
            done += count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def truncate(self, size: int | None = None) -> int:
        self.size = self._at if size is None else size
        return self.size

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


def compose(
    content: Content, block: int, compression: str | None
) -> tuple[Structure, dict[str, int]]:
    """The HDF5 structures, and where in the file the numbers of each plain dataset belong.

    block: the size of the user block in front of them.
    """
    structure, places = Structure(), {}
    # Version 1.10 of the format gives HDF5's own structures checksums too; it dates from 2016.
    with h5py.File(
        structure, "w", libver=("v110", "v110"), userblock_size=block, track_order=True
    ) as file:
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
        for name, attributes in content.attributes.items():
            owner = file[name] if name in content.arrays else _group(file, name)
            for key, value in attributes.items():
                owner.attrs[key] = np.bytes_(value.encode()) if isinstance(value, str) else value
    return structure, places


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
    file: BinaryIO, content: Content, block: int = 0, compression: str | None = None
) -> list[tuple[int, int]]:
    """Write `content` as HDF5 to an empty file; (start, length) of each range of plain numbers.

    HDF5 only composes the structures, in memory; the numbers go from their arrays to the disk
    without a copy, and a full disk is an error of the operating system's, not a half-written file.
    """
    structure, places = compose(content, block, compression)
    for start, piece in structure.pieces():
        file.seek(start)
        file.write(piece)
    for name, start in places.items():
        file.seek(start)
        file.write(content.arrays[name].data)
    file.truncate(structure.size)
    file.flush()
    return sorted((start, content.arrays[name].nbytes) for name, start in places.items())
