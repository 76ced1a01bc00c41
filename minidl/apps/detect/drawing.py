"""Boxes drawn over pictures, with labels that one can read."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.text import printable

__all__ = ["colour_of", "draw", "draw_boxes"]

Colour = tuple[int, int, int]

# Okabe, Ito 2008, "Color universal design": told apart by people who see fewer colours, too
COLOURS: tuple[Colour, ...] = (
    (0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0), (86, 180, 233),
    (240, 228, 66),
)  # fmt: skip
LEAST = 480  # pixels of the longer side below which a picture is enlarged


def colour_of(label: int) -> Colour:
    """Return the colour of a class by its number."""
    return COLOURS[label % len(COLOURS)]


def draw_boxes(
    image: np.ndarray, prediction: Mapping[str, np.ndarray], classes: Sequence[str]
) -> np.ndarray:
    """Return the image (H, W, 3) uint8 with boxes, and beside each its class and score.

    prediction: "boxes" (n, 4) in pixels of the image, "labels" (n,) and, unless it is a target,
        "scores" (n,).
    A picture whose longer side has less than 480 pixels is enlarged by a whole factor, so that
    labels can be read; lines and letters grow with larger pictures.
    Raises DTypeError or ShapeError for other images, ArgumentError for labels without a class,
    ImportError without Pillow.
    """
    labels = [int(label) for label in prediction["labels"]]
    if unknown := [label for label in labels if not 0 <= label < len(classes)]:
        raise ArgumentError(
            f"draw_boxes expected labels from 0 to {len(classes) - 1}, got {unknown[0]}"
        )
    scores = prediction.get("scores")
    texts = [
        classes[label] if scores is None else f"{classes[label]} {float(scores[i]):.2f}"
        for i, label in enumerate(labels)
    ]
    return draw(image, prediction["boxes"], texts, [colour_of(label) for label in labels])


def draw(
    image: np.ndarray, boxes: np.ndarray, texts: Sequence[str], colours: Sequence[Colour]
) -> np.ndarray:
    """Return the image with a box, a text and a colour each, the last boxes under the first."""
    from PIL import Image, ImageDraw, ImageFont

    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        kind = getattr(image, "dtype", type(image).__name__)
        raise DTypeError(f"draw_boxes expected an image of uint8, got {kind}")
    if image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ShapeError(f"draw_boxes expected an image (H, W, 3), got shape {image.shape}")
    scale = max(1, -(-LEAST // max(image.shape[:2])))
    height, width = (scale * side for side in image.shape[:2])
    picture = Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(picture)
    line = max(2, round(max(height, width) / 400))
    font: Any = ImageFont.load_default(size=max(12, round(max(height, width) / 55)))
    places = [tuple(float(c) * scale for c in box) for box in np.asarray(boxes)]
    for box, colour in reversed([*zip(places, colours, strict=True)]):
        x1, y1, x2, y2 = box
        pen.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=colour, width=line)
    taken: list[tuple[float, ...]] = []
    for box, text, colour in zip(places, texts, colours, strict=True):
        text = printable(text)
        left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
        size = (right - left + 6, bottom - top + 6)
        place = _free_place(box, size, (width, height), taken)
        taken.append(place)
        pen.rectangle(place, fill=colour)
        at = (place[0] + 3 - left, place[1] + 3 - top)
        pen.text(at, text, fill=_ink(colour), font=font)
    return np.asarray(picture).copy()


def _free_place(
    box: tuple[float, ...],
    size: tuple[float, float],
    limits: tuple[int, int],
    taken: Sequence[tuple[float, ...]],
) -> tuple[float, float, float, float]:
    """Return where a label goes: above its box or in it, at the first place that is free."""
    x1, y1, x2, y2 = box
    wide, high = size
    tops = (y1 - high, y1, y2 - high, y2)
    tries = [(left, top) for top in tops for left in (x1, x2 - wide)]
    places = []
    for left, top in tries:
        left = max(0.0, min(left, limits[0] - wide))
        top = max(0.0, min(top, limits[1] - high))
        places.append((left, top, left + wide, top + high))
    return next((p for p in places if not any(_overlap(p, other) for other in taken)), places[0])


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    across = one[0] < other[2] and other[0] < one[2]
    return across and one[1] < other[3] and other[1] < one[3]


def _ink(colour: Colour) -> Colour:
    """Return black or white, what can be read on a colour (ITU-R BT.601's grey)."""
    red, green, blue = colour
    return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else (255, 255, 255)
