"""Commands under mpiexec: one rank prints and writes, and all end together."""

import sys

from minidl.distributed.launch import is_launched

__all__ = ["end", "join_ranks", "shares"]

SHARED = ("train", "finetune", "evaluate")  # whose work the ranks share


def join_ranks() -> None:
    """Enter MPI, if a launcher started this; from then on, rank 0 prints for all.

    Raises ImportError, on one rank, where MPI can't be used.
    """
    if is_launched():
        from minidl.distributed import faults, world

        if world().rank > 0:
            faults.silence()


def shares(command: str) -> bool:
    """Return whether this rank has to run a command: all of one that is shared, else rank 0."""
    if command in SHARED or not is_launched():
        return True
    from minidl.distributed.world import alone, world

    rank = world().rank
    alone()
    return rank == 0


def end(text: str, status: int) -> int:
    """Print an error and return the exit status; where there are other ranks, end them too."""
    if is_launched():
        from minidl.distributed.faults import INTERRUPTED, fail, interrupted
        from minidl.distributed.world import world

        if world().size > 1:
            interrupted(text, status) if status == INTERRUPTED else fail(text, status)
    print(text, file=sys.stderr)
    return status
