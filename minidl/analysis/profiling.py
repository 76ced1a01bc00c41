"""`md.profile`: where the time goes, op by op, forward and backward."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy import ndarray

from minidl import kernels
from minidl.errors import StateError
from minidl.io.atomic import atomic_write
from minidl.recording import here
from minidl.text import html_table, html_text, table

__all__ = ["Event", "Profile", "profile"]

FORWARD, BACKWARD = "forward", "backward"
OTHER = "between them"
NOTHING = bytes(16)  # what all numbers of an array without memory of its own are read from
SIDE, TURNS = 1024, 7  # of the product that the FLOP/s are compared with: its fastest of so many


@dataclass(frozen=True)
class Event:
    """One run of an op, a gradient rule, an optimizer's step, a wait for data, or a replay.

    kind: "forward", "backward", "optimizer", "data" or "replay".  start, seconds: from the
    profile's beginning.  own: seconds without those of the events within.  flops: 0 where none are
    known.  bytes: of all inputs and outputs.  shape: of the first output.
    """

    kind: str
    name: str
    start: float
    seconds: float
    own: float
    flops: int
    bytes: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """All runs of one op in one direction: seconds are their own, FLOPs and bytes sums."""

    name: str
    kind: str
    calls: int
    seconds: float
    flops: int
    bytes: int


class Profile:
    """What ran in this thread inside `with md.profile() as found`.

    events: in the order they began.  seconds: from the beginning to the end.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._ran: list[tuple[Any, ...]] = []  # the arguments of _row_of
        self._did: list[tuple[float, float, str, str]] = []
        self._begun: float | None = None

    def __enter__(self) -> "Profile":
        if here.profiler is not None:
            raise StateError("md.profile: this thread is profiled already: end that one first")
        if self._begun is not None:
            raise StateError("md.profile: a profile is taken once: make another")
        here.profiler = self
        self._begun = perf_counter()
        return self

    def __exit__(self, *error: object) -> None:
        self.seconds = perf_counter() - self._start
        here.profiler = None

    @property
    def _start(self) -> float:
        if self._begun is None:
            raise StateError("md.profile: nothing was profiled: use it as `with md.profile() as p`")
        return self._begun

    # What ops, optimizers, loaders and compiled functions tell

    def ran(
        self, op: Any, arrays: Sequence[Any], settings: dict[str, Any], output: Any, start: float
    ) -> None:
        """A primitive ran; `start` is the time when it began.

        Shapes and dtypes are noted: what they amount to is worked out in `events`, out of the step.
        """
        end = perf_counter()
        outputs = output if isinstance(output, tuple) else (output,)
        inputs = [(x.shape, x.dtype) if isinstance(x, ndarray) else None for x in arrays]
        made = [(y.shape, y.dtype) if isinstance(y, ndarray) else None for y in outputs]
        flops = int(op.flops(output, *arrays, **settings)) if op.is_yours else None
        self._ran.append((start, end, op, settings, inputs, made, flops))

    def did(self, kind: str, name: str, start: float) -> None:
        """Something else was done."""
        self._did.append((start, perf_counter(), kind, name))

    # What was found

    @property
    def events(self) -> list[Event]:
        """All that ran, in the order they began."""
        begun = self._start
        told: list[Told] = [
            (kind, name, start, end, 0, 0, ()) for start, end, kind, name in self._did
        ]
        told += [_row_of(*ran) for ran in self._ran]
        told.sort(key=lambda row: (row[2], -row[3]))
        own = [end - start for _, _, start, end, *_ in told]
        kinds = [row[0] for row in told]
        open_ones: list[int] = []  # what holds the next event, from the outermost on
        for i, (kind, _, start, end, *_) in enumerate(told):
            while open_ones and told[open_ones[-1]][3] <= start:
                open_ones.pop()
            if open_ones:
                own[open_ones[-1]] -= end - start
                if kinds[open_ones[-1]] == BACKWARD and kind == FORWARD:
                    kinds[i] = BACKWARD  # an op that a gradient rule called
            open_ones.append(i)
        return [
            Event(kind, name, start - begun, end - start, max(0.0, mine), flops, size, shape)
            for kind, mine, (_, name, start, end, flops, size, shape) in zip(
                kinds, own, told, strict=True
            )
        ]

    def rows(self) -> list[Row]:
        """Return a row for each op and direction, the slowest first; their seconds add up to all.

        The last is what ran between: Python, and what nobody told of.
        """
        found: dict[tuple[str, str], list[Event]] = {}
        for event in self.events:
            found.setdefault((event.name, event.kind), []).append(event)
        rows = [
            Row(
                name, kind, len(events), sum(e.own for e in events),
                sum(e.flops for e in events), sum(e.bytes for e in events),
            )
            for (name, kind), events in found.items()
        ]  # fmt: skip
        rows.sort(key=lambda row: -row.seconds)
        rest = max(0.0, self.seconds - sum(row.seconds for row in rows))
        return [*rows, Row(OTHER, "", 0, rest, 0, 0)]

    def table(self) -> str:
        """Return the rows as text, with what they reach of the FLOP/s of a large matrix product."""
        return f"{self._headline()}\n\n{table(self._cells(), left=2, rules=(1, -1))}"

    __str__ = table

    def __repr__(self) -> str:
        return f"<profile of {self._count()} events in {self.seconds * 1000:.1f} ms>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        return f"{html_text(self._headline())}\n{html_table(self._cells(), left=2)}"

    def _headline(self) -> str:
        return f"{self.seconds * 1000:.1f} ms, {self._count()} events"

    def _count(self) -> int:
        return len(self._ran) + len(self._did)

    def _cells(self) -> list[tuple[str, ...]]:
        rows, best = self.rows(), product_flops()
        heads = ("op", "pass", "calls", "ms", "share", "GFLOP", "GFLOP/s", "of a product", "MB")
        found = [heads, *(_cells_of(row, self.seconds, best) for row in rows)]
        total = Row("all", "", sum(row.calls for row in rows), self.seconds,
                    sum(row.flops for row in rows), sum(row.bytes for row in rows))  # fmt: skip
        return [*found, _cells_of(total, self.seconds, best)]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a timeline as JSON for Chrome's chrome://tracing or https://ui.perfetto.dev.

        Source: the "Trace Event Format" of Chromium's documentation, complete events.
        """
        events = [
            {
                "name": e.name, "cat": e.kind, "ph": "X", "pid": 0, "tid": 0,
                "ts": e.start * 1e6, "dur": e.seconds * 1e6,
                "args": {"shape": list(e.shape), "flops": e.flops, "bytes": e.bytes},
            }
            for e in self.events
        ]  # fmt: skip
        about = {"traceEvents": events, "displayTimeUnit": "ms"}
        with atomic_write(Path(path)) as temporary, open(temporary, "w", encoding="utf-8") as file:
            json.dump(about, file)


def profile() -> Profile:
    """Return a context that notes what each op, forward and backward, takes in this thread.

        with md.profile() as found:
            step(x, y)
        print(found)
        found.save("trace.json")

    found.table(): a row for each op and direction with its calls, milliseconds without those of
    the ops within, share, FLOPs, FLOP/s and bytes; `.rows()` and `.events` are these as data.
    A call of a function that `md.compile` replays is one event: profile it before it is compiled.
    Raises StateError inside another profile.
    """
    return Profile()


def product_flops() -> float:
    """Return the FLOP/s of a product of two matrices of 1,024 rows, by its fastest of 7 turns."""
    a = np.ones((SIDE, SIDE), np.float32)
    return 2 * SIDE**3 / min(_seconds(a) for _ in range(TURNS))


def _seconds(a: np.ndarray) -> float:
    start = perf_counter()
    kernels.use("gemm").matmul(a, a)
    return perf_counter() - start


Told = tuple[str, str, float, float, int, int, tuple[int, ...]]


def _row_of(
    start: float, end: float, op: Any, settings: dict[str, Any], inputs: Sequence[Any],
    made: Sequence[Any], flops: int | None,
) -> Told:  # fmt: skip
    """Return what a run of a primitive is told as; inputs, made: (shape, dtype) of each array."""
    arrays, outputs = ([_like(x) for x in each] for each in (inputs, made))
    if flops is None:
        output = outputs[0] if len(outputs) == 1 else tuple(outputs)
        flops = int(op.flops(output, *arrays, **settings))
    size = sum(x.nbytes for x in (*arrays, *outputs) if x is not None)
    return FORWARD, _full_name(op), start, end, flops, size, made[0][0] if made[0] else ()


def _like(about: tuple[tuple[int, ...], np.dtype[Any]] | None) -> np.ndarray | None:
    """Return an array of a shape and dtype that takes no memory, for FLOP formulas."""
    if about is None:
        return None
    shape, dtype = about
    return np.ndarray(shape, dtype, NOTHING, strides=(0,) * len(shape))


def _full_name(op: Any) -> str:
    """Return a primitive's own name: `conv2d_weight_grad`, where errors say conv2d."""
    return str(op.__name__.removesuffix("_forward"))


def _cells_of(row: Row, seconds: float, best: float) -> tuple[str, ...]:
    rate = row.flops / row.seconds if row.seconds else 0.0
    return (
        row.name, row.kind, f"{row.calls or ''}", f"{row.seconds * 1000:.2f}",
        f"{row.seconds / seconds:.1%}" if seconds else "",
        f"{row.flops / 1e9:.3f}" if row.flops else "",
        f"{rate / 1e9:.1f}" if row.flops else "",
        f"{rate / best:.0%}" if row.flops else "",
        f"{row.bytes / 1e6:.1f}" if row.bytes else "",
    )  # fmt: skip
