"""Neural style: the content of one picture, the texture of another.

    python examples/08_style.py [FOLDER]

A network's maps tell what is where; products of its maps, averaged over all places, tell what is
there at all, wherever: the style. L-BFGS looks for a picture that has the maps of one and the
products of another. The network is LeNet-5, which came with minidl and knows strokes; paintings
want one that has seen photographs, as in docs/gallery.md.
FOLDER keeps the pictures; without it, none is written.
"""

import sys
from pathlib import Path

import numpy as np

import minidl as md
from minidl import models, optim
from minidl.apps import style
from minidl.apps.pictures import save_png
from minidl.data.digits import few_digits

# 1. Two pictures --------------------------------------------------------------------------------

_, test = few_digits()
images, _ = test.batch(np.arange(6))  # (6, 32, 32, 1) uint8
content = np.concatenate([np.concatenate(list(images[i : i + 3, ..., 0]), axis=1) for i in (0, 3)])
rows, columns = np.mgrid[:64, :96]
stripes = (127.5 * (1 + np.sin((rows + columns) / 2))).astype(np.uint8)
print(f"content {content.shape}, style {stripes.shape}")

# 2. Style is what doesn't know places -----------------------------------------------------------
#
# The Gram matrix (C, C) of a layer's maps stays the same when the pixels change places.

network = models.create("lenet5", weights="mnist").eval()
maps = network.features[0](stripes[None, ..., None] / np.float32(255))  # (1, H, W, 6)
moved = md.tensor(np.roll(maps.data, (5, 11), axis=(1, 2)))
difference = abs(style.gram(maps).data - style.gram(moved).data).max()
print(f"Gram matrix {style.gram(maps).shape[1:]}; moved, it differs by {difference:.0e}")

# 3. L-BFGS on pixels ----------------------------------------------------------------------------
#
# Any loss whose gradient is the same each time can be minimized so. Here only the texture counts.

wanted = style.gram(maps).detach()
md.manual_seed(0)
x = md.randn(1, 64, 96, 1, requires_grad=True)


def closure():
    optimizer.zero_grad()
    found = style.gram(network.features[0](x))
    loss = ((found - wanted) * (found - wanted)).mean() / (wanted * wanted).mean()
    loss.backward()
    return loss


optimizer = optim.LBFGS([x], max_iter=25, line_search_fn="strong_wolfe")
first = optimizer.step(closure).item()
print(f"texture alone: the loss falls from {first:.4g} to {closure().item():.4g}")

# 4. All terms, from coarse to fine --------------------------------------------------------------

found = style.stylize(
    content, stripes, network, content_layers=["features.1"],
    style_layers=["features.0", "features.1"], size=96, steps=30,
)  # fmt: skip
start, end = found.losses[0], found.losses[-1]
for name in ("content", "style", "tv", "total"):
    print(f"{name}: {start[name]:.4f} for noise, {end[name]:.4f} at the end")

if len(sys.argv) > 1:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    save_png(folder / "style.png", found.picture, found.settings)
    print(f"saved {folder / 'style.png'}")
