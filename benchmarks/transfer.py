"""Transfer learning: what fine-tuning gains over the linear probe, on many small data sets.

    python -m benchmarks.transfer DATA                       # all pairs, seeds 0 to 4: hours
    python -m benchmarks.transfer DATA --weights mobilenet_0.25 --images ants_bees --seeds 1
    python -m benchmarks.transfer DATA --weights mobilenet_0.25 --seeds 1 --beside torch

DATA: the folder with weights and images. Each pair is run by `Transfer` as `minidl finetune` does,
without training from scratch; the seed draws the parts, but of ants_bees, which has its own.
Printed are, for each pair, means over the seeds: the accuracy of the probe, of what is saved, the
difference with its extremes, and the seconds of a run. `--beside torch` adds what the recipes of
benchmarks/transfer_torch.py reach with the same weights, which are those of a MobileNet (extra
`oracle`). `--keep FILE` writes what is found after each run, and takes from there what it has: all
pairs and seeds together take hours.
"""

import argparse
import csv
import io
import json
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import minidl as md
from minidl.data import ArrayDataset, ImageFolder, cifar10
from minidl.io.atomic import atomic_write
from minidl.models import Network
from minidl.text import table
from minidl.train import accuracy, augmentation
from minidl.train.pretrained import pretrained
from minidl.train.transfer import Transfer

WEIGHTS = {  # files, and what network they are of where they don't tell
    "mobilenet_0.25": ("mobilenet_v1_0.25_224_imagenet/mobilenet_v1_0.25_224.h5", None),
    "mobilenet_0.75": (
        "mobilenet_v1_0.75_224_imagenet/mobilenet_v1_0.75_224_fp16.safetensors",
        None,
    ),
    "squeezenet1_1": (
        "squeezenet11_imagenet/squeezenet_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "squeezenet1_1",
    ),
    "efficientnet_lite0": ("efficientnet_lite0_imagenet/efficientnet_lite0_fp16.safetensors", None),
}
SMALL = 128  # pixels that images smaller than that are enlarged to

Part = tuple[np.ndarray, np.ndarray]
Parts = tuple[Part, Part, int]  # to train on, to validate on, and the pixels a network sees


def ants_bees(data: Path, seed: int) -> Parts:
    """Photographs: 245 to train on, 153 to validate on."""
    found = [ImageFolder(data / "hymenoptera_256" / part, size=256) for part in ("train", "val")]
    training, validation = (images.batch(range(len(images))) for images in found)
    return training, validation, 224


def cifar(data: Path, seed: int) -> Parts:
    """Ten classes of CIFAR-10: 100 of each to train on, 100 to validate on."""
    images, labels = cifar10([data / "cifar10_4k" / "train_4000.bin"]).batch(range(4000))
    return *_split(images, labels, 100, 100, seed), SMALL


def faces(data: Path, seed: int) -> Parts:
    """Forty people of Olivetti's faces: 5 photographs of each to train on, 5 to validate on."""
    with np.load(data / "olivetti_64" / "olivetti_64.npz") as file:
        grey, labels = file["faces"], np.unique(file["person"], return_inverse=True)[1]
    images = np.repeat(grey.reshape(len(grey), 64, 64, 1), 3, axis=3)
    return *_split(images, labels, 5, 5, seed), SMALL


def cells(data: Path, seed: int) -> Parts:
    """Blood cells, three classes: 200 of each at most to train on, 170 to validate on."""
    return *_split(*cut_cells(data), 200, 170, seed), 96


def cut_cells(data: Path) -> Part:
    """Blood cells cut out of BCCD's pictures by their boxes, of 96 pixels."""
    from PIL import Image

    with (data / "bccd" / "boxes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    cut, names = [], []
    with zipfile.ZipFile(data / "bccd" / "images.zip") as archive:
        files = {Path(name).name: name for name in archive.namelist()}
        for row in rows:
            box = [float(row[name]) for name in ("xmin", "ymin", "xmax", "ymax")]
            if box[0] < box[2] and box[1] < box[3]:
                with Image.open(io.BytesIO(archive.read(files[row["image"]]))) as picture:
                    cell = picture.convert("RGB").resize((96, 96), Image.Resampling.BILINEAR, box)
                cut.append(np.asarray(cell))
                names.append(row["class"])
    return np.stack(cut), np.unique(names, return_inverse=True)[1]


IMAGES: dict[str, Callable[[Path, int], Parts]] = {
    "ants_bees": ants_bees, "cifar10": cifar, "faces": faces, "blood_cells": cells,
}  # fmt: skip


def _split(images: np.ndarray, labels: np.ndarray, train: int, rest: int, seed: int) -> Any:
    """Two parts of at most so many images a class."""
    random, parts = np.random.default_rng(seed), ([], [])
    for label in range(labels.max() + 1):
        order = random.permutation(np.flatnonzero(labels == label))
        parts[0].append(order[:train])
        parts[1].append(order[train : train + rest])
    chosen = [np.concatenate(part) for part in parts]
    return tuple((images[part], labels[part]) for part in chosen)


def enlarged(images: np.ndarray, size: int) -> np.ndarray:
    """(N, H, W, 3) uint8 of at least `size` pixels."""
    from PIL import Image

    if images.shape[1] >= size:
        return images
    bicubic = Image.Resampling.BICUBIC
    return np.stack([Image.fromarray(each).resize((size, size), bicubic) for each in images])


def _network(data: Path, weights: str, size: int) -> Network:
    file, model = WEIGHTS[weights]
    return pretrained(data / file, model, None, size)


def run(data: Path, weights: str, images: str, seed: int) -> list[float]:
    """The accuracy of the probe and of what is saved, what share that took, and seconds."""
    start = time.perf_counter()
    md.manual_seed(seed)
    training, validation, size = IMAGES[images](data, seed)
    network = _network(data, weights, size)
    sets = [ArrayDataset(enlarged(x, size), labels) for x, labels in (training, validation)]
    classes = [str(label) for label in range(int(training[1].max()) + 1)]
    ways = Transfer(
        network, None, *sets, classes, prepare=network.preparation(), mirror=True, seed=seed,
        augment=augmentation.for_finetuning(size, mirror=True), progress=False,
    )  # fmt: skip
    probe, tuned = ways
    seconds = time.perf_counter() - start
    found = [accuracy(way.scores, validation[1]) for way in (probe, tuned)]
    return [*found, float(tuned.share or 0), seconds]


def beside(data: Path, weights: str, images: str, seed: int) -> list[float]:
    """The accuracies of the recipes in torch."""
    from benchmarks import transfer_torch

    *parts, size = IMAGES[images](data, seed)
    network = _network(data, weights, size)
    found = [
        transfer_torch.run(network, name, parts, size, seed) for name in transfer_torch.RECIPES
    ]
    told = ", ".join(f"{name} {share:.2%}" for name, share in zip(transfer_torch.RECIPES, found))
    print(f"{weights}, {images}, seed {seed}, torch: {told}", file=sys.stderr, flush=True)
    return found


def kept(options: argparse.Namespace, find: Callable[..., list[float]], *case: Any) -> list[float]:
    """What `find` gives of weights, images and a seed, from the file of --keep if it has it."""
    if options.keep is None:
        return find(options.data, *case)
    name = " ".join(map(str, (find.__name__, *case)))
    known = json.loads(options.keep.read_text()) if options.keep.exists() else {}
    if name not in known:
        known[name] = find(options.data, *case)
        with atomic_write(options.keep) as temporary:
            temporary.write_text(json.dumps(known, indent=1) + "\n")
    found: list[float] = known[name]
    return found


def rows(options: argparse.Namespace) -> Iterator[tuple[str, ...]]:
    """A row a pair, and one of all."""
    gains = []
    for weights in options.weights:
        for images in options.images:
            found = []
            for seed in range(options.seeds):
                found.append(kept(options, run, weights, images, seed))
                told = "probe {:.2%}, saved {:.2%}, share {}, {:.0f} s".format(*found[-1])
                print(f"{weights}, {images}, seed {seed}: {told}", file=sys.stderr, flush=True)
            probe, tuned, share, seconds = np.array(found).T
            gain = 100 * (tuned - probe)
            gains.append(gain.mean())
            others = []
            if options.beside:
                seeds = range(options.seeds)
                others = [kept(options, beside, weights, images, seed) for seed in seeds]
                others = [f"{share:.2%}" for share in np.mean(others, axis=0)]
            yield (
                weights, images, f"{probe.mean():.2%}", f"{tuned.mean():.2%}",
                f"{gain.mean():+.2f}", f"{gain.min():+.2f} to {gain.max():+.2f}",
                f"{share.mean():.2f}", f"{seconds.mean():.0f}", *others,
            )  # fmt: skip
    empty = ("", "", "", *(("",) * 2 if options.beside else ()))
    yield ("all", "", "", "", f"{np.mean(gains):+.2f}", *empty)


def main(arguments: list[str] | None = None) -> int:
    """Run the pairs, and print the table."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.transfer", description="What fine-tuning gains over the linear probe."
    )
    parser.add_argument("data", type=Path, help="the folder with weights and images")
    for name, known in (("weights", WEIGHTS), ("images", IMAGES)):
        parser.add_argument(
            f"--{name}", nargs="+", choices=[*known], default=[*known], metavar="NAME",
            help=f"of {', '.join(known)}",
        )  # fmt: skip
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="seeds 0 to N - 1")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="where what is found is kept")
    parser.add_argument("--beside", choices=["torch"], help="also run others' recipes there")
    options = parser.parse_args(arguments)
    if options.beside and (strange := [n for n in options.weights if "mobilenet" not in n]):
        parser.error(f"--beside torch is written for MobileNets, not for {', '.join(strange)}")
    head = ["weights", "images", "probe", "saved", "gain", "of seeds", "share", "seconds"]
    if options.beside:
        from benchmarks.transfer_torch import RECIPES

        head += RECIPES
    print(table([head, *rows(options)], left=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
