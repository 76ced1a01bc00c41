"""A data set larger than memory: written piece by piece, read block by block.

    python examples/05_hdf5.py [PIECES] [FOLDER]

Each piece is the training digits once more, turned and shifted. Only one piece is in memory at a
time while the file is written, and only a few blocks of the file while it is trained from. The
sizes here are small, so that it runs anywhere; nothing changes where the file has a terabyte.
FOLDER keeps the file; without it, it is thrown away.
"""

import contextlib
import sys
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np

import minidl as md
from minidl import data, models, optim, train
from minidl.data import transforms
from minidl.data.digits import few_digits

PIECES = int(sys.argv[1]) if len(sys.argv) > 1 else 16
CACHE = 2 * 2**20  # bytes of the file that may be in memory

md.manual_seed(0)
originals, test = few_digits(per_class=100)  # 1,000 images (32, 32, 1) uint8


def write(path):
    """PIECES thousand images, a thousand at a time."""
    moved = transforms.RandomAffine(degrees=15, translate=(0.1, 0.1), shear=10)
    images, labels = originals.arrays
    with data.HDF5Writer(path, shape=(32, 32, 1), classes=originals.classes) as writer:
        for piece in range(PIECES):
            rng = np.random.default_rng(piece)
            order = rng.permutation(len(images))  # neighbours in the file are read together
            writer.add(moved(images[order], rng), labels[order])
    # Only now does the file stand there, whole: a kill before that leaves what `resume=True` takes.


def loader_of(rows, mean, std):
    """Batches that two threads prepare ahead: read, altered at random, normalised."""
    steps = [transforms.RandomCrop(32, padding=2), transforms.Normalize(mean, std, scale=1)]
    return data.DataLoader(
        rows, batch_size=64, shuffle=True, seed=0, workers=2, transform=steps, augment=True
    )


def measure_reading(loader):
    """The most memory, in bytes, that one epoch of reading takes."""
    tracemalloc.start()
    images = sum(len(x) for x, _ in loader)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return images, peak


with contextlib.ExitStack() as stack:
    folder = Path(sys.argv[2] if len(sys.argv) > 2 else stack.enter_context(
        tempfile.TemporaryDirectory()))  # fmt: skip
    path = folder / "digits.h5"
    write(path)
    rows = stack.enter_context(data.HDF5Dataset(path, cache=CACHE))
    print(f"{path.name}: {len(rows):,} rows, {path.stat().st_size:,} bytes, cache {CACHE:,} bytes")

    images, peak = measure_reading(loader_of(rows, rows.mean, rows.std))
    print(f"an epoch of {images:,} images took at most {peak:,} bytes of memory")

    model = models.create("lenet5")
    trainer = train.Trainer(
        model, optim.SGD(model.parameters(), lr=0.02, momentum=0.9), metrics=["accuracy"]
    )
    trainer.fit(loader_of(rows, rows.mean, rows.std), epochs=2, progress=False)
    print(trainer.history)
    normalize = transforms.Normalize(rows.mean, rows.std, scale=1)
    result = trainer.evaluate(data.DataLoader(test, batch_size=256, transform=[normalize]))
    print(f"test accuracy {result['accuracy']:.4f}")
