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
from minidl import data, models, nn, optim
from minidl.apps import detect
from minidl.apps.pictures import save_png

CLASSES, COLORS, SIDE = ["red", "green"], [(230, 50, 50), (50, 230, 50)], 28
HEIGHT, WIDTH, EPOCHS = 64, 96, 15

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


images, targets = zip(*(picture() for _ in range(48)), strict=True)
parts = ["train"] * 40 + ["test"] * 8
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
#
# `detect.train_detector`, and `minidl detect train`, do this with a warm-up, augmentation, a
# checkpoint after each epoch, and the best epoch kept.

for module in body.modules():
    if isinstance(module, nn.BatchNorm2d):
        module.freeze()
parameters = [p for p in ssd.parameters() if p.requires_grad]
optimizer = optim.AdamW(parameters, lr=3e-3)
loader = data.DataLoader(squares.part("train"), 8, shuffle=True, seed=0)
for epoch in range(1, EPOCHS + 1):
    ssd.train()
    for pixels, wanted in loader:
        parts = ssd.loss(md.tensor(ssd.scaled(pixels)), wanted)
        optimizer.zero_grad()
        sum(parts.values()).backward()
        optim.clip_grad_norm(parameters, 10.0)
        optimizer.step()
    if epoch % 5 == 0:
        told = ", ".join(f"{name} {part.item():.2f}" for name, part in parts.items())
        print(f"epoch {epoch:2}: {told}")

test = squares.part("test")
figures, predictions = detect.evaluate(ssd, test)
print(f"test pictures: mAP {figures.map_voc:.3f}")

# 4. The file, and one picture -------------------------------------------------------------------

with tempfile.TemporaryDirectory() as thrown_away:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else thrown_away)
    ssd.classes = CLASSES
    md.save_weights(ssd, folder / "squares.h5")
    detector = detect.load(folder / "squares.h5")
    found = detector.detect(test[0][0], score_threshold=0.3)
    for box, label, score in zip(found["boxes"], found["labels"], found["scores"], strict=True):
        print(f"  {CLASSES[label]}: {score:.2f} at {np.rint(box).astype(int).tolist()}")
    drawn = detect.draw_boxes(test[0][0], found, CLASSES)
    save_png(folder / "found.png", drawn, {"picture": "squares"})
    print("written:", ", ".join(sorted(path.name for path in folder.glob("*.*"))))
