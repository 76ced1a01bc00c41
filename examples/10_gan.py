"""Two networks against each other: one draws digits, the other tells them from real ones.

    python examples/10_gan.py [FOLDER]

A DCGAN on scikit-learn's digits, for a few epochs: not enough for good digits, which take minutes
(`minidl gan`), but enough to see what happens. FOLDER keeps a grid of samples for each epoch and a
walk between samples; without it, they are thrown away.
"""

import sys
import tempfile
from pathlib import Path

from minidl.apps import gan
from minidl.data import digits

EPOCHS = 3

# 1. Both networks -------------------------------------------------------------------------------
#
# The generator makes of 64 random numbers a picture, the discriminator of a picture one number,
# whether it is real. Each is the other's loss.

generator, discriminator = gan.Generator(), gan.Discriminator()
print(f"generator: {generator.num_parameters:,} parameters")
print(f"discriminator: {discriminator.num_parameters:,} parameters")

# 2. Training ------------------------------------------------------------------------------------

images = digits()[0].arrays[0][:512]  # (512, 32, 32, 1)


def told(row):
    print(
        f"epoch {row['epoch']}: the discriminator is right for {row['right']:.0%}; "
        f"samples vary {row['diversity']:.0%} as much as digits"
    )


with tempfile.TemporaryDirectory() as thrown_away:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else thrown_away)
    found = gan.train_gan(images, folder, epochs=EPOCHS, progress=False, on_epoch=told)
    print("written:", ", ".join(sorted(path.name for path in folder.glob("*.png"))))
