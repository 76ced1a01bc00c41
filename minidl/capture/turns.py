"""Who may run when: recordings and proofs change weights for a moment.

Whoever replays holds one of a few locks, by the thread; whoever records or proves, all of them.
Locks of Python's own, in one `with`: Ctrl-C at any moment leaves none of them locked.
"""

import itertools
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["alone", "begin_anew", "together"]

LOCKS = 8
_locks = [threading.Lock() for _ in range(LOCKS)]
_numbers = itertools.count()


class _Here(threading.local):
    """The number of a thread's lock."""

    def __init__(self) -> None:
        self.number = next(_numbers) % LOCKS


_here = _Here()


def together() -> threading.Lock:
    """Return the lock of this thread: `with together():`, nobody is alone."""
    return _locks[_here.number]


def alone(call: Callable[[], Any]) -> Any:
    """call(), while nobody else is within `alone` or `together`."""
    a, b, c, d, e, f, g, h = _locks
    with a, b, c, d, e, f, g, h:
        return call()


def begin_anew() -> None:
    """In a forked child, whoever held a lock is gone."""
    _locks[:] = [threading.Lock() for _ in range(LOCKS)]
