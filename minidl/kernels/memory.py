"""Large arrays from memory that is used again.

A large array fresh from the system costs a page fault for every 4 kB when it is first written,
which is often more than computing it. `empty` hands out blocks that were used before. A block comes
back when the last view of its array is gone: the array's memory belongs to a Lease, which every
view keeps alive, and whose end returns the block.
"""

import bisect
import collections
import math
import os
import sys
import threading
from typing import Any

import numpy as np

__all__ = ["Lease", "Pool", "clear", "empty", "is_of", "prepared", "statistics", "using"]

SMALLEST = 128 * 1024  # bytes; below, malloc itself keeps memory for further use
ALIGNMENT = 64  # bytes: a cache line, and the widest vector
PAGE = 4096  # bytes: a load waits for a store whose address differs by a multiple of it
STAGGER = 17 * ALIGNMENT  # so blocks start at places of their own within a page
MOST_TOO_LARGE = 2  # times what was asked for
SPARE = 64 * 1024 * 1024  # bytes kept beyond a quarter more than were ever in use at once


class Lease:
    """Owner of an array's memory; gives the block back when no view of the array is left."""

    __slots__ = ("__array_interface__", "_block", "_returned")

    def __init__(
        self, pool: "Pool", block: np.ndarray, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> None:
        self._block, self._returned = block, pool.returned
        self.__array_interface__ = {
            "data": (block.ctypes.data, False),
            "shape": shape,
            "typestr": dtype.str,
            "version": 3,
        }

    def __reduce__(self) -> Any:
        raise TypeError("a Lease can't be copied: two would give one block back twice")

    def __del__(self) -> None:
        # Only appends, which is atomic: this may run at any moment, in any thread.
        self._returned.append(self._block)


class Pool:
    """Free blocks by size. Sizes are rounded up by at most an eighth, so that they recur.

    shrinks: whether blocks that were free for long go back to the system. Those of a captured call
    must not: its replays write to them, whoever holds an array of theirs.
    """

    def __init__(self, shrinks: bool = True) -> None:
        self.shrinks = shrinks
        self.returned: collections.deque[np.ndarray] = collections.deque()
        self.free: dict[int, list[np.ndarray]] = {}
        self.sizes: list[int] = []  # of the free blocks, each once, in order
        self.order: collections.OrderedDict[int, np.ndarray] = collections.OrderedDict()
        self.lock = threading.Lock()
        self.in_use = self.most_in_use = self.spare = self.made = 0

    def take(self, size: int) -> np.ndarray:
        """Return a block of at least `size` bytes."""
        step = max(4096, 1 << max(0, size.bit_length() - 4))
        size = -(-size // step) * step
        with self.lock:
            self._collect()
            block = self._best(size)
            size = size if block is None else block.nbytes
            self.in_use += size
            self.most_in_use = max(self.most_in_use, self.in_use)
            if block is not None:
                return block
            if self.shrinks:
                self._shrink()
            self.made += 1
            place = self.made * STAGGER % PAGE
        if size > sys.maxsize - PAGE:  # NumPy would say that its dimension is too large
            raise MemoryError(f"arrays of {size:,} bytes don't exist")
        raw = np.empty(size + PAGE, np.uint8)
        offset = (place - raw.ctypes.data) % PAGE
        return raw[offset : offset + size]

    def _best(self, size: int) -> np.ndarray | None:
        """Return the smallest free block that is large enough, and not far too large."""
        i = bisect.bisect_left(self.sizes, size)
        if i == len(self.sizes) or self.sizes[i] > MOST_TOO_LARGE * size:
            return None
        block = self.free[self.sizes[i]][-1]
        self._remove(block)
        return block

    def _remove(self, block: np.ndarray) -> None:
        blocks = self.free[block.nbytes]
        del self.order[id(block)]
        if len(blocks) == 1:
            del self.free[block.nbytes]
            self.sizes.remove(block.nbytes)
        else:
            self.free[block.nbytes] = [b for b in blocks if b is not block]
        self.spare -= block.nbytes

    def _collect(self) -> None:
        """Put the blocks that came back where they can be found."""
        while self.returned:
            block = self.returned.popleft()
            self.in_use -= block.nbytes
            self.spare += block.nbytes
            if block.nbytes not in self.free:
                bisect.insort(self.sizes, block.nbytes)
            self.free.setdefault(block.nbytes, []).append(block)
            self.order[id(block)] = block

    def _shrink(self) -> None:
        """Let go of the blocks that were free for longest, where too many are."""
        limit = self.most_in_use + self.most_in_use // 4 + SPARE
        while self.order and self.in_use + self.spare > limit:
            self._remove(next(iter(self.order.values())))


_pool = Pool()


if hasattr(os, "register_at_fork"):  # a child finds the pool whole, and its lock open
    os.register_at_fork(
        before=_pool.lock.acquire,
        after_in_parent=_pool.lock.release,
        after_in_child=_pool.lock.release,
    )


class _Here(threading.local):
    pool = _pool
    keeping: Pool | None = None


_here = _Here()


class using:
    """Inside, this thread's large arrays come from `pool`; None: from that of everybody.

    A captured call has a pool of its own: what it hands out again while the call is recorded may
    share memory in every replay, and nobody else gets it.  keeping: where `prepared` takes arrays
    from, if not from `pool`.
    """

    def __init__(self, pool: Pool | None, keeping: Pool | None = None) -> None:
        self._wanted = _pool if pool is None else pool, keeping
        self._before = _here.pool, _here.keeping

    def __enter__(self) -> None:
        _here.pool, _here.keeping = self._wanted

    def __exit__(self, *exception: object) -> None:
        _here.pool, _here.keeping = self._before


def is_of(array: np.ndarray, pool: Pool) -> bool:
    """Return whether an array, or what it is a view of, was leased from `pool`."""
    owner: Any = array
    while isinstance(owner, np.ndarray) and owner.base is not None:
        owner = owner.base
    return isinstance(owner, Lease) and owner._returned is pool.returned


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return a C-contiguous array of any content, of recycled memory if it is large."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if size < SMALLEST:
        return np.empty(shape, dtype)
    pool = _here.pool
    return np.asarray(Lease(pool, pool.take(size), tuple(map(int, shape)), dtype))


def prepared(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """`empty`, for what is made of weights: a compiled model keeps it, apart from all else."""
    if _here.keeping is None:
        return empty(shape, dtype)
    with using(_here.keeping):
        return empty(shape, dtype)


def statistics() -> dict[str, int]:
    """Bytes: leased now, the most ever leased at once, and free for use."""
    with _pool.lock:
        _pool._collect()
        return {"in_use": _pool.in_use, "most": _pool.most_in_use, "spare": _pool.spare}


def clear() -> None:
    """Give all free blocks back to the system."""
    with _pool.lock:
        _pool._collect()
        _pool.free.clear()
        _pool.sizes.clear()
        _pool.order.clear()
        _pool.spare = 0
