"""Steps as the engine runs them fastest: captured by `md.compile`, where this version has it."""

from collections.abc import Callable
from typing import Any

import minidl as md

__all__ = ["captured"]


def captured(step: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function or a model, compiled if there is a compiler."""
    compiler = getattr(md, "compile", None)
    return step if compiler is None else compiler(step)
