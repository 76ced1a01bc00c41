"""Go: games from SGF files, the rules, a network that moves as players do, and boards to see it on.

`train_policy` does what `minidl go train` does; `Board` is a game under way, `Player` and `answers`
speak GTP, `board_svg` draws.
"""

from minidl.apps.go.board import Board
from minidl.apps.go.drawing import board_svg, board_text
from minidl.apps.go.gtp import Player, answers, point_of
from minidl.apps.go.policy import (
    Measured,
    best_move,
    load_policy,
    measure_policy,
    probabilities,
    train_policy,
)
from minidl.apps.go.positions import Positions, write_positions
from minidl.apps.go.sgf import Game, point_name, read_game, read_games

__all__ = [
    "Board", "Game", "Measured", "Player", "Positions", "answers", "best_move", "board_svg",
    "board_text", "load_policy", "measure_policy", "point_name", "point_of", "probabilities",
    "read_game", "read_games", "train_policy", "write_positions",
]  # fmt: skip
