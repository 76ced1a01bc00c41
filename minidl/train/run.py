"""Run: the folder that a training leaves behind."""

import errno
import os
import platform
import re
import tempfile
import time
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from minidl.distributed.world import world
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.io.atomic import atomic_write
from minidl.io.plain_json import save_json, to_json
from minidl.train.stopwatch import Stopwatch
from minidl.version import __version__

__all__ = ["Run"]

TEXTS = ("settings", "history", "results")
FILES = (*(f"{name}.json" for name in TEXTS), "weights.h5", "report.html")
PICTURES = ("mistakes", "heat", "augmented")  # folders of thumbnails
THUMBNAIL = 128  # pixels of the longer side, at most


class Run:
    """A run's folder: its settings, history and results, each file whole or not at all.

    folder: made now if it isn't there, so that what would be refused after the training is refused
        before it. Files of an earlier run stay until they are written again.
    settings: all that decides the result, plain values. `run.settings` has them, the versions of
        minidl, Python, NumPy, Numba and h5py, and the time of the start; nothing is written yet.
    watch: what times the run, from before it if it is given.
    home: the folder that was given. Of an MPI run rank 0 writes there; the others' `folder` is a
        temporary one, so that they do the same and leave nothing.
    results: what results.json holds.  report: the path of report.html. None until they are written.
    Raises OSError where the folder can't be made or written in.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        settings: dict[str, Any],
        watch: Stopwatch | None = None,
    ) -> None:
        self.home, self.watch = Path(folder), watch or Stopwatch()
        self.folder = self.home if world().rank == 0 else _elsewhere()
        self.settings: dict[str, Any] = {
            **settings,
            "minidl": __version__,
            "python": platform.python_version(),
            **{package: version(package) for package in ("numpy", "numba", "h5py")},
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        }
        self.results: dict[str, Any] | None = None
        self.report: Path | None = None
        to_json(self.settings, "Run: settings")  # refused now, not after the training
        _make(self.folder)

    def write(self, name: str, value: dict[str, Any]) -> Path:
        """Write "settings", "history" or "results" as JSON, NaN and infinities as null.

        Raises DTypeError for what is no plain value (text, numbers, arrays, paths, lists, dicts),
        OSError where it can't be written.
        Raises ArgumentError for another name.
        """
        if name not in TEXTS:
            raise ArgumentError(f"Run.write expected one of {', '.join(TEXTS)}, got {name!r}")
        path = self.folder / f"{name}.json"
        save_json(path, value, f"Run: {name}")
        return path

    def thumbnails(self, images: Iterable[np.ndarray], kind: str = "mistakes") -> list[str]:
        """Write small PNGs of images into a folder of the run's, in place of an earlier run's.

        images: each (H, W, 1) or (H, W, 3) uint8.  kind: the folder: "mistakes", "heat" or
        "augmented".  Returns their names in the run's folder, such as "mistakes/001.png".
        Raises ShapeError or DTypeError for other arrays, ArgumentError for another kind,
        ImportError without Pillow (extra `images`).
        """
        if kind not in PICTURES:
            raise ArgumentError(f"Run.thumbnails expected one of {PICTURES}, got {kind!r}")
        try:
            from PIL import Image
        except ImportError as error:
            raise ImportError(
                "thumbnails need the package Pillow: pip install 'minidl[images]'"
            ) from error
        folder, names = self.folder / kind, []
        folder.mkdir(exist_ok=True)
        for number, image in enumerate(images, 1):
            small = Image.fromarray(_pixels(image))
            small.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
            names.append(f"{kind}/{number:03d}.png")
            with atomic_write(self.folder / names[-1]) as temporary:
                small.save(temporary, format="PNG")
        for path in folder.iterdir():
            old = re.fullmatch(r"\d{3,}\.png", path.name)
            if old and f"{kind}/{path.name}" not in names:
                path.unlink()
        return names


def _elsewhere() -> Path:
    """Return a folder that is removed at the end."""
    made = tempfile.TemporaryDirectory(prefix="minidl-rank-")
    _kept.append(made)
    return Path(made.name)


_kept: list[Any] = []


def _make(folder: Path) -> None:
    try:
        if folder.exists() and not folder.is_dir():
            raise OSError(errno.ENOTDIR, "it is a file, not a folder")
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        for name in FILES:
            if (folder / name).is_dir():
                raise OSError(errno.EISDIR, f"{name} there is a folder")
        for name in PICTURES:
            if (folder / name).exists() and not (folder / name).is_dir():
                raise OSError(errno.ENOTDIR, f"{name} there is a file, not a folder")
    except OSError as error:
        reason = f"can't save in {folder}: {error.strerror or error}"
        raise OSError(error.errno, reason) from error


def _pixels(image: Any) -> np.ndarray:
    """(H, W) or (H, W, 3), as Pillow takes it."""
    pixels = np.asarray(image)
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or 0 in pixels.shape:
        raise ShapeError(
            f"Run.thumbnails expected images (H, W, 1) or (H, W, 3), got shape {pixels.shape}"
        )
    if pixels.dtype != np.uint8:
        raise DTypeError(f"Run.thumbnails expected uint8 images, 0 to 255, got {pixels.dtype}")
    return np.ascontiguousarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
