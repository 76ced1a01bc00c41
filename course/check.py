"""Check the exercises of a chapter.

    python -m course.check 3              # course/exercises/chapter_03.py
    python -m course.check 3 answers.py   # another file with them

Prints a line an exercise, and what is wrong. The exit status is 0 if all of them passed.
"""

import argparse
import importlib.util
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from course.checks.registry import PASSED, UNWRITTEN, Result, exercises, wrapped
from minidl.text import table

FOLDER = Path(__file__).parent / "exercises"


def load(path: Path) -> ModuleType:
    """Run a file of answers and return it as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} isn't a file of Python code")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def results(chapter: int, answers: ModuleType) -> list[Result]:
    """Check all answers to a chapter's exercises; one that isn't there isn't yet written."""
    found = []
    for each in exercises(chapter):
        answer = getattr(answers, each.name, None)
        found.append(each.result(answer) if callable(answer) else Result(each.name, UNWRITTEN))
    return found


def report(chapter: int, found: Sequence[Result]) -> str:
    """Return a table of results, and after it what is wrong."""
    passed = sum(result.status == PASSED for result in found)
    lines = [f"chapter {chapter}: {passed} of {len(found)} exercises passed", ""]
    lines.append(table([(result.name, result.status) for result in found], left=2))
    for name, _, message in found:
        if message:
            lines += ["", f"{name}:", wrapped(message)]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m course.check",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    chapters = sorted({each.chapter for each in exercises()})
    parser.add_argument("chapter", type=int, choices=chapters, help="its number")
    parser.add_argument("file", type=Path, nargs="?", help="the answers; default: the exercises'")
    given = parser.parse_args(arguments)
    path = given.file or FOLDER / f"chapter_{given.chapter:02}.py"
    try:
        answers = load(path)
    except (OSError, ImportError) as error:
        parser.error(str(error))
    except Exception as error:  # of the reader's code, also a SyntaxError
        last = traceback.format_exception(error, limit=-1)
        print(f"{path} doesn't run, so nothing of it can be checked:\n")
        print("".join(last).rstrip())
        return 1
    found = results(given.chapter, answers)
    print(report(given.chapter, found))
    return 0 if all(result.status == PASSED for result in found) else 1


if __name__ == "__main__":
    sys.exit(main())
