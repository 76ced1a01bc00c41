"""Crops of one image, all at once, each averaged down to the size that a network takes."""

import numpy as np

__all__ = ["Crops"]


class Crops:
    """Cuts boxes out of an image and resizes them by adaptive averaging.

    image: (H, W, C) uint8.
    The sums of all pixels above and to the left of a point are kept, so that a mean over any
    rectangle takes four of them, however large it is.
    Source: Crow 1984, "Summed-area tables for texture mapping".
    """

    def __init__(self, image: np.ndarray) -> None:
        height, width, channels = image.shape
        # Sums wrap around at 2^32, and their differences wrap back: those below 2^32 are exact.
        sums = np.zeros((height + 1, width + 1, channels), np.uint32)
        np.cumsum(image, axis=0, dtype=np.uint32, out=sums[1:, 1:])
        np.cumsum(sums[1:, 1:], axis=1, out=sums[1:, 1:])
        self.sums, self.size = sums, (height, width)

    def __call__(self, boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Return the crops (N, h, w, C) float32, from 0 to 255.

        boxes: (N, 4) whole numbers, x1, y1, x2, y2 in pixels; what lies outside the image is black.
        size: (h, w). As in PyTorch's adaptive_avg_pool2d, output i of h is the mean over the rows
        from floor(i * H / h) to ceil((i + 1) * H / h) of a crop with H rows.
        """
        columns, rows = (
            _bins(boxes[:, axis], boxes[:, axis + 2], size[1 - axis], self.size[1 - axis])
            for axis in (0, 1)
        )
        flat, stride = self.sums.reshape(-1, self.sums.shape[2]), self.size[1] + 1
        (top, bottom, high), (left, right, wide) = rows, columns
        top, bottom = (y[:, :, np.newaxis] * stride for y in (top, bottom))  # (N, h, 1)
        left, right = left[:, np.newaxis], right[:, np.newaxis]  # (N, 1, w)
        found = flat[bottom + right]
        found -= flat[top + right]
        found -= flat[bottom + left]
        found += flat[top + left]
        area = high[:, :, np.newaxis] * wide[:, np.newaxis]  # (N, h, w)
        return found.astype(np.float32) / area[..., np.newaxis].astype(np.float32)


def _bins(
    start: np.ndarray, end: np.ndarray, count: int, most: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First and last edges of boxes' bins inside the image, and their whole lengths: (N, count)."""
    length = (end - start)[:, np.newaxis]
    number = np.arange(count)
    low = number * length // count
    high = -(-(number + 1) * length // count)
    begin = start[:, np.newaxis]
    return (begin + low).clip(0, most), (begin + high).clip(0, most), high - low
