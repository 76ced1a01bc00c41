"""Datasets: a length, items by number, and batches of items."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.autograd.tensor import Tensor
from minidl.errors import ArgumentError, DTypeError, ShapeError

__all__ = ["ArrayDataset", "Dataset", "LabelledImages", "as_labels"]


class Dataset:
    """Items by number. Subclasses write `__len__` and `__getitem__`.

    An item is a tuple of arrays, for example (image (H, W, C), label ()). Several threads may ask
    for items at once.
    """

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} must define __len__")

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        raise NotImplementedError(f"{type(self).__name__} must define __getitem__")

    def _repr_html_(self) -> str:
        """Return what a notebook shows; one item is read at most."""
        from minidl.data.showing import dataset_html

        return dataset_html(self)

    def order(self, generator: np.random.Generator) -> np.ndarray:
        """Return all item numbers (N,) in the random order of one epoch.

        Data sets that read neighbours faster than strangers write their own.
        """
        return generator.permutation(len(self))

    def batch(self, indices: Sequence[int] | np.ndarray) -> tuple[np.ndarray, ...]:
        """The items of these numbers, stacked: each array gains a first axis, of len(indices).

        Raises ShapeError when the items don't have the same shapes, DTypeError for items that
        aren't tuples of arrays, ArgumentError for no indices.
        """
        items = [self[int(index)] for index in indices]
        who = type(self).__name__
        if not items:
            raise ArgumentError(f"{who}.batch expected at least one index, got none")
        for index, item in zip(indices, items, strict=True):
            if not isinstance(item, tuple):
                raise DTypeError(
                    f"{who}[{index}] must be a tuple of arrays, got {type(item).__name__}"
                )
            if any(isinstance(part, dict) for part in item):
                raise DTypeError(
                    f"{who}[{index}] holds a dict, which isn't stacked: "
                    "data.Detection(images, targets, classes) makes batches of images with boxes"
                )
            if [np.shape(part) for part in item] != [np.shape(part) for part in items[0]]:
                raise ShapeError(
                    f"{who}: items {indices[0]} and {index} of one batch have different shapes, "
                    f"{[np.shape(part) for part in items[0]]} and {[np.shape(p) for p in item]}"
                )
        return tuple(np.stack(parts) for parts in zip(*items, strict=True))

    def prepared(
        self, indices: Sequence[int] | np.ndarray, transforms: Sequence[Any], rng: Any
    ) -> tuple[Any, ...]:
        """Return a batch whose images, its first array, are transformed in turn, for a DataLoader.

        indices: (n,).  rng: what random transforms draw from; None: they do what is done in
        evaluation.
        """
        images, *rest = self.batch(indices)
        for transform in transforms:
            images = transform(images, rng)
        return (images, *rest)


class ArrayDataset(Dataset):
    """Arrays of equal length, side by side: item i is (x[i], y[i], ...).

    arrays: one or more ndarrays or Tensors (N, ...) of numbers. They are shared, not copied;
    batches are copies.
    Raises ArgumentError for no arrays, DTypeError for what is no array of numbers, ShapeError for
    different lengths or none.
    """

    def __init__(self, *arrays: np.ndarray | Tensor) -> None:
        if not arrays:
            raise ArgumentError("ArrayDataset expected at least one array, got none")
        self.arrays = tuple(_numbers(array, position) for position, array in enumerate(arrays))
        lengths = [len(array) for array in self.arrays]
        if len(set(lengths)) > 1:
            raise ShapeError(
                "ArrayDataset expected arrays of one length (axis 0), got lengths "
                f"{', '.join(map(str, lengths))}"
            )
        if not lengths[0]:
            raise ShapeError("ArrayDataset expected at least one item, got arrays of length 0")

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        return tuple(np.asarray(array[index]) for array in self.arrays)

    def batch(self, indices: Sequence[int] | np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(array[np.asarray(indices)] for array in self.arrays)


def as_labels(labels: Any) -> np.ndarray:
    """Return labels (N,) as int64 or, of several labels or numbers an image, (N, C) as float32."""
    return np.asarray(labels, np.int64 if np.ndim(labels) == 1 else np.float32)


class LabelledImages(ArrayDataset):
    """Images (N, H, W, C) in memory with their labels (N,), numbers of `classes`, or (N, C).

    names: what each image is called, such as its file.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        classes: Sequence[str],
        names: Sequence[str] | None = None,
    ) -> None:
        self.labels, self.classes = as_labels(labels), list(classes)
        super().__init__(images, self.labels)
        self.names = names

    def name(self, index: int) -> str:
        """Return what image `index` is called."""
        return f"image {index}" if self.names is None else self.names[index]


def _numbers(array: Any, position: int) -> np.ndarray:
    """`array` as an ndarray with at least one axis."""
    if isinstance(array, Tensor):
        array = array.data
    if not isinstance(array, np.ndarray):
        raise DTypeError(
            f"ArrayDataset expected ndarrays or Tensors, but argument {position} is a "
            f"{type(array).__name__}: convert it, for example with np.asarray(a, np.float32)"
        )
    if array.dtype.kind not in "biuf":
        raise DTypeError(
            f"ArrayDataset expected arrays of numbers, but argument {position} has dtype "
            f"{array.dtype}: rows of unequal length or text can't be stacked into a batch"
        )
    if array.ndim == 0:
        raise ShapeError(
            f"ArrayDataset expected arrays (N, ...), but argument {position} has no axes"
        )
    return array
