"""Arrays between pages that may not be touched: who reads or writes beyond dies at once."""

import ctypes
import mmap
import sys

import numpy as np

LINUX = sys.platform == "linux"
PAGE = mmap.PAGESIZE
_libc = ctypes.CDLL(None, use_errno=True) if LINUX else None


class _Pages:
    """Memory of whole pages, and a forbidden one on either side; unmapped with its last view."""

    def __init__(self, size, shape, dtype, at_end):
        whole = -(-max(size, 1) // PAGE) * PAGE
        self.map = mmap.mmap(-1, whole + 2 * PAGE)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self.map))
        for page in (start, start + PAGE + whole):
            if _libc.mprotect(ctypes.c_void_p(page), PAGE, 0):
                raise OSError(ctypes.get_errno(), "mprotect")
        offset = whole - size if at_end else 0
        self.__array_interface__ = {
            "data": (start + PAGE + offset, False),
            "shape": tuple(map(int, shape)),
            "typestr": np.dtype(dtype).str,
            "version": 3,
        }


def guarded(shape, dtype, at_end=True):
    """An array that ends (or starts) at a forbidden page, full of NaN or of the largest number."""
    dtype = np.dtype(dtype)
    if LINUX:
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        array = np.asarray(_Pages(size, shape, dtype, at_end))
    else:
        array = np.empty(shape, dtype)
    array.fill(np.nan if dtype.kind == "f" else np.iinfo(dtype).max)
    return array


def guarded_copy(value, at_end):
    """A copy of an array between forbidden pages, its numbers lying as they did; others as is."""
    if not isinstance(value, np.ndarray):
        return value
    steps = [s // value.itemsize for s in value.strides]
    ends = [(n - 1) * step for n, step in zip(value.shape, steps, strict=True)]
    low, high = sum(min(0, end) for end in ends), sum(max(0, end) for end in ends)
    if value.size == 0 or value.flags.c_contiguous:
        low, high, strides = 0, value.size - 1, None
    else:
        strides = value.strides
    memory = guarded((high - low + 1,), value.dtype, at_end)
    copy = np.ndarray(value.shape, value.dtype, memory, -low * value.itemsize, strides)
    copy[...] = value
    return copy
