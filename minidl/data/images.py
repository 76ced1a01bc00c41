"""Image files as arrays of pixels."""

import os
from collections.abc import Callable
from typing import Any, BinaryIO, TypeVar

import numpy as np

from minidl.checks import is_whole
from minidl.errors import ArgumentError, FileFormatError

__all__ = [
    "SMALL", "SUFFIXES", "Size", "check_size", "fit_pixels", "image_size", "read_image",
    "read_image_file", "with_margin", "without_margin",
]  # fmt: skip

# Formats by Pillow's names, with their suffixes. No others: Pillow hands some of its formats to
# other programs (EPS to Ghostscript), and some aren't pictures.
FORMATS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), "PNG": (".png", ".apng"), "BMP": (".bmp",),
    "DIB": (".dib",), "GIF": (".gif",), "TIFF": (".tif", ".tiff"), "WEBP": (".webp",),
    "PPM": (".pbm", ".pgm", ".ppm", ".pnm", ".pfm"), "AVIF": (".avif", ".avifs"),
    "JPEG2000": (".jp2", ".j2k", ".jpc", ".jpf", ".jpx", ".j2c"), "PSD": (".psd",),
    "ICO": (".ico",), "SGI": (".sgi", ".rgb", ".rgba", ".bw"), "QOI": (".qoi",), "PCX": (".pcx",),
    "SUN": (".ras",), "TGA": (".tga", ".icb", ".vda", ".vst"),
}  # fmt: skip
SUFFIXES = frozenset(suffix for suffixes in FORMATS.values() for suffix in suffixes)
UNMARKED = ("DIB", "TGA", "PCX", "ICO")  # known by the suffix alone: other bytes may look like them
FITS = ("crop", "stretch", "short")
SMALL = 96  # pixels; larger images are photographs, decoded with a margin around what is cropped
# Of the upper 8 of 16 bits. What has no more than these holds 14 bits a pixel, or 12, or fewer: PNG
# and TIFF don't tell, and scanners and cameras leave the upper bits empty.
OF_14_BITS, OF_12_BITS = 63, 15
SPECKS = 0.001  # of the pixels: dead ones, marks, text that was burnt in
ORIENTATION = 0x0112  # EXIF's number of it
BITS_PER_SAMPLE = 258  # TIFF's
DEEP = "minidl: 16 bits"

Size = int | tuple[int, int]
Found = TypeVar("Found")


def read_image(
    path: str | os.PathLike[str], size: Size | None = None, fit: str = "crop"
) -> np.ndarray:
    """Return the image in a file, upright: (H, W, 3) uint8, RGB.

    size: (H, W) in pixels, a number for a square, None for the size that it has.
    fit: "crop" resizes until the size is covered and cuts out its centre; "stretch" resizes both
        sides, whatever the aspect; "short" resizes the short side to the number `size` and keeps
        all of the image.
    Resizing is bilinear with antialiasing, Pillow's; a JPEG that is much larger is decoded at a
    half, quarter or eighth first, never below twice the size. Of 16 bits a pixel the upper 8 are
    kept, and of 12 in a TIFF that says so; transparency is dropped, and the colours below it show;
    of several frames the first is taken.
    Raises FileFormatError for what is damaged, cut off, too large to be safe or no image, and for
    pixels of unknown range: floats, 32-bit integers, 16-bit ones that use 14 bits or fewer, or
    but for specks 12 or fewer, and pictures that are drawn in their transparency alone. OSError
    where the system refuses, ImportError without Pillow.
    """
    wanted = check_size(size, fit)
    with open(path, "rb") as file:
        return _opened(file, os.fspath(path), lambda image: _decode(image, wanted, fit))


def read_image_file(file: BinaryIO, name: str) -> np.ndarray:
    """Return the image in an open file, such as a member of an archive; else as `read_image`."""
    return _opened(file, name, lambda image: _decode(image, None, "crop"))


def image_size(file: BinaryIO, name: str) -> tuple[tuple[int, int], bool]:
    """Return (H, W) of the upright image in an open file, and whether EXIF data turn it.

    Pixels aren't decoded. Raises as `read_image` does where the file's start is damaged.
    """

    def measured(image: Any) -> tuple[tuple[int, int], bool]:
        turn = _turn(image)
        return _upright(image, turn), turn is not None

    return _opened(file, name, measured)


def _opened(file: BinaryIO, name: str, use: Callable[[Any], Found]) -> Found:
    """Return what `use` makes of the Pillow image in a file, called `name` in errors."""
    try:
        with _pillow().open(file, formats=_formats(name)) as image:
            return use(image)
    except (MemoryError, ImportError):
        raise
    except FileFormatError as error:
        raise FileFormatError(f"{name}: {error}") from None
    except Exception as error:  # on damaged files Pillow's readers raise almost anything
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = _reason(error, file.seek(0, os.SEEK_END))
        raise FileFormatError(f"{name}: {reason}") from error


def with_margin(size: int) -> int:
    """Return the height and width to decode images to for a network that takes `size`.

    Photographs are made larger by a seventh, so that there is something to crop.
    """
    return size if size < SMALL else size * 8 // 7


def without_margin(size: int) -> int:
    """Return the size of the network for which images are decoded to `size`."""
    return size if size < SMALL else size * 7 // 8


def check_size(size: Any, fit: Any) -> tuple[int, int] | None:
    """`size` as (H, W), or ArgumentError for what `read_image` doesn't take."""
    if fit not in FITS:
        raise ArgumentError(f"fit must be one of {', '.join(FITS)}, got {fit!r}")
    if size is None:
        return None
    pair = size if isinstance(size, tuple | list) else (size, size)
    if len(pair) != 2 or not all(is_whole(n) and n > 0 for n in pair):
        raise ArgumentError(f"size must be pixels, such as 224, or (height, width), got {size!r}")
    if fit == "short" and isinstance(size, tuple | list):
        raise ArgumentError(f'fit="short" takes one number, the short side, got size={size!r}')
    return int(pair[0]), int(pair[1])


def fit_pixels(pixels: np.ndarray, size: Size | None, fit: str) -> np.ndarray:
    """Pixels (H, W, 3) uint8, resized and cut as `read_image` does with a file's."""
    wanted = check_size(size, fit)
    return pixels if wanted is None else np.array(_fitted(_pillow().fromarray(pixels), wanted, fit))


def _formats(path: str | os.PathLike[str]) -> list[str]:
    """Return what the file may be, of what this Pillow reads."""
    suffix = os.path.splitext(os.fspath(path))[1].lower()
    _pillow().init()  # once
    return [
        name for name, suffixes in FORMATS.items()
        if name in _pillow().OPEN and (name not in UNMARKED or suffix in suffixes)
    ]  # fmt: skip


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("reading images needs Pillow: pip install 'minidl[images]'") from error
    return Image


def _reason(error: Exception, length: int) -> str:
    """Return what is wrong with a file, in place of what Pillow raised."""
    kind = type(error).__name__
    if not length:
        return "the file is empty (0 bytes)"
    if kind == "UnidentifiedImageError":
        return (
            "expected an image (JPEG, PNG, BMP, GIF, TIFF, WebP, ...), found something else, or "
            "one whose start is damaged"
        )
    if kind.startswith("DecompressionBomb"):
        return f"it declares more pixels than Pillow takes to be safe: {error}"
    return f"the image is damaged or cut off: {error or kind}"


def _decode(image: Any, wanted: tuple[int, int] | None, fit: str) -> np.ndarray:
    """Pixels (H, W, 3) of an image that is open but not read."""
    most = _pillow().MAX_IMAGE_PIXELS
    if most is not None and image.width * image.height > most:
        # Pillow itself only warns of up to twice as many.
        raise _pillow().DecompressionBombError(f"{image.width} x {image.height}")
    image.info[DEEP] = any(";16" in str(tile[3]) for tile in image.tile)  # gone once it is loaded
    is_jpeg = image.format in ("JPEG", "MPO")
    if not is_jpeg:
        image.load()  # here, since looking for the orientation may load it and hide what it raises
    turn = _turn(image)
    if is_jpeg and wanted is not None:
        height, width = _resized(_upright(image, turn), wanted, fit)
        least = (height, width) if _swaps(turn) else (width, height)
        image.draft(image.mode, (2 * least[0], 2 * least[1]))
    image = _rgb(image)
    if turn is not None:
        image = image.transpose(turn)
    return np.array(image if wanted is None else _fitted(image, wanted, fit))


def _fitted(image: Any, wanted: tuple[int, int], fit: str) -> Any:
    height, width = _resized((image.height, image.width), wanted, fit)
    image = image.resize((width, height), _pillow().Resampling.BILINEAR)
    if fit != "crop":
        return image
    top, left = (height - wanted[0]) // 2, (width - wanted[1]) // 2
    return image.crop((left, top, left + wanted[1], top + wanted[0]))


def _turn(image: Any) -> Any:
    """What brings the image upright, None for nothing. A damaged note of it counts as none."""
    try:
        orientation = image.getexif().get(ORIENTATION)
    except Exception:
        return None
    turns = _pillow().Transpose
    return {
        2: turns.FLIP_LEFT_RIGHT,
        3: turns.ROTATE_180,
        4: turns.FLIP_TOP_BOTTOM,
        5: turns.TRANSPOSE,
        6: turns.ROTATE_270,
        7: turns.TRANSVERSE,
        8: turns.ROTATE_90,
    }.get(orientation)


def _swaps(turn: Any) -> bool:
    """Return whether height and width change places."""
    turns = _pillow().Transpose
    return turn in (turns.TRANSPOSE, turns.ROTATE_270, turns.TRANSVERSE, turns.ROTATE_90)


def _upright(image: Any, turn: Any) -> tuple[int, int]:
    """Height and width once it is turned."""
    return (image.width, image.height) if _swaps(turn) else (image.height, image.width)


def _resized(old: tuple[int, int], wanted: tuple[int, int], fit: str) -> tuple[int, int]:
    """Height and width to resize to; whole pixels of the longer side are rounded down."""
    (height, width), (wanted_height, wanted_width) = old, wanted
    if fit == "stretch":
        return wanted
    if wanted_height * width >= wanted_width * height:  # the height decides
        return wanted_height, max(wanted_width, width * wanted_height // height)
    return max(wanted_height, height * wanted_width // width), wanted_width


def _rgb(image: Any) -> Any:
    mode, deep = image.mode, _is_deep(image)
    if mode == "F":
        raise FileFormatError("its pixels are floats of unknown range: save it with 8 bits each")
    if mode.startswith("I"):  # Pillow would turn all above 255 white
        if not deep:
            raise FileFormatError(
                "its pixels are 32-bit integers of unknown range: save it with 8 bits each"
            )
        found = _grey_of_16_bits(image)
    else:
        if mode == "P" and "transparency" in image.info:
            image = image.convert("RGBA")
        try:
            found = image.convert("RGB")
        except ValueError as error:
            raise FileFormatError(f"its colours ({mode}) can't be made RGB: save it so") from error
    if deep:
        _check_not_dark(found)
    if _is_drawn_in_alpha(image, found):
        raise FileFormatError(
            "its pixels all have one colour, and the picture is drawn in their transparency: save "
            "it on a background"
        )
    return found


def _is_deep(image: Any) -> bool:
    """Whether the file has 16 bits a channel. Pillow reads grey ones as I;16, or as 32-bit I."""
    if image.mode.startswith("I;16"):
        return True
    bits = getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, 0)  # of TIFF
    if image.format == "TIFF":
        return bits == 16 or (isinstance(bits, tuple) and set(bits) == {16})
    if image.mode == "I":
        return image.format in ("PNG", "PPM", "JPEG2000")
    return bool(image.info.get(DEEP))


def _check_not_dark(found: Any) -> None:
    """Raise FileFormatError where numbers of 16 bits seem to be of fewer, which look black."""
    counts = np.asarray(found.histogram()).reshape(3, 256).sum(axis=0)
    most = int(np.flatnonzero(counts).max())
    bright = counts[OF_12_BITS + 1 :].sum()
    if most > OF_14_BITS and bright > SPECKS * counts.sum():
        return
    if most > OF_14_BITS:
        which, most = "almost none", OF_12_BITS
    else:
        which = "none"
    raise FileFormatError(
        f"{which} of its 16-bit numbers is above {256 * most + 255:,} of 65,535, so that it may "
        "hold fewer bits and would be taken as black: save it with 8 bits, scaled as is right for "
        "it, such as np.uint8(x >> 4) of 12 bits"
    )


def _grey_of_16_bits(image: Any) -> Any:
    unused = 4 if getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE) == (12,) else 0
    pixels = np.clip(np.asarray(image).astype(np.int64) << unused, 0, 2**16 - 1) >> 8
    return _pillow().fromarray(pixels.astype(np.uint8)).convert("RGB")


def _is_drawn_in_alpha(image: Any, colours: Any) -> bool:
    if image.mode not in ("RGBA", "LA", "PA"):
        return False
    low, high = image.getchannel("A").getextrema()
    return low < high and all(least == most for least, most in colours.getextrema())
