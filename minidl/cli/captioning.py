"""`minidl caption`: the command of `apps.caption`."""

import argparse
from pathlib import Path
from typing import Any

from minidl.cli.arguments import (
    INTERRUPTED,
    add_no_mirror,
    add_threads,
    amount,
    check_goes_with,
    image_files,
    keywords,
    rate,
    set_threads,
    whole,
)  # fmt: skip
from minidl.cli.figures import check_figures, save_figures
from minidl.errors import ArgumentError, FileFormatError
from minidl.text import printable

__all__ = ["add_caption"]

TRAIN, SAY = "train", "IMAGE"
ALWAYS = ("weights", "output", "beams", "json")  # what goes with both
OPTIONS = {
    TRAIN: (
        "images", "model", "decoder", "members", "least", "hidden", "epochs", "batch_size", "lr",
        "doubly_stochastic", "scheduled_sampling", "mirror", "seed", "resume",
    ),
    SAY: (),
}  # fmt: skip


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
        "  minidl caption photos --weights run/captioner.h5 --json said.json\n"
        "  minidl caption dog.jpg --weights attend/captioner.h5 -o looked\n",
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
        "--beams", type=whole, metavar="N", help="captions to weigh at a time (default: 20)"
    )
    caption.add_argument("--json", type=Path, metavar="FILE", help="also save what is said here")
    caption.add_argument(
        "-o", "--output", type=Path, metavar="DIR",
        help="the folder to draw in where a captioner that attends looked before each word; with "
        "train, to save in (default: runs/caption-CAPTIONS)",
    )  # fmt: skip
    _add_training(caption)
    add_threads(caption)


def _add_training(caption: Any) -> None:
    group = caption.add_argument_group("with train")
    group.add_argument(
        "--images", type=Path, metavar="FOLDER",
        help="where the images are (default: the folder of CAPTIONS)",
    )  # fmt: skip
    group.add_argument(
        "--model", metavar="NAME", help="what the weights are of, if they don't tell"
    )
    group.add_argument(
        "--decoder", choices=("show-and-tell", "attend"),
        help="attend looks at other places of the image at each word (default: show-and-tell)",
    )  # fmt: skip
    group.add_argument(
        "--members", type=whole, metavar="N",
        help="train N decoders side by side and average what they say (default: 1)",
    )  # fmt: skip
    group.add_argument(
        "--least",
        type=whole,
        metavar="N",
        help="learn words that are there N times or more (default: 3)",
    )
    group.add_argument("--hidden", type=whole, metavar="N", help="units of the LSTM (default: 256)")
    group.add_argument("--epochs", type=whole, metavar="N", help="(default: 15)")
    group.add_argument("--batch-size", type=whole, metavar="N", help="(default: 64)")
    group.add_argument("--lr", type=rate, metavar="X", help="of Adam, at first (default: 0.002)")
    group.add_argument(
        "--doubly-stochastic", type=amount, metavar="X",
        help="with --decoder attend, weight of the loss for uneven looking (default: 1; 0: none)",
    )  # fmt: skip
    group.add_argument(
        "--scheduled-sampling", type=amount, metavar="P",
        help="how often, in the last epoch, to read a word that the decoder drew itself "
        "(default: 0)",
    )  # fmt: skip
    add_no_mirror(group)
    group.add_argument("--seed", type=int, metavar="N", help="of random numbers (default: 0)")
    group.add_argument(
        "--resume", action="store_true", help="continue after the last epoch in the folder"
    )


def _caption(options: argparse.Namespace) -> int:
    set_threads(options)
    check_figures(options)
    given = keywords(options)
    words = given.pop("words")
    what = TRAIN if words[0] == TRAIN else SAY
    check_goes_with(given, what, OPTIONS, ALWAYS)
    if "doubly_stochastic" in given and given.get("decoder") != "attend":
        raise ArgumentError("--doubly-stochastic goes with --decoder attend")
    if "weights" not in given:
        raise ArgumentError("--weights FILE is missing")
    if what == SAY:
        return _say([Path(word) for word in words], given, options)
    if len(words) != 2:
        raise ArgumentError("expected one file: minidl caption train CAPTIONS --weights FILE")
    return _train(Path(words[1]), given, options)


def _train(captions: Path, given: dict[str, Any], options: argparse.Namespace) -> int:
    from minidl.apps.caption import train_captioner

    folder = given.pop("output", Path("runs") / f"caption-{captions.resolve().stem}")
    images = given.pop("images", captions.parent)
    try:
        found = train_captioner(captions, images, folder, given.pop("weights"), **given)
    except KeyboardInterrupt:
        if not (folder / "captioner.h5").exists():
            raise
        print(f"interrupted: {folder / 'captioner.h5'} is of the best epoch so far")
        return INTERRUPTED
    told = ", ".join(f"BLEU-{n} {100 * score:.1f}" for n, score in enumerate(found.bleu, 1))
    print(f"of {found.images} images: {told}, CIDEr {found.cider:.3f}")
    print(f"{found.distinct} different captions")
    if found.distinct <= max(1, found.images / 10) < found.images:
        print("  it says nearly the same of all: train longer, or on more images")
    save_figures(options, found._asdict())
    print(f"saved {folder / 'captioner.h5'}")
    return 0


def _say(paths: list[Path], given: dict[str, Any], options: argparse.Namespace) -> int:
    from minidl.apps.caption import load_captioner, observe
    from minidl.apps.caption.drawing import check_attends
    from minidl.cli.pictures import drawing_of, tell_skipped
    from minidl.data.folder import reason_of

    files, output = image_files(paths), given.pop("output", None)
    captioner = load_captioner(given.pop("weights"))
    if output is not None:
        check_attends("--output", captioner.decoder)
    drawings = drawing_of(files, output, "attention")
    rows, skipped = [], []
    for file in files:
        try:
            seen = observe(captioner, file, **given)
        except (FileFormatError, OSError) as error:
            skipped.append({"file": str(file), "reason": reason_of(error, file)})
            continue
        text = printable(" ".join(seen.words))
        print(f"{file}: {text}", flush=True)
        rows.append({"image": str(file), "caption": text})
        if drawings:
            _draw(seen, file, drawings[file])
    status = tell_skipped("caption", skipped, len(rows))
    save_figures(options, {"images": rows, "skipped": skipped})
    return status


def _draw(seen: Any, file: Path, path: Path) -> None:
    """Save a picture of where the network looked before each word."""
    from minidl.apps.caption import attention_picture
    from minidl.apps.pictures import save_png

    picture = attention_picture(seen.image, seen.words, seen.weights)
    save_png(path, picture, {"picture": file, "caption": " ".join(seen.words)})
