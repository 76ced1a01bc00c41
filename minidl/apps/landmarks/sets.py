"""Pictures with the points in them, from files, and how both are moved alike."""

import csv
import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from minidl.checks import positive
from minidl.data import read_image
from minidl.data.images import SUFFIXES, fit_pixels
from minidl.data.transforms.geometry import inverses, warped
from minidl.errors import ArgumentError, FileFormatError, ShapeError

__all__ = ["MIRROR", "PointSet", "moved", "read_points"]

# What reading from an archive raises: also for encrypted files, and for other compressions
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError)
MOST_FILES, MOST_BYTES = 1_000_000, 2**26  # of an archive: its files, and the bytes of each


class PointSet:
    """Pictures (N, size, size, 3) uint8 with points (N, P, 2) float32, x, y in their pixels.

    names: what each picture is called.
    Raises ShapeError for arrays that don't go together, ArgumentError for points that aren't
    numbers or are no pixels.
    """

    def __init__(
        self, images: np.ndarray, points: np.ndarray, names: Sequence[str] | None = None
    ) -> None:
        points = np.asarray(points, np.float32)
        square = images.ndim == 4 and images.shape[1] == images.shape[2] and images.shape[3] == 3
        if not square or images.dtype != np.uint8:
            raise ShapeError(
                f"PointSet expected images (N, size, size, 3) of uint8, got {images.dtype} of "
                f"shape {images.shape}"
            )
        if points.ndim != 3 or points.shape[2] != 2 or not points.shape[1] or not len(points):
            raise ShapeError(f"PointSet expected points (N, P, 2), got shape {points.shape}")
        if len(points) != len(images):
            raise ShapeError(f"PointSet: {len(images)} images, but points of {len(points)}")
        self.images, self.points = images, points
        self.names = list(names) if names else [f"image {i}" for i in range(len(images))]
        bad = ~np.isfinite(points).all(axis=(1, 2))
        if bad.any():
            raise ArgumentError(f"{self.names[int(bad.argmax())]}: a point isn't finite")
        _check_pixels(points)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size(self) -> int:
        """Height and width of the pictures, in pixels."""
        return int(self.images.shape[1])

    def checksum(self) -> str:
        """Return what changes when a picture or a point does: a CRC-32."""
        found = zlib.crc32(np.ascontiguousarray(self.images).data)
        return f"{zlib.crc32(np.ascontiguousarray(self.points).data, found):08x}"

    def part(self, indices: np.ndarray) -> "PointSet":
        """Return the pictures of these numbers (n,)."""
        return PointSet(
            self.images[indices], self.points[indices], [self.names[i] for i in indices]
        )


def _check_pixels(points: np.ndarray) -> None:
    """Raise ArgumentError for points that seem to be told in shares of the size."""
    if points.max() <= 1:
        raise ArgumentError(
            f"all points are within a pixel of the corner, from {points.min():g} to "
            f"{points.max():g}: give pixels, not shares of the size"
        )


def _check_inside(name: str, points: np.ndarray, size: Sequence[int]) -> None:
    """Raise ArgumentError for points that can't be of a picture of this size (width, height).

    Those that are cut off or hidden may lie outside of it, by no more than its size.
    """
    limits = np.array(size)
    wrong = ((points < -limits) | (points > 2 * limits)).any(axis=1)
    if wrong.any():
        raise ArgumentError(
            f"{name}: a point lies at {points[int(wrong.argmax())].tolist()}, far outside of its "
            f"{size[0]} x {size[1]} pixels"
        )


def read_points(path: str | os.PathLike[str], part: str = "train", *, size: int = 96) -> PointSet:
    """Read pictures with points.

    path: a folder with PART_keypoints.npy, (N, P, 2) in pixels, and as many pictures, ordered by
        name, in PART.zip or in the folder PART; or a .csv file with the columns file, x1, y1, x2,
        y2 and so on, in pixels, whose files are relative to it.
    size: height and width, in pixels, to which pictures are resized; points move along.
    Raises ArgumentError for a size below 1, FileFormatError for files that don't hold that, OSError
    for missing ones.
    """
    size, path = positive("read_points", "size", size), Path(path)
    if path.suffix.lower() == ".csv":
        names, points, pictures = _of_table(path)
    else:
        names, points, pictures = _of_folder(path, part)
    images = np.empty((len(points), size, size, 3), np.uint8)
    scales = np.empty((len(points), 1, 2), np.float32)
    try:
        _check_pixels(points)
        for i, picture in enumerate(pictures):
            _check_inside(names[i], points[i], picture.shape[1::-1])
            images[i] = fit_pixels(picture, (size, size), "stretch")
            scales[i, 0] = size / picture.shape[1], size / picture.shape[0]
        return PointSet(images, points * scales, names)
    except (ArgumentError, ShapeError) as error:
        raise FileFormatError(f"{path}: {error}") from error


Opened = tuple[list[str], np.ndarray, Iterator[np.ndarray]]


def _of_folder(folder: Path, part: str) -> Opened:
    points = _read_npy(folder / f"{part}_keypoints.npy")
    archive, pictures = folder / f"{part}.zip", folder / part
    if archive.exists():
        names = _names_in(archive)
        found = _in_archive(archive, names)
    else:
        files = sorted(p for p in pictures.iterdir() if p.suffix.lower() in SUFFIXES)
        names, found = [p.name for p in files], map(read_image, files)
    if len(names) != len(points):
        raise FileFormatError(
            f"{folder}: {len(points)} rows in {part}_keypoints.npy, but {len(names)} pictures"
        )
    return names, points, found


def _read_npy(path: Path) -> np.ndarray:
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # what NumPy raises for damaged files is of many kinds
        raise FileFormatError(f"{path}: expected an array of NumPy's: {error}") from error
    shape: tuple[int, ...] = getattr(found, "shape", ())
    kind = getattr(found, "dtype", np.dtype(object)).kind
    if len(shape) != 3 or shape[2] != 2 or kind not in "iuf" or 0 in shape:
        raise FileFormatError(f"{path}: expected points (N, P, 2), found an array of shape {shape}")
    return np.array(found, np.float32)


def _names_in(archive: Path) -> list[str]:
    try:
        with zipfile.ZipFile(archive) as file:
            entries = [e for e in file.infolist() if Path(e.filename).suffix.lower() in SUFFIXES]
    except DAMAGED as error:
        raise FileFormatError(f"{archive}: {error}") from error
    large = [e.filename for e in entries if e.file_size > MOST_BYTES]
    if large or len(entries) > MOST_FILES:
        what = f"{large[0]} has more than {MOST_BYTES:,} bytes" if large else "too many files"
        raise FileFormatError(f"{archive}: {what}")
    return sorted(e.filename for e in entries)


def _in_archive(archive: Path, names: list[str]) -> Iterator[np.ndarray]:
    """The pictures in a .zip; what it calls them is never used as a path."""
    with zipfile.ZipFile(archive) as file, tempfile.TemporaryDirectory() as folder:
        for name in names:
            path = Path(folder) / f"picture{Path(name).suffix.lower()}"
            try:
                path.write_bytes(file.read(name))
                yield read_image(path)
            except DAMAGED as error:
                reason = str(error).removeprefix(f"{path}: ")
                raise FileFormatError(f"{archive}: {name}: {reason}") from error


def _of_table(path: Path) -> Opened:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            lines = [row for row in csv.reader(file) if row]
    except (ValueError, csv.Error) as error:
        raise FileFormatError(f"{path}: expected a table with a line of names: {error}") from error
    head, rows = lines[0] if lines else [], lines[1:]
    count = (len(head) - 1) // 2
    wanted = ["file", *(f"{axis}{i}" for i in range(1, count + 1) for axis in "xy")]
    if not count or [name.strip().lower() for name in head] != wanted or not rows:
        raise FileFormatError(
            f"{path}: expected the columns file,x1,y1,x2,y2 and so on, and rows below them, found "
            f"{','.join(head)!r:.80} and {len(rows)} rows"
        )
    points = np.empty((len(rows), count, 2), np.float32)
    names: dict[str, int] = {}
    for i, (name, *numbers) in enumerate(rows):
        where, name = f"{path}: row {i + 1} below the names", name.strip()
        if len(numbers) != 2 * count:
            raise FileFormatError(f"{where}: expected {2 * count} numbers, found {len(numbers)}")
        if not name or name in names:
            what = f"{name} is row {names[name] + 1} too" if name else "there is no file"
            raise FileFormatError(f"{where}: {what}")
        names[name] = i
        try:
            points[i] = np.reshape([float(n) for n in numbers], (count, 2))
        except ValueError as error:
            raise FileFormatError(f"{where}: {error}") from error
    return list(names), points, map(read_image, [path.parent / name for name in names])


def _mirror_of_68() -> np.ndarray:
    """Of the 68 points of faces, as 300-W numbers them from 0, which is which in a mirror."""
    table = np.arange(68)
    for first, last in ((0, 16), (17, 26), (31, 35), (48, 54), (60, 64)):  # jaw, brows, nose, lips
        table[first : last + 1] = np.arange(last, first - 1, -1)
    for first, last in ((55, 59), (65, 67)):  # lower lips
        table[first : last + 1] = np.arange(last, first - 1, -1)
    for left, right in ((36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46)):  # eyes
        table[[left, right]] = right, left
    return table


MIRROR = _mirror_of_68()


def moved(
    images: np.ndarray,
    points: np.ndarray,
    rng: np.random.Generator,
    *,
    degrees: float,
    scale: tuple[float, float],
    shift: float,
    mirror: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return pictures turned, zoomed, shifted and mirrored, with their points.

    images: (N, H, W, C).  points: (N, P, 2), x, y in pixels.
    degrees: turns by up to so many, either way.  scale: zooms by (low, high).
    shift: by up to this share of the sides, either way.
    mirror: (P,), the number that each point has in the mirror; half of the pictures are mirrored.
        None: none is.
    """
    n, height, width, _ = images.shape
    angle = np.radians(rng.uniform(-degrees, degrees, n))
    by = rng.uniform(-shift, shift, (n, 2)) * (height, width)
    zoom = rng.uniform(scale[0], scale[1], (n,))
    inverse = inverses(angle, by, np.zeros(n), zoom, (height, width))  # (N, 2, 3)
    images = warped("moved", images, inverse, "edge")
    forward = np.linalg.inv(inverse[:, :, :2])  # (N, 2, 2)
    points = np.einsum("nij,npj->npi", forward, points - inverse[:, np.newaxis, :, 2])
    if mirror is not None:
        chosen = rng.random(n) < 0.5
        images, points = images.copy(), points.copy()
        images[chosen] = images[chosen, :, ::-1]
        points[chosen] = (points[chosen] * (-1, 1) + (width, 0))[:, mirror]
    return images, points.astype(np.float32)
