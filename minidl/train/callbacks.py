"""Callbacks: small objects that a Trainer tells what it does."""

import sys
from typing import Any

from tqdm.auto import tqdm

from minidl.train.history import describe

__all__ = ["Callback", "ProgressBar"]


class Callback:
    """Give those of these methods that you need; the others do nothing."""

    def on_fit_begin(self, trainer: Any, batches: int) -> None:
        """Training begins, with `batches` batches to go."""

    def on_batch_end(self, trainer: Any, means: dict[str, float]) -> None:
        """A batch is done; `means` are those of the epoch so far."""

    def on_epoch_end(self, trainer: Any, row: dict[str, Any]) -> None:
        """An epoch is done; `row` is its row of the history."""

    def on_fit_end(self, trainer: Any) -> None:
        """Training ends, also by an error or Ctrl-C."""

    def state_dict(self) -> dict[str, Any]:
        """What it has to remember when training is resumed, for a checkpoint."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where `state_dict` was taken."""


class ProgressBar(Callback):
    """A bar over the whole training with loss, metrics and the time left, and a line an epoch."""

    def on_fit_begin(self, trainer: Any, batches: int) -> None:
        pause = 0.1 if sys.stderr.isatty() else 10  # seconds between updates: few in a log file
        self._bar = tqdm(total=batches, unit="batch", dynamic_ncols=True, mininterval=pause)

    def on_batch_end(self, trainer: Any, means: dict[str, float]) -> None:
        self._bar.set_description(f"epoch {trainer.epoch + 1}", refresh=False)
        self._bar.set_postfix(
            {name: f"{value:.4f}" for name, value in means.items()}, refresh=False
        )
        self._bar.update()

    def on_epoch_end(self, trainer: Any, row: dict[str, Any]) -> None:
        self._bar.write(describe(row))
        sys.stdout.flush()  # so that a log file has each epoch as soon as it is done

    def on_fit_end(self, trainer: Any) -> None:
        self._bar.close()
