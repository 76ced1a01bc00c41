"""Runs a script in the ranks of an MPI run: `mpiexec -n N python ...`."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from shutil import which
from typing import Any, NamedTuple

import pytest

import minidl as md

HERE = Path(__file__).parent
SECONDS = 300  # that a run may take, kernels compiled for the first time included


class Done(NamedTuple):
    status: int
    out: str
    err: str
    seconds: float

    @property
    def found(self) -> Any:
        """The JSON that the run printed last, which one rank alone does."""
        assert self.status == 0, self.err
        lines = [line for line in self.out.splitlines() if line.startswith("{")]
        assert len(lines) == 1, self.out
        return json.loads(lines[0])


def command() -> list[str]:
    """mpiexec's; skips the test where it can't be."""
    pytest.importorskip("mpi4py", reason="needs the extra `distributed`: mpi4py isn't installed")
    beside = Path(sys.executable).with_name("mpiexec")
    found = str(beside) if beside.exists() else which("mpiexec")
    if found is None:
        pytest.skip("needs mpiexec, which the extra `distributed` brings")
    text = subprocess.run([found, "--version"], capture_output=True, text=True).stdout
    return [found, *(["--oversubscribe", "--allow-run-as-root"] if "OpenRTE" in text else [])]


def environment(**more: str) -> dict[str, str]:
    path = [str(Path(md.__file__).parents[1]), str(HERE), str(HERE.parent)]
    return os.environ | {"PYTHONPATH": os.pathsep.join(path), **more}


def run(ranks: int | None, *arguments: object, cwd: Path | None = None, **more: str) -> Done:
    """Run Python in so many ranks, or with None without a launcher; returns when all have ended."""
    launcher = [] if ranks is None else [*command(), "-n", str(ranks)]
    start = time.perf_counter()
    done = subprocess.run(
        [*launcher, sys.executable, *map(str, arguments)],
        capture_output=True, text=True, cwd=cwd, env=environment(**more), timeout=SECONDS,
    )  # fmt: skip
    return Done(done.returncode, done.stdout, done.stderr, time.perf_counter() - start)
