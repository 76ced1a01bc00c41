"""Arrays that a graph needs as they are until its backward pass.

A recorded call keeps arrays for its gradient. Until it lets go of them NumPy refuses to write to
them (as in MyGrad), and what minidl itself writes, an optimizer's step say, is counted, so that a
backward pass that comes too late says so instead of giving a wrong gradient.
"""

import threading

import numpy as np

from minidl.exposed import owner

__all__ = ["Hold", "hold", "is_writeable", "lifted", "writing", "written"]


class Hold:
    """An array's memory that calls hold: how many, and how often it was written to meanwhile."""

    __slots__ = ("arrays", "by", "count", "owner", "writes")

    def __init__(self, own: np.ndarray) -> None:
        self.owner = own  # alive, so that its id is no other's
        self.arrays: list[np.ndarray] = []  # the owner and views of it: those that were writeable
        self.by, self.count, self.writes = "", 0, 0

    def release(self) -> None:
        """One call less."""
        with _lock:
            self.count -= 1
            if self.count == 0:
                del _holds[id(self.owner)]
                _set_writeable(self.arrays, True)
                self.arrays = []


_holds: dict[int, Hold] = {}  # by the owner's id
_lifted = [0]  # how many parts of a proof are under way, which put back what they write
_lock = threading.RLock()  # a release may come while another array is held: garbage is collected


def hold(array: np.ndarray) -> Hold:
    """See to it that nobody writes to an array unnoticed until its Hold is released."""
    with _lock:
        own = owner(array)
        found = _holds.get(id(own))
        if found is None:
            found = _holds[id(own)] = Hold(own)
        found.count += 1
        # of memory that isn't NumPy's own, as of a pool, the flag couldn't be set back
        may_lock = own.flags.owndata and (own.flags.writeable or bool(found.arrays))
        for x in ((own,) if array is own else (own, array)) if may_lock else ():
            if x.flags.writeable and not any(x is known for known in found.arrays):
                found.arrays.append(x)
                x.flags.writeable = _lifted[0] > 0
        return found


class writing:
    """Inside, minidl itself writes to these arrays: it may, and it is noticed. by: what does."""

    def __init__(self, by: str, *arrays: np.ndarray) -> None:
        self._by, self._arrays = by, arrays
        self._found: list[Hold] = []

    def __enter__(self) -> None:
        if _holds:
            found = {id(h): h for x in self._arrays if (h := _holds.get(id(owner(x)))) is not None}
            self._found = list(found.values())
            for each in self._found:
                each.writes, each.by = each.writes + 1, self._by
                _set_writeable(each.arrays, True)

    def __exit__(self, *exception: object) -> None:
        for each in self._found if _lifted[0] == 0 else ():
            _set_writeable(each.arrays, False)


class lifted:
    """Inside, no array is held: what is written is put back before the end."""

    def __enter__(self) -> None:
        with _lock:
            _lifted[0] += 1
            for each in _holds.values():
                _set_writeable(each.arrays, True)

    def __exit__(self, *exception: object) -> None:
        with _lock:
            _lifted[0] -= 1
            for each in _holds.values() if _lifted[0] == 0 else ():
                _set_writeable(each.arrays, False)


def written(array: np.ndarray, by: str) -> None:
    """minidl itself wrote to an array; by: what did."""
    if _holds and (found := _holds.get(id(owner(array)))) is not None:
        found.writes, found.by = found.writes + 1, by


def is_writeable(array: np.ndarray) -> bool:
    """Whether an array may be written to, held or not."""
    if array.flags.writeable or not _holds:
        return bool(array.flags.writeable)
    found = _holds.get(id(owner(array)))
    return found is not None and any(x is array for x in found.arrays)


def _set_writeable(arrays: list[np.ndarray], wanted: bool) -> None:
    for x in arrays if wanted else reversed(arrays):  # the owner opens before its views
        x.flags.writeable = wanted
