"""A training in which one rank goes wrong: `mpiexec -n N python faulty.py KIND RANK FOLDER`."""

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import same_bits

import minidl as md
from minidl import data, optim
from minidl.distributed.launch import RANKS
from minidl.train import Callback, Checkpoint, Trainer, agreement


class At(Callback):
    """Calls `act` after so many batches."""

    def __init__(self, batch, act):
        self.left, self.act = batch, act

    def on_batch_end(self, trainer, means):
        self.left -= 1
        if self.left == 0:
            self.act(trainer)


def fail(trainer):
    raise RuntimeError("something that only this rank knows")


def drift(trainer):
    next(trainer.model.parameters()).data[...] += 1


def stop(trainer):
    os.kill(os.getpid(), signal.SIGSTOP)


def end(trainer):
    sys.exit(0)


def launched_as(rank):
    """Whether the launcher calls this process so, asked without MPI."""
    return str(rank) in [os.environ[name] for name in RANKS if name in os.environ]


ACTS = {"raises": fail, "drifts": drift, "is-stopped": stop, "ends": end}


def main():
    md.set_num_threads(1)
    kind, rank, folder, batch = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    if kind.endswith("-early") and launched_as(rank):  # before this rank has entered MPI
        fail(None) if kind == "raises-early" else sys.exit(3)
    if kind == "lbfgs":  # before anybody has entered MPI
        model = same_bits.a_network()
        Trainer(model, optim.LBFGS(model.parameters(), line_search_fn="strong_wolfe"))
    mine = md.distributed.rank == rank
    if kind == "ends-first" and mine:
        sys.exit(0)
    if kind == "ends-first":
        time.sleep(0.5)  # until rank 1 waits for the others to end, which this must not look like
        md.distributed.barrier()
        print("done")
    trainer, images, labels = same_bits.everything(), same_bits.IMAGES, same_bits.LABELS
    trainer.callbacks.append(Checkpoint(folder, every=1))
    if mine and kind in ACTS:
        trainer.callbacks.append(At(batch, ACTS[kind]))
    if kind == "nan":  # in one row, so that one rank alone computes with it
        images = images.astype(np.float32)
        images[7] = np.nan
    if mine and kind == "data":
        images = images.copy()
        images[0, 0, 0] += 1
    if mine and kind == "rows":
        images, labels = images[:-1], labels[:-1]
    if mine and kind == "version":
        agreement.__version__ = "0.0.1"
    if mine and kind == "seed":
        md.manual_seed(99)
    loader = data.DataLoader(data.ArrayDataset(images, labels), 16, seed=0, transform=[standard])
    trainer.fit(loader, 2, loader, progress=False)
    print("done")


def standard(images, rng=None):
    return images.astype(np.float32) / 255


if __name__ == "__main__":
    main()
