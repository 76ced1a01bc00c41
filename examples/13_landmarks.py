"""Numbers from images: where eyes and mouths are, and how far a head is tilted.

    python examples/13_landmarks.py [EPOCHS]

Faces are drawn, so that the truth is known. Two networks find five points in each, by heatmaps and
directly; a third one tells the angle of the head in degrees: regression, in place of classes.
"""

import sys
import tempfile

import numpy as np

import minidl as md
from minidl import data, models, nn, optim, train
from minidl.apps import landmarks

SIZE, EYES = 40, (0, 1)
BODY = {"n": 1, "m": 3, "k": 0}  # three convolutions, each followed by pooling
epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 12

# 1. Faces with five points: eyes, nose, corners of the mouth ------------------------------------


def draw_faces(count: int, seed: int) -> tuple[landmarks.PointSet, np.ndarray]:
    rng = np.random.default_rng(seed)
    shape = np.array([[-7, -5], [7, -5], [0, 1], [-5, 8], [5, 8]])  # from the middle of a face
    degrees = rng.uniform(-30, 30, count)
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.stack([np.stack([cos, -sin], 1), np.stack([sin, cos], 1)], 1)  # (N, 2, 2)
    scale = rng.uniform(0.8, 1.2, (count, 1, 1))
    middle = rng.uniform(16, SIZE - 16, (count, 1, 2))
    points = middle + scale * (shape + rng.normal(0, 0.7, (count, 5, 2))) @ turn.transpose(0, 2, 1)
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    images = np.full((count, SIZE, SIZE), 190.0) + rng.normal(0, 8, (count, SIZE, SIZE))
    for i, marks in enumerate(points):
        for (u, v), depth in zip(marks, (120, 120, 60, 90, 90), strict=True):
            images[i] -= depth * np.exp(-((x - u) ** 2 + (y - v) ** 2) / 5)
    pixels = images.clip(0, 255).astype(np.uint8)[..., np.newaxis].repeat(3, axis=3)
    return landmarks.PointSet(pixels, points), degrees.astype(np.float32)


faces, degrees = draw_faces(300, seed=0)
test, test_degrees = draw_faces(100, seed=1)

# 2. How good a guess is without looking: the mean of all faces ----------------------------------

mean = np.broadcast_to(faces.points.mean(axis=0), test.points.shape)
errors = landmarks.measure_points(mean, test.points, EYES)
print(f"mean shape: RMSE {errors.rmse:.2f} pixels, NME {errors.nme:.3f}")

# 3. Two heads for points ------------------------------------------------------------------------
#
# Training turns, zooms and shifts the pictures, and their points with them. It could mirror them
# too, if told which point is which in the mirror: left and right change places.

for head in ("heatmap", "direct"):
    with tempfile.TemporaryDirectory() as folder:
        found = landmarks.train_landmarks(
            faces, folder, model="plain_cnn", arguments=BODY, head=head, epochs=epochs, lr=3e-3,
            mirror=[1, 0, 2, 4, 3], progress=False,
        )  # fmt: skip
    points = landmarks.find_points(found.network, test.images)
    errors = landmarks.measure_points(points, test.points, EYES)
    print(f"{head}: RMSE {errors.rmse:.2f} pixels, NME {errors.nme:.3f}")

# 4. Any number from an image: the angle of the head ---------------------------------------------
#
# A classifier with one "class", whose score is the number itself, and the squared error as loss.

md.manual_seed(0)
network = models.plain_cnn(1, input_size=SIZE, **BODY)
loader, test_loader = (
    data.DataLoader(data.ArrayDataset(pixels.images, angle[:, None] / 30), 25, shuffle, seed=0,
                    transform=[data.transforms.Normalize(0.5, 0.25)])
    for pixels, angle, shuffle in ((faces, degrees, True), (test, test_degrees, False))
)  # fmt: skip
trainer = train.Trainer(network, optim.Adam(network.parameters(), lr=2e-3), nn.MSELoss())
trainer.fit(loader, epochs, progress=False)
told = 30 * trainer.predict(test_loader)[:, 0]
print(f"angle: {abs(told - test_degrees).mean():.1f} degrees off, the mean", end=" ")
print(f"{abs(degrees.mean() - test_degrees).mean():.1f}")
