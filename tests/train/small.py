"""A network and data small enough to train in milliseconds, and a training loop by hand."""

import os
import random

import numpy as np

import minidl as md
from minidl import data, nn, optim
from minidl.train import Callback, Trainer

ROWS, FEATURES, CLASSES = 22, 5, 3
BATCH = 4  # 22 rows make five whole batches and one of 2 rows


def a_model(seed=1):
    """With running statistics and random draws in it."""
    md.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(FEATURES, 8, activation="tanh"),
        nn.BatchNorm1d(8),
        nn.Dropout(0.25),
        nn.Linear(8, CLASSES),
    )


def arrays(rows=ROWS, seed=2):
    """x (rows, FEATURES) float32, labels (rows,)."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((rows, FEATURES)).astype(np.float32)
    return x, random.integers(0, CLASSES, rows)


def a_loader(rows=ROWS, seed=2, batch_size=BATCH, shuffle=True, order=9, workers=0):
    dataset = data.ArrayDataset(*arrays(rows, seed))
    return data.DataLoader(dataset, batch_size, shuffle, seed=order, workers=workers)


def an_optimizer(model):
    return optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)


def a_schedule(optimizer):
    return optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)


def a_full_trainer(seed=1, make=an_optimizer, schedule=a_schedule, callbacks=()):
    """With all the parts that a checkpoint holds."""
    model = a_model(seed)
    optimizer, ema = make(model), optim.EMA(model, 0.9)
    scheduler = schedule(optimizer)
    monitor = "val_accuracy" if getattr(scheduler, "mode", "min") == "max" else None
    return Trainer(
        model, optimizer, None, ["accuracy"], scheduler, ema, callbacks, monitor=monitor
    )  # fmt: skip


def everything(trainer):
    """The states of a trainer's parts, and its history without the seconds."""
    parts = {name: getattr(trainer, name) for name in ("model", "optimizer", "scheduler", "ema")}
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in trainer.history]
    states = {name: part.state_dict() for name, part in parts.items()}
    return bits({**states, "epoch": trainer.epoch, "history": rows})


def bits(tree):
    """What is equal only for the same numbers, to the bit and but for byte order to the type."""
    if isinstance(tree, dict):
        return {key: bits(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree), [bits(value) for value in tree]
    if isinstance(tree, np.ndarray):
        native = tree.astype(tree.dtype.newbyteorder("="))
        return native.dtype, native.shape, native.tobytes()
    return type(tree), repr(tree)


def disturb():
    """Put all random generators elsewhere."""
    md.manual_seed(999)
    np.random.seed(999)  # noqa: NPY002
    random.seed(999)


def generators():
    """Where all random generators are."""
    legacy = np.random.get_state(legacy=False)  # noqa: NPY002
    return bits([md.random.get_state(), legacy, random.getstate()])


def child_path():
    """Where a child process finds this file and minidl."""
    here = os.path.dirname(os.path.abspath(__file__))
    return [here, os.path.dirname(os.path.dirname(here))]


def train_by_hand(model, optimizer, loader, epochs, scheduler=None, ema=None):
    """What Trainer does, written out; the size, loss and outputs of each batch of each epoch."""
    loss_function = nn.CrossEntropyLoss()
    batches = []
    for _ in range(epochs):
        model.train()
        batches.append([])
        for x, labels in loader:
            optimizer.zero_grad()
            outputs = model(x)
            loss = loss_function(outputs, labels)
            loss.backward()
            optimizer.step()
            if ema is not None:
                ema.update()
            batches[-1].append((len(x), float(loss), outputs.data, labels))
        if scheduler is not None:
            scheduler.step()
    return batches


def assert_same_bits(got, expected):
    """Two dicts of arrays and numbers."""
    assert got.keys() == expected.keys()
    for name, array in expected.items():
        assert np.asarray(got[name]).dtype == np.asarray(array).dtype, name
        np.testing.assert_array_equal(got[name], array, err_msg=name)


def softmax_loss(outputs, labels):
    """Mean cross-entropy in float64, from the definition."""
    scores = outputs.astype(np.float64)
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    return -np.log(probabilities[np.arange(len(labels)), labels]).mean()


def trainer_of(model=None, **parts):
    model = a_model() if model is None else model
    return Trainer(model, parts.pop("optimizer", None) or an_optimizer(model), **parts)


def assigned(name, hook):
    callback = Callback()
    setattr(callback, name, hook)
    return callback
