"""Weights that come with minidl, trained by it.

| weights | network | test accuracy | made by |
|---|---|---|---|
| `lenet5`, "mnist" | LeNet-5 | 99.19 % | `minidl train --data mnist --augment --epochs 12` |
| `plain_cnn`, "mnist" | six convolutions | 99.41 % | `minidl train --model plain_cnn --arguments '{"m": 3, "widths": [16, 32, 64], "k": 0}' --data mnist --augment --epochs 8` |
| `preact_resnet_cifar`, "cifar10" | three residual blocks | 72.38 % | `minidl train --model preact_resnet_cifar --arguments '{"depth": 8}' --data cifar10 --data-dir DIR --augment --epochs 60 --schedule onecycle --lr 0.2` |

The last one has seen few photographs: DIR holds the first 4,000 of CIFAR-10's training images alone,
of which the command keeps 800 to test on and 320 to choose the epoch by.
"""  # noqa: E501

import os
from pathlib import Path

__all__ = ["pretrained", "shipped"]

FOLDER = Path(__file__).parents[1] / "pretrained"


def pretrained() -> list[tuple[str, str]]:
    """Return (network, weights) of what `models.create(network, weights=weights)` knows by name."""
    names = sorted(path.stem for path in FOLDER.glob("*.h5"))
    return [(name, data) for name, _, data in (each.rpartition("_") for each in names)]


def shipped(name: str, weights: object) -> Path | None:
    """The file of the weights called `weights` for a network; None if there is none, or a file of
    the user's own has that name."""
    if not isinstance(weights, str) or (name, weights) not in pretrained():
        return None
    return None if os.path.isfile(weights) else FOLDER / f"{name}_{weights}.h5"
