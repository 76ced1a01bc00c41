"""`measure`: how close enlarged pictures come to what they were before they were made smaller."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from minidl.apps.upscale.bicubic import bicubic
from minidl.apps.upscale.enlarging import enlarged
from minidl.apps.upscale.luminance import to_ycbcr
from minidl.apps.upscale.networks import Upscaler
from minidl.apps.upscale.quality import WINDOW, psnr, ssim
from minidl.data import read_image
from minidl.data.scanning import images_in
from minidl.errors import ArgumentError

__all__ = ["luminance_of", "measure", "pictures_in", "smaller"]


def measure(folder: str | os.PathLike[str], network: Upscaler) -> list[dict[str, Any]]:
    """Return PSNR and SSIM of bicubic interpolation and of a network, for the pictures in a folder.

    Each picture is made smaller by `network.scale`, and larger again; what counts is the luminance
    in whole numbers, without as many pixels at each edge: the protocol of Timofte et al. 2013 and
    Dong et al. 2016.
    Returns rows {"picture", "bicubic_psnr", "bicubic_ssim", "psnr", "ssim"}, then their "mean".
    Raises ArgumentError for a picture that is too small.
    """
    rows = []
    for path in pictures_in(folder):
        truth, small = smaller(luminance_of(path), network.scale)
        least = WINDOW + 2 * network.scale
        if min(truth.shape) < least:
            raise ArgumentError(
                f"{path} is too small to be measured: expected at least {least} x {least} pixels"
            )
        found: dict[str, Any] = {"picture": path.name}
        ways = {"bicubic_": bicubic(small, *truth.shape), "": enlarged(network, small)}
        for name, larger in ways.items():
            whole = np.rint(larger).clip(0, 255)
            found[f"{name}psnr"] = psnr(whole, truth, network.scale)
            found[f"{name}ssim"] = ssim(whole, truth, network.scale)
        rows.append(found)
    names = [name for name in rows[0] if name != "picture"]
    mean = {name: sum(row[name] for row in rows) / len(rows) for name in names}
    return [*rows, {"picture": "mean", **mean}]


def pictures_in(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the image files in a folder, sorted; ArgumentError if there are none."""
    found = images_in(folder)
    if not found:
        raise ArgumentError(f"there is no picture in the folder {os.fspath(folder)}")
    return found


def luminance_of(path: Path) -> np.ndarray:
    """Return the luminance (H, W) of a picture, in 255ths, float64, rounded as MATLAB does.

    A file of one channel, as sets for training have them, holds the luminance itself.
    """
    from PIL import Image

    picture = read_image(path)
    with Image.open(path) as file:
        grey = len(file.getbands()) == 1 and file.mode != "P"
    return picture[..., 0].astype(np.float64) if grey else np.rint(to_ycbcr(picture)[..., 0])


def smaller(luminance: np.ndarray, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the luminance, cut to whole multiples of `scale`, and it made as much smaller."""
    height, width = (n // scale for n in luminance.shape)
    cut = luminance[: height * scale, : width * scale]
    return cut, bicubic(cut, height, width) if cut.size else np.zeros((height, width))
