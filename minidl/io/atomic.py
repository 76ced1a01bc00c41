"""Writing a file so that a reader only ever sees the old one or the new one, whole.

The new content goes to a hidden file beside the target, reaches the disk, and takes the
target's name in one step. A kill at any instant leaves at worst a temporary file, which the next
write to the same target removes.
"""

import contextlib
import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

__all__ = ["atomic_write"]

# Temporaries that this process is writing now, perhaps in other threads.
_in_use: set[Path] = set()


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield the path of a temporary file to fill; it replaces `path` when the block ends well.

    When the block raises, the temporary file is removed and `path` is left as it was. A symbolic
    link is followed, and the file it points to is replaced; an old file's permissions are kept.
    Raises OSError, of the kind the system gave, with what minidl was doing and how to mend it.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    _in_use.add(temporary)
    try:
        _check_target(target)
        _remove_leftovers(target)
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield temporary
        _sync(temporary, os.O_RDWR)
        with contextlib.suppress(FileNotFoundError):
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except OSError as error:
        raise _refusal(error, path) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        _in_use.discard(temporary)
    # The new name reaches the disk with the folder. Some systems can't open a folder; the
    # file is in its place by now, so that is no failure.
    with contextlib.suppress(OSError):
        _sync(target.parent, os.O_RDONLY)


def _check_target(target: Path) -> None:
    folder = target.parent
    if target.is_dir():
        raise OSError(errno.EISDIR, "it is a folder: name a file in it")
    if target.exists() and not target.is_file():
        raise OSError(errno.EINVAL, "it is a device or a pipe, not a file")
    if not folder.exists():
        raise OSError(errno.ENOENT, f"the folder {folder} does not exist: create it first")
    if not folder.is_dir():
        raise OSError(errno.ENOTDIR, f"{folder} is a file, not a folder")


def _refusal(error: OSError, path: str | os.PathLike[str]) -> OSError:
    """The same kind of error as `error`, in a sentence that names `path`."""
    sentence = f"minidl could not write {os.fspath(path)}: {error.strerror or error}"
    if error.errno == errno.ENOSPC:
        sentence += ": make room, or write to another disk"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        sentence += ": check the permissions of its folder, or write elsewhere"
    return OSError(sentence) if error.errno is None else OSError(error.errno, sentence)


def _sync(path: Path, flags: int) -> None:
    """Wait until the disk holds what was written to `path`."""
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_leftovers(target: Path) -> None:
    """Remove temporaries for `target` that nobody is writing any more."""
    pattern = re.compile(re.escape(f".{target.name}.") + r"(\d+)-[0-9a-f]{8}\.tmp")
    with contextlib.suppress(OSError):
        for file in list(target.parent.iterdir()):
            found = pattern.fullmatch(file.name)
            if found and file not in _in_use and not _is_running_elsewhere(int(found[1])):
                file.unlink(missing_ok=True)


def _is_running_elsewhere(pid: int) -> bool:
    """Whether a process other than this one has the number `pid`."""
    if pid == os.getpid():
        # An earlier process of the same number left it: numbers repeat, in containers above all.
        return False
    if os.name != "posix":
        # There, os.kill(pid, 0) would end the process instead of asking after it.
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
