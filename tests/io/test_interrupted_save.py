"""Saving that is cut short: by a disk that takes no more, or by a kill."""

import os
import random
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
from stand_in import a_model

from minidl.io import load_weights, save_weights

FULL_DISK = """
import resource, sys
import numpy as np
sys.path[:0] = sys.argv[2:]
from stand_in import Model
from minidl.io import save_weights
small, large = Model(w=np.full(10, 1.0)), Model(**{f"w{i}": np.full(10_000, 2.0) for i in range(9)})
save_weights(small, sys.argv[1])
limits = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
try:
    save_weights(large, sys.argv[1])
except OSError as error:
    print(error)
save_weights(Model(w=np.full(10, 3.0)), sys.argv[1])
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
sys.path[:0] = sys.argv[2:]
from stand_in import a_model
from minidl.io import save_weights
print("ready", flush=True)
for count in itertools.count(1):
    save_weights(a_model(fill=count % 1000), sys.argv[1])
"""


def child_path():
    """Where a child process finds this file and minidl."""
    here = os.path.dirname(os.path.abspath(__file__))
    return [here, os.path.dirname(os.path.dirname(here))]


def test_a_kill_leaves_the_old_or_the_new_file_whole(tmp_path):
    rng = random.Random(3)
    left, replaced = 0, 0
    for start in range(0, 24, 8):
        targets = [tmp_path / str(start + i) / "w.h5" for i in range(8)]
        for target in targets:
            target.parent.mkdir()
            save_weights(a_model(fill=0), target)
        children = [
            subprocess.Popen(
                [sys.executable, "-c", SAVE_FOR_EVER, str(target), *child_path()],
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
            left += len(list(target.parent.iterdir())) - 1
            model = a_model()
            load_weights(model, target)
            values = {float(number) for array in model.state.values() for number in array.flat}
            assert len(values) == 1, "old and new are mixed"
            replaced += values != {0.0}
            save_weights(a_model(fill=0), target)
            assert [file.name for file in target.parent.iterdir()] == ["w.h5"]
    # Otherwise the kills came at the wrong time and showed nothing.
    assert left > 0
    assert replaced > 0
