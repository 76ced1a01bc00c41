"""What training does to images: SSD's augmentation, then the detector's size."""

from typing import Any

from minidl.data.transforms import (
    BoxResize,
    ColorJitter,
    RandomBoxFlip,
    RandomIoUCrop,
    RandomZoomOut,
)

__all__ = ["augmentation"]

LARGEST_CANVAS = 2.0  # times the image's sides; the paper's 4 leaves too little of small images


def augmentation(size: tuple[int, int]) -> list[Any]:
    """Return the transforms of training images: colour, expansion, sampling by overlap, a flip.

    size: (H, W) that they are resized to in the end.
    Source: Liu et al. 2016, "SSD: Single Shot MultiBox Detector", section 2.2.
    """
    return [
        ColorJitter(brightness=0.2, contrast=0.3, saturation=0.3, hue=0.03),
        RandomZoomOut(side_range=(1.0, LARGEST_CANVAS)),
        RandomIoUCrop(),
        RandomBoxFlip(),
        BoxResize(size),
    ]
