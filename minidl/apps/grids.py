"""Many small pictures: side by side, and their numbers in one range."""

from typing import Any

import numpy as np

from minidl.errors import ArgumentError, ShapeError

__all__ = ["grid", "stretched"]


def grid(pictures: np.ndarray, columns: int | None = None, gap: int = 2) -> np.ndarray:
    """Return pictures (N, H, W, 1) or (N, H, W, 3) uint8 side by side, (h, w, 3) uint8.

    columns: how many stand in a row; None: about as many as there are rows.
    gap: white pixels between them.
    Raises ShapeError for other pictures, and none.
    """
    if pictures.ndim != 4 or pictures.shape[3] not in (1, 3) or not len(pictures):
        raise ShapeError(f"grid expected pictures (N, H, W, 1 or 3), got {pictures.shape}")
    count, height, width, _ = pictures.shape
    columns = columns or int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    found = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for i, picture in enumerate(pictures):
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        found[top : top + height, left : left + width] = picture
    return found


def stretched(who: str, pictures: Any, low: float, high: float) -> np.ndarray:
    """Return pictures as float32, of the same shape, stretched from `low` to `high`.

    Raises ArgumentError where all numbers are alike, or one isn't finite.
    """
    found = np.asarray(pictures).astype(np.float32)
    least, largest = float(found.min()), float(found.max())
    if not -np.inf < least < largest < np.inf:
        raise ArgumentError(f"{who}: the pictures' numbers are from {least} to {largest}")
    return (found - np.float32(least)) * np.float32((high - low) / (largest - least)) + np.float32(
        low
    )
