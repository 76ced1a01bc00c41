"""A board to play on: the rules with superko, and the score by area."""

import numpy as np

from minidl import kernels
from minidl.apps.go.sgf import LARGEST, NAMES, STATES, point_name
from minidl.checks import is_whole, whole
from minidl.constants.go import BLACK, EMPTY, PASS, WHITE
from minidl.errors import ArgumentError

__all__ = ["Board"]


class Board:
    """A game in progress.

    size: lines, 2 to 25.  stones: (S, S), at the beginning: 0 empty, 1 black, 2 white.
    A move may not bring back an earlier position, no matter whose turn it was (positional superko),
    nor be suicide. Two passes end the game.
    moves, colors: what was played.  to_play: 1 for black, 2 for white.
    Raises ArgumentError for another size or other stones.
    """

    def __init__(self, size: int = 19, stones: np.ndarray | None = None) -> None:
        self.size = size = whole("Board", "size", size, 2, LARGEST)
        empty = np.zeros((size, size), np.int8)
        given = empty if stones is None else np.asarray(stones)
        if given.shape != empty.shape:
            raise ArgumentError(f"Board: stones must be {size} x {size}, got {given.shape}")
        if not np.isin(given, STATES).all():
            raise ArgumentError("Board: stones must be 0, empty, 1, black, or 2, white")
        self._setup = np.array(given, np.int8)
        self.moves: list[int] = []
        self.colors: list[int] = []
        self.to_play = BLACK
        self._replay()

    def _replay(self) -> None:
        moves, colors = np.array(self.moves, int), np.array(self.colors, int)
        found = kernels.use("go").positions(moves, colors, self._setup)
        self._boards, self._ages, self._kos, _ = found
        self._seen = {board.tobytes() for board in self._boards}

    @property
    def stones(self) -> np.ndarray:
        """(S, S) int8: a copy of the board as it is."""
        return np.array(self._boards[-1])

    @property
    def over(self) -> bool:
        """Return whether both have passed."""
        return self.moves[-2:] == [PASS, PASS]

    def legal(self, color: int | None = None) -> np.ndarray:
        """Return (S, S) bool: where a color may play; None: the color whose turn it is."""
        color = self._color(color)
        board = self._boards[-1:]
        found: np.ndarray = kernels.use("go").legal(board, np.array([color]), self._kos[-1:])[0]
        for point in np.flatnonzero(found):
            if self._repeats(int(point), color):
                found.flat[point] = False
        return found

    def planes(self) -> np.ndarray:
        """Return the network's input for the position, (1, S, S, 48)."""
        now = np.array([self.to_play])
        found: np.ndarray = kernels.use("go").planes(
            self._boards[-1:], self._ages[-1:], now, self._kos[-1:]
        )
        return found

    def play(self, move: int, color: int | None = None, *, superko: bool = True) -> None:
        """Play a point, row * S + column, or -1, a pass.

        superko: forbid moves that bring back a position; many games are played without that rule.
        Raises ArgumentError, and leaves the board as it was, for a move that the rules forbid.
        """
        color = self._color(color)
        if move != PASS or not is_whole(move):
            if not is_whole(move) or not 0 <= move < self.size**2:
                raise ArgumentError(f"Board: there is no point {move} on {self.size} lines")
            if why := self._why_not(move, color, superko):
                name = f"{NAMES[color]} at {point_name(move, self.size)}"
                raise ArgumentError(f"Board: {name} is illegal: {why}")
        self.moves.append(int(move))
        self.colors.append(color)
        self.to_play = BLACK + WHITE - color
        self._replay()

    def _color(self, color: int | None) -> int:
        if color is not None and color not in NAMES:
            raise ArgumentError(f"Board: a color is 1, black, or 2, white, got {color!r}")
        return self.to_play if color is None else int(color)

    def undo(self) -> None:
        """Take the last move back; ArgumentError if there is none."""
        if not self.moves:
            raise ArgumentError("Board: there is no move to take back")
        self.moves.pop()
        self.to_play = self.colors.pop()
        self._replay()

    def _why_not(self, move: int, color: int, superko: bool) -> str:
        board = self._boards[-1:]
        if board.flat[move] != EMPTY:
            return "there is a stone"
        if not kernels.use("go").legal(board, np.array([color]), self._kos[-1:]).flat[move]:
            return "ko" if move == self._kos[-1] else "suicide"
        if superko and self._repeats(move, color):
            return "the position was there before (superko)"
        return ""

    def _repeats(self, move: int, color: int) -> bool:
        """Whether a legal move brings a position back: only one that takes stones can."""
        after = kernels.use("go").positions(np.array([move]), np.array([color]), self._boards[-1])[
            0
        ][1]
        return after.tobytes() in self._seen

    def score(self) -> int:
        """Return black's points less white's, by area: stones, and regions that touch one color.

        Source: Tromp and Taylor, "The game of Go", the rules. Komi isn't in it.
        """
        board = self._boards[-1]
        total = int((board == BLACK).sum()) - int((board == WHITE).sum())
        unknown = {(int(r), int(c)) for r, c in np.argwhere(board == EMPTY)}
        while unknown:
            region, borders, todo = 0, set(), [unknown.pop()]
            while todo:
                row, column = todo.pop()
                region += 1
                for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1)):
                    r, c = row + down, column + right
                    if (r, c) in unknown:
                        unknown.remove((r, c))
                        todo.append((r, c))
                    elif 0 <= r < self.size and 0 <= c < self.size and board[r, c] != EMPTY:
                        borders.add(int(board[r, c]))
            if len(borders) == 1:
                total += region if BLACK in borders else -region
        return total
