"""Trains small networks in shards, and prints a hash of all that each came to: run by mpiexec."""

import hashlib
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from optimizers import OPTIMIZERS

import minidl as md
from minidl import data, models, nn, optim, train
from minidl.data import transforms
from minidl.distributed.world import world
from minidl.train import Callback, Checkpoint, MixUp, Trainer, sums

SHARDS, CLASSES = 4, 3
# 46 rows in batches of 16: the last has 14, the shards of which differ
random = np.random.default_rng(0)
IMAGES = random.integers(0, 256, (46, 6, 6, 1), np.uint8)
LABELS = random.integers(0, CLASSES, 46)


def a_network(dtype=np.float32):
    md.manual_seed(3)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4, activation="relu"), nn.Flatten(),
        nn.Dropout(0.3), nn.Linear(64, CLASSES),
    )  # fmt: skip
    return model.astype(dtype)


def a_loader(dtype=np.float32, augment=True, shuffle=True):
    changes = [transforms.RandomCrop(6, padding=1)] if augment else []
    standard = [transforms.Normalize([0.5], [0.25])]
    if dtype == np.float64:
        standard.append(lambda images, rng: images.astype(dtype))
    return data.DataLoader(
        data.ArrayDataset(IMAGES, LABELS), 16, shuffle, seed=5, workers=1,
        transform=[*changes, *standard], augment=augment,
    )  # fmt: skip


def digest(trainer):
    """Of weights, buffers, averages, the optimizer's state, the history and predictions."""
    found = hashlib.sha256()
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in trainer.history]
    averages = None if trainer.ema is None else trainer.ema.state_dict()
    parts = [trainer.model.state_dict(), trainer.optimizer.state_dict(), averages, rows]
    feed(found, [*parts, trainer.predict(a_loader(trainer_dtype(trainer), False, False))])
    return found.hexdigest()[:16]


def trainer_dtype(trainer):
    return next(trainer.model.parameters()).dtype


def feed(found, tree):
    if isinstance(tree, dict):
        tree = [x for pair in tree.items() for x in pair]
    if isinstance(tree, list | tuple):
        for part in tree:
            feed(found, part)
    else:
        found.update(tree.tobytes() if isinstance(tree, np.ndarray) else repr(tree).encode())


def a_trainer(model, optimizer=None, **parts):
    optimizer = optimizer or optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return Trainer(model, optimizer, metrics=["accuracy"], shards=SHARDS, **parts)


def trained(trainer, epochs=2, loader=None, validation=None):
    trainer.fit(loader or a_loader(), epochs, validation, progress=False)
    return digest(trainer)


def everything():
    """Dropout, augmentation, averages, mixtures, batch normalization, a schedule that looks."""
    model = a_network()
    optimizer = optim.AdamW(model.parameters())
    return a_trainer(
        model, optimizer, ema=optim.EMA(model, 0.9), callbacks=[MixUp(num_classes=CLASSES)],
        scheduler=optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0),
    )  # fmt: skip


def all_of_it():
    return trained(everything(), validation=a_loader(augment=False, shuffle=False))


class Branch(nn.Module):
    """One of whose layers is reached by rows of one kind only, the other by none."""

    def __init__(self):
        md.manual_seed(4)
        self.all, self.some, self.none = (nn.Linear(36, CLASSES) for _ in range(3))

    def forward(self, x):
        x = x.reshape(len(x), -1)  # (N, 6, 6, 1) -> (N, 36)
        return self.all(x) + self.some(x) if (x[:, 0] > 1.5).any() else self.all(x)


def cases():
    for kind in OPTIMIZERS:
        if kind is not getattr(optim, "LBFGS", None):
            md.manual_seed(3)
            model = nn.Sequential(nn.Flatten(), nn.Linear(36, CLASSES))
            settings = {"lr": 0.01} if "lr" in kind.settings else {}
            yield kind.__name__, trained(a_trainer(model, kind(model.parameters(), **settings)), 1)
    yield "everything", all_of_it()
    first, *rest = a_network()
    deep = nn.Sequential(first, nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, padding=1), *rest)
    yield "sync", trained(a_trainer(deep, optim.Adam(deep.parameters()), sync=True))
    yield "float64", trained(a_trainer(a_network(np.float64)), 1, a_loader(np.float64))
    yield "accumulated", trained(a_trainer(a_network(), accumulate=2))
    plain, model = a_loader(augment=False), Branch()
    parts = [model.all, model.some]
    model.none.freeze()
    optimizer = optim.Adam([p for part in parts for p in part.parameters()])
    yield "a branch", trained(a_trainer(model, optimizer), 1, plain)
    yield "features", features()
    frozen = a_network()
    frozen[1].freeze()
    yield "frozen", trained(a_trainer(frozen, optim.Adam(frozen.parameters())), 1)
    batches = [(x, np.where(np.arange(len(y)) < 5, -1, y)) for x, y in plain]
    few = [*batches, (batches[0][0][:7], batches[0][1][:7]), (plain_rows(3), LABELS[:3])]
    model = a_network()
    weighted = nn.CrossEntropyLoss(np.array([1, 2, 0.5], np.float32), ignore_index=-1)
    made = optim.SGD(model.parameters(), lr=0.1)
    trainer = Trainer(model, made, weighted, ["accuracy"], shards=SHARDS)
    yield "ignored rows, and batches of fewer rows than shards", trained(trainer, 1, few)


def features():
    """A network whose frozen body runs once for each image, and features in memory and a file."""
    md.manual_seed(5)
    model = models.create("lenet5", num_classes=CLASSES)
    model.features.freeze()
    images = np.repeat(np.repeat(IMAGES, 5, axis=1), 5, axis=2)[:, :28, :28]
    images = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0))).astype(np.float32) / 255
    loader = data.DataLoader(data.ArrayDataset(images, LABELS), 16, True, seed=5)
    optimizer = optim.Adam(p for p in model.parameters() if p.requires_grad)
    trainer = a_trainer(model, optimizer)
    trainer.fit(loader, 2, progress=False)
    found = hashlib.sha256()
    feed(found, model.state_dict())
    loader = data.DataLoader(data.ArrayDataset(images, LABELS), 8)
    kept = train.extract_features(model, "features", loader)
    with tempfile.TemporaryDirectory() as folder:
        # the ranks of these tests are on one machine; rank 0's folder is that of all
        name = np.zeros(200, np.uint8)
        name[: len(folder)] = list(folder.encode())
        md.distributed.broadcast(name)
        path = Path(bytes(name).rstrip(b"\0").decode()) / "features.h5"
        stored = train.extract_features(model, "features", loader, path)
        for made in (kept, stored):
            feed(found, list(made.batch(range(len(LABELS)))))
        md.distributed.barrier()
    return found.hexdigest()[:16]


def plain_rows(count):
    return next(iter(a_loader(augment=False, shuffle=False)))[0][:count]


class Stop(Exception):  # noqa: N818
    pass


class StopAt(Callback):
    def __init__(self, batch):
        self.left = batch

    def on_batch_end(self, trainer, means):
        self.left -= 1
        if self.left < 0:
            raise Stop


def interrupted(folder):
    """Train until a checkpoint in the midst of the second epoch is there."""
    trainer = everything()
    trainer.callbacks += [Checkpoint(folder, every=2), StopAt(5)]
    try:
        trainer.fit(a_loader(), 2, a_loader(augment=False, shuffle=False), progress=False)
    except Stop:
        return "stopped"
    raise AssertionError


def resumed(folder):
    """Continue from there."""
    trainer = everything().resume(Checkpoint.last(folder))
    return trained(trainer, validation=a_loader(augment=False, shuffle=False))


def main():
    md.set_num_threads(1)
    if md.distributed.size > 1:  # several buckets, which travel as between machines
        sums.BUCKET, world().local = 500, False
    what, *rest = sys.argv[1:]
    if what == "cases":
        found = dict(cases())
    elif what == "everything":
        found = {what: all_of_it()}
    elif what == "interrupted":
        found = {what: interrupted(Path(rest[0]))}
    else:
        found = {what: resumed(Path(rest[0]))}
    if md.distributed.rank == 0:
        print(json.dumps({"ranks": md.distributed.size, **found}))


if __name__ == "__main__":
    main()
