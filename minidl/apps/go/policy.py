"""`train_policy`: a network that moves as the players of many games did."""

import os
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

import minidl as md
from minidl import models, optim
from minidl.apps.go.board import Board
from minidl.apps.go.positions import Positions, usable, write_positions
from minidl.apps.go.sgf import Game, read_games
from minidl.checks import positive, whole
from minidl.constants.go import COUNT, PASS, STARTS, STEPS
from minidl.data import DataLoader
from minidl.errors import ArgumentError, FileFormatError
from minidl.io.plain_json import save_json
from minidl.models import Network
from minidl.nn import functional
from minidl.nn.modes import evaluating
from minidl.train import Checkpoint, Trainer, rank_accuracy
from minidl.train.resuming import CHECKPOINTS, begin_folder, resume_trainer

__all__ = [
    "Measured",
    "best_move",
    "load_policy",
    "measure_policy",
    "probabilities",
    "train_policy",
]

LR = 2e-3
TEST = 0.1  # of the games, the last of them
WEIGHTS = "policy.h5"


class Measured(NamedTuple):
    """How often the players' move is the network's first choice, and among its first five.

    Moves that the rules forbid are not considered.
    """

    top1: float
    top5: float
    positions: int


def train_policy(
    games: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    size: int = 19,
    width: int = 48,
    layers: int = 7,
    epochs: int = 3,
    batch_size: int = 64,
    seed: int = 0,
    resume: bool = False,
    progress: bool = True,
) -> Measured:
    """Train a policy network on games, and measure it on the last tenth of them.

    games: an SGF file, a folder of them, or a ZIP file.  size: lines of the boards.
    output: a folder. It gets policy.h5, history.json, results.json, checkpoints, and the positions,
        positions.h5 and test.h5.
    width, layers: of `models.alphago_policy`.
    seed: of all random numbers; it is given to `md.manual_seed`.
    resume: continue after the last epoch that the folder has a checkpoint of.
    Ctrl-C saves the network as it is then, and raises KeyboardInterrupt.
    Raises ArgumentError for fewer than two games that can be used, StateError for a folder with
    the checkpoints of another training.
    """
    who = "train_policy"
    epochs, batch_size = positive(who, "epochs", epochs), positive(who, "batch_size", batch_size)
    md.manual_seed(whole(who, "seed", seed, 0))
    network = models.alphago_policy(COUNT, width, layers, size)
    folder = Path(output)
    training, test = _split(games, size)
    settings = {
        "games": _fingerprint([*training, *test]), "size": size, "width": width, "layers": layers,
        "epochs": epochs, "batch_size": batch_size, "seed": seed,
    }  # fmt: skip
    begin_folder(folder, settings, resume, who)
    write_positions(folder / "positions.h5", training, size)
    write_positions(folder / "test.h5", test, size)
    loader = DataLoader(
        Positions(folder / "positions.h5"), batch_size, True, seed=seed, augment=True, workers=1
    )
    optimizer = optim.AdamW(network.parameters(), lr=LR)
    schedule = optim.lr_scheduler.OneCycleLR(
        optimizer, LR, epochs=epochs, steps_per_epoch=len(loader)
    )
    trainer = Trainer(
        network, optimizer, metrics=["accuracy"], scheduler=schedule,
        callbacks=[Checkpoint(folder / CHECKPOINTS, keep=1)],
    )  # fmt: skip
    if resume:
        resume_trainer(trainer, folder / CHECKPOINTS)
    try:
        trainer.fit(loader, epochs, progress=progress)
    finally:  # also after Ctrl-C
        md.save_weights(network.eval(), folder / WEIGHTS)
        save_json(folder / "history.json", {"epochs": list(trainer.history)}, who)
    found = measure_policy(network, Positions(folder / "test.h5"))
    save_json(folder / "results.json", found._asdict(), who)
    return found


Games = list[tuple[str, Game]]


def _split(games: str | os.PathLike[str], size: int) -> tuple[Games, Games]:
    """Return the games to train on, and the last ones, to measure on."""
    left_out: list[str] = []

    def tell(text: str) -> None:
        left_out.append(text.removeprefix("left out: "))
        print(text)

    found = [*usable(read_games(games), size, tell)]
    if len(found) < 2:
        such = f", such as {left_out[0]}" if left_out else ""
        raise ArgumentError(
            f"train_policy: expected two games or more on {size} lines in {os.fspath(games)}, "
            f"found {len(found)}; {len(left_out)} left out{such}"
        )
    count = round(len(found) * TEST) or 1
    return found[:-count], found[-count:]


def _fingerprint(games: Games) -> int:
    """Return a number that tells games apart by their moves."""
    found = 0
    for _, game in games:
        for part in (game.setup, game.moves, game.colors):
            found = zlib.crc32(np.ascontiguousarray(part).tobytes(), found)
    return found


def load_policy(path: str | os.PathLike[str]) -> Network:
    """Return the network of a file that `train_policy` wrote, in evaluation mode.

    Raises FileFormatError where the file holds another network.
    """
    network = models.load(path).eval()
    name, arguments = network.architecture or ("", {})
    if name != "alphago_policy" or arguments.get("in_channels") != COUNT:
        raise FileFormatError(
            f"{os.fspath(path)}: a network for {name or 'something else'}, not for Go: "
            "`minidl go train` makes one"
        )
    return network


def measure_policy(network: Network, positions: Positions, batch_size: int = 256) -> Measured:
    """Return how often a network finds the players' moves."""
    found = np.zeros(2)
    metrics = [rank_accuracy(1), rank_accuracy(5)]
    with evaluating(network):
        for start in range(0, len(positions), batch_size):
            x, moves = positions.batch(range(start, min(start + batch_size, len(positions))))
            scores = np.where(_legal(x), network(x).data, -np.inf)
            found += [len(moves) * metric(scores, moves) for metric in metrics]
    top1, top5 = (found / len(positions)).tolist()
    return Measured(top1, top5, len(positions))


def _legal(planes: np.ndarray) -> np.ndarray:
    """(N, S * S) bool: where the planes know of liberties after a move, which legal ones have."""
    first = STARTS["liberties of the group after a move"]
    found = planes[..., first : first + STEPS].any(axis=-1)  # (N, S, S)
    return np.asarray(found.reshape(len(planes), -1))


def probabilities(network: Network, board: Board) -> np.ndarray:
    """Return the probability of each move, (S, S) float32.

    It is 0 where the rules forbid the move or it makes no sense, such as in an eye of one's own.

    Raises ArgumentError for a board of another size than the network's.
    """
    size = network.input_shape[0]
    if board.size != size:
        raise ArgumentError(f"a network for {size} lines can't see a board of {board.size}")
    x = board.planes().astype(np.float32)
    legal = board.legal().ravel() & _sensible(x)
    if not legal.any():
        return np.zeros((size, size), np.float32)
    with evaluating(network):
        scores = network(x).data
    scores = np.where(legal, scores, -np.inf)
    return np.asarray(functional.softmax(md.tensor(scores)).data.reshape(size, size))


def _sensible(planes: np.ndarray) -> np.ndarray:
    at = STARTS["whether a move is legal and fills no eye of one's own"]
    return np.asarray(planes[0, ..., at].ravel() > 0)


def best_move(network: Network, board: Board) -> int:
    """Return the likeliest move, or a pass where none makes sense."""
    found = probabilities(network, board)
    return int(found.argmax()) if found.any() else PASS
