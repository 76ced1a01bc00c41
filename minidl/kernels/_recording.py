"""What a kernel was called with, told to whoever records this thread's launches."""

from typing import Any

import numpy as np

__all__ = ["Launch", "normal"]


class Launch:
    """One launch: the kernel's name, its parts and arguments, and what to run.

    entry: the machine code's address or, where kernels run by `_plain`, the function.  block: the
    arguments as words that the machine code reads, made by `_launch`; then nobody needs them.
    """

    __slots__ = ("arguments", "block", "entry", "name", "parts")

    def __init__(self, name: str, parts: int, arguments: list[Any], entry: Any) -> None:
        self.name, self.parts, self.arguments, self.entry = name, parts, arguments, entry
        self.block: Any = None


def normal(name: str, arguments: tuple[Any, ...]) -> list[Any]:
    """Arguments as kernels take them: NumPy's numbers become Python's."""
    found: list[Any] = []
    for x in arguments:
        if isinstance(x, np.ndarray):
            if not x.flags.c_contiguous or not x.dtype.isnative:
                raise TypeError(
                    f"kernel {name} expected C-contiguous arrays, got {x.dtype} of shape "
                    f"{x.shape} with strides {x.strides}"
                )
            found.append(x.view(np.ndarray))
        elif isinstance(x, bool | np.bool_):
            found.append(bool(x))
        elif isinstance(x, tuple):
            found.append(tuple(int(n) for n in x))
        else:
            found.append(float(x) if isinstance(x, float | np.floating) else int(x))
    return found
