"""The other side of `isolated`: what runs in the process that reads a foreign HDF5 file."""

import contextlib
import json
import os
import sys
from typing import Any, BinaryIO

import numpy as np

from minidl.errors import MinidlError
from minidl.io.guarded import open_guarded

resource: Any
try:
    import resource
except ImportError:  # Windows
    resource = None

ROOM = 2**28  # bytes for the library and its buffers, beside the arrays


def main() -> None:
    """Read one request from standard input, and answer it on standard output."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what any library prints goes where nobody reads it
    request = json.loads(sys.stdin.buffer.readline())
    _limit(request["seconds"])
    try:
        _answer(answers, request)
    except MinidlError as error:
        _send(answers, {"error": str(error), "errno": None})
    except OSError as error:
        _send(answers, {"error": error.strerror or str(error), "errno": error.errno})
    answers.flush()


def _limit(seconds: int) -> None:
    """No more time than the file can need, no files written, no core dumped."""
    if resource is not None:
        _set(resource.RLIMIT_CPU, seconds)
        _set(resource.RLIMIT_CORE, 0)
        _set(resource.RLIMIT_FSIZE, 0)


def _set(kind: int, most: int) -> None:
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(kind, (most, resource.getrlimit(kind)[1]))


def _limit_memory(arrays: int) -> None:
    """No more memory from here on than the library takes, and twice `arrays` bytes."""
    with contextlib.suppress(OSError, ValueError), open("/proc/self/statm") as statm:  # Linux
        used = int(statm.read().split()[0]) * resource.getpagesize()
        _set(resource.RLIMIT_AS, used + ROOM + 2 * arrays)


def _answer(answers: BinaryIO, request: dict[str, Any]) -> None:
    _limit_memory(0)
    with open_guarded(request["path"], request["max_bytes"]) as file:
        datasets = file.datasets()
        _send(
            answers,
            {
                "attributes": file.attributes(),
                "datasets": [[n, e.shape, e.dtype.str] for n, e in datasets.items()],
            },
        )
        wanted = json.loads(sys.stdin.buffer.readline())
        _limit_memory(max((datasets[name].cost for name in wanted), default=0))
        for name in wanted:
            array = file.read(name)
            _send(answers, {})
            answers.write(array.reshape(-1).view(np.uint8).data)  # flat: also without axes


def _send(answers: BinaryIO, message: dict[str, Any]) -> None:
    text = json.dumps(message).encode()
    answers.write(len(text).to_bytes(8, "little") + text)
    answers.flush()
