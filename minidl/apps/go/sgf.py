"""Games of Go from SGF files: the main line of each, checked by the rules."""

import codecs
import itertools
import math
import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePath, PurePosixPath
from typing import NamedTuple

import numpy as np

from minidl import kernels
from minidl.constants.go import BLACK, EMPTY, PASS, WHITE
from minidl.data.detection.pictures import DAMAGE
from minidl.errors import ArgumentError, FileFormatError

__all__ = ["Game", "point_name", "read_game", "read_games"]

LARGEST = 25  # lines of a board
LONGEST = 16 * 2**20  # bytes of a file
MOST_MOVES = 10_000
COLUMNS = "ABCDEFGHJKLMNOPQRSTUVWXYZ"  # without I, as on boards and in GTP
NAMES = {BLACK: "black", WHITE: "white"}
COLORS = {"B": BLACK, "W": WHITE}  # the properties of moves
STATES = (EMPTY, BLACK, WHITE)  # of a point
# A property: its name, of which SGF before FF[4] has lower-case letters too, and its values. A
# backslash takes the meaning from what follows, such as ]. Nothing is tried twice (*+).
_INSIDE = r"[^\]\\]*+(?:\\.[^\]\\]*+)*+"
_PROPERTY = re.compile(rf"\s*+([A-Za-z]++)\s*+((?:\[{_INSIDE}\]\s*+)++)", re.DOTALL)
_VALUE = re.compile(rf"\[({_INSIDE})\]", re.DOTALL)


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
        Raises ArgumentError for a game made of other arrays than these.
        """
        self._check(who)
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

    def _check(self, who: str) -> None:
        """Raise ArgumentError for what the kernels would take for other points or colors."""
        moves, colors = np.asarray(self.moves), np.asarray(self.colors)
        if np.shape(self.setup) != (self.size, self.size) or not np.isin(self.setup, STATES).all():
            raise ArgumentError(
                f"{who}: setup must be {self.size} x {self.size} of 0 empty, 1 black, 2 white"
            )
        if moves.ndim != 1 or moves.shape != colors.shape or not np.isin(colors, [*NAMES]).all():
            raise ArgumentError(f"{who}: moves and colors must be (M,), a color 1 or 2")
        if not np.isin(moves, np.arange(PASS, self.size**2)).all():
            raise ArgumentError(f"{who}: moves must be from -1 to {self.size**2 - 1}")


def point_name(move: int, size: int) -> str:
    """Return what players call a move: "Q16", or "pass"."""
    if move == PASS:
        return "pass"
    row, column = divmod(move, size)
    return f"{COLUMNS[column]}{size - row}"


def read_games(path: str | os.PathLike[str]) -> Iterator[tuple[str, Game | FileFormatError]]:
    """Yield (name, game) of an SGF file, of all in a folder and below it, or in a ZIP file.

    In place of a game that can't be read stands the error that says why. Hidden files, such as
    those that macOS puts into archives, are passed over.
    Raises OSError where `path` can't be read, FileFormatError for a damaged archive, ArgumentError
    where no .sgf file is there.
    """
    path = Path(path)
    if path.is_dir():
        given = _in_folder(path)
    elif zipfile.is_zipfile(path):
        given = _zipped(path)
    else:
        given = iter([(path.name, _start(path))])
    empty = True
    for name, text in given:
        empty = False
        try:
            if isinstance(text, Exception):
                raise FileFormatError(f"{name}: it can't be read: {text}") from text
            yield name, read_game(text, name)
        except FileFormatError as error:
            yield name, error
    if empty:
        raise ArgumentError(f"there is no .sgf file in {path}")


def _is_game(path: PurePath) -> bool:
    return path.suffix.lower() == ".sgf" and not path.name.startswith(".")


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(LONGEST + 1)


def _in_folder(folder: Path) -> Iterator[tuple[str, bytes | Exception]]:
    for file in sorted(filter(_is_game, folder.rglob("*"))):
        name = str(file.relative_to(folder))
        if file.is_file():
            try:
                yield name, _start(file)
            except OSError as error:
                yield name, error
        elif not file.is_dir():  # a link to nothing, a pipe
            yield name, OSError("it is no file")


def _zipped(path: Path) -> Iterator[tuple[str, bytes | Exception]]:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = sorted(archive.infolist(), key=lambda entry: entry.filename)
            for entry in entries:
                if _is_game(PurePosixPath(entry.filename)):
                    yield entry.filename, _member(archive, entry)
    except zipfile.BadZipFile as error:
        raise FileFormatError(f"{path}: the ZIP file is damaged: {error}") from error


def _member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes | Exception:
    try:
        with archive.open(entry) as file:
            return file.read(LONGEST + 1)
    except DAMAGE as error:
        return error


def read_game(text: bytes, name: str = "SGF") -> Game:
    """Return the main line of the first game in the bytes of an SGF file, in any encoding.

    Its moves are not checked: `Game.positions` does that.
    Raises FileFormatError for what is broken, or no game of Go, or has stones put on the board, or
    taken from it, after the beginning; name: what the file is called there.
    """
    if len(text) > LONGEST:
        raise FileFormatError(f"{name}: larger than {LONGEST >> 20} MiB, which no game of Go is")
    nodes = _main_line(_decoded(text), name)
    root = next(nodes)
    if root.get("GM", ["1"])[0].strip() not in ("1", ""):
        raise FileFormatError(f"{name}: a game of another kind, GM[{root['GM'][0]}]; Go is 1")
    size = _size(root, name)
    setup = _setup(root, size, name)
    moves: list[int] = []
    colors: list[int] = []
    for number, node in enumerate(itertools.chain([root], nodes)):
        if number and (odd := {"AB", "AW", "AE"} & node.keys()):
            raise FileFormatError(
                f"{name}: node {number + 1} changes stones ({min(odd)}) in mid-game: that is a "
                "problem or a comment, no game"
            )
        played = [(color, v) for key, color in COLORS.items() for v in node.get(key, [])]
        if len(played) > 1:
            raise FileFormatError(
                f"{name}: node {number + 1} has {len(played)} moves: their order isn't told"
            )
        for color, value in played:
            moves.append(_point(value, size, f"{name}: move {len(moves) + 1}", True))
            colors.append(color)
        if len(moves) > MOST_MOVES:
            raise FileFormatError(f"{name}: more than {MOST_MOVES:,} moves, which no game has")
    _check_handicap(root, setup, colors, name)
    return Game(
        size, setup, np.array(moves, np.int64), np.array(colors, np.int64),
        root.get("RE", [""])[0].strip(), _komi(root),
    )  # fmt: skip


def _decoded(text: bytes) -> str:
    """By the encoding that the file names; a letter of Shift JIS or GBK may end with ] or \\."""
    if text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return text.decode("utf-16", "replace")
    told = re.search(rb"CA\[\s*([\w-]+)\s*\]", text)
    try:
        return text.decode(told[1].decode() if told else "latin-1", "replace")
    except (LookupError, UnicodeError):  # no encoding of texts: what counts is ASCII in nearly all
        return text.decode("latin-1")


def _main_line(text: str, name: str) -> Iterator[dict[str, list[str]]]:
    """Yield the nodes, {property: values}, up to where the first variation ends."""
    begin = re.search(r"\(\s*;", text)
    if begin is None or "\0" in text[: begin.start()]:
        raise FileFormatError(f"{name}: no SGF: expected a game to begin with (;")
    at = begin.start()
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
            key = "".join(filter(str.isupper, found[1])) if found else ""
            if found is None or node is None or not key:
                line = text.count("\n", 0, at) + 1
                raise FileFormatError(
                    f"{name}: broken in line {line}: expected a property with its values, got "
                    f"{text[at : at + 20]!r}"
                )
            node.setdefault(key, []).extend(_VALUE.findall(found[2]))
            at = found.end()
    raise FileFormatError(f"{name}: cut off: the game has no end, )")


def _size(root: dict[str, list[str]], name: str) -> int:
    text = root.get("SZ", ["19"])[0].strip()
    size = _whole(text)
    if not 1 < size <= LARGEST:
        raise FileFormatError(
            f"{name}: expected a board of 2 to {LARGEST} lines, got SZ[{text:.40}]"
        )
    return size


def _whole(text: str) -> int:
    """Return the number that a text is; 0 for one that is none, or one of more than 3 digits."""
    return int(text) if re.fullmatch("[0-9]{1,3}", text) else 0


def _setup(root: dict[str, list[str]], size: int, name: str) -> np.ndarray:
    setup = np.zeros(size * size, np.int8)
    for key, color in (("AB", BLACK), ("AW", WHITE), ("AE", EMPTY)):
        for value in root.get(key, []):
            first, _, last = value.partition(":")
            ends = [_point(each, size, f"{name}: {key}") for each in (first, last or first)]
            (top, left), (bottom, right) = (divmod(end, size) for end in ends)
            if bottom < top or right < left:
                raise FileFormatError(
                    f"{name}: {key}[{value}]: expected the upper left point of a rectangle first"
                )
            square = setup.reshape(size, size)[top : bottom + 1, left : right + 1]
            if square.any():
                what = "takes a stone away" if key == "AE" else "puts a stone on another"
                raise FileFormatError(f"{name}: {key}[{value}] {what}")
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
    stones = _whole(text)
    first = next((i for i, color in enumerate(colors) if color != BLACK), len(colors))
    if stones > 1 and not (setup == BLACK).any() and first < stones:
        raise FileFormatError(
            f"{name}: it tells a handicap of {stones} and not where the stones are (AB)"
        )


def _komi(root: dict[str, list[str]]) -> float | None:
    try:
        komi = float(root["KM"][0])
    except (KeyError, ValueError):
        return None
    return komi if math.isfinite(komi) else None
