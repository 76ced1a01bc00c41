"""Positions of many games in an HDF5 file, as a network is trained on them."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from minidl import kernels
from minidl.apps.go.sgf import Game
from minidl.constants.go import BLACK, EMPTY, PASS, WHITE
from minidl.data import Dataset, HDF5Dataset, HDF5Writer
from minidl.errors import ArgumentError, FileFormatError
from minidl.text import printable

__all__ = ["Positions", "turned", "write_positions"]

STONES, AGES, KO = range(3)  # channels of a row
SOURCE = "positions of Go"  # what a file says that it is made from
SYMMETRIES = 8


def write_positions(
    path: str | os.PathLike[str],
    games: Iterable[tuple[str, Game | FileFormatError]],
    size: int = 19,
    tell: Callable[[str], None] = print,
) -> int:
    """Write the position before each move of games to a file; return how many there are.

    games: as `read_games` yields them. What can't be read, has an illegal move or none, or another
        board than one of `size` lines, is left out, and told.
    A row is (S, S, 3) uint8: stones as the player to move sees them, 1 own and 2 the opponent's,
    the turns since each was played, and 1 at the point that ko forbids. Its label is the move.
    Raises ArgumentError where no position is left.
    """
    count = 0
    writer = HDF5Writer(path, (size, size, 3), overwrite=True, source=SOURCE)
    try:
        for name, game in usable(games, size, tell):
            rows, moves = _rows(game, name)
            writer.add(rows, moves)
            count += len(rows)
        if not count:
            raise ArgumentError("write_positions: there is no game to take positions from")
        writer.close()
    except BaseException:
        writer.discard()
        raise
    return count


def usable(
    games: Iterable[tuple[str, Game | FileFormatError]], size: int, tell: Callable[[str], None]
) -> Iterator[tuple[str, Game]]:
    """Yield the games on a board of `size` lines that have moves, all legal; tell the others."""
    for name, game in games:
        try:
            if isinstance(game, FileFormatError):
                raise game
            if game.size != size:
                raise FileFormatError(f"{name}: a board of {game.size} lines, not {size}")
            if not (game.moves != PASS).any():
                raise FileFormatError(f"{name}: a game without a move")
            game.positions(name)
        except FileFormatError as error:
            tell(printable(f"left out: {error}"))
        else:
            yield name, game


def _rows(game: Game, name: str) -> tuple[np.ndarray, np.ndarray]:
    """(M, S, S, 3) and the moves (M,), without passes."""
    boards, ages, kos = game.positions(name)
    played = np.flatnonzero(game.moves != PASS)
    rows = np.zeros((len(played), game.size, game.size, 3), np.uint8)
    rows[..., STONES], rows[..., AGES] = seen(boards[played], game.colors[played]), ages[played]
    forbidden = np.flatnonzero(kos[played] >= 0)
    flat = rows.reshape(len(played), -1, 3)  # (M, S, S, 3) -> (M, S * S, 3)
    flat[forbidden, kos[played][forbidden], KO] = 1
    return rows, game.moves[played]


def seen(boards: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """Return boards (N, S, S) as the players to move (N,) see them: 1 own, 2 the opponent's."""
    turned_over = np.where(boards == EMPTY, EMPTY, 3 - boards)
    return np.where(colors[:, None, None] == BLACK, boards, turned_over).astype(np.uint8)


class Positions(Dataset):
    """Item i is (planes (S, S, 48) float32, move () int64) of a file of `write_positions`.

    In training, `prepared` with a generator, each position is turned or mirrored at random, and its
    move with it.
    Raises FileFormatError for other files.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.rows = HDF5Dataset(path)
        self.size = int(self.rows.shape[0])
        fits = self.rows.shape == (self.size, self.size, 3) and self.rows.dtype == np.uint8
        if self.rows.source != SOURCE or not fits:
            raise FileFormatError(
                f"{os.fspath(path)}: no file of positions of Go: write_positions makes one"
            )

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        return tuple(part[0] for part in self.batch([index]))

    def batch(self, indices: Sequence[int] | np.ndarray) -> tuple[np.ndarray, ...]:
        """(N, S, S, 48) and (N,)."""
        rows, moves = self._read(indices)
        return planes_of(rows), moves

    def _read(self, indices: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return rows and moves; raise FileFormatError for those that no game has."""
        rows, moves = self.rows.batch(indices)
        stones_fit = rows[..., STONES].max(initial=0) <= WHITE
        if not stones_fit or ((moves < 0) | (moves >= self.size**2)).any():
            what = "moves beyond the board" if stones_fit else "stones other than 0, 1 and 2"
            raise FileFormatError(f"{self.rows.path}: it has {what}")
        return rows, moves

    def prepared(
        self, indices: Sequence[int] | np.ndarray, transforms: Sequence[Any], rng: Any
    ) -> tuple[Any, ...]:
        rows, moves = self._read(indices)
        if rng is not None:
            rows, moves = turned(rows, moves, rng.integers(SYMMETRIES, size=len(rows)))
        x = planes_of(rows)
        for transform in transforms:
            x = transform(x, rng)
        return x, moves

    def order(self, generator: np.random.Generator) -> np.ndarray:
        """Return the order (N,) of the file, which reads neighbours together."""
        return self.rows.order(generator)


def planes_of(rows: np.ndarray) -> np.ndarray:
    """Return the planes (N, S, S, 48) float32 of rows of a file."""
    n, size = rows.shape[:2]
    flat = rows[..., KO].reshape(n, size * size)  # (N, S, S) -> (N, S * S)
    kos = np.where(flat.any(axis=1), flat.argmax(axis=1), -1)
    own = np.full(n, BLACK)
    found: np.ndarray = kernels.use("go").planes(rows[..., STONES], rows[..., AGES], own, kos)
    return found.astype(np.float32)


def turned(
    rows: np.ndarray, moves: np.ndarray, symmetries: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return rows (N, S, S, C) and moves (N,), each by one of the board's eight symmetries.

    symmetries: (N,), a quarter turn more for each one, from 4 on mirrored before.
    """
    size = rows.shape[1]
    marks = np.arange(size * size).reshape(size, size)
    found, where = np.empty_like(rows), np.empty_like(moves)
    for i in range(SYMMETRIES):
        here = symmetries == i
        mirrored, marked = (rows[here, :, ::-1], marks[:, ::-1]) if i >= 4 else (rows[here], marks)
        found[here] = np.rot90(mirrored, i % 4, axes=(1, 2))
        goes_to = np.argsort(np.rot90(marked, i % 4).ravel())
        where[here] = goes_to[moves[here]]
    return found, where
