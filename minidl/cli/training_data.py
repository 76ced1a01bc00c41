"""What `minidl train` trains on."""

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minidl.cli.images import SMALL, Parts, columns_of, open_parts

__all__ = ["NAMED", "Material", "open_material"]

NAMED = ("cifar10", "digits", "mnist")
DIGITS = [str(digit) for digit in range(10)]
TEST_BATCH = "test_batch.bin"  # of CIFAR-10
HELD_OUT = 0.2  # of images without a part of their own for testing


@dataclass
class Material:
    """Training and test images, and what is done to them.

    prepare: transforms of all images.  augment: those before, for training.
    is_validation: whether the test part may be looked at after each epoch.
    """

    training: Any
    test: Any
    classes: list[str]
    image_format: Any
    channels: int
    prepare: list[Any] = field(default_factory=list)
    augment: list[Any] = field(default_factory=list)
    is_validation: bool = True
    skipped: list[tuple[str, str]] = field(default_factory=list)
    passed_over: list[tuple[str, str]] = field(default_factory=list)

    def loader(self, batch_size: int, augment: bool) -> Any:
        """The training images, shuffled."""
        from minidl import data

        transform = [*self.augment, *self.prepare] if augment else self.prepare
        workers = 2 if transform else 0
        rows = len(self.training)
        return data.DataLoader(
            self.training, batch_size, True, workers=workers, transform=transform, augment=augment,
            drop_last=rows > batch_size and rows % batch_size == 1,  # alone it can't be normalized
        )  # fmt: skip

    def test_loader(self) -> Any:
        from minidl import data

        return data.DataLoader(self.test, 256 if self.channels == 1 else 64, transform=self.prepare)


def open_material(options: argparse.Namespace) -> Material:
    """What --data names."""
    from minidl import data

    folder = options.data_dir or Path("data") / options.data
    if options.data == "digits":
        return _of_digits(*data.digits(), None)
    if options.data == "mnist":
        return _of_digits(*data.mnist(folder, download=options.download), _mnist_format())
    if options.data == "cifar10":
        return _of_cifar10(folder, options)
    return _of_images(Path(options.data), options)


def _of_digits(training: Any, test: Any, image_format: Any) -> Material:
    """Their images are standardised already."""
    from minidl.data import transforms

    moved = transforms.RandomAffine(
        10, translate=(0.1, 0.1), shear=10, scale=(0.9, 1.1), fill="edge"
    )
    return Material(training, test, DIGITS, image_format, 1, augment=[moved], is_validation=False)


def _mnist_format() -> Any:
    from minidl import models
    from minidl.data.mnist import MEAN, STD

    return models.ImageFormat(32, "RGB", 255.0, (MEAN,), (STD,))


def _of_cifar10(folder: Path, options: argparse.Namespace) -> Material:
    from minidl import data
    from minidl.data import transforms

    training: Any = data.cifar10(folder)
    classes = training.classes
    if (folder / TEST_BATCH).exists():
        test: Any = data.cifar10([folder / TEST_BATCH])
    else:
        training, test = data.split(training, (1 - HELD_OUT, HELD_OUT), options.seed)
    moved = [transforms.RandomCrop(32, padding=4), *_chosen(options)]
    return _of_photographs(Parts(training, test, [], []), classes, 32, moved)


def _chosen(options: argparse.Namespace) -> list[Any]:
    """The random transforms of photographs that options choose."""
    from minidl.data import transforms

    flips = [] if options.no_mirror else [transforms.RandomHorizontalFlip()]
    strength = options.rand_augment
    changes = [] if strength is None else [transforms.RandAugment(2, strength, fill=128)]
    return [*flips, *changes]


def _of_images(path: Path, options: argparse.Namespace) -> Material:
    from minidl import models
    from minidl.data import transforms
    from minidl.nn import init

    with init.skipped():
        made = models.create(options.model, **options.arguments)
    size = options.size or made.input_shape[0]
    crops: list[Any] = [transforms.RandomCrop(size, padding=size // 8)]
    if size >= SMALL:
        crops = [transforms.RandomResizedCrop(size, (0.35, 1))]
    columns = columns_of(options, path)
    found = open_parts(path, size, options.seed, columns)
    return _of_photographs(found, found.training.classes, size, [*crops, *_chosen(options)])


def _of_photographs(parts: Parts, classes: Any, size: int, augment: list[Any]) -> Material:
    """Normalised by the training part's own statistics."""
    from minidl import data, models
    from minidl.data import transforms

    mean, std = (numbers / 255 for numbers in data.channel_statistics(parts.training))
    image_format = models.ImageFormat(size, "RGB", 255.0, tuple(mean), tuple(std))
    prepare = transforms.prepare(image_format)
    return Material(
        parts.training, parts.validation, list(classes), image_format, 3, prepare, augment,
        skipped=parts.skipped, passed_over=parts.passed_over,
    )  # fmt: skip
