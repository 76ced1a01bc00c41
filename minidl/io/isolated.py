"""Reading other people's HDF5 files in a process of its own.

The HDF5 library has had memory errors that a file can set off. So the library opens foreign files
only in a child that lives as long as one reading, may take no more memory and time than the file
can need, and hands over a list of what it found and plain bytes. Whatever becomes of the child,
the program gets an error.
"""

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minidl.errors import FileFormatError
from minidl.io.guarded import MAX_BYTES, check_max_bytes

__all__ = ["Listing", "read_isolated"]

SECONDS = 15  # of a core, for a small file; a byte more takes its time at SPEED
BUSY = 8  # times as long, where others use the cores
SPEED = 10 * 2**20  # bytes a second, on a slow disk and packed
MAX_LISTING = 2**28  # bytes of the list of attributes and datasets

# What the child runs. It needs two small modules: empty packages in the place of minidl and
# minidl.io keep it from importing all the rest, which would take longer than most readings.
PROGRAM = """
import sys, types
for name, folder in zip(("minidl", "minidl.io"), sys.argv[1:]):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [folder]
from minidl.io.reader_process import main
main()
"""


@dataclass
class Listing:
    """What an HDF5 file holds: attributes by path, and of each dataset shape and dtype."""

    attributes: dict[str, dict[str, Any]]
    datasets: dict[str, tuple[tuple[int, ...], np.dtype[Any]]]


def read_isolated(
    path: str | os.PathLike[str],
    wanted: Callable[[Listing], Iterable[str]],
    max_bytes: int = MAX_BYTES,
    called: str | None = None,
) -> tuple[Listing, dict[str, np.ndarray]]:
    """List the HDF5 file `path` and read the datasets that `wanted` names, in another process.

    max_bytes: the most memory that all its datasets together may take.
    called: what errors call the file, if not `path`.
    Raises FileFormatError for what the guarded reader refuses and for a file that kills the
    process or holds it up; OSError where the system refuses.
    """
    check_max_bytes(max_bytes)
    name = os.fspath(path)
    seconds = SECONDS + os.path.getsize(path) // SPEED
    with _child(name) as child:
        late: list[bool] = []
        timer = threading.Timer(
            BUSY * seconds,
            lambda: late.append(True) or child.kill(),  # type: ignore[func-returns-value]
        )
        timer.daemon = True
        timer.start()
        try:
            _tell(child, {"path": name, "max_bytes": max_bytes, "seconds": seconds})
            listing = _listing(_receive(child, "listing what it holds"), max_bytes)
            names = list(wanted(listing))
            _tell(child, names)
            return listing, {each: _array(child, each, listing.datasets[each]) for each in names}
        except _ChildError as error:
            child.kill()
            text = _explained(child.wait(), error, BUSY * seconds if late else 0)
            raise FileFormatError(f"{called or name}: {text}") from None
        except FileFormatError as error:
            raise FileFormatError(str(error).replace(name, called or name)) from None
        finally:
            timer.cancel()


class _ChildError(Exception):
    """The child stopped answering; says what it was doing."""


@contextlib.contextmanager
def _child(name: str) -> Iterator[subprocess.Popen[bytes]]:
    here = Path(__file__).parent  # -P: modules in the working folder are not to be found
    command = [sys.executable, "-P", "-c", PROGRAM, str(here.parent), str(here)]
    if not sys.executable:
        raise OSError(f"minidl could not read {name}: there is no Python interpreter to read it in")
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as child:
        try:
            yield child
        finally:
            child.kill()
            with contextlib.suppress(OSError):
                child.stdin.close()  # type: ignore[union-attr]


def _tell(child: subprocess.Popen[bytes], message: Any) -> None:
    try:
        child.stdin.write(json.dumps(message).encode() + b"\n")  # type: ignore[union-attr]
        child.stdin.flush()  # type: ignore[union-attr]
    except OSError as error:
        raise _ChildError("opening it") from error


def _receive(child: subprocess.Popen[bytes], doing: str) -> Any:
    """A message: its length in 8 bytes, and JSON; one that tells of an error is raised."""
    length = int.from_bytes(_bytes(child, 8, doing), "little")
    if length > MAX_LISTING:
        raise _ChildError(doing)
    try:
        message = json.loads(_bytes(child, length, doing))
    except (ValueError, RecursionError) as error:
        raise _ChildError(doing) from error
    if not isinstance(message, dict) or not isinstance(message.get("error", ""), str):
        raise _ChildError(doing)
    if "error" in message:
        number = message.get("errno")
        raise OSError(number, message["error"]) if number else FileFormatError(message["error"])
    return message


def _listing(message: dict[str, Any], max_bytes: int) -> Listing:
    """The child's answer, which a broken library may have made: nothing in it is believed."""
    try:
        datasets = {
            name: (tuple(map(int, shape)), np.dtype(str(dtype)))
            for name, shape, dtype in message["datasets"]
        }
        sizes = [math.prod(shape) * dtype.itemsize for shape, dtype in datasets.values()]
        plain = all(dtype.kind in "iuf" for _, dtype in datasets.values())
        if not plain or min(sizes, default=0) < 0 or sum(sizes) > max_bytes:
            raise ValueError
        return Listing(dict(message["attributes"]), datasets)
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        raise _ChildError("listing what it holds") from error


def _array(
    child: subprocess.Popen[bytes], name: str, entry: tuple[tuple[int, ...], np.dtype[Any]]
) -> np.ndarray:
    _receive(child, f"reading dataset {name!r}")
    shape, dtype = entry
    flat = np.empty(math.prod(shape) * dtype.itemsize, np.uint8)
    done = 0
    while done < len(flat):
        count = child.stdout.readinto(flat[done:].data)  # type: ignore[union-attr]
        if not count:
            raise _ChildError(f"reading dataset {name!r}")
        done += count
    return flat.view(dtype).reshape(shape)


def _bytes(child: subprocess.Popen[bytes], count: int, doing: str) -> bytes:
    found = child.stdout.read(count)  # type: ignore[union-attr]
    if len(found) < count:
        raise _ChildError(doing)
    return found


def _explained(status: int, error: _ChildError, seconds: int) -> str:
    what = "damaged or hostile"
    if seconds:
        what, how = f"{what}, or the machine is too busy", f"took more than {seconds} s"
    elif status < 0:
        with contextlib.suppress(ValueError):
            status = signal.Signals(-status).name  # type: ignore[assignment]
        how = f"crashed ({status})"
    else:
        how = f"failed (exit status {status})"
    return f"the HDF5 file is {what}: a process of its own {how} while {error}"
