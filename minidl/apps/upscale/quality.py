"""How alike two pictures are: PSNR and SSIM."""

import math

import numpy as np

from minidl.errors import ShapeError

__all__ = ["psnr", "ssim"]

PEAK = 255.0
WINDOW, SIGMA = 11, 1.5
K1, K2 = 0.01, 0.03


def psnr(picture: np.ndarray, truth: np.ndarray, border: int = 0) -> float:
    """Return the peak signal-to-noise ratio in dB: 10 log10(255^2 / mean squared difference).

    picture, truth: (H, W) or (H, W, C), from 0 to 255.  border: pixels at each edge that don't
    count. Equal pictures have infinity. Raises ShapeError for pictures of other sizes.
    """
    a, b = _pair("psnr", picture, truth, border)
    error = ((a - b) ** 2).mean()
    return 10 * math.log10(PEAK**2 / error) if error else math.inf


def ssim(picture: np.ndarray, truth: np.ndarray, border: int = 0) -> float:
    """Return the mean structural similarity of two pictures (H, W), from 0 to 255.

    Over windows of 11 x 11 pixels, weighted by a Gaussian of deviation 1.5, that lie inside.
    Raises ShapeError for pictures of other sizes, or smaller than a window.
    Source: Wang, Bovik, Sheikh and Simoncelli 2004, "Image quality assessment: from error
    visibility to structural similarity", equation 13.
    """
    a, b = _pair("ssim", picture, truth, border)
    if a.ndim != 2 or min(a.shape) < WINDOW:
        raise ShapeError(
            f"ssim expected pictures (H, W) of at least {WINDOW} x {WINDOW} pixels, got {a.shape}"
        )
    mean_a, mean_b = _blurred(a), _blurred(b)
    var_a, var_b = _blurred(a * a) - mean_a**2, _blurred(b * b) - mean_b**2
    shared = _blurred(a * b) - mean_a * mean_b
    c1, c2 = (K1 * PEAK) ** 2, (K2 * PEAK) ** 2
    found = (2 * mean_a * mean_b + c1) * (2 * shared + c2)
    found /= (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    return float(found.mean())


def _pair(
    who: str, picture: np.ndarray, truth: np.ndarray, border: int
) -> tuple[np.ndarray, np.ndarray]:
    a, b = (np.asarray(each, np.float64) for each in (picture, truth))
    inside = tuple(slice(border, n - border) for n in a.shape[:2])
    if a.shape != b.shape or a.ndim not in (2, 3) or not a[inside].size:
        raise ShapeError(
            f"{who} expected two pictures of one size, larger than twice the border of {border}, "
            f"got {a.shape} and {b.shape}"
        )
    return a[inside], b[inside]


def _blurred(x: np.ndarray) -> np.ndarray:
    """Means over windows, (H - 10, W - 10)."""
    at = np.arange(WINDOW) - WINDOW // 2
    bell = np.exp(-(at**2) / (2 * SIGMA**2))
    bell /= bell.sum()
    for axis in (0, 1):
        x = np.lib.stride_tricks.sliding_window_view(x, WINDOW, axis=axis) @ bell
    return x
