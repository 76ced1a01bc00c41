"""Where compiled kernels are kept from one run to the next.

    md.config.cache_folder / kernels-0123456789ab / ...

A kernel's machine code depends on more than its own file: on helpers, intrinsics and constants of
others. So the folder's name is a hash of all these files. Each kernel,
signature and CPU has a file of its own, which carries a checksum and is written whole or not at
all: processes that compile the same kernel at once do no harm.
"""

import contextlib
import functools
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
import uuid
import warnings
from pathlib import Path

import llvmlite
import numba

from minidl.config import config

__all__ = ["files_and_bytes", "folder", "read", "say_once", "why_not", "write"]

UNUSED_DAYS = 30  # after so many, the folder of other sources is removed
SETTINGS = ("OPT", "BOUNDSCHECK", "DEBUGINFO_DEFAULT", "LOOP_VECTORIZE", "SLP_VECTORIZE")
SOURCES = (Path(__file__).parent, Path(__file__).parents[1] / "constants")

MAGIC, ENDING = b"minidl machine code ", ".code"


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
    """Return the folder, made if need be, or None and why not."""
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
    """Return the folder for these sources; None where it can't be written."""
    return _prepared()[0]


def why_not() -> str:
    """Why there is no folder; "" if there is one."""
    return _prepared()[1]


@functools.cache
def say_once(text: str) -> None:
    """Warn of something about the folder that doesn't change a result."""
    warnings.warn(f"minidl: {text}", RuntimeWarning, stacklevel=2)


def read(key: str) -> tuple[str, str, bytes, bytes] | None:
    """What `write` kept under this key; None for nothing, or what is damaged or another's."""
    path = folder()
    if path is None:
        say_once(f"no folder for compiled kernels, every run compiles: {why_not()}")
        return None
    try:
        content = (path / f"{key}{ENDING}").read_bytes()
    except OSError:
        return None
    seal, _, rest = content.partition(b"\n")
    head, _, body = rest.partition(b"\n")
    if seal != MAGIC + hashlib.sha256(rest).hexdigest().encode():
        return None
    about = json.loads(head)
    if about["key"] != key:
        return None
    size = about["code"]
    return about["library"], about["entry"], body[:size], body[size:]


def write(key: str, library: str, entry: str, code: bytes, symbols: bytes) -> None:
    """Keep machine code, whole or not at all; raises OSError where it can't be written."""
    path = folder()
    if path is None:
        return
    about = {"key": key, "library": library, "entry": entry, "code": len(code)}
    head = json.dumps(about).encode()
    rest = head + b"\n" + code + symbols
    path.mkdir(parents=True, exist_ok=True)  # someone may have removed it
    temporary = path / f".{uuid.uuid4().hex}"
    try:
        temporary.write_bytes(MAGIC + hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest)
        os.replace(temporary, path / f"{key}{ENDING}")
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def files_and_bytes() -> tuple[int, int]:
    """Files of machine code in the folder, and their bytes."""
    path = folder()
    sizes = [file.stat().st_size for file in path.glob(f"*{ENDING}")] if path else []
    return len(sizes), sum(sizes)
