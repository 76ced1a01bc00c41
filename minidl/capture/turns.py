"""Who may run when: recordings and proofs change weights for a moment."""

import threading

__all__ = ["Turns"]


class Turns:
    """Within `alone` nobody else is within `alone` or `together`; within `together` several are."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """With nobody inside."""
        self.changed = threading.Condition(threading.Lock())
        self.inside, self.waiting, self.is_alone = 0, 0, False
        self.alone, self.together = _Alone(self), _Together(self)


class _Together:
    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    def __enter__(self) -> None:
        turns = self._turns
        with turns.changed:
            while turns.is_alone or turns.waiting:
                turns.changed.wait()
            turns.inside += 1

    def __exit__(self, *exception: object) -> None:
        turns = self._turns
        with turns.changed:
            turns.inside -= 1
            if turns.waiting:
                turns.changed.notify_all()


class _Alone:
    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    def __enter__(self) -> None:
        turns = self._turns
        with turns.changed:
            turns.waiting += 1
            try:
                while turns.is_alone or turns.inside:
                    turns.changed.wait()
                turns.is_alone = True
            finally:
                turns.waiting -= 1

    def __exit__(self, *exception: object) -> None:
        turns = self._turns
        with turns.changed:
            turns.is_alone = False
            turns.changed.notify_all()
