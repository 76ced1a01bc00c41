"""Measurements that are made up."""

import pytest

from benchmarks import compare
from minidl.bench import short, work

FOUND = {
    "ms": 2.0, "images_per_second": 500.0, "disturbed": False, "others": 0.0, "tries": 1,
    "first_s": 1.0, "first_step_s": 0.5, "minor_faults": 0.0, "peak_mb": 100.0,
}  # fmt: skip


@pytest.fixture
def found():
    """What every job finds."""
    return FOUND


@pytest.fixture
def jobs(monkeypatch):
    """The jobs that would have run, with the environment of each."""
    seen = []

    def run(module, job, environment=None):
        seen.append((job, environment or {}))
        if job.get("kind") == "peak":
            return {"gflops": 100.0}
        if job.get("kind") == "kernels":
            return dict.fromkeys(job["ops"], FOUND)
        return FOUND if "kind" in job else dict.fromkeys(work.TASKS, FOUND)

    for module in (compare, short):
        monkeypatch.setattr(module, "run_job", run)
    return seen
