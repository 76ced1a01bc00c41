"""Reading image files, beside Pillow."""

import os
import struct
import sys
import zlib

import numpy as np
import pytest
from pictures import picture, save
from PIL import Image, ImageOps

from minidl.data.images import SUFFIXES, read_image
from minidl.errors import ArgumentError, FileFormatError


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".ppm", ".tif"])
def test_lossless_formats_bit_for_bit(tmp_path, suffix):
    path = save(tmp_path / f"a{suffix}", picture())
    found = read_image(path)
    assert found.dtype == np.uint8
    assert found.flags.writeable
    np.testing.assert_array_equal(found, picture())


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "I;16"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    grey = picture()[..., 0]
    if mode == "I;16":
        Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "a.png")
        expected = np.repeat(grey[..., None], 3, axis=2)
    else:
        image = Image.fromarray(picture()).convert(mode)
        suffix = ".tif" if mode in ("CMYK", "YCbCr") else ".png"
        image.save(tmp_path / f"a{suffix}")
        expected = np.asarray(image.convert("RGB"))
    (path,) = tmp_path.iterdir()
    np.testing.assert_array_equal(read_image(path), expected)


def test_transparency_is_dropped(tmp_path):
    pixels = np.dstack([picture(), np.zeros((20, 30), np.uint8)])
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.png", pixels)), picture())
    palette = Image.fromarray(picture()).quantize(16)
    palette.save(tmp_path / "p.png", transparency=bytes(range(16)))
    expected = np.asarray(palette.convert("RGB"))
    np.testing.assert_array_equal(read_image(tmp_path / "p.png"), expected)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("size", [None, 8])
def test_exif_orientation(tmp_path, orientation, suffix, size):
    image = Image.fromarray(picture())
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(tmp_path / f"a{suffix}", exif=exif)
    with Image.open(tmp_path / f"a{suffix}") as stored:
        upright = ImageOps.exif_transpose(stored).convert("RGB")
    if size:
        height, width = (8, 12) if upright.width > upright.height else (12, 8)
        upright = upright.resize((width, height), Image.Resampling.BILINEAR)
        left, top = (width - 8) // 2, (height - 8) // 2
        upright = upright.crop((left, top, left + 8, top + 8))
    found = read_image(tmp_path / f"a{suffix}", size)
    np.testing.assert_array_equal(found, np.asarray(upright))


@pytest.mark.parametrize("old", [(20, 30), (30, 20), (25, 25), (7, 90), (3, 3), (1, 50)])
@pytest.mark.parametrize("size", [8, (8, 12), (12, 8), 40, (1, 1)])
def test_sizes(tmp_path, old, size):
    path = save(tmp_path / "a.png", picture(*old))
    pair = size if isinstance(size, tuple) else (size, size)
    assert read_image(path, size).shape == (*pair, 3)
    stretched = Image.fromarray(picture(*old)).resize(pair[::-1], Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(read_image(path, size, "stretch"), np.asarray(stretched))
    if not isinstance(size, tuple):
        short = read_image(path, size, "short").shape
        assert min(short[:2]) == size
        assert max(short[:2]) == int(max(old) * size / min(old))


def test_the_crop_is_the_centre(tmp_path):
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, 10:20] = 200
    found = read_image(save(tmp_path / "a.png", pixels), 10)
    np.testing.assert_array_equal(found, np.full((10, 10, 3), 200))


@pytest.mark.parametrize("fit", ["crop", "stretch", "short"])
def test_large_jpegs_decoded_small_look_the_same(tmp_path, fit, monkeypatch):
    path = save(tmp_path / "a.jpg", picture(600, 800), quality=95)
    found = read_image(path, 32, fit)
    decoded = []
    load = Image.Image.resize
    monkeypatch.setattr(
        Image.Image, "resize", lambda im, *a, **k: decoded.append(im.size) or load(im, *a, **k)
    )
    read_image(path, 32, fit)
    assert decoded[0] == (100, 75)  # an eighth, which is still twice the size wanted
    with Image.open(path) as image:
        exact = image.resize(found.shape[1::-1] if fit != "crop" else (42, 32), 2)
    if fit == "crop":
        exact = exact.crop((5, 0, 37, 32))
    assert np.abs(found.astype(int) - np.asarray(exact)).max() <= 6


def test_photographs(shared_data):
    path = next((shared_data / "hymenoptera_256" / "val" / "bees").iterdir())
    with Image.open(path) as image:
        np.testing.assert_array_equal(read_image(path), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".gif", ".bmp"])
def test_cut_off(tmp_path, suffix):
    path = save(tmp_path / f"a{suffix}", picture(64, 64))
    whole = path.read_bytes()
    for size in (0, 3, len(whole) // 4, len(whole) // 2):
        path.write_bytes(whole[:size])
        with pytest.raises(FileFormatError) as found:
            read_image(path, 8)
        assert str(found.value).startswith(f"{path}: ")
        assert {0: "empty", 3: "found something else"}.get(size, "") in str(found.value)


@pytest.mark.filterwarnings("ignore")  # Pillow's own, of damaged files
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".gif", ".webp"])
def test_damage_is_an_error_or_an_image(tmp_path, suffix):
    path = save(tmp_path / f"a{suffix}", picture())
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        damaged = bytearray(whole)
        for at in rng.integers(0, len(whole), 4):
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            shape = read_image(path, 8).shape
        except FileFormatError:
            refused += 1
        else:
            assert shape == (8, 8, 3)
    assert refused > 0


def test_a_damaged_exif_block_hides_no_pixels(tmp_path):
    path = save(tmp_path / "a.jpg", picture(), exif=b"Exif\0\0garbage")
    assert read_image(path, 8).shape == (8, 8, 3)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("most", [599, 100])  # where Pillow warns, and where it refuses
def test_more_pixels_than_are_safe(tmp_path, monkeypatch, most):
    path = save(tmp_path / "a.png", picture())
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", most)
    with pytest.raises(FileFormatError, match="more pixels than Pillow takes to be safe"):
        read_image(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 600)
    assert read_image(path).shape == (20, 30, 3)


def test_formats_that_run_other_programs_are_refused(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF\n")
    with pytest.raises(FileFormatError, match="expected an image"):
        read_image(tmp_path / "a.jpg")


def test_floats_are_refused(tmp_path):
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(FileFormatError, match=r"a.tif: its pixels are floats"):
        read_image(tmp_path / "a.tif")


def test_the_system_refuses(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "none.jpg")
    if os.name == "posix":
        with pytest.raises(IsADirectoryError):
            read_image(tmp_path)


@pytest.mark.parametrize("size", [0, -1, 2.5, "8", True, (8,), (8, 8, 3), (0, 8)])
def test_bad_sizes(tmp_path, size):
    with pytest.raises(ArgumentError, match="size must be pixels"):
        read_image(tmp_path / "a.png", size)


def test_bad_fits(tmp_path):
    with pytest.raises(ArgumentError, match="fit must be one of crop, stretch, short"):
        read_image(tmp_path / "a.png", 8, "squeeze")
    with pytest.raises(ArgumentError, match="takes one number"):
        read_image(tmp_path / "a.png", (8, 8), "short")


def test_without_pillow(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png", picture())
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"pip install 'minidl\[images\]'"):
        read_image(path)


# What Pillow opens, and what would be taken as black


@pytest.mark.parametrize("suffix", sorted(SUFFIXES - {".pfm"}))  # that has floats
def test_every_suffix_is_read(tmp_path, suffix):
    Image.init()
    form = Image.registered_extensions()[suffix]
    grey = np.asarray(Image.fromarray(picture(16, 16)).convert("L"))
    path = tmp_path / f"a{suffix.upper()}"
    pixels = Image.fromarray(grey if suffix in (".bw", ".pgm") else picture(16, 16))
    if form in ("PSD", "SUN"):  # Pillow doesn't write these
        path.write_bytes({"PSD": psd, "SUN": sun}[form](picture(16, 16)))
    else:
        pixels.save(path, format="PPM" if suffix in (".pbm", ".pnm") else form)
    found = read_image(path)
    assert found.shape == (16, 16, 3)
    assert np.abs(found.astype(int) - np.asarray(pixels.convert("RGB"))).mean() < 12


def psd(pixels):
    height, width, _ = pixels.shape
    head = b"8BPS" + (1).to_bytes(2, "big") + bytes(6) + (3).to_bytes(2, "big")
    head += height.to_bytes(4, "big") + width.to_bytes(4, "big")
    head += (8).to_bytes(2, "big") + (3).to_bytes(2, "big")
    return head + bytes(4 * 3) + bytes(2) + pixels.transpose(2, 0, 1).tobytes()


def sun(pixels):
    height, width, _ = pixels.shape
    numbers = [0x59A66A95, width, height, 24, pixels.size, 1, 0, 0]
    return b"".join(n.to_bytes(4, "big") for n in numbers) + pixels[..., ::-1].tobytes()


def test_bytes_without_a_mark_are_taken_by_their_suffix_alone(tmp_path):
    path = save(tmp_path / "a.tga", picture())
    np.testing.assert_array_equal(read_image(path), picture())
    with pytest.raises(FileFormatError, match="expected an image"):
        read_image(path.rename(tmp_path / "a.jpg"))


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
def test_16_bits(tmp_path, suffix):
    grey = picture()[..., 0]
    path = tmp_path / f"a{suffix}"
    Image.fromarray(grey.astype(np.uint16) * 257).save(path)
    np.testing.assert_array_equal(read_image(path), np.repeat(grey[..., None], 3, axis=2))
    for scale in (1, 16, 64):  # 8, 12 and 14 bits in 16
        Image.fromarray(grey.astype(np.uint16) * scale).save(path)
        with pytest.raises(FileFormatError, match="none of its 16-bit numbers is above") as found:
            read_image(path)
        most = int(grey.max()) * scale // 256  # of the upper 8 bits
        assert f"above {256 * most + 255:,} of 65,535" in str(found.value)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_12_bits_with_specks(tmp_path, suffix):
    """A dead pixel is no white; a drawing on black is a picture."""
    deep = picture(40, 40)[..., 0].astype(np.uint16) * 16
    deep[3, 4] = 65535
    path = tmp_path / f"a{suffix}"
    Image.fromarray(deep).save(path)
    with pytest.raises(FileFormatError, match="almost none of its 16-bit numbers is above 4,095"):
        read_image(path)
    deep[:2] = 65535
    Image.fromarray(deep).save(path)
    np.testing.assert_array_equal(read_image(path)[..., 0], deep >> 8)


def test_12_bits_that_the_file_tells(tmp_path):
    """A TIFF of two pixels in three bytes: 0x123 and 0xFED of 0xFFF."""
    entries = [
        (256, 2), (257, 1), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1), (279, 3),
    ]  # fmt: skip
    content = b"II*\0" + struct.pack("<I", 12) + bytes([0x12, 0x3F, 0xED, 0])
    content += struct.pack("<H", len(entries))
    content += b"".join(struct.pack("<HHII", tag, 3, 1, value) for tag, value in entries)
    (tmp_path / "a.tif").write_bytes(content + bytes(4))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[0, :, 0], [0x12, 0xFE])


@pytest.mark.parametrize("scale", [257, 64, 16, 1])
def test_16_bits_in_colour(tmp_path, scale):
    pixels = picture()
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels.astype(np.uint16) * scale)
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", 30, 20, 16, 2, 0, 0, 0),
        b"IDAT": zlib.compress(rows),
        b"IEND": b"",
    }
    content = b"\x89PNG\r\n\x1a\n"
    for name, part in parts.items():
        content += struct.pack(">I", len(part)) + name + part
        content += struct.pack(">I", zlib.crc32(name + part))
    (tmp_path / "a.png").write_bytes(content)
    if scale == 257:
        np.testing.assert_array_equal(read_image(tmp_path / "a.png"), pixels)
    else:
        with pytest.raises(FileFormatError, match="would be taken as black"):
            read_image(tmp_path / "a.png")


@pytest.mark.parametrize("scale", [1, 256, 2**22])
def test_32_bits_are_refused(tmp_path, scale):
    Image.fromarray(picture()[..., 0].astype(np.int32) * scale).save(tmp_path / "a.tif")
    with pytest.raises(FileFormatError, match="32-bit integers of unknown range"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_pictures_in_the_transparency_alone_are_refused(tmp_path, mode):
    alpha = Image.fromarray(picture()[..., 0])
    one_colour = Image.new(mode[:-1], alpha.size)
    one_colour.putalpha(alpha)
    one_colour.save(tmp_path / "a.png")
    with pytest.raises(FileFormatError, match="drawn in their transparency: save it on a back"):
        read_image(tmp_path / "a.png")
    Image.new("RGB", (9, 9)).save(tmp_path / "black.png")
    assert not read_image(tmp_path / "black.png").any()


@pytest.mark.parametrize("suffix", [".webp", ".avif", ".mpo"])
def test_orientation_in_other_formats(tmp_path, suffix):
    image = Image.fromarray(picture())
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / f"a{suffix}", exif=exif)
    assert read_image(tmp_path / f"a{suffix}").shape == (30, 20, 3)
