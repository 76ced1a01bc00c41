"""Affine warps of images: every output pixel looks up where it comes from."""

import numpy as np


def warp(x: np.ndarray, matrices: np.ndarray, fill: float | None) -> np.ndarray:
    """Images pulled through affine maps, by bilinear interpolation; dtype and size stay.

    x: (N, H, W, C), uint8 or floats.  matrices: (N, 2, 3): output point (u, v) shows input point
    matrix @ (u, v, 1), horizontal before vertical, where pixel (row i, column j) has its centre at
    (j + 0.5, i + 0.5).  fill: the value of all pixels beyond the edges; None: that of the nearest
    pixel at the edge.
    uint8 is rounded to nearest, halves up.
    """
    _, h, w, _ = x.shape
    matrices = np.asarray(matrices, np.float64)[:, :, :, None, None]  # (N, 2, 3) -> (N, 2, 3, 1, 1)
    v, u = np.mgrid[:h, :w] + 0.5
    column, row = (m[:, 0] * u + m[:, 1] * v + m[:, 2] - 0.5 for m in matrices.swapaxes(0, 1))
    left, top = np.floor(column).astype(int), np.floor(row).astype(int)  # (N, H, W)
    across, down = (column - left)[..., None], (row - top)[..., None]
    upper = _mix(_pixels(x, top, left, fill), _pixels(x, top, left + 1, fill), across)
    lower = _mix(_pixels(x, top + 1, left, fill), _pixels(x, top + 1, left + 1, fill), across)
    y = _mix(upper, lower, down)
    return (np.floor(y + 0.5) if x.dtype == np.uint8 else y).astype(x.dtype)


def _mix(a: np.ndarray, b: np.ndarray, share: np.ndarray) -> np.ndarray:
    return a + (b - a) * share


def _pixels(x: np.ndarray, row: np.ndarray, column: np.ndarray, fill: float | None) -> np.ndarray:
    """Return the pixels at these places of their images: (N, H, W) twice -> (N, H, W, C)."""
    n, h, w, _ = x.shape
    image = np.arange(n)[:, None, None]
    values = x[image, row.clip(0, h - 1), column.clip(0, w - 1)].astype(np.float64)
    if fill is not None:
        values[(row < 0) | (row >= h) | (column < 0) | (column >= w)] = fill
    return values
