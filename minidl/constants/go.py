"""What a network is told of a Go position: the planes of AlphaGo's paper, for kernel and twin.

Source: Silver et al. 2016, "Mastering the game of Go with deep neural networks and tree search",
Extended Data Table 2. A number of several planes is one-hot: the first is for 1, the last for 8
and more.
"""

EMPTY, BLACK, WHITE = 0, 1, 2
PASS = -1

STEPS = 8  # planes of a number
PLANES = (
    ("stones of the player to move", 1),
    ("stones of the opponent", 1),
    ("empty points", 1),
    ("ones", 1),
    ("turns since a stone was played", STEPS),
    ("liberties of a stone's group", STEPS),
    ("opponent's stones that a move captures", STEPS),
    ("own stones that a move puts in atari", STEPS),
    ("liberties of the group after a move", STEPS),
    ("whether a move captures in a ladder", 1),
    ("whether a move escapes from a ladder", 1),
    ("whether a move is legal and fills no eye of one's own", 1),
    ("zeros", 1),
)
COUNT = sum(count for _, count in PLANES)  # 48
STARTS = {name: sum(count for _, count in PLANES[:i]) for i, (name, _) in enumerate(PLANES)}

LADDER = 100  # moves that a ladder is read ahead: twice across the board and more
LOOKED_AT = 200  # positions that are looked at to read a ladder: nearly all have one way to go
