"""Resuming a run: checkpoints in its folder, and the settings that they are of."""

import json
from pathlib import Path
from typing import Any

from minidl.data.telling import Tell
from minidl.distributed.world import world
from minidl.errors import FileFormatError, StateError
from minidl.io.atomic import atomic_write
from minidl.io.plain_json import save_json, to_json
from minidl.train.checkpoint import Checkpoint
from minidl.train.run import Run
from minidl.train.trainer import Trainer

__all__ = ["CHECKPOINTS", "begin_folder", "check_begun", "resume_run", "resume_trainer"]

CHECKPOINTS = "checkpoints"
# Of the settings, those that a resumed training must share with the one it resumes
DECISIVE = {
    "train": (
        "model", "arguments", "weights", "data", "size", "file_column", "label_column", "task",
        "epochs", "batch_size", "optimizer", "schedule", "accumulate", "shards", "patience",
        "label_smoothing", "class_weights", "augment", "mirror", "rand_augment", "mixup", "cutmix",
        "seed",
    ),
    "finetune": (
        "model", "arguments", "weights", "data", "size", "file_column", "label_column", "task",
        "epochs", "batch_size", "shards", "lr", "freeze", "mirror", "mixup", "cutmix",
        "class_weights", "seed",
    ),
}  # fmt: skip


def resume_run(trainer: Trainer, run: Run, tell: Tell) -> None:
    """Resume the training whose checkpoints are in the run's folder, if there are any."""
    check_begun(run)
    last = resume_trainer(trainer, run.home / CHECKPOINTS)
    if last is not None:
        tell(f"going on after epoch {trainer.epoch}, from {last}")


def check_begun(run: Run, **more: Any) -> None:
    """Raise StateError if the checkpoints in the run's folder are of another training.

    more: what else decides it, such as how many images there are, beside the run's settings.
    Its settings stand beside them; where there are none yet, they are written.
    """
    if world().rank > 0:
        return
    folder, decisive = run.folder / CHECKPOINTS, DECISIVE[run.settings["command"]]
    beside = folder / "settings.json"
    plain = json.loads(to_json(run.settings, "Run: settings"))
    wanted = {name: plain[name] for name in decisive} | more
    if not any(folder.rglob("*.h5")):
        folder.mkdir(exist_ok=True)
        with atomic_write(beside) as temporary:
            temporary.write_text(json.dumps(wanted, indent=1) + "\n")
        return
    _check_alike(run.folder, _read_settings(beside), wanted, "output=")


def begin_folder(folder: Path, settings: dict[str, Any], resume: bool, who: str) -> None:
    """Write settings.json for a training in `folder`, or compare it with that of the one to resume.

    A new training removes the checkpoints of an older one. who: what errors call the caller.
    Raises StateError where the checkpoints to resume are of another training.
    """
    checkpoints, beside = folder / CHECKPOINTS, folder / "settings.json"
    wanted = json.loads(to_json(settings, who))
    checkpoints.mkdir(parents=True, exist_ok=True)
    if not (resume and any(checkpoints.glob("*.h5"))):
        for old in checkpoints.glob("*.h5"):
            old.unlink()
        save_json(beside, settings, who)
        return
    _check_alike(folder, _read_settings(beside), wanted, "output")


def _check_alike(folder: Path, begun: dict[str, Any], wanted: dict[str, Any], output: str) -> None:
    other = [name for name in wanted if begun.get(name) != wanted[name]]
    if other:
        told = ", ".join(
            f"{name}={begun.get(name)!r:.300}, not {wanted[name]!r:.300}" for name in other
        )
        raise StateError(
            f"{folder} holds a training begun with {told}: give the same arguments, or another "
            f"{output}"
        )


def resume_trainer(trainer: Trainer, folder: Path) -> Path | None:
    """Go on from the last checkpoint in a folder, and return it, if there is any."""
    last = Checkpoint.last(folder)
    if last is None:
        return None
    try:
        trainer.resume(last)
    except FileFormatError as error:
        raise FileFormatError(
            f"{error}: remove it to go on from the checkpoint before it, or {folder} to begin anew"
        ) from error
    return last


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise StateError(f"{path}: what the checkpoints beside it are of can't be read") from error
    return found if isinstance(found, dict) else {}
