"""Loading images: a folder of JPEGs beside PyTorch's DataLoader, and HDF5 beside memory.

    python -m benchmarks.loading                      # photographs of its own making
    python -m benchmarks.loading hymenoptera/train    # a folder of class folders

A folder: decode, resize to 256 x 256 around the centre, cut out 224 x 224 at random, mirror half,
in batches; both sides read with Pillow, with two workers (minidl's are threads, PyTorch's
processes). HDF5: a shuffled epoch of HDF5Dataset beside one of ArrayDataset, which has the same
rows in memory; a deviation of each batch stands for the training.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from minidl.bench.measure import QUIET, others, usage
from minidl.bench.processes import aligned, installed
from minidl.data import ArrayDataset, DataLoader, Dataset
from minidl.data.folder import ImageFolder
from minidl.data.hdf5_dataset import HDF5Dataset
from minidl.data.hdf5_writer import HDF5Writer

FOLDER, TORCH, HDF5, MEMORY = "minidl, folder", "torch, folder", "minidl, HDF5", "minidl, memory"
LARGE, SMALL = 256, 224  # pixels, before and after the random crop
ROW = 64  # pixels of the images in HDF5


class Augmented(Dataset):
    """Images of another dataset (N, LARGE, LARGE, 3), cut out and mirrored at random."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        image, label = self.dataset[index]
        return augmented(image, np.random.default_rng(index)), label


def augmented(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    top, left = rng.integers(0, LARGE - SMALL + 1, 2)
    image = image[top : top + SMALL, left : left + SMALL]
    return np.ascontiguousarray(image[:, ::-1] if rng.integers(2) else image)


class WithPillow:
    """The same items as PyTorch's users write them."""

    def __init__(self, paths: list[Path], labels: list[int]) -> None:
        self.paths, self.labels = paths, labels

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        from PIL import Image

        with Image.open(self.paths[index]) as image:
            least = [2 * max(LARGE, side * LARGE // min(image.size)) for side in image.size]
            image.draft("RGB", (least[0], least[1]))
            short = min(image.size)
            width, height = (max(LARGE, side * LARGE // short) for side in image.size)
            resized = image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
        left, top = (width - LARGE) // 2, (height - LARGE) // 2
        cut = resized.crop((left, top, left + LARGE, top + LARGE))
        return augmented(np.asarray(cut), np.random.default_rng(index)), self.labels[index]


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.loading", description=(__doc__ or "").partition("\n")[0]
    )
    add = parser.add_argument
    add("folder", nargs="?", type=Path, help="of class folders (default: made for it)")
    add("--rounds", type=int, default=5, metavar="N")
    add("--batch-size", type=int, default=32, metavar="N")
    add("--images", type=int, default=512, metavar="N", help="how many are made")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or photographs(Path(temporary) / "images", options.images)
        sides = _sides(folder, Path(temporary), options.batch_size)
        found, busy = measure(sides, options.rounds)
    print(render(found, busy))
    return 0


def photographs(folder: Path, count: int) -> Path:
    """A folder of two classes of JPEGs of 500 x 375 pixels."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for i in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3)).astype(np.uint8))
        target = folder / "ab"[i % 2] / f"{i}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        coarse.resize((500, 375), Image.Resampling.BICUBIC).save(target, quality=90)
    return folder


def _sides(folder: Path, temporary: Path, batch: int) -> dict[str, Callable[[], float]]:
    """Each side's epoch, which gives images per second."""
    images = ImageFolder(folder, LARGE)
    rows = ImageFolder(folder, ROW).batch(np.tile(np.arange(len(images)), 8))
    with HDF5Writer(temporary / "rows.h5", rows[0].shape[1:], classes=images.classes) as writer:
        writer.add(*rows)
    stored = HDF5Dataset(temporary / "rows.h5")

    def train(loader: Iterable[Any]) -> float:
        return rate(loader, lambda images: images.astype(np.float32).std())

    def loader(dataset: Dataset) -> DataLoader:
        return DataLoader(dataset, batch, shuffle=True, seed=0, workers=2)

    sides = {FOLDER: lambda: rate(loader(Augmented(images)))}
    if installed("torch"):
        from torch.utils.data import DataLoader as TorchLoader

        items: Any = WithPillow(images.paths, images.labels.tolist())
        sides[TORCH] = lambda: rate(TorchLoader(items, batch, shuffle=True, num_workers=2))
    sides[MEMORY] = lambda: train(loader(ArrayDataset(*rows)))
    sides[HDF5] = lambda: train(loader(stored))
    return sides


def rate(batches: Iterable[Any], use: Callable[[Any], object] = len) -> float:
    """Images per second of an epoch."""
    start, count = time.perf_counter(), 0
    for images, _ in batches:
        use(images)
        count += len(images)
    return count / (time.perf_counter() - start)


def measure(
    sides: dict[str, Callable[[], float]], rounds: int
) -> tuple[dict[str, list[float]], float]:
    """Images per second by side, a number a round, and how many cores others kept busy."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    before = usage()
    for _ in range(rounds + 1):  # the first round warms up
        for name, side in sides.items():
            found[name].append(side())
    return {name: rates[1:] for name, rates in found.items()}, others(before, usage())


def render(found: dict[str, list[float]], busy: float) -> str:
    """The figures as a table: medians, and ratios of the rounds' rates."""
    lines = [["", "images/s"]]
    lines += [[name, f"{statistics.median(rates):.0f}"] for name, rates in found.items()]
    ratios = [["ratio", "median", "least", "most"]]
    for one, other in ((FOLDER, TORCH), (HDF5, MEMORY)):
        if other in found:
            each = [a / b for a, b in zip(found[one], found[other], strict=True)]
            cells = (statistics.median(each), min(each), max(each))
            ratios.append([f"{one} / {other}", *(f"{cell:.2f}" for cell in cells)])
    # PyTorch's workers are processes of their own, and count among the others.
    note = " (PyTorch's workers among them)" if busy > QUIET and TORCH in found else ""
    return f"{aligned(lines)}\n\n{aligned(ratios)}\n\nothers kept {busy:.2f} cores busy{note}"


if __name__ == "__main__":
    sys.exit(main())
