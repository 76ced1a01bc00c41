"""Transforms of boxes: against the pixels themselves, which are marked where boxes are."""

import numpy as np
import pytest
from transform_kinds import BOX_KINDS

from minidl.data import transforms
from minidl.data.transforms import (
    BoxResize,
    BoxResizeShort,
    RandomBoxFlip,
    RandomIoUCrop,
    RandomZoomOut,
)
from minidl.errors import ArgumentError, DTypeError, ShapeError

CASES = [(kind, settings) for kind in BOX_KINDS for settings in kind.samples]


def marked(seed, size=(40, 60), count=4):
    """An image whose channel c is 200 inside of box c alone, 10 elsewhere; whole pixels."""
    random = np.random.default_rng(seed)
    image = np.full((*size, count), 10, np.uint8)
    low = random.integers(0, [size[1] - 8, size[0] - 8], (count, 2))
    high = low + random.integers(6, 20, (count, 2))
    boxes = np.concatenate([low, np.minimum(high, [size[1], size[0]])], axis=1)
    for c, (x1, y1, x2, y2) in enumerate(boxes):
        image[y1:y2, x1:x2, c] = 200
    target = {
        "boxes": boxes.astype(np.float32), "labels": np.arange(count),
        "difficult": random.random(count) < 0.5,
        "points": boxes.reshape(count, 2, 2)[:, :1].astype(np.float32),  # the top left corner
    }  # fmt: skip
    return image, target


def found_in(image, label):
    """The box of the pixels that are 200 in a channel; None where there are none."""
    rows, columns = np.nonzero(image[..., label] > 105)
    if not len(rows):
        return None
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def item(random=None):
    random = random or np.random.default_rng(0)
    image = random.integers(0, 256, (12, 16, 3)).astype(np.uint8)
    low = random.integers(0, 8, (3, 2))
    boxes = np.concatenate([low, low + random.integers(1, 5, (3, 2))], axis=1)
    return image, {"boxes": boxes.astype(np.float32), "labels": np.arange(3)}


@pytest.mark.parametrize("kind", BOX_KINDS)
def test_it_is_public_and_declares_its_samples(kind):
    assert getattr(transforms, kind.__name__) is kind
    assert "samples" in vars(kind)
    assert kind.errors


@pytest.mark.parametrize(("kind", "settings"), CASES)
def test_what_holds_for_all(kind, settings):
    transform = kind(**settings)
    assert kind(**transform.settings).settings == transform.settings
    assert repr(transform) == repr(eval(repr(transform), vars(transforms)))
    image, target = item()
    before = image.copy(), {name: array.copy() for name, array in target.items()}
    for dtype in (np.uint8, np.float32):
        pixels = image.astype(dtype)
        pixels.flags.writeable = False
        if dtype == np.uint8 and settings.get("fill") is not None:
            continue
        for seed in range(5):
            results = [transform(pixels, target, np.random.default_rng(seed)) for _ in range(2)]
            for (one, its), (other, others) in [results]:
                np.testing.assert_array_equal(one, other)
                np.testing.assert_array_equal(its["boxes"], others["boxes"])
            changed, its = results[0]
            assert (changed.dtype, changed.ndim, changed.shape[2]) == (dtype, 3, 3)
            assert changed.flags.c_contiguous
            assert its["boxes"].dtype == np.float32
            assert len(its["labels"]) == len(its["boxes"])
            height, width = changed.shape[:2]
            assert (its["boxes"] >= 0).all()
            assert (its["boxes"] <= [width, height, width, height]).all()
            assert (its["boxes"][:, :2] < its["boxes"][:, 2:]).all()
    for name, array in before[1].items():
        np.testing.assert_array_equal(target[name], array)
    empty = {"boxes": np.zeros((0, 4), np.float32), "labels": np.zeros(0, np.int64)}
    assert transform(image, empty, np.random.default_rng(0))[1]["boxes"].shape == (0, 4)


@pytest.mark.parametrize(("kind", "settings"), [c for c in CASES if c[0].random])
def test_evaluation_changes_nothing(kind, settings):
    image, target = item()
    changed, its = kind(**settings)(image, target)
    np.testing.assert_array_equal(changed, image)
    np.testing.assert_array_equal(its["boxes"], target["boxes"])


@pytest.mark.parametrize(
    ("kind", "settings", "said"), [(kind, *error) for kind in BOX_KINDS for error in kind.errors]
)
def test_wrong_settings(kind, settings, said):
    with pytest.raises(ArgumentError, match=said) as caught:
        kind(**settings)
    assert str(caught.value).startswith(kind.__name__)


@pytest.mark.parametrize("kind", BOX_KINDS)
def test_wrong_items(kind):
    transform, (image, target) = kind(**kind.samples[0]), item()
    name, rng = kind.__name__, np.random.default_rng(0)
    for bad, its, error, said in (
        (image.astype(np.float64), target, DTypeError, "a uint8 or float32 image, got float64"),
        (image.tolist(), target, DTypeError, "image, got list"),
        (image[None], target, ShapeError, r"an image \(H, W, C\), got shape \(1, 12"),
        (image, None, DTypeError, "an image and its target, a dict"),
        (image, {"boxes": target["boxes"].astype(float)}, DTypeError, "boxes of float32, got flo"),
        (image, {"boxes": target["boxes"][0]}, ShapeError, r"boxes \(n, 4\), got shape \(4,\)"),
    ):
        with pytest.raises(error, match=f"{name} expected {said}|{name} expected .*{said}"):
            transform(bad, its, rng)
    with pytest.raises(DTypeError, match=f"{name} expected generator to be a numpy Generator"):
        transform(image, target, 7)


def test_flip():
    for seed in range(10):
        image, target = marked(seed)
        changed, its = RandomBoxFlip(p=1)(image, target, np.random.default_rng(seed))
        assert its["boxes"].tolist() == [found_in(changed, c) for c in range(4)]
        np.testing.assert_array_equal(its["points"][:, 0, 0], 60 - target["points"][:, 0, 0])
        np.testing.assert_array_equal(its["points"][:, 0, 1], target["points"][:, 0, 1])
        assert its["difficult"].tolist() == target["difficult"].tolist()
    flips = [RandomBoxFlip(p=0.3)(image, target, np.random.default_rng(i))[0] for i in range(400)]
    assert 80 < sum((flip != image).any() for flip in flips) < 160


def test_points_that_change_places():
    """The left eye of a mirrored face is where the right one was."""
    image, target = item()
    target["points"] = np.array([[[1, 2], [3, 4], [5, 6]]] * 3, np.float32)
    _, its = RandomBoxFlip(p=1, mirrored=(1, 0, 2))(image, target, np.random.default_rng(0))
    assert its["points"][0].tolist() == [[13, 4], [15, 2], [11, 6]]
    for mirrored in (None, (1, 0)):
        with pytest.raises(ArgumentError, match="boxes have 3 points: mirrored= must tell"):
            RandomBoxFlip(p=0, mirrored=mirrored)(image, target, np.random.default_rng(0))


def test_crops_hold_what_their_boxes_say():
    """Boxes are where the pixels are; those whose centre is outside are gone."""
    kept = []
    for seed in range(300):
        image, target = marked(seed)
        changed, its = RandomIoUCrop()(image, target, np.random.default_rng(seed))
        kept.append(len(its["labels"]))
        assert kept[-1] >= 1
        for label, box in zip(its["labels"], its["boxes"], strict=True):
            assert box.tolist() == found_in(changed, label)
            assert its["difficult"][list(its["labels"]).index(label)] == target["difficult"][label]
        for label in {*range(4)} - {*its["labels"].tolist()}:
            left = found_in(changed, label)
            if left is not None:  # less than half of it, either way
                x1, y1, x2, y2 = target["boxes"][label]
                assert (left[2] - left[0]) * 2 <= x2 - x1 or (left[3] - left[1]) * 2 <= y2 - y1
        moved = its["points"][:, 0] - target["points"][its["labels"], 0]
        assert len({tuple(each) for each in moved.tolist()}) == 1  # all by the same
    assert {1, 4} <= {*kept}


@pytest.mark.parametrize("least", [0.1, 0.5, 0.7])
def test_crops_overlap_a_box_by_as_much(least):
    """The part is found again by its place: each pixel holds its own number."""
    numbers = np.arange(40 * 60, dtype=np.float32).reshape(40, 60, 1)
    for seed in range(60):
        _, target = marked(seed)
        target["boxes"] = target["boxes"] * np.float32(1)
        target["boxes"][0] = [5, 5, 45, 35]
        transform = RandomIoUCrop(sampler_options=(least,))
        part, _ = transform(numbers, target, np.random.default_rng(seed))
        y1, x1 = divmod(int(part[0, 0, 0]), 60)
        y2, x2 = y1 + part.shape[0], x1 + part.shape[1]
        if part.shape[:2] == (40, 60):  # none was found in all trials
            continue
        assert 0.5 <= part.shape[1] / part.shape[0] <= 2
        assert min(part.shape[0] / 40, part.shape[1] / 60) >= 0.3 - 1 / 40
        best = 0.0
        for a1, b1, a2, b2 in target["boxes"].tolist():
            if not (x1 < (a1 + a2) / 2 < x2 and y1 < (b1 + b2) / 2 < y2):
                continue
            inside = max(0, min(a2, x2) - max(a1, x1)) * max(0, min(b2, y2) - max(b1, y1))
            union = (x2 - x1) * (y2 - y1) + (a2 - a1) * (b2 - b1) - inside
            best = max(best, inside / union)
        assert best >= least


def test_areas_are_left_out_where_outlines_are_cut():
    image, target = item()
    target["area"] = np.ones(3, np.float32)
    assert "area" not in RandomIoUCrop(sampler_options=(0.0,))(
        image, target, np.random.default_rng(1)
    )[1]  # fmt: skip
    doubled = BoxResize((24, 32))(image, target)[1]
    assert doubled["area"].tolist() == [4, 4, 4]


def test_zoom_out():
    for seed in range(20):
        image, target = marked(seed)
        changed, its = RandomZoomOut(p=1)(image, target, np.random.default_rng(seed))
        assert its["boxes"].tolist() == [found_in(changed, c) for c in range(4)]
        assert 40 <= changed.shape[0] <= 160
        ratio = changed.shape[1] / changed.shape[0]
        assert abs(ratio - 1.5) < 0.05
    small, _ = RandomZoomOut(fill=(1, 2, 3, 4), side_range=(2, 2), p=1)(
        image, target, np.random.default_rng(0)
    )
    assert small.shape == (80, 120, 4)
    corners = [small[0, 0].tolist(), small[-1, -1].tolist()]
    assert [1, 2, 3, 4] in corners
    mean, _ = RandomZoomOut(side_range=(2, 2), p=1)(image, target, np.random.default_rng(0))
    wanted = np.rint(image.mean(axis=(0, 1), dtype=np.float64)).tolist()
    assert wanted in [mean[0, 0].tolist(), mean[-1, -1].tolist()]
    with pytest.raises(ShapeError, match="fill has 3 numbers, but the image has 4 channels"):
        RandomZoomOut(fill=(1, 2, 3), p=1)(image, target, np.random.default_rng(0))


def test_resize():
    image, target = marked(3)
    for transform, size in (
        (BoxResize((80, 180)), (80, 180)),
        (BoxResizeShort(80), (80, 120)),
        (BoxResizeShort(80, longest=90), (60, 90)),
        (BoxResizeShort(80, longest=120), (80, 120)),
    ):
        changed, its = transform(image, target)
        assert changed.shape[:2] == size
        scale = np.array([size[1] / 60, size[0] / 40])
        np.testing.assert_allclose(its["boxes"], target["boxes"] * np.tile(scale, 2), rtol=1e-6)
        for c in range(4):
            np.testing.assert_allclose(its["boxes"][c], found_in(changed, c), atol=1)
        np.testing.assert_allclose(its["points"], target["points"] * scale, rtol=1e-6)
