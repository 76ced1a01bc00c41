"""Loading images: a folder of JPEGs beside PyTorch's DataLoader, and HDF5 beside memory.

    python -m benchmarks.loading                      # photographs of its own making
    python -m benchmarks.loading hymenoptera/train    # a folder of class folders

A folder: decode, resize to 256 x 256 around the centre, cut out 224 x 224 at random, mirror half,
normalise, in batches; both sides read with Pillow, with two workers (minidl's are threads,
PyTorch's processes). HDF5: an epoch of training ResNet-18 on 224 x 224 pixels, cut, mirrored and
normalised out of rows of an HDF5 file, beside one on the same number of images that lie ready in
memory.
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
from minidl.bench.processes import installed
from minidl.data import ArrayDataset, DataLoader, Dataset
from minidl.data.folder import ImageFolder
from minidl.data.hdf5_dataset import HDF5Dataset
from minidl.data.hdf5_writer import HDF5Writer
from minidl.data.transforms import Normalize, RandomCrop, RandomHorizontalFlip
from minidl.text import table

FOLDER, TORCH, HDF5, MEMORY = "minidl, folder", "torch, folder", "minidl, HDF5", "minidl, memory"
LARGE, SMALL = 256, 224  # pixels, before and after the random crop
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TRAINED, BATCH = 64, 8  # images of an epoch of ResNet-18, and of its batches


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
        cut = np.asarray(resized.crop((left, top, left + LARGE, top + LARGE)))
        return self._augmented(cut, np.random.default_rng(index)), self.labels[index]

    @staticmethod
    def _augmented(image: np.ndarray, rng: np.random.Generator) -> Any:
        """(3, SMALL, SMALL) float32, normalised."""
        import torch

        top, left = rng.integers(0, LARGE - SMALL + 1, 2)
        image = image[top : top + SMALL, left : left + SMALL]
        image = np.ascontiguousarray(image[:, ::-1] if rng.integers(2) else image)
        pixels = torch.from_numpy(image).permute(2, 0, 1).float().div_(255)
        mean, std = (torch.tensor(numbers).view(3, 1, 1) for numbers in (MEAN, STD))
        return pixels.sub_(mean).div_(std)


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
    images = ImageFolder(folder, size=LARGE)
    pipeline = [RandomCrop(SMALL), RandomHorizontalFlip(), Normalize(MEAN, STD)]

    def augmented(dataset: Dataset, size: int) -> DataLoader:
        return DataLoader(
            dataset, size, shuffle=True, seed=0, workers=2, transform=pipeline, augment=True
        )

    sides = {FOLDER: lambda: rate(augmented(images, batch))}
    if installed("torch"):
        from torch.utils.data import DataLoader as TorchLoader

        items: Any = WithPillow(images.paths, images.labels.tolist())
        # kept, so that processes are started once, and before kernels have started threads
        theirs = TorchLoader(items, batch, shuffle=True, num_workers=2, persistent_workers=True)
        sides[TORCH] = lambda: rate(theirs)
    step = _step()
    rows = images.batch(np.arange(TRAINED) % len(images))
    with HDF5Writer(temporary / "rows.h5", rows[0].shape[1:], classes=images.classes) as writer:
        writer.add(*rows)
    stored = augmented(HDF5Dataset(temporary / "rows.h5"), BATCH)
    ready, labels = (np.concatenate(parts) for parts in zip(*stored, strict=True))
    memory = DataLoader(ArrayDataset(ready, labels), BATCH, shuffle=True, seed=0)
    sides[MEMORY] = lambda: rate(memory, step)
    sides[HDF5] = lambda: rate(stored, step)
    return sides


def _step() -> Callable[[np.ndarray, np.ndarray], object]:
    """A training step of ResNet-18."""
    from minidl import models, nn, optim

    model, loss_function = models.resnet18(num_classes=10), nn.CrossEntropyLoss()
    optimizer = optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

    def step(images: np.ndarray, labels: np.ndarray) -> None:
        optimizer.zero_grad()
        loss_function(model(images), labels).backward()
        optimizer.step()

    return step


def rate(batches: Iterable[Any], use: Callable[[Any, Any], object] | None = None) -> float:
    """Images per second of an epoch."""
    start, count = time.perf_counter(), 0
    for images, labels in batches:
        if use is not None:
            use(images, labels)
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
    return f"{table(lines)}\n\n{table(ratios)}\n\nothers kept {busy:.2f} cores busy{note}"


if __name__ == "__main__":
    sys.exit(main())
