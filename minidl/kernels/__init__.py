"""The engine room: ndarrays in, ndarrays out. Numba lives only here.

What the ops call has a twin in `minidl.reference`, with the same name and signature in plain NumPy.
Nothing is compiled, nor Numba imported, before a kernel is first asked for.
"""

import importlib
from typing import Any

from minidl.config import config

__all__ = ["use"]

_families: dict[tuple[str, str], Any] = {}


def use(family: str) -> Any:
    """The kernels called `family`: Numba's, or their twins if `md.config.kernels` says so."""
    key = (config.kernels, family)
    if key not in _families:
        package = "minidl.kernels" if config.kernels == "fast" else "minidl.reference"
        _families[key] = importlib.import_module(f"{package}.{family}")
    return _families[key]
