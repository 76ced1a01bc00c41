"""The ranks of a run that an MPI launcher started: `mpiexec -n 4 python train.py`.

    md.distributed.rank, md.distributed.size     # 0 and 1 without a launcher
    md.distributed.all_reduce(array)             # the sum over all ranks, in place

mpi4py is imported when one of these is first asked for, and only under a launcher. All ranks must
make the same calls in the same order; where one of them fails, ends or hangs, all end, with one
message. See docs/distributed.md, and `train.Trainer`, which uses the ranks by itself.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from minidl.distributed.faults import end_together
from minidl.distributed.launch import is_launched
from minidl.distributed.world import world

if TYPE_CHECKING:
    rank: int
    size: int

__all__ = ["all_reduce", "barrier", "broadcast", "is_launched", "rank", "size"]

if is_launched():
    end_together()


def __getattr__(name: str) -> Any:
    if name in ("rank", "size"):
        return getattr(world(), name)
    raise AttributeError(f"module 'minidl.distributed' has no attribute {name!r}")


def all_reduce(array: np.ndarray) -> None:
    """Replace an array, in place, by the sum of all ranks' arrays; the same bits on all of them.

    array: numbers, contiguous, of one shape and dtype on all ranks. Ranks are summed in one order,
    a binary tree over their numbers, so that the same run gives the same bits again.
    Raises DTypeError for other arrays, ArgumentError for one that can't be changed in place.
    """
    world().all_reduce(array)


def broadcast(array: np.ndarray, root: int = 0) -> None:
    """Replace an array of any shape, in place, by that of the rank `root`.

    Raises as `all_reduce` does, and ArgumentError for a root that is no rank.
    """
    world().broadcast(array, root)


def barrier() -> None:
    """Return when all ranks have come here."""
    world().barrier()
