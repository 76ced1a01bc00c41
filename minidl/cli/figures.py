"""--json and --csv: the figures of a command in a file."""

import argparse
import errno
from pathlib import Path
from typing import Any

import minidl as md
from minidl.errors import ArgumentError

__all__ = ["check_figures", "check_folder", "check_weights_file", "save_figures"]


def check_figures(options: argparse.Namespace) -> None:
    """Raise an error now if the file that --json or --csv names can't be written later.

    FileNotFoundError for want of its folder, ArgumentError if it is a folder itself.
    """
    for name in ("json", "csv"):
        path: Path | None = getattr(options, name, None)
        if path is not None:
            check_folder(path)
            if path.is_dir():
                raise ArgumentError(f"--{name} expected a file, and {path} is a folder")


def check_folder(path: Path) -> None:
    """Raise FileNotFoundError now if a file can't be written later, for want of its folder."""
    if not path.parent.is_dir():
        raise FileNotFoundError(
            errno.ENOENT, f"there is no folder {path.parent} to write {path} in"
        )


def check_weights_file(path: Path) -> None:
    """Raise an error now if weights can't be written there later, in minidl's own format."""
    check_folder(path)
    ours = path.suffix.lower() in (".h5", ".hdf5") and not path.name.endswith(".weights.h5")
    if path.is_dir() or not ours:
        what = "a folder" if path.is_dir() else path
        stem = path.stem.removesuffix(".weights")
        raise ArgumentError(f"--output expected a file of weights, such as {stem}.h5, got {what}")


def save_figures(options: argparse.Namespace, content: dict[str, Any]) -> None:
    """Write figures to the file that --json names, if it was given, whole or not at all.

    Of an MPI run, rank 0 does.
    """
    from minidl.io.plain_json import save_json

    path: Path | None = getattr(options, "json", None)
    if path is not None and md.distributed.rank == 0:
        save_json(path, content, options.command)
