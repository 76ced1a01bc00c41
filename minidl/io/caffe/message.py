"""A message of Caffe's, whichever form it was read from: fields by name, each with its values."""

import math
from typing import Any

from minidl.errors import FileFormatError

__all__ = ["Message", "Word"]

Value = Any  # str, Word, int, float or Message


class Word(str):
    """A name without quotes: a constant such as MAX, or true."""


class Message:
    """Fields by name. where: what errors call it."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.fields: dict[str, list[Value]] = {}

    def add(self, name: str, value: Value) -> None:
        self.fields.setdefault(name, []).append(value)

    def refuse(self, text: str) -> FileFormatError:
        """Return the error that says what is wrong with this message."""
        return FileFormatError(f"{self.where}: {text}")

    def has(self, name: str) -> bool:
        return name in self.fields

    def all(self, name: str) -> list[Value]:
        return self.fields.get(name, [])

    def messages(self, name: str) -> "list[Message]":
        """Return all messages of a name."""
        found = self.all(name)
        if any(not isinstance(each, Message) for each in found):
            raise self.refuse(f"expected {name} {{ ... }}, got {name}: {found[0]!r:.40}")
        return found

    def message(self, name: str) -> "Message":
        """Return the last message of a name, or an empty one."""
        found = self.messages(name)
        return found[-1] if found else Message(self.where)

    def texts(self, name: str) -> list[str]:
        """Return all texts of a name."""
        found = self.all(name)
        if any(not isinstance(each, str) for each in found):
            raise self.refuse(f"{name} must be a text, got {found!r:.60}")
        return found

    def text(self, name: str, default: str = "") -> str:
        """Return the last text, or constant, of a name."""
        return (self.texts(name) or [default])[-1]

    def wholes(self, name: str, least: int = 0, most: int = 2**31) -> list[int]:
        """Return all whole numbers of a name. Raise FileFormatError for any out of bounds."""
        found = self.all(name)
        for each in found:
            if isinstance(each, bool) or not isinstance(each, int) or not least <= each <= most:
                raise self.refuse(
                    f"{name} must be a whole number from {least:,} to {most:,}, got {each!r:.40}"
                )
        return found

    def whole(self, name: str, default: int, least: int = 0, most: int = 2**31) -> int:
        """Return the last whole number of a name."""
        return (self.wholes(name, least, most) or [default])[-1]

    def reals(self, name: str) -> list[float]:
        """Return all numbers of a name; they are finite."""
        found = self.all(name)
        for each in found:
            if isinstance(each, bool | str | Message) or not math.isfinite(each):
                raise self.refuse(f"{name} must be a number, got {each!r:.40}")
        return [float(each) for each in found]

    def real(self, name: str, default: float) -> float:
        """Return the last number of a name."""
        return (self.reals(name) or [default])[-1]

    def flag(self, name: str, default: bool) -> bool:
        """Return the last truth of a name."""
        values = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
        found = self.all(name)
        if not found:
            return default
        if str(found[-1]) not in values:
            raise self.refuse(f"{name} must be true or false, got {found[-1]!r:.40}")
        return values[str(found[-1])]

    def choice(self, name: str, *choices: str) -> str:
        """Return a constant, the first of `choices` where left out; numbers stand for places."""
        found = self.all(name)
        if not found:
            return choices[0]
        last = found[-1]
        if isinstance(last, int) and 0 <= last < len(choices):
            return choices[last]
        if last not in choices:
            raise self.refuse(f"{name} must be one of {', '.join(choices)}, got {last!r:.40}")
        return str(last)
