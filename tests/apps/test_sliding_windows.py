"""A classifier of digits that slides over a canvas finds the digits that lie on it."""

import numpy as np
import pytest

import minidl as md
from minidl import models, ops, optim
from minidl.apps.detect import measure, windows
from minidl.data.digits import few_digits
from minidl.data.transforms import prepare
from minidl.errors import ArgumentError, DTypeError, ShapeError

EMPTY = 10  # the class of windows without a digit in their middle


def shifted(image, down, right):
    """The image moved, black where nothing comes from."""
    larger = np.zeros((96, 96, 1), np.uint8)
    larger[32 + down : 64 + down, 32 + right : 64 + right] = image
    return larger[32:64, 32:64]


def examples(digits, random):
    """Digits near the middle, and windows that hold parts of one or two digits, or nothing."""
    images, labels = [], []
    for image, label in zip(digits.arrays[0], digits.labels, strict=True):
        for _ in range(4):
            images.append(shifted(image, *random.integers(-3, 4, 2)))
            labels.append(label)
            angle, far = random.uniform(0, 2 * np.pi), random.uniform(9, 26)
            part = shifted(image, int(far * np.sin(angle)), int(far * np.cos(angle)))
            other = shifted(
                digits.arrays[0][random.integers(len(digits.arrays[0]))],
                0,
                22 * random.choice([-1, 1]),
            )
            images.append(np.maximum(part, other) if random.random() < 0.3 else part)
            labels.append(EMPTY)
        images.append(np.zeros_like(image))
        labels.append(EMPTY)
    return np.stack(images), np.array(labels)


@pytest.fixture(scope="module")
def classifier():
    md.manual_seed(0)
    random = np.random.default_rng(0)
    model = models.create("lenet5", num_classes=11)
    model.image_format = models.ImageFormat(32, "RGB", 255.0, [0.13], [0.31])
    images, labels = examples(few_digits(100)[0], random)
    for transform in prepare(model.image_format, crop=False):
        images = transform(images)
    optimizer = optim.Adam(model.parameters(), lr=2e-3)
    step = 100
    for _ in range(6):
        order = random.permutation(len(images))
        for start in range(0, len(order), step):
            rows = order[start : start + step]
            optimizer.zero_grad()
            ops.cross_entropy(model(images[rows]), labels[rows]).backward()
            optimizer.step()
    return model.eval()


def canvas(digits, rows, places, factor=1):
    """Digits at places (down, right) of a black canvas, and the target."""
    picture = np.zeros((130 * factor, 180 * factor, 1), np.uint8)
    boxes = []
    for row, (down, right) in zip(rows, places, strict=True):
        digit = digits.arrays[0][row].repeat(factor, 0).repeat(factor, 1)
        side = len(digit)
        picture[down : down + side, right : right + side] = digit
        boxes.append([right, down, right + side, down + side])
    labels = np.array([digits.labels[row] for row in rows], np.int64)
    return picture, {"boxes": np.array(boxes, np.float32), "labels": labels}


@pytest.mark.parametrize("factor", [1, 2])
def test_finds_the_digits_on_a_canvas(classifier, factor):
    digits = few_digits(100)[1]
    predictions, targets = [], []
    for first in range(0, 40, 5):
        random = np.random.default_rng(first)
        corners = [(4, 10), (10, 70), (6, 136), (80, 40), (90, 110)]
        places = [np.add(corner, random.integers(-4, 5, 2)) * factor for corner in corners]
        picture, target = canvas(digits, range(first, first + 5), places, factor)
        found = windows.detect(classifier, picture, scales=[1 / factor], background=EMPTY)
        assert (np.diff(found["scores"]) <= 0).all()
        assert (found["boxes"][:, 2:] - found["boxes"][:, :2] == 32 * factor).all()
        predictions.append(found)
        targets.append(target)
    figures = measure(predictions, targets, [str(n) for n in range(10)])
    assert figures.map50 > 0.6  # an untrained one has none


def test_scales_of_its_own(classifier):
    """From the image's size down to the window's, each with half the area."""
    picture = np.zeros((130, 180, 1), np.uint8)
    found = windows.detect(classifier, picture, score_threshold=0, iou_threshold=1)
    sides = np.unique((found["boxes"][:, 3] - found["boxes"][:, 1]).round())
    assert sides.tolist() == [32, 45, 64, 90, 126]


def test_scores_are_those_of_the_windows_cut_out(classifier):
    picture = np.random.default_rng(0).integers(0, 256, (41, 50, 1), np.uint8)
    found = windows.detect(classifier, picture, scales=[1], score_threshold=0, iou_threshold=1)
    assert len(found["boxes"]) == 3 * 5 * 11
    for box, label, score in zip(*(found[k][::20] for k in ("boxes", "labels", "scores"))):
        x1, y1, x2, y2 = box.astype(int)
        x = picture[None, y1:y2, x1:x2]
        for transform in prepare(classifier.image_format, crop=False):
            x = transform(x)
        own = ops.softmax(classifier(x), axis=-1).data[0, label]
        assert score == pytest.approx(own, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "settings", "stride"),
    [("lenet5", {}, 4), ("vgg11", {"input_size": 32}, 32)],
)
def test_strides(name, settings, stride):
    assert windows.stride_of(models.create(name, num_classes=2, **settings)) == (stride, stride)


def test_errors(classifier):
    picture = np.zeros((40, 40, 1), np.uint8)
    for error, match, arguments in (
        (DTypeError, "an image of uint8, got float32", (classifier, picture.astype(np.float32))),
        (ShapeError, r"an image \(H, W, C\), got shape \(40, 40\)", (classifier, picture[..., 0])),
        (ShapeError, "of 20x40 pixels has no window of 32x32", (classifier, picture[:20])),
        (ArgumentError, "a network that classifies, got Sequential", (md.nn.Sequential(), picture)),
        (ArgumentError, "set model.image_format", (models.create("lenet5"), picture)),
    ):
        with pytest.raises(error, match=match):
            windows.detect(*arguments)
    for match, settings in (
        ("scales must be larger than 0", {"scales": [0]}),
        ("scales must be a list", {"scales": 1}),
        ("score_threshold must be from 0 to 1", {"score_threshold": 50}),
        ("background must be a whole number from 0 to 10", {"background": 11}),
    ):
        with pytest.raises(ArgumentError, match=match):
            windows.detect(classifier, picture, **settings)
