"""Arrays that a graph needs for its backward pass as they were: a change is noticed.

A recorded call holds the memory of what it keeps. What minidl itself writes, in an optimizer's step
say, is counted (`written`). Others need a reference to write, so memory is read, and compared with
a digest from then on, when an array is handed out (`show`), or held while somebody besides its
tensor refers to it. A backward pass that comes after a change says so instead of giving a wrong
gradient.
"""

import sys
import threading
import zlib

import numpy as np

from minidl import kernels
from minidl.exposed import expose, owner

__all__ = ["Hold", "digest", "hold", "is_proving", "proving", "show", "written"]

FEW_BYTES = 16 * 1024  # read by zlib, without a kernel


class Hold:
    """Memory that calls hold: how many, and how often it was changed meanwhile, by what."""

    __slots__ = ("by", "count", "digest", "owner", "writes")

    def __init__(self, own: np.ndarray) -> None:
        self.owner = own  # alive, so that its id is no other's
        self.by, self.count, self.writes = "", 0, 0
        self.digest: bytes | None = None  # once others may write

    def look(self) -> None:
        """Count a change since the last look, if there was one; from now on there may be."""
        if _proofs[0]:
            return
        now = digest(self.owner)
        if self.digest is not None and now != self.digest:
            self.writes, self.by = self.writes + 1, "something outside of minidl"
        self.digest = now

    def changes(self) -> int:
        """How often the memory was changed."""
        if self.digest is not None:
            self.look()
        return self.writes

    def release(self) -> None:
        """One call less."""
        with _lock:
            self.count -= 1
            if self.count == 0:
                del _holds[id(self.owner)]


_holds: dict[int, Hold] = {}  # by the owner's id
# References to a parameter's array where a call holds it: in CPython 3.11, or as seen.
_fewest = [7]
_proofs = [0]  # under way: they put back what they write
_lock = threading.RLock()  # a release may come while another array is held: garbage is collected


def hold(array: np.ndarray, others: bool | None) -> tuple[Hold, int]:
    """Hold an array's memory until it is released; and how often it was changed so far.

    others: whether somebody else has a reference; None: their number tells.
    """
    with _lock:
        own = owner(array)
        found = _holds.get(id(own))
        if found is None:
            found = _holds[id(own)] = Hold(own)
        found.count += 1
        if others is None:
            references = sys.getrefcount(own) - found.count
            others = references > _fewest[0]
            _fewest[0] = min(references, _fewest[0])
        if others or found.digest is not None:
            found.look()
        return found, found.writes


def is_proving() -> bool:
    """Return whether what runs now is put back afterwards."""
    return _proofs[0] > 0


class proving:
    """Inside, all that is written is put back before the end."""

    def __enter__(self) -> None:
        _proofs[0] += 1

    def __exit__(self, *exception: object) -> None:
        _proofs[0] -= 1


def show(array: np.ndarray) -> None:
    """Somebody gets a reference to the array, or to a part of it, and may write to it."""
    expose(array)
    if _holds and (found := _holds.get(id(owner(array)))) is not None and found.digest is None:
        found.look()


def written(array: np.ndarray, by: str) -> None:
    """minidl itself wrote to an array; by: what did."""
    if _holds and (found := _holds.get(id(owner(array)))) is not None:
        found.writes, found.by = found.writes + 1, by
        if found.digest is not None:
            found.digest = digest(found.owner)


def digest(x: np.ndarray) -> bytes:
    """What stands for the bits of an array."""
    if x.nbytes <= FEW_BYTES or x.itemsize % 4 or not x.flags.c_contiguous:
        bits = np.ascontiguousarray(x).reshape(-1).view(np.uint8)
        return zlib.crc32(bits.data).to_bytes(8, "little")
    fold = kernels.use("fold")
    digests = np.zeros(-(-x.nbytes // (4 * fold.WORDS_A_DIGEST)), np.int64)
    fold.digest(x, digests, 0)
    return digests.tobytes()
