"""SGF files, and the board: rules with superko, and scores."""

import zipfile

import numpy as np
import pytest

from minidl import kernels
from minidl.apps import go
from minidl.constants.go import PASS
from minidl.errors import ArgumentError, FileFormatError

MOVES = 202_259  # of the thousand games, as their README counts them


def test_a_thousand_games(shared_data):
    """Strong players make no illegal move."""
    games = [*go.read_games(shared_data / "go_kgs" / "kgs_2015_1000.zip")]
    assert len(games) == 1000
    assert sum(len(game.moves) for _, game in games) == MOVES
    for name, game in games:
        boards, ages, kos = game.positions(name)
        assert len(boards) == len(ages) == len(kos) == len(game.moves) + 1
        assert boards.shape[1:] == (19, 19)


def test_a_game():
    text = b"""(;GM[1]FF[4]SZ[9]HA[2]AB[cc][gg:gh]KM[0.5]RE[B+3.5]C[a \\] b]
        ;W[ee](;B[ef]C[(;W[aa\\])];W[](;B[tt]))(;B[aa]))"""
    game = go.read_game(text)
    assert (game.size, game.komi, game.result) == (9, 0.5, "B+3.5")
    assert np.argwhere(game.setup == 1).tolist() == [[2, 2], [6, 6], [7, 6]]
    assert game.moves.tolist() == [4 * 9 + 4, 5 * 9 + 4, PASS, PASS]
    assert game.colors.tolist() == [2, 1, 2, 1]


def test_old_names_and_encodings():
    game = go.read_game(b"(;GaMe[1]SiZe[13];Black[aa];White[bb])")
    assert (game.size, game.moves.tolist()) == (13, [0, 14])
    text = "(;CA[Shift_JIS]PB[\u8868\u30bd];B[aa])".encode("shift_jis")  # both letters end with \
    assert go.read_game(text).moves.tolist() == [0]
    assert go.read_game(b"(;CA[klingon]PB[\xff];B[aa])").moves.tolist() == [0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "no SGF"),
        (b"hello (world)", "no SGF"),
        (b"(;SZ[19];B[aa]", "cut off"),
        (b"(;SZ[19];B[aa", "broken in line 1: .*'B"),
        (b"(;GM[4];B[aa])", "another kind, GM.4.; Go is 1"),
        (b"(;SZ[19:9];B[aa])", "2 to 25 lines, got SZ.19:9."),
        (b"(;SZ[99];B[aa])", "2 to 25 lines"),
        (b"(;SZ[9];B[aj])", "move 1: there is no point 'aj' on a board of 9 lines"),
        (b"(;SZ[9];B[aa];AB[bb])", "node 3 changes stones .AB. in mid-game"),
        (b"(;HA[4]SZ[19];W[aa])", "handicap of 4 and not where"),
        (b"(;AB[aa]AW[aa])", "a stone on another"),
    ],
)
def test_broken_files(text, message):
    with pytest.raises(FileFormatError, match=f"a.sgf: .*{message}"):
        go.read_game(text, "a.sgf")


def test_a_broken_file_among_others(tmp_path):
    with zipfile.ZipFile(tmp_path / "games.zip", "w") as file:
        file.writestr("1.sgf", "(;SZ[9];B[aa])")
        file.writestr("2.sgf", "no game")
        file.writestr("readme.txt", "hello")
    (one, first), (two, second) = go.read_games(tmp_path / "games.zip")
    assert (one, two) == ("1.sgf", "2.sgf")
    assert first.moves.tolist() == [0]
    assert isinstance(second, FileFormatError)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArgumentError, match=r"no \.sgf file"):
        [*go.read_games(tmp_path / "empty")]


@pytest.mark.parametrize(
    ("moves", "why"),
    [
        ("B[aa];W[aa]", "move 2, white at A3, is illegal: on a stone"),
        ("B[ab];B[ba];W[aa]", "move 3, white at A3, is illegal: suicide"),
    ],
)
def test_illegal_moves(moves, why):
    game = go.read_game(f"(;SZ[3];{moves})".encode())
    with pytest.raises(FileFormatError, match=f"b.sgf: {why}"):
        game.positions("b.sgf")


def test_names_of_points():
    names = [go.point_name(move, 19) for move in (0, 8, 60, 360, PASS)]
    assert names == ["A19", "J19", "D16", "T1", "pass"]


def test_no_position_comes_back():
    """Random games on tiny boards; the rules of a single ko alone would let some repeat."""
    random = np.random.default_rng(0)
    forbidden = 0
    for _ in range(20):
        board = go.Board(int(random.integers(2, 4)))
        seen = {board.stones.tobytes()}
        while not board.over and len(board.moves) < 60:
            legal = board.legal()
            color, now = np.array([board.to_play]), board.stones[None]
            forbidden += int((kernels.use("go").legal(now, color, np.array([-1]))[0] > legal).sum())
            points = np.flatnonzero(legal)
            move = int(random.choice(points)) if len(points) else PASS
            board.play(move)
            after = board.stones.tobytes()
            assert move == PASS or after not in seen
            seen.add(after)
    assert forbidden > 20


def test_moves_on_a_board():
    board = go.Board(3)
    board.play(4)
    assert (board.to_play, board.moves) == (2, [4])
    for move, why in ((4, "there is a stone"), (9, "no point 9"), (-2, "no point -2")):
        with pytest.raises(ArgumentError, match=why):
            board.play(move)
    with pytest.raises(ArgumentError, match="1, black, or 2, white"):
        board.play(0, 3)
    board.undo()
    assert (board.to_play, board.stones.any()) == (1, False)
    with pytest.raises(ArgumentError, match="no move to take back"):
        board.undo()
    with pytest.raises(ArgumentError, match="from 2 to 25"):
        go.Board(26)
    assert board.planes().shape == (1, 3, 3, 48)


def test_score():
    stones = np.array([[0, 1, 0, 2, 0], [1, 1, 0, 2, 2], [0, 1, 0, 2, 0]] + 2 * [[0, 1, 0, 2, 0]])
    board = go.Board(5, stones)
    # Black: 6 stones and 4 points; white alike; the column between touches both
    assert board.score() == 0
    stones[0, 2] = 1
    assert go.Board(5, stones).score() == 1
    assert go.Board(5).score() == 0
