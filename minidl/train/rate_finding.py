"""`train.find_lr`: a learning rate for `train.train`."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import minidl as md
from minidl import optim
from minidl.constants.tasks import CLASSES
from minidl.data.telling import teller
from minidl.errors import ArgumentError
from minidl.train.range_finder import LearningRateRange, find_learning_rate
from minidl.train.recipe import MOMENTUM, OTHERS, RECIPES
from minidl.train.settings import check_arguments, check_paths, check_settings
from minidl.train.starting import begin
from minidl.train.training_data import NAMED, Material, check_folder, check_task

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
    label_column: str | Sequence[str] | None = None,
    task: str = CLASSES,
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
    check_folder(who, data, data_dir, download)
    for name in ("size", "file_column", "label_column"):
        if given[name] and data in NAMED:
            raise ArgumentError(f"{who}: {name}= is for images of your own, not for {data}")
    task = check_task(who, given)
    recipe = RECIPES.get(data, OTHERS)
    md.manual_seed(seed)
    plain = {"mirror": False, "rand_augment": None, "patience": None, "weights": None}
    network, material = begin({**given, **plain, "data": data, "task": task})
    optimizer = optim.SGD(
        network.parameters(), recipe["lr"], momentum=MOMENTUM, weight_decay=recipe["weight_decay"]
    )
    loader = material.loader(batch_size or recipe["batch_size"], augment=False, workers=None)
    _tell(model, data, material, loader.batch_size, verbose)
    return find_learning_rate(network, optimizer, loader, material.goal.loss(), progress=verbose)


def _tell(model: str, data: str, material: Material, batch_size: int, verbose: bool) -> None:
    teller(verbose)(
        f"{model} on {len(material.training):,} images of {data}, {batch_size} a step; threads: "
        f"{md.config.num_threads}"
    )
