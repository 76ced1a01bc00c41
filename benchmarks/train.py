"""Whole training steps beside the other libraries.

    python -m benchmarks.train                       # every network
    python -m benchmarks.train lenet5-64 resnet18    # some of them
    python -m benchmarks.train --cold --json FILE    # minidl's compile time too; keep the figures

A step: zero_grad, forward, cross-entropy, backward, SGD with momentum; float32.
"""

import sys

from benchmarks.compare import networks_command

SIZES = {
    "lenet5": (64, 256), "vgg-cifar": (64,), "resnet20": (128,), "resnet18": (8,),
    "mobilenet": (8,), "mobilenet-grouped": (8,), "vgg16": (2,), "resnet50": (4,),
    "se-resnext50": (2,), "densenet121": (4,),
}  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; returns the exit status."""
    return networks_command("train", "Whole training steps, side by side.", SIZES, arguments)


if __name__ == "__main__":
    sys.exit(main())
