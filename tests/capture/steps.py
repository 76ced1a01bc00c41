"""Training steps to capture: networks with all kinds of layers, and everything around them."""

from itertools import cycle

import numpy as np

import minidl as md
from minidl import models, nn, optim

MODEL = nn.Sequential(nn.Linear(3, 4, activation="tanh"), nn.Linear(4, 2))


def some(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


class Texts(nn.Module):
    """A recurrent network on tokens."""

    def __init__(self):
        self.table = nn.Embedding(11, 6)
        self.body = nn.LSTM(6, 5)
        self.norm = nn.LayerNorm(5)
        self.drop = nn.Dropout(0.4)
        self.head = nn.Linear(5, 10)

    def forward(self, tokens):
        outputs, _ = self.body(self.table(tokens))
        return self.head(self.drop(self.norm(outputs[:, -1])))


def layers():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding="same", bias=False),
        nn.BatchNorm2d(8, activation="relu"),
        nn.DepthwiseConv2d(8, 3, padding=1, multiplier=2),
        nn.MaxPool2d(3, 2, padding=1),
        nn.Conv2d(16, 8, 3, padding=1, groups=2, activation="leaky_relu"),
        nn.LocalResponseNorm(3),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(32, 12, activation="tanh"),
        nn.LayerNorm(12),
        nn.Linear(12, 10),
    )


def small():
    return nn.Sequential(
        nn.Linear(6, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Dropout(0.5), nn.Linear(9, 10)
    )


NETWORKS = {  # with the shape of an input
    "lenet5": (models.lenet5, (5, 32, 32, 1)),
    "resnet20": (models.resnet20, (4, 16, 16, 3)),
    "layers": (layers, (5, 16, 16, 3)),
    "texts": (Texts, (6, 4)),
    "small": (small, (7, 6)),
}


def batches(name, count=5, dtype=np.float32):
    """Pairs of inputs and labels."""
    random = np.random.default_rng(7)
    shape = NETWORKS[name][1]
    for _ in range(count):
        if name == "texts":
            x = random.integers(0, 11, shape)
        else:
            x = random.standard_normal(shape).astype(dtype)
        yield x, random.integers(0, 10, shape[0])


class Training:
    """A network with its optimizer and all that a step does."""

    def __init__(self, name, make=None, clip=optim.clip_grad_norm, dtype=np.float32):
        md.manual_seed(3)
        self.model = NETWORKS[name][0]().astype(dtype)
        self.optimizer = (make or sgd)(self.model.parameters())
        self.ema = optim.EMA(self.model, decay=0.9)
        self.loss = nn.CrossEntropyLoss(label_smoothing=0.1)
        self.clip = clip

    def step(self, x, labels):
        self.optimizer.zero_grad()
        logits = self.model(x)
        loss = self.loss(logits, labels)
        loss.backward()
        if self.clip is not None:
            self.clip(self.model.parameters(), 0.2)
        self.optimizer.step()
        self.ema.update()
        return loss, logits

    def state(self):
        """All that a step changes: arrays by name."""
        found = {f"model.{name}": x for name, x in self.model.state_dict().items()}
        found |= {f"ema.{n}": x for n, x in self.ema.state_dict()["averages"].items()}
        for number, state in self.optimizer.state_dict()["state"].items():
            found |= {f"optimizer.{number}.{n}": np.asarray(x) for n, x in state.items()}
        for name, p in self.model.named_parameters():
            if p.grad is not None:
                found[f"grad.{name}"] = p.grad.copy()
        return found


def a_step(model, lr=0.05):
    """A training step of a model on a batch alone: its squared outputs are made small."""
    optimizer = optim.SGD(model.parameters(), lr)

    def step(x):
        optimizer.zero_grad()
        loss = (model(x) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    return step


def sgd(params):
    return optim.SGD(params, lr=0.05, momentum=0.9, weight_decay=1e-3, nesterov=True)


def train(training, step, data, rates=(0.05, 0.02, 0.1)):
    """What training gives: losses and outputs of each step, and the state after it."""
    md.manual_seed(11)
    found = []
    for (x, labels), rate in zip(data, cycle(rates)):
        for group in training.optimizer.param_groups:
            group["lr"] = rate
        outputs = step(x, labels)
        found.append([*(y.data.copy() for y in outputs), *training.state().values()])
    return found, md.random.get_state()


def assert_same(found, expected):
    """The same bits of all arrays in nested lists, and the same random numbers after."""
    assert found[1] == expected[1]
    for number, (arrays, wanted) in enumerate(zip(found[0], expected[0], strict=True)):
        for a, b in zip(arrays, wanted, strict=True):
            np.testing.assert_array_equal(a, b, strict=True, err_msg=f"step {number}")


def is_captured(compiled):
    """Whether its calls are replayed."""
    programs = [p for several in compiled._programs.values() for p in several]
    return bool(programs) and all(p.proved for p in programs)
