"""Timing a step, and telling whether the machine was quiet meanwhile."""

import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

resource: ModuleType | None
try:
    import resource
except ImportError:  # Windows counts neither page faults nor peak memory for us
    resource = None

__all__ = ["QUIET", "Usage", "measure", "others", "peak_mb", "usage", "warm_up"]

QUIET = 0.15  # cores that others may use before a measurement counts as disturbed
SHORTEST = 3  # steps, however long they take
PATIENCE = 5.0  # seconds to wait for a quiet moment before a measurement is repeated
GLANCE = 0.5  # seconds of looking whether it is one


@dataclass(frozen=True)
class Usage:
    """What was used up by one moment: seconds, and pages mapped by this process.

    busy: CPU time of all processes on the cores this one may use; None where it isn't known.
    """

    wall: float
    own: float
    busy: float | None
    minor_faults: int


def usage() -> Usage:
    """Now."""
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt if resource else 0
    return Usage(time.perf_counter(), time.process_time(), _busy_seconds(), faults)


def _busy_seconds() -> float | None:
    try:
        with open("/proc/stat", encoding="ascii") as file:
            busy = busy_ticks(file.read(), os.sched_getaffinity(0))
    except (OSError, AttributeError):  # not Linux
        return None
    return busy / os.sysconf("SC_CLK_TCK")


def busy_ticks(stat: str, cores: set[int]) -> int:
    """Of the text of /proc/stat: user, nice, system, irq, softirq and steal of these cores."""
    names = {f"cpu{core}" for core in cores}
    rows = (line.split() for line in stat.splitlines())
    return sum(sum(int(row[i]) for i in (1, 2, 3, 6, 7, 8)) for row in rows if row[0] in names)


def others(before: Usage, after: Usage) -> float:
    """Return how many cores other processes kept busy between two moments.

    Where the system doesn't say how busy its cores were, the load average is all there is: it
    looks back a minute, so it sees the neighbours late.
    """
    wall, own = after.wall - before.wall, after.own - before.own
    if before.busy is None or after.busy is None:
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
        return max(0.0, load - own / wall)
    return max(0.0, (after.busy - before.busy - own) / wall)


def peak_mb() -> float:
    """The most memory this process has held, in millions of bytes; 0 where it isn't known."""
    if resource is None:
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e6


def nothing() -> tuple[Any, ...]:
    """No preparation, no arguments."""
    return ()


def warm_up(run: Callable[..., Any], seconds: float, prepare: Callable[[], Any] = nothing) -> None:
    """Run at least three times, so that all is compiled, mapped and in the cache."""
    end, done = time.perf_counter() + seconds, 0
    while done < SHORTEST or time.perf_counter() < end:
        run(*prepare())
        done += 1


def wait_for_quiet(quiet: float = QUIET, patience: float = PATIENCE) -> None:
    """Sleep until others keep no more than `quiet` cores busy, or patience ends."""
    end = time.perf_counter() + patience
    while time.perf_counter() < end:
        before = usage()
        time.sleep(GLANCE)
        if others(before, usage()) <= quiet:
            return


def measure(
    run: Callable[..., Any],
    seconds: float,
    prepare: Callable[[], Any] = nothing,
    repeats: int = 2,
    quiet: float = QUIET,
) -> dict[str, Any]:
    """Return the median time of `run(*prepare())` without the preparation, and what it cost.

    A measurement in which others kept more than `quiet` cores busy is repeated, at most `repeats`
    times, each after waiting a little for a quiet moment. The quietest counts, and says whether it
    was disturbed all the same.
    """
    found: list[dict[str, Any]] = []
    while not found or (found[-1]["disturbed"] and len(found) <= repeats):
        if found:
            wait_for_quiet(quiet)
            warm_up(run, 0, prepare)
        found.append(_window(run, prepare, seconds, quiet))
    return min(found, key=lambda one: one["others"]) | {"tries": len(found)}


def _window(
    run: Callable[..., Any], prepare: Callable[[], Any], seconds: float, quiet: float
) -> dict[str, Any]:
    times: list[float] = []
    before = usage()
    while len(times) < SHORTEST or time.perf_counter() - before.wall < seconds:
        arguments = prepare()
        start = time.perf_counter()
        run(*arguments)
        times.append(time.perf_counter() - start)
    after = usage()
    busy = others(before, after)
    return {
        "ms": statistics.median(times) * 1e3,
        "fastest_ms": min(times) * 1e3,
        "quartiles_ms": [t * 1e3 for t in statistics.quantiles(times, n=4)[::2]],
        "steps": len(times),
        "minor_faults": (after.minor_faults - before.minor_faults) / len(times),
        "others": busy,
        "disturbed": busy > quiet,
    }
