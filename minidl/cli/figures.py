"""--json: the figures of a command in a file."""

import argparse
import errno
from pathlib import Path
from typing import Any

__all__ = ["check_json", "save_figures"]


def check_json(options: argparse.Namespace) -> None:
    """Raise FileNotFoundError now if the file that --json names can't be written later."""
    path: Path | None = getattr(options, "json", None)
    if path is not None and not path.parent.is_dir():
        raise FileNotFoundError(
            errno.ENOENT, f"there is no folder {path.parent} to write {path} in"
        )


def save_figures(options: argparse.Namespace, content: dict[str, Any]) -> None:
    """Write figures to the file that --json names, if it was given, whole or not at all."""
    from minidl.io.plain_json import save_json

    path: Path | None = getattr(options, "json", None)
    if path is not None:
        save_json(path, content, options.command)
