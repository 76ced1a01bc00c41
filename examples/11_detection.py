"""Objects found in pictures: boxes, a detector, and how right it is.

    python examples/11_detection.py [FOLDER]

SSD on a small MobileNet learns to find red and green squares on noise. Nothing is pretrained, so
that it needs no file; with a body trained on ImageNet (`minidl detect train DATA --weights FILE`)
real objects are learned the same way. FOLDER keeps the detector and a picture with its boxes.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

import minidl as md
from minidl import data, models
from minidl.apps import detect
from minidl.apps.pictures import save_png

CLASSES, COLORS, SIDE = ["red", "green"], [(230, 50, 50), (50, 230, 50)], 28
HEIGHT, WIDTH = 64, 96

# 1. Pictures with boxes -------------------------------------------------------------------------
#
# A box is x1, y1, x2, y2 in pixels. `data.read_boxes` reads them from files of Pascal VOC, COCO,
# YOLO and CSV; here they are drawn.

random = np.random.default_rng(0)


def picture():
    image = random.integers(0, 60, (HEIGHT, WIDTH, 3), np.uint8)
    boxes = []
    for label, color in enumerate(COLORS):
        x = label * WIDTH // 2 + random.integers(WIDTH // 2 - SIDE)
        y = random.integers(HEIGHT - SIDE)
        image[y : y + SIDE, x : x + SIDE] = color
        boxes.append((x, y, x + SIDE, y + SIDE))
    return image, {"boxes": np.float32(boxes), "labels": np.arange(2)}


images, targets = zip(*(picture() for _ in range(24)), strict=True)
parts = ["train"] * 16 + ["validation"] * 4 + ["test"] * 4
squares = data.Detection(images, targets, CLASSES, parts=parts)
print(f"{len(squares)} pictures, {squares.counts().sum()} boxes of {', '.join(squares.classes)}")

# 2. A detector ----------------------------------------------------------------------------------
#
# SSD says, for each of many fixed boxes, the priors, whether there is an object, and how the prior
# must be moved and stretched to be its box.

md.manual_seed(0)
body = models.create("mobilenet_v1", width=0.25)
body.image_format = models.ImageFormat(64, "RGB", 127.5, (1.0,) * 3, (1.0,) * 3)
ssd = detect.SSD(body, len(CLASSES), (HEIGHT, WIDTH))
scores, codes, priors = ssd.eval()(ssd.prepare(images[:1]))
print(f"{len(priors)} priors, the first of {priors[0, 2] - priors[0, 0]:.1f} pixels")
print(f"scores {scores.shape}: the background, then the classes; codes {codes.shape}")


# 3. Training and measuring ----------------------------------------------------------------------


def told(row):
    if row["epoch"] % 5 == 0:
        print(f"epoch {row['epoch']:2}: loss {row['loss']:.2f}, mAP {row['map']:.3f}")


with tempfile.TemporaryDirectory() as thrown_away:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else thrown_away)
    found = detect.train_detector(
        squares, folder, body, epochs=20, batch_size=4, lr=3e-3, progress=False, on_epoch=told
    )
    test = squares.part("test")
    figures, predictions = detect.evaluate(found.detector, test)
    print(f"test pictures: mAP {figures.map_voc:.3f}")

    # 4. One picture -----------------------------------------------------------------------------

    detector = detect.load(folder / "detector.h5")
    prediction = detector.detect(test[0][0], score_threshold=0.3)
    for box, label, score in zip(
        *(prediction[n] for n in ("boxes", "labels", "scores")), strict=True
    ):
        print(f"  {CLASSES[label]}: {score:.2f} at {np.rint(box).astype(int).tolist()}")
    drawn = detect.draw_boxes(test[0][0], prediction, CLASSES)
    save_png(folder / "found.png", drawn, {"picture": "squares"})
    print("written:", ", ".join(sorted(path.name for path in folder.glob("*.*"))))
