"""Steps of the applications, beside the same programs in PyTorch on the same cores.

    python -m benchmarks.apps                    # all, about five minutes
    python -m benchmarks.apps srcnn gan --rounds 5

A step of style transfer is the loss of VGG-19's maps up to relu3_1 and its gradient with respect to
a picture; of SRCNN and ESPCN, a batch of 16 patches; of the GAN, one of each network with 64
pictures. Weights are random: the numbers don't matter here, and tests compare them. In each round
every side runs once, in a process of its own; printed are the medians of milliseconds a step.
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import apps_in_minidl, apps_in_torch
from benchmarks.rounds import Rounds

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


def one(case: str, side: str, seconds: float) -> float:
    """Return milliseconds a step."""
    return timed(getattr(SIDES[side], case)(np.random.default_rng(0)), seconds)


def row_of(case: str, found: dict[str, list[float]]) -> tuple[str, ...]:
    """Return a case's row: both sides' medians, and PyTorch's time in minidl's."""
    ours, theirs = (statistics.median(times) for times in found.values())
    return case, f"{ours:.1f}", f"{theirs:.1f}", f"{theirs / ours:.2f}"


def main(given: list[str] | None = None) -> int:
    """Run the cases, and print the table."""
    heads = ("ms/step", "minidl", "torch", "torch / minidl")
    return Rounds(
        "benchmarks.apps", "Steps of applications.", CASES, tuple(SIDES), heads, 5.0, one, row_of
    ).run(given)


if __name__ == "__main__":
    sys.exit(main())
