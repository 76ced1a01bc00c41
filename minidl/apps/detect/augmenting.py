"""What training does to images: SSD's augmentation, then the detector's size."""

from typing import Any

import numpy as np

from minidl.apps.pictures import resized

__all__ = ["augmentation"]


class Fit:
    def __init__(self, size): self.size = size
    def __call__(self, image, target, generator):
        h, w = image.shape[:2]
        f = np.float32([self.size[1] / w, self.size[0] / h] * 2)
        out = np.rint(resized(image.astype(np.float32), self.size)).clip(0, 255).astype(np.uint8)
        return out, target | {"boxes": target["boxes"] * f}


class Flip:
    def __call__(self, image, target, generator):
        if generator is None or generator.random() < 0.5: return image, target
        b = target["boxes"].copy(); b[:, [0, 2]] = image.shape[1] - b[:, [2, 0]]
        return np.ascontiguousarray(image[:, ::-1]), target | {"boxes": b}


def augmentation(size: tuple[int, int]) -> list[Any]:
    return [Flip(), Fit(size)]
