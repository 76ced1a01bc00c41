"""Where compiled kernels are kept from one run to the next.

    md.config.cache_folder / kernels-0123456789ab / ...

Numba notices a change in the file of a kernel, but not one in another file whose helpers,
intrinsics or constants the kernel was compiled with (its twin's, for example): the old machine code
would run on. So the folder's name is a hash of all these files. (What depends on the CPU Numba
keeps apart itself.)
"""

import contextlib
import functools
import hashlib
import os
import re
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llvmlite
import numba

from minidl.config import config

__all__ = ["disk_cache", "files_and_bytes", "folder", "forget", "own_files", "why_not"]

UNUSED_DAYS = 30  # after so many, the folder of other sources is removed
SETTINGS = ("OPT", "BOUNDSCHECK", "DEBUGINFO_DEFAULT", "LOOP_VECTORIZE", "SLP_VECTORIZE")
SOURCES = (Path(__file__).parent, Path(__file__).parents[1] / "reference")

THIS_PROCESS = uuid.uuid4().hex[:8]

_setting = threading.RLock()


def _key() -> str:
    """Twelve hexadecimal digits that stand for all that makes the machine code."""
    found = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__}".encode())
    for name in SETTINGS:
        found.update(f"{name}={getattr(numba.config, name, None)}".encode())
    for folder in SOURCES:
        for file in sorted(folder.glob("*.py")):
            content = file.read_bytes()
            found.update(f"{folder.name}/{file.name} {len(content)} ".encode() + content)
    return found.hexdigest()[:12]


def _prepare() -> tuple[Path | None, str]:
    """The folder, made if need be, or None and why not."""
    base = config.cache_folder
    if base is None:
        return None, "this user has no home folder"
    path = base / f"kernels-{_key()}"
    try:
        is_new = not path.exists()
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
        os.utime(path)  # says that it is in use
    except OSError as error:
        return None, f"{path}: {error.strerror or error}"
    if is_new:
        _remove_unused(base)
    return path, ""


def _remove_unused(base: Path) -> None:
    oldest = time.time() - UNUSED_DAYS * 24 * 3600
    for other in base.glob("kernels-*"):
        with contextlib.suppress(OSError):
            if re.fullmatch("kernels-[0-9a-f]{12}", other.name) and other.stat().st_mtime < oldest:
                shutil.rmtree(other, ignore_errors=True)


@functools.cache
def _prepared() -> tuple[Path | None, str]:
    return _prepare()


def folder() -> Path | None:
    """The folder for these sources; None where it can't be written."""
    return _prepared()[0]


def why_not() -> str:
    """Why there is no folder; "" if there is one."""
    return _prepared()[1]


@contextlib.contextmanager
def disk_cache() -> Iterator[bool]:
    """Numba's decorators inside keep what they compile in the folder; False if there is none.

    The setting is put back: other users of Numba in this process keep their own.
    """
    path = folder()
    if path is None:
        yield False
        return
    with _setting:
        before = numba.config.CACHE_DIR  # type: ignore[attr-defined]
        numba.config.CACHE_DIR = str(path)  # type: ignore[attr-defined]
        try:
            yield True
        finally:
            numba.config.CACHE_DIR = before  # type: ignore[attr-defined]


def own_files(compiled: Any) -> Any:
    """Let this process write files that no other process writes.

    Numba numbers the files of a kernel: two processes that compile it at once, each for types of
    its own, would both write number 1, and one of them run the other's code from then on.
    """
    file = getattr(getattr(compiled, "_cache", None), "_cache_file", None)
    pattern = getattr(file, "_data_name_pattern", "")
    if "{number" in pattern:
        pattern = pattern.replace("{number", f"{THIS_PROCESS}-{{number")
        file._data_name_pattern = pattern  # type: ignore[union-attr]
    return compiled


def files_and_bytes() -> tuple[int, int]:
    """Files of machine code in the folder, and the bytes of these and of their indices."""
    path = folder()
    sizes = [(file.suffix, file.stat().st_size) for file in path.rglob("*.nb?")] if path else []
    return sum(suffix == ".nbc" for suffix, _ in sizes), sum(size for _, size in sizes)


def forget() -> None:
    """Remove what is in the folder: a file in it can't be read."""
    path = folder()
    if path is not None:
        shutil.rmtree(path, ignore_errors=True)
