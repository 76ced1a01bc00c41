"""Sums of gradients begin while the backward pass still runs, which tells of complete ones."""

import numpy as np
import pytest

import minidl as md
from minidl import nn, optim, train
from minidl.autograd.modes import completed
from minidl.distributed.world import World, world
from minidl.train import sums


def test_gradients_are_told_once_and_complete():
    first, second = (
        md.tensor(np.float64(values), requires_grad=True) for values in ([1, 2], [3, 4])
    )
    told = []

    def begin():
        return lambda leaf, grad: told.append((leaf, grad.copy()))

    with completed(begin):
        x = first * second
        (x * first).sum().backward()  # first is used twice
    assert len(told) == 2
    assert {id(leaf) for leaf, _ in told} == {id(first), id(second)}
    for leaf, grad in told:
        np.testing.assert_array_equal(grad, leaf.grad)
    np.testing.assert_array_equal(first.grad, 2 * first.data * second.data)


def test_nobody_is_told_of_a_gradient_that_is_asked_for():
    x = md.tensor(np.float64([1, 2]), requires_grad=True)
    with completed(lambda: pytest.fail("told")):
        (found,) = md.grad((x * x).sum(), x)
    np.testing.assert_array_equal(found.data, [2, 4])


@pytest.mark.parametrize("capture", [True, False])
def test_sums_begin_in_the_backward_pass(capture, monkeypatch):
    """All buckets of gradients but the first layer's are on their way before it ends."""
    monkeypatch.setattr(sums, "BUCKET", 1)  # a bucket a parameter
    monkeypatch.setattr(world(), "local", False)
    monkeypatch.setattr(md.config, "capture", capture)
    events = []
    begin, backward = World.begin_sum, train.Trainer.gradients

    def begin_sum(self, parts, held):
        events.append("sum")
        begin(self, parts, held)

    def gradients(self, x, target):
        found = backward(self, x, target)
        events.append("end")
        return found

    monkeypatch.setattr(World, "begin_sum", begin_sum)
    monkeypatch.setattr(train.Trainer, "gradients", gradients)
    md.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5, activation="relu"), nn.Linear(5, 3))
    trainer = train.Trainer(model, optim.SGD(model.parameters(), lr=0.1), shards=2)
    x = np.random.default_rng(0).standard_normal((8, 6)).astype(np.float32)
    trainer.fit([(x, np.arange(8) % 3)] * 6, 1, progress=False)
    assert events[-6:] == ["end", *["sum"] * 4, "end"]
