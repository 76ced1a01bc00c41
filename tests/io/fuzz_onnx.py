"""Damaged and hostile ONNX files by the thousand: python tests/io/fuzz_onnx.py --count 10000.

Each is loaded and, if it loads, run. It is a violation if the process dies, takes more than
SECONDS or more memory than it may, or raises what isn't documented.
"""

import argparse
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

import numpy as np  # noqa: E402
import onnx_writing as writing  # noqa: E402

import minidl as md  # noqa: E402
from minidl import models  # noqa: E402
from minidl.errors import FileFormatError, MinidlError  # noqa: E402
from minidl.io.onnx.table import OPERATORS  # noqa: E402
from minidl.io.protobuf import fields  # noqa: E402

SECONDS = 20  # of the processor
ROOM = 3 * 2**30  # bytes of addresses beyond those that the process begins with
NUMBERS = [0, 1, 2, 3, 7, 8, 127, 2**15, 2**20, 2**31 - 1, 2**31, 2**32, 2**62, 2**63, -1, -2]
DEEPEST = 8


def specimens():
    return {
        "classifier": (writing.classifier(), (2, 8, 8, 2)),
        "softmax": (writing.classifier(1, softmax=True, batch=1), (3, 8, 8, 2)),
        "shapes": (writing.shapes(), (2, 4, 6, 6)),
    }


def mutated(rng, content):
    """Return (label, bytes): one to three changes, to bytes or to fields of messages."""
    labels = []
    for _ in range(rng.choice([1, 1, 2, 3])):
        change = rng.choice([flip, cut, splice, *[change_field] * 6])
        labels.append(change.__name__)
        content = change(rng, content) or b"\x08"
    return " ".join(labels), content


def flip(rng, content):
    found = bytearray(content)
    for _ in range(rng.choice([1, 3, 20])):
        found[rng.randrange(len(found))] ^= 1 << rng.randrange(8)
    return bytes(found)


def cut(rng, content):
    return content[: rng.randrange(len(content))]


def splice(rng, content):
    at, size = rng.randrange(len(content)), rng.choice([1, 2, 8, 50])
    return content[:at] + rng.randbytes(rng.choice([0, 1, 8])) + content[at + size :]


def change_field(rng, content, depth=0):
    """Change a field of a message, or of one within it."""
    try:
        parts = [(n, kind, v) for n, kind, v in fields(memoryview(content), "")]
    except FileFormatError:
        return flip(rng, content) if content else content
    if not parts:
        return content
    at = rng.randrange(len(parts))
    n, kind, held = parts[at]
    if kind == 2 and depth < DEEPEST and rng.random() < 0.85 and len(held):
        parts[at] = n, kind, change_field(rng, bytes(held), depth + 1)
    else:
        change_one(rng, parts, at)
    return b"".join(_written(*part) for part in parts)


def change_one(rng, parts, at):
    n, kind, held = parts[at]
    what = rng.choice(["value", "value", "value", "double", "drop", "number", "swap"])
    if what == "double":
        parts.extend([parts[at]] * rng.choice([1, 2, 1000]))
    elif what == "drop":
        del parts[at]
    elif what == "number":
        parts[at] = rng.choice([1, 2, 3, 5, 7, 8, 9, 13, 14, 20, 25]), kind, held
    elif what == "swap":
        other = rng.randrange(len(parts))
        parts[at], parts[other] = parts[other], parts[at]
    elif kind == 0:
        parts[at] = n, kind, rng.choice([*NUMBERS, held + 1, held - 1])
    elif kind == 2:
        words = [b"", b"x", b"y", b"\xff", rng.choice(list(OPERATORS)).encode(), bytes(held) * 2]
        words += [b"axes", b"pads", b"c", b"d", b"conv.weight", b"s"]
        parts[at] = n, kind, rng.choice(words)
    else:
        parts[at] = n, kind, rng.randbytes(len(held))


def _written(n, kind, held):
    if kind == 0:
        return writing.number(n, held)
    if kind == 2:
        return writing.message(n, bytes(held))
    return writing.varint(n << 3 | kind) + bytes(held)


def outcome_of(path, shape):
    """Return (what happened, what is wrong about it)."""
    try:
        model = models.load(path).eval()
    except (FileFormatError, OSError) as error:
        return type(error).__name__, ""
    except Exception as error:
        return type(error).__name__, f"loading raised {error!r:.300}"
    try:
        with md.no_grad(), np.errstate(all="ignore"):
            model(np.ones(shape, np.float32))
    except MinidlError as error:
        return f"loaded, {type(error).__name__}", ""
    except Exception as error:
        return "loaded", f"running raised {type(error).__name__} {error!r:.300}"
    return "loaded and ran", ""


def violations(count, seed=0, first=0):
    """Yield (number, label, what is wrong) of those that show one; returns the outcomes."""
    outcomes = Counter()
    good = specimens()
    with tempfile.TemporaryDirectory() as folder:
        for name, (content, shape) in good.items():  # kernels compile now
            path = Path(folder, "x.onnx")
            path.write_bytes(content)
            assert outcome_of(path, shape) == ("loaded and ran", ""), name
        for i in range(first, first + count):
            rng = random.Random(f"{seed} {i}")
            name = rng.choice(sorted(good))
            label, content = mutated(rng, good[name][0])
            path = Path(folder, "x.onnx")
            path.write_bytes(content)
            start = time.process_time()
            outcome, wrong = outcome_of(path, good[name][1])
            seconds = time.process_time() - start
            wrong = wrong or (f"took {seconds:.1f} s" if seconds > SECONDS else "")
            outcomes[outcome] += 1
            if wrong:
                yield i, f"{name}: {label}", wrong
    return outcomes


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, used + ROOM))
    cases, wrong = violations(options.count, options.seed, options.first), 0
    while True:
        try:
            number, label, what = next(cases)
        except StopIteration as end:
            print(f"{options.count} files; {dict(end.value)}; {wrong} violations")
            return bool(wrong)
        wrong += 1
        print(f"case {number}, {label}: {what}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
