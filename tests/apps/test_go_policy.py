"""A policy network for Go: positions in files, symmetries, training, GTP and pictures."""

import xml.etree.ElementTree as ElementTree
import zipfile

import numpy as np
import pytest

import minidl as md
from minidl import models
from minidl.apps import go
from minidl.apps.go.positions import planes_of, turned
from minidl.constants.go import PASS, STARTS
from minidl.data import HDF5Writer
from minidl.errors import ArgumentError, FileFormatError, StateError

SIZE = 5


def random_game(seed):
    """SGF of a game on a small board: each plays the first legal point of a fixed order."""
    random = np.random.default_rng(seed)
    board, text = go.Board(SIZE), f"(;SZ[{SIZE}]"
    for _ in range(14):
        points = np.flatnonzero(board.legal())
        move = int(points[0]) if random.random() < 0.8 else int(random.choice(points))
        name = "BW"[board.to_play - 1]
        row, column = divmod(move, SIZE)
        text += f";{name}[{chr(97 + column)}{chr(97 + row)}]"
        board.play(move)
    return f"{text};B[])".encode()


@pytest.fixture(scope="module")
def games(tmp_path_factory):
    path = tmp_path_factory.mktemp("games") / "games.zip"
    with zipfile.ZipFile(path, "w") as file:
        for i in range(20):
            file.writestr(f"{i:02}.sgf", random_game(i))
    return path


@pytest.fixture(scope="module")
def trained(games, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    found = go.train_policy(
        games, folder, size=SIZE, width=8, layers=2, epochs=6, batch_size=16, progress=False
    )
    return folder, found


def test_positions_are_those_of_the_games(games, tmp_path):
    told = []
    given = [*go.read_games(games)]
    given.insert(1, ("small.sgf", go.read_game(b"(;SZ[9];B[aa])")))
    given.insert(2, ("illegal.sgf", go.read_game(b"(;SZ[5];B[aa];W[aa])")))
    count = go.write_positions(tmp_path / "positions.h5", given, SIZE, told.append)
    assert count == 20 * 14  # without passes
    assert [text.split(":")[1] for text in told] == [" small.sgf", " illegal.sgf"]
    positions = go.Positions(tmp_path / "positions.h5")
    x, moves = positions.batch(range(14))
    game = given[0][1]
    np.testing.assert_array_equal(moves, game.moves[:14])
    boards = game.positions()[0]
    for i in range(14):  # black and white in turn see their own stones as such
        own = x[i, ..., 0] - x[i, ..., 1]
        black = (boards[i] == 1).astype(int) - (boards[i] == 2)
        np.testing.assert_array_equal(own, black if i % 2 == 0 else -black)
    with pytest.raises(ArgumentError, match="no game to take positions from"):
        go.write_positions(tmp_path / "none.h5", given[1:3], SIZE, told.append)
    assert not (tmp_path / "none.h5").exists()


def test_symmetries(games, tmp_path):
    """Turned rows have turned planes, and the move goes along; all eight are different."""
    go.write_positions(tmp_path / "positions.h5", go.read_games(games), SIZE)
    rows, moves = go.Positions(tmp_path / "positions.h5").rows.batch([9] * 8)
    found, where = turned(rows, moves, np.arange(8))
    assert len({row.tobytes() for row in found}) == 8
    x, y = planes_of(rows), planes_of(found)
    marks = np.zeros((8, SIZE, SIZE, 1))
    marks.reshape(8, -1)[np.arange(8), moves] = 1
    for i in range(8):
        for before, after in ((x[i], y[i]), (marks[i], None)):
            mirrored = before[:, ::-1] if i >= 4 else before
            wanted = np.rot90(mirrored, i % 4)
            if after is None:
                assert wanted.reshape(-1).argmax() == where[i]
            else:
                np.testing.assert_array_equal(after, wanted)


def test_training(trained, games, tmp_path):
    folder, found = trained
    assert found.positions == 2 * 14
    assert found.top1 > 0.5  # of moves of which four in five follow a rule
    assert found.top5 >= found.top1
    again = go.train_policy(
        games, tmp_path, size=SIZE, width=8, layers=2, epochs=6, batch_size=16, progress=False
    )
    assert again == found
    first, second = (go.load_policy(path / "policy.h5") for path in (folder, tmp_path))
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        np.testing.assert_array_equal(a.data, b.data)


def test_resumed_training_is_the_same(trained, games, tmp_path, monkeypatch):
    folder, _ = trained
    settings = {"size": SIZE, "width": 8, "layers": 2, "batch_size": 16, "progress": False}
    fit = md.train.Trainer.fit

    def interrupted(self, loader, epochs, **rest):
        fit(self, loader, 2, **rest)
        raise KeyboardInterrupt

    monkeypatch.setattr(md.train.Trainer, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        go.train_policy(games, tmp_path, epochs=6, **settings)
    monkeypatch.undo()
    assert go.load_policy(tmp_path / "policy.h5")
    go.train_policy(games, tmp_path, epochs=6, resume=True, **settings)
    first, second = (go.load_policy(path / "policy.h5") for path in (folder, tmp_path))
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        np.testing.assert_array_equal(a.data, b.data)


def test_another_training_is_not_resumed(trained, games, tmp_path):
    """Checkpoints and positions are of the games and settings that are given."""
    settings = {"size": SIZE, "width": 8, "layers": 2, "batch_size": 16, "progress": False}
    go.train_policy(games, tmp_path, epochs=1, **settings)
    fewer = tmp_path / "fewer"
    fewer.mkdir()
    for i in range(4):
        (fewer / f"{i}.sgf").write_bytes(random_game(i))
    with pytest.raises(StateError, match=r"begun with games=\d+, not \d+: give the same"):
        go.train_policy(fewer, tmp_path, epochs=1, resume=True, **settings)
    with pytest.raises(StateError, match="begun with epochs=1, not 2: give the same"):
        go.train_policy(games, tmp_path, epochs=2, resume=True, **settings)
    for wrong in ({"width": 0}, {"size": 9}, {"seed": -1}):  # nothing is lost by these
        with pytest.raises(ArgumentError):
            go.train_policy(games, tmp_path, epochs=1, **(settings | wrong))
    (tmp_path / "positions.h5").write_bytes(b"damaged")
    assert (tmp_path / "checkpoints" / "epoch-0001.h5").exists()
    go.train_policy(games, tmp_path, epochs=1, resume=True, **settings)
    assert len(go.Positions(tmp_path / "positions.h5")) == 18 * 14


def test_the_last_games_are_broken(tmp_path):
    """The test part is of games that can be used."""
    for i in range(3):
        (tmp_path / f"{i}.sgf").write_bytes(random_game(i))
    (tmp_path / "9.sgf").write_bytes(b"(;SZ[5];B[aa];W[aa])")
    (tmp_path / "9_no_move.sgf").write_bytes(b"(;SZ[5];B[];W[])")
    found = go.train_policy(
        tmp_path, tmp_path / "run", size=SIZE, width=4, layers=2, epochs=1, progress=False
    )
    assert found.positions == 14


def test_other_files_of_rows(tmp_path):
    for shape in ((SIZE, SIZE, 3), (SIZE, SIZE, 1)):
        with HDF5Writer(tmp_path / "images.h5", shape, overwrite=True) as writer:
            writer.add(np.full((2, *shape), 200, np.uint8), [0, 1])
        with pytest.raises(FileFormatError, match=r"images.h5: no file of positions of Go"):
            go.Positions(tmp_path / "images.h5")


@pytest.mark.parametrize(
    ("stone", "move", "said"), [(3, 0, "stones other than"), (1, 25, "moves beyond the board")]
)
def test_odd_rows(tmp_path, stone, move, said):
    """The kernel would write beyond its memory."""
    path = tmp_path / "positions.h5"
    with HDF5Writer(path, (SIZE, SIZE, 3), source="positions of Go") as writer:
        writer.add(np.full((1, SIZE, SIZE, 3), stone, np.uint8), [move])
    with pytest.raises(FileFormatError, match=f"positions.h5: it has {said}"):
        go.Positions(path)[0]


def test_probabilities(trained):
    network = go.load_policy(trained[0] / "policy.h5")
    board = go.Board(SIZE)
    board.play(12)
    shares = go.probabilities(network, board)
    assert shares.sum() == pytest.approx(1, abs=1e-5)
    assert shares[2, 2] == 0
    assert go.best_move(network, board) == shares.argmax()
    with pytest.raises(ArgumentError, match="5 lines can't see a board of 9"):
        go.probabilities(network, go.Board(9))
    full = np.ones((SIZE, SIZE), np.int8)
    full[0, 0] = full[4, 4] = 0  # two eyes: nothing that makes sense
    assert go.best_move(network, go.Board(SIZE, full)) == PASS
    x = board.planes()
    assert x[0, 2, 2, STARTS["stones of the opponent"]] == 1


def test_other_networks(tmp_path):
    md.save_weights(models.create("lenet5"), tmp_path / "lenet.h5")
    with pytest.raises(FileFormatError, match=r"for lenet5, not for Go: `minidl go train`"):
        go.load_policy(tmp_path / "lenet.h5")


GTP = [
    ("1 protocol_version", "=1 2"),
    ("boardsize 5 # of this network", "= "),
    ("7 boardsize 19", "?7 unacceptable size"),
    ("clear_board", "= "),
    ("komi 0.5", "= "),
    ("komi much", "? komi not a float"),
    ("komi nan", "? komi not a float"),
    ("komi", "? komi not a float"),
    ("boardsize", "? unacceptable size"),
    ("known_command", "= false"),
    ("play black C3", "= "),
    ("play w c3", "? Board: white at C3 is illegal: there is a stone"),
    ("play w I3", "? there is no point 'I3' on a board of 5 lines"),
    ("play green C3", "? expected a color and a point"),
    ("undo", "= "),
    ("undo", "? Board: there is no move to take back"),
    ("play b C" + "3" * 5000, "? there is no point 'C" + "3" * 38 + " on a board of 5 lines"),
    ("play b a1", "= "),
    ("final_score", "= B+24.5"),
    ("sing", "? unknown command"),
    ("known_command genmove", "= true"),
    ("3", "?3 unknown command"),
    ("play w pass", "= "),
]


def test_gtp(trained):
    player = go.Player(go.load_policy(trained[0] / "policy.h5"))
    lines = ["", "# a comment", *(line for line, _ in GTP), "genmove b", "quit", "name"]
    *found, generated, last = go.answers(player, lines)
    assert [answer.rstrip("\n") for answer in found] == [answer for _, answer in GTP]
    assert all(answer.endswith("\n\n") for answer in (*found, generated, last))
    move = go.point_of(generated[2:].strip(), SIZE)
    assert player.board.moves[-1] == move
    assert last == "= \n\n"


def test_board_as_text():
    stones = np.zeros((3, 3), np.int8)
    stones[0, 0], stones[1, 1], stones[1, 2] = 1, 2, 1
    assert go.board_text(stones, last=4).split("\n") == [
        "    A B C", " 3  X . . 3", " 2  .(O)X 2", " 1  . . . 1", "    A B C",
    ]  # fmt: skip


def test_board_as_svg():
    stones = np.zeros((9, 9), np.int8)
    stones[0, 0], stones[1, 1] = 1, 2
    shares = np.zeros((9, 9), np.float32)
    shares[4, 4], shares[0, 0], shares[5, 5] = 0.75, 0.2, 0.001
    root = ElementTree.fromstring(go.board_svg(stones, shares, last=10, title="a < b & c\x01"))
    texts = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[-2:] == ["75", "a < b & c?"]  # not on stones, and not what is hardly likely
    circles = [each.get("fill") for each in root.iter("{http://www.w3.org/2000/svg}circle")]
    assert circles.count("#111") == 1
    assert circles.count("#fafafa") == 1
    assert circles.count("none") == 1
