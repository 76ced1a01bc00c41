"""A network out of an ONNX file beside minidl's own of the same weights.

    python -m benchmarks.imported                     # about two minutes
    python -m benchmarks.imported resnet18-1 --rounds 7

ResNet-18 at 224 x 224 pixels, one image or eight: minidl's, exported as an ONNX file from which its
name is taken, so that it is read as anybody's. "eager" is a call without `md.compile`. In each
round every side runs once, in a process of its own; printed are the medians of milliseconds a call,
how fast the imported network is by them (own / imported), and the load average.
"""

import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx

import minidl as md
from benchmarks.apps import timed
from benchmarks.rounds import Rounds
from minidl import models

BATCHES = {"resnet18-1": 1, "resnet18-8": 8}
SIDES = ("own", "imported", "own eager", "imported eager")


def network(side: str) -> models.Network:
    """Return ResNet-18, minidl's own or as read from a file; both have the same weights."""
    md.manual_seed(0)
    own = models.create("resnet18").eval()
    if not side.startswith("imported"):
        return own
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        md.export_onnx(own, path, layout="NCHW")
        model = onnx.load(path)
        del model.metadata_props[:]  # which say whose network it is
        onnx.save(model, path)
        return models.load(path).eval()


def one(case: str, side: str, seconds: float) -> float:
    """Return milliseconds a call."""
    run = network(side)
    x = np.random.default_rng(0).standard_normal((BATCHES[case], 224, 224, 3), np.float32)

    def infer() -> np.ndarray:
        with md.no_grad():
            scores: np.ndarray = run(x).data
        return scores

    return timed(infer if side.endswith("eager") else md.compile(infer), seconds)


def row_of(case: str, found: dict[str, list[float]]) -> tuple[str, ...]:
    """Return a case's row: each side's median, and how fast the imported network is."""
    middle = {side: statistics.median(times) for side, times in found.items()}
    ratios = [middle[f"own{kind}"] / middle[f"imported{kind}"] for kind in ("", " eager")]
    return case, *(f"{middle[side]:.1f}" for side in SIDES), *(f"{r:.3f}" for r in ratios)


def main(given: list[str] | None = None) -> int:
    """Run the cases, and print the table."""
    heads = ("ms/call", *SIDES, "own / imported", "eager")
    return Rounds(
        "benchmarks.imported", "A network out of an ONNX file.", tuple(BATCHES), SIDES, heads, 3.0,
        one, row_of,
    ).run(given)  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
