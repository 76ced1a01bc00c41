"""Wrong answers to the course's exercises that learners are likely to give, and what they are told.

Those of a chapter stand in `wrong_chapter_NN.py`.
"""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["WrongAnswer", "wrong", "wrong_answers"]


class WrongAnswer(NamedTuple):
    """An answer to an exercise, and a pattern that is found in what its check says."""

    exercise: str
    says: str
    answer: Callable[..., Any]


_found: list[WrongAnswer] = []


def wrong(exercise: str, says: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: enter the function as a wrong answer to the exercise.

    says: a regular expression that the message matches, and those about other mistakes don't.
    """

    def enter(answer: Callable[..., Any]) -> Callable[..., Any]:
        _found.append(WrongAnswer(exercise, says, answer))
        return answer

    return enter


def wrong_answers() -> list[WrongAnswer]:
    """Return those of all chapters."""
    for path in sorted(Path(__file__).parent.glob("wrong_chapter_*.py")):
        importlib.import_module(path.stem)
    return list(_found)
