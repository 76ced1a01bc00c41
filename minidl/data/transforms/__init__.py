"""Changes to batches of images: preprocessing, and augmentation.

All are called as `transform(images, rng)`: images (N, H, W, C), uint8 or float32; with a generator
in training, without one in evaluation, where random transforms do the same to every image.
Those that move boxes along take one image at a time: `transform(image, target, rng)`.
What a file lists in its `__all__` is public.
"""

from minidl.data.transforms import (
    base,
    blur,
    box_base,
    box_crop,
    boxes,
    colour,
    crop,
    erasing,
    geometry,
    normalize,
    randaugment,
    tone,
)
from minidl.data.transforms.base import *
from minidl.data.transforms.blur import *
from minidl.data.transforms.box_base import *
from minidl.data.transforms.box_crop import *
from minidl.data.transforms.boxes import *
from minidl.data.transforms.colour import *
from minidl.data.transforms.crop import *
from minidl.data.transforms.erasing import *
from minidl.data.transforms.geometry import *
from minidl.data.transforms.normalize import *
from minidl.data.transforms.randaugment import *
from minidl.data.transforms.tone import *
from minidl.data.transforms.prepare import prepare

__all__ = ["prepare"]
__all__ += base.__all__
__all__ += blur.__all__
__all__ += box_base.__all__
__all__ += box_crop.__all__
__all__ += boxes.__all__
__all__ += colour.__all__
__all__ += crop.__all__
__all__ += erasing.__all__
__all__ += geometry.__all__
__all__ += normalize.__all__
__all__ += randaugment.__all__
__all__ += tone.__all__
