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
    for odd in (b"klingon", b"hex", b"idna", b"undefined"):
        assert go.read_game(b"(;CA[%s]PB[\xff];B[aa])" % odd).moves.tolist() == [0]
    assert go.read_game("(;SZ[9]PB[\u8868];B[ba])".encode("utf-16")).moves.tolist() == [1]
    mail = b"\xef\xbb\xbfFrom: me (you)\r\n(;\r\nB[aa]\r\n)\r\n"
    assert go.read_game(mail).moves.tolist() == [0]
    assert go.read_game(b"(;KM[nan];B[aa])").komi is None


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
        (b"(;SZ[9]AB[aa:cc]AE[bb];W[dd])", "AE.bb. takes a stone away"),
        (b"(;SZ[9]AB[cc:aa];W[dd])", "AB.cc:aa.: expected the upper left point"),
        (b"(;SZ[\xb2];B[aa])", "2 to 25 lines"),
        (b"(;SZ[" + b"9" * 5000 + b"];B[aa])", "2 to 25 lines, got SZ.9{40}.$"),
        (b"(;HA[\xb2]SZ[99];B[aa])", "2 to 25 lines"),
        (b"(;sz[9];b[aa])", "broken in line 1"),
        (b"(;SZ[9];W[dd]B[aa])", "node 2 has 2 moves"),
        (b"(;SZ[9]" + 10_001 * b";B[]" + b")", "more than 10,000 moves"),
        (b"(;" + 2**24 * b" ", "larger than 16 MiB"),
        (b"(;C[" + 2**20 * b"\\]", "broken in line 1"),
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


def test_what_is_no_file_among_others(tmp_path):
    folder = tmp_path / "games"
    (folder / "b.sgf").mkdir(parents=True)
    (folder / "a.SGF").write_bytes(b"(;SZ[9];B[aa])")
    (folder / "._a.sgf").write_bytes(b"\0")
    (folder / "c.sgf").symlink_to("nowhere")
    (name, game), (broken, error) = go.read_games(folder)
    assert (name, game.moves.tolist()) == ("a.SGF", [0])
    assert broken == "c.sgf"
    assert str(error) == "c.sgf: it can't be read: it is no file"


def test_a_damaged_archive(tmp_path):
    path = tmp_path / "games.zip"
    with zipfile.ZipFile(path, "w") as file:
        for name, move in (("1.sgf", "aa"), ("2.sgf", "bb"), ("3.sgf", "cc")):
            file.writestr(name, f"(;SZ[9];B[{move}])")
        file.writestr("__MACOSX/._1.sgf", "\0")
    path.write_bytes(path.read_bytes().replace(b"B[bb]", b"B[xx]"))
    games = [game for _, game in go.read_games(path)]
    assert [isinstance(game, FileFormatError) for game in games] == [False, True, False]
    assert "2.sgf: it can't be read: Bad CRC-32" in str(games[1])


KO = "B[bb];W[cb];B[ac];W[dc];B[bd];W[cd];B[cc];W[bc]"  # white has taken at C3


def test_a_ko_may_be_filled():
    """Two moves of a color, one after the other: only the opponent may not play there."""
    with pytest.raises(FileFormatError, match="move 9, black at C3, is illegal: forbidden by ko"):
        go.read_game(f"(;SZ[5];{KO};B[cc])".encode()).positions()
    game = go.read_game(f"(;SZ[5];{KO};W[cc])".encode())
    assert game.positions()[0][-1][2].tolist() == [1, 2, 2, 2, 0]
    board = go.Board(5)
    for move, color in zip(game.moves[:-1].tolist(), game.colors.tolist(), strict=False):
        board.play(move, color)
    assert (board.legal(1)[2, 2], board.legal(2)[2, 2]) == (False, True)
    with pytest.raises(ArgumentError, match="black at C3 is illegal: ko"):
        board.play(12, 1)
    board.play(12, 2)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"moves": np.array([400])}, "moves must be from -1 to 80"),
        ({"moves": np.array([-2])}, "moves must be from -1 to 80"),
        ({"colors": np.array([3])}, "a color 1 or 2"),
        ({"colors": np.array([1, 2])}, "moves and colors must be"),
        ({"setup": np.full((9, 9), 3)}, "setup must be 9 x 9 of 0 empty"),
        ({"size": 19}, "setup must be 19 x 19"),
    ],
)
def test_games_made_of_odd_arrays(changed, message):
    """They would be read and written beyond the board's memory."""
    game = go.read_game(b"(;SZ[9];B[aa])")._replace(**changed)
    with pytest.raises(ArgumentError, match=f"mine: .*{message}"):
        game.positions("mine")


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
    for stones in (np.full((3, 3), 3), np.full((3, 3), -1), np.full((3, 3), 0.5), [[257] * 3] * 3):
        with pytest.raises(ArgumentError, match="stones must be 0, empty, 1, black, or 2, white"):
            go.Board(3, stones)
    for color in (0, 3):  # kernels would write beyond their memory
        with pytest.raises(ArgumentError, match="1, black, or 2, white"):
            board.legal(color)
    with pytest.raises(ArgumentError, match=r"no point 3\.0"):
        board.play(3.0)
    slanted = np.asfortranarray(np.triu(np.ones((3, 3))))[::-1]
    np.testing.assert_array_equal(go.Board(3, slanted).stones, slanted)
    assert board.planes().shape == (1, 3, 3, 48)


def test_score():
    stones = np.array([[0, 1, 0, 2, 0], [1, 1, 0, 2, 2], [0, 1, 0, 2, 0]] + 2 * [[0, 1, 0, 2, 0]])
    board = go.Board(5, stones)
    # Black: 6 stones and 4 points; white alike; the column between touches both
    assert board.score() == 0
    stones[0, 2] = 1
    assert go.Board(5, stones).score() == 1
    assert go.Board(5).score() == 0
