"""The one reader of HDF5 files, minidl's own and other people's.

An HDF5 file can point at other files, name filters to be loaded as code, and declare
terabytes in a kilobyte. This reader takes plain numbers that are stored in the file itself and
refuses the rest with a FileFormatError, before it reads any of them.
"""

import contextlib
import math
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import h5py
import numpy as np

from minidl.checks import is_whole
from minidl.errors import ArgumentError, FileFormatError, MinidlError

__all__ = ["MAX_BYTES", "Entry", "GuardedFile", "open_guarded"]

MAX_BYTES = 4 * 2**30
MAX_OBJECTS = 8192  # groups and datasets together: a ResNet-152 has about a thousand
MAX_DEPTH = 32
PIECE = 2**18  # bytes read at a time where none are kept: what stays in a core's cache
MAX_STRING = 2**20  # bytes of an attribute of fixed length: the words of a captioner
MAX_STRINGS = 2**26  # bytes of all attributes together

DEFLATE, SHUFFLE = h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE
FILTERS = {DEFLATE, SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
NUMBERS = {h5py.h5t.INTEGER, h5py.h5t.FLOAT}

# What h5py raises on damaged files; a damaged length can overflow, a damaged name not decode.
DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError)


@dataclass(frozen=True)
class Entry:
    """What a dataset declares, known before any of it is read.

    dtype: in this machine's byte order.  cost: the bytes of memory that reading it takes.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    cost: int


@contextlib.contextmanager
def open_guarded(
    path: str | os.PathLike[str], max_bytes: int = MAX_BYTES
) -> Iterator["GuardedFile"]:
    """Open the HDF5 file `path` for guarded reading.

    max_bytes: the most that all its datasets together may take in memory.
    Raises FileFormatError for what isn't an HDF5 file or is damaged, and OSError where the system
    refuses.
    """
    with check_file(Path(path)) as file:
        start = file.read(8)
        with _damage(path, "looking for the HDF5 signature"):
            if not h5py.is_hdf5(path):
                raise FileFormatError(
                    f"{path}: expected an HDF5 file, found one starting with {start!r}"
                )
        with guarded(file, os.fspath(path), max_bytes) as opened:
            yield opened


@contextlib.contextmanager
def check_file(path: Path) -> Iterator[BinaryIO]:
    """Open `path` for reading, unless it is a device, a pipe or empty."""
    if path.is_dir():
        raise FileFormatError(f"{path}: expected a file, found a folder: name a file in it")
    if path.exists() and not path.is_file():
        raise FileFormatError(f"{path}: expected a file, found a device or a pipe")
    try:
        file = path.open("rb")
    except OSError as error:
        raise OSError(error.errno, f"minidl could not read {path}: {error.strerror}") from error
    with file:
        if not os.fstat(file.fileno()).st_size:
            raise FileFormatError(f"{path}: expected an HDF5 file, found an empty one (0 bytes)")
        yield file


def check_max_bytes(max_bytes: int) -> None:
    """Raise ArgumentError unless it is a number of bytes."""
    if not is_whole(max_bytes) or max_bytes < 0:
        raise ArgumentError(f"max_bytes must be a whole number of bytes, got {max_bytes!r}")


@contextlib.contextmanager
def guarded(file: BinaryIO, path: str, max_bytes: int) -> Iterator["GuardedFile"]:
    """`file`, open for reading, as a guarded HDF5 file; `path` is what errors call it."""
    check_max_bytes(max_bytes)
    with _damage(path, "opening it"):
        opened = h5py.File(file, "r")
    with opened:
        yield GuardedFile(opened, file, path, max_bytes)


@contextlib.contextmanager
def _damage(path: str | os.PathLike[str], doing: str) -> Iterator[None]:
    """Turn what h5py raises in the block into a FileFormatError, unless the system refused."""
    try:
        yield
    except MinidlError:
        raise
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:
            reason = f"minidl could not read {os.fspath(path)}, while {doing}: {error.strerror}"
            raise OSError(error.errno, reason) from error
        raise FileFormatError(
            f"{os.fspath(path)}: the HDF5 file is damaged or truncated; while {doing}: {error}"
        ) from error


class GuardedFile:
    """An open HDF5 file: `datasets()` says what is in it, `read(name)` reads one of them."""

    def __init__(self, file: h5py.File, raw: BinaryIO, path: str, max_bytes: int) -> None:
        self.path = path
        self._file, self._raw = file, raw
        self._max_bytes = max_bytes
        self._listed = False
        self._entries: dict[str, Entry] = {}
        self._paths: list[str] = []  # of groups and datasets
        self._objects = 0
        self._cost = 0
        self._strings = 0  # bytes of attributes read

    def attribute(self, name: str, of: str = "/") -> str | int | float | None:
        """The attribute `name` of the group or dataset `of`, or None if there is none.

        Raises FileFormatError unless it is one string or one number.
        """
        with _damage(self.path, f"reading attribute {name!r} of {of!r}"):
            owner = self._file[of]
            if not h5py.h5a.exists(owner.id, name.encode()):
                return None
            found = h5py.h5a.open(owner.id, name.encode())
            kind = found.get_type()
            if found.shape != () or not (
                kind.get_class() in NUMBERS
                or (kind.get_class() == h5py.h5t.STRING and kind.get_size() <= MAX_STRING)
            ):
                self._refuse(f"attribute {name!r} of {of!r} is not one string or number")
            value = owner.attrs[name]
            if isinstance(value, bytes):
                return value.decode()
            return value if isinstance(value, str) else value.item()

    def attributes(self) -> dict[str, dict[str, Any]]:
        """The attributes of every group and dataset by path, "/" being the file's own.

        Strings, numbers and rows of them are read, others are passed over.
        """
        found: dict[str, dict[str, Any]] = {}
        for path in ["/", *self._paths]:
            with _damage(self.path, f"reading the attributes of {path!r}"):
                owner = self._file[path]
                read = {name: self._value(owner, name) for name in _attribute_names(owner)}
            found[path] = {name: value for name, value in read.items() if value is not None}
        return found

    def _value(self, owner: Any, name: str) -> Any:
        stored = h5py.h5a.open(owner.id, name.encode(errors="surrogateescape"))
        kind, shape = stored.get_type(), stored.shape
        self._strings += math.prod(shape or ()) * kind.get_size()
        if self._strings > MAX_STRINGS:
            self._refuse(f"its attributes take more than {MAX_STRINGS} bytes")
        if shape is None or len(shape) > 1 or kind.get_class() not in {*NUMBERS, h5py.h5t.STRING}:
            return None
        value = np.asarray(owner.attrs[name]).tolist()
        values = value if isinstance(value, list) else [value]
        if kind.get_class() == h5py.h5t.STRING:
            values = [v.decode(errors="replace") if isinstance(v, bytes) else v for v in values]
            self._strings += sum(map(len, values))
        return values if isinstance(value, list) else values[0]

    def datasets(self) -> dict[str, Entry]:
        """Every dataset, as "group/name" -> Entry, without reading any.

        Raises FileFormatError, and lists nothing, if any object in the file breaks a rule.
        """
        if not self._listed:
            self._entries, self._paths, self._objects, self._cost = {}, [], 0, 0
            with _damage(self.path, "listing its groups"):
                self._walk(self._file["/"].id, "", 1)
            self._listed = True
        return dict(self._entries)

    def read(self, name: str) -> np.ndarray:
        """The array of a dataset, in C order and native byte order.

        Raises FileFormatError for a name that `datasets()` doesn't list.
        """
        if not isinstance(name, str) or name not in self.datasets():
            self._refuse(f"it holds no dataset {name!r:.80}")
        entry = self._entries[name]
        with _damage(self.path, f"reading dataset {name!r}"):
            dataset = self._file[name]
            self._check_chunks(dataset.id, name)
            array = np.empty(entry.shape, entry.dtype)
            if array.size:
                dataset.id.read(h5py.h5s.ALL, h5py.h5s.ALL, array)
            return array

    def place(self, name: str) -> int | None:
        """Where in the file the bytes of a dataset begin, if they stand there as in memory."""
        with _damage(self.path, f"looking at dataset {name!r}"):
            dataset, entry = self._file[name].id, self._entries[name]
            size = math.prod(entry.shape) * entry.dtype.itemsize
            plain = (
                size > 0
                and dataset.get_create_plist().get_layout() == h5py.h5d.CONTIGUOUS
                and dataset.get_type().dtype == entry.dtype
                and dataset.get_storage_size() == size
            )
            return int(dataset.get_offset()) if plain else None

    def pieces(self, start: int, length: int) -> Iterator[memoryview]:
        """The file's bytes from `start` on, in one buffer that is used again and again."""
        buffer = memoryview(bytearray(min(length, PIECE)))
        self._raw.seek(start)
        while length:
            piece = buffer[: min(length, PIECE)]
            self._fill(piece)
            yield piece
            length -= len(piece)

    def read_bytes(self, start: int, out: np.ndarray) -> None:
        """Fill an array with the file's bytes from `start` on."""
        self._raw.seek(start)
        self._fill(out.reshape(-1).view(np.uint8).data)  # flat: bytes in C order

    def _fill(self, view: memoryview) -> None:
        with _damage(self.path, "reading it"):
            while view:
                count = self._raw.readinto(view)  # type: ignore[attr-defined]
                if not count:
                    raise FileFormatError(f"{self.path}: the file is cut off")
                view = view[count:]

    def _walk(self, group: h5py.h5g.GroupID, prefix: str, depth: int) -> None:
        self._objects += len(group)
        if self._objects > MAX_OBJECTS:
            self._refuse(f"it holds more than {MAX_OBJECTS} groups and datasets")
        if depth > MAX_DEPTH:
            self._refuse(f"its groups are nested more than {MAX_DEPTH} deep, at {prefix!r:.80}")
        for link in _links(group):
            name = prefix + link.decode(errors="surrogateescape")
            # A slash within one name would be taken for a path, past the checks of its parts.
            if b"/" in link or link in (b"", b"."):
                self._refuse(f"the name {link!r:.80} is not allowed")
            if group.links.get_info(link).type != h5py.h5l.TYPE_HARD:
                self._refuse(f"{name!r} is a soft or external link; only hard links are read")
            self._paths.append(name)
            kind = h5py.h5o.get_info(group, link).type
            if kind == h5py.h5o.TYPE_GROUP:
                self._walk(h5py.h5g.open(group, link), name + "/", depth + 1)
            elif kind == h5py.h5o.TYPE_DATASET:
                self._add(h5py.h5d.open(group, link), name)
            else:
                self._refuse(f"{name!r} is neither a group nor a dataset")

    def _add(self, dataset: h5py.h5d.DatasetID, name: str) -> None:
        """Check one dataset; storage first, since asking a virtual one its shape opens files."""
        properties = dataset.get_create_plist()
        if properties.get_layout() == h5py.h5d.VIRTUAL or properties.get_external_count():
            self._refuse(f"dataset {name!r} keeps its data in other files")
        self._check_filters(properties, name)
        stored = dataset.get_type()
        plain = stored.get_class() in NUMBERS and stored.get_size() <= 8
        if not plain or stored.dtype.itemsize > 8:
            self._refuse(f"dataset {name!r} doesn't hold integers or floats of up to 64 bits")
        if dataset.get_space().get_simple_extent_type() == h5py.h5s.NULL:
            self._refuse(f"dataset {name!r} has no shape")
        dtype = stored.dtype.newbyteorder("=")
        cost = math.prod(dataset.shape) * dtype.itemsize
        if properties.get_layout() == h5py.h5d.CHUNKED:
            # A chunk is read whole, and may be larger than what is used of it.
            cost = max(cost, math.prod(properties.get_chunk()) * stored.get_size())
        self._entries[name] = Entry(dataset.shape, dtype, cost)
        self._cost += cost
        if self._cost > self._max_bytes:
            self._refuse(
                f"its datasets up to {name!r} need {self._cost} bytes of memory, more than "
                f"max_bytes={self._max_bytes}: raise max_bytes if you trust the file"
            )

    def _check_filters(self, properties: h5py.h5p.PropDCID, name: str) -> None:
        filters = _filters(properties)
        unknown = set(filters) - FILTERS
        if unknown:
            self._refuse(
                f"dataset {name!r} needs filter number {min(unknown)}; "
                "only deflate (gzip), shuffle and fletcher32 are read"
            )
        # `_check_chunks` relies on finding one deflate stream, with at most a checksum after it.
        after_deflate = filters[filters.index(DEFLATE) + 1 :] if DEFLATE in filters else []
        if len(set(filters)) < len(filters) or SHUFFLE in after_deflate:
            self._refuse(f"dataset {name!r} applies its filters twice or in an unusual order")

    def _check_chunks(self, dataset: h5py.h5d.DatasetID, name: str) -> None:
        """Refuse chunks that unpack to more than their size.

        The HDF5 library itself would unpack them to a thousand times the file's size.
        """
        properties = dataset.get_create_plist()
        filters = _filters(properties)
        if DEFLATE not in filters:
            return
        size = math.prod(properties.get_chunk()) * dataset.get_type().get_size()
        most = size + 4  # with a fletcher32 sum, where that is added before packing
        file_size = os.fstat(self._raw.fileno()).st_size
        chunks: list[h5py.h5d.StoreInfo] = []
        dataset.chunk_iter(chunks.append)
        for chunk in chunks:
            if chunk.size > file_size:
                self._refuse(f"a chunk of dataset {name!r} is larger than the file")
            if chunk.filter_mask & 1 << filters.index(DEFLATE):
                continue  # stored unpacked
            packed = dataset.read_direct_chunk(chunk.chunk_offset)[1]
            try:
                unpacked = zlib.decompressobj().decompress(packed, most + 1)
            except zlib.error as error:
                self._refuse(f"a chunk of dataset {name!r} can't be unpacked: {error}")
            if len(unpacked) > most:
                self._refuse(f"a chunk of dataset {name!r} unpacks to more than {size} bytes")

    def _refuse(self, found: str) -> NoReturn:
        raise FileFormatError(f"{self.path}: refused to read the HDF5 file: {found}")


def _links(group: h5py.h5g.GroupID) -> list[bytes]:
    """The names in a group: in the order of their making where the file knows it, or sorted."""
    if not group.get_create_plist().get_link_creation_order() & h5py.h5p.CRT_ORDER_TRACKED:
        return list(group)
    names: list[bytes] = []
    group.links.iterate(names.append, idx_type=h5py.h5.INDEX_CRT_ORDER)
    return names


def _attribute_names(owner: Any) -> list[str]:
    return [name for name in owner.attrs if "/" not in name]


def _filters(properties: h5py.h5p.PropDCID) -> list[int]:
    """The numbers of a dataset's filters, in the order that writing applies them."""
    return [properties.get_filter(i)[0] for i in range(properties.get_nfilters())]
