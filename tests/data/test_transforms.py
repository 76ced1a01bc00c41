"""What holds for every transform: dtypes, inputs, seeds, evaluation, bad input."""

import inspect
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st

from minidl.data import transforms
from minidl.data.transforms import RandomTransform, Transform
from minidl.errors import ArgumentError, DTypeError, ShapeError

SAMPLES = {
    "CenterCrop": [{"size": 5}, {"size": (6, 3)}],
    "ColorJitter": [{}, {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4}],
    "Grayscale": [{}, {"channels": 3}],
    "Normalize": [{"mean": 0.5, "std": 0.2}, {"mean": (1, 2, 3), "std": (1, 2, 4), "scale": 1}],
    "RandomAffine": [
        {},
        {"degrees": 30, "translate": (0.1, 0.2), "shear": 10, "scale": (0.5, 2), "fill": 128},
        {"degrees": (10, 20), "shear": (-9, 3), "fill": "edge"},
    ],
    "RandomBrightness": [{"amount": 0.5}],
    "RandomContrast": [{"amount": 0.5}],
    "RandomCrop": [
        {"size": 5},
        {"size": 8, "padding": 2},
        {"size": (4, 6), "padding": ((0, 1), (2, 0))},
    ],
    "RandomHorizontalFlip": [{}, {"p": 1}],
    "RandomResizedCrop": [{"size": 4}, {"size": 7, "scale": (0.3, 0.5), "ratio": (0.2, 0.3)}],
    "RandomVerticalFlip": [{}, {"p": 0.3}],
    "Resize": [{"size": (5, 5)}, {"size": (20, 4)}],
    "ResizeShort": [{"size": 5}, {"size": 13}],
    "SubtractMean": [{"mean": 100}, {"mean": (1.5, 2.5, 3.5)}],
    "TenCrop": [{"size": 5}, {"size": (6, 2)}],
    "ToBGR": [{}],
    "ToYUV": [{}],
}
FLOATS = {"Normalize", "SubtractMean", "ToYUV"}  # give float32, whatever comes
CASES = [(name, settings) for name, samples in SAMPLES.items() for settings in samples]
every = pytest.mark.parametrize(
    ("name", "settings"), CASES, ids=[f"{name}-{settings}" for name, settings in CASES]
)


def make(name, settings):
    return getattr(transforms, name)(**settings)


@st.composite
def batches(draw, least=0):
    """Images of 3 channels, of 6 to 12 pixels either way."""
    shape = draw(st.tuples(*[st.integers(6, 12)] * 2))
    random = np.random.default_rng(draw(st.integers(0, 99)))
    images = random.integers(0, 256, (draw(st.integers(least, 3)), *shape, 3))
    return images.astype(draw(st.sampled_from([np.uint8, np.float32])))


def test_every_transform_has_samples():
    exported = {
        name
        for name in transforms.__all__
        if inspect.isclass(getattr(transforms, name))
        and getattr(transforms, name) not in (Transform, RandomTransform)
    }
    assert exported == SAMPLES.keys()


@every
@how(max_examples=25)
@given(images=batches(), training=st.booleans())
def test_dtype_and_input_stay(name, settings, images, training):
    transform, before = make(name, settings), images.copy()
    images.flags.writeable = False
    result = transform(images, np.random.default_rng(0) if training else None)
    np.testing.assert_array_equal(images, before)
    assert result.dtype == (np.float32 if name in FLOATS else images.dtype)
    assert result.ndim == 4
    assert len(result) == len(images) * (10 if name == "TenCrop" else 1)
    assert result.flags.c_contiguous


@every
@how(max_examples=25)
@given(images=batches(), seed=st.integers(0, 99))
def test_the_same_seed_gives_the_same_bits(name, settings, images, seed):
    transform = make(name, settings)
    first = transform(images, np.random.default_rng(seed))
    again = transform(images, np.random.default_rng(seed))
    np.testing.assert_array_equal(first, again)
    turned = np.asfortranarray(images)  # however the images lie in memory
    np.testing.assert_array_equal(first, transform(turned, np.random.default_rng(seed)))


@every
@how(max_examples=25)
@given(images=batches(least=1))
def test_evaluation_takes_each_image_for_itself(name, settings, images):
    transform = make(name, settings)
    whole = transform(images, None)
    single = [transform(images[i : i + 1], None) for i in range(len(images))]
    np.testing.assert_array_equal(whole, np.concatenate(single))
    np.testing.assert_array_equal(whole, transform(images))


@every
@how(max_examples=25)
@given(images=batches(least=2), seed=st.integers(0, 9))
def test_training_takes_each_image_for_itself(name, settings, images, seed):
    """Neighbours with other pixels change nothing."""
    transform = make(name, settings)
    others = np.concatenate([images[:1], 255 - images[1:]])
    results = [transform(batch, np.random.default_rng(seed)) for batch in (images, others)]
    views = len(results[0]) // len(images)
    np.testing.assert_array_equal(results[0][:views], results[1][:views])


@pytest.mark.parametrize("name", ["RandomAffine", "RandomCrop", "RandomResizedCrop"])
def test_images_are_changed_in_ways_of_their_own(name):
    images = np.random.default_rng(0).integers(0, 256, (1, 12, 12, 3), np.uint8).repeat(8, axis=0)
    transform = make(name, {"degrees": 9} if name == "RandomAffine" else {"size": 5})
    result = transform(images, np.random.default_rng(0))
    assert len({image.tobytes() for image in result}) > 4


@every
def test_settings_make_it_again(name, settings):
    transform = make(name, settings)
    assert settings.keys() <= transform.settings.keys()
    again = make(name, transform.settings)
    assert again.settings == transform.settings
    assert repr(again) == repr(transform)
    assert repr(transform) == repr(eval(repr(transform), vars(transforms)))


RANDOM = [
    (name, settings)
    for name, settings in CASES
    if issubclass(getattr(transforms, name), RandomTransform)
]


@pytest.mark.parametrize(
    ("name", "settings"), [(name, settings) for name, settings in RANDOM if "Crop" not in name]
)
def test_evaluation_changes_nothing(name, settings):
    """But crops cut out the centre: see their tests."""
    images = np.random.default_rng(0).integers(0, 256, (2, 12, 12, 3), np.uint8)
    np.testing.assert_array_equal(make(name, settings)(images), images)


# Bad input


@every
def test_bad_images(name, settings):
    transform = make(name, settings)
    images = np.zeros((2, 9, 9, 3), np.uint8)
    for dtype in (np.uint16, np.float64, np.float16, bool, np.dtype(np.float32).newbyteorder()):
        with pytest.raises(DTypeError, match=f"{name} expected uint8 or float32"):
            transform(images.astype(dtype))
    with pytest.raises(DTypeError, match=f"{name} expected an ndarray, got list"):
        transform(images.tolist())
    with pytest.raises(ShapeError, match=rf"{name} expected images \(N, H, W, C\).*images\[None\]"):
        transform(images[0])
    for shape in ((2, 9), (1, 2, 9, 9, 3), (2, 0, 9, 3), (2, 9, 9, 0)):
        with pytest.raises(ShapeError, match=rf"{name} expected images \(N, H, W, C\)"):
            transform(np.zeros(shape, np.uint8), np.random.default_rng(0))


@pytest.mark.parametrize(("name", "settings"), RANDOM)
def test_bad_generators(name, settings):
    with pytest.raises(DTypeError, match=f"{name} expected rng to be a numpy Generator or None"):
        make(name, settings)(np.zeros((2, 9, 9, 3), np.uint8), 7)


NAN = float("nan")
BAD_SETTINGS = [
    ("CenterCrop", {"size": 0}, "CenterCrop: size must be a whole number from 1 up"),
    ("CenterCrop", {"size": (4, 4, 3)}, "or a pair of them"),
    ("ColorJitter", {"contrast": -0.1}, "ColorJitter: contrast must be 0 or more, got -0.1"),
    ("ColorJitter", {"saturation": NAN}, "saturation must be a finite number"),
    ("Grayscale", {"channels": 2}, "channels must be 1 or 3, got 2"),
    ("Normalize", {"mean": 0, "std": 0}, "scale and std must be above 0"),
    ("Normalize", {"mean": (), "std": 1}, "mean must be a number or one for each channel"),
    ("Normalize", {"mean": "0.5", "std": 1}, "mean must be a number or one for each channel"),
    ("Normalize", {"mean": 0, "std": 1, "scale": -1}, "scale and std must be above 0"),
    ("RandomAffine", {"degrees": -3}, r"degrees must be 0 or more, or \(low, high\), got -3"),
    ("RandomAffine", {"degrees": (3, 1)}, r"degrees must be \(low, high\)"),
    ("RandomAffine", {"translate": 0.1}, "translate must be two numbers, got 0.1"),
    ("RandomAffine", {"translate": (0, 1.5)}, "translate must be from 0 to 1"),
    ("RandomAffine", {"shear": 90}, "shear must be less than 90 degrees"),
    ("RandomAffine", {"scale": (0, 1)}, "scale must be above 0"),
    ("RandomAffine", {"scale": (1, 2, 3)}, "scale must be two numbers"),
    ("RandomAffine", {"fill": "reflect"}, r"fill \(if not 'edge'\) must be a finite number"),
    ("RandomBrightness", {"amount": -1}, "amount must be 0 or more"),
    ("RandomContrast", {"amount": "much"}, "amount must be a finite number"),
    ("RandomCrop", {"size": 1.5}, "RandomCrop: size must be a whole number"),
    ("RandomCrop", {"size": 4, "padding": (1, 2)}, r"RandomCrop: padding must .* got \(1, 2\)"),
    ("Resize", {"size": 8}, r"Resize\(\(8, 8\)\) stretches .* ResizeShort\(8\) keeps"),
    ("RandomCrop", {"size": 4, "padding": -1}, "RandomCrop: padding must be a whole number from 0"),
    ("RandomHorizontalFlip", {"p": -0.1}, "RandomHorizontalFlip: p must be 0 or more, got -0.1"),
    ("RandomVerticalFlip", {"p": 1.1}, "RandomVerticalFlip: p must be from 0 to 1, got 1.1"),
    ("RandomResizedCrop", {"size": (4, 4)}, "size must be a whole number from 1 up"),
    ("RandomResizedCrop", {"size": 4, "scale": (0, 1)}, "scale must be above 0 and up to 1"),
    ("RandomResizedCrop", {"size": 4, "ratio": (-1, 1)}, "ratio must be above 0"),
    ("Resize", {"size": (-4, 4)}, "Resize: size must be a whole number"),
    ("ResizeShort", {"size": 0}, "ResizeShort: size must be a whole number"),
    ("SubtractMean", {"mean": (1, None, 3)}, "mean must be a finite number, got None"),
    ("TenCrop", {"size": True}, "TenCrop: size must be a whole number"),
]


@pytest.mark.parametrize(("name", "settings", "message"), BAD_SETTINGS)
def test_bad_settings(name, settings, message):
    with pytest.raises(ArgumentError, match=message):
        make(name, settings)


@pytest.mark.parametrize("name", ["CenterCrop", "RandomCrop", "TenCrop"])
@pytest.mark.parametrize("rng", [None, np.random.default_rng(0)])
@pytest.mark.parametrize("size", [10, (3, 10), (10, 9)])
def test_images_smaller_than_the_crop(name, rng, size):
    with pytest.raises(ShapeError, match=rf"{name} can't cut .* of 9 x 9 .*ResizeShort\(10\)"):
        make(name, {"size": size})(np.zeros((2, 9, 9, 3), np.uint8), rng)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("ColorJitter", {"saturation": 0.5}),
        ("Grayscale", {}),
        ("Normalize", {"mean": (1, 2, 3), "std": 1}),
        ("Normalize", {"mean": 1, "std": (1, 2, 3)}),
        ("SubtractMean", {"mean": (1, 2, 3)}),
        ("ToBGR", {}),
        ("ToYUV", {}),
    ],
)
def test_wrong_number_of_channels(name, settings):
    with pytest.raises(ShapeError, match=f"{name}.* channels"):
        make(name, settings)(np.zeros((2, 4, 4, 2), np.uint8), np.random.default_rng(0))


def test_fill_that_no_byte_holds():
    transform = transforms.RandomAffine(degrees=5, fill=256)
    transform(np.zeros((1, 4, 4, 3), np.float32), np.random.default_rng(0))
    with pytest.raises(ArgumentError, match="RandomAffine: fill must be from 0 to 255 for uint8"):
        transform(np.zeros((1, 4, 4, 3), np.uint8), np.random.default_rng(0))


@pytest.mark.parametrize("name", ["Resize", "ResizeShort", "RandomResizedCrop"])
def test_without_pillow(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"Pillow: pip install 'minidl\[images\]'"):
        make(name, {"size": (4, 4) if name == "Resize" else 4})(np.zeros((1, 9, 9, 3), np.uint8))
