"""What there is to know of each network before it is made."""

import inspect
import sys
from dataclasses import dataclass
from typing import Any

from minidl.models.pretrained import pretrained
from minidl.models.registry import create, maker
from minidl.models.sources import Source
from minidl.nn import init

__all__ = ["Entry", "entry"]


@dataclass(frozen=True)
class Entry:
    """A network as `models.create(name)` makes it.

    input_shape: (H, W, C).  arguments: what its function takes, with the defaults.
    about: the docstring of its function.  family: that of its file, which names the papers.
    sources: the libraries whose published weights it takes.  pretrained: minidl's own weights.
    """

    name: str
    parameters: int
    input_shape: tuple[int, ...]
    arguments: dict[str, Any]
    about: str
    family: str
    sources: dict[str, Source]
    pretrained: list[str]


def entry(name: str) -> Entry:
    """Return the entry of the network of this name; raises as `models.create` does."""
    make = maker(name)
    with init.skipped():
        network = create(name)
    parameters = inspect.signature(make).parameters.values()
    return Entry(
        name,
        network.num_parameters,
        network.input_shape,
        {parameter.name: parameter.default for parameter in parameters},
        inspect.getdoc(make) or "",
        (inspect.getdoc(sys.modules[make.__module__]) or "").split("\n\n")[0],
        {source.library: source for source in network.sources},
        [weights for network_name, weights in pretrained() if network_name == name],
    )
