"""Checkpoints: all that training needs to go on, bit for bit.

A sealed HDF5 file of the format "minidl checkpoint": the model's weights below /model, laid out as
`save_weights` does (and loaded by `load_weights` too); every other state as JSON in /document,
with its arrays below /state.
"""

import json
import os
import random as python_random
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from minidl import random
from minidl.autograd import Tensor
from minidl.errors import FileFormatError, StateError
from minidl.io.compose import Content
from minidl.io.guarded import MAX_BYTES, GuardedFile
from minidl.io.layers import layers_of
from minidl.io.sealed import Stored, open_sealed, read_verified, write_sealed
from minidl.io.state import pack, parse, unpack
from minidl.io.weights import add_architecture, add_layers, check_module, entries, naming
from minidl.optim.by_name import load_named_state, named_state

__all__ = ["load_checkpoint", "save_checkpoint"]

FORMAT, FORMAT_VERSION = "minidl checkpoint", 1
DOCUMENT = "document"


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
    states: dict[str, Any] = {"extra": extra, "random": _random_state()}
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
    max_bytes: int = MAX_BYTES,
) -> Any:
    """Bring what is given, and the random generators, to where `save_checkpoint` found them.

    Returns `extra`. All of it is loaded or, where anything is wrong, nothing. What the checkpoint
    holds beside is left alone. An optimizer's state is matched by the names of the model's
    parameters: those that were frozen or added since are passed over or begin afresh.
    max_bytes: the most memory that the file's arrays may take.
    Raises FileFormatError for other files and damaged ones, StateError for states that don't fit or
    aren't there, OSError where the system refuses.
    """
    if model is not None:
        check_module(model, "load_checkpoint")
    with naming(path), open_sealed(path, {FORMAT: FORMAT_VERSION}, max_bytes) as (_, file):
        weights = {
            name: Stored(file, path, entry) for name, (path, entry) in entries(file, FORMAT).items()
        }
        packed = _states(file)
        things = {"optimizer": optimizer, "scheduler": scheduler, "ema": ema, "loader": loader}
        given = [name for name, thing in things.items() if thing is not None]
        absent = [name for name in [*given, *["model"] * (model is not None)] if name not in packed]
        if absent:
            raise StateError(
                f"the checkpoint holds no state of {', '.join(absent)}, only of "
                f"{', '.join(name for name in packed if name not in ('extra', 'random'))}"
            )
        states = {
            name: unpack(packed[name], lambda array: read_verified(file, array))
            for name in ("extra", "random", *given)
        }
        steps = _steps(things, states, _names(model))
        if model is not None:
            steps.insert(0, (model, lambda: model.load_state_dict(weights)))
        _all_or_nothing(steps)
    _set_random_state(states["random"])
    return states["extra"]


Step = tuple[Any, Callable[[], Any]]  # what is loaded into, and how


def _steps(things: dict[str, Any], states: dict[str, Any], names: dict[Tensor, str]) -> list[Step]:
    steps: list[Step] = []
    for name, thing in things.items():
        if thing is None:
            continue
        if name == "optimizer":
            load = partial(load_named_state, thing, states[name], names)
        elif name == "scheduler":
            load = partial(_load_scheduler, thing, states[name], things["optimizer"])
        else:
            load = partial(thing.load_state_dict, states[name])
        steps.append((thing, load))
    return steps


def _states(file: GuardedFile) -> dict[str, Any]:
    """Every state in the file, packed; None for the model's, which is stored otherwise."""
    document = parse(read_verified(file, DOCUMENT).tobytes(), file.path)
    try:
        return {name: document["states"].get(name) for name in document["holds"]}
    except (KeyError, TypeError, AttributeError) as error:
        raise FileFormatError(f"{file.path}: its document lists no states") from error


def _names(model: Any) -> dict[Tensor, str]:
    """The name of each of the model's parameters."""
    return {} if model is None else {p: name for name, p in model.named_parameters()}


def _load_scheduler(scheduler: Any, state: Any, optimizer: Any) -> None:
    """Load a scheduler's state; where the optimizer's groups are others now, without their rates.

    The optimizer's own state has those of the groups that it still knows.
    """
    rates = [group["lr"] for group in scheduler.optimizer.param_groups]

    def fit(part: dict[str, Any]) -> dict[str, Any]:
        changed = optimizer is not None and len(part["lr"]) != len(rates)
        inner = {"after": fit(part["after"])} if "after" in part else {}
        return {**part, "lr": rates if changed else part["lr"], **inner}

    scheduler.load_state_dict(fit(state))


def _all_or_nothing(steps: list[Step]) -> None:
    """Take each step; if one fails, load into those before it what they held."""
    held = [(thing, thing.state_dict()) for thing, _ in steps]
    for done, (_, step) in enumerate(steps):
        try:
            step()
        except Exception as error:
            for thing, state in held[:done]:
                thing.load_state_dict(state)
            if isinstance(error, KeyError | TypeError | AttributeError | IndexError):
                raise StateError(f"the checkpoint's states make no sense: {error!r}") from error
            raise


# Random generators


def _random_state() -> dict[str, Any]:
    return {
        "minidl": random.get_state(),
        "numpy": np.random.get_state(legacy=False),  # noqa: NPY002  users' code may draw from it
        "python": python_random.getstate(),
    }


def _set_random_state(state: dict[str, Any]) -> None:
    random.set_state(state["minidl"])
    np.random.set_state(state["numpy"])  # noqa: NPY002
    python_random.setstate(state["python"])
