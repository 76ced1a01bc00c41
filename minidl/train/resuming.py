"""Resuming `train.train`: checkpoints in the run's folder, and the settings that they are of."""

import json
from pathlib import Path
from typing import Any

from minidl.data.telling import Tell
from minidl.errors import FileFormatError, StateError
from minidl.io.atomic import atomic_write
from minidl.train.checkpoint import Checkpoint
from minidl.train.run import Run
from minidl.train.trainer import Trainer

__all__ = ["CHECKPOINTS", "resume_run"]

CHECKPOINTS = "checkpoints"
# Of the settings, those that a resumed training must share with the one it resumes
DECISIVE = (
    "model", "arguments", "weights", "data", "size", "file_column", "label_column", "epochs",
    "batch_size", "optimizer", "schedule", "accumulate", "patience", "label_smoothing",
    "class_weights", "augment", "mirror", "rand_augment", "mixup", "cutmix", "seed",
)  # fmt: skip


def resume_run(trainer: Trainer, run: Run, tell: Tell) -> None:
    """Resume the training whose checkpoints are in the run's folder, if there are any.

    Its settings stand beside them, so that another training isn't taken for it.
    """
    folder = run.folder / CHECKPOINTS
    last, beside = Checkpoint.last(folder), folder / "settings.json"
    wanted = json.loads(json.dumps({name: run.settings[name] for name in DECISIVE}))
    if last is None:
        folder.mkdir(exist_ok=True)
        with atomic_write(beside) as temporary:
            temporary.write_text(json.dumps(wanted, indent=1) + "\n")
        return
    begun = _read_settings(beside)
    other = [name for name in DECISIVE if begun.get(name) != wanted[name]]
    if other:
        told = ", ".join(f"{name}={begun.get(name)!r}, not {wanted[name]!r}" for name in other)
        raise StateError(
            f"{run.folder} holds a training begun with {told}: give the same arguments, or another "
            "output="
        )
    try:
        trainer.resume(last)
    except FileFormatError as error:
        raise FileFormatError(
            f"{error}: remove it to go on from the checkpoint before it, or {folder} to begin anew"
        ) from error
    tell(f"going on after epoch {trainer.epoch}, from {last}")


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise StateError(f"{path}: what the checkpoints beside it are of can't be read") from error
    return found if isinstance(found, dict) else {}
