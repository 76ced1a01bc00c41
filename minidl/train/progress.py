"""How far a training has come, and how it is saved and gone on from."""

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from minidl.distributed.world import world
from minidl.errors import ArgumentError, StateError
from minidl.io import load_checkpoint, save_checkpoint
from minidl.io.checkpoint import all_or_nothing, generators
from minidl.train.history import History
from minidl.train.metrics import Means

__all__ = ["Progress", "load_progress", "pair", "save_progress"]


class Progress:
    """Where a training stands.

    epoch: how many are done.  batch: how many of the next one are.  means: over those.
    loader: what `fit` trains on.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self.batch = 0
        self.means = Means()
        self.history = History()
        self.loader: Any = None
        self._pass: Any = None  # the loader's state in this epoch, for its seed and number
        self._resumed: dict[str, Any] | None = None  # states to set when `fit` begins

    def begin(self, loader: Any) -> int:
        """Take over the loader of `fit`; says how many batches of this epoch are done already."""
        if self._resumed is None:
            self.batch = 0  # a pass that was left early isn't taken up again
        else:
            self._go_on(loader, **self._resumed)
            self._resumed = None
        self.loader = loader
        return self.batch

    def _go_on(self, loader: Any, batches: int | None, state: Any, generators_: Any) -> None:
        if self.batch and batches is not None and batches != len(loader):
            raise StateError(
                f"fit: the checkpoint is {self.batch} batches into an epoch of {batches}, the "
                f"loader has {len(loader)}: give the data and the batch size of then"
            )
        if state is not None and hasattr(loader, "load_state_dict"):
            loader.load_state_dict(state)
        self._pass = state
        # What was drawn since the checkpoint was loaded, for a new loader's seed or a layer
        # that is then overwritten, doesn't count.
        generators.load_state_dict(generators_)

    def rest(self, loader: Any, batches: Iterable[Any]) -> Iterator[Any]:
        """The batches of this epoch that are still to come; batches: the loader, or those of it
        in another form."""
        if self.batch == 0:
            self.means = Means()
        # A minidl loader knows its position; of another, what was done is passed over.
        has_state = hasattr(loader, "load_state_dict")
        skip = 0 if has_state else self.batch
        for i, batch in enumerate(islice(batches, skip, None)):
            if has_state and i == 0:
                self._pass = loader.state_dict()
            yield batch

    def end_epoch(self, row: dict[str, Any]) -> None:
        self.history.rows.append(row)
        self.epoch, self.batch = self.epoch + 1, 0

    def state_dict(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "batch": self.batch,
            "means": self.means.state_dict(),
            "history": self.history.rows,
            "loader": self._loader_state(),
            "batches": self._batches(),
        }

    def _batches(self) -> int | None:
        if self._resumed is not None:
            return self._resumed["batches"]
        return None if self.loader is None else len(self.loader)

    def _loader_state(self) -> Any:
        """Where the loader stands after the batches that were trained on.

        It may have handed out one more, or have begun the next epoch while this one is measured.
        """
        if self._resumed is not None:
            return self._resumed["state"]
        if not hasattr(self.loader, "state_dict"):
            return None
        if self.batch and self._pass and "position" in self._pass:
            return {**self._pass, "position": self.batch}
        return self.loader.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        means, history = Means(), History(state["history"])
        means.load_state_dict(state["means"])
        resumed = {
            "batches": state["batches"],
            "state": state["loader"],
            "generators_": generators.state_dict(),
        }
        self.epoch, self.batch = int(state["epoch"]), int(state["batch"])
        self.means, self.history, self._resumed = means, history, resumed


def pair(batch: Any, who: str) -> tuple[Any, Any]:
    """A batch as (x, target)."""
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        found = f"{len(batch)} parts" if isinstance(batch, tuple | list) else type(batch).__name__
        raise ArgumentError(
            f"{who} expected batches (x, target), got {found}: a data.ArrayDataset(x, y) in a "
            "data.DataLoader gives such"
        )
    return batch[0], batch[1]


def save_progress(trainer: Any, path: str | os.PathLike[str]) -> None:
    """`Trainer.save`; of an MPI run, rank 0 writes."""
    if world().rank > 0:
        return
    states = [[type(each).__name__, each.state_dict()] for each in _with_state(trainer)]
    extra = {
        "trainer": trainer.progress.state_dict(),
        "callbacks": states,
        "accumulated": trainer.accumulation.state_dict(),
        "shards": None if trainer.sharding is None else trainer.sharding.count,
    }
    save_checkpoint(path, **_parts(trainer), extra=extra)


def load_progress(trainer: Any, path: str | os.PathLike[str], strict: bool) -> None:
    """`Trainer.resume`: all of it or, where anything is wrong, nothing."""
    parts, callbacks = _parts(trainer), _with_state(trainer)
    held = [part for part in parts.values() if part is not None]
    with all_or_nothing([*held, *callbacks, trainer.accumulation, generators]):
        extra = load_checkpoint(path, **parts, strict=strict)
        if not isinstance(extra, dict) or "trainer" not in extra:
            raise StateError(
                f"{os.fspath(path)}: the checkpoint isn't a Trainer's: load it with "
                "md.load_checkpoint"
            )
        _check_shards(trainer, extra.get("shards"))
        trainer.accumulation.load_state_dict(extra["accumulated"])
        states = list(extra["callbacks"])
        for each in callbacks:  # the first state of its class; a new callback has none
            found = next((state for state in states if state[0] == type(each).__name__), None)
            if found is not None:
                states.remove(found)
                each.load_state_dict(found[1])
        trainer.progress.load_state_dict(extra["trainer"])


def _check_shards(trainer: Any, begun: int | None) -> None:
    """Raise StateError where the training was begun with other shards, and gives other numbers."""
    now = None if trainer.sharding is None else trainer.sharding.count
    if trainer.optimizer is not None and begun != now:
        raise StateError(
            f"the checkpoint is of a training with shards={begun}, not {now}: give Trainer "
            f"shards={begun}" + ("" if begun else ", which means without mpiexec")
        )


def _with_state(trainer: Any) -> list[Any]:
    return [each for each in trainer.callbacks if hasattr(each, "state_dict")]


def _parts(trainer: Any) -> dict[str, Any]:
    return {
        "model": trainer.model,
        "optimizer": trainer.optimizer,
        "scheduler": trainer.scheduler,
        "ema": trainer.ema,
    }
