"""The exercises of all chapters: each is entered once, with the function that checks answers."""

import importlib
import linecache
import pkgutil
import textwrap
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

__all__ = [
    "PASSED", "UNWRITTEN", "WRONG", "Exercise", "Result", "Wrong", "check", "exercise",
    "exercises", "wrapped",
]  # fmt: skip

PASSED, UNWRITTEN, WRONG = "passed", "not yet written", "wrong"
WIDTH = 88  # characters a line of a message

# What part of an error of NumPy's usually means
HINTS = {
    "could not be broadcast": "Shapes are lined up from the right: has a sum lost its axis, which "
    "keepdims=True would keep?",
    "mismatch in its core dimension": "The axis that a product sums over must be the last of the "
    "left array and the last but one of the right: is a transpose missing?",
}

Answer = Callable[..., Any]


class Wrong(Exception):  # noqa: N818
    """Raised by a check: what is wrong with an answer, what that usually means.

    section: of the chapter, which explains it; left out, that of the exercise.
    """

    def __init__(self, message: str, section: str | None = None) -> None:
        super().__init__(message)
        self.section = section


class Result(NamedTuple):
    """What became of an answer: PASSED, UNWRITTEN or WRONG, and a message about a wrong one."""

    name: str
    status: str
    message: str = ""


@dataclass(frozen=True)
class Exercise:
    """A function that the reader writes.

    name: of the function.  section: of the chapter, such as "4.6".
    check: takes an answer and raises Wrong unless it is right.
    """

    name: str
    chapter: int
    section: str
    check: Callable[[Answer], None]

    def result(self, answer: Answer) -> Result:
        """Check an answer. What the answer raises is told as its fault, not raised."""
        try:
            self.check(answer)
        except NotImplementedError:
            return Result(self.name, UNWRITTEN)
        except Wrong as wrong:
            return Result(self.name, WRONG, self._told(str(wrong), wrong.section))
        except Exception as error:
            return Result(self.name, WRONG, self._told(_where(error, answer)))
        return Result(self.name, PASSED)

    def _told(self, message: str, section: str | None = None) -> str:
        end = "" if message.endswith((".", "?", "!")) else "."
        return f"{message}{end} See section {section or self.section}."


_exercises: dict[str, Exercise] = {}


def exercise(chapter: int, section: str) -> Callable[[Callable[[Answer], None]], Exercise]:
    """Decorator: enter the function as the check of the exercise that has its name.

    @exercise(4, section="4.6")
    def conv2d_backward(answer): ...
    """

    def enter(check: Callable[[Answer], None]) -> Exercise:
        made = Exercise(check.__name__, chapter, section, check)
        if made.name in _exercises:
            raise ValueError(f"there are two exercises called {made.name}")
        _exercises[made.name] = made
        return made

    return enter


def exercises(chapter: int | None = None) -> list[Exercise]:
    """Return the exercises of a chapter, or of all, in the order of their files."""
    package = importlib.import_module("course.checks")
    for module in pkgutil.iter_modules(package.__path__):
        if module.name.startswith("chapter_"):
            importlib.import_module(f"course.checks.{module.name}")
    return [each for each in _exercises.values() if chapter in (None, each.chapter)]


def check(answer: Answer) -> None:
    """Say whether an answer, a function with the name of an exercise, is right.

    Raises ValueError if there is no such exercise.
    """
    known = {each.name: each for each in exercises()}
    name = getattr(answer, "__name__", repr(answer))
    if name not in known:
        raise ValueError(f"there is no exercise called {name}; there are: {', '.join(known)}")
    _, status, message = known[name].result(answer)
    print(f"{name}: {status}")
    if message:
        print(wrapped(message))


def wrapped(message: str) -> str:
    """Return a message indented, in lines of WIDTH characters."""
    indent = " " * 4
    return textwrap.fill(message, WIDTH, initial_indent=indent, subsequent_indent=indent)


def _where(error: Exception, answer: Answer) -> str:
    """Return what an answer raised, and the last line of its file that the error came through."""
    said = f"it raised {type(error).__name__}: {error}"
    file = getattr(getattr(answer, "__code__", None), "co_filename", None)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
    if not frames:
        return f"{said}. What the function returned can't be compared"
    line = linecache.getline(frames[-1].filename, frames[-1].lineno or 0).strip()
    path = Path(frames[-1].filename)
    place = "the cell" if "ipykernel" in str(path) else path.name
    told = f"{said}, in line {frames[-1].lineno} of {place}: {line}"
    hints = [hint for part, hint in HINTS.items() if part in str(error)]
    return ". ".join([told, *hints])
