"""`minidl gan` and `minidl vae`: the commands of `apps.gan` and `apps.vae`."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from minidl.cli.arguments import add_threads, keywords, set_threads, whole
from minidl.errors import ArgumentError

__all__ = ["add_gan", "add_vae"]

NAMED = ("digits", "mnist")


def add_gan(commands: Any) -> None:
    """Add the command `gan`."""
    gan = commands.add_parser(
        "gan",
        help="draw pictures like those of a set, by two networks against each other",
        description="Train a DCGAN: a generator that draws pictures, and a discriminator that\n"
        "tells them from those of the set. The folder gets a grid of samples an epoch, a\n"
        "walk between samples, and the generator.",
        argument_default=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  minidl gan --data mnist --epochs 10\n"
        "  minidl gan --data faces --size 64 --spectral -o runs/faces --resume\n",
    )
    gan.set_defaults(run=_gan)
    _add_material(gan, "runs/gan-DATA")
    gan.add_argument(
        "--size", type=int, choices=(32, 64), help="pixels of the pictures' sides (default: 32)"
    )
    gan.add_argument(
        "--spectral", action="store_true",
        help="spectral normalisation in the discriminator, in place of batch normalisation",
    )  # fmt: skip
    gan.add_argument(
        "--resume", action="store_true", help="go on after the last epoch that the folder has"
    )


def add_vae(commands: Any) -> None:
    """Add the command `vae`."""
    vae = commands.add_parser(
        "vae",
        help="tell pictures by two numbers, and draw them from any two",
        description="Train a variational autoencoder. The folder gets reconstructions beside\n"
        "pictures, what a grid of pairs of numbers tells, and the network.",
        argument_default=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  minidl vae --data digits\n"
        "  minidl vae --data mnist --epochs 10 -o runs/vae\n",
    )
    vae.set_defaults(run=_vae)
    _add_material(vae, "runs/vae-DATA")


def _add_material(command: Any, folder: str) -> None:
    command.add_argument(
        "--data", default="digits", metavar="NAME",
        help=f"{', '.join(NAMED)}, or a folder of pictures (default: digits)",
    )  # fmt: skip
    command.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="where MNIST's files are (default: data/mnist)"
    )
    command.add_argument("--epochs", type=whole, metavar="N", help="(default: 20)")
    command.add_argument("--batch-size", type=whole, metavar="N", help="(default: 64)")
    command.add_argument("--seed", type=int, metavar="N", help="of random numbers (default: 0)")
    command.add_argument(
        "-o", "--output", type=Path, metavar="DIR",
        help=f"the folder to save in (default: {folder})",
    )  # fmt: skip
    add_threads(command)


def _gan(options: argparse.Namespace) -> int:
    from minidl.apps.gan import train_gan
    from minidl.apps.gan.training import ALIKE

    given, images, truths, folder = _opened(options)

    def told(row: dict[str, float]) -> None:
        print(
            f"epoch {row['epoch']:.0f}: generator {row['generator']:.3f}, discriminator "
            f"{row['discriminator']:.3f}, which is right of {row['right']:.0%}"
        )
        if "sure" in row:
            print(
                f"  LeNet-5 is sure of {row['sure']:.1%} of the samples, and names {row['digits']} "
                f"digits; Fréchet distance of its features {row['distance']:.1f}"
            )
        if row["diversity"] < ALIKE:
            print(
                f"  the samples are nearly all alike: their pixels vary {row['diversity']:.0%} as "
                "much as the pictures'"
            )

    train_gan(images, folder, **given, truths=truths, on_epoch=told)
    print(f"saved samples, walk.png and generator.h5 in {folder}")
    return 0


def _vae(options: argparse.Namespace) -> int:
    from minidl.apps.vae import train_vae

    given, images, _, folder = _opened(options)
    if images.shape[3] == 3:
        images = images.mean(axis=3, keepdims=True)
    history = train_vae(images, folder, **given).history
    print(f"{-history[-1]['loss']:.1f} nats a picture, the bound of their log-likelihood")
    print(f"saved reconstructions.png, walk.png and vae.h5 in {folder}")
    return 0


def _opened(
    options: argparse.Namespace,
) -> tuple[dict[str, Any], np.ndarray, np.ndarray | None, Path]:
    """The arguments of the function, the pictures, true digits to judge samples by, the folder."""
    set_threads(options)
    given = keywords(options)
    data, size = given.pop("data"), given.pop("size", 32)
    images, truths = _images(data, given.pop("data_dir", None), size)
    default = Path("runs") / f"{options.command}-{Path(data).name}"
    return given, images, truths, given.pop("output", default)


def _images(data: str, folder: Path | None, size: int) -> tuple[np.ndarray, np.ndarray | None]:
    """(N, size, size, C), and of MNIST the digits of the test part."""
    from minidl import data as sets
    from minidl.apps.upscale.measuring import pictures_in

    if folder is not None and data != "mnist":
        raise ArgumentError("--data-dir is for MNIST: add --data mnist")
    if data in NAMED:
        if size != 32:
            raise ArgumentError(f"--size {size}: {data} has pictures of 32 pixels")
        parts: Any = sets.digits() if data == "digits" else sets.mnist(folder or "data/mnist")
        images, truths = (part.arrays[0] for part in parts)
        return images, truths if data == "mnist" else None
    files = pictures_in(data)
    found = np.stack([sets.read_image(path, size) for path in files])
    grey = (found == found[..., :1]).all()
    return (found[..., :1] if grey else found), None
