"""One competitor in a process of its own: measures one job and prints the result as JSON.

    python -m benchmarks.worker JOB

JOB is JSON, as benchmarks.compare and benchmarks.kernels make it.
"""

import importlib
import json
import sys
import time
from typing import Any

from benchmarks import limits
from benchmarks.networks import NETWORKS
from benchmarks.sides import SIDES, Side
from minidl.bench.measure import measure, peak_mb, warm_up

# Small: a network that has learnt its batch by heart computes with denormal numbers.
LR = 1e-4


def main(job: dict[str, Any]) -> dict[str, Any]:
    """The result of a job."""
    side = SIDES[job["side"]]
    found = _result(job, side)
    if job.get("avx2") and limits.has_more():
        limits.check(side.module)  # at last: what it imports may be no part of a first step
    return found


def _result(job: dict[str, Any], side: Side) -> dict[str, Any]:
    if job["kind"] == "peak":
        from benchmarks.peak import peak

        return peak(job["threads"], job["seconds"], job["repeats"])
    module = importlib.import_module(f"benchmarks.{side.module}")
    module.set_threads(job["threads"])
    if side.config:
        module.choose(**side.config)
    if job["kind"] == "kernels":
        return _kernels(job, module, side)
    return _network(job, module, side)


def _network(job: dict[str, Any], module: Any, side: Side) -> dict[str, Any]:
    """A training step or an inference: the first one from the process's start, then the rest."""
    imported_mb = peak_mb()
    network, batch = NETWORKS[job["network"]](), job["batch"]
    if job["kind"] == "train":
        step = module.train_step(network, batch, LR, **side.form)
    else:
        step = module.inference(network, batch, **side.form)
    built = time.time()
    step()
    done = time.time()
    first = {"first_s": done - job["started"], "first_step_s": done - built}
    if job.get("first_only"):
        return first
    warm_up(step, job["warm_up"])
    found = measure(step, job["seconds"], repeats=job["repeats"])
    speed = {"images_per_second": batch / found["ms"] * 1e3}
    return speed | found | first | {"peak_mb": peak_mb(), "imported_mb": imported_mb}


def _kernels(job: dict[str, Any], module: Any, side: Side) -> dict[str, Any]:
    """Each operation's time, by name."""
    from benchmarks.kernels import OPERATIONS

    found = {}
    for name in job["ops"]:
        op = OPERATIONS[name]
        prepare, run = module.operation(op.layers, op.shape, op.direction, **side.form)
        warm_up(run, job["warm_up"], prepare)
        found[name] = measure(run, job["seconds"], prepare, repeats=job["repeats"])
    return found


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
