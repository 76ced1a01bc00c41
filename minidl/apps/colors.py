"""Colors of a content kept in a picture of another style."""

import numpy as np

__all__ = ["keep_luminance", "match_colors"]

# Rows Y, I, Q of R, G, B.  Source: the NTSC standard of 1953.
YIQ = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])


def keep_luminance(result: np.ndarray, content: np.ndarray) -> np.ndarray:
    """Return the brightness of one picture with the colors of another, both (H, W, 3)."""
    found, kept = result @ YIQ.T, content @ YIQ.T
    mixed = np.concatenate([found[..., :1], kept[..., 1:]], axis=2)
    return (mixed @ np.linalg.inv(YIQ).T).astype(result.dtype)


def match_colors(style: np.ndarray, content: np.ndarray) -> np.ndarray:
    """Return the style with the mean and the covariance of the content's colors.

    style (H, W, 3), content (h, w, 3): from 0 to 1, as is the result, (H, W, 3).
    Source: Gatys et al. 2016, "Preserving Color in Neural Artistic Style Transfer", section 4.1,
    by symmetric square roots.
    """
    colors, wanted = style.reshape(-1, 3), content.reshape(-1, 3)  # (H, W, 3) -> (H * W, 3)
    change = _root(wanted, 0.5) @ _root(colors, -0.5)
    found = (colors - colors.mean(axis=0)) @ change.T + wanted.mean(axis=0)
    return found.clip(0, 1).reshape(style.shape).astype(style.dtype)


def _root(colors: np.ndarray, power: float) -> np.ndarray:
    """The covariance of colors (P, 3) to a power."""
    covariance = 1e-6 * np.eye(3)
    if len(colors) > 1:  # one pixel doesn't vary
        covariance += np.cov(colors.astype(np.float64), rowvar=False)
    values, vectors = np.linalg.eigh(covariance)
    found: np.ndarray = (vectors * values**power) @ vectors.T
    return found
