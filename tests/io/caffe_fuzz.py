"""Damaged and hostile files of Caffe's by the thousand: tests/io/caffe_fuzz.py --count 10000.

Each is loaded and, if that is quick, run. It is a violation if that raises what isn't documented,
takes more than SECONDS, or more memory than ALLOWANCE beside what the process had.
"""

import argparse
import random
import re
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

import mutations  # noqa: E402
import numpy as np  # noqa: E402
from caffe_cases import CASES, CLASSIFIER, Net, weights  # noqa: E402

import minidl as md  # noqa: E402
from minidl import models  # noqa: E402
from minidl.errors import FileFormatError, MinidlError, StateError  # noqa: E402

SECONDS = 60
ALLOWANCE = 2**28 + 2**30  # bytes; a description may ask for parameters of 1 GB
LARGEST = 10_000  # numbers of an image that is run
NUMBERS = ["0", "-1", "1", "2", "7", "1000000", "2147483648", "1e30", "nan", "0x7f", "-0.5", '"3"']
DAMAGE = [
    mutations.flip, mutations.overwrite, mutations.truncate, mutations.insert, mutations.delete,
]  # fmt: skip


def number(rng: random.Random, text: str) -> str:
    """Another number in the place of one."""
    return _one(rng, text, r"-?\d+(\.\d+)?", rng.choice(NUMBERS))


def word(rng: random.Random, text: str) -> str:
    """Another word of the text in the place of one."""
    words = re.findall(r"[A-Za-z_]\w*", text)
    return _one(rng, text, r"[A-Za-z_]\w*", rng.choice([*words, "x" * 5000, "MAX", "true"]))


def line(rng: random.Random, text: str) -> str:
    """A layer left out, doubled or moved."""
    lines = text.splitlines(keepends=True)
    cut = lines.pop(rng.randrange(len(lines)))
    for _ in range(rng.choice([0, 1, 2, 300])):
        lines.insert(rng.randrange(len(lines) + 1), cut)
    return "".join(lines)


def marks(rng: random.Random, text: str) -> str:
    """Marks and depth where there were none."""
    at = rng.randrange(len(text))
    return text[:at] + rng.choice(["{", "}", ":", "[", '"', "#", "a{" * 50, "\x00"]) + text[at:]


def _one(rng: random.Random, text: str, pattern: str, new: str) -> str:
    found = rng.choice([*re.finditer(pattern, text)] or [re.search("", text)])
    return text[: found.start()] + new + text[found.end() :]


def mutated(rng: random.Random) -> tuple[str, bytes, bytes]:
    """(what was done, a .prototxt, a .caffemodel)."""
    net = rng.choice([*CASES.values(), Net(CLASSIFIER, (3, 8, 8), {})])
    text, content = net.text, bytearray(weights(net.blobs))
    if rng.random() < 0.3:
        damage = rng.choice(DAMAGE)
        for _ in range(rng.choice([1, 1, 3])):
            if content:
                damage(rng, content)
        return f"weights: {damage.__name__}", text.encode(), bytes(content)
    if rng.random() < 0.2:
        damage, raw = rng.choice(DAMAGE), bytearray(text.encode())
        damage(rng, raw)
        return f"bytes: {damage.__name__}", bytes(raw), bytes(content)
    change = rng.choice([number, number, word, line, marks])
    for _ in range(rng.choice([1, 1, 2, 5])):
        text = change(rng, text) if text.strip() else net.text
    return f"text: {change.__name__}", text.encode(), bytes(content)


def case(seed: int, folder: Path) -> tuple[str, str, str]:
    """(what was done, what came of it, what is wrong about that)."""
    done, text, content = mutated(random.Random(seed))
    (folder / "net.prototxt").write_bytes(text)
    (folder / "net.caffemodel").write_bytes(content)
    start, outcome, wrong = time.perf_counter(), "loaded", ""
    try:
        path = folder / ("net.caffemodel" if seed % 3 else "net.prototxt")
        model = models.load(path)
        if model.input_shape and np.prod(model.input_shape, dtype=float) <= LARGEST:
            run(model)
    except (FileFormatError, StateError) as error:
        outcome = type(error).__name__
    except Exception as error:
        outcome, wrong = type(error).__name__, f"raised {error!r:.300}"
    seconds = time.perf_counter() - start
    return done, outcome, wrong or (f"took {seconds:.1f} s" if seconds > SECONDS else "")


def run(model: md.nn.Module) -> None:
    """Run a network; what it can't take, it refuses."""
    parameters = sum(p.size for p in model.parameters())
    if parameters > 10_000_000:
        return
    try:
        with md.no_grad():
            model.eval()(np.zeros((1, *model.input_shape), np.float32))
    except MinidlError:
        return


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    arguments = parser.parse_args()
    outcomes: Counter[str] = Counter()
    violations = 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(arguments.first, arguments.first + arguments.count):
            done, outcome, wrong = case(seed, Path(folder))
            outcomes[outcome] += 1
            if wrong:
                violations += 1
                print(f"case {seed}, {done}: {wrong}", flush=True)
    more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    violations += more > ALLOWANCE
    print(f"{dict(outcomes)}; {more / 2**20:.0f} MiB more at most; {violations} violations")
    return int(violations > 0)


if __name__ == "__main__":
    sys.exit(main())
