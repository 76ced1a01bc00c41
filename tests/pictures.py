"""Small image files of the tests' own making."""

import numpy as np
from PIL import Image


def picture(height=20, width=30, seed=0):
    """Smooth colours (H, W, 3) uint8, so that lossy formats keep them."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (3, 4, 3)).astype(np.uint8))
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def class_folders(root, counts, suffix=".png", size=(12, 16)):
    """`root` with a sub-folder of images for each class; the pixels of each by path."""
    made = {}
    for i, (name, count) in enumerate(counts.items()):
        for j in range(count):
            pixels = picture(*size, seed=100 * i + j)
            made[save(root / name / f"{j:02}{suffix}", pixels)] = pixels
    return made
