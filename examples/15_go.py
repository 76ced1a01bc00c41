"""A network that looks at a board of Go and moves as the players of many games did.

    python examples/15_go.py [GAMES]

GAMES: SGF files on boards of 19 lines, in a folder or a ZIP file; a few hundred make a network that
finds the players' move once in three or four times. Without it, the rules and the planes are shown
on a small board, which takes a second.
"""

import sys
import tempfile

import numpy as np

from minidl import models
from minidl.apps import go
from minidl.constants.go import PLANES, STARTS

# 1. The rules -----------------------------------------------------------------------------------
#
# A board knows what may be played: no suicide, and no position twice.

board = go.Board(5)
for name in ("C3", "B3", "B4", "C4", "A3", "A1", "B2"):
    board.play(go.point_of(name, 5))
print(go.board_text(board.stones, board.moves[-1]))
print("white's stone at B3 was taken:", board.stones[2, 1] == 0)

# 2. What the network sees -----------------------------------------------------------------------
#
# 48 planes of zeros and ones: whose stones, how many liberties, what a move would take, ladders.

planes = board.planes()[0]
for name, count in PLANES:
    marked = planes[..., STARTS[name] : STARTS[name] + count].any(axis=2)
    print(f"{int(marked.sum()):3} points: {name}")

# 3. A network -----------------------------------------------------------------------------------

network = models.alphago_policy(width=16, layers=3, size=5).eval()
shares = go.probabilities(network, board)
print(f"{network.num_parameters:,} parameters; untrained, its first move is at")
print(go.point_name(int(shares.argmax()), 5), f"with {float(shares.max()):.1%}")
assert np.isclose(shares.sum(), 1)

# 4. Training ------------------------------------------------------------------------------------

if len(sys.argv) > 1:
    with tempfile.TemporaryDirectory() as folder:
        found = go.train_policy(sys.argv[1], folder, epochs=1)
        print(f"{found.positions:,} positions: first {found.top1:.1%}, first five {found.top5:.1%}")
