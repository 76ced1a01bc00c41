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

# Milder than the paper's, whose canvases of 4 times the sides and parts of 0.3 of them need more
# epochs than a small set is trained for on a CPU
CANVAS = (1.0, 1.5)  # sides of the larger canvas, over the image's
LEAST_PART = 0.6  # of the image's sides
ASPECTS = (0.75, 4 / 3)  # of a part, whose image has another one


def augmentation(size: tuple[int, int]) -> list[Any]:
    """Return the transforms of training images: colour, expansion, sampling by overlap, a flip.

    size: (H, W) that they are resized to in the end.
    Source: Liu et al. 2016, "SSD: Single Shot MultiBox Detector", section 2.2.
    """
    return [
        ColorJitter(brightness=0.2, contrast=0.3, saturation=0.3, hue=0.03),
        RandomZoomOut(side_range=CANVAS),
        RandomIoUCrop(LEAST_PART, 1.0, *ASPECTS),
        RandomBoxFlip(),
        BoxResize(size),
    ]
