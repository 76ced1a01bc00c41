"""Images that are in a data set more than once, with the very same pixels or nearly the same."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from minidl import ops
from minidl.data.folder import ImageFiles
from minidl.data.loader import DataLoader
from minidl.data.splits import Subset, labels_of

__all__ = ["EXACT", "MIRRORED", "NEAR", "Duplicate", "exact_duplicates", "find_duplicates"]

EXACT, NEAR, MIRRORED = "same pixels", "nearly the same", "mirrored"
SIDE = 16  # pixels of the thumbnails that are compared
SIMILAR = 0.94  # docs/data.md has what that finds, and how often it is wrong
BATCH = 64
BLOCK = 1024  # rows of similarities in memory at a time

Place = tuple[str, int]  # a part, and the number of an image in it


class Duplicate(NamedTuple):
    """Two images that are the same: part and number of each, the earlier one first.

    kind: EXACT, NEAR or MIRRORED.  similarity: from `SIMILAR` to 1.
    same_label: whether both have the same label.
    """

    first: Place
    second: Place
    kind: str
    similarity: float
    same_label: bool

    @property
    def across(self) -> bool:
        """Whether the images are in different parts."""
        return self.first[0] != self.second[0]


def exact_duplicates(parts: Mapping[str, Any]) -> list[Duplicate]:
    """Return images with the same pixels, as they are decoded; those across parts first.

    parts: data sets of (image, label) by name.
    Files that are decoded anew in each epoch, since memory doesn't hold them all, are compared by
    their bytes.
    """
    images = _Images(parts)
    keys = [key for each in parts.values() for key in _keys(each)]
    return images.chosen((*pair, EXACT, 1.0) for pair in images.equal(keys))


def find_duplicates(parts: Mapping[str, Any]) -> list[Duplicate]:
    """Return images with the same pixels, or nearly the same; those across parts first.

    Thumbnails are compared, by the correlation of the differences between neighbouring pixels. That
    finds images that were saved anew, resized, made brighter or mirrored, but not cropped ones.
    Of three and more copies each is listed with the most similar earlier one in each part.
    parts: data sets of (image (H, W, C), label) by name.
    The idea of differences: Krawetz 2013, "Kind of like that" (dHash, which keeps their signs).
    """
    images = _Images(parts)
    keys: list[bytes] = []
    thumbnails: list[np.ndarray] = []
    for each in parts.values():
        for pixels, *_ in DataLoader(each, BATCH, workers=2):
            keys += map(_digest, pixels)
            thumbnails += map(_thumbnail, pixels)
    equal = images.equal(keys)
    once = np.setdiff1d(np.arange(len(keys)), [second for _, second in equal])
    thumbs = np.stack(thumbnails)[once]  # (M, SIDE, SIDE)
    near = ((int(once[a]), int(once[b]), kind, r) for a, b, kind, r in _similar(thumbs))
    return images.chosen([*((*pair, EXACT, 1.0) for pair in equal), *near])


class _Images:
    """The images of all parts in a row, and which pairs of them are worth telling."""

    def __init__(self, parts: Mapping[str, Any]) -> None:
        self.places = [(name, i) for name, each in parts.items() for i in range(len(each))]
        labels = [labels_of(each) for each in parts.values()]
        self.labels = [
            None if found is None else np.asarray(found[i]).tobytes()
            for found, each in zip(labels, parts.values())
            for i in range(len(each))
        ]

    def equal(self, keys: Sequence[Any]) -> list[tuple[int, int]]:
        """Return (earlier, later) for images of one key: the first of each part and label."""
        seen: dict[Any, dict[Any, int]] = {}
        found = []
        for later, key in enumerate(keys):
            firsts = seen.setdefault(key, {})
            found += [(earlier, later) for earlier in firsts.values()]
            firsts.setdefault((self.places[later][0], self.labels[later]), later)
        return found

    def chosen(self, pairs: Iterable[tuple[int, int, str, float]]) -> list[Duplicate]:
        """Return, for each later image, the most similar of each part, with its label and without;
        in order of what matters."""
        best: dict[tuple[int, str, bool], Duplicate] = {}
        for a, b, kind, similarity in pairs:
            same = self.labels[a] == self.labels[b]
            pair = Duplicate(self.places[a], self.places[b], kind, similarity, same)
            key = (b, self.places[a][0], same)
            if key not in best or similarity > best[key].similarity:
                best[key] = pair
        return sorted(best.values(), key=lambda p: (not p.across, p.same_label, -p.similarity))


# Exactly the same


def _keys(images: Any) -> Iterator[bytes]:
    """What is the same for images with the same pixels, or files with the same bytes."""
    paths = _paths(images)
    if paths is None:
        for pixels, *_ in DataLoader(images, BATCH):
            yield from map(_digest, pixels)
    else:
        for path in paths:
            yield hashlib.blake2b(path.read_bytes(), digest_size=16).digest()


def _paths(images: Any) -> Any:
    """The files that images are decoded from each time, if they are."""
    if isinstance(images, Subset):
        paths = _paths(images.dataset)
        return None if paths is None else [paths[i] for i in images.indices]
    return images.paths if isinstance(images, ImageFiles) else None


def _digest(pixels: np.ndarray) -> bytes:
    """The same for arrays of the same shape, type and numbers."""
    about = f"{pixels.shape}{pixels.dtype}".encode()
    return hashlib.blake2b(pixels.tobytes(), digest_size=16, key=about).digest()


# Nearly the same


def _thumbnail(pixels: np.ndarray) -> np.ndarray:
    """(SIDE, SIDE) float32, grey, of an image (H, W, C)."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "finding duplicates needs the package Pillow: pip install 'minidl[images]'"
        ) from error
    grey = Image.fromarray(pixels.mean(axis=2, dtype=np.float32))
    return np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BOX))


def _differences(thumbs: np.ndarray) -> np.ndarray:
    """Rows (M, D) of length 1 that hold how neighbours differ, of thumbnails (M, SIDE, SIDE).

    Those of an image of one colour are 0, so that it is similar to none.
    """
    across, down = np.diff(thumbs, axis=2), np.diff(thumbs, axis=1)
    rows = np.concatenate([each.reshape(len(thumbs), -1) for each in (across, down)], axis=1)
    lengths = np.sqrt((rows**2).sum(axis=1, keepdims=True))
    return np.ascontiguousarray(rows / np.where(lengths > 0, lengths, 1))


def _similar(thumbs: np.ndarray) -> Iterator[tuple[int, int, str, float]]:
    """(earlier, later, kind, similarity) of thumbnails that are nearly the same."""
    plain, mirrored = _differences(thumbs), _differences(thumbs[:, :, ::-1])
    for start in range(0, len(thumbs), BLOCK):
        rows = plain[start : start + BLOCK]
        for kind, others in ((NEAR, plain), (MIRRORED, mirrored)):
            found = np.asarray(ops.matmul(rows, others[start:].T))  # (BLOCK, M - start)
            for a, b in np.argwhere(found >= SIMILAR).tolist():
                if a < b:
                    yield start + a, start + b, kind, min(1.0, float(found[a, b]))
