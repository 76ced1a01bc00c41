"""Values of a JSON file that anybody may have changed, each checked where it is taken."""

import json
import reprlib
from pathlib import Path
from typing import Any, NoReturn

from minidl.errors import FileFormatError

__all__ = ["NULL", "Value", "read_json", "visible"]

LARGEST = 1e15  # every whole number up to here is a float, and nothing here counts further
NULL = "none"  # null as text
DEEPEST = 8  # levels of settings


def read_json(path: Path) -> "Value | None":
    """Return the object in a JSON file; None if there is no such file.

    Raises FileFormatError for what is no JSON object, OSError where it can't be read.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OSError(error.errno, f"could not read {path}: {error.strerror}") from error
    try:
        found = json.loads(content, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise FileFormatError(
            f"{path}: expected JSON as minidl writes it, got {len(content):,} bytes that are not "
            f"({error}): take the file from a copy, or train again"
        ) from error
    value = Value(found, f"{path}: ")
    value.items()
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def visible(text: str) -> str:
    """Return the text with nothing in it that a terminal or a page would obey instead of show."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)


class Value:
    """A value of a JSON file, and where it stands. What is null or missing is None or empty."""

    def __init__(self, value: Any, where: str) -> None:
        self.value, self.where = value, where

    def wrong(self, expected: str) -> FileFormatError:
        got = visible(reprlib.repr(self.value))
        return FileFormatError(
            f"{self.where.rstrip()} expected {expected}, got {got}: the file was changed or damaged"
        )

    def items(self) -> dict[str, Any]:
        if not isinstance(self.value, dict | None):
            raise self.wrong("names and values")
        return self.value or {}

    def __getitem__(self, name: str) -> "Value":
        dot = "" if self.where.endswith(": ") else "."
        return Value(self.items().get(name), f"{self.where}{dot}{name}")

    def each(self) -> list["Value"]:
        if not isinstance(self.value, list | None):
            raise self.wrong("a list")
        return [Value(item, f"{self.where}[{i}]") for i, item in enumerate(self.value or [])]

    def text(self) -> str | None:
        if not isinstance(self.value, str | None):
            raise self.wrong("text")
        return self.value if self.value is None else visible(self.value)

    def number(self) -> float | None:
        if self.value is None:
            return None
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            raise self.wrong("a number")
        if not abs(self.value) < 1e300:
            raise self.wrong("a number below 1e300")
        return float(self.value)

    def share(self) -> float | None:
        number = self.number()
        if number is not None and not 0 <= number <= 1:
            raise self.wrong("a number from 0 to 1")
        return number

    def count(self) -> int | None:
        number = self.number()
        if number is not None and (number != int(number) or not 0 <= number < LARGEST):
            raise self.wrong("a whole number from 0")
        return None if number is None else int(number)

    def matrix(self) -> list[list[int]]:
        """Square, of counts."""
        rows = [row.each() for row in self.each()]
        if any(len(row) != len(rows) for row in rows):
            raise self.wrong("as many numbers in each row as there are rows")
        return [[cell.count() or 0 for cell in row] for row in rows]

    def flat(self, deep: int = 1) -> dict[str, str]:
        """Names and values as text, those of inner objects under names such as optimizer.lr."""
        if deep > DEEPEST:
            raise self.wrong(f"at most {DEEPEST} levels")
        found: dict[str, str] = {}
        for name, item in self.items().items():
            if isinstance(item, dict) and item:
                inner = self[name].flat(deep + 1)
                found |= {f"{visible(name)}.{key}": text for key, text in inner.items()}
            else:
                found[visible(name)] = self[name]._in_words(deep)
        return found

    def _in_words(self, deep: int) -> str:
        if deep > DEEPEST:
            raise self.wrong(f"at most {DEEPEST} levels")
        if isinstance(self.value, list):
            return ", ".join(item._in_words(deep + 1) for item in self.each())
        if isinstance(self.value, dict):
            return ", ".join(f"{name}: {text}" for name, text in self.flat(deep + 1).items())
        words = {None: NULL, True: "yes", False: "no"}
        if self.value is None or isinstance(self.value, bool):
            return words[self.value]
        return visible(str(self.value))
