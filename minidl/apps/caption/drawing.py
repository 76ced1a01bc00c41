"""Pictures of where a captioner looked before each word."""

from typing import Any

import numpy as np

from minidl.apps.caption.decoders import Decoder, Ensemble
from minidl.apps.grids import grid
from minidl.apps.pictures import fitted, pixels, resized
from minidl.errors import ArgumentError, ShapeError
from minidl.text import printable

__all__ = ["attention_picture", "check_attends"]

SIDE = 224  # pixels of the longer side of a tile
BAND = 24  # pixels below it, for the word
DARKEST = 0.15  # of a pixel's light, where the network didn't look


def check_attends(who: str, decoder: Decoder | Ensemble) -> None:
    """Raise ArgumentError for a decoder that doesn't choose where to look."""
    if not decoder.takes_maps:
        raise ArgumentError(
            f'{who}: this captioner looks at the whole image once: train one with decoder="attend"'
        )


def attention_picture(image: np.ndarray, words: list[str], weights: np.ndarray) -> np.ndarray:
    """Return the image once as it is and once for each word, light where the network looked.

    image: (H, W, 3) uint8, the part that the network took: `Captioner.photograph`.
    weights: of places, (words, h, w), as `observe` returns them. In each tile the largest one keeps
        the image's light, and others have the less, the smaller they are.
    Returns (height, width, 3) uint8.
    Raises ShapeError for other weights than a map for each word.
    Source: Xu et al. 2015, figure 3.
    """
    if weights.ndim != 3 or len(weights) != len(words):
        raise ShapeError(
            f"attention_picture expected weights ({len(words)}, h, w), got {weights.shape}"
        )
    size = fitted(image.shape, SIDE)
    plain = resized(image.astype(np.float32) / 255, size)
    tiles = [_tile(plain, "")]
    for word, each in zip(words, weights, strict=True):
        light = resized(each[..., np.newaxis].astype(np.float32), size).clip(0)  # (H, W, 1)
        light = light / max(float(light.max()), 1e-12)
        tiles.append(_tile(plain * (DARKEST + (1 - DARKEST) * light), word))
    return grid(np.stack(tiles))


def _tile(picture: np.ndarray, word: str) -> np.ndarray:
    """Return a picture (H, W, 3) from 0 to 1 with a word below it, uint8."""
    from PIL import Image, ImageDraw, ImageFont

    height, width = picture.shape[:2]
    tile = Image.new("RGB", (width, height + BAND), "white")
    tile.paste(Image.fromarray(pixels(picture)), (0, 0))
    font: Any = ImageFont.load_default(size=BAND * 2 // 3)
    pen = ImageDraw.Draw(tile)
    pen.text((width / 2, height + BAND / 2), printable(word), "black", font, anchor="mm")
    return np.asarray(tile)
