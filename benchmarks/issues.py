"""What `minidl find-issues` finds: labels that were flipped and duplicates that were planted.

    python -m benchmarks.issues DATA

DATA: the folder with weights and images. Labels: of each data set 5 % are made wrong, seeds 0 to
`--seeds` - 1; printed are, of the first 5 % of the list, the share that is wrong (precision), and
the share of all wrong labels that is there (recall), how many images the whole list names, and the
share of all wrong labels that it has.
Duplicates: a copy of every image, changed in one way, is added; printed is how many copies are
found as those of their image, and how many other pairs there are among the images themselves.
"""

import argparse
import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.transfer import SMALL, WEIGHTS, ants_bees, cells, enlarged, faces
from minidl.data import ArrayDataset, DataLoader, cifar10
from minidl.data.duplicates import find_duplicates
from minidl.text import table
from minidl.train.labels import doubtful_labels, held_out_probabilities
from minidl.train.pretrained import pretrained
from minidl.train.probe import head_inputs

FLIPPED = 0.05
Set = tuple[np.ndarray, np.ndarray, int]  # images, labels, and the pixels a network sees


def _both(parts: tuple) -> Set:
    """Both parts of one of benchmarks.transfer's data sets."""
    (x, labels), (more, others), size = parts
    return np.concatenate([x, more]), np.concatenate([labels, others]), size


def _cifar(data: Path) -> Set:
    x, labels = cifar10([data / "cifar10_4k" / "train_4000.bin"]).batch(range(4000))
    return x, labels, SMALL


SETS: dict[str, Callable[[Path], Set]] = {
    "ants and bees": lambda data: _both(ants_bees(data, 0)),
    "CIFAR-10, 4,000": _cifar,
    "40 faces": lambda data: _both(faces(data, 0)),
    "blood cells": lambda data: _both(cells(data, 0)),
}
FOR_LABELS = ("ants and bees", "CIFAR-10, 4,000")


def _labels(data: Path, name: str, seeds: int) -> tuple[str, ...]:
    """A row of the first table."""
    x, labels, size = SETS[name](data)
    file, model = WEIGHTS["mobilenet_0.25"]
    network = pretrained(data / file, model, None, size)
    images = ArrayDataset(enlarged(x, size), labels)
    loader = DataLoader(images, 32, transform=network.preparation())
    features, _ = head_inputs(network, loader)
    found = []
    for seed in range(seeds):
        random, count = np.random.default_rng(seed), round(FLIPPED * len(x))
        wrong = random.choice(len(x), count, replace=False)
        given, classes = labels.astype(np.int64).copy(), int(labels.max()) + 1
        given[wrong] = (given[wrong] + random.integers(1, classes, count)) % classes
        rows, _ = doubtful_labels(held_out_probabilities(features, given, seed), given)
        right = np.isin(rows[:count], wrong).sum()
        every = np.isin(rows, wrong).sum() / count
        found.append((right / max(1, len(rows[:count])), right / count, len(rows), every))
    precision, recall, listed, every = np.mean(found, axis=0)
    return name, f"{len(x):,}", f"{precision:.1%}", f"{recall:.1%}", f"{listed:.0f}", f"{every:.1%}"


# Duplicates


def _saved_anew(x: np.ndarray) -> np.ndarray:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(x).save(buffer, "JPEG", quality=80)
    return np.asarray(Image.open(buffer))


def _resized(x: np.ndarray, share: float = 0.9) -> np.ndarray:
    """Made smaller, and larger again, as decoding to one size does."""
    from PIL import Image

    height, width = x.shape[:2]
    small = Image.fromarray(x).resize((round(width * share), round(height * share)))
    return np.asarray(small.resize((width, height), Image.Resampling.BILINEAR))


def _cropped(x: np.ndarray) -> np.ndarray:
    from PIL import Image

    height, width = x.shape[:2]
    box = (width // 20, height // 20, width - width // 20, height - height // 20)
    return np.asarray(Image.fromarray(x).resize((width, height), box=box))


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "the same": lambda x: x,
    "JPEG, quality 80": _saved_anew,
    "90 % of the size": _resized,
    "10 % brighter": lambda x: (x * 1.1).clip(0, 255).astype(np.uint8),
    "mirrored": lambda x: x[:, ::-1],
    "cropped to 90 %": _cropped,
}


def _duplicates(data: Path, name: str) -> tuple[str, ...]:
    """A row of the second table."""
    x, labels, _ = SETS[name](data)
    count, cells = len(x), []
    for change in CHANGES.values():
        copies = np.stack([change(each) for each in x])
        both = np.concatenate([x, copies]), np.concatenate([labels, labels])
        pairs = find_duplicates({"all": ArrayDataset(*both)})
        hits = {p.second[1] for p in pairs if p.second[1] - p.first[1] == count}
        cells.append(f"{len(hits) / count:.1%}")
    pairs = find_duplicates({"all": ArrayDataset(x, labels)})
    for pair in pairs:
        print(f"{name}: {pair}", file=sys.stderr)
    return name, f"{count:,}", *cells, str(len(pairs))


def _tables(data: Path, seeds: int) -> Iterator[str]:
    head = ("5 % of labels wrong", "images", "precision", "recall", "listed", "recall of all")
    yield table([head, *(_labels(data, name, seeds) for name in FOR_LABELS)])
    yield table([("", "images", *CHANGES, "others"), *(_duplicates(data, name) for name in SETS)])


def main(arguments: list[str] | None = None) -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.issues", description="What minidl find-issues finds."
    )
    parser.add_argument("data", type=Path, help="the folder with weights and images")
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="seeds 0 to N - 1")
    options = parser.parse_args(arguments)
    for text in _tables(options.data, options.seeds):
        print(text, end="\n\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
