"""-o: the pictures that a command draws; and those that it reads."""

import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minidl.cli.figures import check_folder
from minidl.errors import ArgumentError, FileFormatError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["check_picture", "drawing_of", "read_pictures", "save_picture", "tell_skipped"]

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


def drawing_of(files: Sequence[Path], folder: Path | None, ending: str) -> dict[Path, Path]:
    """Return where each image is drawn in a folder that is made, as NAME-ending.png.

    Raises ArgumentError, before anything is made, where two would be drawn as one.
    """
    if folder is None:
        return {}
    drawn = [folder / f"{file.stem}-{ending}.png" for file in files]
    if len(set(drawn)) < len(drawn):
        twice = max(drawn, key=drawn.count)
        raise ArgumentError(f"two images would be drawn as {twice}: give them one by one")
    folder.mkdir(parents=True, exist_ok=True)
    return dict(zip(files, drawn, strict=True))


def read_pictures(
    files: Collection[Path], skipped: list[dict[str, str]]
) -> Iterator[tuple[Path, "np.ndarray"]]:
    """Yield each file that can be read, and its pixels, with a progress bar.

    skipped: gets {"file", "reason"} of those that can't.
    """
    from tqdm import tqdm

    from minidl.data import read_image
    from minidl.data.folder import reason_of

    for file in tqdm(files, unit="image", leave=False, disable=None):
        try:
            yield file, read_image(file)
        except (FileFormatError, OSError) as error:
            skipped.append({"file": str(file), "reason": reason_of(error, file)})


def tell_skipped(command: str, skipped: Sequence[dict[str, str]], found: int) -> int:
    """Print which files couldn't be read; return the command's exit status."""
    for row in skipped:
        print(f"minidl {command}: {row['file']}: {row['reason']}", file=sys.stderr)
    return 0 if not skipped else 1 if found else 2
