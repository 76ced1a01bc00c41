"""Networks by name."""

import inspect
import json
import os
from collections.abc import Callable
from difflib import get_close_matches
from functools import wraps
from typing import Any, TypeVar

from minidl import random
from minidl.errors import ArgumentError, FileFormatError, MinidlError
from minidl.io import load_weights
from minidl.io.weights import read_architecture
from minidl.nn import Module

__all__ = ["create", "load", "names", "register"]

Maker = TypeVar("Maker", bound=Callable[..., Module])

_makers: dict[str, Callable[..., Module]] = {}

MAX_NUMBER = 2**20  # a number from a file that a network is made with


def register(maker: Maker) -> Maker:
    """Make a function that builds a network known by its name.

    The network remembers name and arguments in `architecture`, from which a file of its weights
    rebuilds it; arguments must be plain: numbers, text, True, False, None, and lists of them.
    """
    signature = inspect.signature(maker)

    @wraps(maker)
    def make(*args: Any, **kwargs: Any) -> Module:
        model = maker(*args, **kwargs)
        given = signature.bind(*args, **kwargs)
        given.apply_defaults()
        try:
            plain = json.loads(json.dumps(given.arguments, default=lambda number: number.item()))
        except (TypeError, ValueError, AttributeError) as error:
            raise ArgumentError(
                f"{maker.__name__} expected plain arguments (numbers, text, lists), got "
                f"{given.arguments}"
            ) from error
        model.architecture = (maker.__name__, plain)
        return model

    _makers[maker.__name__] = make
    return make  # type: ignore[return-value]


def create(name: str, weights: str | os.PathLike[str] | None = None, **kwargs: Any) -> Module:
    """A new network by its name in `models.list()`; kwargs go to its function.

    weights: a file to load into it, in any format of `md.load_weights`.
    Raises ArgumentError for an unknown name or argument.
    """
    if name not in _makers:
        near = get_close_matches(str(name), _makers, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(names())}"
        raise ArgumentError(f"models.create: there is no network {name!r}: {hint}")
    try:
        inspect.signature(_makers[name]).bind(**kwargs)
    except TypeError as error:
        raise ArgumentError(f"models.create({name!r}): {error}") from error
    model = _makers[name](**kwargs)
    if weights is not None:
        load_weights(model, weights)
    return model


def names() -> list[str]:
    """The names that `create` knows, in alphabetical order."""
    return sorted(_makers)


def load(path: str | os.PathLike[str]) -> Module:
    """The network whose weights `md.save_weights` or `md.save_checkpoint` wrote, from the file.

    Raises FileFormatError for other files and damaged ones, and for models that weren't made by a
    function of `minidl.models`; OSError where the system refuses.
    """
    name, arguments = read_architecture(path)
    large = [value for value in arguments.values() if isinstance(value, int) and value > MAX_NUMBER]
    if name not in _makers or large:
        what = f"arguments of {large[0]}" if large else f"the architecture {name!r}"
        raise FileFormatError(
            f"{os.fspath(path)}: expected a network of {', '.join(names())}, found {what}: a newer "
            "minidl wrote it, or another program"
        )
    drawn = random.get_state()  # the first weights are overwritten: they use up no draws
    try:
        model = _makers[name](**arguments)
    except (MinidlError, TypeError) as error:
        raise FileFormatError(
            f"{os.fspath(path)}: models.{name} can't be made with {arguments}: {error}"
        ) from error
    finally:
        random.set_state(drawn)
    load_weights(model, path)
    return model
