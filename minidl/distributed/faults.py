"""How all ranks end when one of them can't go on: together, within seconds, with one message."""

import atexit
import contextlib
import faulthandler
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from typing import Any, NoReturn

__all__ = ["end_together", "ends_within", "fail", "silence", "without_mpi"]

GRACE = 1.0  # seconds that a rank waits for those before it to fail, and tell, first
STEP = 0.5  # seconds more for each rank, and more than PASSED_ON
LONGEST = 4.0
SAVING = 20.0  # seconds that rank 0 has to save after Ctrl-C
STUCK = 2.0  # seconds that MPI has to end all
ENTERED = 600.0  # seconds that a rank which has failed early waits for others to enter MPI
PASSED_ON = 0.3  # seconds for MPI's launcher to pass on what was told: an abort throws it away
INTERRUPTED = 130  # the exit status of a program that Ctrl-C ended


_failing = threading.Lock()
_stderr: list[Any] = []  # what errors are told on, where `silence` has closed the other


def silence() -> None:
    """Let this rank print nothing but errors that it alone has."""
    if not _stderr:
        _stderr.append(os.fdopen(os.dup(2), "w", buffering=1))
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
            stream.flush()
            os.dup2(nowhere, number)


def fail(text: str, status: int = 1) -> NoReturn:
    """Print a text and end all ranks with that status; called by several, the first one's counts.

    Rank 0 does so at once. Another first gives the ranks before it the time to do the same: an
    error that all have is told once, and one that a single rank has by that one.
    """
    from minidl.distributed.world import world

    ranks = world()
    _failing.acquire()  # once: another thread that fails, too, waits for the end
    delay = min(GRACE + STEP * ranks.rank, LONGEST) if ranks.rank > 0 else 0.0
    with ends_within(delay + PASSED_ON + STUCK):
        if ranks.rank > 0:
            time.sleep(delay)
            text = f"rank {ranks.rank} of {ranks.size}: {text}"
        sys.stdout.flush()
        print(text, file=_stderr[0] if _stderr else sys.stderr, flush=True)
        if ranks.size > 1:
            time.sleep(PASSED_ON)
        ranks.abort(status)
        os._exit(status)  # a rank alone


@contextlib.contextmanager
def ends_within(seconds: float) -> Iterator[None]:
    """End this process, with status 1, unless the block is left within so many seconds.

    The timer is a thread in C, which runs even if a call of MPI's never returns and holds Python's
    lock.
    """
    with open(os.devnull, "w") as nowhere:
        faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()


def end_together() -> None:
    """Let no rank end without the others: they would wait for it, in MPI or to enter it.

    An exception that nobody catches ends all.
    """
    atexit.register(_enter_at_least)
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _end_all


def _enter_at_least() -> None:
    """Enter MPI at the end, where that was never done: it takes all ranks."""
    if (ranks := _entered_late()) is not None:
        ranks.leave()


def _end_all(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    from minidl.distributed.world import is_entered

    if is_entered():
        if issubclass(kind, KeyboardInterrupt):  # all have got it; rank 0 may have much to save
            interrupted()
        fail("".join(traceback.format_exception(kind, error, trace)).rstrip())
    sys.__excepthook__(kind, error, trace)
    with ends_within(ENTERED):
        if (ranks := _entered_late()) is not None:
            sys.stdout.flush()
            time.sleep(PASSED_ON)
            ranks.abort(1)


def _entered_late() -> Any:
    """Return all ranks, if this process is one that hasn't entered MPI yet, and can."""
    from minidl.distributed.launch import is_launched
    from minidl.distributed.world import enter_mpi, world

    if not is_launched() or world.cache_info().currsize:
        return None
    try:
        enter_mpi()
    except (ImportError, RuntimeError):
        return None
    return world()


def interrupted(text: str = "interrupted", status: int = INTERRUPTED) -> NoReturn:
    """End all ranks after Ctrl-C, which all of them get; those but rank 0 let it save first.

    text: what is told; "" where that is done.
    """
    from minidl.distributed.world import world

    if world().rank > 0:
        time.sleep(SAVING)
    if not text:
        world().abort(status)
    fail(text, status)


def without_mpi(error: Exception) -> NoReturn:
    """End: an MPI launcher started this, and mpi4py isn't there. One rank says so."""
    from minidl.distributed.launch import RANKS

    ranks = [os.environ[name] for name in RANKS if name in os.environ]
    if ranks and ranks[0] != "0":
        time.sleep(GRACE)
        os._exit(1)
    kind = f"{type(error).__name__}: {error}"
    raise ImportError(
        "this was started by mpiexec, but MPI can't be used: pip install 'minidl[distributed]' "
        f"(mpi4py and MPICH; with another MPI, mpi4py alone). {kind}"
    ) from error
