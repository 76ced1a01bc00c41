"""Single layers, forward and each gradient: convolutions as a share of the FMA peak.

    python -m benchmarks.kernels                  # all
    python -m benchmarks.kernels 3x3 depthwise    # those whose name holds one of the words

The layers are minidl's public ones, so what is timed is the algorithm that minidl chooses. A side
that forces one algorithm is a line in benchmarks.sides, with settings of `md.config`.
"""

import argparse
import sys
from dataclasses import dataclass
from typing import Any

from benchmarks.compare import Rows, command, measured_by, parser_of, settings, tell
from benchmarks.networks import BatchNorm, Conv, Depthwise, Linear, MaxPool
from benchmarks.sides import EAGER, MINIDL, SIDES, TUNED_FORMS, Side
from minidl.errors import ArgumentError


@dataclass(frozen=True)
class Operation:
    """Layers on images or rows of `shape`, in one direction; flops is 0 where they don't count."""

    layers: tuple[Any, ...]
    shape: tuple[int, ...]
    direction: str
    flops: int = 0


def _operations() -> dict[str, Operation]:
    found: dict[str, Operation] = {}
    layers = [(8, 56, 64), (8, 28, 128), (8, 14, 256), (8, 7, 512), (128, 32, 16), (128, 16, 32)]
    for batch, size, channels in layers:
        conv = Conv(channels, channels, 3, padding=1, bias=False)
        found |= _conv(f"3x3 {channels}-{channels} at {size}", batch, size, conv)
    found |= _conv("1x1 256-64 at 56", 8, 56, Conv(256, 64, 1, bias=False))
    found |= _conv("7x7/2 3-64 at 224", 8, 224, Conv(3, 64, 7, 2, 3, bias=False), ("weight",))
    for size, channels, of in ((56, 128, 4), (28, 256, 8)):
        conv = Conv(channels, channels, 3, padding=1, groups=channels // of, bias=False)
        found |= _conv(f"3x3 {channels} in groups of {of} at {size}", 2, size, conv)
    for size, channels in ((112, 32), (28, 256)):
        found |= _each(
            f"depthwise 3x3 {channels} at {size}",
            (Depthwise(channels, 3, padding=1),),
            (8, size, size, channels),
            ("input", "weight"),
        )
    found |= _each("max-pool 3/2 64 at 112", (MaxPool(3, 2, 1),), (8, 112, 112, 64), ("input",))
    found |= _each("max-pool 2/2 64 at 56", (MaxPool(2, 2),), (8, 56, 56, 64), ("input",))
    norm = (BatchNorm(64, relu=True),)
    found |= _each("BatchNorm+ReLU 64 at 56", norm, (8, 56, 56, 64), ("backward",))
    gradients = ("input", "weight")
    linear = (Linear(4096, 512),)
    found |= _each("Linear 4096-512", linear, (64, 4096), gradients, 2 * 64 * 4096 * 512)
    return found


def _conv(
    name: str, batch: int, size: int, conv: Conv, gradients: Any = ("input", "weight")
) -> dict[str, Operation]:
    """A convolution; a multiply-add counts as two."""
    out = (size + 2 * conv.padding - conv.kernel) // conv.stride + 1
    flops = 2 * batch * out * out * conv.kernel**2 * conv.inputs * conv.outputs // conv.groups
    return _each(name, (conv,), (batch, size, size, conv.inputs), gradients, flops)


def _each(
    name: str, layers: Any, shape: tuple[int, ...], gradients: Any, flops: int = 0
) -> dict[str, Operation]:
    return {
        f"{name}, {direction}": Operation(layers, shape, direction, flops)
        for direction in ("forward", *gradients)
    }


OPERATIONS = _operations()
USUAL = [MINIDL, "minidl direct", *TUNED_FORMS]
AMONG = [
    name
    for name, side in SIDES.items()
    if side.module in ("in_minidl", "in_torch") and name != EAGER  # one layer is always eager
]


def chosen(words: list[str]) -> list[str]:
    """The names that hold one of the words; all without words."""
    names = [name for name in OPERATIONS if not words or any(word in name for word in words)]
    if not names:
        raise ArgumentError(f"no operation named {' or '.join(words)}: {', '.join(OPERATIONS)}")
    return names


def _measured(sides: list[Side], options: argparse.Namespace) -> Rows:
    names = chosen(options.words)
    shared = settings(options)
    for turn in range(options.rounds):
        tell(f"round {turn + 1} of {options.rounds}: the FMA peak")
        peak = measured_by(SIDES[MINIDL], shared | {"kind": "peak"})
        yield {"case": "peak", "round": turn, **peak}
        for side in sides:
            tell(f"round {turn + 1} of {options.rounds}: {side.name}, {len(names)} operations")
            found = measured_by(side, shared | {"kind": "kernels", "ops": names})
            for name in names:
                about = {"case": name, "side": side.name, "round": turn}
                yield about | {"flops": OPERATIONS[name].flops, **found[name]}


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; returns the exit status."""
    parser = parser_of("benchmarks.kernels", "Single layers, side by side.", seconds=0.3)
    parser.add_argument("words", nargs="*", metavar="WORD", help="parts of names to choose by")
    return command("kernels", parser, AMONG, _measured, arguments, USUAL)


if __name__ == "__main__":
    sys.exit(main())
