"""Steps of the applications, beside the same programs in PyTorch on the same cores.

    python -m benchmarks.apps                    # all, about five minutes
    python -m benchmarks.apps srcnn gan --rounds 5

A step of style transfer is the loss of VGG-19's maps up to relu3_1 and its gradient with respect to
a picture; of SRCNN and ESPCN, a batch of 16 patches; of the GAN, one of each network with 64
pictures. Weights are random: the numbers don't matter here, and tests compare them. In each round
every side runs once, in a process of its own; printed are the medians of milliseconds a step.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import apps_in_minidl, apps_in_torch
from minidl.text import table

CASES = ("style", "srcnn", "espcn", "gan")
SIDES: dict[str, Any] = {"minidl": apps_in_minidl, "torch": apps_in_torch}
WARM = 3  # steps before the clock starts


def timed(step: Callable[[], Any], seconds: float) -> float:
    """Milliseconds a step, the median of as many as take `seconds`."""
    for _ in range(WARM):
        step()
    found: list[float] = []
    while sum(found) < seconds:
        start = time.perf_counter()
        step()
        found.append(time.perf_counter() - start)
    return 1000 * statistics.median(found)


def measured(case: str, side: str, options: argparse.Namespace) -> float:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.apps", "--one", case, side]
    command += ["--seconds", str(options.seconds)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def main(arguments: list[str] | None = None) -> int:
    """Run the cases, and print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.apps", description="Steps of applications.")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--seconds", type=float, default=5.0, metavar="X", help="of a measurement")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)  # CASE and SIDE, in this process
    options = parser.parse_args(arguments)
    if options.one:
        case, side = options.one
        step = getattr(SIDES[side], case)(np.random.default_rng(0))
        print(json.dumps(timed(step, options.seconds)))
        return 0
    if unknown := [case for case in options.cases if case not in CASES]:
        parser.error(f"there is no case {unknown[0]}, only {', '.join(CASES)}")
    rows = []
    for case in options.cases or CASES:
        found: dict[str, list[float]] = {side: [] for side in SIDES}
        for number in range(options.rounds):
            for side in SIDES:
                print(f"{case}, round {number + 1}: {side}", file=sys.stderr, flush=True)
                found[side].append(measured(case, side, options))
        ours, theirs = (statistics.median(found[side]) for side in SIDES)
        rows.append((case, f"{ours:.1f}", f"{theirs:.1f}", f"{theirs / ours:.2f}"))
    print(table([("ms/step", "minidl", "torch", "torch / minidl"), *rows]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
