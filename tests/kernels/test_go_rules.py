"""Go's rules and planes where the answers are known."""

import numpy as np
import pytest

from minidl.constants.go import PLANES, STARTS
from minidl.kernels import go


def board(text):
    """(S, S), of lines of . X (black) O (white)."""
    return np.array([[".XO".index(c) for c in line] for line in text.split()], np.int8)


def planes(position, color):
    """{name: (S, S, planes)} of a position."""
    ages, kos = np.zeros(position.shape, np.uint8), np.array([-1])
    found = go.planes(position[None], ages[None], np.array([color]), kos)[0]
    return {name: found[..., STARTS[name] : STARTS[name] + count] for name, count in PLANES}


def played(moves, position):
    """Boards and ko's points of moves (color, row, column)."""
    size = len(position)
    points = np.array([row * size + column for _, row, column in moves])
    boards, _, kos, broken = go.positions(
        points, np.array([color for color, *_ in moves]), position
    )
    return boards, kos, broken


def test_a_ko_is_forbidden_for_a_move():
    begin = board(".XO.. XO.O. .XO.. ..... .....")
    moves = [(1, 1, 2), (2, 4, 4), (2, 1, 1)]
    boards, kos, broken = played(moves, begin)
    assert boards[1][1, 1] == 0
    assert kos.tolist()[:3] == [-1, 1 * 5 + 1, -1]
    assert broken == -1  # a move elsewhere came between
    assert played([moves[0], moves[2]], begin)[2] == 1


def test_suicide_is_forbidden_and_capture_is_none():
    begin = board(".X. XX. ...")
    assert played([(2, 0, 0)], begin)[2] == 0
    begin = board(".XO XXO OO.")
    boards, _, broken = played([(2, 0, 0)], begin)
    assert broken == -1
    assert boards[-1].tolist() == board("O.O ..O OO.").tolist()


LADDER = """
.........
.........
...XO....
...XO....
....X....
.........
.........
.........
.........
"""


def test_a_ladder():
    """White's two stones run to the edge, or to a stone that breaks it."""
    position = board(LADDER)
    position[1, 4] = 1
    caught = planes(position, 1)["whether a move captures in a ladder"][..., 0]
    assert caught[2, 5] == caught[3, 5] == 1
    assert caught.sum() == 2
    runs = position.copy()
    runs[2, 5] = 1  # now white is in atari, and can't get away
    assert planes(runs, 2)["whether a move escapes from a ladder"].sum() == 0
    runs[5, 5] = 2
    assert planes(runs, 2)["whether a move escapes from a ladder"][3, 5, 0] == 1


def test_eyes():
    name = "whether a move is legal and fills no eye of one's own"
    position = board(".X... XX... ..... ..XXX ..X.X")
    sensible = planes(position, 1)[name][..., 0]
    assert sensible[0, 0] == 0  # in a corner
    assert sensible[4, 3] == 0  # at an edge
    assert sensible[2, 2] == 1
    position[3, 2] = position[3, 4] = 2
    assert planes(position, 1)[name][4, 3, 0] == 1  # a false eye


def test_numbers_of_a_move():
    position = board("XX.O. OOX.. ..... ..... .....")
    one, two, three = ([int(i == n) for i in range(8)] for n in range(3))
    found = planes(position, 2)
    assert found["liberties of a stone's group"][0, 0].tolist() == one
    assert found["liberties of a stone's group"][1, 0].tolist() == two
    assert found["opponent's stones that a move captures"][0, 2].tolist() == two
    # It joins the stone beside it: free are one of the two that it took, and two more
    assert found["liberties of the group after a move"][0, 2].tolist() == three
    assert found["own stones that a move puts in atari"].sum() == 0
    found = planes(position, 1)
    # Black joins three stones, which are left with the liberty at 1, 3 and that at 2, 2
    assert found["liberties of the group after a move"][0, 2].tolist() == two
    position[2, 2] = position[1, 3] = 2
    found = planes(position, 1)
    assert found["whether a move is legal and fills no eye of one's own"][0, 2, 0] == 0
    position[2, 2] = 0
    found = planes(position, 1)
    assert found["own stones that a move puts in atari"][0, 2].tolist() == [0, 0, 0, 1, 0, 0, 0, 0]


@pytest.mark.parametrize("size", [1, 2, 25])
def test_boards_of_any_size(size):
    empty = np.zeros((1, size, size), np.int8)
    turns, kos = np.array([1]), np.array([-1])
    assert go.legal(empty, turns, kos).sum() == (0 if size == 1 else size * size)
    assert go.planes(empty, empty.astype(np.uint8), turns, kos).shape == (1, size, size, 48)
