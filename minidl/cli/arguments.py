"""Options that commands share, and how options become the arguments of functions."""

import argparse
import csv
import errno
import json
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import minidl as md
from minidl.constants.pixels import PIXELS
from minidl.constants.tasks import TASKS
from minidl.errors import ArgumentError, FileFormatError

__all__ = [
    "INTERRUPTED", "add_arguments", "add_class_weights", "add_classes", "add_columns",
    "add_config", "add_inference", "add_material", "add_mixing", "add_no_mirror", "add_pixels",
    "add_shards", "add_strict", "add_task", "add_threads", "amount", "check_goes_with",
    "configured", "image_files", "keywords", "names", "numbers", "rate", "set_threads", "whole",
    "with_options",
]  # fmt: skip

INTERRUPTED = 130  # the exit status of a program that Ctrl-C ended
RESERVED = ("name", "weights")  # of `models.create`: they have options of their own
# Not passed on: they are the command's own.
OWN = ("command", "parser", "run", "threads", "json", "csv", "config")
# An argument in a message: "size=", `data="mnist"` or "augment=True". Settings that a message
# quotes, such as "seed=0" or "model='lenet5'", are none.
ARGUMENT = re.compile(r'(?<![\w./\\-])([a-z_]+)=(?:"(\w+)"|(True|False)\b|(?=[\s:;,.)]|$))')


def whole(text: str) -> int:
    """A whole number from 1 up, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {text}")
    return number


def rate(text: str) -> float:
    """A number above 0, for argparse."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text}")
    return number


def amount(text: str) -> float:
    """A number from 0 up, for argparse."""
    number = float(text)
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number from 0 up, got {text}")
    return number


def names(text: str) -> list[str]:
    """Names with commas between them, for argparse."""
    return [name.strip() for name in text.split(",")]


def one_or_several(text: str) -> str | list[str]:
    """A name, or several with commas between them, for argparse; one with commas has quotes."""
    found = [name.strip() for row in csv.reader([text], skipinitialspace=True) for name in row]
    return found if len(found) > 1 else "".join(found)


def numbers(text: str) -> list[float]:
    """Numbers with commas between them, for argparse."""
    return [float(number) for number in text.split(",")]


def _arguments(text: str) -> dict[str, Any]:
    """Names and values to make a network with, for argparse."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"expected JSON, got {text!r}: {error}") from error
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError(f"expected names and values in JSON, got {text!r}")
    if reserved := [name for name in RESERVED if name in found]:
        raise argparse.ArgumentTypeError(f"can't hold {', '.join(reserved)}")
    return found


def keywords(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options that were given as keyword arguments of the command's function."""
    return {name: value for name, value in vars(options).items() if name not in OWN}


def check_goes_with(
    given: Iterable[str],
    what: str,
    options: Mapping[str, Sequence[str]],
    always: Sequence[str] = (),
) -> None:
    """Raise ArgumentError for an option that isn't for what a command is to do.

    given: names of options.  what: a key of `options`, which has what goes with each.
    always: what goes with all.
    """
    for name in given:
        if name not in (*options[what], *always):
            goes = next(other for other, names in options.items() if name in names)
            raise ArgumentError(f"--{name.replace('_', '-')} goes with {goes}")


def image_files(paths: Sequence[Path]) -> list[Path]:
    """Return the image files that are named, and those in folders that are.

    Raises FileNotFoundError for what isn't there, ArgumentError for a folder without images.
    """
    from minidl.data.scanning import images_in

    found = []
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        inside = images_in(path) if path.is_dir() else [path]
        if not inside:
            raise ArgumentError(f"{path}: there is no image in the folder")
        found += inside
    return found


def with_options(message: str, command: argparse.ArgumentParser) -> str:
    """Return a function's message with the command's options in place of the function's arguments.

    Thus 'add data="mnist"' becomes "add --data mnist", and "mirror=False" becomes "--no-mirror".
    """
    known = {action.dest: action for action in command._actions}  # argparse has no public way

    def option(match: re.Match[str]) -> str:
        name, text, flag = match.groups()
        action = known.get(name)
        if action is None or (flag and flag != str(action.const)):
            return match[0]
        called = action.option_strings[0] if action.option_strings else str(action.metavar)
        return f"{called} {text}" if text else called

    return ARGUMENT.sub(option, message)


def add_arguments(command: Any, what: str) -> None:
    """Add --arguments; `what` is its help."""
    command.add_argument("--arguments", type=_arguments, default={}, metavar="JSON", help=what)


def add_config(command: Any) -> None:
    """Add --config, a file of what is left out on the command line; see `configured`."""
    command.add_argument(
        "--config", type=Path, metavar="FILE",
        help="take what isn't given here from this TOML file, such as the line batch_size = 32",
    )  # fmt: skip


def configured(
    options: argparse.Namespace, parser: argparse.ArgumentParser, line: Sequence[str] | None
) -> argparse.Namespace:
    """Return the options of a command line with those of its --config file, if it names one.

    line: what `parser` made the options of. Keys of the file are the names of the arguments of the
    command's function, with underscores or dashes.
    Raises FileFormatError for what isn't TOML, ArgumentError for other keys, with near matches, and
    values of another type.
    """
    file = getattr(options, "config", None)
    if file is None:
        return options
    options.parser.set_defaults(**dict(_settings_in(file, options.parser)))
    return parser.parse_args(line)  # what the line gives goes before defaults


def _settings_in(file: Path, command: argparse.ArgumentParser) -> Iterator[tuple[str, Any]]:
    """The names and values in a file."""
    try:
        # Editors may begin it with a mark
        found = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except ValueError as error:  # also for what isn't UTF-8
        raise FileFormatError(f"{file}: expected TOML: {error}") from error
    known = {a.dest: a for a in command._actions if a.dest not in (*OWN, "help")}
    keys = {key: key.replace("-", "_") for key in found}
    for key, name in keys.items():
        if name not in known:
            near = get_close_matches(name, known)
            hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known)}"
            raise ArgumentError(f"{file}: there is no argument {key!r}: {hint}")
        if list(keys.values()).count(name) > 1:
            raise ArgumentError(f"{file}: {name} is given twice, with a dash and an underscore")
        yield name, _value(f"{file}: {key}", known[name], found[key])


def _value(where: str, action: argparse.Action, value: Any) -> Any:
    """A value of a file as argparse takes it for a default, which it converts if it is a text."""
    kinds, wanted = FLAG if action.nargs == 0 else KINDS[action.type]
    right = isinstance(value, kinds) and isinstance(value, bool) == (kinds is bool)
    if not right or (isinstance(value, list) and not all(isinstance(v, str) for v in value)):
        raise ArgumentError(f"{where} must be {wanted}, got {value!r:.60}")
    if isinstance(value, bool | str | list):
        return value
    convert: Any = action.type
    try:
        return convert(json.dumps(value))
    except (argparse.ArgumentTypeError, TypeError, ValueError) as error:
        raise ArgumentError(f"{where}: {error}") from error


def add_material(command: Any) -> None:
    """Add the network and the data of a training."""
    command.add_argument(
        "--model", metavar="NAME",
        help="a network of minidl.models (default: lenet5)",
    )  # fmt: skip
    add_arguments(command, "what else to make it with, such as '{\"input_size\": 64}'")
    command.add_argument(
        "--data", metavar="NAME|PATH",
        help="cifar10, digits, mnist, or a folder of images, a CSV list, an .npz, or an HDF5 file "
        "of `minidl build` (default: digits)",
    )  # fmt: skip
    add_columns(command, several=True)
    add_task(command)
    command.add_argument(
        "--data-dir", type=Path, metavar="DIR",
        help="the folder with the files of MNIST or CIFAR-10 (default: data/NAME)",
    )  # fmt: skip
    command.add_argument(
        "--download", action="store_true", help="fetch MNIST's files that aren't in the folder"
    )
    command.add_argument(
        "--size", type=whole, metavar="N",
        help="height and width of images of your own (default: the network's)",
    )  # fmt: skip
    command.add_argument(
        "--batch-size", type=whole, metavar="N", help="images a step (default: by data set)"
    )


def add_shards(command: Any) -> None:
    """Add --shards."""
    command.add_argument(
        "--shards", type=whole, metavar="N",
        help="cut each batch in N, which the ranks of an MPI run share (default: under mpiexec as "
        "many as have four images, at most 8; otherwise none)",
    )  # fmt: skip


def add_threads(command: Any) -> None:
    """Add --threads, for `md.set_num_threads`."""
    command.add_argument(
        "--threads", type=whole, metavar="N", help="threads to use (default: all cores)"
    )


def set_threads(options: argparse.Namespace) -> None:
    """Set the threads that --threads names, if it was given."""
    if threads := getattr(options, "threads", None):
        md.set_num_threads(threads)


def add_no_mirror(command: Any) -> None:
    """Add --no-mirror, for commands that augment images."""
    command.add_argument(
        "--no-mirror", dest="mirror", action="store_false",
        help="for images that mean something else when mirrored, such as text",
    )  # fmt: skip


def add_mixing(command: Any, mixup: float) -> None:
    """Add --mixup and --cutmix, for commands that train; `mixup` is the function's default."""
    for name, what, default in (
        ("mixup", "mixtures of two images", mixup),
        ("cutmix", "images with a rectangle of another one in them", 0),
    ):
        command.add_argument(
            f"--{name}", type=amount, metavar="ALPHA",
            help=f"train on {what}; the larger, the more of both (default: {default}; 0: none)",
        )  # fmt: skip


def add_class_weights(command: Any) -> None:
    """Add --class-weights, for commands that train."""
    command.add_argument(
        "--class-weights", action="store_true",
        help="weigh the loss so that all classes count alike, however many images they have",
    )  # fmt: skip


def add_columns(command: Any, several: bool = False) -> None:
    """Add --file-column and --label-column, for commands that read tables of images.

    several: whether labels, or numbers, may stand in several columns.
    """
    for column in ("file", "label"):
        more = ""
        if several and column == "label":
            more = "; of several, NAME,NAME, one with a comma in quotes"
        command.add_argument(
            f"--{column}-column", metavar="NAME", type=one_or_several if more else str,
            help=f"the column of a .csv list that holds the {column}s{more} (default: {column}, or "
            "the only one that can be)",
        )  # fmt: skip


def add_task(command: Any) -> None:
    """Add --task, for commands that read tables of labels and numbers, too."""
    command.add_argument(
        "--task", type=str.lower, choices=TASKS,
        help="what the images' table tells: one of several classes, any of several labels, or "
        "numbers to predict (default: classes)",
    )  # fmt: skip


def add_strict(command: Any) -> None:
    """Add --strict, for commands that read images."""
    command.add_argument(
        "--strict", action="store_true",
        help="stop at the first image that can't be read (default: leave it out)",
    )  # fmt: skip


def add_classes(command: Any) -> None:
    """Add --classes, for commands that name what networks see."""
    command.add_argument(
        "--classes", type=Path, metavar="FILE",
        help="names of the network's classes in the order of its scores, one a line, in the "
        "place of those that the weights carry",
    )  # fmt: skip


def add_pixels(command: Any) -> None:
    """Add the option of commands that load networks whose files may not say what they take."""
    command.add_argument(
        "--pixels", choices=tuple(PIXELS),
        help="how the network takes pixels, for an ONNX file, which doesn't say it",
    )  # fmt: skip


def add_inference(command: Any) -> None:
    """Add the options of commands that ask networks."""
    add_classes(command)
    command.add_argument(
        "--ten-crop", action="store_true",
        help="average over the corners and the centre of an image, and their mirror images",
    )  # fmt: skip
    command.add_argument(
        "--batch-size", type=whole, metavar="N",
        help="images, or crops, that go through a network at once (default: 32)",
    )  # fmt: skip
    add_pixels(command)
    add_threads(command)
    command.add_argument("--json", type=Path, metavar="FILE", help="also save what is found here")


# As argparse's errors call them
whole.__name__, rate.__name__, amount.__name__ = "whole number", "number", "number"

# What values of a --config file are, by the types of the options, and what errors call them
FLAG: tuple[Any, str] = (bool, "true or false")
TEXT, WHOLE, NUMBER = (str, "a text"), (int, "a whole number"), (int | float, "a number")
KINDS: dict[Any, tuple[Any, str]] = {
    None: TEXT, Path: TEXT, int: WHOLE, whole: WHOLE, rate: NUMBER, amount: NUMBER,
    str: TEXT, str.lower: TEXT, _arguments: (dict, "a table"),
    names: (str | list, "a text or a list of texts"),
    one_or_several: (str | list, "a text or a list of texts"),
}  # fmt: skip
