"""`minidl fast-style`: the command of `apps.fast_style`."""

import argparse
from pathlib import Path
from typing import Any

from minidl.cli.arguments import INTERRUPTED, add_threads, keywords, set_threads, whole
from minidl.cli.figures import check_folder, check_weights_file
from minidl.cli.painting import StepBar, add_every, save_preview
from minidl.errors import ArgumentError

__all__ = ["add_fast_style"]

OF_TRAINING = ("style", "weights", "model", "steps", "seed", "every")


def add_fast_style(commands: Any) -> None:
    """Add the command `fast-style`."""
    style = commands.add_parser(
        "fast-style",
        help="train a network for one style, and paint with it in one pass",
        description="Neural style in one pass: train a network for one style on some hundred\n"
        "photographs, then paint any picture with it in a second.",
        argument_default=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  minidl fast-style --train photos --style wave.jpg --weights vgg19.safetensors\n"
        "  minidl fast-style town.jpg --network wave.h5\n",
    )
    style.set_defaults(run=_fast_style)
    style.add_argument(
        "picture", type=Path, nargs="?", default=None, metavar="PICTURE", help="an image file"
    )
    style.add_argument(
        "--network", type=Path, metavar="FILE", help="with PICTURE, what --train has saved"
    )
    style.add_argument(
        "--train", type=Path, metavar="FOLDER", help="train a network on the photographs there"
    )
    style.add_argument(
        "--style", type=Path, metavar="FILE", help="with --train, the picture to take the style of"
    )
    style.add_argument(
        "--weights", type=Path, metavar="FILE",
        help="with --train, of the network that sees the style: VGG's, SqueezeNet's",
    )  # fmt: skip
    style.add_argument(
        "--model", metavar="NAME", help="the network that the weights are of, if they don't tell"
    )
    style.add_argument("--steps", type=whole, metavar="N", help="of --train (default: 1000)")
    add_every(style, "with --train, the first photograph, painted,")
    style.add_argument(
        "--size", type=whole, metavar="N",
        help="pixels: of the photographs' sides (default: 128), or of the result's longer side",
    )  # fmt: skip
    style.add_argument("--seed", type=int, metavar="N", help="of random numbers (default: 0)")
    style.add_argument(
        "-o", "--output", type=Path, metavar="FILE",
        help="what to write (default: STYLE.h5, or PICTURE-style.png)",
    )  # fmt: skip
    add_threads(style)


def _fast_style(options: argparse.Namespace) -> int:
    set_threads(options)
    given = keywords(options)
    picture = given.pop("picture", None)
    if (picture is None) == ("train" not in given):
        raise ArgumentError("give a PICTURE with --network FILE, or --train FOLDER")
    if picture is None:
        return _train(given)
    if unused := [name for name in OF_TRAINING if given.get(name) is not None]:
        raise ArgumentError(f"--{unused[0]} goes with --train FOLDER")
    if "network" not in given:
        raise ArgumentError("--network FILE is missing: minidl fast-style --train makes one")
    return _paint(picture, given)


def _train(given: dict[str, Any]) -> int:
    """Train; what there is at Ctrl-C is saved too."""
    import minidl as md
    from minidl.apps import fast_style

    if "style" not in given:
        raise ArgumentError("--style FILE is missing: the picture to take the style of")
    style, photos = given.pop("style"), given.pop("train")
    output = given.pop("output", Path(f"{style.stem}.h5"))
    check_weights_file(output)
    md.manual_seed(given.get("seed", 0))
    network, bar, every = fast_style.TransformNet(), StepBar("fast-style"), given.pop("every")
    status = 0

    def on_step(step: Any) -> None:
        bar(step)
        if every and step.number % every == 0:
            save_preview(output, step, {"style": style, **given})

    try:
        fast_style.train(
            style, photos, given.pop("weights", None), network=network, on_step=on_step, **given
        )
    except KeyboardInterrupt:
        if bar.last is None:
            raise
        print(f"interrupted after {bar.last.number} steps")
        status = INTERRUPTED
    finally:
        bar.close()
    md.save_weights(network, output)
    print(f"saved {output}")
    return status


def _paint(picture: Path, given: dict[str, Any]) -> int:
    import minidl as md
    from minidl.apps import fast_style
    from minidl.apps.pictures import save_png

    output = given.get("output", Path(f"{picture.stem}-style.png"))
    if output.suffix.lower() != ".png":
        raise ArgumentError(f"--output expected a .png file, got {output}")
    check_folder(output)
    network = fast_style.TransformNet()
    md.load_weights(network, given["network"])
    found = fast_style.apply(network, picture, given.get("size"))
    save_png(output, found, {"picture": picture, "network": given["network"]})
    height, width = found.shape[:2]
    print(f"saved {output}: {width} x {height} pixels")
    return 0
