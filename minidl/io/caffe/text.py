"""Protocol Buffers' text format, which .prototxt files are in, read with guards.

Source: https://protobuf.dev/reference/protobuf/textformat-spec
"""

import os
import re
from pathlib import Path

from minidl.errors import FileFormatError
from minidl.io.caffe.message import Message, Value, Word
from minidl.io.guarded import check_file

__all__ = ["is_prototxt", "parse", "read_prototxt", "written"]

MOST_BYTES = 2**24
MOST_FIELDS = 2**18
DEEPEST = 32
LONGEST = 64  # characters of a number
START = re.compile(
    r"\ufeff?(?:\s|\#[^\n]*(?:\n|$))*"
    r"(?:name|layers?|input|input_dim|input_shape|force_backward|state|debug_info)\s*[:{]"
)
TOKEN = re.compile(
    r"(?:\s|\#[^\n]*)*(?:"
    r"(?P<word>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<number>[-+]?\s*(?:[0-9.](?:[eE][-+]|[A-Za-z0-9.])*|inf\w*|nan))"
    r"|(?P<text>\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*')"
    r"|(?P<mark>[:{}<>\[\],;])"
    r"|(?P<end>$))"
)
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
ESCAPE = re.compile(r"\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|(.))")
CLOSING = {"{": "}", "<": ">"}


def is_prototxt(start: bytes) -> bool:
    """Return whether a file that begins so describes a network of Caffe's."""
    return START.match(start.decode("utf-8", "replace")) is not None


def read_prototxt(path: str | os.PathLike[str]) -> Message:
    """Return what a .prototxt says.

    Raises FileFormatError, with the line, for what isn't one.
    """
    with check_file(Path(path)) as file:
        content = file.read(MOST_BYTES + 1)
    where = os.fspath(path)
    if len(content) > MOST_BYTES:
        raise FileFormatError(f"{where}: a .prototxt of more than {MOST_BYTES:,} bytes")
    try:
        return parse(content.decode("utf-8-sig"), where)
    except UnicodeDecodeError as error:
        raise FileFormatError(f"{where}: expected a .prototxt in UTF-8: {error}") from error


def parse(text: str, where: str) -> Message:
    """Return the message that a text is."""
    return _Parser(text, where).whole()


def written(message: Message) -> str:
    """Return the text of a message; `parse` reads it as the same one."""
    parts = []
    for name, values in message.fields.items():
        for value in values:
            inner = isinstance(value, Message)
            parts.append(f"{name} {{ {written(value)} }}" if inner else f"{name}: {_told(value)}")
    return " ".join(parts)


def _told(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str) or isinstance(value, Word):
        return str(value)
    return '"' + "".join(map(_escaped, value)) + '"'


def _escaped(letter: str) -> str:
    plain = letter.isprintable() and letter not in '"\\'
    return letter if plain or ord(letter) > 255 else f"\\{ord(letter):03o}"


class _Parser:
    """Reads one text from its beginning to its end."""

    def __init__(self, text: str, where: str) -> None:
        self.text, self.where = text, where
        self.at = self.begun = self.count = 0
        self.kind = self.token = ""
        self.step()

    def step(self) -> None:
        """Go to the next token."""
        found = TOKEN.match(self.text, self.at)
        if found is None:
            self.begun = self.at
            raise self.error(f"found {self.text[self.at : self.at + 20].strip()!r}")
        self.kind = found.lastgroup or ""
        self.token = found[self.kind]
        self.begun, self.at = found.start(self.kind), found.end()

    def error(self, what: str) -> FileFormatError:
        line = self.text.count("\n", 0, self.begun) + 1
        return FileFormatError(f"{self.where}, line {line}: {what}")

    def whole(self) -> Message:
        message = Message(self.where)
        self.fields(message, "", 0)
        return message

    def fields(self, message: Message, closing: str, depth: int) -> None:
        """Read fields up to the mark that closes the message."""
        if depth > DEEPEST:
            raise self.error(f"messages more than {DEEPEST} deep")
        while self.token != closing or self.kind not in ("mark", "end"):
            if self.kind != "word":
                raise self.error(f"expected the name of a field, found {self.token[:20]!r}")
            self.count += 1
            if self.count > MOST_FIELDS:
                raise self.error(f"more than {MOST_FIELDS:,} fields")
            name = self.token
            self.step()
            colon = self.token == ":"
            if colon:
                self.step()
            elif self.token not in CLOSING:
                raise self.error(f"expected {name}: or {name} {{, found {self.token[:20]!r}")
            self.values(message, name, depth)
            if self.token in (",", ";"):
                self.step()

    def values(self, message: Message, name: str, depth: int) -> None:
        """Read the value of a field, or a list of values in brackets."""
        if self.token != "[" or self.kind != "mark":
            message.add(name, self.value(name, depth))
            return
        self.step()
        while self.token != "]":
            message.add(name, self.value(name, depth))
            self.count += 1
            if self.count > MOST_FIELDS:
                raise self.error(f"more than {MOST_FIELDS:,} values")
            if self.token == ",":
                self.step()
            elif self.token != "]":
                raise self.error(f"expected , or ] in the list of {name}")
        self.step()

    def value(self, name: str, depth: int) -> Value:
        kind, token = self.kind, self.token
        if kind == "mark" and token in CLOSING:
            self.step()
            inner = Message(f"{self.where}: {name}")
            self.fields(inner, CLOSING[token], depth + 1)
            self.step()
            return inner
        if kind == "text":
            parts = []
            while self.kind == "text":  # texts side by side are one
                parts.append(ESCAPE.sub(_unescaped, self.token[1:-1]))
                self.step()
            return "".join(parts)
        if kind == "word":
            self.step()
            return Word(token)
        if kind == "number":
            number = self.number(token)
            self.step()
            return number
        raise self.error(f"expected a value of {name}, found {token[:20]!r}")

    def number(self, token: str) -> int | float:
        plain = "".join(token.split())
        if len(plain) > LONGEST:
            raise self.error(f"a number of {len(plain):,} characters")
        for read in (_octal, int, lambda text: int(text, 0), float, _suffixed):
            try:
                return read(plain)
            except ValueError:
                continue
        raise self.error(f"expected a number, found {plain!r}")


def _octal(text: str) -> int:
    if not re.fullmatch("[-+]?0[0-7]+", text):
        raise ValueError
    return int(text, 8)


def _suffixed(text: str) -> float:
    if text[-1:] not in ("f", "F"):
        raise ValueError
    return float(text[:-1])


def _unescaped(found: re.Match[str]) -> str:
    octal, hexadecimal, other = found.groups()
    if octal or hexadecimal:
        return chr(int(octal, 8) if octal else int(hexadecimal, 16))
    return ESCAPES.get(other, other)
