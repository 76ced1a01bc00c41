"""The other side of `isolated`: what runs in the process that reads a foreign HDF5 file."""

import contextlib
import json
import os
import sys
from typing import Any, BinaryIO

import numpy as np

from minidl.errors import MinidlError
from minidl.io.guarded import open_guarded

ROOM = 2**28  # bytes for the library and its buffers, beside the arrays


def main() -> None:
    """Read one request from standard input, and answer it on standard output."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what any library prints goes where nobody reads it
    request = json.loads(sys.stdin.buffer.readline())
    _limit(request["max_bytes"], request["seconds"])
    try:
        _answer(answers, request)
    except MinidlError as error:
        _send(answers, {"error": str(error), "errno": None})
    except OSError as error:
        _send(answers, {"error": error.strerror or str(error), "errno": error.errno})
    answers.flush()


def _limit(max_bytes: int, seconds: int) -> None:
    """No more memory and time than the file can need, no files written, no core dumped."""
    try:
        import resource
    except ImportError:  # Windows
        return
    limits = {resource.RLIMIT_CPU: seconds, resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: 0}
    with contextlib.suppress(OSError, ValueError), open("/proc/self/statm") as statm:
        used = int(statm.read().split()[0]) * resource.getpagesize()
        limits[resource.RLIMIT_AS] = used + 2 * max_bytes + ROOM
    for kind, most in limits.items():
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(kind, (most, resource.getrlimit(kind)[1]))


def _answer(answers: BinaryIO, request: dict[str, Any]) -> None:
    with open_guarded(request["path"], request["max_bytes"]) as file:
        datasets = file.datasets()
        _send(
            answers,
            {
                "attributes": file.attributes(),
                "datasets": [[n, e.shape, e.dtype.str] for n, e in datasets.items()],
            },
        )
        for name in json.loads(sys.stdin.buffer.readline()):
            array = file.read(name)
            _send(answers, {})
            answers.write(array.reshape(-1).view(np.uint8).data)  # flat: also without axes


def _send(answers: BinaryIO, message: dict[str, Any]) -> None:
    text = json.dumps(message).encode()
    answers.write(len(text).to_bytes(8, "little") + text)
    answers.flush()
