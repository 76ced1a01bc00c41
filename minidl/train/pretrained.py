"""What `train.finetune` begins with: a pretrained network, and images in their parts."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import minidl as md
from minidl import models
from minidl.constants.pixels import PIXELS
from minidl.constants.tasks import CLASSES
from minidl.data.digits import few_digits
from minidl.data.opening import Parts, check_there, open_for_training
from minidl.errors import ArgumentError, StateError
from minidl.io.identify import PROTOTXT, identify
from minidl.models import Network
from minidl.models.imported import Imported
from minidl.train.settings import choice

__all__ = ["opened", "pretrained", "trained"]

WHO = "train.finetune"


def opened(given: Mapping[str, Any]) -> tuple[Network, Parts, str]:
    """The network, the images in their parts, and what these are called.

    given: the arguments of `finetune`.
    """
    own = ("file_column", "label_column", "strict", "task")  # how images are read
    if given["weights"] is None:
        unused = ("images", "model", "arguments", *own, "size", "pixels")
        _check_unused(**{name: given[name] for name in unused if given[name] != CLASSES})
        return _for_mnist(), _few_digits(), "digits"
    if given["images"] is None:
        raise ArgumentError("train.finetune: images= is missing: finetune(weights, images)")
    _check_arguments(WHO, given["model"], given["arguments"])
    check_there(Path(given["images"]))  # before the weights, which may take a while
    made = (given[name] for name in ("weights", "model", "arguments", "size", "pixels"))
    network, path = pretrained(*made), Path(given["images"])
    reading = {name: given[name] for name in own}
    parts = open_for_training(path, network.decoded_size, seed=given["seed"], **reading)
    return network, parts, path.resolve().stem


def _check_unused(**arguments: Any) -> None:
    """Raise ArgumentError for an argument that is given without weights."""
    if given := [name for name, value in arguments.items() if value]:
        raise ArgumentError(
            f"train.finetune: {given[0]}= goes with weights=, and there are none: "
            "finetune(weights, images)"
        )


def _for_mnist() -> Network:
    return models.create("lenet5", weights="mnist")


def _few_digits() -> Parts:
    """UCI's digits: ten of each class to learn from, and the test part."""
    training, validation = few_digits()
    return Parts(training, validation, [], [])


def trained(weights: str | os.PathLike[str]) -> Network:
    """Return the network in a file, as `models.load` does, if the file holds weights.

    Raises ArgumentError for a .prototxt, whose network would answer at random, and what
    `models.load` raises.
    """
    if identify(weights) == PROTOTXT:
        raise ArgumentError(
            f"{os.fspath(weights)}: a .prototxt describes a network and holds no weights: give the "
            ".caffemodel that goes with it"
        )
    return models.load(weights)


def pretrained(
    weights: str | os.PathLike[str],
    model: str | None,
    arguments: Mapping[str, Any] | None,
    size: int | None,
    pixels: str | None = None,
    who: str = WHO,
) -> Network:
    """Return the network in a file, for images of `size`. Its head may be missing.

    The arguments are those of `finetune`.  who: what errors call the caller.
    Raises ArgumentError for a size that it can't take, and what `models.load` or `models.create`
    raises.
    """
    _check_arguments(who, model, arguments)
    network = trained(weights) if model is None else _of_body(model, weights, arguments or {})
    if pixels is not None:
        network.take_pixels(choice(who, "pixels=", pixels, tuple(PIXELS)))
    elif network.image_format is None and isinstance(network, Imported):
        raise ArgumentError(
            f"{who}: {os.fspath(weights)} doesn't say what images it takes: "
            + (
                f"give pixels= (one of {', '.join(PIXELS)})"
                if who == WHO
                else "models.load() it, set its image_format to a models.ImageFormat, and save it"
            )
        )
    _ = network.decoded_size, network.num_classes  # raises where it doesn't say what it takes
    if network.architecture is None:
        raise ArgumentError(
            f"{who}: the graph of {os.fspath(weights)} is too large for a file of weights"
        )
    assert network.image_format is not None
    if size is not None and size != network.image_format.size:
        if not network.any_size or size < network.smallest_size():
            smallest = network.smallest_size()
            takes = f"images from {smallest} pixels up" if network.any_size else f"only {smallest}"
            raise ArgumentError(f"{who}: size={size}: {model or weights} takes {takes}")
        network.image_format = replace(network.image_format, size=size)
    return network


def _check_arguments(who: str, model: str | None, arguments: Mapping[str, Any] | None) -> None:
    if arguments and model is None:
        raise ArgumentError(f"{who}: arguments= are for model=: a file alone knows its own")


def _of_body(model: str, weights: str | os.PathLike[str], arguments: Mapping[str, Any]) -> Network:
    """The network of that name with the weights of a file that may lack the head's."""
    try:
        return models.create(model, weights=weights, **arguments)
    except StateError:
        network = models.create(model, **arguments)
        report = md.load_weights(network, weights, strict=False)
        head = {f"classifier.{name}" for name in network.classifier.state_dict()}
        if not report.missing or set(report.missing) - head or report.unexpected:
            raise
        return network
