"""What `train.train` trains on, chooses by and tests on."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

import minidl.data as sets
from minidl.constants.tasks import CLASSES
from minidl.data.mnist import MEAN, STD
from minidl.data.opening import Parts, open_for_training
from minidl.data.splits import labels_of
from minidl.data.transforms import prepare
from minidl.errors import ArgumentError
from minidl.models import ImageFormat
from minidl.train import augmentation
from minidl.train.settings import choice
from minidl.train.task import TASKS, Task

__all__ = [
    "NAMED", "Material", "check_folder", "check_task", "hold_out", "open_images", "open_named",
]  # fmt: skip

NAMED = ("cifar10", "digits", "mnist")
WHOLE = ("digits",)  # so few images that a tenth would be missed
DIGITS = [str(digit) for digit in range(10)]
TEST_BATCH = "test_batch.bin"  # of CIFAR-10
HELD_OUT = 0.2  # of CIFAR-10 without its test batch
EVERY = 10  # of how many images one is held out to choose by


@dataclass
class Material:
    """Training, validation and test images, and what is done to them.

    validation: measured after each epoch, to choose the best by; None: no epoch is chosen.
    task: what the labels are, as `Transfer` has it.
    prepare: transforms of all images.  augment: those before, for training.
    """

    training: Any
    validation: Any
    test: Any
    classes: list[str]
    image_format: Any
    channels: int
    task: str = CLASSES
    prepare: list[Any] = field(default_factory=list)
    augment: list[Any] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    passed_over: list[tuple[str, str]] = field(default_factory=list)

    @property
    def parts(self) -> dict[str, Any]:
        """The parts that there are, by name."""
        parts = {"train": self.training, "validation": self.validation, "test": self.test}
        return {name: images for name, images in parts.items() if images is not None}

    @property
    def shown(self) -> dict[str, Any]:
        """The parts by their names in results.json, where "validation" is what is measured."""
        parts = {"train": self.training, "validation": self.test, "chosen_by": self.validation}
        return {name: images for name, images in parts.items() if images is not None}

    @cached_property
    def goal(self) -> Task:
        """What is asked of the images."""
        labels = labels_of(self.training)
        assert labels is not None
        return TASKS[self.task](labels)

    def loader(self, batch_size: int, augment: bool, workers: int | None) -> sets.DataLoader:
        """Return a loader of the training images, shuffled.

        workers: as `DataLoader` takes them; None: two, if there is anything to do for them.
        """
        transform = [*self.augment, *self.prepare] if augment else self.prepare
        if workers is None:
            workers = 2 if transform else 0
        rows = len(self.training)
        return sets.DataLoader(
            self.training, batch_size, True, workers=workers, transform=transform, augment=augment,
            drop_last=rows > batch_size and rows % batch_size == 1,  # alone it can't be normalized
        )  # fmt: skip

    def validation_loader(self) -> sets.DataLoader | None:
        """Return a loader of the validation images, in order, if there are any."""
        return None if self.validation is None else self.plain(self.validation)

    def test_loader(self) -> sets.DataLoader:
        """Return a loader of the test images, in order."""
        return self.plain(self.test)

    def plain(self, images: Any) -> sets.DataLoader:
        """Return a loader of images, in order."""
        batch_size = 256 if self.channels == 1 else 64
        return sets.DataLoader(images, batch_size, transform=self.prepare)


def check_folder(who: str, data: str, data_dir: Any, download: bool) -> None:
    """Raise ArgumentError for a folder of files, or their download, where `data` has none."""
    if data not in ("mnist", "cifar10") and data_dir:
        raise ArgumentError(f'{who}: data_dir= is for MNIST and CIFAR-10: add data="mnist"')
    if data != "mnist" and download:
        raise ArgumentError(f'{who}: download= is for MNIST: add data="mnist"')


def check_task(who: str, given: Mapping[str, Any]) -> str:
    """Return the task, in small letters.

    given: the arguments of `train.train` or `train.finetune`, or some of them.
    Raises ArgumentError for another, for labels or numbers of data that has classes, and for
    settings that only classes have.
    """
    task = choice(who, "task=", given["task"], [*TASKS])
    if task == CLASSES:
        return task
    if given.get("data") in NAMED:
        raise ArgumentError(
            f'{who}: task="{task}" is for images of your own: {given["data"]} has classes'
        )
    for name in ("class_weights", "label_smoothing"):
        if given.get(name):
            raise ArgumentError(f'{who}: {name}= is for task="classes", not for {task}')
    return task


def open_named(given: Mapping[str, Any], image_format: ImageFormat | None = None) -> Material:
    """Return one of NAMED; the files of MNIST and CIFAR-10 are in a folder.

    given: the arguments of `train.train`.
    image_format: what images the weights want that training starts with, if it is known.
    """
    name = given["data"]
    folder = Path("data") / name if given["data_dir"] is None else Path(given["data_dir"])
    if name == "digits":
        return _of_digits(*sets.digits(), None, given)
    if name == "mnist":
        images = ImageFormat(32, "RGB", 255.0, (MEAN,), (STD,))
        return _of_digits(*sets.mnist(folder, download=given["download"]), images, given)
    return _of_photographs(_cifar10(folder, given["seed"]), 32, given, image_format)


def open_images(
    given: Mapping[str, Any], size: int, image_format: ImageFormat | None = None
) -> Material:
    """Return images of the user's own, decoded to `size` x `size`.

    The other arguments are those of `open_named`.
    """
    parts = open_for_training(
        Path(given["data"]), size, seed=given["seed"], file_column=given["file_column"],
        label_column=given["label_column"], task=given["task"], with_test=True,
    )  # fmt: skip
    return _of_photographs(parts, size, given, image_format)


def hold_out(training: Any, seed: int) -> tuple[Any, Any]:
    """Return a training part without a tenth of it, and the tenth.

    Every tenth image in the order of the classes, so that each class has its share; which images
    and in which order of classes the seed draws. A class of one image keeps it. Of labels and
    numbers, (N, C), it is a tenth of all, but for those without which all were alike. Of five
    images or fewer none is held out, which is None.
    """
    labels = labels_of(training)
    assert labels is not None
    generator = np.random.default_rng(seed)
    if labels.ndim > 1:
        chosen = generator.permutation(len(labels))[EVERY // 2 :: EVERY]
        rest = np.delete(labels, chosen, axis=0)
        alike = (rest == rest[:1]).all(axis=0)  # (C,)
        chosen = chosen[(labels[chosen] == rest[:1])[:, alike].all(axis=1)]
    else:
        counts = np.bincount(labels)
        place = generator.permutation(len(counts))[labels]  # (N,)
        order = np.lexsort((generator.random(len(labels)), place))
        chosen = order[EVERY // 2 :: EVERY]
        chosen = chosen[counts[labels[chosen]] > 1]
    if not len(chosen):
        return training, None
    rest = np.setdiff1d(np.arange(len(labels)), chosen)
    return sets.Subset(training, rest), sets.Subset(training, np.sort(chosen))


def _of_digits(training: Any, test: Any, image_format: Any, given: Mapping[str, Any]) -> Material:
    """Their images are standardized already."""
    validation = None
    if given["data"] not in WHOLE or given["patience"] is not None:
        training, validation = hold_out(training, given["seed"])
    augment = augmentation.for_digits()
    return Material(training, validation, test, DIGITS, image_format, 1, augment=augment)


def _cifar10(folder: Path, seed: int) -> Parts:
    training: Any = sets.cifar10(folder)
    if (folder / TEST_BATCH).exists():
        return Parts(training, sets.cifar10([folder / TEST_BATCH]), [], [])
    training, test = sets.split(training, (1 - HELD_OUT, HELD_OUT), seed)
    return Parts(training, test, [], [])


def _of_photographs(
    parts: Parts, size: int, given: Mapping[str, Any], image_format: ImageFormat | None
) -> Material:
    """Normalized by the training part's own statistics, unless weights want something else.

    What is measured in the end isn't chosen by: where the data has no third part, a tenth of the
    training part is held out.
    """
    if image_format is None:
        mean, std = (numbers / 255 for numbers in sets.channel_statistics(parts.training))
        image_format = ImageFormat(size, "RGB", 255.0, tuple(mean), tuple(std))
    image_format = replace(image_format, size=size, mirrored=False)
    if parts.test is None:
        training, validation = hold_out(parts.training, given["seed"])
        test = parts.validation
    else:
        training, validation, test = parts.training, parts.validation, parts.test
    if validation is None and given["patience"] is not None:
        raise ArgumentError(
            f"train.train: patience= needs images to validate on, and {len(training)} to train on "
            "are too few to hold one out: leave it out"
        )
    return Material(
        training, validation, test, list(parts.training.classes), image_format, 3, given["task"],
        prepare(image_format),
        augmentation.for_photographs(size, given["mirror"], given["rand_augment"]),
        skipped=parts.skipped, passed_over=parts.passed_over,
    )  # fmt: skip
