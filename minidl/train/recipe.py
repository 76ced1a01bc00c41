"""How `train.train` trains: what suits each data set, and the parts of its Trainer."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from minidl import optim
from minidl.constants.tasks import CLASSES, NUMBERS
from minidl.models import Network
from minidl.nn import CrossEntropyLoss, Module
from minidl.optim import lr_scheduler
from minidl.train.balance import class_weights
from minidl.train.callbacks import Callback
from minidl.train.mixup import mixing
from minidl.train.settings import choice
from minidl.train.stopping import EarlyStopping
from minidl.train.task import Task
from minidl.train.trainer import Trainer

__all__ = ["RECIPES", "SCHEDULES", "best_weights", "recipe_of", "trainer_of"]

# What suits each data set; lr and weight_decay are SGD's
RECIPES: dict[str, dict[str, Any]] = {
    "digits": {"epochs": 20, "batch_size": 32, "lr": 0.02, "weight_decay": 1e-2},
    "mnist": {"epochs": 10, "batch_size": 64, "lr": 0.02, "weight_decay": 2e-3},
    "cifar10": {"epochs": 40, "batch_size": 64, "lr": 0.1, "weight_decay": 5e-4},
}
OTHERS: dict[str, Any] = {"epochs": 40, "batch_size": 32, "lr": 0.05, "weight_decay": 5e-4}
NUMBERS_LR = 5e-3  # squared errors grow faster than the losses of classes
MOMENTUM = 0.9  # of SGD
OPTIMIZERS: dict[str, Any] = {
    kind.__name__.lower(): kind
    for kind in vars(optim).values()
    if inspect.isclass(kind) and issubclass(kind, optim.Optimizer) and kind is not optim.Optimizer
}
SCHEDULES = ("constant", "cosine", "onecycle", "plateau")


def recipe_of(who: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a training: what is given, otherwise what suits the data.

    given: the arguments of `train.train`. Another optimizer than SGD has its own learning rate and
    weight decay.
    Raises ArgumentError, with near matches, for names that aren't known.
    """
    suits = RECIPES.get(given["data"], OTHERS)
    if given["task"] == NUMBERS:
        suits = suits | {"lr": NUMBERS_LR}
    name = choice(who, "optimizer=", given["optimizer"], sorted(OPTIMIZERS))
    defaults = {n: p.default for n, p in inspect.signature(OPTIMIZERS[name]).parameters.items()}
    optimizer = {"name": name, "lr": defaults["lr"], "weight_decay": defaults["weight_decay"]}
    if name == "sgd":
        optimizer |= {"lr": suits["lr"], "weight_decay": suits["weight_decay"]}
        optimizer["momentum"] = MOMENTUM
    return {
        **{n: suits[n] if given[n] is None else given[n] for n in ("epochs", "batch_size")},
        "optimizer": optimizer
        | {n: given[n] for n in ("lr", "weight_decay") if given[n] is not None},
        "schedule": choice(who, "schedule=", given["schedule"], SCHEDULES),
        "accumulate": given["accumulate"] or 1,
        "patience": given["patience"],
        "label_smoothing": given["label_smoothing"] or 0,
        "class_weights": bool(given["class_weights"]),
        "mixup": given["mixup"] or None,
        "cutmix": given["cutmix"] or None,
    }


def best_weights(settings: Mapping[str, Any]) -> EarlyStopping:
    """Return the callback that goes back to the weights of the lowest validation loss."""
    return EarlyStopping("val_loss", settings["patience"] or settings["epochs"] + 1)


def trainer_of(
    network: Network,
    settings: Mapping[str, Any],
    goal: Task,
    batches: int,
    callbacks: Sequence[Callback],
) -> Trainer:
    """Return the trainer of a network.

    settings: of `recipe_of`.  goal: what is asked of the images, without weights of classes.
    batches: how many an epoch has.
    callbacks: others than those that the settings ask for.
    """
    optimizer = _optimizer(network, **settings["optimizer"])
    mixed = mixing(settings["mixup"], settings["cutmix"], len(network.classes or ()))
    steps = settings["epochs"] * -(-batches // settings["accumulate"])
    return Trainer(
        network,
        optimizer,
        _loss(goal, settings),
        metrics=goal.shown(bool(mixed)),
        scheduler=_schedule(settings["schedule"], optimizer, settings["epochs"], steps),
        callbacks=[*mixed, *callbacks],
        accumulate=settings["accumulate"],
        shards=settings["shards"],
    )


def _loss(goal: Task, settings: Mapping[str, Any]) -> Module:
    """Return what is minimized; classes may be weighed and smoothed."""
    if goal.name != CLASSES:
        return goal.loss()
    weight = class_weights(goal.targets, goal.outputs) if settings["class_weights"] else None
    return CrossEntropyLoss(weight, label_smoothing=settings["label_smoothing"])


def _optimizer(network: Network, name: str, **settings: Any) -> Any:
    return OPTIMIZERS[name](network.parameters(), **settings)


def _schedule(name: str, optimizer: Any, epochs: int, steps: int) -> Any:
    """Return one of SCHEDULES, over so many epochs, or steps of the optimizer."""
    if name == "cosine":
        return lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    if name == "plateau":
        return lr_scheduler.ReduceLROnPlateau(optimizer)
    if name == "onecycle":
        group = optimizer.param_groups[0]
        cycles = "betas" in group or group.get("momentum", 0) > 0
        return lr_scheduler.OneCycleLR(
            optimizer, group["lr"], total_steps=steps, cycle_momentum=cycles
        )
    return None
