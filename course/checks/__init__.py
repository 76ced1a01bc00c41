"""Checks of the exercises, a file a chapter, and what they are made of.

    from course.checks import check
    check(conv2d_backward)

says what is wrong with an answer; `python -m course.check 4` does for the answers of chapter 4.
"""

from course.checks.comparing import agrees, call, compare, near, parts
from course.checks.registry import (
    PASSED,
    UNWRITTEN,
    WRONG,
    Exercise,
    Result,
    Wrong,
    check,
    exercise,
    exercises,
)

__all__ = [
    "PASSED", "UNWRITTEN", "WRONG", "Exercise", "Result", "Wrong", "agrees", "call", "check",
    "compare", "exercise", "exercises", "near", "parts",
]  # fmt: skip
