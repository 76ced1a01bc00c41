"""Inference beside the other libraries: `model.eval()` without a tape.

python -m benchmarks.infer                     # every network
python -m benchmarks.infer resnet18 vgg16-1    # some of them
"""

import sys

from benchmarks.compare import networks_command

SIZES = {"lenet5": (1, 64), "resnet18": (1, 8), "mobilenet": (1, 8), "vgg16": (1,)}


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; returns the exit status."""
    return networks_command("infer", "Inference, side by side.", SIZES, arguments)


if __name__ == "__main__":
    sys.exit(main())
