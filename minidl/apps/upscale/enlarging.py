"""`upscale`: a picture made larger, its brightness by a network, its colours by interpolation."""

import os
from importlib.resources import as_file, files
from typing import Any, NamedTuple

import numpy as np

from minidl.apps.pictures import Picture, open_picture, pixels
from minidl.apps.upscale.bicubic import bicubic
from minidl.apps.upscale.luminance import from_ycbcr, to_ycbcr
from minidl.apps.upscale.networks import Upscaler, load_upscaler
from minidl.autograd import no_grad
from minidl.checks import positive
from minidl.nn import functional

__all__ = ["Upscaled", "enlarged", "own_upscaler", "upscale"]

TILE = 256  # pixels of the larger picture's sides that are made at once
OWN = "espcn_x3.h5"


class Upscaled(NamedTuple):
    """A picture (H, W, 3) uint8, and the settings that it was made with."""

    picture: np.ndarray
    settings: dict[str, Any]


def upscale(
    picture: Picture, weights: str | os.PathLike[str] | None = None, *, tile: int = TILE
) -> Upscaled:
    """Return a picture made larger, as often as the network was trained for.

    picture: a file, or an array of uint8: (H, W), (H, W, 3), or with transparency, which goes.
    weights: a file that `load_upscaler` reads; None: minidl's own ESPCN, three times as large.
    tile: sides of the squares, in pixels of the result, that are made one by one; it decides
        how much memory is taken, and nothing of the result.
    Raises FileFormatError for what is no picture and for weights of other networks.
    """
    tile = positive("upscale", "tile", tile)
    network = own_upscaler() if weights is None else load_upscaler(weights)
    small = pixels(open_picture("upscale", "picture", picture))
    planes = to_ycbcr(small)
    height, width = (n * network.scale for n in small.shape[:2])
    larger = bicubic(planes, height, width)
    larger[..., 0] = enlarged(network, planes[..., 0], tile)
    made = {
        "weights": "minidl's own" if weights is None else os.fspath(weights),
        "network": type(network).__name__,
        "scale": network.scale,
    }
    return Upscaled(from_ycbcr(larger), made)


def own_upscaler() -> Upscaler:
    """Return the ESPCN that comes with minidl, for three times the size."""
    with as_file(files("minidl.apps.upscale").joinpath(OWN)) as path:
        return load_upscaler(path)


def enlarged(network: Upscaler, luminance: np.ndarray, tile: int = TILE) -> np.ndarray:
    """Return the luminance (H, W), in 255ths, `network.scale` times as large, float64."""
    scale, margin = network.scale, network.margin
    shape = tuple(n * scale for n in luminance.shape)
    x = bicubic(luminance, *shape) if network.interpolated else luminance
    step = tile if network.interpolated else max(1, tile // scale)  # in pixels of the input
    # Beyond its edges the picture goes on as it is there.
    padded = np.pad(x / 255, margin, mode="edge").astype(np.float32)
    found = np.empty(shape)
    for top in range(0, x.shape[0], step):
        for left in range(0, x.shape[1], step):
            part = padded[top : top + step + 2 * margin, left : left + step + 2 * margin]
            made = _made(network, part)
            times = 1 if network.interpolated else scale
            at = (top * times, left * times)
            found[at[0] : at[0] + made.shape[0], at[1] : at[1] + made.shape[1]] = made
    return found * 255


def _made(network: Upscaler, part: np.ndarray) -> np.ndarray:
    """What a network makes of a part (h, w) of its padded input."""
    with no_grad():
        y = network(part[np.newaxis, ..., np.newaxis])  # (h, w) -> (1, h, w, 1)
        if not network.interpolated:
            y = functional.pixel_shuffle(y, network.scale)
    made: np.ndarray = y.data[0, ..., 0]
    return made
