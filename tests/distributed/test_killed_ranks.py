"""Kill -9 at any moment: all ranks end within seconds, and no checkpoint is lost.

`MINIDL_KILLS=100 pytest -s tests/distributed/test_killed_ranks.py` kills a hundred, and prints the
longest time that a rank lived on.
"""

import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ranks import HERE, command, environment

import minidl as md
from minidl.train import Checkpoint

KILLS = int(os.environ.get("MINIDL_KILLS", "3"))
LONGEST = 10.0 if "MINIDL_KILLS" in os.environ else 60.0  # seconds; CI's machines are shared
START = 300.0  # seconds to come to the first checkpoint
RUNNING = 3.0  # seconds of training in which the kill comes
STUCK = "a rank of a stopped launcher"
VICTIMS = ("a rank", STUCK, "rank 0", "a rank", "the launcher's child", "the launcher")


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_kill_at_any_moment(tmp_path):
    draw, times = random.Random(int(os.environ.get("MINIDL_SEED", "0"))), []
    for i in range(KILLS):
        folder = tmp_path / str(i)
        (folder / "pids").mkdir(parents=True)
        ranks, victim = draw.choice([2, 4]), VICTIMS[i % len(VICTIMS)]
        seconds = killed(folder, ranks, victim, draw)
        times.append((seconds, victim))
        check_checkpoints(folder)
        print(f"{i + 1}: {ranks} ranks, {victim}: {seconds:.2f} s", flush=True)
    print(f"the longest of {KILLS}: {max(times)}")


def killed(folder: Path, ranks: int, victim: str, draw: random.Random) -> float:
    """Kill one of a training's processes; return the seconds until all had ended."""
    process = subprocess.Popen(
        [*command(), "-n", str(ranks), sys.executable, str(HERE / "endless.py"), str(folder)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=environment(),
    )  # fmt: skip
    try:
        assert waited(lambda: len(list((folder / "pids").iterdir())) == ranks, START) < START
        if victim == STUCK or draw.random() < 0.8:  # otherwise while it starts
            assert waited(lambda: Checkpoint.last(folder / "run") is not None, START) < START
    except BaseException:
        process.terminate()  # the launcher, which ends its ranks
        print(process.communicate(timeout=60)[0].decode())
        raise
    started = {int(path.name): path for path in (folder / "pids").iterdir()}
    time.sleep(draw.uniform(0, RUNNING))
    pids = sorted(started)
    chosen = {
        "a rank": draw.choice(pids),
        STUCK: draw.choice(pids),
        "rank 0": min(pids, key=number),
        "the launcher's child": int(started[pids[0]].read_text()),
        "the launcher": process.pid,
    }
    kept = set((folder / "run").glob("epoch-*.h5"))
    if victim == STUCK:  # that can't end the others
        os.kill(chosen["the launcher's child"], signal.SIGSTOP)
    os.kill(chosen[victim], signal.SIGKILL)
    try:
        seconds = waited(lambda: not any(map(alive, pids)), LONGEST)
        assert seconds < LONGEST, f"{victim}: still there: {[pid for pid in pids if alive(pid)]}"
        if victim == STUCK:
            os.kill(chosen["the launcher's child"], signal.SIGCONT)
        out, _ = process.communicate(timeout=LONGEST)
        assert process.returncode != 0
        assert b"Traceback" not in out, out.decode()
    finally:
        for pid in filter(alive, [process.pid, chosen["the launcher's child"], *pids]):
            os.kill(pid, signal.SIGKILL)
    assert all(path.exists() for path in kept)
    return seconds


def number(pid: int) -> int:
    """The rank that MPI's launcher told a process to be."""
    names = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    told = dict(name.split(b"=", 1) for name in names if b"=" in name)
    return next(int(told[k]) for k in (b"PMI_RANK", b"PMIX_RANK") if k in told)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def waited(done, seconds: float) -> float:
    """Return how many seconds it took, infinity if it isn't done within so many.

    Those in which this process was itself stopped don't count.
    """
    took = 0.0
    while not done():
        if took > seconds:
            return math.inf
        start = time.monotonic()
        time.sleep(0.02)
        took += min(time.monotonic() - start, 0.2)
    return took


def check_checkpoints(folder: Path) -> None:
    for path in (folder / "run").glob("*.h5"):
        md.load_checkpoint(path)
    left = [path for path in (folder / "run").glob("*") if path.suffix != ".h5"]
    assert all(path.suffix == ".tmp" for path in left)
