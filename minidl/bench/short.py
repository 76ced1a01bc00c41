"""`minidl bench`: minidl beside PyTorch in half a minute.

    python -m minidl.bench.short JOB     # one competitor's share, as JSON

One training step, one convolution and one small inference, by each competitor in a process of its
own, in turns.
"""

import json
import statistics
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import minidl as md
from minidl.bench.captured import captured
from minidl.bench.measure import measure, warm_up
from minidl.bench.processes import TUNED_MALLOC, installed, machine, run_job
from minidl.text import table

__all__ = ["MINIDL", "TASKS", "compare", "head", "render", "speed"]

# name: (what it is, images a step)
TASKS = {
    "step": ("LeNet-5 training step, batch 64", 64),
    "convolution": ("3x3 convolution 64 to 64 at 56x56, batch 8", 8),
    "inference": ("LeNet-5 inference, batch 1", 1),
}
MINIDL, TORCH, TORCH_LAST = "minidl", "PyTorch NCHW", "PyTorch channels-last"
LR = 1e-4  # small: a network that has learnt its batch by heart computes with denormal numbers
ROUNDS = 2
WARM_UP, WINDOW = 0.3, 0.7  # seconds


def compare(threads: int, tell: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """Measure; the result is plain data, for JSON."""
    sides = {MINIDL: {}, TORCH: TUNED_MALLOC, TORCH_LAST: TUNED_MALLOC}
    if not installed("torch"):
        sides = {MINIDL: {}}
    rows = []
    for turn in range(ROUNDS):
        for side, environment in sides.items():
            tell(f"round {turn + 1} of {ROUNDS}: {side}")
            job = {"side": side, "threads": threads}
            found = run_job("minidl.bench.short", job, environment)
            rows += [{"side": side, "task": task, **found[task]} for task in TASKS]
    return {"kind": "short", "machine": machine(), "threads": threads, "rows": rows}


def render(result: dict[str, Any]) -> str:
    """Return the result as a table, ratios first."""
    rows = result["rows"]
    sides = list(dict.fromkeys(row["side"] for row in rows))
    top = ["images/s", *(["ratio"] if len(sides) > 1 else []), *sides]
    lines = [head(result), table([top, *(_row(rows, task, sides) for task in TASKS)])]
    if len(sides) == 1:
        lines.append("PyTorch is not installed: pip install 'minidl[bench]' adds the comparison")
    else:
        lines.append("ratio: to PyTorch's better form, its memory allocator tuned to keep pages")
    if any(row["disturbed"] for row in rows):
        lines.append("* others kept the machine busy: run it again when it is quiet")
    return "\n".join(lines)


def head(result: dict[str, Any]) -> str:
    """Return the machine that a result is of, and what ran on it."""
    machine = result["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    return f"{machine['cpu']}, threads: {result['threads']}, float32, {versions}"


def speed(rows: list[dict[str, Any]], task: str, side: str) -> tuple[float, str] | None:
    """Images a second, by the median of all rounds, and "*" where others disturbed one."""
    found = [row for row in rows if (row["side"], row["task"]) == (side, task)]
    if not found:
        return None
    images = TASKS[task][1] / statistics.median(row["ms"] for row in found) * 1e3
    return images, "*" * any(row["disturbed"] for row in found)


def _row(rows: list[dict[str, Any]], task: str, sides: list[str]) -> list[str]:
    """Return one line of the table."""
    found = [speed(rows, task, side) or (0.0, "") for side in sides]
    mine, *others = (images for images, _ in found)
    ratio = [f"{mine / max(others):.2f}"] if others else []
    return [TASKS[task][0], *ratio, *(f"{images:,.0f}{mark}" for images, mark in found)]


def worker(job: dict[str, Any]) -> dict[str, Any]:
    """Return one competitor's times of all tasks."""
    if job["side"] == MINIDL:
        md.set_num_threads(job["threads"])
        tasks = minidl_tasks()
    else:
        import torch

        torch.set_num_threads(job["threads"])
        tasks = torch_tasks(last=job["side"] == TORCH_LAST)
    found = {}
    for name, run in tasks.items():
        warm_up(run, WARM_UP)
        found[name] = measure(run, WINDOW, repeats=1)
    return found


def minidl_tasks() -> dict[str, Callable[[], Any]]:
    """Return the tasks as functions without arguments."""
    from minidl import models, nn, optim

    model, loss_function = models.lenet5(), nn.CrossEntropyLoss()
    optimizer = optim.SGD(model.parameters(), LR, momentum=0.9)
    images, labels = _normal(64, 32, 32, 1), np.arange(64) % 10
    trained, convolution = captured(models.lenet5().eval()), nn.Conv2d(64, 64, 3, padding=1)
    pixels = _normal(8, 56, 56, 64)

    def step(images: Any, labels: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_function(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    def without_grad(layer: Any, x: Any) -> None:
        with md.no_grad():
            layer(x)

    run = captured(step)
    return {
        "step": lambda: run(images, labels),
        "convolution": lambda: without_grad(convolution, pixels),
        "inference": lambda: without_grad(trained, images[:1]),
    }


def torch_tasks(last: bool) -> dict[str, Callable[[], Any]]:
    """Return the same by PyTorch; last: channels last in memory."""
    import torch

    nn: Any = torch.nn  # untyped: its stubs don't know to(memory_format=)
    layout = torch.channels_last if last else torch.contiguous_format

    def lenet() -> Any:
        return nn.Sequential(
            nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
        ).to(memory_format=layout)  # fmt: skip

    model, loss_function = lenet(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), LR, momentum=0.9)
    images = torch.randn(64, 1, 32, 32).contiguous(memory_format=layout)
    labels = torch.arange(64) % 10
    trained = lenet().eval()
    convolution = nn.Conv2d(64, 64, 3, padding=1).to(memory_format=layout)
    pixels = torch.randn(8, 64, 56, 56).contiguous(memory_format=layout)

    def step() -> None:
        optimizer.zero_grad()
        loss_function(model(images), labels).backward()
        optimizer.step()

    def without_grad(layer: Any, x: Any) -> None:
        with torch.inference_mode():
            layer(x)

    return {
        "step": step,
        "convolution": lambda: without_grad(convolution, pixels),
        "inference": lambda: without_grad(trained, images[:1]),
    }


def _normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, np.float32)


if __name__ == "__main__":
    print(json.dumps(worker(json.loads(sys.argv[1]))))
