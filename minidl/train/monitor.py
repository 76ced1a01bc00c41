"""TrainingMonitor: the callback that draws how a training goes."""

import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from minidl.analysis.plots import _figure
from minidl.io.atomic import atomic_write
from minidl.io.plain_json import save_json
from minidl.train.callbacks import Callback
from minidl.train.metrics import COLUMNS

__all__ = ["TrainingMonitor", "plot_history"]


class TrainingMonitor(Callback):
    """Writes, after each epoch, history.json and curves.png to a folder (extra `plots`).

    folder: made if it isn't there. history.json is {"epochs": [a row an epoch], "test": null}, in
        which numbers that aren't finite are null; curves.png is what `plot_history` draws.
    Both hold the trainer's whole history, so a training that is resumed goes on in them.
    Raises ImportError without matplotlib, before training; OSError, naming the file, where the
    system refuses to write.
    """

    one_rank = True

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    def on_fit_begin(self, trainer: Any, batches: int) -> None:
        _figure(1, 1)  # so that a missing matplotlib is noticed now
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = f"TrainingMonitor can't make the folder {self.folder}: {error.strerror}"
            raise OSError(error.errno, reason) from error

    def on_epoch_end(self, trainer: Any, row: dict[str, Any]) -> None:
        history = {"epochs": trainer.history.rows, "test": None}
        save_json(self.folder / "history.json", history, "TrainingMonitor: the history")
        with atomic_write(self.folder / "curves.png") as temporary:
            plot_history(trainer.history).savefig(temporary, format="png", dpi=120)


def plot_history(rows: Iterable[dict[str, Any]]) -> Any:
    """Loss and metrics against epochs, a panel each; returns a matplotlib Figure.

    rows: a History, or the "epochs" of a history.json. Training and validation share a panel, and
    what isn't finite, or null, leaves a gap.  `figure.savefig(path)` saves it.
    """
    rows = list(rows)
    measured = [name for row in rows for name in row if name not in COLUMNS]
    names = list(dict.fromkeys(["loss", *(name.removeprefix("val_") for name in measured)]))
    figure, axes = _figure(1, len(names))
    figure.set_size_inches(5.2 * len(names), 3.8)
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1, wspace=0.05)
    for name, axis in zip(names, axes.flat, strict=True):
        _panel(axis, name, rows)
    return figure


def _panel(axis: Any, name: str, rows: list[dict[str, Any]]) -> None:
    epochs = [row["epoch"] for row in rows]
    look: dict[str, Any] = {"lw": 1.8, "markersize": 3.5}
    look["marker"] = "o" if len(rows) <= 30 else None  # of one epoch there is no line to see
    for column, label, colour in (
        (name, "training", "#2f6db3"),
        (f"val_{name}", "validation", "#e07b28"),
    ):
        if any(column in row for row in rows):
            values = [_number(row.get(column)) for row in rows]
            axis.plot(epochs, values, color=colour, label=label, **look)
    axis.set_title(name, fontsize=11, loc="left", fontweight="bold")
    axis.set_xlabel("epoch")
    axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axis.grid(color="#dddddd", linewidth=0.7)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    if axis.get_lines():
        axis.legend(frameon=False)


def _number(value: Any) -> float:
    return float(value) if value is not None and math.isfinite(value) else math.nan
