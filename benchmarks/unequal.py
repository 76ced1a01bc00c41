"""Classes of very different size: what `minidl finetune --class-weights` changes.

    python -m benchmarks.unequal DATA

DATA: the folder with weights and images. Blood cells as they are, eleven red to one white and one
platelet, and CIFAR-10 with 100 images of the first class down to 10 of the last. Printed are means
over seeds, for the probe and for what is saved, with and without weights: accuracy, balanced
accuracy and macro F1 on images in the same proportions.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

import minidl as md
from benchmarks.transfer import SMALL, WEIGHTS, cut_cells, enlarged
from minidl.data import ArrayDataset, cifar10
from minidl.text import table
from minidl.train import augmentation
from minidl.train.pretrained import pretrained
from minidl.train.task import Classes
from minidl.train.transfer import Transfer

FIGURES = ("accuracy", "balanced_accuracy", "macro_f1")

Part = tuple[np.ndarray, np.ndarray]


def _cells(data: Path, random: np.random.Generator) -> tuple[Part, Part, int]:
    """300 to train on and 1,500 to validate on, drawn from all."""
    images, labels = cut_cells(data)
    chosen = random.permutation(len(images))[:1800]
    first, rest = chosen[:300], chosen[300:]
    return (images[first], labels[first]), (images[rest], labels[rest]), 96


def _cifar(data: Path, random: np.random.Generator) -> tuple[Part, Part, int]:
    """100, 77, 60 and so on to train on, twice as many to validate on."""
    images, labels = cifar10([data / "cifar10_4k" / "train_4000.bin"]).batch(range(4000))
    parts: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for label, count in enumerate(np.geomspace(100, 10, 10).round().astype(int)):
        order = random.permutation(np.flatnonzero(labels == label))
        parts[0].append(order[:count])
        parts[1].append(order[count : 3 * count])
    first, rest = map(np.concatenate, parts)
    return (images[first], labels[first]), (images[rest], labels[rest]), SMALL


SETS: dict[str, Callable[[Path, np.random.Generator], tuple[Part, Part, int]]] = {
    "blood cells": _cells, "CIFAR-10": _cifar,
}  # fmt: skip


def run(data: Path, name: str, weighted: bool, seed: int) -> np.ndarray:
    """FIGURES of the probe and of what is saved, (2, 3)."""
    md.manual_seed(seed)
    *parts, size = SETS[name](data, np.random.default_rng(seed))
    file, model = WEIGHTS["mobilenet_0.25"]
    network = pretrained(data / file, model, None, size)
    sets = [ArrayDataset(enlarged(x, size), labels) for x, labels in parts]
    classes = [str(label) for label in range(int(parts[0][1].max()) + 1)]
    ways = Transfer(
        network, None, *sets, classes, prepare=network.preparation(), mirror=True, seed=seed,
        augment=augmentation.for_finetuning(size, mirror=True), class_weights=weighted,
        progress=False,
    )  # fmt: skip
    labels = parts[1][1]
    found = [Classes(labels).figures(way.scores, labels, classes) for way in ways]
    return np.array([[each[figure] for figure in FIGURES] for each in found])


def _rows(data: Path, names: list[str], seeds: int) -> Iterator[tuple[str, ...]]:
    for name in names:
        for weighted in (False, True):
            found = np.array([run(data, name, weighted, seed) for seed in range(seeds)])
            print(f"{name}, weighted: {weighted}: {found.tolist()}", file=sys.stderr, flush=True)
            for way, shares in zip(("linear probe", "saved"), found.mean(axis=0), strict=True):
                how = "class weights" if weighted else "none"
                yield (name, how, way, *(f"{share:.2%}" for share in shares))


def main(arguments: list[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.unequal", description="What --class-weights changes."
    )
    parser.add_argument("data", type=Path, help="the folder with weights and images")
    parser.add_argument("--images", nargs="+", choices=[*SETS], default=[*SETS])
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="seeds 0 to N - 1")
    options = parser.parse_args(arguments)
    head = ("images", "weights", "", "accuracy", "balanced accuracy", "macro F1")
    print(table([head, *_rows(options.data, options.images, options.seeds)], left=3))
    return 0


if __name__ == "__main__":
    sys.exit(main())
