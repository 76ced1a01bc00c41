"""What holds for every transform: dtypes, inputs, seeds, evaluation, bad input.

Each class declares its own samples and wrong settings.
"""

import sys
from typing import Any, NamedTuple

import numpy as np
import pytest
from each import of_each
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st
from transform_kinds import KINDS

from minidl.data import transforms
from minidl.data.transforms import RandomTransform
from minidl.errors import ArgumentError, DTypeError, ShapeError


class Case(NamedTuple):
    """A transform and settings of it."""

    kind: Any
    settings: dict[str, Any]

    def made(self):
        return self.kind(**self.settings)


CASES = [Case(kind, settings) for kind in KINDS for settings in kind.samples]
RANDOM = [case for case in CASES if issubclass(case.kind, RandomTransform)]
few = how(max_examples=8)  # of each case, and each transform has several


def each(cases):
    return of_each(cases, "kind.__name__")


@st.composite
def batches(draw, kind, least=0):
    """Images of 3 channels, of 6 to 12 pixels either way."""
    shape = draw(st.tuples(*[st.integers(6, 12)] * 2))
    random = np.random.default_rng(draw(st.integers(0, 99)))
    images = random.integers(0, 256, (draw(st.integers(least, 3)), *shape, 3))
    return images.astype(draw(st.sampled_from(kind.takes)))


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_public_and_declares_its_samples(kind):
    assert getattr(transforms, kind.__name__) is kind
    assert "samples" in vars(kind)
    assert len(kind.samples) >= 1
    if kind(**kind.samples[0]).settings:
        assert kind.errors, "settings can be wrong"


@each(CASES)
@few
@given(drawn=st.data(), training=st.booleans())
def test_dtype_and_input_stay(case, drawn, training):
    kind, images = case.kind, drawn.draw(batches(case.kind))
    transform, before = case.made(), images.copy()
    images.flags.writeable = False
    result = transform(images, np.random.default_rng(0) if training else None)
    np.testing.assert_array_equal(images, before)
    assert result.dtype == (kind.gives or images.dtype)
    assert result.ndim == 4
    assert len(result) == len(images) * kind.views
    assert result.flags.c_contiguous


@each(CASES)
@few
@given(drawn=st.data(), seed=st.integers(0, 99))
def test_the_same_seed_gives_the_same_bits(case, drawn, seed):
    transform, images = case.made(), drawn.draw(batches(case.kind))
    first = transform(images, np.random.default_rng(seed))
    again = transform(images, np.random.default_rng(seed))
    np.testing.assert_array_equal(first, again)
    turned = np.asfortranarray(images)  # however the images lie in memory
    np.testing.assert_array_equal(first, transform(turned, np.random.default_rng(seed)))


@each(CASES)
@few
@given(drawn=st.data())
def test_evaluation_takes_each_image_for_itself(case, drawn):
    transform, images = case.made(), drawn.draw(batches(case.kind, least=1))
    whole = transform(images, None)
    single = [transform(images[i : i + 1], None) for i in range(len(images))]
    np.testing.assert_array_equal(whole, np.concatenate(single))
    np.testing.assert_array_equal(whole, transform(images))


@each(CASES)
@few
@given(drawn=st.data(), seed=st.integers(0, 9))
def test_training_takes_each_image_for_itself(case, drawn, seed):
    """Neighbours with other pixels change nothing."""
    transform, images = case.made(), drawn.draw(batches(case.kind, least=2))
    others = np.concatenate([images[:1], 255 - images[1:]])
    results = [transform(batch, np.random.default_rng(seed)) for batch in (images, others)]
    views = case.kind.views
    np.testing.assert_array_equal(results[0][:views], results[1][:views])


@pytest.mark.parametrize("kind", sorted({case.kind for case in RANDOM}, key=str))
def test_images_are_changed_in_ways_of_their_own(kind):
    image = np.random.default_rng(0).integers(0, 256, (1, 20, 20, 3), np.uint8)
    images = image.repeat(16, axis=0)
    results = [kind(**settings)(images, np.random.default_rng(0)) for settings in kind.samples]
    assert max(len({image.tobytes() for image in result}) for result in results) > 1


@each(CASES)
def test_settings_make_it_again(case):
    transform = case.made()
    assert case.settings.keys() <= transform.settings.keys()
    again = case.kind(**transform.settings)
    assert again.settings == transform.settings
    assert repr(again) == repr(transform)
    assert repr(transform) == repr(eval(repr(transform), vars(transforms)))


@each([case for case in RANDOM if case.kind.apply is RandomTransform.apply])
def test_evaluation_changes_nothing(case):
    """But crops cut out the centre: see their tests."""
    images = np.random.default_rng(0).integers(0, 256, (2, 12, 12, 3), np.uint8)
    np.testing.assert_array_equal(case.made()(images), images)


# Bad input


@each(CASES)
def test_bad_images(case):
    transform, name = case.made(), case.kind.__name__
    images = np.zeros((2, 9, 9, 3), np.uint8)
    others = {np.uint8, np.float32} - set(case.kind.takes)
    for dtype in (np.uint16, np.float64, bool, np.dtype(np.float32).newbyteorder(), *others):
        with pytest.raises(DTypeError, match=f"{name} expected uint8.* got .*: .* uint8|astype"):
            transform(images.astype(dtype))
    with pytest.raises(DTypeError, match=f"{name} expected an ndarray, got list"):
        transform(images.tolist())
    with pytest.raises(ShapeError, match=rf"{name} expected images \(N, H, W, C\).*images\[None\]"):
        transform(images[0])
    for shape in ((2, 9), (1, 2, 9, 9, 3), (2, 0, 9, 3), (2, 9, 9, 0)):
        with pytest.raises(ShapeError, match=rf"{name} expected images \(N, H, W, C\)"):
            transform(np.zeros(shape, np.uint8), np.random.default_rng(0))


@each(RANDOM)
def test_bad_generators(case):
    said = f"{case.kind.__name__} expected rng to be a numpy Generator or None"
    with pytest.raises(DTypeError, match=said):
        case.made()(np.zeros((2, 9, 9, 3), np.uint8), 7)


@pytest.mark.parametrize(
    ("kind", "settings", "message"), [(kind, *error) for kind in KINDS for error in kind.errors]
)
def test_bad_settings(kind, settings, message):
    with pytest.raises(ArgumentError, match=message) as caught:
        kind(**settings)
    assert str(caught.value).startswith(kind.__name__)


@pytest.mark.parametrize("name", ["CenterCrop", "RandomCrop", "TenCrop"])
@pytest.mark.parametrize("rng", [None, np.random.default_rng(0)])
@pytest.mark.parametrize("size", [10, (3, 10), (10, 9)])
def test_images_smaller_than_the_crop(name, rng, size):
    with pytest.raises(ShapeError, match=rf"{name} can't cut .* of 9 x 9 .*ResizeShort\(10\)"):
        getattr(transforms, name)(size)(np.zeros((2, 9, 9, 3), np.uint8), rng)


@pytest.mark.parametrize("channels", [1, 2, 4])
@each([case for case in CASES if "mean" not in case.settings])  # those see the next test
def test_the_number_of_channels(case, channels):
    transform, images = case.made(), np.zeros((2, 9, 9, channels), np.uint8)
    for rng in (None, np.random.default_rng(0)):
        if not transform.takes_channels or channels in transform.takes_channels:
            transform(images, rng)
        else:
            said = f"{case.kind.__name__} expected images of .* channels"
            with pytest.raises(ShapeError, match=said):
                transform(images, rng)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("Normalize", {"mean": (1, 2, 3), "std": 1}),
        ("Normalize", {"mean": 1, "std": (1, 2, 3)}),
        ("SubtractMean", {"mean": (1, 2, 3)}),
    ],
)
def test_numbers_of_other_channels(name, settings):
    with pytest.raises(ShapeError, match=f"{name} has a .* for 3 channels, but the images have 2"):
        getattr(transforms, name)(**settings)(np.zeros((2, 4, 4, 2), np.uint8))


def test_fill_that_no_byte_holds():
    transform = transforms.RandomAffine(degrees=5, fill=256)
    transform(np.zeros((1, 4, 4, 3), np.float32), np.random.default_rng(0))
    with pytest.raises(ArgumentError, match="RandomAffine: fill must be from 0 to 255 for uint8"):
        transform(np.zeros((1, 4, 4, 3), np.uint8), np.random.default_rng(0))


@pytest.mark.parametrize("name", ["Resize", "ResizeShort", "RandomResizedCrop"])
def test_without_pillow(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    transform = getattr(transforms, name)((4, 4) if name == "Resize" else 4)
    with pytest.raises(ImportError, match=r"Pillow: pip install 'minidl\[images\]'"):
        transform(np.zeros((1, 9, 9, 3), np.uint8))
