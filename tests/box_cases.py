"""Boxes, scores, feature maps and settings that tests share with what records torchvision's."""

import numpy as np


def boxes(seed: int, count: int, size: float = 100.0) -> np.ndarray:
    """Random boxes (count, 4) in an image of this size."""
    random = np.random.default_rng(seed)
    corners = random.uniform(0, size, (count, 2))
    sides = random.uniform(0.02 * size, 0.4 * size, (count, 2))
    return np.concatenate([corners, corners + sides], axis=1).astype(np.float32)


def scores(seed: int, count: int) -> np.ndarray:
    """Random scores, many of them equal."""
    return np.random.default_rng(seed).integers(0, 50, count).astype(np.float32) / 50


def regions(seed: int, count: int) -> np.ndarray:
    """Boxes (count, 5) of two images of 64 x 64 pixels, some partly or wholly outside."""
    random = np.random.default_rng(seed)
    corners = random.uniform(-20, 75, (count, 2))
    sides = random.uniform(0.5, 60, (count, 2))
    images = random.integers(0, 2, (count, 1))
    return np.concatenate([images, corners, corners + sides], axis=1).astype(np.float32)


def maps(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


ALIGN = [(2, 0.125, -1, False), ((3, 2), 0.125, -1, True), (2, 0.125, 2, True), (3, 0.1, 1, False)]
SSD = {
    "feature_sizes": [(38, 38), (19, 19), (10, 10), (5, 5), (3, 3), (1, 1)],
    "image_size": (300, 300),
    "scales": [0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05],
    "ratios": [[2], [2, 3], [2, 3], [2, 3], [2], [2]],
    "steps": [8, 16, 32, 64, 100, 300],
}
