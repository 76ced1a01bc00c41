"""A small set of pictures with boxes, and small detectors, that tests of detection share."""

import numpy as np

import minidl as md
from minidl import data, models

COLOURS = np.array([(230, 50, 50), (50, 230, 50)], np.uint8)
CLASSES = ["red", "green"]
SIDE = 28


def squares(count=6, size=(64, 96), seed=0):
    """Pictures with a red and a green square each, on noise."""
    random = np.random.default_rng(seed)
    images, targets = [], []
    for _ in range(count):
        image = random.integers(0, 60, (*size, 3), np.uint8)
        boxes = []
        for label, low in enumerate((0, size[1] // 2)):
            x = int(low + random.integers(size[1] // 2 - SIDE))
            y = int(random.integers(size[0] - SIDE))
            image[y : y + SIDE, x : x + SIDE] = COLOURS[label]
            boxes.append((x, y, x + SIDE, y + SIDE))
        images.append(image)
        targets.append({"boxes": np.float32(boxes), "labels": np.arange(2)})
    parts = ["train"] * (count - 2) + ["validation"] * 2
    return data.Detection(images, targets, CLASSES, parts=parts)


def small_body():
    """MobileNet of a quarter's width, untrained."""
    md.manual_seed(1)
    network = models.create("mobilenet_v1", width=0.25)
    network.image_format = models.ImageFormat(64, "RGB", 127.5, (1.0,) * 3, (1.0,) * 3)
    return network
