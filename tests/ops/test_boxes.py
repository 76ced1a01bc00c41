"""Boxes: overlaps, suppression, anchors, coding and matching, against torchvision and formulas."""

import math
from pathlib import Path

import numpy as np
import pytest
from box_cases import ALIGN, SSD, boxes, maps, regions, scores

import minidl as md
from minidl import ops
from minidl.errors import ArgumentError, DTypeError, ShapeError

TORCHVISION = np.load(Path(__file__).parent / "torchvision_outputs.npz")
NONE, NO_SCORES = np.zeros((0, 4), np.float32), np.zeros(0, np.float32)


def assert_close(found, name, tolerance=2e-6):
    expected = TORCHVISION[name]
    assert found.dtype == expected.dtype
    scale = max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * scale)


def overlap(a, b):
    """IoU of two boxes by its definition, in Python's floats."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / union if union else 0.0


@pytest.mark.parametrize(
    "name", ["box_iou", "generalized_box_iou", "distance_box_iou", "complete_box_iou"]
)
def test_overlaps_are_torchvisions(name):
    assert_close(getattr(ops, name)(boxes(0, 12), boxes(1, 9)), name)


def test_iou_by_its_definition():
    a, b = boxes(0, 30).astype(np.float64), boxes(1, 20).astype(np.float64)
    expected = [[overlap(p, q) for q in b.tolist()] for p in a.tolist()]
    np.testing.assert_allclose(ops.box_iou(a, b), expected, rtol=1e-14)


def test_boxes_without_an_area_overlap_nothing():
    """Where torchvision has 0 / 0."""
    point, line = [[5.0, 5, 5, 5]], [[0.0, 5, 9, 5]]
    some = np.array([*point, *line, [0, 0, 10, 10]], np.float32)
    for name in ("box_iou", "generalized_box_iou", "distance_box_iou", "complete_box_iou"):
        found = getattr(ops, name)(some, some)
        assert np.isfinite(found).all()
        assert found[2, 2] == pytest.approx(1)
    assert ops.box_iou(some, some)[0].tolist() == [0, 0, 0]


@pytest.mark.parametrize("name", ["generalized_box_iou_loss", "distance_box_iou_loss"])
def test_losses_are_torchvisions(name):
    a, b = boxes(0, 12)[:9].astype(np.float64), boxes(1, 9).astype(np.float64)
    assert_close(getattr(ops, name)(a, b, reduction="none"), name, 1e-12)


def test_focal_loss_is_torchvisions():
    a = boxes(0, 12)
    found = ops.sigmoid_focal_loss(a / 50 - 1, (a > 50).astype(np.float32), reduction="none")
    assert_close(found, "focal")


def test_formats():
    a = boxes(0, 12)
    for fmt in ("xywh", "cxcywh"):
        found = ops.box_convert(a, "xyxy", fmt)
        assert_close(found, fmt)
        np.testing.assert_allclose(ops.box_convert(found, fmt, "xyxy"), a, rtol=1e-5)
    np.testing.assert_array_equal(ops.box_convert(a, "xyxy", "xyxy"), a)
    there = ops.box_convert(ops.box_convert(a, "xyxy", "xywh"), "xywh", "cxcywh")
    np.testing.assert_allclose(there, TORCHVISION["cxcywh"], rtol=1e-5)


def test_clipping_and_small_boxes():
    assert_close(ops.clip_boxes_to_image(boxes(0, 12), (80, 70)), "clip")
    assert_close(ops.remove_small_boxes(boxes(0, 12), 15.0), "small")
    wrong_way_round = np.array([[5, 5, 1, 9], [1, 1, 4, 4]])
    assert ops.remove_small_boxes(wrong_way_round, 0).tolist() == [1]
    assert ops.box_area(np.array([[1, 2, 4, 10]], np.uint8)).tolist() == [24]


@pytest.mark.parametrize("threshold", [0.0, 0.3, 1 / 3, 0.5, 0.9])
@pytest.mark.parametrize("kernels", ["fast", "reference"])
def test_nms_is_torchvisions(threshold, kernels, monkeypatch):
    monkeypatch.setattr(md.config, "kernels", kernels)
    found = ops.nms(boxes(2, 1500), scores(3, 1500), threshold)
    np.testing.assert_array_equal(found, TORCHVISION[f"nms/{threshold}"])


def test_an_iou_of_the_threshold_stays():
    """Halves of a box overlap it by exactly 0.5; of a threshold no float32 has, nothing is lost."""
    some = np.array([[0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 5, 10]], np.float32)
    falling = np.array([0.9, 0.8, 0.7], np.float32)
    assert ops.nms(some, falling, 0.5).tolist() == [0, 1, 2]
    assert ops.nms(some, falling, 0.4999999999).tolist() == [0]
    third = np.array([[0, 0, 3, 1], [0, 0, 1, 1]], np.float32)  # 1/3, rounded up in float32
    assert ops.nms(third, falling[:2], 1 / 3).tolist() == [0]
    assert ops.nms(third.astype(np.float64), falling[:2], 1 / 3).tolist() == [0, 1]


def greedy(some, falling, threshold):
    """Non-maximum suppression in Python, by its definition."""
    kept = []
    for i in sorted(range(len(some)), key=lambda i: (-falling[i], i)):
        if all(overlap(some[i], some[j]) <= threshold for j in kept):
            kept.append(i)
    return kept


def test_nms_by_its_definition():
    some, falling = boxes(4, 700).astype(np.float64), scores(5, 700)
    assert ops.nms(some, falling, 0.4).tolist() == greedy(some.tolist(), falling, 0.4)


def test_batched_nms_is_nms_of_each_label():
    some, falling = boxes(6, 600), scores(7, 600)
    labels = np.random.default_rng(0).integers(-2, 5, 600)
    kept = []
    for label in np.unique(labels):
        mine = np.flatnonzero(labels == label)
        kept += mine[ops.nms(some[mine], falling[mine], 0.3)].tolist()
    expected = sorted(kept, key=lambda i: (-falling[i], i))
    assert ops.batched_nms(some, falling, labels, 0.3).tolist() == expected


@pytest.mark.parametrize("method", ["gaussian", "linear"])
def test_soft_nms_by_the_paper(method):
    some, left = boxes(8, 60).tolist(), dict(enumerate(scores(9, 60).astype(np.float64)))
    indices, lowered = [], []
    while left:
        best = min(left, key=lambda i: (-left[i], i))
        score = left.pop(best)
        if score < 0.05:
            break
        indices.append(best)
        lowered.append(score)
        for i in left:
            iou = overlap(some[best], some[i])
            soft = math.exp(-(iou**2) / 0.3)
            left[i] *= soft if method == "gaussian" else 1 - iou if iou > 0.2 else 1
    found = ops.soft_nms(
        boxes(8, 60), scores(9, 60), method=method, sigma=0.3, iou_threshold=0.2,
        score_threshold=0.05,
    )  # fmt: skip
    assert found[0].tolist() == indices
    np.testing.assert_allclose(found[1], lowered, rtol=1e-5)
    labels = np.arange(60)  # boxes of different labels leave each other alone
    alone = ops.soft_nms(boxes(8, 60), scores(9, 60), labels)
    np.testing.assert_array_equal(alone[1], -np.sort(-scores(9, 60)[scores(9, 60) > 0]))


def test_anchors_are_torchvisions():
    found = ops.anchor_boxes((4, 3), 16, (16, 33, 64), (0.5, 1.0, 2.0))
    np.testing.assert_array_equal(found, TORCHVISION["anchors"])


def test_priors_of_ssd300():
    found = ops.prior_boxes(**SSD)
    assert found.shape == (8732, 4)
    assert_close(found[::41], "priors", 1e-6)
    whole = ops.prior_boxes([(2, 1)], (100, 60), (0.5, 0.5), [[]])  # without steps
    assert whole.tolist() == [[15, 0, 45, 50]] * 2 + [[15, 50, 45, 100]] * 2
    wide = ops.prior_boxes([1], 100, (1.0, 1.0), [[4]], clip=False)
    np.testing.assert_allclose(wide[2], [-50, 25, 150, 75])


def test_coding_is_torchvisions():
    found = ops.encode_boxes(boxes(4, 20), boxes(5, 20))
    assert_close(found, "codes", 1e-5)
    back = ops.decode_boxes(found, boxes(5, 20))
    np.testing.assert_allclose(back, boxes(4, 20), rtol=0, atol=1e-4)
    assert_close(ops.decode_boxes(maps(6, 20, 4) * 20, boxes(5, 20)), "decoded")
    wild = ops.decode_boxes(np.full((1, 4), 1e4), np.array([[0.0, 0, 16, 16]]))
    np.testing.assert_allclose(wild[0, 2:] - wild[0, :2], 1000)


def test_matching_is_torchvisions():
    iou = ops.box_iou(boxes(7, 6), boxes(8, 400))
    for lenient in (False, True):
        found = ops.match_boxes(iou, high=0.5, low=0.3, allow_low_quality_matches=lenient)
        np.testing.assert_array_equal(found, TORCHVISION[f"matches/{lenient}"])
        assert set(found) > {-2, -1}
    np.testing.assert_array_equal(ops.match_priors(iou), TORCHVISION["matches/ssd"])


def test_boxes_that_want_one_prior_get_two():
    iou = np.array([[0.4, 0.3, 0.0], [0.45, 0.2, 0.0], [0.0, 0.0, 0.0]])
    assert ops.match_priors(iou).tolist() == [1, 0, -1]
    lenient = ops.match_boxes(iou, high=0.7, low=0.3, allow_low_quality_matches=True)
    assert lenient.tolist() == [1, -2, -1]  # a box without an overlap takes no anchor


def test_hard_negatives():
    loss = np.array([[5.0, 1, 3, 3, 9, 2], [1, 2, 3, 4, 5, 6]], np.float32)
    positive = np.array([[False] * 4 + [True, False], [False] * 6])
    found = ops.hard_negatives(loss, positive)
    assert found.tolist() == [[True, False, True, True, False, False], [False] * 6]
    one = ops.hard_negatives(loss[0], positive[0], ratio=2)  # of equal losses the first
    assert one.tolist() == [True, False, True, False, False, False]


def test_nothing_in_nothing_out():
    assert ops.nms(NONE, NO_SCORES, 0.5).dtype == np.int64
    assert ops.batched_nms(NONE, NO_SCORES, np.zeros(0, np.int64), 0.5).shape == (0,)
    assert [x.shape for x in ops.soft_nms(NONE, NO_SCORES)] == [(0,), (0,)]
    assert ops.box_iou(NONE, boxes(0, 3)).shape == (0, 3)
    assert ops.generalized_box_iou(boxes(0, 3), NONE).shape == (3, 0)
    assert ops.encode_boxes(NONE, NONE).shape == ops.decode_boxes(NONE, NONE).shape == (0, 4)
    background = ops.match_boxes(np.zeros((0, 5)), high=0.5, low=0.4)
    assert background.tolist() == ops.match_priors(np.zeros((0, 5))).tolist() == [-1] * 5
    x = np.ones((2, 4, 4, 3), np.float32)
    rois = np.zeros((0, 5), np.float32)
    assert ops.roi_align(x, rois, 2).shape == ops.roi_pool(x, rois, 2).shape == (0, 2, 2, 3)


@pytest.mark.parametrize("kernels", ["fast", "reference"])
def test_regions_are_torchvisions(kernels, monkeypatch):
    monkeypatch.setattr(md.config, "kernels", kernels)
    calls = {f"align{{}}/{i}": (ops.roi_align, settings) for i, settings in enumerate(ALIGN)}
    for name, (op, settings) in (calls | {"pool{}": (ops.roi_pool, ((3, 2), 0.125))}).items():
        x = md.tensor(maps(9, 2, 8, 8, 3), requires_grad=True)
        y = op(x, regions(10, 12), *settings)
        assert_close(y.data, name.format(""), 1e-5)
        (y * maps(11, *y.shape)).sum().backward()
        assert_close(x.grad, name.format("_grad"), 1e-5)


B = boxes(0, 3)
WRONG = [
    (lambda: ops.box_area(B[:, :3]), ShapeError, r"boxes of shape \(n, 4\), got \(3, 3\)"),
    (lambda: ops.box_area(B.tolist()), DTypeError, "box_area expected an ndarray .* got list"),
    (lambda: ops.box_area(md.tensor(B)), DTypeError, "got a Tensor: .* pass its .data"),
    (lambda: ops.box_area(B.astype(np.float16)), DTypeError, "got float16"),
    (lambda: ops.box_area(B * np.nan), ArgumentError, "boxes must be finite, got .* in row 0"),
    (lambda: ops.box_area(B[:, [2, 1, 0, 3]]), ArgumentError, "x2 >= x1 .* in row 0: box_convert"),
    (lambda: ops.box_iou(B, B.astype(np.float64)), DTypeError, "give both the same dtype"),
    (lambda: ops.box_convert(B, "xyxy", "yxyx"), ArgumentError, "out_fmt must be one of"),
    (lambda: ops.box_convert(-B, "xywh", "xyxy"), ArgumentError, "width and height of 0 or more"),
    (lambda: ops.clip_boxes_to_image(B, 1.5), ArgumentError, "size must be a whole number"),
    (lambda: ops.nms(B, NO_SCORES, 0.5), ShapeError, "a score for each of 3 boxes"),
    (lambda: ops.nms(B, B[:, 0] * np.nan, 0.5), ArgumentError, "scores must be numbers, got NaN"),
    (lambda: ops.nms(B, B[:, 0], 50), ArgumentError, "iou_threshold must be from 0 to 1, got 50"),
    (lambda: ops.batched_nms(B, B[:, 0], B[:, 0], 0.5), DTypeError, "whole numbers as labels"),
    (lambda: ops.soft_nms(B, B[:, 0], sigma=0), ArgumentError, "sigma must be larger than 0"),
    (lambda: ops.soft_nms(B, B[:, 0], method="hard"), ArgumentError, "method must be one of"),
    (lambda: ops.encode_boxes(B, B * 0), ArgumentError, "anchors must be .* x2 > x1"),
    (lambda: ops.encode_boxes(B, B[:2]), ShapeError, "an anchor for each of 3 boxes, got 2"),
    (lambda: ops.decode_boxes(B, B, weights=(1, 1)), ArgumentError, "weights must be four"),
    (lambda: ops.match_boxes(B, high=0.3, low=0.5), ArgumentError, "low must be at most high"),
    (lambda: ops.match_boxes(B * np.nan, high=1, low=0), ArgumentError, "iou must be numbers"),
    (lambda: ops.hard_negatives(B, B), DTypeError, "an ndarray of bool as positive, got float32"),
    (lambda: ops.anchor_boxes((4, 4), 8, (), (1,)), ArgumentError, "sizes must be a list"),
    (lambda: ops.anchor_boxes((4, 4), 8, (8,), (0,)), ArgumentError, "ratios must be larger"),
    (lambda: ops.prior_boxes([4], 32, [0.1], [[2]]), ArgumentError, "need 2 scales"),
    (lambda: ops.prior_boxes([4], 32, [0.1, 1], [[2]], steps=[]), ArgumentError, "steps must be"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_errors(number):
    call, error, match = WRONG[number]
    with pytest.raises(error, match=match):
        call()
