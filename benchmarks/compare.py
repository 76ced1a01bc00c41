"""Competitors side by side: rounds in which each runs in turn, in a process of its own."""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks import limits
from benchmarks.sides import MINIDL, SIDES, Side, pick
from benchmarks.table import render
from minidl.bench.processes import machine, run_job
from minidl.config import config
from minidl.errors import ArgumentError, MinidlError
from minidl.io.plain_json import save_json

WORKER = "benchmarks.worker"
Rows = Iterable[dict[str, Any]]
Sizes = dict[str, tuple[int, ...]]


def tell(text: str) -> None:
    """Progress, apart from the result."""
    print(text, file=sys.stderr, flush=True)


def parser_of(program: str, text: str, seconds: float | None) -> argparse.ArgumentParser:
    """A parser with the options that all comparisons share.

    seconds: how long a measurement lasts unless told; None where nothing runs more than once.
    """
    parser = argparse.ArgumentParser(prog=program, description=text)
    add = parser.add_argument
    add("--rounds", type=_whole, default=3, metavar="N", help="turns of each one (default: 3)")
    add("--threads", type=_whole, default=config.num_threads, metavar="N",
        help="threads of each one (default: all cores)")  # fmt: skip
    add("--sides", nargs="+", metavar="NAME", help="who takes part")
    add("--json", type=Path, metavar="FILE", help="where to save the figures")
    if seconds is not None:
        add("--seconds", type=float, default=seconds, metavar="X",
            help="how long a measurement lasts (default: %(default)s)")  # fmt: skip
        add("--repeats", type=int, default=2, metavar="N",
            help="how often a disturbed measurement is repeated (default: 2)")  # fmt: skip
        add("--avx2", action="store_true",
            help="limit every side to AVX2, on a CPU that has AVX-512")  # fmt: skip
    return parser


def _whole(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {text}")
    return number


def networks_command(kind: str, text: str, sizes: Sizes, arguments: list[str] | None) -> int:
    """The command benchmarks.train or benchmarks.infer."""
    parser = parser_of(f"benchmarks.{kind}", text, seconds=1.5)
    names = ", ".join(f"{network}-{batch}" for network, batch in cases([], sizes))
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=f"of {names}")
    parser.add_argument("--cold", action="store_true", help="also minidl's first step ever")
    among = [s.name for s in SIDES.values() if not s.config and (s.trains or kind == "infer")]

    def measured(sides: list[Side], options: argparse.Namespace) -> Rows:
        return _networks(kind, cases(options.networks, sizes), sides, options)

    return command(kind, parser, among, measured, arguments)


def command(
    kind: str,
    parser: argparse.ArgumentParser,
    among: list[str],
    measured: Callable[[list[Side], argparse.Namespace], Rows],
    arguments: list[str] | None,
    usual: list[str] | None = None,
) -> int:
    """Measure, print, save; returns the exit status. `usual`: who takes part unless told."""
    options = parser.parse_args(arguments)
    try:
        sides, absent = pick(options.sides or usual or among, among)
        about = settings(options) | {"rounds": options.rounds, "dtype": "float32"}
        if about.pop("avx2", False):
            about["limit"] = limits.about([side.module for side in sides])
        result = {"kind": kind, "machine": machine(), **about, "absent": absent, "rows": []}
        collect(result, measured(sides, options))
        if options.json is not None:
            save_json(options.json, result, "the result")
        print(render(result))
    except (MinidlError, OSError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    return 0


def collect(result: dict[str, Any], rows: Rows) -> None:
    """Take the rows in; Ctrl-C keeps those that are there."""
    try:
        for row in rows:
            result["rows"].append(row)
    except KeyboardInterrupt:
        tell("interrupted: showing what there is")


def cases(names: list[str], sizes: Sizes) -> list[tuple[str, int]]:
    """(network, batch) for names such as "resnet18" (all its batches) or "lenet5-64"."""
    every = [(network, batch) for network in sizes for batch in sizes[network]]
    found = []
    for name in names or sizes:
        chosen = [case for case in every if name in (case[0], f"{case[0]}-{case[1]}")]
        if not chosen:
            known = ", ".join(f"{network}-{batch}" for network, batch in every)
            raise ArgumentError(f"no network {name}: there are {known}")
        found += chosen
    return found


def settings(options: argparse.Namespace) -> dict[str, Any]:
    """What every job is told."""
    told = {"threads": options.threads}
    if hasattr(options, "seconds"):
        told |= {"seconds": options.seconds, "warm_up": options.seconds / 2}
        told |= {"repeats": options.repeats, "avx2": options.avx2}
    return told


def measured_by(side: Side, job: dict[str, Any], **more: str) -> dict[str, Any]:
    """The result of a job, by a side in a process of its own; more: of its environment."""
    limit = limits.environment(side.module, job.get("avx2", False))
    return run_job(WORKER, job | {"side": side.name}, side.environment | limit | more)


def _networks(
    kind: str, chosen: list[tuple[str, int]], sides: list[Side], options: argparse.Namespace
) -> Rows:
    for network, batch in chosen:
        job = {"kind": kind, "network": network, "batch": batch, **settings(options)}
        if options.cold:
            yield _cold(job)
        for turn in range(options.rounds):
            for side in sides:
                tell(f"{network}-{batch}, round {turn + 1} of {options.rounds}: {side.name}")
                found = measured_by(side, job)
                yield {"case": f"{network}-{batch}", "side": side.name, "round": turn, **found}


def _cold(job: dict[str, Any]) -> dict[str, Any]:
    """minidl's first step where no kernel has been compiled yet."""
    case = f"{job['network']}-{job['batch']}"
    tell(f"{case}: {MINIDL}, compiling everything anew")
    with tempfile.TemporaryDirectory() as folder:
        found = measured_by(SIDES[MINIDL], job | {"first_only": True}, MINIDL_CACHE=folder)
    return {"case": case, "side": MINIDL, "cold": True, **found}
