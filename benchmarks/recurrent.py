"""Recurrent layers and embeddings, beside PyTorch on the same cores.

    python -m benchmarks.recurrent                    # all, about three minutes
    python -m benchmarks.recurrent lstm gru --rounds 7

64 sequences of 20 steps, 512 features, 512 hidden units. "lstm", "gru" and "rnn" are training steps
without an optimizer, forward and backward for the parameters; "input": for the input too, as in
all layers but the first; "lengths": sequences of 1 to 20 steps, packed in PyTorch. "embedding": the
gradient of a table of 10,000 x 512 of which 64 x 20 rows were looked up. "compiled" is minidl's
step by `md.compile`. In each round every side runs once, in a process of its own; printed are the
medians of milliseconds a call, how many times as long PyTorch takes, and the load average.
"""

import statistics
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import minidl as md
from benchmarks.apps import timed
from benchmarks.rounds import Rounds
from minidl import nn, ops
from minidl.config import config

CASES = (
    "lstm", "lstm input", "lstm lengths", "lstm inference", "gru", "gru input", "gru inference",
    "rnn", "embedding",
)  # fmt: skip
SIDES = ("minidl", "compiled", "torch")
ROWS, STEPS, FEATURES, HIDDEN = 64, 20, 512, 512
WORDS = 10_000
GATES = {"lstm": 4, "gru": 3, "rnn": 1}


class Arrays(NamedTuple):
    """What a layer's case computes with. Weights as minidl has them."""

    x: np.ndarray  # (N, T, C)
    weight_ih: np.ndarray  # (C, gates*H)
    weight_hh: np.ndarray  # (H, gates*H)
    bias: np.ndarray  # (gates*H,)
    dy: np.ndarray  # (N, T, H)
    lengths: np.ndarray  # (N,)


def arrays(kind: str) -> Arrays:
    """Return the same arrays at every call."""
    random, wide = np.random.default_rng(0), GATES[kind] * HIDDEN

    def normal(*shape: int) -> np.ndarray:
        return random.standard_normal(shape).astype(np.float32)

    return Arrays(
        normal(ROWS, STEPS, FEATURES), normal(FEATURES, wide) / 23, normal(HIDDEN, wide) / 23,
        normal(wide), normal(ROWS, STEPS, HIDDEN), random.integers(1, STEPS + 1, ROWS),
    )  # fmt: skip


def words() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a table, indices, and the gradient of the rows looked up."""
    random = np.random.default_rng(1)
    rows = random.integers(0, WORDS, (ROWS, STEPS))
    tables = [
        random.standard_normal(shape) for shape in ((WORDS, FEATURES), (*rows.shape, FEATURES))
    ]
    return tables[0].astype(np.float32), rows, tables[1].astype(np.float32)


def layer(kind: str, given: Arrays) -> nn.Module:
    """Return a layer of minidl with these weights; a GRU's bias goes to its inputs."""
    made: nn.Module = getattr(nn, kind.upper())(FEATURES, HIDDEN)
    state = {"weight_ih": given.weight_ih, "weight_hh": given.weight_hh, "bias": given.bias}
    if kind == "gru":
        state["bias"] = np.stack([given.bias, 0 * given.bias])
    made.load_state_dict(state)
    return made


def in_minidl(case: str) -> Callable[[], Any]:
    """Return a call of the case; it returns the outputs, and in training the gradients."""
    if case == "embedding":
        weight, rows, dy = words()
        looked_up = md.from_numpy(weight, requires_grad=True)
        return lambda: md.grad(ops.embedding(rows, looked_up), [looked_up], grad_outputs=[dy])
    kind, _, what = case.partition(" ")
    given = arrays(kind)
    built = layer(kind, given)
    x = md.from_numpy(given.x, requires_grad=what == "input")
    if what == "inference":

        def infer() -> Any:
            with md.no_grad():
                return [built(given.x)[0]]

        return infer
    asked = [*built.parameters(), *([x] if what == "input" else [])]
    lengths = given.lengths if what == "lengths" else None

    def train() -> Any:
        y = built(x, lengths=lengths)[0]
        return [y, *md.grad(y, asked, grad_outputs=[given.dy])]

    return train


def one(case: str, side: str, seconds: float) -> float | None:
    """Return milliseconds a call, or None where the side isn't installed."""
    if side == "minidl":
        return timed(in_minidl(case), seconds)
    if side == "compiled":
        return timed(md.compile(in_minidl(case)), seconds)
    try:
        import torch

        from benchmarks.recurrent_in_torch import in_torch

        torch.set_num_threads(config.num_threads)
    except ImportError:
        return None
    return timed(in_torch(case), seconds)


def row_of(case: str, found: dict[str, list[float]]) -> tuple[str, ...]:
    """Return a case's row: each side's median, and PyTorch's time in minidl's."""
    middle = {side: statistics.median(times) for side, times in found.items() if times}
    shown = [f"{middle[side]:.2f}" if side in middle else "-" for side in SIDES]
    both = "torch" in middle and "minidl" in middle
    return case, *shown, f"{middle['torch'] / middle['minidl']:.2f}" if both else "-"


def main(given: list[str] | None = None) -> int:
    """Run the cases, and print the table."""
    heads = ("ms/call", *SIDES, "torch / minidl")
    return Rounds(
        "benchmarks.recurrent", "Recurrent layers.", CASES, SIDES, heads, 2.0, one, row_of
    ).run(given)


if __name__ == "__main__":
    sys.exit(main())
