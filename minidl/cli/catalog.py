"""`minidl models`: the networks that there are."""

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from minidl.text import table

if TYPE_CHECKING:
    from minidl.models.catalog import Entry

__all__ = ["add_models"]


def add_models(commands: Any) -> None:
    """Add the command `models`."""
    models = commands.add_parser(
        "models",
        help="list the networks there are, and whose weights they take",
        description="List the networks of minidl.models, with their sizes and the libraries whose\n"
        "published weights they take as they come; or tell all of one of them.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n  minidl models\n  minidl models mobilenet_v2\n",
    )
    models.set_defaults(run=_models)
    models.add_argument("name", nargs="?", metavar="NAME", help="a network (default: list all)")


def _models(options: argparse.Namespace) -> int:
    from minidl import models
    from minidl.models.catalog import entry

    if options.name is not None:
        print("\n\n".join(_parts(entry(options.name))))
        return 0
    rows = [_row(entry(name)) for name in models.list()]
    print(table([("network", "weights of", "input", "parameters"), *rows], left=2, rules=(1,)))
    return 0


def _row(found: "Entry") -> tuple[str, ...]:
    own = [f"minidl ({name})" for name in found.pretrained]
    takes = ", ".join([*own, *found.sources])
    return found.name, takes, _shape(found.input_shape), f"{found.parameters:,}"


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _parts(found: "Entry") -> Iterator[str]:
    """What is told of one network."""
    yield f"{found.name}\n{found.about}"
    facts = [
        ("family", found.family),
        ("input", _shape(found.input_shape)),
        ("parameters", f"{found.parameters:,}"),
    ]
    yield table(facts, left=2)
    arguments = [(name, repr(default)) for name, default in found.arguments.items()]
    yield table([("argument", "default"), *arguments], left=2, rules=(1,))
    yield table([("weights", "from Python"), *_weights(found)], left=2, rules=(1,))
    for library, source in found.sources.items():
        yield f"{library} writes the file with\n  {source.saving(found.name)[0]}"
    files = [source.saving(found.name)[1] for source in found.sources.values()]
    file = files[0] if files else "weights.h5"
    yield f"minidl train --model {found.name} --data IMAGES\nminidl finetune {file} IMAGES"


def _weights(found: "Entry") -> Iterator[tuple[str, str]]:
    """How to make the network with each kind of weights."""
    call = f"models.create({found.name!r}"
    yield "none", f"{call})"
    for weights in found.pretrained:
        yield f"minidl's {weights!r}", f"{call}, weights={weights!r})"
    yield "of `minidl train`", "models.load('weights.h5')"
    for library, source in found.sources.items():
        yield library, f"{call}, weights={source.saving(found.name)[1]!r})"
