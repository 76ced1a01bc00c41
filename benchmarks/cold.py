"""Cold start: seconds from a process's start to the end of its first training step.

    python -m benchmarks.cold                       # lenet5-64, resnet18-8, warmup
    python -m benchmarks.cold lenet5 --rounds 5     # some of these

minidl runs twice in a row: where no kernel has been compiled yet (MINIDL_CACHE is an empty folder),
and in a second process, which finds what the first one compiled. warmup is the whole of
`minidl warmup` into an empty folder.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from benchmarks.compare import Rows, Sizes, cases, command, measured_by, parser_of, settings, tell
from benchmarks.sides import MINIDL, SIDES, Side
from minidl.bench.measure import QUIET, Usage, others, usage
from minidl.errors import ArgumentError, StateError

SIZES: Sizes = {"lenet5": (64,), "resnet18": (8,)}
WARMUP = "warmup"
EMPTY, SECOND = "empty cache", "second process"
AMONG = [side.name for side in SIDES.values() if side.trains and not side.config]
USUAL = [MINIDL, "torch NCHW"]


def chosen(names: list[str]) -> tuple[list[tuple[str, int]], bool]:
    """The networks, and whether `minidl warmup` is among what was asked for."""
    networks = [name for name in names if name != WARMUP]
    try:
        found = cases(networks, SIZES) if networks or not names else []
    except ArgumentError as error:
        raise ArgumentError(f"{error}, {WARMUP}") from None
    return found, not names or WARMUP in names


def _measured(sides: list[Side], options: argparse.Namespace) -> Rows:
    networks, warmup = chosen(options.networks)
    for turn in range(options.rounds):
        for network, batch in networks:
            about = {"case": f"{network}-{batch}", "round": turn}
            job = {"kind": "train", "network": network, "batch": batch, "first_only": True}
            for side in sides:
                tell(f"{about['case']}, round {turn + 1} of {options.rounds}: {side.name}")
                for name, found in _first_steps(side, job | settings(options)):
                    yield about | {"side": name} | found
        if warmup and any(side.name == MINIDL for side in sides):
            tell(f"{WARMUP}, round {turn + 1} of {options.rounds}")
            with tempfile.TemporaryDirectory() as folder:
                found = _watched(lambda: _warmup(folder))
            yield {"case": f"minidl {WARMUP}", "side": f"{MINIDL}, {EMPTY}", "round": turn, **found}


def _first_steps(side: Side, job: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """A side's first step; minidl's with an empty cache, and with what that has filled."""
    if side.module != "in_minidl":
        yield side.name, _watched(lambda: measured_by(side, job))
        return
    with tempfile.TemporaryDirectory() as folder:
        for state in (EMPTY, SECOND):
            found = _watched(lambda: measured_by(side, job, MINIDL_CACHE=folder))
            yield f"{side.name}, {state}", found


def _warmup(folder: str) -> dict[str, Any]:
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "minidl", "warmup"],
        env=os.environ | {"MINIDL_CACHE": folder},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        text = f"minidl warmup ended with status {done.returncode}:\n{done.stderr[-2000:]}"
        raise StateError(text)
    return {"first_s": time.perf_counter() - began}


def _watched(run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a process found, and how busy others kept the cores meanwhile."""
    before = _now()
    found = run()
    busy = others(before, _now())
    return found | {"others": busy, "disturbed": busy > QUIET}


def _now() -> Usage:
    """What is used up, counting as our own what our children have used."""
    return replace(usage(), own=sum(os.times()[:4]))


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; returns the exit status."""
    parser = parser_of("benchmarks.cold", "First steps, and compiling ahead.", seconds=None)
    names = ", ".join(f"{network}-{batch}" for network, batch in cases([], SIZES))
    help_text = f"of {names}, {WARMUP} (default: all)"
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=help_text)
    return command("cold", parser, AMONG, _measured, arguments, USUAL)


if __name__ == "__main__":
    sys.exit(main())
