"""Made-up predictions and targets, and what pycocotools makes of them."""

import contextlib
import io
import zlib

import numpy as np


def case(seed):
    """Predictions, targets and the number of classes: some near, some equal, some nowhere.

    Corners are whole pixels, halves or quarters, scores thousandths with many of them equal.
    """
    random = np.random.default_rng(seed)
    classes, count = random.integers(1, 5), random.integers(1, 12)
    most, objects = random.choice([3, 10, 150]), random.choice([2, 8, 20])
    made = [_image(random, int(classes), int(most), int(objects)) for _ in range(count)]
    return [each[0] for each in made], [each[1] for each in made], int(classes)


def _boxes(random, count, size):
    low = random.integers(0, size, (count, 2))
    corners = np.concatenate([low, low + random.integers(1, size, (count, 2))], axis=1)
    return corners.astype(np.float32) / np.float32(random.choice([1, 2, 4]))


def _image(random, classes, most, objects):
    size, n, m = int(random.choice([20, 80, 400])), random.integers(objects), random.integers(most)
    boxes = _boxes(random, n, size)
    sides = boxes[:, 2:] - boxes[:, :2]
    target = {
        "boxes": boxes, "labels": random.integers(0, classes, n), "crowd": random.random(n) < 0.15,
        "area": (sides.prod(axis=1) * random.choice([0.75, 1], n)).astype(np.float32),
    }  # fmt: skip
    guesses, labels = _boxes(random, m, size), random.integers(0, classes, m)
    if n and m:
        of = random.integers(0, n, m)
        near = boxes[of] + random.integers(-size // 10 - 1, size // 10 + 2, (m, 4))
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        near = np.where(random.random((m, 1)) < 0.1, boxes[0], near)
        guesses = np.where(random.random((m, 1)) < 0.7, near, guesses)
        labels = np.where(random.random(m) < 0.7, target["labels"][of], labels)
    scores = random.integers(0, random.choice([5, 1000]), m) / 1000
    prediction = {"boxes": guesses.astype(np.float32), "labels": labels,
                  "scores": scores.astype(np.float32)}  # fmt: skip
    return prediction, target


def checksum(predictions, targets):
    """The CRC-32 of a case's numbers, in hexadecimal: what NumPy draws may change one day."""
    found = 0
    for each in (*predictions, *targets):
        for name in sorted(each):
            found = zlib.crc32(np.ascontiguousarray(each[name], np.float64).data, found)
    return f"{found:08x}"


def by_pycocotools(predictions, targets, classes):
    """The twelve figures, -1 for what isn't known; None where there are no predictions."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth = COCO()
    truth.dataset = {
        "images": [{"id": i + 1} for i in range(len(targets))],
        "categories": [{"id": i + 1} for i in range(classes)],
        "annotations": [
            {"image_id": i + 1, "category_id": int(label) + 1, "bbox": _xywh(box),
             "area": float(area), "iscrowd": int(crowd)}
            for i, t in enumerate(targets)
            for box, label, crowd, area in zip(
                t["boxes"], t["labels"], t["crowd"], t["area"], strict=True
            )
        ],
    }  # fmt: skip
    for number, each in enumerate(truth.dataset["annotations"], 1):
        each["id"] = number
    results = [
        {"image_id": i + 1, "category_id": int(label) + 1, "bbox": _xywh(box),
         "score": float(score)}
        for i, p in enumerate(predictions)
        for box, label, score in zip(p["boxes"], p["labels"], p["scores"], strict=True)
    ]  # fmt: skip
    if not results:
        return None
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(value) for value in evaluation.stats]


def _xywh(box):
    x1, y1, x2, y2 = (float(number) for number in box)
    return [x1, y1, x2 - x1, y2 - y1]
