"""float32 stays float32: through every layer, loss and optimizer, forward and backward."""

import numpy as np
import pytest
from optimizers import SAMPLES, title

import minidl as md
from minidl import nn, optim

HALF = np.float64(0.5)  # settings often come out of NumPy


class Images(nn.Module):
    """Layers that take images or features, with settings out of NumPy; tests/nn has them all."""

    def __init__(self):
        self.body = nn.Sequential(
            nn.ZeroPad2d(1),
            nn.Conv2d(3, 8, 3, padding="same"),
            nn.BatchNorm2d(8, momentum=HALF),
            nn.ReLU(),
            nn.DepthwiseConv2d(8, 3),
            nn.ReLU6(),
            nn.SeparableConv2d(8, 8, 3, padding=1),
            nn.LeakyReLU(np.float64(0.1)),
            nn.PointwiseConv2d(8, 8, activation="tanh"),
            nn.ELU(),
            nn.LocalResponseNorm(3, alpha=HALF),
            nn.MaxPool2d(2),
            nn.ConvTranspose2d(8, 8, 2, stride=2),
            nn.Upsample(scale_factor=HALF, mode="bilinear"),
            nn.Sigmoid(),
            nn.AvgPool2d(2, 1),
            nn.Dropout(HALF),
            nn.Tanh(),
        )
        self.ends = nn.ModuleList([nn.GlobalAvgPool2d(), nn.Flatten()])
        self.head = nn.Sequential(
            nn.BatchNorm1d(8 + 32), nn.Linear(40, 6), nn.LayerNorm(6), nn.Identity()
        )
        self.scores = nn.ModuleList([nn.Softmax(), nn.LogSoftmax()])

    def forward(self, x):
        y = self.body(x)
        y = self.head(md.ops.concatenate(*(end(y) for end in self.ends), axis=1))
        return y + self.scores[0](y) + self.scores[1](y)


class Words(nn.Module):
    """Every layer that takes sequences."""

    def __init__(self):
        self.table = nn.Embedding(10, 4)
        self.layers = nn.ModuleList([nn.RNN(4, 4), nn.LSTM(4, 4), nn.GRU(4, 6)])

    def forward(self, indices):
        y = self.table(indices)
        for layer in self.layers:
            y, _ = layer(y)
        return y.mean(axis=1)


class Net(nn.Module):
    def __init__(self):
        self.images, self.words = Images(), Words()

    def forward(self, images, words):
        return self.images(images) + self.words(words)


LOSSES = {
    nn.CrossEntropyLoss: {"label_smoothing": HALF, "weight": np.ones(6)},
    nn.BCEWithLogitsLoss: {},
    nn.HuberLoss: {"delta": HALF},
    nn.L1Loss: {},
    nn.MSELoss: {},
}


def all_losses(outputs, labels):
    zeros = np.zeros_like(outputs.data)
    return sum(
        make(**settings)(outputs, labels if make is nn.CrossEntropyLoss else zeros)
        for make, settings in LOSSES.items()
    )


def check(arrays, where):
    for name, array in arrays:
        assert array.dtype == np.float32, f"{where}: {name} is {array.dtype}"
        assert np.isfinite(array).all(), f"{where}: {name}"


def batch():
    random = np.random.default_rng(0)
    images = random.standard_normal((4, 6, 6, 3)).astype(np.float32)
    return images, random.integers(0, 10, (4, 5)), random.integers(0, 6, 4)


def wide(value):
    """A setting as a careless computation gives it."""
    if isinstance(value, tuple):
        return tuple(map(wide, value))
    return value if isinstance(value, bool) else np.float64(value)


@pytest.mark.parametrize(("optimizer_class", "settings"), SAMPLES, ids=title)
def test_a_whole_training_step(optimizer_class, settings):
    """Every op that runs is watched, those of the backward pass too."""
    ran = []

    def watch(op, inputs, settings, output):
        for x in (*inputs, *(output if isinstance(output, tuple) else (output,))):
            if isinstance(x, np.ndarray):
                assert x.dtype != np.float64, f"{op.name} has float64 among {inputs} or its output"
        ran.append(op.name)

    md.manual_seed(0)
    model = Net()
    settings = {name: wide(value) for name, value in settings.items()}
    optimizer = optimizer_class(model.parameters(), **settings)
    ema = optim.EMA(model, HALF)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, 3)
    images, words, labels = batch()
    for _ in range(2):
        with md.register_op_hook(watch):
            outputs = model(images, words)
            loss = all_losses(outputs, labels)
            optimizer.zero_grad()
            loss.backward()
        optim.clip_grad_norm(model.parameters(), HALF)
        optimizer.step()
        ema.update()
        schedule.step()
    assert {"conv2d", "conv2d_weight_grad", "batch_norm"} <= set(ran)
    check([("outputs", outputs.data), ("loss", loss.data)], "forward")
    check(model.state_dict().items(), "state")
    check(((name, p.grad) for name, p in model.named_parameters()), "gradients")
    check(ema.state_dict()["averages"].items(), "averages")
    for number, state in optimizer.state_dict()["state"].items():
        check(((n, a) for n, a in state.items() if isinstance(a, np.ndarray)), f"state {number}")


@pytest.mark.parametrize("kernels", ["fast", "reference"])
def test_evaluation(kernels):
    md.config.kernels = kernels
    try:
        with md.no_grad():
            outputs = Net().eval()(*batch()[:2])
    finally:
        md.config.kernels = "fast"
    check([("outputs", outputs.data)], kernels)
