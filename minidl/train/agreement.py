"""Whether the ranks of an MPI run train the same: compared before the training and in it."""

import functools
import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any

import numpy as np

from minidl import random
from minidl.data import Dataset
from minidl.distributed.world import world
from minidl.errors import StateError
from minidl.version import __version__

__all__ = ["check_alike", "check_weights", "compare"]

SAMPLES = 5  # items of a data set that are compared


def compare(who: str, facts: Mapping[str, Any], mend: str) -> None:
    """Raise StateError, on every rank, unless all ranks have the same facts.

    facts: plain values by what they are of.  mend: what to do about it.
    """
    if world().size == 1:
        return
    every = [json.loads(text) for text in world().texts(json.dumps(facts))]
    for rank, found in enumerate(every):
        other = [name for name in every[0] if found.get(name) != every[0][name]]
        if other:
            told = "; ".join(
                f"{name}: {every[0][name]!s:.80} on rank 0, {found.get(name)!s:.80} on rank {rank}"
                for name in other
            )
            raise StateError(f"{who}: the ranks differ in {told}: {mend}")


def check_alike(trainer: Any, loader: Any, epochs: int) -> None:
    """Raise StateError unless all ranks are about to make the same training."""
    if world().size == 1:
        return
    parts = {
        "the optimizer": trainer.optimizer,
        "the schedule": trainer.scheduler,
        "the averages": trainer.ema,
    }
    facts = {
        **{f"the version of {name}": version(name) for name in ("numpy", "numba")},
        "the version of minidl": __version__,
        "the number of epochs": epochs,
        "the epochs done": trainer.epoch,
        "the number of shards": trainer.sharding.count,
        "accumulate": trainer.accumulation.every,
        "the seed, or what was drawn since": _digest(random.get_state()),
        "the weights": _weights(trainer.model),
        **{name: None if x is None else _digest(x.state_dict()) for name, x in parts.items()},
        **_facts_of(loader),
    }
    compare("fit", facts, "start all with the same program, arguments and files")


def check_weights(trainer: Any) -> None:
    """Raise StateError if the ranks' weights are no longer the same."""
    if world().size > 1:
        facts = {f"the weights after epoch {trainer.epoch}": _weights(trainer.model)}
        mend = "a callback must do the same on each, and their memory must be sound"
        compare("fit", facts, mend)


def _facts_of(loader: Any) -> dict[str, Any]:
    """What tells data from other data: how much there is, and some of it."""
    facts: dict[str, Any] = {"the number of batches": len(loader)}
    dataset = getattr(loader, "dataset", None)
    if isinstance(dataset, Dataset):
        places = np.linspace(0, len(dataset) - 1, SAMPLES).astype(int)
        facts |= {
            "the number of items": len(dataset),
            "the data": _digest([list(dataset[int(place)]) for place in dict.fromkeys(places)]),
            "the batch size": loader.batch_size,
            "the loader": loader.state_dict(),
        }
    return facts


def _weights(model: Any) -> str:
    return f"{functools.reduce(_check_sum, model.state_dict().values(), 0):08x}"


def _check_sum(start: int, array: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, start)


def _digest(tree: Any) -> str:
    found = hashlib.sha256()
    for part in _plain(tree):
        found.update(part)
    return found.hexdigest()[:12]


def _plain(tree: Any) -> Iterable[bytes]:
    """Yield the bytes of a tree of dicts, lists, arrays and plain values."""
    if isinstance(tree, dict):
        tree = [x for pair in tree.items() for x in pair]
    if isinstance(tree, list | tuple):
        for part in tree:
            yield from _plain(part)
    elif isinstance(tree, np.ndarray):
        yield f"{tree.dtype} {tree.shape}".encode()
        yield np.ascontiguousarray(tree).tobytes()
    else:
        yield repr(tree).encode()
