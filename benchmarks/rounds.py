"""Cases measured side by side: in each round every side once, in a process of its own."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from minidl.text import table

__all__ = ["Rounds"]


class Rounds(NamedTuple):
    """A benchmark of some cases.  name: of its module.  heads: of the table.

    one: milliseconds a call of a case on a side, measured for some seconds; None where the side
        isn't installed or hasn't the case.
    row_of: a case's row of the table, from each side's times.
    """

    name: str
    description: str
    cases: Sequence[str]
    sides: Sequence[str]
    heads: Sequence[str]
    seconds: float
    one: Callable[[str, str, float], float | None]
    row_of: Callable[[str, dict[str, list[float]]], tuple[str, ...]]

    def run(self, given: list[str] | None) -> int:
        """Run the cases, and print the table and the load."""
        options = self._options(given)
        if options.one:
            print(json.dumps(self.one(*options.one, options.seconds)))
            return 0
        before = os.getloadavg()[0]
        rows = [
            self.row_of(case, self._measured(case, options)) for case in options.cases or self.cases
        ]
        print(table([self.heads, *rows]))
        print(f"load average: {before:.2f} before, {os.getloadavg()[0]:.2f} after")
        return 0

    def _options(self, given: list[str] | None) -> argparse.Namespace:
        parser = argparse.ArgumentParser(prog=self.name, description=self.description)
        known = ", ".join(self.cases)
        parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {known}")
        parser.add_argument("--rounds", type=int, default=3, metavar="N")
        parser.add_argument(
            "--seconds", type=float, default=self.seconds, metavar="X", help="of a measurement"
        )
        parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)  # CASE and SIDE, here
        options = parser.parse_args(given)
        if unknown := [case for case in options.cases if case not in self.cases]:
            parser.error(f"there is no case {unknown[0]}, only {known}")
        return options

    def _measured(self, case: str, options: argparse.Namespace) -> dict[str, list[float]]:
        """Return each side's times, a round each."""
        found: dict[str, list[float]] = {side: [] for side in self.sides}
        for number in range(options.rounds):
            for side in self.sides:
                print(f"{case}, round {number + 1}: {side}", file=sys.stderr, flush=True)
                command = [sys.executable, "-m", self.name, "--one", case, side]
                command += ["--seconds", str(options.seconds)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                time = json.loads(done.stdout.splitlines()[-1])
                if time is not None:
                    found[side].append(time)
        return found
