"""Super-resolution: pictures made larger by networks that were trained to.

`upscale` does what `minidl upscale` does, `train_upscaler` makes networks of your own for it, and
`measure` tells how close they come to pictures that were made smaller before, beside bicubic
interpolation.
"""

from minidl.apps.upscale.bicubic import bicubic
from minidl.apps.upscale.enlarging import Upscaled, upscale
from minidl.apps.upscale.measuring import measure
from minidl.apps.upscale.networks import ESPCN, SRCNN, load_upscaler
from minidl.apps.upscale.quality import psnr, ssim
from minidl.apps.upscale.training import train_upscaler

__all__ = [
    "ESPCN", "SRCNN", "Upscaled", "bicubic", "load_upscaler", "measure", "psnr", "ssim",
    "train_upscaler", "upscale",
]  # fmt: skip
