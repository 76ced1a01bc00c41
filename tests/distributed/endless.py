"""Trains LeNet-5 and writes checkpoints, until it is killed: `mpiexec -n N python endless.py DIR`.

Each rank first leaves its number, and the launcher's, in DIR/pids.
"""

import os
import sys
from pathlib import Path

import numpy as np

folder = Path(sys.argv[1])
(folder / "pids" / str(os.getpid())).write_text(str(os.getppid()))

import minidl as md  # noqa: E402
from minidl import models, optim, train  # noqa: E402


def main():
    md.set_num_threads(1)
    md.manual_seed(0)
    model = models.create("lenet5", num_classes=10)
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((64, 32, 32, 1), np.float32), rng.integers(0, 10, 64)
    keep = train.Checkpoint(folder / "run", keep=10**6, every=2)
    trainer = train.Trainer(model, optim.SGD(model.parameters(), lr=0.01), callbacks=[keep])
    trainer.fit([(x[i : i + 16], labels[i : i + 16]) for i in range(0, 64, 16)], 10**6)


if __name__ == "__main__":
    main()
