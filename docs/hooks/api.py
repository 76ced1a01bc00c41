"""The pages of the API: one for each public module, with the names of its `__all__`."""

import importlib
import sys
from functools import cache
from types import ModuleType
from typing import Any

from minidl.config import Config

INTERNAL = {"minidl.kernels", "minidl.capture"}  # public for readers of the code, not of the site


@cache
def modules() -> list[str]:
    """Return the names of the public modules: those that `__all__` leads to, and minidl.testing."""
    found: list[str] = []

    def walk(name: str) -> None:
        found.append(name)
        module = importlib.import_module(name)
        for each in module.__all__:
            part = getattr(module, each)
            if isinstance(part, ModuleType) and part.__name__ not in INTERNAL.union(found):
                walk(part.__name__)

    walk("minidl")
    walk("minidl.testing")
    return found


def page_of(name: str) -> str:
    """Return the address of a module's page: "api/nn.functional.md"."""
    return f"api/{name.removeprefix('minidl.')}.md"


def navigation() -> list[dict[str, str]]:
    """Return the pages as MkDocs' `nav` has them, in alphabetical order."""
    return [{name: page_of(name)} for name in sorted(modules())]


def pages() -> dict[str, str]:
    """Return the Markdown of each page by its address."""
    return {page_of(name): page(name) for name in modules()}


def page(name: str) -> str:
    """Return a page's Markdown: directives of mkdocstrings for the module and its public names."""
    module = importlib.import_module(name)
    parts = {n: getattr(module, n) for n in module.__all__ if not n.startswith("__")}
    rooms = sorted(p.__name__ for p in parts.values() if isinstance(p, ModuleType))
    text = f"# {name}\n\n::: {name}\n    options:\n      show_root_heading: false\n"
    text += "      show_root_toc_entry: false\n      members: false\n"
    links = [f"[{n}]({page_of(n).removeprefix('api/')})" for n in rooms if n in modules()]
    if links:
        text += f"\nModules: {', '.join(links)}.\n"
    for each in sorted(parts, key=str.lower):
        if not isinstance(parts[each], ModuleType):
            text += directive(name, each, parts[each])
    return text


def directive(room: str, name: str, part: Any) -> str:
    """Return the directive for a public name, and the anchor that it is linked by.

    Griffe, which reads the code without running it, takes `minidl.ops.softmax` for the file, where
    there is one of that name: the function is then asked for where it is defined.
    """
    where = f"{room}.{name}"
    if isinstance(part, Config):
        defined = "minidl.config.Config"
    elif isinstance(sys.modules.get(where), ModuleType) or part_of_namesake(name, part):
        defined = f"{part.__module__}.{name}"
    else:
        return f"\n::: {where}\n"
    options = f"    options:\n      heading: {where}\n      toc_label: {name}\n"
    return f"\n[](){{ #{where} }}\n\n::: {defined}\n{options}"


def part_of_namesake(name: str, part: Any) -> bool:
    """Return whether something is defined in a file of its own name."""
    return getattr(part, "__module__", "").endswith(f".{name}")
