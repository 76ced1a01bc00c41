"""What `minidl dream` and `minidl style` share: progress, previews, Ctrl-C, and the PNG."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minidl.cli.arguments import INTERRUPTED, add_threads, keywords, set_threads, whole
from minidl.cli.figures import check_folder
from minidl.errors import ArgumentError

__all__ = ["StepBar", "add_every", "add_painting", "layer_weights", "paint", "save_preview"]

OWN = ("output", "every")  # options that the function knows nothing of


def add_painting(command: Any, what: str) -> None:
    """Add the options that both have; `what` is the file that is written by default."""
    command.add_argument(
        "--weights", type=Path, metavar="FILE",
        help="a file of weights: minidl's own, Keras's, torchvision's, timm's",
    )  # fmt: skip
    command.add_argument(
        "--model", metavar="NAME",
        help="the network that the weights are of, where the file lacks the head or doesn't tell",
    )  # fmt: skip
    command.add_argument("--seed", type=int, metavar="N", help="of random numbers (default: 0)")
    command.add_argument(
        "-o", "--output", type=Path, default=None, metavar="FILE",
        help=f"the PNG to write, which holds its settings too (default: {what}, here)",
    )  # fmt: skip
    add_every(command, "the picture")
    add_threads(command)


def add_every(command: Any, what: str) -> None:
    """Add --every, for commands that show what they have so far."""
    command.add_argument(
        "--every", type=whole, default=None, metavar="N",
        help=f"also save {what} after every N steps, as FILE-000N.png",
    )  # fmt: skip


def save_preview(output: Path, step: Any, told: dict[str, Any]) -> None:
    """Save the picture of a step beside `output`; told: what its metadata tell."""
    from minidl.apps.pictures import save_png

    preview = output.with_name(f"{output.stem}-{step.number:04}.png")
    save_png(preview, step.picture(), {**told, "step": step.number})


def layer_weights(text: str) -> dict[str, float]:
    """Layers with weights, such as fire5,fire8=0.5, for argparse."""
    found = {}
    for part in text.split(","):
        name, equal, weight = part.strip().partition("=")
        try:
            found[name] = float(weight) if equal else 1.0
        except ValueError:
            raise argparse.ArgumentTypeError(f"the weight of {name} must be a number") from None
    return found


class StepBar:
    """How far a function of `minidl.apps` has come, as a bar; last: the step that it told last."""

    def __init__(self, command: str) -> None:
        self.command = command
        self.last: Any = None
        self._bar: Any = None

    def __call__(self, step: Any) -> None:
        from tqdm import tqdm

        self.last = step
        if self._bar is None:  # not before: what is wrong comes to light until then
            self._bar = tqdm(unit="step", total=step.total, desc=self.command, leave=False)
        self._bar.set_postfix_str(f"{step.stage}, {step.value:.4g}", refresh=False)
        self._bar.update(step.number - self._bar.n)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()


def paint(options: argparse.Namespace, function: Callable[..., Any], named: Path) -> int:
    """Run a function of `minidl.apps` with a bar; save its picture, or the best so far at Ctrl-C.

    named: the file to write where -o gives none.
    """
    from minidl.apps.pictures import Step, save_png

    set_threads(options)
    given = {name: value for name, value in keywords(options).items() if name not in OWN}
    output, every = options.output or named, options.every
    if output.suffix.lower() != ".png":
        raise ArgumentError(
            f"--output expected a .png file, which can hold the settings, got {output}"
        )
    check_folder(output)
    bar = StepBar(options.command)

    def on_step(step: Step) -> None:
        bar(step)
        if every and step.number % every == 0:
            save_preview(output, step, given)

    try:
        found = function(**given, on_step=on_step)
    except KeyboardInterrupt:
        if bar.last is None:
            raise
        save_png(output, bar.last.picture(), {**given, "step": bar.last.number})
        print(f"interrupted after {bar.last.number} steps: saved the picture so far as {output}")
        return INTERRUPTED
    finally:
        bar.close()
    save_png(output, found.picture, found.settings)
    height, width = found.picture.shape[:2]
    print(f"saved {output}: {width} x {height} pixels")
    return 0
