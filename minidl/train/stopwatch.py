"""Stopwatch: where the time of a run goes."""

import time

from minidl.kernels import _notice

__all__ = ["COMPILING", "Stopwatch"]

COMPILING = "compiling kernels"


class Stopwatch:
    """Times the stages of a run, one after the other, and the compiling of kernels apart.

    seconds: by the stages' names, in the order in which they first ended.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last, self._compiled = time.perf_counter(), _notice.compiled_seconds()

    def lap(self, stage: str) -> None:
        """Add the time since the last lap, or since the beginning, to a stage."""
        now, compiled = time.perf_counter(), _notice.compiled_seconds()
        waited = compiled - self._compiled
        for name, spent in ((stage, now - self._last - waited), (COMPILING, waited)):
            self.seconds[name] = self.seconds.get(name, 0.0) + max(0.0, spent)
        self._last, self._compiled = now, compiled
