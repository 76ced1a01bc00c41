"""Pictures of the applications: files in, PNG out, sizes, and how far a run has come."""

import json
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from minidl.data import read_image
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.io.atomic import atomic_write
from minidl.version import __version__

__all__ = ["Picture", "Step", "check_memory", "fitted", "open_picture", "pixels", "resized",
           "rgb_pixels", "save_png"]  # fmt: skip

Picture = str | os.PathLike[str] | np.ndarray

HINT = "give a file, or an array (H, W, 3) of uint8"


class Step(NamedTuple):
    """How far a run has come, as `on_step` is told.

    number: of steps done, from 1; total: that there will be, at most.
    stage: the part of the run, such as "octave 2 of 3".
    value: of the objective or the loss.
    picture: returns the best picture so far, (H, W, 3) uint8, in the size of the result.
    """

    number: int
    total: int
    stage: str
    value: float
    picture: Callable[[], np.ndarray]


def open_picture(who: str, name: str, picture: Picture, size: int | None = None) -> np.ndarray:
    """Return a picture from 0 to 1, (H, W, 3) float32, RGB.

    picture: a file that `data.read_image` reads, or an array of uint8: (H, W), (H, W, 3) or, with
        transparency, which is dropped, (H, W, 4).
    size: the longer side, in pixels; None keeps that of the picture.
    """
    x = rgb_pixels(who, name, picture).astype(np.float32) / 255
    return x if size is None else resized(x, fitted(x.shape[:2], size))


def rgb_pixels(who: str, name: str, picture: Picture) -> np.ndarray:
    """Return a picture as pixels (H, W, 3) uint8, RGB; `picture` is as in `open_picture`.

    Raises DTypeError for what is no picture.
    """
    if isinstance(picture, str | os.PathLike):
        return read_image(picture)
    if isinstance(picture, np.ndarray):
        return _of_array(who, name, picture)
    raise DTypeError(f"{who}: {name}= must be a picture, got {type(picture).__name__}: {HINT}")


def _of_array(who: str, name: str, picture: np.ndarray) -> np.ndarray:
    if picture.dtype != np.uint8:
        raise DTypeError(f"{who}: {name}= must be of uint8, got {picture.dtype}: {HINT}")
    found = np.repeat(picture[..., None], 3, axis=2) if picture.ndim == 2 else picture
    if found.ndim != 3 or found.shape[2] not in (3, 4) or not found.size:
        raise ShapeError(f"{who}: {name}= must be a picture, got shape {picture.shape}: {HINT}")
    return found[..., :3]


def fitted(shape: tuple[int, ...], size: int) -> tuple[int, int]:
    """Return (H, W) with the same aspect, whose longer side is `size`."""
    height, width = (max(1, round(n * size / max(shape[:2]))) for n in shape[:2])
    return height, width


def resized(x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return x (H, W, C) float32 resampled to (h, w, C): bicubic, antialiased, Pillow's."""
    from PIL import Image

    if x.shape[:2] == tuple(size):
        return x
    planes = [
        Image.fromarray(np.ascontiguousarray(x[..., c])).resize(
            (size[1], size[0]), Image.Resampling.BICUBIC
        )
        for c in range(x.shape[2])
    ]
    return np.stack([np.asarray(plane) for plane in planes], axis=2)


def pixels(x: np.ndarray) -> np.ndarray:
    """Return x (H, W, C), from 0 to 1, as uint8."""
    found: np.ndarray = (x * 255).round().clip(0, 255).astype(np.uint8)
    return found


def save_png(
    path: str | os.PathLike[str], picture: np.ndarray, settings: Mapping[str, Any]
) -> None:
    """Write a picture (H, W, 3) uint8, whole or not at all, with its settings as text.

    The text `minidl` of the PNG holds the settings as JSON; the same ones give the same bytes.
    """
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    told = PngInfo()
    told.add_text("Software", f"minidl {__version__}")
    told.add_itxt("minidl", json.dumps(settings, default=_plain, ensure_ascii=False))
    with atomic_write(path) as temporary:
        Image.fromarray(picture).save(temporary, "PNG", pnginfo=told)


def _plain(value: Any) -> Any:
    """What JSON doesn't know: arrays and models by what they are, paths by their text."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    if isinstance(value, np.generic):
        return value.item()
    return str(value) if isinstance(value, os.PathLike) else f"a {type(value).__name__}"


def check_memory(who: str, size: int, wanted: int) -> None:
    """Raise ArgumentError where `wanted` bytes for a longer side of `size` pixels aren't free.

    Memory grows with the area, which tells the size that would do.
    """
    free = _free_bytes()
    if free is None or wanted <= free:
        return
    fits = int(size * (free / wanted) ** 0.5)
    raise ArgumentError(
        f"{who}: a picture of {size} pixels needs about {wanted / 2**30:.1f} GiB, and "
        f"{free / 2**30:.1f} are free: a size= of {fits} would do"
    )


def _free_bytes() -> int | None:
    """Return the memory that may be taken, as far as the system tells."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return 1024 * int(line.split()[1])
    except (OSError, ValueError):
        pass
    return None
