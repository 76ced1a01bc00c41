"""Traces: what ran, in which order, what came from what, and that nothing is left changed."""

import threading

import numpy as np
import pytest

import minidl as md
from minidl import nn, ops
from minidl.analysis import trace
from minidl.analysis.trace import kept_bytes


class Net(nn.Module):
    """A convolution with a shortcut, a layer used twice, and a head."""

    def __init__(self):
        self.first = nn.Conv2d(2, 4, 3, padding=1, activation="relu")
        self.twice = nn.Conv2d(4, 4, 1, bias=False)
        self.norm = nn.BatchNorm2d(4, activation="relu")
        self.idle = nn.Identity()
        self.drop = nn.Dropout(0.5)
        self.head = nn.Sequential(nn.GlobalAvgPool2d(), nn.Linear(4, 3))

    def forward(self, x):
        y = self.first(x)
        z = self.norm(self.twice(self.idle(y)), residual=y)
        z = self.drop(self.twice(z) * 2 + y)
        return self.head(z)


def zeros(*shape):
    return np.zeros(shape, np.float32)


def test_the_graph():
    _, nodes = trace(Net(), zeros(2, 6, 5, 2))
    table = [(n.name, n.kind, n.shape, n.parameters, n.mult_adds, n.inputs) for n in nodes]
    assert table == [
        ("input", "input", (6, 5, 2), 0, 0, ()),
        ("first", "Conv2d", (6, 5, 4), 76, 2 * 30 * 72, (0,)),
        ("twice", "Conv2d", (6, 5, 4), 16, 2 * 30 * 16, (1,)),
        ("norm", "BatchNorm2d", (6, 5, 4), 8, 0, (1, 2)),
        ("twice", "Conv2d", (6, 5, 4), 0, 2 * 30 * 16, (3,)),
        ("multiply", "multiply", (6, 5, 4), 0, 0, (4,)),
        ("add", "add", (6, 5, 4), 0, 0, (1, 5)),
        ("head.0", "GlobalAvgPool2d", (4,), 0, 0, (6,)),
        ("head.1", "Linear", (3,), 15, 2 * 12, (7,)),
    ]
    assert [n.detail for n in nodes[1:4]] == ["3x3, 4, relu", "1x1, 4", "add, relu"]


def test_the_runs():
    runs, _ = trace(Net(), zeros(2, 6, 5, 2))
    names = ["", "first", "idle", "twice", "norm", "twice", "drop", "head", "head.0", "head.1"]
    assert [run.name for run in runs] == names
    assert [run.depth for run in runs] == [0] + [1] * 7 + [2, 2]
    assert runs[0].mult_adds == 2 * (30 * 72 + 2 * 30 * 16 + 12)
    assert [run.shape for run in runs[-3:]] == [(2, 3), (2, 4), (2, 3)]
    maps = 2 * 30 * 4 * 4  # bytes
    sizes = [run.activation_bytes for run in runs]
    assert sizes[1:7] == [maps, 0, maps, maps, maps, 0]
    assert sizes[0] == 6 * maps + 2 * 4 * 4 + 2 * 3 * 4  # with multiply and add


@pytest.mark.parametrize(
    ("layer", "shape", "mult_adds"),
    [
        (nn.Linear(3, 5), (2, 3), 30),
        (nn.Linear(3, 5, activation="relu", bias=False), (2, 3), 30),
        (nn.Conv2d(4, 6, (3, 1), groups=2), (1, 5, 4, 4), 3 * 4 * 3 * 2 * 6),
        (nn.DepthwiseConv2d(4, 3, multiplier=2), (1, 5, 4, 4), 3 * 2 * 9 * 8),
        (nn.DepthwiseConv2d(4, 3, activation="relu"), (1, 5, 4, 4), 3 * 2 * 9 * 4),
        (nn.SeparableConv2d(4, 6, 3), (1, 5, 4, 4), 3 * 2 * (9 * 4 + 24)),
        (nn.ConvTranspose2d(4, 6, 2, stride=2), (1, 3, 3, 4), 9 * 4 * 4 * 6),
        (nn.RNN(3, 5), (2, 7, 3), 2 * 7 * (15 + 25)),
        (nn.LSTM(3, 5), (2, 7, 3), 2 * 7 * 4 * (15 + 25)),
        (nn.MaxPool2d(2), (1, 4, 4, 2), 0),
        (nn.BatchNorm2d(2), (1, 4, 4, 2), 0),
    ],
)
def test_mult_adds_of_layers(layer, shape, mult_adds):
    assert trace(layer, zeros(*shape))[0][0].mult_adds == mult_adds


def test_what_the_tape_keeps():
    """A linear layer's rules keep its input (of the caller's array a copy) and its output."""
    model = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 7, activation="relu"), nn.Flatten())
    assert kept_bytes(model, zeros(2, 3)) == [0, 2 * 3 * 4 + 2 * 5 * 4, 2 * 7 * 4, 0]
    frozen = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 7)).freeze()
    assert kept_bytes(frozen, zeros(2, 3)) == [0, 0, 0]


def test_the_model_is_left_as_it_was():
    model = Net().train()
    model.norm.eval()
    md.manual_seed(5)
    expected = md.random.generator().standard_normal()
    md.manual_seed(5)
    before = model.state_dict()
    trace(model, zeros(2, 6, 5, 2))
    kept_bytes(model, zeros(2, 6, 5, 2))
    assert md.random.generator().standard_normal() == expected
    assert all(np.array_equal(before[n], a) for n, a in model.state_dict().items())
    assert [m.training for m in (model, model.norm, model.drop)] == [True, False, True]
    assert not any(m._forward_hooks or "forward" in vars(m) for m in model.modules())
    assert all(p.grad is None for p in model.parameters())


class Tries(nn.Module):
    """Goes on when a part raises."""

    def __init__(self):
        self.bad = nn.Sequential(nn.Linear(3, 3), nn.Linear(4, 4))
        self.good = nn.Linear(3, 3)

    def forward(self, x):
        try:
            return self.bad(x)
        except md.errors.ShapeError:
            return self.good(x)


def test_errors_that_the_model_catches():
    runs, _ = trace(Tries(), zeros(2, 3))
    expected = [("", 0), ("bad", 1), ("bad.0", 2), ("bad.1", 2), ("good", 1)]
    assert [(run.name, run.depth) for run in runs] == expected
    assert [run.shape for run in runs] == [(2, 3), (), (2, 3), (), (2, 3)]
    assert len(kept_bytes(Tries(), zeros(2, 3))) >= 2


def test_others_that_use_the_model_see_nothing():
    """Neither its hooks nor its modes nor its statistics."""
    model, x = Net().eval(), np.ones((2, 6, 5, 2), np.float32)
    expected, before = model(x).data, model.state_dict()
    stop, wrong = threading.Event(), []

    def work():
        while not stop.is_set():
            if not np.array_equal(model(x).data, expected):
                wrong.append(1)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(10):
            md.summary(model, x.shape)
    finally:
        stop.set()
        thread.join()
    assert not wrong
    assert all(np.array_equal(before[n], a) for n, a in model.state_dict().items())


def test_an_error_leaves_no_hooks():
    model = Net()
    with pytest.raises(md.errors.ShapeError):
        trace(model, zeros(2, 6, 5, 3))
    assert model.training
    assert not any(m._forward_hooks or "forward" in vars(m) for m in model.modules())


def test_other_threads_are_not_listened_to():
    model, x = nn.Sequential(nn.Linear(3, 3)), zeros(2, 3)
    stop = threading.Event()

    def work():
        while not stop.is_set():
            ops.matmul(x, np.ones((3, 3), np.float32))
            model(x)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(20):
            runs, nodes = trace(model, x)
            assert runs[0].mult_adds == 18
            assert len(nodes) == 2
    finally:
        stop.set()
        thread.join()
