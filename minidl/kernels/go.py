"""Go: the rules, and what a network is told of a position.

Shapes and names as in the twin, `minidl.reference.go`. A board is flat here, and near[p] has the up
to four neighbours of point p, -1 where there is none.
"""

import functools

import numpy as np

from minidl.constants.go import COUNT, EMPTY, LADDER, LOOKED_AT, PASS, STARTS, STEPS
from minidl.kernels._jit import background, helper

AGES = STARTS["turns since a stone was played"]
LIBERTIES = STARTS["liberties of a stone's group"]
CAPTURES = STARTS["opponent's stones that a move captures"]
ATARI = STARTS["own stones that a move puts in atari"]
AFTER = STARTS["liberties of the group after a move"]
CAUGHT = STARTS["whether a move captures in a ladder"]
ESCAPES = STARTS["whether a move escapes from a ladder"]
SENSIBLE = STARTS["whether a move is legal and fills no eye of one's own"]

# Rows of `work`, an array (6, points + 1): the stones of the group looked at, its liberties, when a
# point was last looked at (the last number is the clock), what a move took, points for later, and
# how many positions of a ladder were looked at.
STONES, BREATHS, MARKS, TAKEN, LATER, LOOKED = range(6)


@helper
def _group(board, near, point, work):
    """Return how many stones and liberties the group at a point has; `work` has which."""
    stones, breaths, marks = work[STONES], work[BREATHS], work[MARKS]
    marks[-1] += 1
    clock, color = marks[-1], board[point]
    stones[0], marks[point] = point, clock
    count, free, at = 1, 0, 0
    while at < count:
        for i in range(4):
            q = near[stones[at], i]
            if q >= 0 and marks[q] != clock:
                if board[q] == color:
                    marks[q] = clock
                    stones[count] = q
                    count += 1
                elif board[q] == EMPTY:
                    marks[q] = clock
                    breaths[free] = q
                    free += 1
        at += 1
    return count, free


@helper
def _put(board, near, point, color, work):
    """Play a stone, and take what it captures; nothing is changed if it would be suicide.

    Returns how many stones it took (-1: suicide), how many stones and liberties its group has, and
    the point that ko forbids (-1: none).
    """
    taken = 0
    board[point] = color
    for i in range(4):
        q = near[point, i]
        if q >= 0 and board[q] == 3 - color:
            count, free = _group(board, near, q, work)
            if free == 0:
                for s in range(count):
                    board[work[STONES, s]] = EMPTY
                    work[TAKEN, taken] = work[STONES, s]
                    taken += 1
    count, free = _group(board, near, point, work)
    if free == 0:
        board[point] = EMPTY
        return -1, count, free, -1
    ko = work[TAKEN, 0] if taken == 1 and count == 1 and free == 1 else -1
    return taken, count, free, ko


@helper
def _take_back(board, point, color, taken, work):
    """Undo `_put`, right after it."""
    board[point] = EMPTY
    for s in range(taken):
        board[work[TAKEN, s]] = 3 - color


@helper
def _retakes(near, board, point, ko, color):
    """Return whether a move retakes a ko: to fill it is not forbidden to the one who took."""
    return point == ko and board[near[point].max()] != color


@background
def _positions(part, moves, colors, near, boards, ages, kos, work, broken):
    """Play all moves of a game; boards[0] is what it begins with."""
    ko = -1
    for m in range(len(moves)):
        board, age = boards[m + 1], ages[m + 1]
        board[:] = boards[m]
        for p in range(len(board)):
            age[p] = min(255, ages[m, p] + 1) if board[p] != EMPTY else 0
        point, taken = moves[m], 0
        if point == PASS:
            ko = -1
        elif board[point] != EMPTY or _retakes(near, board, point, ko, colors[m]):
            taken = -1
        else:
            taken, _, _, ko = _put(board, near, point, colors[m], work)
            for s in range(max(0, taken)):
                age[work[TAKEN, s]] = 0
            age[point] = 1
        if taken < 0:
            board[:], age[:], broken[0] = EMPTY, 0, m
            return
        kos[m + 1] = ko


@background
def _legal(part, boards, colors, kos, near, work, found):
    board, color = boards[part], colors[part]
    for p in range(len(board)):
        found[part, p] = False
        if board[p] == EMPTY and not _retakes(near, board, p, kos[part], color):
            taken, _, _, _ = _put(board, near, p, color, work)
            if taken >= 0:
                _take_back(board, p, color, taken, work)
                found[part, p] = True


@helper
def _is_eye(board, near, corners, point, color):
    """Return whether a point is an eye of a color: at most one corner lost, at an edge none."""
    lost, edge = 0, False
    for i in range(4):
        if near[point, i] >= 0 and board[near[point, i]] != color:
            return False
        if corners[point, i] < 0:
            edge = True
        elif board[corners[point, i]] == 3 - color:
            lost += 1
    return lost == 0 or (lost == 1 and not edge)


@helper
def _ways_out(board, near, prey, ways, work):
    """List where the group in atari may be saved: its liberty, and atari groups around it."""
    color = board[prey]
    count, _ = _group(board, near, prey, work)
    ways[0] = work[BREATHS, 0]
    found = 1
    work[LATER, :count] = work[STONES, :count]
    for s in range(count):
        for i in range(4):
            q = near[work[LATER, s], i]
            if q >= 0 and board[q] == 3 - color:
                _, free = _group(board, near, q, work)
                if free == 1:
                    way, known = work[BREATHS, 0], False
                    for k in range(found):
                        known = known or ways[k] == way
                    if not known:
                        ways[found] = way
                        found += 1
    return found


# A frame of `_escapes`, of a position with the prey's turn: how many ways out it has, how many were
# gone, which of two answers is next (-1: no way is being gone), and where these are.
WAYS, GONE, NEXT, ANSWERS = range(4)


@helper
def _escapes(boards, near, level, prey, ways, frames, work):
    """Return whether a group in atari, whose turn it is, gets away: boards[level] is the position.

    Ko is not looked at. What isn't decided after LADDER moves, or LOOKED_AT positions, got away.
    A search in depth, by a stack of frames: what is compiled and kept can't call itself.
    """
    color = boards[level, prey]
    depth, entering, away = 0, True, False
    while depth >= 0:
        at, frame = level + 2 * depth, frames[depth]
        if entering:
            entering = False
            work[LOOKED, 0] += 1
            if at + 2 >= len(boards) or work[LOOKED, 0] > LOOKED_AT:
                away, depth = True, depth - 1
                continue
            frame[WAYS] = _ways_out(boards[at], near, prey, ways[at], work)
            frame[GONE], frame[NEXT] = 0, -1
        elif not away:  # an answer has caught it: another way
            frame[NEXT] = -1
        away = _goes_on(boards, near, at, prey, color, ways[at], frame, work)
        if frame[NEXT] > 0 and not away:
            entering = True
        depth += 1 if entering else -1
    return away


@helper
def _goes_on(boards, near, at, prey, color, ways, frame, work):
    """Try ways out of boards[at], and answers, until one is to be looked into or none is left.

    Returns whether the group gets away. If it doesn't, and frame[NEXT] is 1 or 2, what comes of an
    answer has to be seen: boards[at + 2].
    """
    while True:
        if frame[NEXT] == 2:  # neither answer catches it
            return True
        if frame[NEXT] >= 0:
            point = frame[ANSWERS + frame[NEXT]]
            frame[NEXT] += 1
            boards[at + 2] = boards[at + 1]
            taken, _, _, _ = _put(boards[at + 2], near, point, 3 - color, work)
            if taken >= 0:
                return False
        elif frame[GONE] == frame[WAYS]:
            return False
        else:
            way = ways[frame[GONE]]
            frame[GONE] += 1
            boards[at + 1] = boards[at]
            taken, _, _, _ = _put(boards[at + 1], near, way, color, work)
            if taken >= 0:
                _, free = _group(boards[at + 1], near, prey, work)
                if free > 2:
                    return True
                if free == 2:
                    frame[NEXT] = 0
                    frame[ANSWERS], frame[ANSWERS + 1] = work[BREATHS, 0], work[BREATHS, 1]


@helper
def _one_hot(planes, point, first, number):
    if number > 0:
        planes[point, first + min(number, STEPS) - 1] = 1


@helper
def _stones(board, age, color, near, work, planes):
    """The planes of what is there: colors, turns since, liberties."""
    points = len(board)
    planes[:] = 0
    known = work[LATER]
    known[:points] = 0  # the liberties of groups that were looked at
    for p in range(points):
        planes[p, 3] = 1
        if board[p] == EMPTY:
            planes[p, 2] = 1
            continue
        planes[p, 0 if board[p] == color else 1] = 1
        _one_hot(planes, p, AGES, np.int64(age[p]))
        if known[p] == 0:
            count, free = _group(board, near, p, work)
            for s in range(count):
                known[work[STONES, s]] = free
        _one_hot(planes, p, LIBERTIES, known[p])


@helper
def _ladders(boards, near, point, color, ways, frames, work, planes):
    """The planes of ladders: boards[0] is the position, boards[1] that after the move at a point.

    The move has been made, and left its group with one or more liberties.
    """
    before, after = boards[0], boards[1]
    for i in range(4):
        q = near[point, i]
        work[LOOKED, 0] = 0
        if q < 0 or before[q] == EMPTY:
            continue
        _, free = _group(before, near, q, work)
        if before[q] == color and free == 1:  # in atari: is it saved?
            _, left = _group(after, near, q, work)
            if left > 2 or (left == 2 and not _hunted(boards, near, q, ways, frames, work)):
                planes[point, ESCAPES] = 1
        elif (
            before[q] != color
            and free == 2
            and not _escapes(boards, near, 1, q, ways, frames, work)
        ):
            planes[point, CAUGHT] = 1


@helper
def _hunted(boards, near, prey, ways, frames, work):
    """Return whether a group of two liberties in boards[1] is caught, its hunter's turn."""
    color = boards[1, prey]
    _group(boards[1], near, prey, work)
    first, second = work[BREATHS, 0], work[BREATHS, 1]
    for point in (first, second):
        boards[2] = boards[1]
        taken, _, _, _ = _put(boards[2], near, point, 3 - color, work)
        if taken >= 0 and not _escapes(boards, near, 2, prey, ways, frames, work):
            return True
    return False


@helper
def _in_reach(board, near, point, color, work):
    """Return whether a ladder may begin or end at a point: a neighbour has few liberties."""
    for i in range(4):
        q = near[point, i]
        if q >= 0 and board[q] != EMPTY:
            _, free = _group(board, near, q, work)
            if free == (1 if board[q] == color else 2):
                return True
    return False


@background
def _planes(part, boards, ages, colors, kos, near, corners, trials, ways, frames, work, found):
    """The planes of a position. trials (LADDER + 2, points): boards to read ladders on."""
    board, color, planes = trials[0], colors[part], found[part]
    board[:] = boards[part]
    _stones(board, ages[part], color, near, work, planes)
    for p in range(len(board)):
        if board[p] != EMPTY or _retakes(near, board, p, kos[part], color):
            continue
        ladder = _in_reach(board, near, p, color, work)
        taken, count, free, _ = _put(board, near, p, color, work)
        if taken < 0:
            continue
        if ladder:
            trials[1] = board
        _take_back(board, p, color, taken, work)
        _one_hot(planes, p, CAPTURES, taken)
        _one_hot(planes, p, AFTER, free)
        if free == 1:
            _one_hot(planes, p, ATARI, count)
        if not _is_eye(board, near, corners, p, color):
            planes[p, SENSIBLE] = 1
        if ladder:
            _ladders(trials, near, p, color, ways, frames, work, planes)


@functools.cache
def _neighbours(size: int, diagonal: bool) -> np.ndarray:
    """(points, 4): the neighbours of each point of a board, or the points at its corners."""
    rows, columns = np.mgrid[:size, :size]
    steps = [(-1, -1), (-1, 1), (1, -1), (1, 1)] if diagonal else [(-1, 0), (0, -1), (0, 1), (1, 0)]
    found = np.empty((size * size, 4), np.int64)
    for i, (down, right) in enumerate(steps):
        row, column = rows + down, columns + right
        on_board = (row >= 0) & (row < size) & (column >= 0) & (column < size)
        found[:, i] = np.where(on_board, row * size + column, -1).ravel()
    return found


def _work(points: int) -> np.ndarray:
    return np.zeros((6, points + 1), np.int64)


def positions(
    moves: np.ndarray, colors: np.ndarray, board: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Play a game: the boards before each move and at its end, and the first illegal move."""
    size, count = len(board), len(moves)
    boards = np.zeros((count + 1, size * size), np.int8)
    ages = np.zeros(boards.shape, np.uint8)
    kos, broken = np.full(count + 1, -1), np.full(1, -1)
    boards[0] = board.reshape(-1)  # (S, S) -> (S * S,)
    _positions(
        1, np.ascontiguousarray(moves, np.int64), np.ascontiguousarray(colors, np.int64),
        _neighbours(size, False), boards, ages, kos, _work(size * size), broken,
    )  # fmt: skip
    whole = (count + 1, size, size)
    return boards.reshape(whole), ages.reshape(whole), kos, int(broken[0])


def legal(boards: np.ndarray, colors: np.ndarray, kos: np.ndarray) -> np.ndarray:
    """Where the colors may play: on empty points, not at ko's, without suicide."""
    n, size, _ = boards.shape
    found = np.empty((n, size * size), np.bool_)
    # (N, S, S) -> (N, S * S), a copy: stones are tried on it
    flat = np.array(boards.reshape(n, -1), np.int8)
    _legal(
        n, flat, np.ascontiguousarray(colors, np.int64), np.ascontiguousarray(kos, np.int64),
        _neighbours(size, False), _work(size * size), found,
    )  # fmt: skip
    return found.reshape(boards.shape)


def planes(boards: np.ndarray, ages: np.ndarray, colors: np.ndarray, kos: np.ndarray) -> np.ndarray:
    """The 48 planes of positions, 0 or 1."""
    n, size, _ = boards.shape
    points = size * size
    found = np.empty((n, points, COUNT), np.uint8)
    _planes(
        n, np.ascontiguousarray(boards.reshape(n, points), np.int8),
        np.ascontiguousarray(ages.reshape(n, points), np.uint8),
        np.ascontiguousarray(colors, np.int64), np.ascontiguousarray(kos, np.int64),
        _neighbours(size, False), _neighbours(size, True),
        np.empty((LADDER + 2, points), np.int8), np.empty((LADDER + 2, points), np.int64),
        np.empty((LADDER, 5), np.int64), _work(points), found,
    )  # fmt: skip
    return found.reshape(n, size, size, COUNT)
