"""Parts of a dataset."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.checks import whole
from minidl.data.dataset import ArrayDataset, Dataset
from minidl.errors import ArgumentError, DTypeError, ShapeError

__all__ = ["Subset", "labels_in", "labels_of", "name_of", "split"]


class Subset(Dataset):
    """The items of `dataset` whose numbers are `indices`, in that order.

    indices: (M,) whole numbers, 0 <= i < len(dataset).
    `labels` (M,) int64 and `classes` are those of the dataset, None where it has none.
    Raises DTypeError for what is no dataset or no whole numbers, ShapeError for no items,
    IndexError for numbers that the dataset hasn't.
    """

    def __init__(self, dataset: Dataset, indices: Sequence[int] | np.ndarray) -> None:
        if not isinstance(dataset, Dataset):
            raise DTypeError(f"Subset expected a Dataset, got {type(dataset).__name__}")
        self.dataset = dataset
        self.indices = np.asarray(indices)
        if self.indices.ndim != 1 or not len(self.indices):
            raise ShapeError(f"Subset expected indices (M,), got shape {self.indices.shape}")
        if self.indices.dtype.kind not in "iu":
            raise DTypeError(f"Subset expected whole numbers, got {self.indices.dtype}")
        low, high = self.indices.min(), self.indices.max()
        if low < 0 or high >= len(dataset):
            raise IndexError(
                f"Subset expected numbers from 0 to {len(dataset) - 1}, got {low} to {high}"
            )
        self.classes: list[str] | None = getattr(dataset, "classes", None)
        labels = labels_of(dataset)
        self.labels: np.ndarray | None = None if labels is None else labels[self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        return self.dataset[int(self.indices[index])]

    def batch(self, indices: Sequence[int] | np.ndarray) -> tuple[np.ndarray, ...]:
        return self.dataset.batch(self.indices[np.asarray(indices)])

    def prepared(
        self, indices: Sequence[int] | np.ndarray, transforms: Sequence[Any], rng: Any
    ) -> tuple[Any, ...]:
        return self.dataset.prepared(self.indices[np.asarray(indices)], transforms, rng)

    def order(self, generator: np.random.Generator) -> np.ndarray:
        """Return the dataset's own order (M,), as far as its items are in this part."""
        place = np.empty(len(self.dataset), np.int64)
        place[self.dataset.order(generator)] = np.arange(len(self.dataset))
        return np.argsort(place[self.indices], kind="stable")


def labels_of(dataset: Dataset) -> np.ndarray | None:
    """Return the labels of a dataset that tells them, or has them as its second array."""
    labels = getattr(dataset, "labels", None)
    if labels is None and isinstance(dataset, ArrayDataset) and len(dataset.arrays) == 2:
        second = dataset.arrays[1]
        labels = second if second.ndim == 1 and second.dtype.kind in "iu" else None
    return labels


def labels_in(dataset: Dataset) -> np.ndarray:
    """Return the labels of a dataset, read from its items where it doesn't tell them."""
    labels = labels_of(dataset)
    if labels is None:
        labels = np.asarray(dataset.batch(range(len(dataset)))[1])
    return labels


def name_of(dataset: Any, index: int) -> str:
    """Return what an item is called, such as its file's name."""
    if isinstance(dataset, Subset):
        return name_of(dataset.dataset, int(dataset.indices[index]))
    return dataset.name(index) if hasattr(dataset, "name") else f"image {index}"


def split(
    dataset: Dataset,
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    seed: int = 0,
    stratify: bool = True,
) -> tuple[Subset, ...]:
    """Disjoint parts of a dataset, drawn at random; all of it if the fractions add up to 1.

    fractions: of the items, above 0, together at most 1.
    stratify: take every class in these proportions. Counts are rounded by largest remainders,
        the earlier part first. It needs the dataset's `labels`.
    Items of a part keep the dataset's order.
    Raises ArgumentError where a part, or a class in a part, would be empty.
    """
    shares = _check_fractions(fractions)
    generator = np.random.default_rng(whole("split", "seed", seed, 0))
    parts: list[list[np.ndarray]] = [[] for _ in shares]
    for name, members in _groups(dataset, stratify):
        counts = _counts(len(members), shares)
        if 0 in counts:
            number = f"{len(members)} item{'s' * (len(members) != 1)}"
            enough = math.ceil(round(1 / min(shares), 6))
            raise ArgumentError(
                f"split: {name} has {number}, too few for parts of "
                f"{', '.join(map(str, fractions))}, for which {enough} would do; "
                f"add some, {'leave them out, ' * stratify}or choose other parts"
            )
        shuffled = generator.permutation(members)
        for part, stop, count in zip(parts, np.cumsum(counts), counts, strict=True):
            part.append(shuffled[stop - count : stop])
    return tuple(Subset(dataset, np.sort(np.concatenate(part))) for part in parts)


def _check_fractions(fractions: Any) -> list[float]:
    shares = [float(share) for share in fractions]
    if not shares or not all(share > 0 for share in shares) or not sum(shares) <= 1 + 1e-9:
        raise ArgumentError(
            f"split: fractions must be above 0 and add up to at most 1, got {fractions!r}"
        )
    return shares


def _groups(dataset: Dataset, stratify: bool) -> list[tuple[str, np.ndarray]]:
    """(name, numbers of its items) of each class, or of the whole."""
    if not stratify:
        return [("the dataset", np.arange(len(dataset)))]
    labels = labels_of(dataset)
    if labels is None:
        raise ArgumentError(
            f"split: {type(dataset).__name__} tells no labels to keep in proportion: give it an "
            "attribute `labels` (N,), or say stratify=False"
        )
    names = getattr(dataset, "classes", None)
    labels = np.asarray(labels)
    if labels.ndim != 1:
        raise ArgumentError(
            f"split: {type(dataset).__name__} has several labels an item, which can't all be "
            "kept in proportion: say stratify=False"
        )
    return [
        (
            f"class {label}" if names is None else f"class {names[label]!r}",
            np.flatnonzero(labels == label),
        )
        for label in np.unique(labels)
    ]


def _counts(items: int, shares: list[float]) -> list[int]:
    """Return how many of the items go to each part, by largest remainders."""
    # Rounded, since 0.29 * 100 is a little less than 29.
    quotas = [round(items * share, 6) for share in shares]
    counts = [math.floor(quota) for quota in quotas]
    rest = math.floor(round(items * min(1.0, sum(shares)), 6)) - sum(counts)
    largest = sorted(range(len(shares)), key=lambda k: counts[k] - quotas[k])
    for k in largest[:rest]:
        counts[k] += 1
    return counts
