"""Games of Go from SGF files: the main line of each, checked by the rules."""

import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minidl import kernels
from minidl.constants.go import BLACK, EMPTY, PASS, WHITE
from minidl.errors import ArgumentError, FileFormatError

__all__ = ["Game", "point_name", "read_game", "read_games"]

LARGEST = 25  # lines of a board
LONGEST = 16 * 2**20  # bytes of a file
COLUMNS = "ABCDEFGHJKLMNOPQRSTUVWXYZ"  # without I, as on boards and in GTP
NAMES = {BLACK: "black", WHITE: "white"}
# A property: its name, of which SGF before FF[4] has lower-case letters too, and its values
_PROPERTY = re.compile(r"\s*([A-Za-z]+)\s*((?:\[(?:[^\]\\]|\\.)*\]\s*)+)", re.DOTALL)
_VALUE = re.compile(r"\[((?:[^\]\\]|\\.)*)\]", re.DOTALL)


class Game(NamedTuple):
    """The main line of a game.

    size: lines of the board.  setup: (S, S) int8, stones of the beginning, such as handicap.
    moves, colors: (M,) int64; a move is row * S + column, or -1, a pass.
    result: as the file has it, such as "B+3.5"; "" where it doesn't tell.  komi: None likewise.
    """

    size: int
    setup: np.ndarray
    moves: np.ndarray
    colors: np.ndarray
    result: str
    komi: float | None

    def positions(self, who: str = "Game") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return boards, ages and ko's points before each move and at the end.

        (M + 1, S, S) int8, (M + 1, S, S) uint8 and (M + 1,), as `reference.go.positions` has them.
        Raises FileFormatError for an illegal move; who: what the game is called there.
        """
        *found, broken = kernels.use("go").positions(self.moves, self.colors, self.setup)
        if broken >= 0:
            move, color = int(self.moves[broken]), int(self.colors[broken])
            board = found[0][broken].ravel()
            why = "on a stone" if board[move] != EMPTY else "suicide"
            if move == found[2][broken]:
                why = "forbidden by ko"
            raise FileFormatError(
                f"{who}: move {broken + 1}, {NAMES[color]} at {point_name(move, self.size)}, is "
                f"illegal: {why}"
            )
        return found[0], found[1], found[2]


def point_name(move: int, size: int) -> str:
    """Return what players call a move: "Q16", or "pass"."""
    if move == PASS:
        return "pass"
    row, column = divmod(move, size)
    return f"{COLUMNS[column]}{size - row}"


def read_games(path: str | os.PathLike[str]) -> Iterator[tuple[str, Game | FileFormatError]]:
    """Yield (name, game) of an SGF file, of all in a folder and below it, or in a ZIP file.

    In place of a game that can't be read stands the error that says why.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(path.rglob("*.sgf"))
        given: Iterator[tuple[str, bytes]] = (
            (str(f.relative_to(path)), f.read_bytes()) for f in files
        )
    elif zipfile.is_zipfile(path):
        given = _zipped(path)
    else:
        given = iter([(path.name, path.read_bytes())])
    empty = True
    for name, text in given:
        empty = False
        try:
            yield name, read_game(text, name)
        except FileFormatError as error:
            yield name, error
    if empty:
        raise ArgumentError(f"there is no .sgf file in {path}")


def _zipped(path: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as file:
        for entry in sorted(file.infolist(), key=lambda entry: entry.filename):
            if entry.filename.lower().endswith(".sgf"):
                with file.open(entry) as inside:
                    yield entry.filename, inside.read(LONGEST + 1)


def read_game(text: bytes, name: str = "SGF") -> Game:
    """Return the main line of the first game in the bytes of an SGF file, in any encoding.

    Its moves are not checked: `Game.positions` does that.
    Raises FileFormatError for what is broken, or no game of Go, or has stones put on the board, or
    taken from it, after the beginning; name: what the file is called there.
    """
    if len(text) > LONGEST:
        raise FileFormatError(f"{name}: larger than {LONGEST >> 20} MiB, which no game of Go is")
    nodes = list(_main_line(_decoded(text), name))
    if not nodes:
        raise FileFormatError(f"{name}: there is no game: it has no node")
    root = nodes[0]
    if root.get("GM", ["1"])[0].strip() not in ("1", ""):
        raise FileFormatError(f"{name}: a game of another kind, GM[{root['GM'][0]}]; Go is 1")
    size = _size(root, name)
    setup = _setup(root, size, name)
    moves: list[int] = []
    colors: list[int] = []
    for number, node in enumerate(nodes):
        if number and (odd := {"AB", "AW", "AE"} & node.keys()):
            raise FileFormatError(
                f"{name}: node {number + 1} changes stones ({min(odd)}) in mid-game: that is a "
                "problem or a comment, no game"
            )
        for key, color in (("B", BLACK), ("W", WHITE)):
            for value in node.get(key, []):
                moves.append(_point(value, size, f"{name}: move {len(moves) + 1}", True))
                colors.append(color)
    _check_handicap(root, setup, colors, name)
    return Game(
        size, setup, np.array(moves, np.int64), np.array(colors, np.int64),
        root.get("RE", [""])[0].strip(), _komi(root),
    )  # fmt: skip


def _decoded(text: bytes) -> str:
    """By the encoding that the file names; a letter of Shift JIS or GBK may end with ] or \\."""
    told = re.search(rb"CA\[([\w-]+)\]", text)
    try:
        return text.decode(told[1].decode() if told else "latin-1", "replace")
    except LookupError:  # an encoding that nobody knows: what counts is ASCII in nearly all
        return text.decode("latin-1")


def _main_line(text: str, name: str) -> Iterator[dict[str, list[str]]]:
    """Yield the nodes, {property: values}, up to where the first variation ends."""
    at = text.find("(")
    if at < 0 or not re.match(r"\(\s*;", text[at:]):
        raise FileFormatError(f"{name}: no SGF: expected a game to begin with (;")
    node: dict[str, list[str]] | None = None
    while at < len(text):
        if text[at] in "(;":
            if node is not None and text[at] == ";":
                yield node
            node = {} if text[at] == ";" else node
            at += 1
        elif text[at] == ")":
            if node is not None:
                yield node
            return
        elif text[at].isspace():
            at += 1
        else:
            found = _PROPERTY.match(text, at)
            if found is None or node is None:
                line = text.count("\n", 0, at) + 1
                raise FileFormatError(
                    f"{name}: broken in line {line}: expected a property with its values, got "
                    f"{text[at : at + 20]!r}"
                )
            key = "".join(c for c in found[1] if c.isupper())
            node.setdefault(key, []).extend(_VALUE.findall(found[2]))
            at = found.end()
    raise FileFormatError(f"{name}: cut off: the game has no end, )")


def _size(root: dict[str, list[str]], name: str) -> int:
    text = root.get("SZ", ["19"])[0].strip()
    if not text.isdigit() or not 1 < int(text) <= LARGEST:
        raise FileFormatError(f"{name}: expected a board of 2 to {LARGEST} lines, got SZ[{text}]")
    return int(text)


def _setup(root: dict[str, list[str]], size: int, name: str) -> np.ndarray:
    setup = np.zeros(size * size, np.int8)
    for key, color in (("AB", BLACK), ("AW", WHITE)):
        for value in root.get(key, []):
            first, _, last = value.partition(":")
            ends = [_point(each, size, f"{name}: {key}") for each in (first, last or first)]
            (top, left), (bottom, right) = (divmod(end, size) for end in ends)
            square = setup.reshape(size, size)[top : bottom + 1, left : right + 1]
            if square.any():
                raise FileFormatError(f"{name}: {key}[{value}] puts a stone on another")
            square[:] = color
    return setup.reshape(size, size)


def _point(value: str, size: int, where: str, may_pass: bool = False) -> int:
    """Two letters, column and row from the top; nothing, and tt on ordinary boards, is a pass."""
    text = value.strip()
    if may_pass and (not text or (text == "tt" and size <= 19)):
        return PASS
    letters = [ord(c) - ord("a") for c in text]
    if len(letters) != 2 or not all(0 <= number < size for number in letters):
        raise FileFormatError(f"{where}: there is no point {text!r} on a board of {size} lines")
    column, row = letters
    return row * size + column


def _check_handicap(
    root: dict[str, list[str]], setup: np.ndarray, colors: list[int], name: str
) -> None:
    """Raise FileFormatError for a handicap whose stones the file doesn't have."""
    text = root.get("HA", ["0"])[0].strip()
    stones = int(text) if text.isdigit() else 0
    first = next((i for i, color in enumerate(colors) if color != BLACK), len(colors))
    if stones > 1 and not (setup == BLACK).any() and first < stones:
        raise FileFormatError(
            f"{name}: it tells a handicap of {stones} and not where the stones are (AB)"
        )


def _komi(root: dict[str, list[str]]) -> float | None:
    try:
        return float(root["KM"][0])
    except (KeyError, ValueError):
        return None
