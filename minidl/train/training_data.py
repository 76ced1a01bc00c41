"""What `train.train` trains and tests on."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import minidl.data as sets
from minidl.data.mnist import MEAN, STD
from minidl.data.opening import Parts, open_for_training
from minidl.data.transforms import prepare
from minidl.models import ImageFormat
from minidl.train import augmentation

__all__ = ["NAMED", "Material", "open_images", "open_named"]

NAMED = ("cifar10", "digits", "mnist")
DIGITS = [str(digit) for digit in range(10)]
TEST_BATCH = "test_batch.bin"  # of CIFAR-10
HELD_OUT = 0.2  # of CIFAR-10 without its test batch


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

    def loader(self, batch_size: int, augment: bool) -> sets.DataLoader:
        """Return a loader of the training images, shuffled."""
        transform = [*self.augment, *self.prepare] if augment else self.prepare
        workers = 2 if transform else 0
        rows = len(self.training)
        return sets.DataLoader(
            self.training, batch_size, True, workers=workers, transform=transform, augment=augment,
            drop_last=rows > batch_size and rows % batch_size == 1,  # alone it can't be normalized
        )  # fmt: skip

    def test_loader(self) -> sets.DataLoader:
        """Return a loader of the test images, in order."""
        batch_size = 256 if self.channels == 1 else 64
        return sets.DataLoader(self.test, batch_size, transform=self.prepare)


def open_named(
    name: str, folder: Path, download: bool, mirror: bool, rand_augment: int | None, seed: int
) -> Material:
    """Return one of NAMED; the files of MNIST and CIFAR-10 are in `folder`.

    The other arguments are those of `train.train`.
    """
    if name == "digits":
        return _of_digits(*sets.digits(), None)
    if name == "mnist":
        images = ImageFormat(32, "RGB", 255.0, (MEAN,), (STD,))
        return _of_digits(*sets.mnist(folder, download=download), images)
    return _of_photographs(_cifar10(folder, seed), 32, mirror, rand_augment)


def open_images(
    path: Path,
    size: int,
    columns: dict[str, Any],
    mirror: bool,
    rand_augment: int | None,
    seed: int,
) -> Material:
    """Return images of the user's own, decoded to `size` x `size`.

    columns: "file_column" and "label_column". The other arguments are those of `train.train`.
    """
    parts = open_for_training(path, size, seed=seed, **columns)
    return _of_photographs(parts, size, mirror, rand_augment)


def _of_digits(training: Any, test: Any, image_format: Any) -> Material:
    """Their images are standardized already."""
    augment = augmentation.for_digits()
    return Material(training, test, DIGITS, image_format, 1, augment=augment, is_validation=False)


def _cifar10(folder: Path, seed: int) -> Parts:
    training: Any = sets.cifar10(folder)
    if (folder / TEST_BATCH).exists():
        return Parts(training, sets.cifar10([folder / TEST_BATCH]), [], [])
    training, test = sets.split(training, (1 - HELD_OUT, HELD_OUT), seed)
    return Parts(training, test, [], [])


def _of_photographs(parts: Parts, size: int, mirror: bool, rand_augment: int | None) -> Material:
    """Normalized by the training part's own statistics."""
    mean, std = (numbers / 255 for numbers in sets.channel_statistics(parts.training))
    image_format = ImageFormat(size, "RGB", 255.0, tuple(mean), tuple(std))
    return Material(
        parts.training, parts.validation, list(parts.training.classes), image_format, 3,
        prepare(image_format), augmentation.for_photographs(size, mirror, rand_augment),
        skipped=parts.skipped, passed_over=parts.passed_over,
    )  # fmt: skip
