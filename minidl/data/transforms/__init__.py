"""Changes to batches of images: preprocessing, and augmentation.

All are called as `transform(images, rng)`: images (N, H, W, C), uint8 or float32; with a generator
in training, without one in evaluation, where random transforms do the same to every image.
"""

from minidl.data.transforms.base import RandomTransform, Transform
from minidl.data.transforms.colour import (
    ColorJitter, Grayscale, RandomBrightness, RandomContrast, ToBGR, ToYUV,
)  # fmt: skip
from minidl.data.transforms.crop import CenterCrop, RandomCrop, RandomResizedCrop, TenCrop
from minidl.data.transforms.geometry import (
    RandomAffine, RandomHorizontalFlip, RandomVerticalFlip, Resize, ResizeShort,
)  # fmt: skip
from minidl.data.transforms.normalize import Normalize, SubtractMean
from minidl.data.transforms.prepare import prepare

__all__ = [
    "CenterCrop", "ColorJitter", "Grayscale", "Normalize", "RandomAffine", "RandomBrightness",
    "RandomContrast", "RandomCrop", "RandomHorizontalFlip", "RandomResizedCrop", "RandomTransform",
    "RandomVerticalFlip", "Resize", "ResizeShort", "SubtractMean", "TenCrop", "ToBGR", "ToYUV",
    "Transform", "prepare",
]  # fmt: skip
