"""The Go Text Protocol, by which programs that show boards talk to programs that play."""

import math
from collections.abc import Callable, Iterable, Iterator

from minidl.apps.go.board import Board
from minidl.apps.go.drawing import board_text
from minidl.apps.go.policy import best_move
from minidl.apps.go.sgf import COLUMNS, point_name
from minidl.constants.go import BLACK, PASS, WHITE
from minidl.errors import ArgumentError
from minidl.models import Network
from minidl.version import __version__

__all__ = ["Player", "answers", "point_of"]

COLORS = {"b": BLACK, "black": BLACK, "w": WHITE, "white": WHITE}


def point_of(name: str, size: int) -> int:
    """Return the move that players call so, "Q16" or "pass"; ArgumentError if there is none."""
    text = name.strip().upper()
    if text == "PASS":
        return PASS
    rows = [str(row) for row in range(1, size + 1)]
    if not text or text[0] not in COLUMNS[:size] or text[1:] not in rows:
        raise ArgumentError(f"there is no point {name!r:.40} on a board of {size} lines")
    return (size - int(text[1:])) * size + COLUMNS.index(text[0])


class Player:
    """What a network knows of a game, and the commands that it answers.

    Source: Farneback 2002, "Specification of the Go Text Protocol, version 2".
    """

    def __init__(self, network: Network) -> None:
        self.network, self.size = network, int(network.input_shape[0])
        self.board, self.komi = Board(self.size), 6.5
        self.commands: dict[str, Callable[[list[str]], str]] = {
            "protocol_version": lambda _: "2", "name": lambda _: "minidl",
            "version": lambda _: __version__, "list_commands": self._list,
            "known_command": lambda given: str(" ".join(given) in self.commands).lower(),
            "quit": lambda _: "", "boardsize": self._boardsize, "clear_board": self._clear,
            "komi": self._komi, "play": self._play, "genmove": self._genmove, "undo": self._undo,
            "showboard": lambda _: "\n" + board_text(self.board.stones),
            "final_score": lambda _: self._score(),
        }  # fmt: skip

    def _list(self, _: list[str]) -> str:
        return "\n".join(self.commands)

    def _boardsize(self, given: list[str]) -> str:
        if given != [str(self.size)]:
            raise ArgumentError("unacceptable size")
        return self._clear([])

    def _clear(self, _: list[str]) -> str:
        self.board = Board(self.size)
        return ""

    def _komi(self, given: list[str]) -> str:
        try:
            (komi,) = map(float, given)
        except ValueError:
            komi = math.nan
        if not math.isfinite(komi):
            raise ArgumentError("komi not a float")
        self.komi = komi
        return ""

    def _play(self, given: list[str]) -> str:
        if len(given) != 2 or given[0].lower() not in COLORS:
            raise ArgumentError("expected a color and a point")
        self.board.play(point_of(given[1], self.size), COLORS[given[0].lower()])
        return ""

    def _genmove(self, given: list[str]) -> str:
        if len(given) != 1 or given[0].lower() not in COLORS:
            raise ArgumentError("expected a color")
        self.board.to_play = COLORS[given[0].lower()]
        move = best_move(self.network, self.board)
        self.board.play(move)
        return point_name(move, self.size)

    def _undo(self, _: list[str]) -> str:
        self.board.undo()
        return ""

    def _score(self) -> str:
        ahead = self.board.score() - self.komi
        return "0" if ahead == 0 else f"{'B' if ahead > 0 else 'W'}+{abs(ahead):g}"


def answers(player: Player, lines: Iterable[str]) -> Iterator[str]:
    """Yield the answer to each line of GTP, until `quit`; what can't be done is answered with ?."""
    for line in lines:
        words = "".join(c for c in line.split("#")[0] if c.isprintable() or c == "\t").split()
        if not words:
            continue
        number = words.pop(0) if words[0].isdecimal() else ""
        command, given = (words[0], words[1:]) if words else ("", [])
        try:
            if command not in player.commands:
                raise ArgumentError("unknown command")
            sign, text = "=", player.commands[command](given)
        except ArgumentError as error:
            sign, text = "?", str(error)
        yield f"{sign}{number} {text}\n\n"
        if command == "quit":
            return
