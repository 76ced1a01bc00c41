"""Super-resolution: pixels between pixels, guessed by a network that has seen what was there.

    python examples/09_upscale.py [FOLDER]

A picture is made smaller, then larger again: by repeating pixels, by bicubic interpolation, and by
ESPCN, a network of 32,000 weights that comes with minidl. What was there is known, so that the
error of each can be measured, as PSNR in decibels.
FOLDER keeps the pictures; without it, none is written.
"""

import sys
from pathlib import Path

import numpy as np

from minidl.apps import upscale
from minidl.apps.pictures import save_png
from minidl.apps.upscale.enlarging import enlarged, own_upscaler

# 1. A picture of edges at all angles: rings -----------------------------------------------------

rows, columns = np.mgrid[:180, :180]
distance = np.hypot(rows - 90, columns - 60)
truth = np.where(np.sin(distance / 5) > 0, 220.0, 40.0)

# 2. Smaller, and larger again -------------------------------------------------------------------
#
# Smaller by bicubic interpolation with a kernel three times as wide, so that nothing is skipped.

small = upscale.bicubic(truth, 60, 60)
ways = {
    "repeated": small.repeat(3, axis=0).repeat(3, axis=1),
    "bicubic": upscale.bicubic(small, 180, 180),
    "ESPCN": enlarged(own_upscaler(), small),
}
for name, found in ways.items():
    pixels = found.round().clip(0, 255)
    print(f"{name}: {upscale.psnr(pixels, truth, border=3):.2f} dB", end=", ")
    print(f"SSIM {upscale.ssim(pixels, truth, border=3):.4f}")

# 3. How it does that ----------------------------------------------------------------------------
#
# All convolutions see the small picture, which is cheap. The last one gives nine numbers a pixel:
# the three by three pixels that stand in its place.

network = own_upscaler()
scores = network(small[np.newaxis, ..., np.newaxis].astype(np.float32) / 255)  # (1, 60, 60, 1)
print(f"60 x 60 pixels give {scores.shape}: the margin of {network.margin} is what it can't see")

if len(sys.argv) > 1:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, found in ways.items():
        grey = found.round().clip(0, 255).astype(np.uint8)
        save_png(folder / f"{name}.png", np.stack([grey] * 3, axis=2), {"way": name})
    print(f"saved {len(ways)} pictures in {folder}")
