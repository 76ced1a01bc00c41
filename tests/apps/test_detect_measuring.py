"""Measuring of detectors: COCO's figures as pycocotools has them, VOC's by loops."""

import json
from pathlib import Path

import numpy as np
import pytest
from detection_cases import case, checksum

from minidl.apps import detect
from minidl.errors import ArgumentError, DTypeError, ShapeError

RECORDED = json.loads(Path(__file__).with_name("coco_figures.json").read_text(encoding="utf-8"))


def boxes(*rows):
    return np.array(rows, np.float32).reshape(-1, 4)


def prediction(*rows):
    """Rows are label, score, x1, y1, x2, y2."""
    table = np.array(rows, np.float64).reshape(-1, 6)
    return {"boxes": table[:, 2:].astype(np.float32), "labels": table[:, 0].astype(np.int64),
            "scores": table[:, 1].astype(np.float32)}  # fmt: skip


def target(*rows, **others):
    """Rows are label, x1, y1, x2, y2."""
    table = np.array(rows, np.float64).reshape(-1, 5)
    found = {"boxes": table[:, 1:].astype(np.float32), "labels": table[:, 0].astype(np.int64)}
    return found | {name: np.array(value) for name, value in others.items()}


# COCO


def test_cocos_figures_are_those_of_pycocotools():
    assert len(RECORDED) >= 30
    for row in RECORDED:
        predictions, targets, classes = case(row["seed"])
        assert checksum(predictions, targets) == row["crc32"], "record anew: record_coco.py"
        found = detect.measure(predictions, targets, [str(i) for i in range(classes)]).coco
        figures = np.nan_to_num([*found.values()], nan=-1)
        np.testing.assert_allclose(figures, row["figures"], rtol=0, atol=1e-6)


def test_the_order_of_predictions_is_of_no_account():
    """Where no two scores are equal."""
    for seed in range(10):
        predictions, targets, classes = case(seed)
        random = np.random.default_rng(seed)
        for each in predictions:
            each["scores"] = random.permutation(len(each["scores"])) + random.random()
        names = [str(i) for i in range(classes)]
        shuffled = []
        for each in predictions:
            order = random.permutation(len(each["scores"]))
            shuffled.append({name: array[order] for name, array in each.items()})
        one, other = (detect.measure(p, targets, names) for p in (predictions, shuffled))
        np.testing.assert_equal(one.coco, other.coco)
        assert (one.errors, str(one)) == (other.errors, str(other))


def test_of_objects_that_overlap_as_much_the_last_is_taken():
    """So has pycocotools it: with the other order the second prediction finds nothing."""
    first, second = (0, 0, 2, 10, 10), (0, 0, 4, 10, 12)  # 0.8 of the first prediction, both
    guesses = [prediction((0, 0.9, 0, 2, 10, 12), (0, 0.8, 0, 0, 10, 8))]
    for targets, ap in ((target(first, second), 1), (target(second, first), 51 / 101)):
        found = detect.measure(guesses, [targets], ["a"])
        np.testing.assert_allclose(found.map50, ap)


# VOC


def iou(one, other, crowd=False):
    """Intersection over union of two boxes, written out."""
    wide = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    high = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (one, other)]
    whole = areas[0] if crowd else areas[0] + areas[1] - wide * high
    return wide * high / whole if wide * high > 0 else 0.0


def voc(predictions, targets, label):
    """AP by area and by 11 points, by the rules of the development kit, in loops."""
    rows, objects = [], 0
    for i, (p, t) in enumerate(zip(predictions, targets, strict=True)):
        objects += sum(
            own == label and not d and not c
            for own, d, c in zip(t["labels"], t["difficult"], t["crowd"], strict=True)
        )
        order = sorted(range(len(p["scores"])), key=lambda n: -p["scores"][n])
        rows += [
            (p["scores"][n], i, p["boxes"][n].tolist()) for n in order if p["labels"][n] == label
        ]
    rows.sort(key=lambda row: -row[0])
    found, points, right, wrong = set(), [], 0, 0
    for _, i, box in rows:
        t = targets[i]
        of = [n for n in range(len(t["labels"])) if t["labels"][n] == label]
        shared = [iou(box, t["boxes"][n].tolist(), t["crowd"][n]) for n in of]
        best = max(range(len(of)), key=lambda n: shared[n], default=None)
        if best is not None and shared[best] >= 0.5:
            number = of[best]
            if t["difficult"][number] or t["crowd"][number]:
                continue
            hit = (i, number) not in found
            found.add((i, number))
        else:
            hit = False
        right, wrong = right + hit, wrong + (not hit)
        points.append((right / max(objects, 1), right / (right + wrong)))
    if not objects:
        return np.nan, np.nan
    area, before = 0.0, 0.0
    for n, (recall, _) in enumerate(points):
        area += (recall - before) * max(precision for _, precision in points[n:])
        before = recall
    eleven = [max([p for r, p in points if r >= k / 10 - 1e-12], default=0) for k in range(11)]
    return area, sum(eleven) / 11


def test_vocs_figures_are_those_of_loops():
    random = np.random.default_rng(0)
    for seed in range(60):
        predictions, targets, classes = case(seed)
        for each in targets:
            each["difficult"] = random.random(len(each["labels"])) < 0.2
        found = detect.measure(predictions, targets, [str(i) for i in range(classes)])
        expected = np.array([voc(predictions, targets, label) for label in range(classes)])
        for i, name in enumerate(("ap_voc", "ap_voc11")):
            figures = [getattr(each, name) for each in found.by_class]
            np.testing.assert_allclose(figures, expected[:, i], rtol=1e-12, atol=1e-12)
        if not np.isnan(expected).all():
            means = np.nanmean(expected, axis=0)
            np.testing.assert_allclose([found.map_voc, found.map_voc11], means, rtol=1e-12)


def test_a_curve_by_hand():
    """Hit, miss, hit, of three objects: precision 1, 1/2, 2/3 at recall 1/3, 1/3, 2/3."""
    targets = [target((0, 0, 0, 10, 10), (0, 20, 20, 30, 30), (0, 50, 50, 60, 60))]
    guesses = [
        prediction((0, 0.9, 0, 0, 10, 10), (0, 0.8, 80, 80, 90, 90), (0, 0.7, 20, 20, 30, 30))
    ]
    found = detect.measure(guesses, targets, ["a"])
    curve = found.by_class[0].curve
    np.testing.assert_allclose(curve.recall, [1 / 3, 1 / 3, 2 / 3])
    np.testing.assert_allclose(curve.precision, [1, 1 / 2, 2 / 3])
    np.testing.assert_allclose(found.map_voc, 1 / 3 + 2 / 9)
    np.testing.assert_allclose(found.map_voc11, (4 * 1 + 3 * 2 / 3) / 11)  # up to 0.3, 0.6
    np.testing.assert_allclose(curve.scores, [0.9, 0.8, 0.7], rtol=1e-6)


def test_difficult_objects_count_neither_for_nor_against():
    targets = [target((0, 0, 0, 10, 10), (0, 20, 20, 30, 30), difficult=[False, True])]
    guesses = [prediction((0, 0.9, 20, 20, 30, 30), (0, 0.8, 0, 0, 10, 10))]
    assert detect.measure(guesses, targets, ["a"]).map_voc == 1
    assert detect.measure(guesses, [target(*[(0, 0, 0, 10, 10)])], ["a"]).map_voc == 0.5


# Kinds of errors


def test_kinds_of_errors():
    targets = [
        target((0, 0, 0, 10, 10), (1, 30, 0, 40, 10), (0, 60, 0, 70, 10), (1, 80, 0, 90, 10),
               (0, 0, 50, 10, 60), (1, 30, 50, 40, 60), (0, 60, 50, 70, 60), (0, 80, 50, 90, 60),
               (1, 0, 80, 10, 90)),
    ]  # fmt: skip
    guesses = [
        prediction(
            (0, 0.99, 0, 0, 10, 10),  # correct
            (0, 0.98, 1, 0, 11, 10),  # found before: duplicate
            (0, 0.97, 30, 0, 40, 10),  # there is a 1: class
            (0, 0.96, 66, 0, 76, 10),  # 40 of 160: place
            (0, 0.95, 86, 0, 96, 10),  # 40 of 160 of a 1: both
            (1, 0.94, 50, 95, 60, 99),  # nothing there: background
            (1, 0.93, 30, 50, 40, 60),  # correct
            (0, 0.10, 0, 50, 10, 60),  # more than there are objects: not looked at
        )
    ]
    found = detect.measure(guesses, targets, ["a", "b"])
    # Missed: of class 0 the last three, of class 1 that at 80 and the last.
    assert found.errors == {"class": 1, "place": 1, "both": 1, "duplicate": 1, "background": 1,
                            "missed": 5}  # fmt: skip
    assert found.by_class[0].errors["missed"] == 3
    assert found.by_class[1].errors == dict.fromkeys(found.errors, 0) | {
        "background": 1, "missed": 2
    }  # fmt: skip
    assert found.images[0].kinds == [
        "correct", "duplicate", "class", "place", "both", "background", "correct"
    ]  # fmt: skip
    np.testing.assert_allclose([c.threshold for c in found.by_class], [0.95, -np.inf], rtol=1e-6)


def test_the_worst_images_come_first():
    targets = [target((0, 0, 0, 9, 9))] * 3
    guesses = [prediction((0, 0.9, 0, 0, 9, 9)), prediction((0, 0.8, 50, 50, 60, 60)), prediction()]
    found = detect.measure(guesses, targets, ["a"])
    assert found.worst(9) == [1, 2]
    assert found.worst(1) == [1]


def test_crowds_and_difficult_objects_are_no_errors():
    flags = {"crowd": [True, False], "difficult": [False, True]}
    targets = [target((0, 0, 0, 50, 50), (0, 60, 60, 70, 70), **flags), target((0, 0, 0, 9, 9))]
    guesses = [prediction((0, 0.9, 5, 5, 10, 10)), prediction((0, 0.8, 0, 0, 9, 9))]
    found = detect.measure(guesses, targets, ["a"])
    assert sum(found.errors.values()) == 0
    assert found.map_voc == 1
    assert abs(found.map50 - 51 / 101) < 1e-12  # COCO knows no difficult objects


# Sets that lack something


def test_no_predictions_at_all():
    found = detect.measure([prediction()] * 2, [target((0, 0, 0, 9, 9)), target()], ["a", "b"])
    assert (found.map_voc, found.map50, found.coco["AP"], found.coco["AR100"]) == (0, 0, 0, 0)
    assert found.errors["missed"] == 1
    assert np.isnan(found.by_class[1].ap_voc)
    assert "b" in str(found)


def test_no_targets_at_all():
    found = detect.measure([prediction((0, 0.5, 0, 0, 9, 9))], [target()], ["a"])
    assert np.isnan([found.map_voc, found.map_voc11, *found.coco.values()]).all()
    assert sum(found.errors.values()) == 0


def test_classes_without_an_object_are_not_in_the_means():
    guesses = [prediction((0, 0.9, 0, 0, 9, 9), (1, 0.9, 0, 0, 9, 9))]
    found = detect.measure(guesses, [target((0, 0, 0, 9, 9))], ["a", "b"])
    np.testing.assert_allclose([found.map_voc, found.coco["AP"]], 1, rtol=1e-12)
    assert json.loads(json.dumps(found.as_dict()["classes"][0])) == found.as_dict()["classes"][0]


GOOD, THERE = prediction((0, 0.5, 0, 0, 9, 9)), target((0, 0, 0, 9, 9))
WRONG = [
    ([GOOD] * 2, [THERE], ["a"], ShapeError, "a prediction for each target, .* 2 predictions"),
    ([], [], ["a"], ShapeError, "at least one"),
    ([GOOD], [THERE], [], ArgumentError, r"a list of the classes' names, got \[\]"),
    ([GOOD], [THERE], "cat", ArgumentError, "a list of the classes' names, got 'cat'"),
    ([GOOD | {"scores": np.array(["a"])}], [THERE], ["a"], DTypeError, "scores must be numbers"),
    ([GOOD | {"scores": np.array([np.nan])}], [THERE], ["a"], ArgumentError,
     "prediction 0: scores must be finite numbers, got NaN"),
    ([GOOD | {"boxes": boxes([0, 0, np.inf, 1])}], [THERE], ["a"], ArgumentError, "boxes must be"),
    ([GOOD | {"labels": np.array([1])}], [THERE], ["a"], ArgumentError, "labels from 0 to 0"),
    ([GOOD | {"labels": np.array([0.5])}], [THERE], ["a"], DTypeError, "must be whole numbers"),
    ([GOOD | {"scores": np.zeros(2)}], [THERE], ["a"], ShapeError, r"scores \(n,\), got \(1, 4\)"),
    ([{"boxes": boxes([0, 0, 1, 1])}], [THERE], ["a"], DTypeError, 'prediction 0: .*"scores"'),
    ([GOOD], [target((1, 0, 0, 9, 9))], ["a"], ArgumentError, "target 0: expected labels from 0"),
    ([GOOD], [target((0, 9, 0, 9, 9))], ["a"], ArgumentError, "target 0: box 0 is degenerate"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_what_cannot_be_measured(number):
    predictions, targets, classes, error, said = WRONG[number]
    with pytest.raises(error, match=said):
        detect.measure(predictions, targets, classes)


def test_boxes_that_have_no_area_are_found_to_be_wrong():
    """A detector may give them; they overlap nothing."""
    found = detect.measure([prediction((0, 0.9, 5, 5, 5, 5), (0, 0.8, 9, 9, 0, 0))], [THERE], ["a"])
    assert found.map_voc == 0


# Shown


def test_boxes_are_drawn_where_they_are():
    image = np.full((500, 600, 3), 128, np.uint8)
    drawn = detect.draw_boxes(image, prediction((1, 0.5, 100, 200, 300, 400)), ["a", "b"])
    assert drawn.shape == image.shape
    assert (image == 128).all()
    changed = (drawn != 128).any(axis=2)
    assert changed[300, 100]
    assert changed[300, 299]
    assert changed[399, 200]
    assert not changed[300, 110:290].any()
    assert not changed[410:].any()
    assert not changed[:, :95].any()
    assert not changed[:, 305:].any()
    assert changed[180:199, 100:130].all(axis=1).any()  # the label above
    np.testing.assert_array_equal(detect.draw_boxes(image, prediction(), ["a"]), image)


def test_small_pictures_are_enlarged_and_labels_stay_inside():
    image = np.full((40, 60, 3), 128, np.uint8)
    drawn = detect.draw_boxes(image, target((0, 0, 0, 60, 40)), ["a"])
    assert drawn.shape == (320, 480, 3)
    changed = (drawn != 128).any(axis=2)
    assert changed[:, 0].all()
    assert changed[1:15, 3:8].any()


def test_labels_that_would_cover_each_other_go_elsewhere():
    image = np.full((500, 600, 3), 128, np.uint8)
    rows = [(i, 0.5, 100 + i, 200 + i, 300 + i, 400 + i) for i in range(3)]
    drawn = detect.draw_boxes(image, prediction(*rows), ["a" * 8, "b" * 8, "c" * 8])
    inks = {tuple(colour) for colour in drawn.reshape(-1, 3)}
    from minidl.apps.detect.drawing import colour_of

    for label in range(3):
        filled = (drawn == colour_of(label)).all(axis=2).sum()
        assert filled > 1600, label  # its edges are 1,600 pixels, its label comes on top
    assert len(inks) > 3
    twice = prediction((0, 0.9, 50, 50, 90, 90), (1, 0.5, 50, 50, 90, 90))
    drawn = detect.draw_boxes(image, twice, ["a", "b"])
    assert tuple(drawn[89, 60]) == colour_of(0)  # the better one is on top


def test_wrong_images_to_draw_on():
    with pytest.raises(DTypeError, match="draw_boxes expected an image of uint8, got float32"):
        detect.draw_boxes(np.zeros((9, 9, 3), np.float32), prediction(), ["a"])
    with pytest.raises(ShapeError, match=r"an image \(H, W, 3\), got shape \(9, 9\)"):
        detect.draw_boxes(np.zeros((9, 9), np.uint8), prediction(), ["a"])
    for label in (-1, 1):  # -1 isn't the last class
        with pytest.raises(ArgumentError, match=f"labels from 0 to 0, got {label}"):
            detect.draw_boxes(
                np.zeros((9, 9, 3), np.uint8), prediction((label, 1, 1, 1, 5, 5)), "a"
            )


def test_the_page(tmp_path):
    from minidl import data

    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (60, 80, 3)).astype(np.uint8) for _ in range(3)]
    targets = [target((0, 5, 5, 40, 40)), target((1, 10, 10, 50, 50)), target()]
    names = ["a <b>.png", "b\udcff.png", "c.png"]  # the second one isn't UTF-8
    detection = data.Detection(images, targets, ["cat & co", "dog", "none"], names=names)
    guesses = [
        prediction((0, 0.9, 5, 5, 40, 40), (1, 0.7, 5, 5, 40, 40)),
        prediction(),
        prediction(),
    ]
    figures = detect.measure(guesses, targets, detection.classes)
    path = detect.evaluation_page(tmp_path / "page.html", figures, detection, guesses, title="Pets")
    text = path.read_text(encoding="utf-8")
    for said in ("<h1>Pets</h1>", "cat &amp; co", "50.0%", "a &lt;b&gt;.png", "1 class",
                 "1 missed", "Precision over recall", "b?.png"):  # fmt: skip
        assert said in text, said
    assert text.count("data:image/jpeg;base64,") == 2
    assert "nan" not in text.replace("finance", "").split("<style>")[0]
    assert "http" not in text
    nothing = [prediction()] * 3
    figures = detect.measure(nothing, [target()] * 3, detection.classes)
    empty = data.Detection(images, [target()] * 3, detection.classes)
    assert "no picture" not in detect.evaluation_page(
        tmp_path / "empty.html", figures, empty, nothing
    ).read_text(encoding="utf-8")  # fmt: skip
