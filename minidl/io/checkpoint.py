"""Checkpoints: all that training needs to go on, bit for bit.

A sealed HDF5 file of the format "minidl checkpoint": the model's weights below /model, laid out as
`save_weights` does (and loaded by `load_weights` too); every other state as JSON in /document,
with its arrays below /state.
"""

import contextlib
import json
import os
import random as python_random
from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl import random
from minidl.autograd import Tensor
from minidl.errors import FileFormatError, MinidlError, StateError
from minidl.io.compose import Content
from minidl.io.guarded import MAX_BYTES, GuardedFile
from minidl.io.layers import layers_of
from minidl.io.sealed import Stored, open_sealed, read_verified, write_sealed
from minidl.io.state import pack, parse, unpack
from minidl.io.weights import (
    CHECKPOINT,
    FORMATS,
    add_architecture,
    add_layers,
    check_module,
    entries,
    naming,
)
from minidl.optim.by_name import load_named_state, named_state

__all__ = ["all_or_nothing", "generators", "load_checkpoint", "save_checkpoint"]

FORMAT, FORMAT_VERSION = CHECKPOINT, FORMATS[CHECKPOINT]
DOCUMENT = "document"
NONSENSE = (LookupError, TypeError, AttributeError, ValueError, OverflowError, RecursionError)


def save_checkpoint(
    path: str | os.PathLike[str],
    model: Any = None,
    optimizer: Any = None,
    scheduler: Any = None,
    ema: Any = None,
    loader: Any = None,
    extra: Any = None,
) -> None:
    """Write what is given, and the state of the random generators, to `path`, atomically.

    The generators are minidl's own, NumPy's global one and Python's.
    extra: anything made of dicts, lists, tuples, numbers, text and arrays of numbers.
    Raises StateError for what can't be stored, OSError where the system refuses; either way an old
    file at `path` is left as it was.
    """
    content = Content()
    states: dict[str, Any] = {"extra": extra, "random": generators.state_dict()}
    if model is not None:
        check_module(model, "save_checkpoint")
        add_layers(content, layers_of(model), "model")
        add_architecture(content, model, "model")
    if optimizer is not None:
        states["optimizer"] = named_state(optimizer, _names(model))
    for name, thing in (("scheduler", scheduler), ("ema", ema), ("loader", loader)):
        if thing is not None:
            states[name] = thing.state_dict()
    packed = pack(states, content.arrays, "state")
    text = json.dumps({"holds": [*states, *["model"] * (model is not None)], "states": packed})
    content.arrays[DOCUMENT] = np.frombuffer(text.encode(), np.uint8)
    write_sealed(path, content, (FORMAT, FORMAT_VERSION))


def load_checkpoint(
    path: str | os.PathLike[str],
    model: Any = None,
    optimizer: Any = None,
    scheduler: Any = None,
    ema: Any = None,
    loader: Any = None,
    strict: bool = True,
    max_bytes: int = MAX_BYTES,
) -> Any:
    """Bring what is given, and the random generators, to where `save_checkpoint` found them.

    Returns `extra`. All of it is loaded or, where anything is wrong, nothing. What the checkpoint
    holds beside is left alone. An optimizer's state is matched by the names of the model's
    parameters: those that were frozen or added since are passed over or begin afresh.
    strict: every name and shape of the model must match; otherwise what matches is loaded, as for a
        network that was given another head.
    max_bytes: the most memory that the file's arrays may take.
    Raises FileFormatError for other files and damaged ones, StateError for states that don't fit or
    aren't there, OSError where the system refuses.
    """
    if model is not None:
        check_module(model, "load_checkpoint")
    things = {"optimizer": optimizer, "scheduler": scheduler, "ema": ema, "loader": loader}
    given = {name: thing for name, thing in things.items() if thing is not None}
    held = [*([] if model is None else [model]), *given.values(), generators]
    with (
        all_or_nothing(held),
        naming(path),
        open_sealed(path, {FORMAT: FORMAT_VERSION}, max_bytes) as (_, file),
    ):
        packed = _states(file)
        _check_held(packed, [*given, *([] if model is None else ["model"])])
        states = {
            name: unpack(packed[name], lambda array: read_verified(file, array))
            for name in ("extra", "random", *given)
        }
        if model is not None:
            weights = entries(file, FORMAT).items()
            model.load_state_dict({name: Stored(file, *at) for name, at in weights}, strict)
        for name, thing in given.items():
            if name == "optimizer":
                load_named_state(thing, states[name], _names(model))
            elif name == "scheduler":
                _load_scheduler(thing, states[name], optimizer)
            else:
                thing.load_state_dict(states[name])
        generators.load_state_dict(states["random"])
    return states["extra"]


def _check_held(packed: dict[str, Any], wanted: list[str]) -> None:
    """Raise StateError unless the checkpoint holds what is to be loaded."""
    absent = [name for name in ("extra", "random", *wanted) if name not in packed]
    if absent:
        holds = ", ".join(name for name in packed if name not in ("extra", "random"))
        raise StateError(
            f"the checkpoint holds no state of {', '.join(absent)}, only of {holds or 'no part'}"
        )
    if "optimizer" in wanted and "model" in packed and "model" not in wanted:
        raise StateError(
            "give the model too: an optimizer's state goes by the names of the model's parameters"
        )


def _states(file: GuardedFile) -> dict[str, Any]:
    """Every state in the file, packed; None for the model's, which is stored otherwise."""
    document = parse(read_verified(file, DOCUMENT).tobytes(), file.path)
    holds, states = document.get("holds"), document.get("states")
    if not isinstance(holds, list) or not isinstance(states, dict):
        raise FileFormatError(f"{file.path}: its document lists no states")
    return {str(name): states.get(str(name)) for name in holds}


def _names(model: Any) -> dict[Tensor, str]:
    """The name of each of the model's parameters."""
    return {} if model is None else {p: name for name, p in model.named_parameters()}


def _load_scheduler(scheduler: Any, state: Any, optimizer: Any) -> None:
    """Load a scheduler's state. The rates are the optimizer's own, if its state was loaded: its
    groups may be others now."""
    rates = [group["lr"] for group in scheduler.optimizer.param_groups]

    def fit(part: dict[str, Any]) -> dict[str, Any]:
        inner = {name: fit(x) for name, x in part.items() if isinstance(x, dict)}
        return {**part, "lr": part["lr"] if optimizer is None else rates, **inner}

    scheduler.load_state_dict(fit(state))


@contextlib.contextmanager
def all_or_nothing(things: list[Any]) -> Iterator[None]:
    """If the block raises, load into `things` what they held before it."""
    held = [(thing, thing.state_dict()) for thing in things]
    try:
        yield
    except BaseException as error:
        for thing, state in held:
            thing.load_state_dict(state)
        if isinstance(error, NONSENSE) and not isinstance(error, MinidlError):
            raise StateError(f"the checkpoint's states make no sense: {error!r}") from error
        raise


class _Generators:
    """minidl's random generator, NumPy's global one and Python's."""

    def state_dict(self) -> dict[str, Any]:
        return {
            "minidl": random.get_state(),
            "numpy": np.random.get_state(legacy=False),  # noqa: NPY002  users may draw from it
            "python": python_random.getstate(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        random.set_state(state["minidl"])
        try:
            np.random.set_state(state["numpy"])  # noqa: NPY002
            python_random.setstate(state["python"])
        except (ValueError, OverflowError) as error:
            raise StateError(f"a random generator can't go on: {error}") from error


generators = _Generators()
