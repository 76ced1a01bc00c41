"""Networks from files of weights, alone or as an ensemble, and what they say about images."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from minidl.constants.pixels import PIXELS
from minidl.data import DataLoader, Dataset, transforms
from minidl.distributed.world import world
from minidl.errors import ArgumentError, FileFormatError
from minidl.models import Network
from minidl.nn.modes import evaluating
from minidl.text import printable
from minidl.train.pretrained import trained
from minidl.train.task import TASKS
from minidl.train.turns import joined, own_batches

__all__ = ["Members", "class_numbers", "load_members", "log_probabilities"]

CROPS = 10
MOST_LISTED = 20


class Members(NamedTuple):
    """One network or more that tell the same classes apart.

    orders: for each network, where among its scores those of class 0, 1, ... are.
    names: of the classes, if they are known.  numbers: of the classes, by all that they are called.
    notes: what the user should know.
    """

    files: list[Path]
    networks: list[Network]
    orders: list[list[int]]
    names: list[str] | None
    numbers: dict[str, int]
    notes: list[str]

    @property
    def num_classes(self) -> int:
        """How many classes they tell apart."""
        return self.networks[0].num_classes

    @property
    def task(self) -> str:
        """What their scores are of: "classes", "labels" or "numbers"."""
        return self.networks[0].task

    @property
    def sizes(self) -> list[int]:
        """To what each network wants images decoded."""
        return [network.decoded_size for network in self.networks]

    def called(self, number: int) -> str:
        """Return the name of a class, fit to be printed."""
        return f"class {number}" if self.names is None else printable(self.names[number])

    def log_probabilities(
        self,
        images: Mapping[int, Dataset],
        batch_size: int,
        ten_crop: bool = False,
        verbose: bool = False,
    ) -> list[np.ndarray]:
        """Return each network's (N, C), the classes in one order.

        images: by the size decoded to.  verbose: show progress.
        """
        return [scores for scores, _ in self.answers(images, batch_size, ten_crop, verbose)]

    def answers(
        self, images: Mapping[int, Dataset], batch_size: int, ten_crop: bool, verbose: bool
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return what `log_probabilities` does, each with the class (N, V) that each of an image's
        views is taken for."""
        found = []
        for file, network, size, order in zip(
            self.files, self.networks, self.sizes, self.orders, strict=True
        ):
            scores, guesses = _answers(
                network, images[size], batch_size, ten_crop, file.name, verbose
            )
            found.append((scores[:, order], np.argsort(order)[guesses]))
        return found


def load_members(
    files: Sequence[Path], classes: Path | None = None, pixels: str | None = ""
) -> Members:
    """Load the networks in files of weights, and the names of their classes.

    classes: a file of names, one a line, in the place of those that the weights carry.
    pixels: how networks take pixels that don't say it, by a name in `constants.pixels`; None where
        the caller gave none, "" where there is no such argument.
    Raises ArgumentError where they tell different classes apart, or don't say what images they
    take, and what `models.load` raises.
    """
    if not files:
        raise ArgumentError("weights= names no file: expected one or more")
    networks = []
    for file in files:
        networks.append(trained(file))
        try:
            if pixels:
                networks[-1].take_pixels(pixels)
            _ = networks[-1].decoded_size, networks[-1].num_classes
        except ArgumentError as error:
            hint = f", or give pixels= (one of {', '.join(PIXELS)})" if pixels is None else ""
            raise ArgumentError(f"{file}: {error}{hint}") from error
    first = networks[0].num_classes
    for file, network in zip(files, networks, strict=True):
        if network.task != networks[0].task:
            raise ArgumentError(
                f"networks of one ensemble must tell the same, but {files[0]} gives "
                f"{networks[0].task} and {file} {network.task}"
            )
        if network.num_classes != first:
            raise ArgumentError(
                f"networks of one ensemble must tell the same classes apart, but {files[0]} has "
                f"{first:,} and {file} {network.num_classes:,}"
            )
    orders, names, notes = _aligned(files, networks)
    known_as: list[tuple[str, ...]] = [(name,) for name in names or ()]
    if classes is not None:
        names, known_as = _read_classes(classes, first)
    return Members(list(files), networks, orders, names, _unique(known_as), notes)


def _aligned(
    files: Sequence[Path], networks: Sequence[Network]
) -> tuple[list[list[int]], list[str] | None, list[str]]:
    """Where each network's scores of class 0, 1, ... are; the classes' names; what to tell."""
    named = [i for i, network in enumerate(networks) if network.classes is not None]
    same = list(range(networks[0].num_classes))
    if not named:
        return [same] * len(networks), None, []
    names = networks[named[0]].classes
    assert names is not None
    orders, notes = [], []
    for file, network in zip(files, networks, strict=True):
        own = network.classes
        if own is None:
            notes.append(f"{file} names no classes: their order is taken from {files[named[0]]}")
        if own is None or own == names:
            orders.append(same)
        elif set(own) != set(names) or len(set(own)) < len(own):
            other = [name for name in own if name not in names] or own
            raise ArgumentError(
                f"networks of one ensemble must tell the same classes apart, but {file} has "
                f"{listed(other)}, and {files[named[0]]} {listed(names)}"
            )
        else:
            orders.append([own.index(name) for name in names])
    return orders, names, notes


def _read_classes(path: Path, count: int) -> tuple[list[str], list[tuple[str, ...]]]:
    """The names in a file, one a line, and all that each class is known by.

    A line may be like those of ImageNet's lists, "n01440764 tench, Tinca tinca".
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().split("\n")
    except UnicodeDecodeError as error:
        raise FileFormatError(f"{path}: expected names in UTF-8, one a line: {error}") from error
    names: list[str] = []
    known_as: list[tuple[str, ...]] = []
    for line in map(str.strip, lines):
        found = re.fullmatch(r"(n\d{8})\s+(.+)", line)
        names.append(found[2] if found else line)
        known_as.append((line, found[1], found[2], found[2].split(",")[0]) if found else (line,))
    if len(names) != count or not all(names):
        raise FileFormatError(
            f"{path}: expected a name a line for each of the network's {count:,} classes, found "
            f"{sum(map(bool, names)):,} names in {len(names):,} lines"
        )
    return names, known_as


def _unique(known_as: Iterable[Iterable[str]]) -> dict[str, int]:
    """The number of each class by all its names, but for those that it shares with others."""
    owners: dict[str, set[int]] = {}
    for number, names in enumerate(known_as):
        for name in names:
            owners.setdefault(name, set()).add(number)
    return {name: min(numbers) for name, numbers in owners.items() if len(numbers) == 1}


def class_numbers(
    members: Members, classes: Sequence[str], are_numbers: bool = False
) -> tuple[list[int], list[str]]:
    """The networks' numbers of the images' classes, and what to tell the user about it.

    are_numbers: whether the images' classes, where they aren't names that the networks have, may be
        numbers.
    Raises ArgumentError for classes that the networks haven't.
    """
    count = members.num_classes
    unknown = [name for name in classes if name not in members.numbers]
    if not unknown:
        return [members.numbers[name] for name in classes], []
    if are_numbers and all(name.isdecimal() for name in classes):
        numbers = [int(name) for name in classes]
        if max(numbers) >= count:
            raise ArgumentError(f"the network has classes 0 to {count - 1}, got {max(numbers)}")
        return numbers, ["the labels are taken as the numbers of the network's classes"]
    if members.names is not None:
        raise ArgumentError(
            f"classes that the network doesn't know: {listed(unknown)}; it knows "
            f"{listed(members.names)}"
        )
    if len(classes) != count:
        raise ArgumentError(
            f"{members.files[0]} names none of its {count:,} classes, and the images have "
            f"{len(classes):,}, so which is which can't be told: give a file of the network's "
            "names, one a line, as classes="
        )
    note = f"{members.files[0]} names no classes: they are taken to be, in order, {listed(classes)}"
    return list(range(count)), [note]


def listed(names: Sequence[str]) -> str:
    """Names in a sentence: not too many."""
    more = len(names) - MOST_LISTED
    return ", ".join(names[:MOST_LISTED]) + (f" and {more:,} more" if more > 0 else "")


def log_probabilities(
    network: Network,
    images: Dataset,
    batch_size: int,
    ten_crop: bool = False,
    name: str = "",
    verbose: bool = False,
) -> np.ndarray:
    """Return the logarithms of a network's probabilities (N, C), float64; of labels the log-odds,
    and numbers as they are.

    images: decoded to `network.decoded_size`, the first array of each item.
    batch_size: images that go through the network at once; crops count.
    ten_crop: average the probabilities, or numbers, for the ten crops of the size that it takes.
        Otherwise they are those for the image or, where `image_format.mirrored` says so, the mean
        over the image and its mirror image.
    name: of the network, for the progress bar and errors.  verbose: show that bar.
    """
    return _answers(network, images, batch_size, ten_crop, name, verbose)[0]


def _answers(
    network: Network, images: Dataset, batch_size: int, ten_crop: bool, name: str, verbose: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return what `log_probabilities` does, and the highest score's number of each view, (N, V).

    Not the scores of each view: of many images and classes they would be ten times as much.
    """
    each, views = _views(network, ten_crop)
    # In order, so that the seed says nothing: without one it would be drawn, in mid-training
    loader = DataLoader(images, max(1, batch_size // each), seed=0, workers=2, transform=views)
    found, guesses = [], []
    with evaluating(network), tqdm(
        total=len(images), unit="image", desc=name, leave=False,
        disable=None if verbose and world().rank == 0 else True, dynamic_ncols=True,
    ) as bar:  # fmt: skip
        for batch, *_ in own_batches(loader):
            scores = network.unnormalized(batch).data.astype(np.float64)
            if not np.isfinite(scores.max(axis=1)).all():  # NaN is a maximum as well
                raise ArgumentError(f"{name}: the network's scores are NaN or infinite")
            scores = scores.reshape(-1, each, scores.shape[1])  # (N * each, C) -> (N, each, C)
            found.append(TASKS[network.task].joined(scores))
            guesses.append(scores.argmax(axis=-1))
            bar.update(min(len(scores) * world().size, len(images) - bar.n))
    both = joined(found), joined(guesses)
    assert both[0] is not None
    assert both[1] is not None
    return both[0], both[1]


def _views(network: Network, ten_crop: bool) -> tuple[int, list[Any]]:
    """How many views of an image are averaged, and the transforms that turn decoded images into
    the network's input, the views of an image one after the other."""
    images: Any = network.image_format
    if ten_crop:
        crops = transforms.TenCrop(images.size)
        return CROPS, [crops, *transforms.prepare(images, crop=False)]
    if images.mirrored:
        return 2, [_with_mirror_images, *network.preparation()]
    return 1, network.preparation()


def _with_mirror_images(images: np.ndarray, rng: Any = None) -> np.ndarray:
    """(N, H, W, C) -> (2 * N, H, W, C): each image, then its mirror image."""
    both = np.stack([images, images[:, :, ::-1]], axis=1)  # (N, 2, H, W, C)
    return both.reshape(-1, *images.shape[1:])
