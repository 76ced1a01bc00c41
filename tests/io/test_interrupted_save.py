"""Saving that is cut short: by a disk that takes no more, or by a kill."""

import os
import random
import shutil
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
from stand_in import Model, a_model

from minidl.io import load_weights, save_weights

FULL_DISK = """
import resource, sys
import numpy as np
sys.path[:0] = sys.argv[2:]
from stand_in import Model
from minidl.io import save_weights
large = Model({f"w{i}": np.full(10_000, 2.0) for i in range(9)})
save_weights(Model({"w": np.full(10, 1.0)}), sys.argv[1])
limits = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
try:
    save_weights(large, sys.argv[1])
except OSError as error:
    print(error)
save_weights(Model({"w": np.full(10, 3.0)}), sys.argv[1])
"""


@pytest.mark.skipif(os.name != "posix", reason="needs a limit on file sizes")
def test_a_disk_that_takes_no_more(tmp_path):
    path = tmp_path / "w.h5"
    command = [sys.executable, "-c", FULL_DISK, str(path), *child_path()]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"minidl could not write {path}: File too large" in done.stdout
    assert done.stderr == ""
    with h5py.File(path) as file:  # the save after the refused one
        np.testing.assert_array_equal(file["w"][()], np.full(10, 3.0))
    assert [file.name for file in tmp_path.iterdir()] == ["w.h5"]


SAVE_FOR_EVER = """
import itertools, sys
import numpy as np
sys.path[:0] = sys.argv[3:]
from stand_in import Model, a_model
from minidl.io import save_weights
print("ready", flush=True)
for count in itertools.count(1):
    fill, large = count % 1000, {}
    if sys.argv[2] == "large":
        large = {f"w{i}": np.full(250_000, float(fill)) for i in range(4)}
    model = Model(large) if large else a_model(fill=fill)
    save_weights(model, sys.argv[1])
"""
KILLS = int(os.environ.get("MINIDL_KILLS", "24"))
TOGETHER = 8


def child_path():
    """Where a child process finds this file and minidl."""
    here = os.path.dirname(os.path.abspath(__file__))
    return [here, os.path.dirname(os.path.dirname(here))]


def a_large_model(fill):
    """8 MB, which take their time to the disk."""
    return Model({f"w{i}": np.full(250_000, float(fill)) for i in range(4)})


@pytest.mark.parametrize(
    ("size", "kills"), [("small", KILLS), ("large", (KILLS + 2) // 3)], ids=["small", "large"]
)
def test_a_kill_leaves_the_old_or_the_new_file_whole(tmp_path, size, kills):
    make = a_large_model if size == "large" else a_model
    rng = random.Random(3)
    left, replaced, partial = 0, 0, 0
    for start in range(0, kills, TOGETHER):
        targets = [tmp_path / str(i) / "w.h5" for i in range(start, min(start + TOGETHER, kills))]
        for target in targets:
            target.parent.mkdir()
            save_weights(make(fill=0), target)
        children = [
            subprocess.Popen(
                [sys.executable, "-c", SAVE_FOR_EVER, str(target), size, *child_path()],
                stdout=subprocess.PIPE,
            )
            for target in targets
        ]
        for child in children:
            with child:
                assert child.stdout.readline()
                time.sleep(rng.uniform(0, 0.03))
                child.kill()
        for target in targets:
            temporaries = [file for file in target.parent.iterdir() if file != target]
            left += len(temporaries)
            partial += sum(0 < file.stat().st_size < 8_000_000 for file in temporaries)
            model = make(fill=5000)
            load_weights(model, target)
            values = {float(v) for array in model.state_dict().values() for v in np.unique(array)}
            assert len(values) == 1, "old and new are mixed"
            replaced += values != {0.0}
            save_weights(make(fill=0), target)
            assert [file.name for file in target.parent.iterdir()] == ["w.h5"]
            shutil.rmtree(target.parent)
    print(f"{size}: {kills} kills left {left} temporaries, {partial} of them cut off in the middle")
    # Otherwise the kills came at the wrong time and showed nothing.
    assert left > 0
    assert replaced > 0
    if size == "large" and kills >= 100:
        assert partial > 0
