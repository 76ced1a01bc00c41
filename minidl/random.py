"""The one source of random numbers.

`md.manual_seed(n)` seeds it. Every draw in the library (initial weights, dropout,
shuffling) comes from `generator()`, whose state a checkpoint can save.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from minidl.checks import whole
from minidl.errors import StateError
from minidl.recording import before

__all__ = [
    "drawn", "manual_seed", "generator", "get_state", "restored", "seed", "set_state",
    "state_of", "stream",
]  # fmt: skip

_generator = np.random.Generator(np.random.PCG64())


def manual_seed(n: int) -> None:
    """Seed every random draw that follows. `n` is a whole number, 0 or more."""
    global _generator
    _generator = np.random.Generator(np.random.PCG64(whole("manual_seed", "n", n, 0)))


def generator() -> np.random.Generator:
    """Return the generator all draws come from."""
    return _generator


def get_state() -> dict[str, Any]:
    """Return the generator's state as plain numbers, for `set_state`."""
    return dict(_generator.bit_generator.state)


def set_state(state: dict[str, Any]) -> None:
    """Continue drawing from where `get_state` was taken. Raises StateError for what is no state."""
    trial: Any = np.random.PCG64(0)  # NumPy would set half of a bad state before it refuses it
    try:
        trial.state = state
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        raise StateError(f"set_state expected a state from get_state, got {state!r}") from error
    _generator.bit_generator.state = state


@contextmanager
def restored() -> Iterator[None]:
    """Inside, what is drawn counts for nothing: at the end the state is what it was."""
    state = get_state()
    try:
        yield
    finally:
        set_state(state)


@contextmanager
def stream(*key: int) -> Iterator[None]:
    """Inside, all is drawn from a stream of its own, which whole numbers tell from others.

    At the end the state is what it was.
    """
    with restored():
        set_state(state_of(*key))
        yield


def state_of(*key: int) -> dict[str, Any]:
    """Return where the stream of these numbers begins, for `set_state`."""
    return dict(np.random.PCG64(np.random.SeedSequence(key)).state)


def drawn(draw: Callable[[np.random.Generator], Any]) -> np.ndarray:
    """draw(generator()) as an array; a captured call draws it anew, before all else.

    draw: takes a generator and returns an array of any shape.
    """
    made = _Drawn(draw)
    before(made)
    return made.array


def seed() -> np.ndarray:
    """A seed for what draws its numbers itself, (1,) of uint64; a captured call draws it anew."""
    return drawn(lambda generator: generator.integers(2**64, size=1, dtype=np.uint64))


class _Drawn:
    """A drawing, as a captured call does it again."""

    def __init__(self, draw: Callable[[np.random.Generator], Any]) -> None:
        self._draw = draw
        self.array = np.asarray(draw(_generator))

    def holds(self) -> bool:
        return True

    def advance(self) -> None:
        self.array[...] = self._draw(_generator)

    def save(self) -> dict[str, Any]:
        return get_state()

    def restore(self, state: dict[str, Any]) -> None:
        set_state(state)
