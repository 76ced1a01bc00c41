"""Tests that run on many cases."""

import functools
import inspect
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any

import pytest

import minidl as md

Test = Callable[..., None]


def of_each(cases: Iterable[Any], name: str) -> Callable[[Test], Test]:
    """Make a test of `case` one test for all cases with the same name, found at the attribute
    `name`, which may be dotted.

    There are thousands of cases: as tests of their own, they take longer to be told apart than run.
    """
    rows: dict[str, list[Any]] = {}
    for case in cases:
        rows.setdefault(attrgetter(name)(case), []).append(case)

    def decorate(test: Test) -> Test:
        @functools.wraps(test)
        def run(row: list[Any], **others: Any) -> None:
            for case in row:
                md.manual_seed(0)
                try:
                    test(case=case, **others)
                except BaseException as error:
                    error.add_note(f"in the case {case}")
                    raise

        signature = inspect.signature(test)
        given = [
            p.replace(name="row", annotation=list[Any]) if p.name == "case" else p
            for p in signature.parameters.values()
        ]
        run.__signature__ = signature.replace(parameters=given)  # type: ignore[attr-defined]
        return pytest.mark.parametrize("row", rows.values(), ids=rows)(run)

    return decorate
