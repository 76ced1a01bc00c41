"""Whether an MPI launcher started this process, told by the environment; MPI isn't touched."""

import ctypes
import os
import signal
import sys

__all__ = ["RANKS", "cores_of_this_rank", "is_launched"]

# What mpiexec of MPICH, Intel MPI and MVAPICH, what PMIx (Open MPI 5, Slurm's srun --mpi=pmix) and
# what Open MPI tell each process
RANKS = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")
LOCAL_SIZES = (
    "MPI_LOCALNRANKS", "OMPI_COMM_WORLD_LOCAL_SIZE", "MV2_COMM_WORLD_LOCAL_SIZE",
    "SLURM_NTASKS_PER_NODE",
)  # fmt: skip
PR_SET_PDEATHSIG = 1  # of Linux's prctl
MARK = "MINIDL_MPI_PROCESS"  # the process that is the rank; its children inherit the others


def is_launched() -> bool:
    """Return whether this process itself is a rank: one that a rank started is none."""
    started = any(name in os.environ for name in RANKS)
    return started and os.environ.get(MARK, str(os.getpid())) == str(os.getpid())


def cores_of_this_rank(cores: int) -> int:
    """Return how many of the cores that this process may use are its own.

    Ranks on one machine share the cores equally, unless the launcher has bound each to its own.
    """
    if not any(name in os.environ for name in RANKS) or cores < (os.cpu_count() or 1):
        return cores
    for name in LOCAL_SIZES:
        if os.environ.get(name, "").isdecimal():
            return max(1, cores // max(1, int(os.environ[name])))
    return cores


def _end_with_parent() -> None:
    """Let Linux kill this process when the one that started it, MPI's launcher, has ended.

    Elsewhere `Watch` finds out, once MPI has begun.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if is_launched():  # now: importing the rest takes a while
    os.environ[MARK] = str(os.getpid())
    _end_with_parent()
