"""`minidl predict`: what is in images."""

import argparse
import errno
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minidl.cli.arguments import whole
from minidl.cli.members import Members, add_shared, open_members, pairs, save_json
from minidl.errors import ArgumentError, FileFormatError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["add_predict"]


def add_predict(commands: Any) -> None:
    """Add the command `predict`."""
    predict = commands.add_parser(
        "predict",
        help="tell what is in images",
        description="Tell the likeliest classes of images, by a network or by several together.\n"
        "The status is 1 if an image couldn't be read, 2 if none could.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  minidl predict cat.jpg --weights runs/pets/weights.h5\n"
        "  minidl predict photos --weights a.h5 b.h5 --vote --top 1\n"
        "  minidl predict cat.jpg --weights mobilenet.h5 --classes synset_words.txt\n",
    )
    predict.set_defaults(run=_predict)
    predict.add_argument(
        "images", type=Path, nargs="+", metavar="IMAGE", help="image files, or folders of them"
    )
    predict.add_argument(
        "--weights", type=Path, nargs="+", required=True, metavar="FILE",
        help="files of weights: minidl's own, Keras's, torchvision's",
    )  # fmt: skip
    predict.add_argument(
        "--top", type=whole, default=5, metavar="N", help="classes an image (default: 5)"
    )
    predict.add_argument(
        "--vote", action="store_true",
        help="join several networks by their votes, the average of their probabilities being one "
        "more (default: by that average)",
    )  # fmt: skip
    add_shared(predict)


def _predict(options: argparse.Namespace) -> int:
    if options.vote and len(options.weights) == 1:
        raise ArgumentError(f"--vote joins several networks, and {options.weights[0]} is one")
    files = _files(options.images)
    members = open_members(options)
    found: list[dict[str, Any]] = []
    skipped: list[tuple[str, str]] = []
    for file, given in _asked(options, members, files):
        if isinstance(given, str):
            skipped.append((str(file), given))
            continue
        top = (-given).argsort(kind="stable")[: options.top].tolist()
        classes = [
            {"class": members.called(n), "number": n, "probability": float(given[n])} for n in top
        ]
        print(f"{'' if not found else chr(10)}{file}")
        for each in classes:
            print(f"  {each['probability']:7.2%}  {each['class']}", flush=True)
        found.append({"image": str(file), "classes": classes})
    for name, reason in skipped:
        print(f"minidl predict: {name}: {reason}", file=sys.stderr)
    if options.json:
        about = {
            "weights": list(map(str, options.weights)),
            "how": "vote" if options.vote else "average",
            "ten_crop": options.ten_crop,
        }
        save_json(options.json, about | {"predictions": found, "skipped": pairs(skipped)})
    return 0 if not skipped else 1 if found else 2


def _files(given: Iterable[Path]) -> list[Path]:
    """The image files, those of folders in natural order."""
    from minidl.data.images import SUFFIXES

    files: list[Path] = []
    for path in given:
        if not path.exists():
            raise FileNotFoundError(errno.ENOENT, f"there is no {path}")
        if not path.is_dir():
            files.append(path)
            continue
        inside = [
            file for file in path.iterdir()
            if file.suffix.lower() in SUFFIXES and file.is_file() and file.name[0] != "."
        ]  # fmt: skip
        if not inside:
            raise ArgumentError(
                f"there is no image in the folder {path} (those in its sub-folders aren't taken): "
                f"expected files that end with {', '.join(sorted(SUFFIXES))}"
            )
        files += sorted(inside, key=_natural)
    return files


def _natural(file: Path) -> list[Any]:
    """A key to sort by: text as text, digits as numbers."""
    parts = re.split(r"(\d+)", file.name)
    return [[int(part) if i % 2 else part for i, part in enumerate(parts)], file.name]


def _asked(
    options: argparse.Namespace, members: Members, files: Sequence[Path]
) -> "Iterator[tuple[Path, np.ndarray | str]]":
    """Each file with its probabilities (C,), or why it can't be read."""
    import numpy as np

    from minidl.data import ArrayDataset
    from minidl.train import ensemble

    sizes = sorted({*members.sizes})
    for start in range(0, len(files), options.batch_size):
        batch = files[start : start + options.batch_size]
        answers: dict[Path, Any] = {file: _decoded(file, sizes) for file in batch}
        good = [file for file, pixels in answers.items() if not isinstance(pixels, str)]
        if good:
            images = {
                size: ArrayDataset(np.stack([answers[file][size] for file in good]))
                for size in sizes
            }
            scores = members.log_probabilities(images, options.batch_size, options.ten_crop)
            joint = ensemble(scores, "vote" if options.vote else "average")
            answers |= dict(zip(good, joint, strict=True))
        yield from ((file, answers[file]) for file in batch)


def _decoded(file: Path, sizes: Iterable[int]) -> "dict[int, np.ndarray] | str":
    """The pixels in each size, or why they can't be read."""
    from minidl.data import read_image
    from minidl.data.folder import reason_of

    try:
        return {size: read_image(file, size) for size in sizes}
    except (FileFormatError, OSError) as error:
        return reason_of(error, file)
