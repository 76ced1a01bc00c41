"""-o: the picture that a command draws."""

from pathlib import Path
from typing import Any

from minidl.cli.figures import check_folder
from minidl.errors import ArgumentError

__all__ = ["check_picture", "save_picture"]

FORMATS = (".png", ".pdf", ".svg")


def check_picture(path: Path) -> None:
    """Raise now if the picture can't be written later.

    ArgumentError for another format, FileNotFoundError for a missing folder.
    """
    if path.suffix not in FORMATS:
        raise ArgumentError(f"--output expected a {', '.join(FORMATS)} file, got {path}")
    check_folder(path)


def save_picture(figure: Any, path: Path) -> None:
    """Write a matplotlib Figure to a file, whole or not at all."""
    from minidl.io.atomic import atomic_write

    with atomic_write(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:], dpi=150)
