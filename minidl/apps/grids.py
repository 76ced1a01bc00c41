"""Many small pictures as one."""

import numpy as np

from minidl.errors import ShapeError

__all__ = ["grid"]


def grid(pictures: np.ndarray, columns: int | None = None, gap: int = 2) -> np.ndarray:
    """Return pictures (N, H, W, 1) or (N, H, W, 3) uint8 side by side, (h, w, 3) uint8.

    columns: how many stand in a row; None: about as many as there are rows.
    gap: white pixels between them.
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
