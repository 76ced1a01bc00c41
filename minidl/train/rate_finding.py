"""`train.find_lr`: a learning rate for `train.train`."""

import os
from collections.abc import Mapping
from typing import Any

import minidl as md
from minidl import optim
from minidl.data.telling import teller
from minidl.errors import ArgumentError
from minidl.train.range_finder import LearningRateRange, find_learning_rate
from minidl.train.recipe import OTHERS, RECIPES
from minidl.train.settings import check_arguments, check_paths, check_settings
from minidl.train.starting import begin
from minidl.train.training_data import NAMED, Material

__all__ = ["find_lr"]


def find_lr(
    model: str = "lenet5",
    data: str | os.PathLike[str] = "digits",
    *,
    arguments: Mapping[str, Any] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    download: bool = False,
    size: int | None = None,
    file_column: str | None = None,
    label_column: str | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    verbose: bool = True,
) -> LearningRateRange:
    """Find a learning rate for `train.train` by a short training whose rate grows step by step.

    It makes the network and reads the data as `train.train` does, which documents the arguments,
    and calls `find_learning_rate`, which takes a network, an optimizer and a loader of your own.
    Images aren't augmented, and nothing is saved.
    Returns the losses at 100 rates: `.suggested` is the rate, `.plot()` draws them.
    Raises ArgumentError for arguments that don't go together, and what reading the data raises.
    """
    given, who = locals(), "train.find_lr"
    check_arguments(who, arguments)
    check_paths(who, data=data, data_dir=data_dir or "")
    check_settings(who, download=download, size=size, batch_size=batch_size, seed=seed)
    data = os.fspath(data)
    columns = {"file_column": file_column, "label_column": label_column}
    _check_together(data, data_dir, download, {"size": size, **columns})
    recipe = RECIPES.get(data, OTHERS)
    md.manual_seed(seed)
    plain = {"mirror": False, "rand_augment": None, "patience": None, "weights": None}
    network, material = begin({**given, **plain, "data": data})
    optimizer = optim.SGD(
        network.parameters(), recipe["lr"], momentum=0.9, weight_decay=recipe["weight_decay"]
    )
    loader = material.loader(batch_size or recipe["batch_size"], augment=False, workers=None)
    _tell(model, data, material, loader.batch_size, verbose)
    return find_learning_rate(network, optimizer, loader, progress=verbose)


def _check_together(data: str, data_dir: Any, download: bool, own: Mapping[str, Any]) -> None:
    """Raise ArgumentError for arguments that `data` has no use for.

    own: those for images of the user's own.
    """
    if data_dir and data not in ("mnist", "cifar10"):
        raise ArgumentError('train.find_lr: data_dir= is for MNIST and CIFAR-10: add data="mnist"')
    if download and data != "mnist":
        raise ArgumentError('train.find_lr: download= is for MNIST: add data="mnist"')
    for name, value in own.items():
        if value and data in NAMED:
            raise ArgumentError(f"train.find_lr: {name}= is for images of your own, not for {data}")


def _tell(model: str, data: str, material: Material, batch_size: int, verbose: bool) -> None:
    teller(verbose)(
        f"{model} on {len(material.training):,} images of {data}, {batch_size} a step; threads: "
        f"{md.config.num_threads}"
    )
