"""RandAugment's changes against Pillow, with the levels that torchvision documents."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from minidl.data.transforms import RandAugment, randaugment
from minidl.errors import ArgumentError, DTypeError, ShapeError

H, W = 30, 40
BILINEAR = Image.Resampling.BILINEAR


def affine(picture, *numbers):
    return picture.transform(picture.size, Image.Transform.AFFINE, numbers, BILINEAR)


# For magnitude m of 31: the change in Pillow, and how far its numbers may be from ours. torchvision
# 0.28, RandAugment._augmentation_space and _apply_op.
PILLOWS = {
    "identity": (lambda p, m, sign: p, 0),
    "shear_x": (lambda p, m, sign: affine(p, 1, sign * 0.3 * m / 30, 0, 0, 1, 0), 1),
    "shear_y": (lambda p, m, sign: affine(p, 1, 0, 0, sign * 0.3 * m / 30, 1, 0), 1),
    "translate_x": (
        lambda p, m, sign: affine(p, 1, 0, sign * int(150 / 331 * W * m / 30), 0, 1, 0), 0
    ),
    "translate_y": (
        lambda p, m, sign: affine(p, 1, 0, 0, 0, 1, sign * int(150 / 331 * H * m / 30)), 0
    ),
    "rotate": (lambda p, m, sign: p.rotate(sign * m, BILINEAR), 1),
    "brightness": (lambda p, m, sign: ImageEnhance.Brightness(p).enhance(1 + sign * 0.03 * m), 1),
    "color": (lambda p, m, sign: ImageEnhance.Color(p).enhance(1 + sign * 0.03 * m), 2),
    "contrast": (lambda p, m, sign: ImageEnhance.Contrast(p).enhance(1 + sign * 0.03 * m), 2),
    "sharpness": (lambda p, m, sign: ImageEnhance.Sharpness(p).enhance(1 + sign * 0.03 * m), 2),
    "posterize": (lambda p, m, sign: ImageOps.posterize(p, {0: 8, 9: 7, 15: 6, 30: 4}[m]), 0),
    "solarize": (lambda p, m, sign: ImageOps.solarize(p, 255 - 8.5 * m), 0),
    "autocontrast": (lambda p, m, sign: ImageOps.autocontrast(p), 0),
    "equalize": (lambda p, m, sign: ImageOps.equalize(p), 0),
}  # fmt: skip
MAPS = ("shear_x", "shear_y", "rotate")
SIGNED = (*MAPS, "translate_x", "translate_y", "brightness", "color", "contrast", "sharpness")


def picture(channels=3):
    """Not of full contrast."""
    return np.random.default_rng(0).integers(20, 220, (H, W, channels), np.uint8)


def only(name, monkeypatch):
    monkeypatch.setattr(randaugment, "CHANGES", {name: randaugment.CHANGES[name]})


def test_all_of_torchvisions_are_there():
    assert list(randaugment.CHANGES) == list(PILLOWS)


@pytest.mark.parametrize("name", PILLOWS)
@pytest.mark.parametrize("magnitude", [0, 9, 15, 30])
def test_changes_are_pillows(name, magnitude, monkeypatch):
    """Either way alike, if it has two."""
    only(name, monkeypatch)
    images = np.repeat(picture()[None], 60, axis=0)
    results = RandAugment(1, magnitude)(images, np.random.default_rng(0))
    change, tolerance = PILLOWS[name]
    met = []
    for sign in [1, -1] if name in SIGNED and magnitude else [1]:
        expected = np.asarray(change(Image.fromarray(images[0]), magnitude, sign)).astype(int)
        away = np.abs(results - expected).max(axis=3)  # (N, H, W)
        if name in MAPS:  # beyond the edges Pillow has another rule
            inner = Image.fromarray(np.pad(np.full((H - 2, W - 2), 255, np.uint8), 1))
            away = away[:, np.asarray(change(inner, magnitude, sign)) == 255]
            assert away[0].size > H * W // 3
        met.append(away.reshape(60, -1).max(axis=1) <= tolerance)
    assert np.all(sum(each.astype(int) for each in met) == 1)
    assert min(each.sum() for each in met) >= 20


def test_every_change_is_drawn_alike():
    names = []

    def noted(name, change):
        return change._replace(made=lambda x, level, fill: names.append(name) or x)

    original = randaugment.CHANGES.copy()
    try:
        for name, change in original.items():
            randaugment.CHANGES[name] = noted(name, change)
        images = np.zeros((1400, 4, 4, 3), np.uint8)
        RandAugment(3)(images, np.random.default_rng(0))
    finally:
        randaugment.CHANGES.update(original)
    counts = Counter(names)
    assert sum(counts.values()) == 3 * 1400
    assert counts.keys() == original.keys()
    assert max(abs(count - 300) for count in counts.values()) < 80


def test_grey_images_have_no_colour_to_change(monkeypatch):
    only("color", monkeypatch)
    images = picture(1)[None]
    np.testing.assert_array_equal(RandAugment(2, 30)(images, np.random.default_rng(0)), images)


def test_what_comes_from_beyond_the_edges(monkeypatch):
    only("translate_x", monkeypatch)
    images = picture()[None].repeat(9, axis=0)
    for fill in (0, 200):
        result = RandAugment(1, 30, fill=fill)(images, np.random.default_rng(0))
        left, right = ((result[:, :, x] == fill).all(axis=(1, 2)) for x in (0, -1))
        assert (left | right).all()
    result = RandAugment(1, 30, fill="edge")(images, np.random.default_rng(0))
    assert (result[:, :, 0] == result[:, :, 9]).any()


def test_what_it_refuses():
    with pytest.raises(DTypeError, match=r"RandAugment expected uint8 .* before Normalize"):
        RandAugment()(np.zeros((1, 9, 9, 3), np.float32), np.random.default_rng(0))
    with pytest.raises(ShapeError, match="RandAugment expected images of 1 or 3 channels, got 4"):
        RandAugment()(np.zeros((1, 9, 9, 4), np.uint8), np.random.default_rng(0))
    with pytest.raises(ArgumentError, match="RandAugment: fill must be from 0 to 255"):
        RandAugment(9, fill=-1)(np.zeros((9, 9, 9, 3), np.uint8), np.random.default_rng(0))
