"""The arguments of `train.train`, `finetune` and their like, checked before anything is done."""

import os
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from minidl.checks import flag, positive, real, whole
from minidl.errors import ArgumentError, DTypeError

__all__ = ["check_arguments", "check_paths", "check_settings", "choice", "several_paths"]


def _from_zero(who: str, name: str, value: Any) -> int:
    return whole(who, name, value, 0)


def _amount(who: str, name: str, value: Any) -> float:
    number = real(who, name, value)
    if number < 0:
        raise ArgumentError(f"{who}: {name} must be a number from 0 up, got {value!r}")
    return number


def _share(who: str, name: str, value: Any) -> float:
    number = real(who, name, value)
    if not 0 <= number < 1:
        raise ArgumentError(f"{who}: {name} must be a number from 0 to below 1, got {value!r}")
    return number


RULES = {
    "size": positive,
    "epochs": _from_zero,
    "batch_size": positive,
    "lr": _amount,
    "weight_decay": _amount,
    "patience": positive,
    "label_smoothing": _share,
    "accumulate": positive,
    "shards": positive,
    "workers": _from_zero,
    "rand_augment": positive,
    "mixup": _amount,
    "cutmix": _amount,
    "seed": _from_zero,
    "seeds": positive,
}


def check_settings(who: str, **given: Any) -> None:
    """Raise ArgumentError for an argument that is out of its range; those of no rule are flags.

    Otherwise it would come to light after the images were read, or in the last of several
    trainings. None stands for a default.
    """
    for name, value in given.items():
        if value is not None:
            RULES.get(name, flag)(who, f"{name}=", value)


def choice(who: str, name: str, value: Any, choices: Sequence[str]) -> str:
    """Return the one of `choices` that `value` is, in capitals or not.

    Raises ArgumentError, with near matches, for anything else.
    """
    if isinstance(value, str) and value.lower() in choices:
        return value.lower()
    near = get_close_matches(str(value).lower(), choices)
    hint = f": did you mean {' or '.join(near)}?" if near else ""
    raise ArgumentError(
        f"{who}: {name} must be one of {', '.join(choices)}, got {value!r:.60}{hint}"
    )


def check_arguments(who: str, arguments: Any) -> None:
    """Raise DTypeError unless these are names and values, or None."""
    if not isinstance(arguments, Mapping | None):
        raise DTypeError(f"{who}: arguments= must be a dict, got {type(arguments).__name__}")


def check_paths(who: str, **given: Any) -> None:
    """Raise DTypeError for an argument that is no path."""
    for name, value in given.items():
        if not isinstance(value, str | os.PathLike):
            raise DTypeError(f"{who}: {name}= must be a path, got {type(value).__name__}")


def several_paths(who: str, **given: Any) -> list[Path]:
    """Return an argument that is one path or several as a list, or raise DTypeError."""
    ((name, value),) = given.items()
    found = list(value) if isinstance(value, list | tuple) else [value]
    for each in found:
        check_paths(who, **{name: each})
    return list(map(Path, found))
