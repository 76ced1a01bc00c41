"""`minidl upscale`: the command of `apps.upscale`."""

import argparse
from pathlib import Path
from typing import Any

from minidl.cli.arguments import add_threads, keywords, set_threads, whole
from minidl.cli.figures import check_folder, check_weights_file
from minidl.errors import ArgumentError
from minidl.text import table

__all__ = ["add_upscale"]


def add_upscale(commands: Any) -> None:
    """Add the command `upscale`."""
    upscale = commands.add_parser(
        "upscale",
        help="make a picture three times as large, by a network",
        description="Super-resolution: make a picture larger by a network that was trained to, or\n"
        "train one, or measure one on pictures that are made smaller before.",
        argument_default=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  minidl upscale old.jpg -o large.png\n"
        "  minidl upscale --train photos --scale 2 -o espcn_x2.h5\n"
        "  minidl upscale --test Set5 --weights espcn_x2.h5\n",
    )
    upscale.set_defaults(run=_upscale)
    what = upscale.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "picture", type=Path, nargs="?", default=None, metavar="PICTURE", help="an image file"
    )
    what.add_argument(
        "--train", type=Path, metavar="FOLDER", help="train a network on the pictures in a folder"
    )
    what.add_argument(
        "--test", type=Path, metavar="FOLDER",
        help="make the pictures in a folder smaller, then larger again, and tell what was lost",
    )  # fmt: skip
    upscale.add_argument(
        "--weights", type=Path, metavar="FILE",
        help="a file of --train, or SRCNN's .mat or .caffemodel (default: minidl's own, three "
        "times as large)",
    )  # fmt: skip
    upscale.add_argument(
        "--network", choices=("espcn", "srcnn"), help="with --train, what to train (default: espcn)"
    )
    upscale.add_argument(
        "--scale", type=whole, metavar="N",
        help="with --train, how many times as large: 2, 3 or 4 (default: 3)",
    )  # fmt: skip
    upscale.add_argument(
        "--epochs", type=whole, metavar="N",
        help="with --train, passes over the pictures (default: 40)",
    )  # fmt: skip
    upscale.add_argument(
        "--seed", type=int, metavar="N",
        help="with --train, where all random numbers come from (default: 0)",
    )  # fmt: skip
    upscale.add_argument(
        "-o", "--output", type=Path, metavar="FILE",
        help="the PNG, or the weights, to write (default: PICTURE-xN.png, NETWORK.h5)",
    )  # fmt: skip
    add_threads(upscale)


OF_TRAINING = ("network", "scale", "epochs", "seed")


def _upscale(options: argparse.Namespace) -> int:
    set_threads(options)
    given = {name: value for name, value in keywords(options).items() if value is not None}
    if unused := [name for name in OF_TRAINING if name in given and "train" not in given]:
        raise ArgumentError(f"--{unused[0]} goes with --train FOLDER")
    if "train" in given:
        return _train(given)
    return _test(given) if "test" in given else _enlarge(given)


def _train(given: dict[str, Any]) -> int:
    from minidl.apps.upscale import train_upscaler

    if "weights" in given:
        raise ArgumentError("--weights goes with PICTURE or --test, not with --train")
    folder = given.pop("train")
    output = given.pop("output", Path(f"{given.get('network', 'espcn')}.h5"))
    check_weights_file(output)
    train_upscaler(folder, output, **given)
    print(f"saved {output}")
    return 0


def _test(given: dict[str, Any]) -> int:
    from minidl.apps.upscale import load_upscaler, measure
    from minidl.apps.upscale.enlarging import own_upscaler

    network = load_upscaler(given["weights"]) if "weights" in given else own_upscaler()
    names = ("bicubic_psnr", "psnr", "bicubic_ssim", "ssim")
    rows = [
        (row["picture"], *(f"{row[n]:.{2 if 'psnr' in n else 4}f}" for n in names))
        for row in measure(given["test"], network)
    ]
    head = ("picture", "bicubic, dB", "network, dB", "bicubic, SSIM", "network, SSIM")
    print(table([head, *rows], rules=(1, -1)))
    return 0


def _enlarge(given: dict[str, Any]) -> int:
    from minidl.apps.pictures import save_png
    from minidl.apps.upscale import upscale

    picture, output = given["picture"], given.get("output")
    if output is not None and output.suffix.lower() != ".png":
        raise ArgumentError(f"--output expected a .png file, got {output}")
    if output is not None:
        check_folder(output)
    found = upscale(picture, given.get("weights"))
    output = output or Path(f"{picture.stem}-x{found.settings['scale']}.png")
    save_png(output, found.picture, {"picture": picture, **found.settings})
    height, width = found.picture.shape[:2]
    print(f"saved {output}: {width} x {height} pixels")
    return 0
