"""Arrays of which something is kept, and whether anybody may have written to them since.

A compiled model keeps packed and transformed weights. They fit as long as nobody wrote to the
weights, and to write one needs a reference: so an array is as it was if none but its tensor refers
to it now, and if none was handed out in the meantime (`expose`), be it only for a moment.
"""

import sys
import weakref

import numpy as np

__all__ = ["Watch", "expose", "is_any_watched", "owner", "watch"]


class Watch:
    """An array that is watched: how often it was handed out, and who refers to it."""

    __slots__ = ("__weakref__", "array", "times")

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.times = array, 0

    def references(self) -> int:
        """Return how many there are to the array, this one's included."""
        return sys.getrefcount(self.array)

    def is_alone(self) -> bool:
        """Return whether its memory is its own, and nobody else refers to it but one tensor."""
        return self.array.base is None and self.references() == _WITH_A_TENSOR


_watched: dict[int, "weakref.ref[Watch]"] = {}  # by the array's id
_WITH_A_TENSOR = Watch(np.empty(1)).references() + 1


def watch(array: np.ndarray) -> Watch:
    """Return the watch of an array; there is one for all who ask."""
    found = _of(array)
    if found is None:
        key, found = id(array), Watch(array)
        _watched[key] = weakref.ref(found, lambda _: _watched.pop(key, None))
    return found


def is_any_watched() -> bool:
    """Return whether it matters to anybody what is exposed."""
    return bool(_watched)


def expose(array: np.ndarray) -> None:
    """Somebody gets a reference to the array, or to a part of it, and may write to it."""
    if _watched and (found := _of(owner(array))) is not None:
        found.times += 1


def owner(array: np.ndarray) -> np.ndarray:
    """Return the array whose memory this one, a view perhaps, shows."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _of(array: np.ndarray) -> Watch | None:
    reference = _watched.get(id(array))
    return None if reference is None else reference()
