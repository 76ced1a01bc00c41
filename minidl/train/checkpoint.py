"""Checkpoint: the callback that writes checkpoints while a Trainer trains."""

import math
import os
import re
import shutil
from pathlib import Path
from typing import Any

from minidl.checks import positive
from minidl.io.atomic import atomic_write
from minidl.train.callbacks import Callback, checked_mode, monitored

__all__ = ["Checkpoint"]


class Checkpoint(Callback):
    """Writes a checkpoint after each epoch, and keeps the last few and the best.

    folder: made if it isn't there. It gets epoch-0001.h5, ..., in mid-epoch
        epoch-0001-batch-000100.h5, and best.h5.
    keep: how many of those written last to keep.
    every: also write one after so many batches; None for epochs only.
    monitor: the column of the history that says which is best; None for the validation loss or,
        without validation, the training loss.
    mode: whether less ("min") or more ("max") of it is better; None is "min", for losses only.
    Raises OSError, when `fit` begins, where the folder can't be made.
    """

    one_rank = True

    def __init__(
        self,
        folder: str | os.PathLike[str],
        keep: int = 3,
        every: int | None = None,
        monitor: str | None = None,
        mode: str | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.keep = positive("Checkpoint", "keep", keep)
        self.every = None if every is None else positive("Checkpoint", "every", every)
        self.monitor, self.mode = monitor, checked_mode("Checkpoint", monitor, mode)

    def on_fit_begin(self, trainer: Any, batches: int) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = f"Checkpoint can't make the folder {self.folder}: {error.strerror}"
            raise OSError(error.errno, reason) from error

    def on_batch_end(self, trainer: Any, means: dict[str, float]) -> None:
        batch = trainer.progress.batch
        if self.every is not None and batch % self.every == 0:
            path = self.folder / f"epoch-{trainer.epoch + 1:04d}-batch-{batch:06d}.h5"
            trainer.save(path)
            self._remove_old(path)

    def on_epoch_end(self, trainer: Any, row: dict[str, Any]) -> None:
        path, best = self.folder / f"epoch-{trainer.epoch:04d}.h5", self.folder / "best.h5"
        if self._is_best(trainer, row):
            # First, so that after a kill in between the epoch is trained, and written, again.
            trainer.save(best)
            with atomic_write(path) as temporary:
                shutil.copyfile(best, temporary)
        else:
            trainer.save(path)
        self._remove_old(path)

    def _is_best(self, trainer: Any, row: dict[str, Any]) -> bool:
        """Whether the epoch beats all before it; NaN beats nothing."""
        name = self.monitor or ("val_loss" if "val_loss" in row else "loss")
        monitored("Checkpoint", name, row)
        *before, value = (float(number) for number in trainer.history[name])
        rivals = [number for number in before if not math.isnan(number)]
        if math.isnan(value) or not rivals:
            return not math.isnan(value)
        return value < min(rivals) if self.mode == "min" else value > max(rivals)

    def _remove_old(self, newest: Path) -> None:
        for path in _saved(self.folder)[: -self.keep]:
            if path != newest:
                path.unlink(missing_ok=True)

    @staticmethod
    def last(folder: str | os.PathLike[str]) -> Path | None:
        """The checkpoint in `folder` that was written last, or None, for `Trainer.resume`."""
        found = _saved(Path(folder))
        return found[-1] if found else None


def _saved(folder: Path) -> list[Path]:
    """The checkpoints in a folder, those written last at the end.

    Not by their names: a training that began anew, or from an earlier one, writes lower numbers.
    """
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        name = re.fullmatch(r"epoch-(\d{4,})(?:-batch-(\d{6,}))?\.h5", path.name)
        if name:  # epoch-0003-batch-000100 is on the way to epoch-0003
            place = (int(name[1]), int(name[2] or 10**9))
            found.append((path.stat().st_mtime_ns, place, path))
    return [path for _, _, path in sorted(found)]
