"""`minidl caption`: the command of `apps.caption`."""

import argparse
from pathlib import Path
from typing import Any

from minidl.cli.arguments import add_threads, keywords, set_threads, whole
from minidl.cli.figures import check_figures, save_figures
from minidl.errors import ArgumentError

__all__ = ["add_caption"]

TRAIN = "train"
OF_TRAINING = (
    "images_in", "model", "least", "hidden", "epochs", "batch_size", "lr", "seed", "resume",
    "output",
)  # fmt: skip


def add_caption(commands: Any) -> None:
    """Add the command `caption`."""
    caption = commands.add_parser(
        "caption",
        help="train a network to say what is in images, and let it",
        description="Say what is in images. `minidl caption train CAPTIONS` trains a network on\n"
        "images with captions by people: a table of images and captions, COCO's JSON, or\n"
        "a token file of Flickr's.",
        argument_default=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  minidl caption train said.csv --images photos --weights mobilenet.h5 -o run\n"
        "  minidl caption dog.jpg --weights run/captioner.h5\n"
        "  minidl caption photos --weights run/captioner.h5 --beams 5 --json said.json\n",
    )
    caption.set_defaults(run=_caption)
    caption.add_argument(
        "words", nargs="+", metavar="IMAGE",
        help="image files or folders of them, or `train CAPTIONS`",
    )  # fmt: skip
    caption.add_argument(
        "--weights", type=Path, metavar="FILE",
        help="the captioner, as `train` saved it; with train, a network of ImageNet's to look with",
    )  # fmt: skip
    caption.add_argument(
        "--beams", type=whole, metavar="N", help="captions to weigh at a time (default: 3)"
    )
    caption.add_argument("--json", type=Path, metavar="FILE", help="also save what is said here")
    group = caption.add_argument_group("with train")
    group.add_argument(
        "--images", dest="images_in", type=Path, metavar="FOLDER",
        help="where the images are (default: the folder of CAPTIONS)",
    )  # fmt: skip
    group.add_argument(
        "-o", "--output", type=Path, metavar="DIR",
        help="the folder to save in (default: runs/caption-CAPTIONS)",
    )  # fmt: skip
    group.add_argument(
        "--model", metavar="NAME", help="what the weights are of, if they don't tell"
    )
    group.add_argument(
        "--least", type=whole, metavar="N", help="how often a word is there, to be learned (3)"
    )
    group.add_argument("--hidden", type=whole, metavar="N", help="units of the LSTM (default: 512)")
    group.add_argument("--epochs", type=whole, metavar="N", help="(default: 15)")
    group.add_argument("--batch-size", type=whole, metavar="N", help="(default: 64)")
    group.add_argument("--lr", type=float, metavar="X", help="of Adam, at first (default: 0.001)")
    group.add_argument("--seed", type=int, metavar="N", help="of random numbers (default: 0)")
    group.add_argument(
        "--resume", action="store_true", help="continue after the last epoch in the folder"
    )
    add_threads(caption)


def _caption(options: argparse.Namespace) -> int:
    set_threads(options)
    check_figures(options)
    given = keywords(options)
    words = given.pop("words")
    if "weights" not in given:
        raise ArgumentError("--weights FILE is missing")
    if words[0] == TRAIN:
        if len(words) != 2:
            raise ArgumentError("expected one file: minidl caption train CAPTIONS --weights FILE")
        return _train(Path(words[1]), given, options)
    if unused := [name for name in OF_TRAINING if name in given]:
        name = unused[0].removesuffix("_in").replace("_", "-")
        raise ArgumentError(f"--{name} goes with train")
    return _say([Path(word) for word in words], given, options)


def _train(captions: Path, given: dict[str, Any], options: argparse.Namespace) -> int:
    from minidl.apps.caption import train_captioner

    folder = given.pop("output", Path("runs") / f"caption-{captions.resolve().stem}")
    images = given.pop("images_in", captions.parent)
    found = train_captioner(captions, images, folder, given.pop("weights"), **given)
    told = ", ".join(f"BLEU-{n} {100 * score:.1f}" for n, score in enumerate(found.bleu, 1))
    print(f"of {found.images} images: {told}, CIDEr {found.cider:.3f}")
    print(f"{found.distinct} different captions")
    if found.distinct < found.images / 10:
        print("  it says nearly the same of all: train longer, or on more images")
    save_figures(options, found._asdict())
    print(f"saved {folder / 'captioner.h5'}")
    return 0


def _say(paths: list[Path], given: dict[str, Any], options: argparse.Namespace) -> int:
    from minidl.apps.caption import describe, load_captioner
    from minidl.data.scanning import images_in

    captioner = load_captioner(given.pop("weights"))
    rows = []
    for path in paths:
        files = images_in(path) if path.is_dir() else [path]
        if not files:
            raise ArgumentError(f"{path}: there is no image in the folder")
        for file in files:
            text = describe(captioner, file, **given)
            print(f"{file}: {text}", flush=True)
            rows.append({"image": str(file), "caption": text})
    save_figures(options, {"images": rows})
    return 0
