"""Saving and loading weights, beside writing the same bytes with NumPy's tofile and an fsync.

    python -m benchmarks.files                    # VGG-16's 528 MiB
    python -m benchmarks.files resnet18 --folder /mnt/disk

Each round takes all in turn, into new files; loading finds its file in the system's cache, as
writing leaves it there.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import minidl as md
from benchmarks.in_minidl import build
from benchmarks.networks import NETWORKS
from minidl.bench.measure import QUIET, others, usage
from minidl.text import table

BASE = "tofile and fsync"


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.files", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("network", nargs="?", choices=sorted(NETWORKS), default="vgg16")
    parser.add_argument("--rounds", type=int, default=7, metavar="N")
    parser.add_argument("--folder", type=Path, help="where to write (default: a temporary folder)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        found, busy = measure(options.network, options.rounds, Path(folder))
    print(render(options.network, found, busy))
    return 0


def measure(network: str, rounds: int, folder: Path) -> tuple[dict[str, list[float]], float]:
    """Seconds by name, a number a round, and how many cores others kept busy meanwhile."""
    model = build(NETWORKS[network]().layers)
    flat = np.concatenate([p.data.reshape(-1) for p in model.parameters()])
    steps = _steps(model, flat, folder)
    found: dict[str, list[float]] = {name: [] for name in steps}
    before = usage()
    for _ in range(rounds + 1):  # the first round warms up
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            found[name].append(time.perf_counter() - start)
        for file in folder.iterdir():
            file.unlink()
    return {name: times[1:] for name, times in found.items()}, others(before, usage())


def _steps(model: md.nn.Module, flat: np.ndarray, folder: Path) -> dict[str, Callable[[], object]]:
    def tofile() -> None:
        with open(folder / "plain", "wb") as file:
            flat.tofile(file)
            file.flush()
            os.fsync(file.fileno())

    return {
        BASE: tofile,
        "fromfile": lambda: np.fromfile(folder / "plain", flat.dtype),
        "save_weights": lambda: md.save_weights(model, folder / "weights.h5"),
        "load_weights": lambda: md.load_weights(model, folder / "weights.h5"),
    }


def render(network: str, found: dict[str, list[float]], busy: float) -> str:
    """The figures as a table: medians, and ratios of the rounds' times."""
    base = found[BASE]
    lines = [[network, "ms", "/tofile", "least", "most"]]
    for name, times in found.items():
        ratios = [mine / theirs for mine, theirs in zip(times, base, strict=True)]
        cells = (statistics.median(ratios), min(ratios), max(ratios))
        lines.append(
            [name, f"{statistics.median(times) * 1e3:.0f}", *(f"{cell:.2f}" for cell in cells)]
        )
    note = " (disturbed)" if busy > QUIET + 1 else ""
    return f"{table(lines)}\nothers kept {busy:.2f} cores busy{note}"


if __name__ == "__main__":
    sys.exit(main())
