"""Brightness and colours of pictures apart: Y, Cb and Cr of ITU-R BT.601, as MATLAB has them."""

import numpy as np

__all__ = ["from_ycbcr", "to_ycbcr"]

# Rows Y, Cb, Cr of R, G, B from 0 to 1, in 255ths; Y is from 16 to 235.
MATRIX = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]])
OFFSET = np.array([16.0, 128.0, 128.0])


def to_ycbcr(picture: np.ndarray) -> np.ndarray:
    """Return Y, Cb, Cr (H, W, 3), in 255ths, float64, of a picture (H, W, 3) uint8."""
    return picture.astype(np.float64) / 255 @ MATRIX.T + OFFSET


def from_ycbcr(planes: np.ndarray) -> np.ndarray:
    """Return the picture (H, W, 3) uint8 of Y, Cb, Cr; what no screen shows is cut off."""
    colours = (planes - OFFSET) @ np.linalg.inv(MATRIX).T * 255
    return np.rint(colours).clip(0, 255).astype(np.uint8)
