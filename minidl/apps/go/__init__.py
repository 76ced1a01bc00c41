"""Go: games from SGF files, the rules, and a board to play on."""

from minidl.apps.go.board import Board as Board
from minidl.apps.go.sgf import Game as Game
from minidl.apps.go.sgf import point_name as point_name
from minidl.apps.go.sgf import read_game as read_game
from minidl.apps.go.sgf import read_games as read_games

__all__ = ["Board", "Game", "point_name", "read_game", "read_games"]
