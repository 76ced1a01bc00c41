"""Go: the rules, and what a network is told of a position, by sets of points.

A board is (S, S): 0 empty, 1 black, 2 white. A move is a point, row * S + column, or -1, a pass.
The rules are those that all rule sets share: a move takes the opponent's groups that it leaves
without liberties; one that leaves its own group without any is suicide, and forbidden; so is the
point of a ko, where a single stone was just taken by a stone that could be taken back at once.
"""

import numpy as np

from minidl.constants.go import COUNT, EMPTY, LADDER, LOOKED_AT, PASS, STARTS, STEPS

Points = dict[int, int]  # the color of each point
Group = tuple[list[int], list[int]]  # stones and liberties, nearest first


def positions(
    moves: np.ndarray, colors: np.ndarray, board: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Play a game: the boards before each move and at its end, and the first illegal move.

    moves, colors: (M,), of each move.  board: (S, S), what the game begins with.
    Returns boards (M + 1, S, S) int8; ages (M + 1, S, S) uint8, the turns since a stone was played,
    1 for the last move, 0 for empty points and stones of the beginning until a move was made, at
    most 255; kos (M + 1,), the point that ko forbids before each move, -1 for none; and the number
    of the first illegal move, after which nothing is played, -1 for none.
    """
    size, count = len(board), len(moves)
    boards = np.zeros((count + 1, size, size), np.int8)
    ages, kos = np.zeros(boards.shape, np.uint8), np.full(count + 1, -1)
    boards[0] = board
    points = _points(board)
    age = dict.fromkeys(points, 0)
    for m, (move, color) in enumerate(zip(moves.tolist(), colors.tolist(), strict=True)):
        age = {p: min(255, age[p] + 1) if points[p] else 0 for p in points}
        ko = -1
        if move != PASS:
            ko_retaken = _retakes(points, size, move, int(kos[m]), color)
            played = None if ko_retaken else _played(points, size, move, color)
            if played is None:
                return boards, ages, kos, m
            points, taken, ko = played
            age |= dict.fromkeys(taken, 0) | {move: 1}
        boards[m + 1] = np.array(list(points.values())).reshape(size, size)
        ages[m + 1] = np.array(list(age.values())).reshape(size, size)
        kos[m + 1] = ko
    return boards, ages, kos, -1


def legal(boards: np.ndarray, colors: np.ndarray, kos: np.ndarray) -> np.ndarray:
    """Where the colors may play: on empty points, not at ko's, without suicide.

    boards: (N, S, S).  colors, kos: (N,).  Returns (N, S, S) bool.
    """
    size = boards.shape[1]
    found = np.zeros(boards.shape, np.bool_)
    for n, board in enumerate(boards):
        points = _points(board)
        for p in points:
            color = int(colors[n])
            may = not _retakes(points, size, p, int(kos[n]), color)
            found[n, p // size, p % size] = may and _played(points, size, p, color) is not None
    return found


def planes(boards: np.ndarray, ages: np.ndarray, colors: np.ndarray, kos: np.ndarray) -> np.ndarray:
    """The 48 planes of positions, 0 or 1, as `minidl.constants.go` lists them.

    boards, ages, kos: as `positions` returns them.  colors: (N,), whose turn it is.
    Returns (N, S, S, 48) uint8. A move puts stones in atari that are then left with one liberty. It
    captures in a ladder if it takes a group's last liberty but one, and every reply leaves the
    group with one again, or with two of which the player takes the right one. It escapes if it
    saves a group from atari so that there is no ladder.
    """
    n, size, _ = boards.shape
    found = np.zeros((n, size * size, COUNT), np.uint8)
    for i in range(n):
        points, age = _points(boards[i]), ages[i].ravel().tolist()
        color = int(colors[i])
        for p in points:
            found[i, p, 3] = 1
            if points[p] == EMPTY:
                found[i, p, 2] = 1
                if not _retakes(points, size, p, int(kos[i]), color):
                    _of_move(found[i, p], points, size, p, color)
            else:
                found[i, p, 0 if points[p] == color else 1] = 1
                _number(found[i, p], "turns since a stone was played", age[p])
                breaths = _group(points, size, p)[1]
                _number(found[i, p], "liberties of a stone's group", len(breaths))
    return found.reshape(n, size, size, COUNT)


def _of_move(planes: np.ndarray, points: Points, size: int, move: int, color: int) -> None:
    """The planes at a point where a stone might be played."""
    played = _played(points, size, move, color)
    if played is None:
        return
    after, taken, _ = played
    stones, breaths = _group(after, size, move)
    _number(planes, "opponent's stones that a move captures", len(taken))
    _number(planes, "liberties of the group after a move", len(breaths))
    if len(breaths) == 1:
        _number(planes, "own stones that a move puts in atari", len(stones))
    if not _is_eye(points, size, move, color):
        planes[STARTS["whether a move is legal and fills no eye of one's own"]] = 1
    for q in _near(size, move):
        if points[q] == EMPTY:
            continue
        before = len(_group(points, size, q)[1])
        ladder = _Ladder(size)
        if points[q] == color and before == 1:
            now = len(_group(after, size, q)[1])
            if now > 2 or (now == 2 and not ladder.is_caught(after, q, 1)):
                planes[STARTS["whether a move escapes from a ladder"]] = 1
        elif points[q] != color and before == 2 and not ladder.gets_away(after, q, 1):
            planes[STARTS["whether a move captures in a ladder"]] = 1


class _Ladder:
    """Reads a ladder. Ko isn't looked at; what is too long to read has got away."""

    def __init__(self, size: int) -> None:
        self.size, self.looked = size, 0

    def gets_away(self, points: Points, prey: int, level: int) -> bool:
        """Return whether a group in atari, whose turn it is, gets away."""
        self.looked += 1
        if level + 2 >= LADDER + 2 or self.looked > LOOKED_AT:
            return True
        for way in self.ways_out(points, prey):
            played = _played(points, self.size, way, points[prey])
            if played is None:
                continue
            left = len(_group(played[0], self.size, prey)[1])
            if left > 2 or (left == 2 and not self.is_caught(played[0], prey, level + 1)):
                return True
        return False

    def is_caught(self, points: Points, prey: int, level: int) -> bool:
        """Return whether a group with two liberties is caught, its hunter's turn."""
        for point in _group(points, self.size, prey)[1]:
            played = _played(points, self.size, point, 3 - points[prey])
            if played is not None and not self.gets_away(played[0], prey, level + 1):
                return True
        return False

    def ways_out(self, points: Points, prey: int) -> list[int]:
        """Its liberty, and the last liberties of groups around it."""
        stones, breaths = _group(points, self.size, prey)
        around = (q for p in stones for q in _near(self.size, p))
        groups = [_group(points, self.size, q) for q in around if points[q] == 3 - points[prey]]
        captures = [free[0] for _, free in groups if len(free) == 1]
        return [*dict.fromkeys([*breaths, *captures])]


def _points(board: np.ndarray) -> Points:
    return dict(enumerate(np.asarray(board).ravel().tolist()))


def _near(size: int, p: int) -> list[int]:
    """The neighbours of a point: above, left, right, below."""
    row, column = divmod(p, size)
    steps = ((row - 1, column), (row, column - 1), (row, column + 1), (row + 1, column))
    return [r * size + c for r, c in steps if 0 <= r < size and 0 <= c < size]


def _group(points: Points, size: int, start: int) -> Group:
    stones, breaths = [start], []
    for p in stones:
        for q in _near(size, p):
            if points[q] == points[start] and q not in stones:
                stones.append(q)
            elif points[q] == EMPTY and q not in breaths:
                breaths.append(q)
    return stones, breaths


def _played(
    points: Points, size: int, move: int, color: int
) -> tuple[Points, list[int], int] | None:
    """Return the board after a move, the stones it took, and the point of a ko; None: illegal."""
    if points[move] != EMPTY:
        return None
    after = {**points, move: color}
    taken: list[int] = []
    for q in _near(size, move):
        if after[q] == 3 - color:
            stones, breaths = _group(after, size, q)
            if not breaths:
                taken += stones
                after.update(dict.fromkeys(stones, EMPTY))
    stones, breaths = _group(after, size, move)
    if not breaths:
        return None
    ko = taken[0] if len(taken) == len(stones) == len(breaths) == 1 else -1
    return after, taken, ko


def _retakes(points: Points, size: int, move: int, ko: int, color: int) -> bool:
    """Return whether a move retakes a ko: to fill it is not forbidden to the one who took."""
    return move == ko and points[_near(size, move)[-1]] != color


def _is_eye(points: Points, size: int, p: int, color: int) -> bool:
    """Return whether a point is an eye: at most one corner is the opponent's, at an edge none."""
    if any(points[q] != color for q in _near(size, p)):
        return False
    row, column = divmod(p, size)
    corners = [(row + i, column + j) for i in (-1, 1) for j in (-1, 1)]
    on_board = [r * size + c for r, c in corners if 0 <= r < size and 0 <= c < size]
    lost = sum(points[q] == 3 - color for q in on_board)
    return lost == 0 or (lost == 1 and len(on_board) == 4)


def _number(planes: np.ndarray, name: str, number: int) -> None:
    if number > 0:
        planes[STARTS[name] + min(number, STEPS) - 1] = 1
