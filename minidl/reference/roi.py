"""Pooling of regions: parts of images, each brought to the same size."""

import numpy as np

from minidl.geometry import Pair


def roi_align(x: np.ndarray, bins: np.ndarray, places: np.ndarray, size: Pair) -> np.ndarray:
    """Return for each region the means over its bins of points between pixels.

    x: (N, H, W, C).  bins: (K, 4), where each region begins, down and across, and the height and
    width of a bin, in pixels.  places: (K, 3) whole numbers: the region's image, and how many
    points a bin has, down and across.  Returns (K, *size, C).
    A point has the value of its four pixels, weighted bilinearly; beyond an edge by up to a pixel
    it has the edge's, farther out 0.
    Source: He et al. 2017, "Mask R-CNN", section 3.
    """
    y = np.empty((len(bins), *size, x.shape[3]), x.dtype)
    for k, (image, *points) in enumerate(places):
        down, across = _weights(bins[k], points, size, x.shape[1:3])
        y[k] = np.einsum("ph,hwc,qw->pqc", down, x[image], across, optimize=True)
    return y


def roi_align_grad(
    dy: np.ndarray, bins: np.ndarray, places: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    """Return the gradient of roi_align for x of this shape."""
    dx = np.zeros(shape, dy.dtype)
    for k, (image, *points) in enumerate(places):
        down, across = _weights(bins[k], points, dy.shape[1:3], shape[1:3])
        dx[image] += np.einsum("ph,pqc,qw->hwc", down, dy[k], across, optimize=True)
    return dx


def _weights(
    region: np.ndarray, points: list[int], size: Pair, shape: tuple[int, ...]
) -> list[np.ndarray]:
    """Return the weights of rows in rows of bins, (OH, H), and of columns in columns, (OW, W)."""
    found = []
    for axis in range(2):
        start, length, pixels = region[axis], region[2 + axis], shape[axis]
        weights = np.zeros((size[axis], pixels))
        for p in range(size[axis]):
            for i in range(points[axis]):
                place = start + p * length + (i + 0.5) * length / points[axis]
                if -1 <= place <= pixels:
                    place = min(max(place, 0), pixels - 1)
                    low = int(place)
                    weights[p, low] += 1 - (place - low)
                    weights[p, min(low + 1, pixels - 1)] += place - low
        found.append(weights / max(points[axis], 1))
    return found


def roi_pool(x: np.ndarray, regions: np.ndarray, size: Pair) -> tuple[np.ndarray, np.ndarray]:
    """Return for each region the maxima over its bins, and their pixels (row * W + column).

    x: (N, H, W, C).  regions: (K, 5) whole numbers: the region's image, its first row and column,
    its height and width.  Returns (K, *size, C) twice.
    Bins have whole pixels and may overlap; a bin outside the image has a maximum of 0 and the
    number -1. A NaN is larger than all.
    """
    _, h, w, c = x.shape
    y = np.zeros((len(regions), *size, c), x.dtype)
    indices = np.full(y.shape, -1, np.int32)
    for k, (image, top, left, height, width) in enumerate(regions):
        for p in range(size[0]):
            first, last = _bin(top, height, p, size[0], h)
            for q in range(size[1]):
                start, end = _bin(left, width, q, size[1], w)
                pixels = x[image, first:last, start:end].reshape(-1, c)
                if len(pixels):
                    row, column = np.divmod(pixels.argmax(axis=0), end - start)
                    y[k, p, q] = pixels.max(axis=0)
                    indices[k, p, q] = (first + row) * w + start + column
    return y, indices


def _bin(start: int, length: int, number: int, count: int, most: int) -> Pair:
    """Return where bin `number` of `count` begins and ends, clipped to `most` pixels."""
    first, last = number * length // count, -(-(number + 1) * length // count)
    return min(max(start + first, 0), most), min(max(start + last, 0), most)


def roi_pool_scatter(
    dy: np.ndarray, indices: np.ndarray, images: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    """Return the gradient of roi_pool for x of this shape: dy added where the maxima came from."""
    dx = np.zeros((shape[0], shape[1] * shape[2], shape[3]), dy.dtype)
    key = _key(indices, images)
    np.add.at(dx, key, np.where(indices >= 0, dy, 0))
    return dx.reshape(shape)  # (N, H*W, C) -> (N, H, W, C)


def roi_pool_gather(x: np.ndarray, indices: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Return what stands in x where the maxima came from: the transpose of roi_pool_scatter."""
    n, h, w, c = x.shape
    found = x.reshape(n, h * w, c)[_key(indices, images)]
    return np.where(indices >= 0, found, x.dtype.type(0))


def _key(indices: np.ndarray, images: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the index of the maxima in (N, H*W, C)."""
    return images[:, None, None, None], np.maximum(indices, 0), np.arange(indices.shape[3])
