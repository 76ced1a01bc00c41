"""Batches of images with several boxes each."""

from collections.abc import Sequence

import numpy as np

from minidl.errors import ArgumentError, DTypeError, ShapeError

__all__ = ["Target", "collate_boxes"]

Target = dict[str, np.ndarray]


def collate_boxes(items: Sequence[tuple[np.ndarray, Target]]) -> tuple[np.ndarray, list[Target]]:
    """Return a batch (N, H, W, C) of images, and their targets as a list.

    items: (image (h, w, C), target) each, of one dtype.
    Images of several sizes are padded with zeros, at the bottom and on the right, to the largest
    height and the largest width: boxes stay where they are. Each target gains "size" (2,) int64,
    the height and width of its own image within the batch.
    Raises ArgumentError for no items, DTypeError or ShapeError for images that don't go together.
    """
    if not len(items):
        raise ArgumentError("collate_boxes expected at least one item, got none")
    images = [image for image, _ in items]
    first = images[0]
    for image in images:
        if not isinstance(image, np.ndarray) or image.dtype != first.dtype:
            kinds = sorted({str(getattr(x, "dtype", type(x).__name__)) for x in images})
            raise DTypeError(f"collate_boxes expected images of one dtype, got {', '.join(kinds)}")
        if image.ndim != 3 or image.shape[2] != first.shape[2]:
            raise ShapeError(
                f"collate_boxes expected images (H, W, {first.shape[-1]}), got {image.shape}"
            )
    height, width = (max(image.shape[axis] for image in images) for axis in (0, 1))
    batch = np.zeros((len(images), height, width, first.shape[2]), first.dtype)
    for place, image in zip(batch, images, strict=True):
        place[: image.shape[0], : image.shape[1]] = image
    targets = [t | {"size": np.array(image.shape[:2], np.int64)} for image, t in items]
    return batch, targets
