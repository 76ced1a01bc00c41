"""Arrays and numbers as the Python of a recorded call sees them: to pass on and to return.

What NumPy or Python computes of them would be the same in every replay, and what `if` makes of them
too. So while a call is recorded, its own code (not minidl's) gets them as Watched and Number, which
refuse to be read.
"""

import sys
from typing import Any

import numpy as np

from minidl.recording import here, refuse

__all__ = ["Number", "Watched", "is_yours", "plain", "shown", "watched"]

COMPUTED = (
    "is computed once, and left out of replays: use md's ops on tensors, or do it outside, with "
    "arguments or with what the call returns"
)


def plain(tree: Any) -> Any:
    """Return the same with plain arrays and floats, within tuples, lists and dicts."""
    if isinstance(tree, Watched):
        return tree.view(np.ndarray)
    if isinstance(tree, Number):
        return float.__pos__(tree)
    if type(tree) in (tuple, list):
        return type(tree)(plain(x) for x in tree)
    if type(tree) is dict:
        return {key: plain(x) for key, x in tree.items()}
    return tree


def watched(x: Any) -> Any:
    """Return an array as Watched, anything else as it is."""
    return x.view(Watched) if isinstance(x, np.ndarray) else x


def shown(array: np.ndarray, frames: int = 2) -> np.ndarray:
    """The array for whoever stands so many calls above: watched, if that is no code of minidl."""
    recorder = here.recorder
    if recorder is None or recorder.depth:
        return array
    return watched(array) if is_yours(frames) else array


def is_yours(frames: int) -> bool:
    """Return whether the code that is so many calls above the caller is none of minidl's."""
    name = str(sys._getframe(frames + 1).f_globals.get("__name__"))
    return name.partition(".")[0] != "minidl"


class Watched(np.ndarray):
    """An array that may be sliced and reshaped in place, passed on and returned."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **settings: Any) -> Any:
        refuse(f"NumPy's {ufunc.__name__} of an argument, or of a tensor's data or grad,", COMPUTED)
        return getattr(ufunc, method)(*plain(inputs), **plain(settings))

    def __array_function__(self, function: Any, types: Any, inputs: Any, settings: Any) -> Any:
        refuse(f"np.{function.__name__} of an argument, or of a tensor's data or grad,", COMPUTED)
        return function(*plain(inputs), **plain(settings))


class Number(float):
    """A float that a replay would compute anew."""


def _watch(kind: Any, name: str, is_view: bool = False) -> None:
    """Let a method of `kind` refuse, unless it gives a view of the array."""
    own = getattr(kind.__base__, name)

    def method(self: Any, *inputs: Any, **settings: Any) -> Any:
        if is_view:
            found = own(self, *inputs, **settings)
            if isinstance(found, np.ndarray) and np.may_share_memory(plain(found), plain(self)):
                return found
        what = "an argument, or of a tensor's data or grad," if kind is Watched else "a number"
        refuse(f"{name.strip('_')}() of {what}", COMPUTED)
        return own(plain(self), *plain(inputs), **plain(settings))

    setattr(kind, name, method)


for _name in (
    "all", "any", "argmax", "argmin", "argpartition", "argsort", "byteswap", "choose", "clip",
    "compress", "conj", "conjugate", "copy", "cumprod", "cumsum", "dot", "dump", "dumps", "fill",
    "flatten", "item", "max", "mean", "min", "nonzero", "partition", "prod", "put", "repeat",
    "round", "searchsorted", "sort", "std", "sum", "take", "tobytes", "tofile", "tolist", "trace",
    "var", "__bool__", "__complex__", "__contains__", "__float__", "__index__", "__int__",
    "__format__", "__repr__", "__setitem__", "__str__",
):  # fmt: skip
    _watch(Watched, _name)
for _name in ("__getitem__", "astype", "diagonal", "ravel", "reshape"):
    _watch(Watched, _name, is_view=True)
for _name in (
    "__abs__", "__add__", "__bool__", "__divmod__", "__eq__", "__floordiv__", "__ge__", "__gt__",
    "__int__", "__le__", "__lt__", "__mod__", "__mul__", "__ne__", "__neg__", "__pow__", "__radd__",
    "__rmul__", "__round__", "__rsub__", "__rtruediv__", "__sub__", "__truediv__",
    "is_integer",
):  # fmt: skip
    _watch(Number, _name)
