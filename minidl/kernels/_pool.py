"""Threads that run a kernel's parts.

A launch never waits for a thread that takes no part. The launching thread opens the work, takes
parts itself until none is left, closes it, and waits only for threads that are inside: where a
neighbour has the other core, it does all the work itself. (An OpenMP region ends when every thread
of the team came by, which then takes half a millisecond.) A thread that comes in counts itself in
and looks again whether the work is still open; the launcher closes it and looks who is in: one of
the two sees the other (Dekker's rule), so a block is never read after its launch.

Linux alone: idle threads sleep in its futex. Elsewhere `_plain` runs kernels.
"""

import atexit
import ctypes
import os
import platform
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from minidl.kernels import _entry
from minidl.kernels._raw import (
    add_word,
    call_entry,
    from_c,
    load_word,
    pause,
    peek,
    poke,
    store_word,
    syscall,
    try_lock,
)

__all__ = ["POOL", "SUPPORTED", "ensure", "forked", "go"]

FUTEX = {"x86_64": 202, "aarch64": 98}.get(platform.machine(), 0)  # the system call's number
SUPPORTED = sys.platform == "linux" and FUTEX > 0
WAIT, WAKE = 128, 129  # of a futex that only this process uses
SPINS = 2000  # looks at the work, some 50 us, before an idle thread sleeps

# Words of the pool, each in a cache line of its own, by their offset in bytes: the number of the
# launch that is open, or 0; its entry, and block; threads inside; threads allowed inside; threads
# asleep; launches so far; 1 at the end of the process; 1 while a launch is under way.
LINE = 64
OPEN, WORK, INSIDE, ASLEEP, LAUNCHES, STOP, BUSY = (LINE * n for n in range(7))
ENTRY_AT, BLOCK_AT, MOST_AT = WORK, WORK + 8, WORK + 16

_space = np.zeros(8 * LINE // 8 + LINE // 8, np.int64)
POOL: int = _space.ctypes.data + -_space.ctypes.data % LINE


@from_c
def go(pool, entry, block, parts, threads):
    """Run all parts of a launch; the status of its block. parts < 0: on this thread."""
    poke(block, 0)
    poke(block + 8 * _entry.PARTS, abs(parts))
    poke(block + 8 * _entry.STATUS, 0)
    if parts < 2 or threads < 2 or try_lock(pool + BUSY) == 0:
        call_entry(entry, block)  # also while another thread of Python launches
        return peek(block + 8 * _entry.STATUS)
    poke(pool + ENTRY_AT, entry)
    poke(pool + BLOCK_AT, block)
    poke(pool + MOST_AT, threads - 1)
    number = peek(pool + LAUNCHES) + 1
    poke(pool + LAUNCHES, number)
    store_word(pool + OPEN, number)
    if load_word(pool + ASLEEP) != 0:
        syscall(FUTEX, pool + OPEN, WAKE, threads - 1, 0, 0, 0)
    call_entry(entry, block)
    store_word(pool + OPEN, 0)
    while load_word(pool + INSIDE) != 0:
        pause()
    store_word(pool + BUSY, 0)
    return peek(block + 8 * _entry.STATUS)


def _serve(pool):
    """An idle thread's life: look for an open launch, take part in it, sleep after a while."""
    last, spins = 0, 0
    while load_word(pool + STOP) == 0:
        number = load_word(pool + OPEN)
        if number > 0 and number != last:  # at the end of the process it is -1
            before = add_word(pool + INSIDE, 1)
            if load_word(pool + OPEN) == number and before < peek(pool + MOST_AT):
                call_entry(peek(pool + ENTRY_AT), peek(pool + BLOCK_AT))
            add_word(pool + INSIDE, -1)
            last, spins = number, 0
        elif spins < SPINS:
            spins += 1
            pause()
        else:
            add_word(pool + ASLEEP, 1)
            # asleep while `open`, its lower half, is what was seen
            syscall(FUTEX, pool + OPEN, WAIT, number, 0, 0, 0)
            add_word(pool + ASLEEP, -1)
            spins = 0


_threads: list[threading.Thread] = []
_starting = threading.Lock()
forked = [False]  # whether this process is a forked child that hasn't got its threads yet
_serving: Any = None  # the compiled _serve, as a function of ctypes, which lets go of the GIL


def ensure(threads: int, compiled: Callable[..., int]) -> None:
    """Have `threads` - 1 threads beside the caller's. compiled: makes a C function's address."""
    global _serving
    forked[0] = False
    if len(_threads) >= threads - 1:
        return
    if _serving is None:  # not within the lock: who compiles may be about to start threads too
        _serving = ctypes.CFUNCTYPE(None, ctypes.c_int64)(compiled(_serve, False))
    with _starting:
        while len(_threads) < threads - 1:
            thread = threading.Thread(
                target=_serving, args=(POOL,), daemon=True, name=f"minidl-{len(_threads) + 1}"
            )
            try:
                thread.start()
            except RuntimeError:  # the system gives no more: launches go without
                return
            _threads.append(thread)


def _after_fork() -> None:
    """A forked child has none of the threads: begin anew, with the next `ensure`."""
    global _starting
    _space[:] = 0
    _threads.clear()
    forked[0] = True
    _starting = threading.Lock()


@atexit.register
def _stop() -> None:
    """End the threads before the machine code that they run is unloaded."""
    _space[(POOL - _space.ctypes.data + STOP) // 8] = 1
    _space[(POOL - _space.ctypes.data + OPEN) // 8] = -1  # no longer what sleepers have seen
    if _threads:
        ctypes.CDLL(None).syscall(FUTEX, ctypes.c_void_p(POOL), WAKE, 1 << 30, None, None, 0)
    for thread in _threads:
        thread.join(1.0)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
