"""One training step of LeNet-5, minidl beside PyTorch: the ratio of images per second.

    python benchmarks/train_step.py            # PyTorch from the extra `bench`

The two take turns in processes of their own, so that neither's threads disturb the other's, and
each round's ratio is of runs next to each other. Times on a shared machine wander; ratios less.
The machine's load before the run is printed with them: above 0.3 or so, run it again.
"""

import os
import statistics
import subprocess
import sys
import time

ROUNDS = 3
BATCH_SIZES = (64, 256)
SECONDS = 2.0  # of steps, after warming up


def minidl_step(batch_size):
    """A function that does one step."""
    import numpy as np

    from minidl import models, nn, optim

    model, loss_function = models.lenet5(), nn.CrossEntropyLoss()
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    images = np.random.default_rng(0).standard_normal((batch_size, 32, 32, 1), np.float32)
    labels = np.random.default_rng(1).integers(0, 10, batch_size)

    def step():
        optimizer.zero_grad()
        loss_function(model(images), labels).backward()
        optimizer.step()

    return step


def torch_step(batch_size):
    """The same by PyTorch, in its own layout."""
    import torch
    from torch import nn

    torch.set_num_threads(os.cpu_count())
    model = nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip
    loss_function = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    images, labels = torch.randn(batch_size, 1, 32, 32), torch.randint(0, 10, (batch_size,))

    def step():
        optimizer.zero_grad()
        loss_function(model(images), labels).backward()
        optimizer.step()

    return step


def images_per_second(step, batch_size):
    """By the median step of some seconds."""
    for _ in range(20):
        step()
    times = []
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return batch_size / statistics.median(times)


def measure(name, batch_size):
    """images_per_second in a new process."""
    command = [sys.executable, __file__, name, str(batch_size)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main():
    """Print the ratios."""
    print(f"load before the run: {os.getloadavg()[0]:.2f} on {os.cpu_count()} cores")
    print("batch size   minidl / PyTorch (median of rounds, lowest to highest)")
    for batch_size in BATCH_SIZES:
        ratios = sorted(
            measure("minidl", batch_size) / measure("torch", batch_size) for _ in range(ROUNDS)
        )
        print(
            f"{batch_size:10}   {statistics.median(ratios):.2f}  "
            f"({ratios[0]:.2f} to {ratios[-1]:.2f})"
        )


if __name__ == "__main__":
    if len(sys.argv) == 3:
        steps = {"minidl": minidl_step, "torch": torch_step}
        size = int(sys.argv[2])
        print(images_per_second(steps[sys.argv[1]](size), size))
    else:
        main()
