"""Commands under mpiexec: one rank prints and writes, and all end together."""

import argparse
import sys

from minidl.cli.arguments import INTERRUPTED
from minidl.distributed.launch import is_launched

__all__ = ["end", "join_ranks", "leave", "shares"]

# Commands whose work the ranks share; of some, what their first word says
SHARED = {"train": (), "finetune": (), "evaluate": (), "build": (), "caption": ("train",),
          "detect": ("train", "evaluate")}  # fmt: skip


def join_ranks() -> None:
    """Enter MPI, if a launcher started this; from then on, rank 0 prints for all.

    Raises ImportError, on one rank, where MPI can't be used.
    """
    if is_launched():
        from minidl.distributed import faults, world

        if world().rank > 0:
            faults.silence()


def shares(options: argparse.Namespace) -> bool:
    """Return whether this rank has to run a command: all of one that is shared, else rank 0."""
    if not is_launched():
        return True
    if (words := SHARED.get(options.command)) is not None:
        given = getattr(options, "words", None) or getattr(options, "images", None)
        if not words or (isinstance(given, list) and given[0] in words):
            return True
    from minidl.distributed.world import alone, world

    rank = world().rank
    alone()
    return rank == 0


def leave(status: int) -> int:
    """Return a command's exit status; where Ctrl-C ended it, end the other ranks, too."""
    if is_launched() and status == INTERRUPTED:
        from minidl.distributed.faults import interrupted
        from minidl.distributed.world import world

        if world().size > 1:
            interrupted("", status)
    return status


def end(text: str, status: int) -> int:
    """Print an error and return the exit status; where there are other ranks, end them too."""
    if is_launched():
        from minidl.distributed.faults import fail, interrupted
        from minidl.distributed.world import world

        if world().size > 1:
            interrupted(text, status) if status == INTERRUPTED else fail(text, status)
    print(text, file=sys.stderr)
    return status
