"""`minidl bench --distributed`: how training scales over ranks, here and by a model of it.

    mpiexec -n 2 python -m minidl.bench.scaling JOB     # the ranks' share, as JSON

The model of a step on R ranks, for S shards that take c seconds each, gradients of n bytes,
messages that take a seconds (latency) and a network of b bytes a second:

    T(R) = c * ceil(S / R) + u + 2 (R - 1) a + 2 n (R - 1) / (R b)

u is what each rank does once a step, such as the optimizer's update. c and u are fitted to the
steps of one rank with S shards and half as many, a and b to sums of vectors of several lengths.
"""

import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np

import minidl as md
from minidl.bench.processes import machine
from minidl.errors import StateError
from minidl.text import table

__all__ = ["NETWORKS", "measure", "predicted", "render"]

NETWORKS = {"lenet5": (64, (32, 32, 1)), "resnet18": (16, (64, 64, 3))}  # rows a batch, an image
COMPARED = NETWORKS | {"vgg16": (16, (64, 64, 3))}  # beside threads
ARGUMENTS: dict[str, dict[str, Any]] = {"vgg16": {"input_size": 64}}
SHARDS = 8
SECONDS = 3.0  # of each measurement
FEWEST = 4  # steps, however long they take
LENGTHS = (2**8, 2**12, 2**16, 2**19, 2**22)  # of vectors of float32 that are summed
MACHINES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
OTHERS = {"1 Gbit/s": (50e-6, 110e6), "10 Gbit/s": (20e-6, 1.1e9), "100 Gbit/s": (2e-6, 11e9)}


def measure(most: int, tell: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """Measure with 1, 2, 4, ... ranks of one thread, up to `most`; the result is plain data.

    Strong scaling: a batch of one size in 8 shards. Weak: a batch, and shards, for each rank.
    Raises StateError where mpiexec isn't there, or fails.
    """
    counts = [n for n in MACHINES if n <= most]
    rows = []
    for ranks in counts:
        for name in NETWORKS:
            for kind, parts in (("strong", SHARDS), ("weak", SHARDS * ranks)):
                if kind == "strong" or ranks > 1:
                    tell(f"{name}, {kind} scaling, ranks: {ranks}")
                    job = {"network": name, "shards": parts, "rows": parts // SHARDS}
                    rows.append({"kind": kind, "ranks": ranks, **_run(ranks, job)})
    halves = [_run(1, {"network": n, "shards": SHARDS // 2, "rows": 0.5}) for n in NETWORKS]
    tell("sums of vectors")
    sums = _run(counts[-1], {"sums": True}) if most > 1 else {"sums": []}
    found = {"kind": "distributed", "machine": machine(), "rows": rows, "ranks": counts[-1]}
    found["threads"] = _beside_threads(counts[-1], tell) if most > 1 else []
    return {**found, "halves": halves, **sums, "models": _fitted(rows, halves, sums["sums"], most)}


def _beside_threads(count: int, tell: Callable[[str], None]) -> list[dict[str, Any]]:
    """Measure a batch of 8 shards on so many cores: by ranks of one thread, by one rank of as many
    threads, and by these without shards."""
    found = []
    for name in COMPARED:
        tell(f"{name}, {count} ranks, and {count} threads")
        job = {"network": name, "rows": 1}
        ranks = _run(count, job | {"shards": SHARDS})
        one = _run(1, job | {"shards": SHARDS, "threads": count})
        whole = _run(1, job | {"shards": 1, "threads": count})
        found.append({"ranks": ranks, "one": one["step"], "whole": whole["step"], "network": name})
    return found


def _run(ranks: int, job: dict[str, Any]) -> dict[str, Any]:
    beside = Path(sys.executable).with_name("mpiexec")
    launcher = str(beside) if beside.exists() else which("mpiexec")
    if launcher is None:
        raise StateError("bench: mpiexec isn't there: pip install 'minidl[distributed]'")
    command = [launcher, "-n", str(ranks), sys.executable, "-m", "minidl.bench.scaling"]
    done = subprocess.run([*command, json.dumps(job)], capture_output=True, text=True)
    if done.returncode:
        raise StateError(f"bench: {ranks} ranks ended with an error:\n{done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _fitted(rows: Any, halves: Any, sums: Any, ranks: int) -> dict[str, dict[str, float]]:
    """Return c, u, a, b and n of the model for each network, in seconds and bytes."""
    latency, bandwidth = 0.0, math.inf
    if sums:
        sizes, seconds = np.array(sums, np.float64).T
        # Least squares of relative errors: short messages count as much as long ones
        design = np.stack([np.ones_like(sizes), sizes], axis=1) / seconds[:, np.newaxis]
        (start, each), *_ = np.linalg.lstsq(design, np.ones_like(sizes), rcond=None)
        latency = max(float(start), 0.0) / (2 * (ranks - 1))
        bandwidth = 2 * (ranks - 1) / ranks / max(float(each), 1e-15)
    models = {}
    for half in halves:
        whole = next(r for r in rows if r["network"] == half["network"] and r["ranks"] == 1)
        shard = max(whole["step"] - half["step"], 0.0) / (SHARDS - SHARDS // 2)
        models[half["network"]] = {
            "shard": shard,
            "once": max(whole["step"] - SHARDS * shard, 0.0),
            "latency": latency,
            "bandwidth": bandwidth,
            "bytes": whole["bytes"],
        }
    return models


def predicted(model: dict[str, float], ranks: int, shards: int) -> float:
    """Return the seconds of a step by the model: see the module."""
    others = ranks - 1
    sums = 2 * others * model["latency"]
    sums += 2 * model["bytes"] * others / ranks / model["bandwidth"]
    return model["shard"] * math.ceil(shards / ranks) + model["once"] + sums


def render(result: dict[str, Any]) -> str:
    """Return the measurements beside the model, and what it tells of more machines, as tables."""
    models, rows = result["models"], result["rows"]
    cpu = result["machine"]
    parts = [f"{cpu['cpu']}, {cpu['cores']} cores; ranks of one thread, {cpu['date']}"]
    head = ("network", "scaling", "ranks", "ms a step", "in communication", "speedup", "model, ms")
    cells = []
    for row in rows:
        name, ranks = row["network"], row["ranks"]
        one = next(each for each in rows if each["network"] == name and each["ranks"] == 1)
        gain = one["step"] / row["step"] * (ranks if row["kind"] == "weak" else 1)
        ms = predicted(models[name], ranks, row["shards"]) * 1e3
        share = f"{row['communication'] / row['step']:.0%}"
        cells.append((name, row["kind"], str(ranks), f"{row['step'] * 1e3:.1f}", share,
                      f"{gain:.2f}", f"{ms:.1f}"))  # fmt: skip
    parts.append(table([head, *cells], left=2))
    parts += [_ranks_or_threads(result)] if result["threads"] else []
    parts += [_prospect(name, model) for name, model in models.items()]
    return "\n\n".join(parts)


def _ranks_or_threads(result: dict[str, Any]) -> str:
    """Return what to choose on this one machine, as a table."""
    count = result["ranks"]
    head = (
        "network", f"{count} ranks of 1 thread, ms", "in communication",
        f"1 rank of {count} threads, ms", "so fast are the ranks", "without shards, ms",
    )  # fmt: skip
    rows = [
        (each["network"], f"{each['ranks']['step'] * 1e3:.1f}",
         f"{each['ranks']['communication'] * 1e3:.1f} ms", f"{each['one'] * 1e3:.1f}",
         f"{each['one'] / each['ranks']['step']:.2f}", f"{each['whole'] * 1e3:.1f}")
        for each in result["threads"]
    ]  # fmt: skip
    return f"Ranks or threads, for a batch of {SHARDS} shards\n{table([head, *rows])}"


def _prospect(name: str, model: dict[str, float]) -> str:
    """Return the model's table: a batch for each machine, by network between them."""
    here = {"this machine": (model["latency"], model["bandwidth"])}
    networks = (here if math.isfinite(model["bandwidth"]) else {}) | OTHERS
    rows = []
    for ranks in MACHINES[1:]:
        speeds = []
        for latency, bandwidth in networks.values():
            other = model | {"latency": latency, "bandwidth": bandwidth}
            one = predicted(other, 1, SHARDS)
            speeds.append(f"{ranks * one / predicted(other, ranks, SHARDS * ranks):.1f}")
        rows.append((str(ranks), *speeds))
    told = (
        f"{name}, by the model: how many times as fast as one machine, each with a batch of its "
        f"own (weak scaling)\n{model['bytes'] / 1e6:.2f} MB of gradients, "
        f"{model['shard'] * 1e3:.2f} ms a shard, {model['once'] * 1e3:.2f} ms once a step"
    )
    return f"{told}\n{table([('machines', *networks), *rows])}"


# What the ranks do


def _main() -> None:
    job = json.loads(sys.argv[1])
    md.set_num_threads(job.get("threads", 1))
    found = _sums() if "sums" in job else _steps(job)
    if md.distributed.rank == 0:
        print(json.dumps(found))


def _sums() -> dict[str, Any]:
    """Bytes of a vector and seconds of its sum over all ranks, the median of several."""
    found = []
    for length in LENGTHS:
        vector, times = np.zeros(length, np.float32), []
        for _ in range(20):
            md.distributed.barrier()
            start = time.perf_counter()
            md.distributed.all_reduce(vector)
            times.append(time.perf_counter() - start)
        found.append([vector.nbytes, statistics.median(times)])
    return {"sums": found}


def _steps(job: dict[str, Any]) -> dict[str, Any]:
    """Seconds of a training step, and of communication in it: of several the lower quartile, which
    others on the machine disturb less than the median."""
    from minidl.distributed.world import world
    from minidl.train import Callback, Trainer

    rows, shape = COMPARED[job["network"]]
    count, random = int(rows * job["rows"]), np.random.default_rng(0)
    md.manual_seed(0)
    more = ARGUMENTS.get(job["network"], {})
    model = md.models.create(job["network"], num_classes=10, **more)
    x = random.standard_normal((count, *shape)).astype(np.float32)
    batch = (x, random.integers(0, 10, count))
    moments = []

    class Clock(Callback):
        def on_batch_end(self, trainer: Any, means: dict[str, float]) -> None:
            moments.append((time.perf_counter(), world().spent))

    optimizer = md.optim.SGD(model.parameters(), 1e-4, momentum=0.9)
    trainer = Trainer(model, optimizer, callbacks=[Clock()], shards=job["shards"])
    trainer.fit([batch] * 3, 1, progress=False)  # compiles, captures and proves
    pace = np.array([moments[-1][0] - moments[-2][0]])
    md.distributed.broadcast(pace)
    steps = max(FEWEST, int(SECONDS / max(float(pace[0]), 1e-3)))
    moments.clear()
    trainer.fit([batch] * (steps + 1), 2, progress=False)
    times, spent = np.diff(np.array(moments), axis=0).T
    return {
        "network": job["network"],
        "shards": job["shards"],
        "step": float(np.quantile(times, 0.25)),
        "communication": float(np.quantile(spent, 0.25)),
        "bytes": sum(p.data.nbytes for p in model.parameters()),
    }


if __name__ == "__main__":
    _main()
