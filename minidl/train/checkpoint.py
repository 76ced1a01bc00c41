"""How far a training has come, and the checkpoints that it can go on from."""

import math
import os
import re
import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from minidl import random
from minidl.errors import ArgumentError, StateError
from minidl.io import load_checkpoint, save_checkpoint
from minidl.io.atomic import atomic_write
from minidl.train.callbacks import Callback
from minidl.train.history import History
from minidl.train.metrics import Means

__all__ = ["Checkpoint", "Progress"]


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
        resumed, self._resumed = self._resumed, None
        self.loader = loader
        if resumed is None:
            self.batch = 0  # a pass that was left early isn't taken up again
        else:
            self._pass = resumed["loader"]
            if resumed["loader"] is not None and hasattr(loader, "load_state_dict"):
                loader.load_state_dict(resumed["loader"])
            # What was drawn since the checkpoint was loaded, for a new loader's seed or a layer
            # that is then overwritten, doesn't count.
            random.set_state(resumed["random"])
        return self.batch

    def rest(self, loader: Any) -> Iterator[tuple[Any, Any]]:
        """The batches of this epoch that are still to come."""
        if self.batch == 0:
            self.means = Means()
        # A minidl loader knows its position; of another, what was done is passed over.
        has_state = hasattr(loader, "load_state_dict")
        skip = 0 if has_state else self.batch
        for i, batch in enumerate(islice(loader, skip, None)):
            if has_state and i == 0:
                self._pass = loader.state_dict()
            yield pair(batch, "fit")

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
        }

    def _loader_state(self) -> Any:
        """Where the loader stands after the batches that were trained on.

        It may have handed out one more, or have begun the next epoch while this one is measured.
        """
        if not hasattr(self.loader, "state_dict"):
            return None
        state = self._pass if self.batch and self._pass else self.loader.state_dict()
        return {**state, "position": self.batch} if "position" in state else state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.means.load_state_dict(state["means"])
        self.epoch, self.batch = int(state["epoch"]), int(state["batch"])
        self.history = History(state["history"])
        self._resumed = {"loader": state["loader"], "random": random.get_state()}


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
    """`Trainer.save`."""
    states = [[type(each).__name__, each.state_dict()] for each in trainer.callbacks]
    extra = {"trainer": trainer.progress.state_dict(), "callbacks": states}
    save_checkpoint(path, **_parts(trainer), extra=extra)


def load_progress(trainer: Any, path: str | os.PathLike[str]) -> None:
    """`Trainer.resume`."""
    extra = load_checkpoint(path, **_parts(trainer))
    if not isinstance(extra, dict) or "trainer" not in extra:
        raise StateError(
            f"{os.fspath(path)}: the checkpoint isn't a Trainer's: load it with md.load_checkpoint"
        )
    trainer.progress.load_state_dict(extra["trainer"])
    states = list(extra["callbacks"])
    for each in trainer.callbacks:  # the first state of its class; a new callback has none
        found = next((s for s in states if s[0] == type(each).__name__), None)
        if found is not None:
            states.remove(found)
            each.load_state_dict(found[1])


def _parts(trainer: Any) -> dict[str, Any]:
    return {
        "model": trainer.model,
        "optimizer": trainer.optimizer,
        "scheduler": trainer.scheduler,
        "ema": trainer.ema,
    }


class Checkpoint(Callback):
    """Writes a checkpoint after each epoch, and keeps the last few and the best.

    folder: made if it isn't there. It gets epoch-0001.h5, ..., in mid-epoch
        epoch-0001-batch-000100.h5, and best.h5.
    keep: how many of the last to keep.
    every: also write one after so many batches; None for epochs only.
    monitor: the column of the history that says which is best; None for the validation loss or,
        without validation, the training loss.  mode: "min" or "max".
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        keep: int = 3,
        every: int | None = None,
        monitor: str | None = None,
        mode: str = "min",
    ) -> None:
        for name, value in (("keep", keep), ("every", every)):
            whole = isinstance(value, int) and not isinstance(value, bool) and value > 0
            if not whole and not (name == "every" and value is None):
                raise ArgumentError(f"Checkpoint: {name} is a whole number from 1, got {value!r}")
        if mode not in ("min", "max"):
            raise ArgumentError(f'Checkpoint: mode is "min" or "max", got {mode!r}')
        self.folder = Path(folder)
        self.keep, self.every, self.monitor, self.mode = keep, every, monitor, mode
        self.best: float | None = None

    def on_fit_begin(self, trainer: Any, batches: int) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    def on_batch_end(self, trainer: Any, means: dict[str, float]) -> None:
        batch = trainer.progress.batch
        if self.every is not None and batch % self.every == 0:
            self._save(trainer, f"epoch-{trainer.epoch + 1:04d}-batch-{batch:06d}.h5")

    def on_epoch_end(self, trainer: Any, row: dict[str, Any]) -> None:
        name = self.monitor or ("val_loss" if "val_loss" in row else "loss")
        if name not in row:
            raise ArgumentError(
                f"Checkpoint: monitor={name!r} is not a column of the history: {', '.join(row)}"
            )
        value = float(row[name])
        better = not math.isnan(value) and (
            self.best is None or (value < self.best if self.mode == "min" else value > self.best)
        )
        self.best = value if better else self.best
        path = self._save(trainer, f"epoch-{trainer.epoch:04d}.h5")
        if better:
            with atomic_write(self.folder / "best.h5") as temporary:
                shutil.copyfile(path, temporary)

    def _save(self, trainer: Any, name: str) -> Path:
        path = self.folder / name
        trainer.save(path)
        for old in _saved(self.folder)[: -self.keep]:
            if old != path:
                old.unlink(missing_ok=True)
        return path

    @staticmethod
    def last(folder: str | os.PathLike[str]) -> Path | None:
        """The checkpoint in `folder` that has come furthest, or None, for `Trainer.resume`."""
        found = _saved(Path(folder))
        return found[-1] if found else None

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best = state["best"]


def _saved(folder: Path) -> list[Path]:
    """The checkpoints in a folder, those that have come furthest last."""
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        match = re.fullmatch(r"epoch-(\d+)(?:-batch-(\d+))?\.h5", path.name)
        if match:  # epoch-0003-batch-000100 is on the way to epoch-0003
            found.append(((int(match[1]), int(match[2] or 10**9)), path))
    return [path for _, path in sorted(found)]
