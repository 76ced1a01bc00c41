"""Bicubic interpolation as MATLAB's `imresize` does it, which the papers' figures rest on."""

import numpy as np

from minidl.checks import positive
from minidl.errors import ShapeError

__all__ = ["bicubic"]

WIDTH = 4.0  # of the kernel, in pixels
A = -0.5


def bicubic(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return a picture (H, W) or (H, W, C) resampled to (height, width), float64.

    Pictures that become smaller are smoothed by a kernel as much wider. Beyond its edges a picture
    goes on as its mirror image. Nothing is rounded, nor cut off where it overshoots.
    Raises ShapeError for what is no picture.
    Source: Keys 1981, "Cubic convolution interpolation for digital image processing"; a = -0.5.
    """
    found = np.asarray(picture, np.float64)
    if found.ndim not in (2, 3) or not found.size:
        raise ShapeError(f"bicubic expected a picture (H, W) or (H, W, C), got {found.shape}")
    for axis, size in enumerate((height, width)):
        new = positive("bicubic", ("height", "width")[axis], size)
        along = _matrix(found.shape[axis], new)  # (new, old)
        found = np.moveaxis(np.tensordot(along, found, (1, axis)), 0, axis)
    return found


def _matrix(old: int, new: int) -> np.ndarray:
    """What each of `new` pixels takes of each of `old`, (new, old)."""
    scale = new / old
    wide = min(1.0, scale)  # a kernel 1 / wide times as wide when pictures become smaller
    centre = (np.arange(new) + 0.5) / scale - 0.5
    taps = int(np.ceil(WIDTH / wide)) + 2
    first = np.floor(centre - WIDTH / wide / 2).astype(np.int64)
    places = first[:, np.newaxis] + np.arange(taps) + 1  # (new, taps)
    shares = wide * _cubic(wide * (centre[:, np.newaxis] - places))
    shares /= shares.sum(axis=1, keepdims=True)
    inside = places % (2 * old)
    inside = np.where(inside < old, inside, 2 * old - 1 - inside)  # the mirror image
    matrix = np.zeros((new, old))
    np.add.at(matrix, (np.arange(new)[:, np.newaxis], inside), shares)
    return matrix


def _cubic(x: np.ndarray) -> np.ndarray:
    x = np.abs(x)
    near = (A + 2) * x**3 - (A + 3) * x**2 + 1
    far = A * x**3 - 5 * A * x**2 + 8 * A * x - 4 * A
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))
