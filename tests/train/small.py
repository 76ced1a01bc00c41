"""A network and data small enough to train in milliseconds, and a training loop by hand."""

import numpy as np

import minidl as md
from minidl import data, nn, optim

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


def a_loader(rows=ROWS, seed=2, batch_size=BATCH, shuffle=True):
    return data.DataLoader(data.ArrayDataset(*arrays(rows, seed)), batch_size, shuffle, seed=9)


def an_optimizer(model):
    return optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)


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
    """Two dicts of arrays."""
    assert got.keys() == expected.keys()
    for name, array in expected.items():
        assert got[name].dtype == array.dtype, name
        np.testing.assert_array_equal(got[name], array, err_msg=name)


def softmax_loss(outputs, labels):
    """Mean cross-entropy in float64, from the definition."""
    scores = outputs.astype(np.float64)
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    return -np.log(probabilities[np.arange(len(labels)), labels]).mean()
