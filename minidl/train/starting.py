"""The network that `train.train` starts with: new, or with the weights of a file."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minidl import models
from minidl.constants.tasks import CLASSES
from minidl.errors import ArgumentError, FileFormatError
from minidl.io.identify import MINIDL, identify
from minidl.io.weights import read_architecture
from minidl.models import Network
from minidl.nn import init
from minidl.train.training_data import NAMED, Material, open_images, open_named

__all__ = ["begin"]


def begin(given: Mapping[str, Any]) -> tuple[Network, Material]:
    """Return the network, for the images and classes of the data, and the data.

    Of numbers the network gives standard units, as `Material.goal` has them.
    given: the arguments of `train.train`.
    """
    model, weights, arguments = given["model"], given["weights"], given["arguments"] or {}
    begun = None if weights is None else _begun_network(model, weights, arguments)
    size = given["size"]
    wanted = None if begun is None else begun.image_format
    if given["data"] in NAMED:
        material = open_named(given, wanted)
    else:
        if size is None:
            size = _input_size(model, arguments) if begun is None else _begun_size(begun)
        material = open_images(given, size, wanted)
    if begun is None:
        network = _new_network(model, arguments, material.channels, len(material.classes))
    else:
        network = _fitted(begun, material)
    if material.task != CLASSES:  # with a ReLU there it couldn't give what is below 0
        network.drop_last_activation()
    network.image_format, network.classes = material.image_format, material.classes
    network.task, network.standard = material.task, material.goal.standard_unit
    return network, material


def _input_size(model: str, arguments: Mapping[str, Any]) -> int:
    """Return height and width of the images that a network is made for."""
    with init.skipped():
        return int(models.create(model, **arguments).input_shape[0])


def _new_network(model: str, arguments: Mapping[str, Any], channels: int, classes: int) -> Network:
    """Return the network, new, for images of so many channels and so many classes."""
    given = {"num_classes": classes, **arguments}
    known = model in models.list() and getattr(models, model)
    if known and "in_channels" in inspect.signature(known).parameters:
        given = {"in_channels": channels, **given}
    return models.create(model, **given)


def _begun_network(model: str, weights: Any, arguments: Mapping[str, Any]) -> Network:
    """Return the network with weights, made for as many classes as they are of.

    weights: as `models.create` takes them. A file of minidl's tells itself what the network was
        made with.
    Raises ArgumentError for arguments other than those, and what `models.create` raises.
    """
    made = _made_with(weights)
    if made is None or made.name != model:  # the latter is refused there
        return models.create(model, weights=weights, **arguments)
    network = models.load(weights)
    plain = {n: list(v) if isinstance(v, tuple) else v for n, v in arguments.items()}
    if other := {n: v for n, v in plain.items() if made.arguments.get(n, v) != v}:
        raise ArgumentError(
            f"train.train: weights= are of {model} made with {made.arguments}, not with {other}: "
            "leave arguments= out"
        )
    return network


def _begun_size(network: Network) -> int:
    """Return height and width of the images that a network with weights wants."""
    images = network.image_format
    return int(network.input_shape[0]) if images is None else images.size


def _made_with(weights: Any) -> Any:
    """What a file of minidl's says of its network; None for other files, and for silent ones."""
    if not Path(weights).is_file() or identify(weights) != MINIDL:
        return None
    try:
        return read_architecture(weights)
    except FileFormatError:
        return None


def _fitted(network: Network, material: Material) -> Network:
    """Return a network with weights, with a new head unless its classes are these.

    Its head stays where it has as many classes and their names aren't known.
    Raises ArgumentError for a network that takes images of other channels.
    """
    takes, channels, classes = network.input_shape[2], material.channels, material.classes
    if takes != channels:
        raise ArgumentError(
            f"train.train: weights= are of a network for images of {takes} channels, the data has "
            f"{channels}"
        )
    known = network.classes or classes
    if (network.task, network.num_classes, list(known)) == (material.task, len(classes), classes):
        material.goal.to_standard(network)
    else:
        network.replace_head(len(classes))
    return network
