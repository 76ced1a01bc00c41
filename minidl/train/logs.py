"""Logs of a training for other programs: CSVLog, TensorBoardLog."""

import csv
import errno
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minidl.errors import DTypeError
from minidl.io.atomic import atomic_write
from minidl.train.callbacks import Callback
from minidl.train.settings import choice

__all__ = ["CSVLog", "TensorBoardLog", "checked_logs", "logs_of"]


class CSVLog(Callback):
    """Writes the history to a CSV file after each epoch: a row an epoch, a head of names.

    path: the file, in a folder that is there. It is always whole, and holds the trainer's whole
        history, so that a training that is resumed continues in it.
    Raises OSError, naming the file, where the system refuses to write.
    """

    one_rank = True

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def on_fit_begin(self, trainer: Any, batches: int) -> None:
        if self.path.is_dir():  # told now, not after an epoch
            raise OSError(errno.EISDIR, f"CSVLog can't write {self.path}: it is a folder")

    def on_epoch_end(self, trainer: Any, row: dict[str, Any]) -> None:
        rows = trainer.history.rows
        text = io.StringIO(newline="")
        names = list(dict.fromkeys(name for each in rows for name in each))
        table = csv.DictWriter(text, names, restval="", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        with atomic_write(self.path) as temporary:
            temporary.write_bytes(text.getvalue().encode())


class TensorBoardLog(Callback):
    """Writes the history for TensorBoard after each epoch, with the package tensorboardX.

    folder: made if it isn't there; `tensorboard --logdir FOLDER` shows it. Of what an earlier
        training wrote there, TensorBoard hides the epochs that are trained anew.
    Raises ImportError without tensorboardX (extra `logs`), when `fit` begins.
    """

    one_rank = True

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder}  # copies begin with `on_fit_begin`

    def on_fit_begin(self, trainer: Any, batches: int) -> None:
        self._writer = _writer()(str(self.folder), purge_step=trainer.epoch + 1)

    def on_epoch_end(self, trainer: Any, row: dict[str, Any]) -> None:
        for name, value in row.items():
            if name != "epoch":
                self._writer.add_scalar(name, value, row["epoch"])
        self._writer.flush()

    def on_fit_end(self, trainer: Any) -> None:
        self._writer.close()


def _writer() -> Any:
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise ImportError(
            "logs for TensorBoard need the package tensorboardX: pip install 'minidl[logs]'"
        ) from error
    return SummaryWriter


KINDS = ("csv", "tensorboard")


def checked_logs(who: str, log: str | Sequence[str] | None) -> list[str]:
    """Return the names of logs, each once: `log` is a list of them, or a text with commas.

    Raises ArgumentError for other names, ImportError where the package of one is missing.
    """
    if not isinstance(log, str | list | tuple | None):
        raise DTypeError(f"{who}: log= must be names of logs, got {type(log).__name__}")
    given = log.split(",") if isinstance(log, str) else log or ()
    names = [choice(who, "log=", n.strip() if isinstance(n, str) else n, KINDS) for n in given]
    if "tensorboard" in names:
        _writer()
    return list(dict.fromkeys(names))


def logs_of(names: Sequence[str], folder: Path) -> list[Callback]:
    """Return the callbacks that write these logs to a run's folder."""
    made = {"csv": CSVLog(folder / "history.csv"), "tensorboard": TensorBoardLog(folder / "logs")}
    return [made[name] for name in names]
