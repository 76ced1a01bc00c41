"""Weights in HDF5: one dataset a parameter or buffer, one group a module.

"conv1.weight" is stored as /conv1/weight, with the attributes `layout` (its axes, such as "in
out"), `shape`, `dtype` and `crc32` (see `sealed`); a group has `kind` (such as "convolution")
and the settings that its numbers depend on. The root has format="minidl weights", format_version,
minidl_version and, for a network of `minidl.models`, `architecture` and, as JSON, `arguments`,
`image_format`, `classes`, `task` and `standard`: what `models.load` rebuilds it from.
"""

import contextlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from minidl.constants.tasks import CLASSES, TASKS
from minidl.errors import ArgumentError, DTypeError, FileFormatError, StateError
from minidl.io.compose import Content
from minidl.io.guarded import MAX_BYTES, MAX_STRING, Entry, GuardedFile
from minidl.io.identify import MINIDL, identify
from minidl.io.layers import LAYOUTS, Layer, plain_role
from minidl.io.sealed import Stored, open_sealed, read_verified
from minidl.nn import Module

__all__ = [
    "CHECKPOINT",
    "FORMAT",
    "FORMATS",
    "Architecture",
    "add_architecture",
    "add_layers",
    "as_architecture",
    "check_module",
    "count_numbers",
    "entries",
    "large_numbers",
    "names_architecture",
    "naming",
    "read_architecture",
    "read_layers",
    "stored_state",
    "told_of",
]

FORMAT, CHECKPOINT = "minidl weights", "minidl checkpoint"
FORMATS = {FORMAT: 1, CHECKPOINT: 1}  # those that hold a model's weights, with their versions
MAX_NUMBER = 2**20  # a number from a file that a network is made with
SETTINGS = ("eps",)  # of a layer, as attributes of its group


def check_module(model: Any, who: str) -> None:
    if not isinstance(model, Module):
        raise DTypeError(f"{who} expected a module first, got {type(model).__name__}")


@contextlib.contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Name the file in what is said of states that don't fit."""
    try:
        yield
    except StateError as error:
        raise StateError(f"{os.fspath(path)}: {error}") from error


def add_layers(content: Content, layers: list[Layer], under: str) -> None:
    """Add the arrays of `layers` to a file's content, below the group `under`."""
    for layer in layers:
        group = _path(under, layer.name)
        kept = {key: layer.settings.get(key) for key in SETTINGS}
        kept = {key: value for key, value in kept.items() if value is not None}
        content.add(group, kind=layer.kind, **kept)
        for role, array in layer.arrays.items():
            if "/" in role or "." in role or not role:
                raise StateError(f"a file can't store the name {role!r}: it becomes a path")
            name = f"{group}/{role}".lstrip("/")
            layout = LAYOUTS.get(layer.kind, {}).get(plain_role(role)) or " ".join(
                ["axis"] * array.ndim
            )
            content.arrays[name] = array
            shape = np.asarray(array.shape, np.int64)
            content.add(name, layout=layout, shape=shape, dtype=array.dtype.name)


def _path(under: str, name: str) -> str:
    """The group of the module `name`."""
    parts = name.split(".") if name else []
    if "" in parts or "." in parts or "/" in name:
        raise StateError(f"a file can't store the name {name!r}: it becomes a path")
    return "/".join(filter(None, [under, *parts]))


def add_architecture(content: Content, model: Module, under: str) -> None:
    """Add the name and the arguments that a network of `minidl.models` was made with, and the
    images that it takes and the names of its classes, where they are known."""
    made = getattr(model, "architecture", None)
    if made is None:
        return
    name, _ = made
    for key, text in told_of(model).items():
        if len(text) > MAX_STRING:
            raise StateError(
                f"the {key} of {name} take {len(text)} bytes as JSON, a file can hold {MAX_STRING}"
            )
        content.add(under, **{key: text})
    content.add(under, architecture=name)


def told_of(model: Module) -> dict[str, str]:
    """Return, as JSON, what a network was made with, and what images and classes it knows."""
    known: dict[str, Any] = {}
    if (made := getattr(model, "architecture", None)) is not None:
        known["arguments"] = made[1]
    if (image_format := getattr(model, "image_format", None)) is not None:
        known["image_format"] = asdict(image_format)
    if (classes := getattr(model, "classes", None)) is not None:
        known["classes"] = list(classes)
    if (task := getattr(model, "task", CLASSES)) != CLASSES:
        known["task"] = task
    if (standard := getattr(model, "standard", None)) is not None:
        known["standard"] = standard
    return {key: json.dumps(value) for key, value in known.items()}


# Reading


@contextlib.contextmanager
def stored_state(
    path: str | os.PathLike[str], max_bytes: int, rename: Callable[[str], str | None]
) -> Iterator[dict[str, Stored]]:
    """The arrays of a file that minidl wrote, unread, by the names that `rename` gives them.

    Those that it gives no name are left out.
    """
    state: dict[str, Stored] = {}
    with open_sealed(path, FORMATS, max_bytes) as (kind, file):
        for dotted, (name, entry) in entries(file, kind).items():
            new = rename(dotted)
            if new in state:
                raise ArgumentError(f"load_weights: rename gives two arrays the name {new!r}")
            if new is not None:
                state[new] = Stored(file, name, entry)
        yield state


def read_layers(path: str | os.PathLike[str], max_bytes: int = MAX_BYTES) -> list[Layer]:
    """All layers of the weights in a file that minidl wrote."""
    layers: dict[str, Layer] = {}
    with open_sealed(path, FORMATS, max_bytes) as (kind, file):
        for dotted, (name, _) in entries(file, kind).items():
            owner, _, role = dotted.rpartition(".")
            group = name.rpartition("/")[0] or "/"
            if owner not in layers:
                known = {key: file.attribute(key, of=group) for key in SETTINGS}
                settings = {key: value for key, value in known.items() if value is not None}
                layer_kind = str(file.attribute("kind", of=group) or "other")
                layers[owner] = Layer(owner, layer_kind, {}, settings)
            layers[owner].arrays[role] = read_verified(file, name)
    return list(layers.values())


def entries(file: GuardedFile, kind: str) -> dict[str, tuple[str, Entry]]:
    """The datasets that hold a model's weights, by dotted name: their path and what they declare.

    In a checkpoint they stand in the group `model`.
    """
    under = "" if kind == FORMAT else "model/"
    found = {}
    for name, entry in file.datasets().items():
        if not name.startswith(under):
            continue
        if "." in name:
            raise FileFormatError(f"{file.path}: unexpected dot in the dataset name {name!r}")
        found[name.removeprefix(under).replace("/", ".")] = (name, entry)
    return found


def count_numbers(path: str | os.PathLike[str]) -> int:
    """How many numbers a file of minidl's holds as a model's weights; none of them is read."""
    with open_sealed(path, FORMATS) as (kind, file):
        return sum(math.prod(entry.shape) for _, entry in entries(file, kind).values())


@dataclass
class Architecture:
    """What a file says of the network whose weights it holds; None for what it doesn't say."""

    name: str
    arguments: dict[str, Any]
    image_format: dict[str, Any] | None
    classes: list[str] | None
    task: str = CLASSES
    standard: tuple[list[float], list[float]] | None = None


def names_architecture(path: str | os.PathLike[str]) -> bool:
    """Whether it is a file of minidl's that says which network its weights are of."""
    if identify(path) != MINIDL:
        return False
    with open_sealed(path, FORMATS) as (kind, file):
        return file.attribute("architecture", of="/" if kind == FORMAT else "/model") is not None


def read_architecture(path: str | os.PathLike[str]) -> Architecture:
    """The network whose weights the file holds.

    Raises FileFormatError where it names none, or holds values that aren't plain.
    """
    with open_sealed(path, FORMATS) as (kind, file):
        group = "/" if kind == FORMAT else "/model"
        name = file.attribute("architecture", of=group)
        texts = {
            key: file.attribute(key, of=group)
            for key in ("arguments", "image_format", "classes", "task", "standard")
        }
    if name is None:
        raise FileFormatError(
            f"{os.fspath(path)}: it names no architecture of minidl.models, since its weights are "
            "of a model made otherwise: make that model, then md.load_weights(model, path)"
        )
    return as_architecture(name, texts, os.fspath(path))


def as_architecture(name: Any, texts: Mapping[str, Any], where: str) -> Architecture:
    """Return the network of a name, and what is told of it as JSON: see `add_architecture`.

    Raises FileFormatError where that isn't plain.
    """
    try:
        known = {key: json.loads(str(text)) for key, text in texts.items() if text is not None}
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{where}: its arguments can't be read") from error
    if "arguments" not in known:
        raise FileFormatError(f"{where}: it names {name!r:.80} without its arguments")
    made = Architecture(
        str(name), known["arguments"], known.get("image_format"), known.get("classes"),
        known.get("task", CLASSES), known.get("standard"),
    )  # fmt: skip
    plain = (
        isinstance(made.arguments, dict)
        and isinstance(made.image_format, dict | None)
        and isinstance(made.classes, list | None)
        and all(isinstance(each, str) for each in made.classes or [])
        and made.task in TASKS
        and (made.standard is None or _is_unit(made.standard, made.classes or []))
    )
    if not plain:
        raise FileFormatError(
            f"{where}: expected arguments by name, found {texts['arguments']!r:.80}"
        )
    return made


def _is_unit(found: Any, names: list[str]) -> bool:
    """Whether it is the mean and the standard deviation of each number."""
    return (
        isinstance(found, list)
        and [type(row) for row in found] == [list, list]
        and all(len(row) == len(names) for row in found)
        and all(isinstance(x, int | float) and math.isfinite(x) for row in found for x in row)
    )


def large_numbers(data: Any) -> list[float]:
    """Return the numbers above MAX_NUMBER in plain data, which a file may have nested deeply."""
    waiting, found = [data], []
    while waiting:
        value = waiting.pop()
        if isinstance(value, int | float) and abs(value) > MAX_NUMBER:
            found.append(value)
        elif isinstance(value, dict | list):
            waiting += value.values() if isinstance(value, dict) else value
    return found
