"""Seconds of layers: one for each run of a trace, in the form in which the model runs."""

import numpy as np
import pytest

import minidl as md
from minidl import models, nn
from minidl.analysis import trace
from minidl.analysis.timing import layer_seconds


class Twice(nn.Module):
    """A layer used alone, and again in a row that runs as one op."""

    def __init__(self):
        self.relu = nn.ReLU()
        self.row = nn.Sequential(nn.Conv2d(2, 4, 3), self.relu, nn.MaxPool2d(2))

    def forward(self, x):
        return self.relu(self.row(self.relu(x)))


ROW = (nn.Conv2d(2, 4, 3, activation="relu"), nn.MaxPool2d(2))


@pytest.mark.parametrize(
    ("model", "fused"),
    [
        (nn.Sequential(*ROW, nn.Flatten()), [0, 0, 1, 0]),
        (nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.MaxPool2d(2)), [0, 0, 1, 1]),
        (nn.Sequential(nn.Conv2d(2, 4, 3), nn.MaxPool2d(2)), [0, 0, 0]),
        (Twice(), [0, 0, 0, 0, 1, 1, 0]),
        (nn.Conv2d(2, 4, 3), [0]),
    ],
)
def test_what_runs_as_one_op_has_one_time(model, fused):
    x = np.zeros((1, 8, 8, 2), np.float32)
    seconds = layer_seconds(model, x)
    assert len(seconds) == len(trace(model, x)[0])
    assert [each is None for each in seconds] == list(map(bool, fused))
    assert all(0 < each <= seconds[0] for each in seconds if each is not None)


def test_the_same_ops_run_as_in_a_call(monkeypatch):
    """Nothing is told of ops, and no layer runs alone that is joined in a call."""
    model, x = models.lenet5(), np.zeros((1, 32, 32, 1), np.float32)
    called, timed = [], []
    for found, run in ((called, lambda: model(x)), (timed, lambda: layer_seconds(model, x))):
        with (
            md.register_op_hook(lambda op, *rest, found=found: found.append(op.name)),
            md.no_grad(),
        ):
            run()
    assert timed == called * 4  # one pass to compile, and three
    assert not any("forward" in vars(module) for module in model.modules())


def test_a_hook_of_the_models_own_keeps_its_layers_apart():
    model = nn.Sequential(*ROW)
    with model[1].register_forward_hook(lambda *call: None):
        assert None not in layer_seconds(model, np.zeros((1, 8, 8, 2), np.float32))


def test_a_summary_says_what_is_fused():
    found = md.summary(nn.Sequential(*ROW), (8, 8, 2))
    assert [row.seconds is None for row in found.rows] == [False, True]
    assert "fused" in str(found).splitlines()[5]
    assert found.families()["pooling"]["seconds"] == 0
