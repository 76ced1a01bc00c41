"""Where one rank goes wrong all end, with one message, and the last checkpoint is whole."""

import re

import pytest
from ranks import HERE, run

SCRIPT = HERE / "faulty.py"
RANKS = 3

FAULTS = {
    "raises": "something that only this rank knows",
    "drifts": "the ranks differ in the weights after epoch 1",
    "is-stopped": "rank 1 doesn't answer: it is stopped, or its machine is gone",
    "ends": "rank 1 has ended before the others",
    "ends-first": "rank 1 has ended before the others",
    "ends-early": "rank 1 has ended before the others",
    "raises-early": "something that only this rank knows",
    "nan": "the loss is nan at epoch 1, batch 1",
    "data": "the ranks differ in the data",
    "rows": "the ranks differ in the number of items: 46 on rank 0, 45 on rank 1",
    "version": "the ranks differ in the version of minidl: ",
    "lbfgs": "Trainer can't take LBFGS, which computes one loss",
    "seed": "the ranks differ in the seed, or what was drawn since",
}


@pytest.mark.parametrize(("kind", "message"), FAULTS.items(), ids=FAULTS)
def test_all_end_with_one_message(kind, message, tmp_path):
    done = run(RANKS, SCRIPT, kind, 1, tmp_path, 2)
    assert done.status != 0
    assert "done" not in done.out
    assert len(re.findall("Error: |doesn't answer|has ended", done.err)) == 1, done.err
    assert message in done.err


def test_rank_0_ends_first(tmp_path):
    """Both others notice."""
    done = run(RANKS, SCRIPT, "ends", 0, tmp_path, 2)
    assert done.status != 0
    assert done.err.count("rank 0 has ended before the others") == 1


CHILDREN = """
import os, subprocess, sys
import numpy as np
import minidl as md
ask = "import minidl as md; print(md.distributed.rank, md.distributed.size)"
child = [sys.executable, "-c", ask]  # before this process has entered MPI
assert subprocess.run(child, capture_output=True, text=True).stdout == "0 1\\n"
total = np.full(3, md.distributed.rank + 1.0)
if hasattr(os, "fork"):
    if (pid := os.fork()) == 0:
        sys.exit(0)
    os.waitpid(pid, 0)
md.distributed.all_reduce(total)
if md.distributed.rank == 0:
    print("sum", total[0])
"""


def test_children_are_no_ranks():
    done = run(RANKS, "-c", CHILDREN)
    assert (done.status, done.out) == (0, "sum 6.0\n"), done.err


def test_ranks_that_never_meet():
    done = run(RANKS, "-c", "import minidl")
    assert (done.status, done.out, done.err) == (0, "", "")


def test_an_error_that_all_have_is_told_once(tmp_path):
    """A folder that can't be made, since a file is there: rank 0 alone sees it."""
    (tmp_path / "file").write_text("")
    done = run(RANKS, SCRIPT, "none", 0, tmp_path / "file", 1)
    assert done.status != 0
    assert done.err.count("can't make the folder") == 1


def test_more_ranks_than_shards():
    done = run(5, HERE / "same_bits.py", "everything")
    assert done.status != 0
    assert done.err.count("shards=4, which are fewer than the 5 ranks") == 1


def test_mpi_without_mpi4py(tmp_path):
    (tmp_path / "mpi4py.py").write_text("raise ImportError('not installed')")
    code = "import sys; sys.path.insert(0, '.'); import minidl as md; print(md.distributed.rank)"
    done = run(RANKS, "-c", code, cwd=tmp_path)
    assert done.status != 0
    assert done.err.count("MPI can't be used: pip install 'minidl[distributed]'") == 1
