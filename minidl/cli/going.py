"""`minidl go`: the command of `apps.go`."""

import argparse
import sys
from pathlib import Path
from typing import Any

from minidl.cli.arguments import (
    INTERRUPTED,
    add_threads,
    check_goes_with,
    keywords,
    set_threads,
    whole,
)  # fmt: skip
from minidl.cli.figures import check_folder
from minidl.constants.go import PASS
from minidl.errors import ArgumentError

__all__ = ["add_go"]

# What each does with: how many words, and options beside --threads
ACTIONS: dict[str, tuple[int, tuple[str, ...]]] = {
    "train": (1, ("output", "size", "width", "layers", "epochs", "batch_size", "seed", "resume")),
    "play": (0, ("weights",)),
    "show": (2, ("weights", "output")),
    "gtp": (0, ("weights",)),
}
WORDS = {0: "nothing more", 1: "GAMES", 2: "GAME and MOVE"}


def add_go(commands: Any) -> None:
    """Add the command `go`."""
    go = commands.add_parser(
        "go",
        help="train a network on games of Go, play against it, see what it thinks",
        description="Go, the game. `train GAMES` trains a network to move as the players of SGF\n"
        "files do (a file, a folder, a ZIP file); `play` sets up a board in the terminal;\n"
        "`show GAME MOVE` draws the position before a move, with the network's\n"
        "probabilities; `gtp` talks to programs that show boards.",
        argument_default=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  minidl go train games.zip --epochs 3 -o runs/go\n"
        "  minidl go play --weights runs/go/policy.h5\n"
        "  minidl go show game.sgf 57 --weights runs/go/policy.h5 -o move57.svg\n"
        "  minidl go gtp --weights runs/go/policy.h5\n",
    )
    go.set_defaults(run=_go)
    go.add_argument("action", choices=tuple(ACTIONS), metavar="ACTION", help=", ".join(ACTIONS))
    go.add_argument(
        "given", nargs="*", default=[], metavar="GAMES",
        help="with train, an SGF file, a folder of them or a ZIP file; with show, a file and the "
        "number of a move, from 1",
    )  # fmt: skip
    go.add_argument("--weights", type=Path, metavar="FILE", help="a network of `minidl go train`")
    go.add_argument(
        "-o", "--output", type=Path, metavar="PATH",
        help="with train, the folder to save in (default: runs/go-GAMES); with show, the SVG to "
        "write (default: GAME-MOVE.svg)",
    )  # fmt: skip
    group = go.add_argument_group("with train")
    group.add_argument("--size", type=whole, metavar="N", help="lines of the boards (default: 19)")
    group.add_argument("--width", type=whole, metavar="N", help="of its layers (default: 48)")
    group.add_argument("--layers", type=whole, metavar="N", help="convolutions (default: 7)")
    group.add_argument("--epochs", type=whole, metavar="N", help="(default: 3)")
    group.add_argument("--batch-size", type=whole, metavar="N", help="(default: 64)")
    group.add_argument("--seed", type=int, metavar="N", help="of random numbers (default: 0)")
    group.add_argument(
        "--resume", action="store_true", help="continue after the last epoch in the folder"
    )
    add_threads(go)


def _go(options: argparse.Namespace) -> int:
    set_threads(options)
    given = keywords(options)
    action, words = given.pop("action"), given.pop("given")
    count, known = ACTIONS[action]
    if len(words) != count:
        raise ArgumentError(f"minidl go {action} expected {WORDS[count]}, got {' '.join(words)!r}")
    check_goes_with(given, action, {name: names for name, (_, names) in ACTIONS.items()})
    if "weights" in known and "weights" not in given:
        raise ArgumentError("--weights FILE is missing: a network of `minidl go train`")
    if action == "train":
        return _train(Path(words[0]), given)
    if action == "show":
        return _show(Path(words[0]), words[1], given)
    return _gtp(given["weights"]) if action == "gtp" else _play(given["weights"])


def _train(games: Path, given: dict[str, Any]) -> int:
    from minidl.apps.go import train_policy

    folder = given.pop("output", Path("runs") / f"go-{games.resolve().stem}")
    found = train_policy(games, folder, **given)
    print(
        f"the players' move is the network's first in {found.top1:.1%} of {found.positions:,} "
        f"positions, and among its first five in {found.top5:.1%}\nsaved {folder / 'policy.h5'}"
    )
    return 0


def _show(path: Path, text: str, given: dict[str, Any]) -> int:
    from minidl.apps.go import (
        Board,
        board_svg,
        load_policy,
        point_name,
        probabilities,
        read_game,
    )
    from minidl.io.atomic import atomic_write

    game = read_game(path.read_bytes(), path.name)
    if not len(game.moves):
        raise ArgumentError(f"{path}: a game without a move")
    if text not in map(str, range(1, len(game.moves) + 1)):
        raise ArgumentError(f"MOVE must be from 1 to {len(game.moves)}, got {text:.40}")
    number = int(text)
    output = given.get("output", Path(f"{path.stem}-{number}.svg"))
    check_folder(output)
    game.positions(path.name)
    board = Board(game.size, game.setup)
    for move, color in zip(game.moves[: number - 1], game.colors[: number - 1], strict=True):
        board.play(int(move), int(color), superko=False)
    board.to_play = int(game.colors[number - 1])
    shares = probabilities(load_policy(given["weights"]), board)
    played = int(game.moves[number - 1])
    share = float(shares.flat[played]) if played >= 0 else 0.0
    title = f"{path.name}, before move {number}: {point_name(played, game.size)} was played"
    last = board.moves[-1] if board.moves else -1
    with atomic_write(output) as temporary:
        temporary.write_text(board_svg(board.stones, shares, last, title), encoding="utf-8")
    best = int(shares.argmax()) if shares.any() else PASS
    first = f", {float(shares.flat[best]):.1%}" if best != PASS else ""
    print(
        f"move {number}: {point_name(played, game.size)}, {share:.1%} by the network, whose first "
        f"is {point_name(best, game.size)}{first}\nsaved {output}"
    )
    return 0


def _gtp(weights: Path) -> int:
    from minidl.apps.go import Player, answers, load_policy

    player = Player(load_policy(weights))
    # Comments, and names in them, may be in any encoding
    lines = (line.decode("ascii", "replace") for line in sys.stdin.buffer)
    for answer in answers(player, lines):
        sys.stdout.write(answer)
        sys.stdout.flush()
    return 0


def _play(weights: Path) -> int:
    """The user is black, and moves by names such as Q16, pass, undo and quit."""
    from minidl.apps.go import Board, best_move, board_text, load_policy, point_name, point_of

    network = load_policy(weights)
    board = Board(int(network.input_shape[0]))
    while not board.over:
        print(board_text(board.stones, board.moves[-1] if board.moves else -1))
        try:
            text = input("your move (such as D4, pass, undo, quit): ").strip().lower()
        except EOFError:
            return INTERRUPTED
        if text == "quit":
            return 0
        try:
            if text == "undo":
                board.undo()
                board.undo()
                continue
            board.play(point_of(text, board.size))
        except ArgumentError as error:
            print(error)
            continue
        if not board.over:
            move = best_move(network, board)
            board.play(move)
            print(f"minidl plays {point_name(move, board.size)}")
    print(board_text(board.stones))
    ahead = board.score()
    who = f"{'black' if ahead > 0 else 'white'} is ahead by {abs(ahead)}"
    print(f"by area, {who if ahead else 'both have as much'}, without komi")
    return 0
