"""Damaged and hostile files by the thousand: python tests/io/fuzz.py --count 10000 [--own].

Each is loaded, in a worker process. It is a violation if the worker dies, takes more than SECONDS
or more memory than it may, raises what isn't documented, loads part of what it refuses, or takes a
damaged file of minidl's for a good one. The files that show it are kept.
"""

import argparse
import json
import os
import random
import resource
import select
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

import mutations  # noqa: E402
import numpy as np  # noqa: E402
import specimens  # noqa: E402
from stand_in import same  # noqa: E402

import minidl as md  # noqa: E402
from minidl import models, optim  # noqa: E402
from minidl.errors import FileFormatError, StateError  # noqa: E402
from minidl.io.isolated import read_isolated  # noqa: E402
from minidl.text import table  # noqa: E402

SECONDS = 20  # for one file
PATIENCE = 150  # after which a worker is killed
MAX_BYTES = 2**26
ALLOWANCE = 2**28  # bytes beside the arrays
DATA = Path(os.environ.get("MINIDL_DATA") or HERE.parents[2] / "shared" / "data") / "hdf5_pyfive"


class Fuzzer:
    """Cases by number, each the same whenever it is asked for. own: of minidl's own files."""

    def __init__(self, folder, seed=0, own=False):
        self.folder, self.seed, self.own = Path(folder), seed, own
        if own:
            self.specimens = specimens.own(self.folder)
        else:
            self.specimens = specimens.foreign(DATA if DATA.is_dir() else None)
        self.room = _peak("self") + MAX_BYTES + ALLOWANCE
        self.child_room = max(self.room, _peak("children"))

    def case(self, number):
        """Load one mutant: {"label", "outcome", "wrong", "seconds", "peak", "file"}."""
        rng = random.Random(f"{self.seed} {number} {self.own}")
        kind = rng.choice(sorted({specimen.kind for specimen in self.specimens}))
        specimen = rng.choice([each for each in self.specimens if each.kind == kind])
        sealed = True
        if self.own:
            label, content, sealed = mutations.mutate_own(rng, specimen)
        else:
            label, content = mutations.mutate_foreign(rng, specimen)
        path = self.folder / f"case {number}{Path(specimen.name).suffix}"
        path.write_bytes(content)
        damaged = self.own and not sealed and content != specimen.content
        _forget_peak()
        start = time.perf_counter()
        outcome, wrong = outcome_of(specimen.kind, path)
        seconds = time.perf_counter() - start
        peak = _peak("self")
        if damaged and outcome != "FileFormatError":
            wrong = wrong or f"damaged, but {outcome}"
        if seconds > SECONDS:
            wrong = f"took {seconds:.1f} s"
        if peak > self.room:
            wrong = f"took {peak / 2**20:.0f} MiB of {self.room / 2**20:.0f}"
        if _peak("children") > self.child_room:  # the largest of all children so far
            self.child_room = _peak("children")
            wrong = f"the child took {self.child_room / 2**20:.0f} MiB"
        if not wrong:
            path.unlink()
        return {
            "label": f"{specimen.kind}: {label}", "outcome": outcome, "wrong": wrong,
            "seconds": seconds, "peak": peak, "file": str(path),
        }  # fmt: skip


def outcome_of(kind, path):
    """(what happened, what is wrong about it)."""
    model = models.lenet5(1) if kind == "network" else specimens.Net()
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    before, shapes = _held(model, optimizer), {n: p.shape for n, p in model.named_parameters()}
    outcome = "loaded"
    try:
        _load(kind, path, model, optimizer)
    except (FileFormatError, StateError) as error:
        outcome = type(error).__name__
        if not same(_held(model, optimizer), before):
            return outcome, "refused, but something was loaded"
    except OSError as error:
        outcome = "OSError"
        if not (error.strerror or "").startswith(f"minidl could not read {path}"):
            return outcome, f"unclear: {error!r:.300}"
    except BaseException as error:  # Rust's panics are no Exceptions
        if isinstance(error, KeyboardInterrupt):
            raise
        return type(error).__name__, f"raised {error!r:.300}"
    else:
        if shapes != {n: p.data.shape for n, p in model.named_parameters()}:
            return outcome, "loaded other shapes"
    return outcome, ""


def _load(kind, path, model, optimizer):
    if kind == "network":
        models.load(path)
    elif kind == "plain":
        read_isolated(path, lambda listing: listing.datasets, MAX_BYTES)
    elif kind == "checkpoint":
        md.load_checkpoint(path, model, optimizer, max_bytes=MAX_BYTES)
    else:
        md.load_weights(model, path, strict=False, max_bytes=MAX_BYTES)


def _arrays(state, name):
    """All that a nested state holds, as arrays by path."""
    if isinstance(state, dict):
        parts = state.items()
    elif isinstance(state, list | tuple):
        parts = enumerate(state)
    else:
        return {name: state if isinstance(state, np.ndarray) else np.array(repr(state))}
    return {k: a for key, part in parts for k, a in _arrays(part, f"{name}.{key}").items()}


def _held(model, optimizer):
    """All that a checkpoint is loaded into."""
    generators = {"minidl": md.random.get_state(), "python": random.getstate()}
    states = {"optimizer": optimizer.state_dict(), "generators": generators}
    return model.state_dict() | _arrays(states, "held")


def _peak(whose):
    """The most memory, in bytes, that this process held since `_forget_peak`, or any child ever."""
    if whose == "children":
        return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def _forget_peak():
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


# Many


def work(arguments):
    """What a worker does: tell of each case, on a line, when it begins and how it ended."""
    fuzzer = Fuzzer(arguments.folder, arguments.seed, arguments.own)
    for number in range(arguments.first, arguments.count, arguments.jobs):
        print(json.dumps({"number": number}), flush=True)
        print(json.dumps({"number": number, **fuzzer.case(number)}), flush=True)


class Summary:
    def __init__(self, kept):
        self.kept, self.outcomes, self.violations = Path(kept), {}, []
        self.slowest = self.largest = 0
        self._lock = threading.Lock()

    def add(self, number, label, outcome, wrong, seconds=0.0, peak=0, file=None):
        with self._lock:
            self.outcomes.setdefault(label, Counter())[outcome] += 1
            self.slowest, self.largest = max(self.slowest, seconds), max(self.largest, peak)
            if wrong:
                self.kept.mkdir(exist_ok=True, parents=True)
                if file and Path(file).exists():
                    shutil.move(file, self.kept / Path(file).name)
                line = f"case {number}, {label}: {wrong}"
                self.violations.append(line)
                print(line, flush=True)

    def __str__(self):
        names = sorted({outcome for counts in self.outcomes.values() for outcome in counts})
        rows = [["what was done", *names]]
        for label, counts in sorted(self.outcomes.items()):
            rows.append([label, *(str(counts[name] or "") for name in names)])
        total = sum(self.outcomes.values(), Counter())
        rows.append(["all", *(str(total[name]) for name in names)])
        counts = (
            f"{sum(total.values())} files; the slowest took {self.slowest:.2f} s, the largest "
            f"process {self.largest / 2**20:.0f} MiB; {len(self.violations)} violations"
        )
        return f"{table(rows)}\n{counts}"


def supervise(arguments, job, summary):
    """Keep a worker at work on every `jobs`-th case, and note those that kill it."""
    first = job
    while first < arguments.count:
        with tempfile.TemporaryDirectory(prefix="minidl fuzz ") as folder:
            command = [sys.executable, __file__, "--worker", folder, "--first", str(first)]
            command += ["--count", str(arguments.count), "--seed", str(arguments.seed)]
            command += ["--jobs", str(arguments.jobs), *["--own"] * arguments.own]
            with (
                tempfile.TemporaryFile("w+") as errors,
                subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors) as worker,
            ):
                first = _watch(worker, first, arguments, summary, folder, errors)


def _watch(worker, first, arguments, summary, folder, errors):
    """Note a worker's results; the case that the next worker begins with."""
    under_way = None
    while True:
        ready, _, _ = select.select([worker.stdout], [], [], PATIENCE)
        line = worker.stdout.readline() if ready else b""
        if not line:
            break
        result = json.loads(line)
        under_way = result["number"] if len(result) == 1 else None
        if len(result) > 1:
            first = result["number"] + arguments.jobs
            summary.add(**result)
            if result["number"] % 500 < arguments.jobs:
                print(f"... {result['number']}", flush=True)
    worker.kill()
    if first >= arguments.count:
        return first
    errors.seek(0)
    how = f"the worker ended ({worker.wait()}): {errors.read()[-300:]}"
    if under_way is None:
        raise RuntimeError(how)
    files = list(Path(folder).glob(f"case {under_way}.*"))
    summary.add(under_way, "death", "death", how, file=files[0] if files else None)
    return under_way + arguments.jobs


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--own", action="store_true", help="minidl's own files, not others'")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument(
        "--keep", default="runs/fuzz", help="where to put the files that showed a bug"
    )
    parser.add_argument("--worker", dest="folder", help=argparse.SUPPRESS)
    parser.add_argument("--first", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args(arguments)
    if arguments.folder:
        return work(arguments)
    summary = Summary(arguments.keep)
    threads = [
        threading.Thread(target=supervise, args=(arguments, job, summary))
        for job in range(arguments.jobs)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(summary)
    return 1 if summary.violations else 0


if __name__ == "__main__":
    sys.exit(main())
