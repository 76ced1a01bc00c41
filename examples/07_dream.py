"""DeepDream: a network that draws what it would like to see.

    python examples/07_dream.py [FOLDER]

LeNet-5 has learned MNIST. Here it doesn't name digits: the picture is changed, along the gradient
of what excites the network, until there is more of the strokes and corners that its first layers
look for. Photographs want a network that has seen photographs; see docs/gallery.md.
FOLDER keeps the pictures; without it, none is written.
"""

import sys
from pathlib import Path

import numpy as np

import minidl as md
from minidl import models
from minidl.apps import dream
from minidl.apps.pictures import save_png
from minidl.data.digits import few_digits

# 1. A picture: 24 digits side by side, white on black -------------------------------------------

_, test = few_digits()
images, _ = test.batch(np.arange(24))  # (24, 32, 32, 1) uint8
rows = [np.concatenate(list(images[8 * i : 8 * i + 8, ..., 0]), axis=1) for i in range(3)]
photo = np.concatenate(rows, axis=0)  # (96, 256)
print(f"the picture has {photo.shape[0]} x {photo.shape[1]} pixels")

# 2. What the gradient with respect to an image is -----------------------------------------------
#
# The objective is the mean square of a layer's maps. Nothing is trained: the weights stay, and the
# picture is what moves. This is one step, by hand.

network = models.create("lenet5", weights="mnist").eval()
x = md.tensor(photo[None, ..., None] / np.float32(255), requires_grad=True)  # (1, H, W, 1)
maps = network.features[0](x)
objective = (maps * maps).mean()
(gradient,) = md.grad(objective, [x])
step = 0.01 * gradient.data / abs(gradient.data).mean()
after = network.features[0](md.tensor(x.data + step))
raised = (after * after).mean()
print(f"one step: the objective goes from {objective.item():.3f} to {raised.item():.3f}")

# 3. In several sizes ----------------------------------------------------------------------------
#
# Small copies come first, so that large strokes are drawn before small ones. Each size starts with
# the photo's own detail and what was dreamt in the size before.

found = dream.dream(
    photo, network, layers={"features.0": 1.0, "features.1": 1.0}, octaves=3, steps=10, jitter=4,
)  # fmt: skip
for number, objectives in enumerate(found.objectives, 1):
    print(f"octave {number}: the objective grows from {objectives[0]:.2f} to {objectives[-1]:.2f}")
change = abs(found.picture[..., 0].astype(int) - photo).mean()
print(f"a pixel changes by {change:.1f} of 255 on average")

if len(sys.argv) > 1:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    save_png(folder / "dream.png", found.picture, found.settings)
    print(f"saved {folder / 'dream.png'}")
