"""Gradients of several batches in one step, and schedules that count steps."""

import numpy as np
import pytest
from small import CLASSES, FEATURES, a_model, arrays, assert_same_bits, everything

import minidl as md
from minidl import nn, optim
from minidl.errors import ArgumentError, StateError
from minidl.optim import lr_scheduler
from minidl.train import Callback, Trainer

ROWS = 22


def a_network():
    """Without batch normalization or dropout."""
    md.manual_seed(1)
    return nn.Sequential(nn.Linear(FEATURES, 8, activation="tanh"), nn.Linear(8, CLASSES))


def cut(size, rows=ROWS, ignored=None):
    """Batches; of each whole one, a quarter of the labels is ignored."""
    x, labels = arrays(rows)
    if ignored is not None:
        labels[::4] = ignored
    return [(x[i : i + size], labels[i : i + size]) for i in range(0, rows, size)]


def fitted(batches, accumulate=1, loss=None, epochs=3, make=None, callbacks=(), **parts):
    model = a_network()
    make = make or (lambda model: optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
    trainer = Trainer(
        model, make(model), loss, callbacks=callbacks, accumulate=accumulate, **parts
    )  # fmt: skip
    trainer.fit(batches, epochs, progress=False)
    return trainer


LOSSES = {
    "mean": None,
    "weights of classes": nn.CrossEntropyLoss(np.array([0.2, 1.0, 3.0], np.float32)),
    "ignored": nn.CrossEntropyLoss(ignore_index=-100),
    "both": nn.NLLLoss(np.array([0.2, 1.0, 3.0], np.float32), ignore_index=-100),
    "own": lambda outputs, labels: nn.functional.cross_entropy(outputs, labels),
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize(("small", "accumulate"), [(4, 2), (3, 4), (2, 11), (5, 100)])
def test_the_same_as_large_batches(small, accumulate, loss):
    """Also where the last batch of an epoch is smaller, and the last step takes fewer of them."""
    ignored = getattr(loss, "ignore_index", None)
    got = fitted(cut(small, ignored=ignored), accumulate, loss)
    large = fitted(cut(small * accumulate, ignored=ignored), 1, loss)
    for name, array in large.model.state_dict().items():
        np.testing.assert_allclose(got.model.state_dict()[name], array, rtol=2e-5, atol=1e-6)
    assert len({*map(float, got.history["loss"])}) == 3


def test_regression_and_a_part_without_a_gradient():
    """A parameter that a batch doesn't reach has the gradient 0 there."""

    class Net(nn.Module):
        def __init__(self):
            self.a, self.b = nn.Linear(3, 1), nn.Linear(3, 1)

        def forward(self, x):
            return self.a(x) + self.b(x) if x[0, 0] > 0 else self.a(x)

    random = np.random.default_rng(0)
    x, y = random.standard_normal((6, 3)).astype(np.float32), np.ones((6, 1), np.float32)
    x[:, 0] = [1, 1, -1, -1, -1, -1]
    md.manual_seed(0)
    model = Net()
    wanted = {}
    for start, share in ((0, 1 / 3), (2, 1 / 3), (4, 1 / 3)):
        model.zero_grad()
        nn.MSELoss()(model(x[start : start + 2]), y[start : start + 2]).backward()
        for name, p in model.named_parameters():
            if p.grad is not None:
                wanted[name] = wanted.get(name, 0) + share * p.grad
    before = {name: p.data.copy() for name, p in model.named_parameters()}
    trainer = Trainer(model, optim.SGD(model.parameters(), lr=1.0), nn.MSELoss(), accumulate=3)
    trainer.fit([(x[i : i + 2], y[i : i + 2]) for i in (0, 2, 4)], 1, progress=False)
    for name, p in model.named_parameters():
        np.testing.assert_allclose(before[name] - p.data, wanted[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("accumulate", [2, 4])
def test_captured_steps_give_the_same_bits(accumulate):
    def run(capture):
        md.config.capture = capture
        try:
            return fitted(cut(2), accumulate, epochs=4)
        finally:
            md.config.capture = True

    captured, eager = run(True), run(False)
    assert_same_bits(captured.model.state_dict(), eager.model.state_dict())
    assert captured._update.refused is None
    assert any(program.proved for kept in captured._update._programs.values() for program in kept)


def test_an_epoch_makes_as_many_steps():
    class Count(Callback):
        backward = batches = 0

        def on_backward_end(self, trainer):
            self.backward += 1

        def on_batch_end(self, trainer, means):
            self.batches += 1

    count = Count()
    fitted(cut(2), 4, epochs=2, callbacks=[count])  # 11 batches: 4, 4 and 3
    assert (count.backward, count.batches) == (6, 22)


class Stop(Exception):  # noqa: N818
    pass


class SaveAndStop(Callback):
    def __init__(self, path, at):
        self.path, self.at, self.batches = path, at, 0

    def on_batch_end(self, trainer, means):
        self.batches += 1
        if self.batches == self.at:
            trainer.save(self.path)
            raise Stop


def full(accumulate=4, callbacks=()):
    model = a_model()
    optimizer = optim.Adam(model.parameters())
    schedule = lr_scheduler.OneCycleLR(optimizer, 0.05, 9)
    return Trainer(
        model, optimizer, None, ["accuracy"], schedule, optim.EMA(model, 0.9), callbacks,
        accumulate=accumulate,
    )  # fmt: skip


@pytest.mark.parametrize("at", [11, 13, 15, 16, 22])
def test_resumes_to_the_bit_within_a_step(at, tmp_path):
    straight = full()
    straight.fit(cut(2), 3, progress=False)
    with pytest.raises(Stop):
        full(callbacks=[SaveAndStop(tmp_path / "c.h5", at)]).fit(cut(2), 3, progress=False)
    md.manual_seed(99)
    again = full().resume(tmp_path / "c.h5")
    again.fit(cut(2), 3, progress=False)
    assert everything(again) == everything(straight)


def test_another_number_of_batches_is_refused_within_a_step(tmp_path):
    with pytest.raises(Stop):
        full(callbacks=[SaveAndStop(tmp_path / "c.h5", 13)]).fit(cut(2), 3, progress=False)
    other = full(accumulate=2)
    before = everything(other)
    with pytest.raises(
        StateError, match="is 2 batches into a step of 4: give Trainer accumulate=4"
    ):
        other.resume(tmp_path / "c.h5")
    assert everything(other) == before


def test_a_pass_that_was_left_is_forgotten():
    interrupted = fitted(cut(2), 4, epochs=0)
    interrupted.callbacks = [SaveAndStop("unused", None)]
    interrupted.callbacks[0].at = -1
    straight = fitted(cut(2), 4, epochs=1)

    def fail(model, inputs, output):
        if fail.left == 0:
            raise KeyboardInterrupt
        fail.left -= 1

    fail.left = 2
    with interrupted.model.register_forward_hook(fail), pytest.raises(KeyboardInterrupt):
        interrupted.fit(cut(2), 1, progress=False)
    interrupted.fit(cut(2), 1, progress=False)
    assert_same_bits(interrupted.model.state_dict(), straight.model.state_dict())


# Schedules that count steps


def test_a_schedule_by_steps_is_stepped_after_each():
    class Note(Callback):
        def __init__(self):
            self.rates = []

        def on_backward_end(self, trainer):
            self.rates.append(trainer.optimizer.param_groups[0]["lr"])

    for accumulate, steps in ((1, 22), (4, 6)):
        note, model = Note(), a_network()
        optimizer = optim.SGD(model.parameters(), lr=1.0)
        schedule = lr_scheduler.ExponentialLR(optimizer, 0.9)
        schedule.per_step = True
        trainer = Trainer(
            model, optimizer, scheduler=schedule, callbacks=[note], accumulate=accumulate
        )  # fmt: skip
        trainer.fit(cut(2), 2, progress=False)
        np.testing.assert_allclose(note.rates, 0.9 ** np.arange(steps))
        assert schedule.last_epoch == steps
        assert trainer.history["lr"][0] == pytest.approx(0.9 ** (steps // 2))


def test_too_short_a_schedule_is_refused_before_training():
    model = a_network()
    optimizer = optim.SGD(model.parameters(), lr=1.0)
    schedule = lr_scheduler.OneCycleLR(optimizer, 0.1, 21)
    before = model.state_dict()
    trainer = Trainer(model, optimizer, scheduler=schedule)
    with pytest.raises(ArgumentError, match="total_steps=21, the training would make 22 steps"):
        trainer.fit(cut(2), 2, progress=False)
    assert_same_bits(model.state_dict(), before)
    trainer = Trainer(model, optimizer, scheduler=lr_scheduler.OneCycleLR(optimizer, 0.1, 22))
    trainer.fit(cut(2), 1, progress=False)
    trainer.fit(cut(2), 2, progress=False)


@pytest.mark.parametrize("accumulate", [0, -1, 1.5, True, "2", None])
def test_what_is_no_number_of_batches(accumulate):
    model = a_network()
    with pytest.raises(ArgumentError, match="accumulate must be a whole number from 1 up"):
        Trainer(model, optim.Adam(model.parameters()), accumulate=accumulate)


def test_a_sum_is_refused():
    model, loss = a_network(), nn.CrossEntropyLoss(reduction="sum")
    with pytest.raises(ArgumentError, match=r'reduction=.sum.: give it reduction="mean"'):
        Trainer(model, optim.Adam(model.parameters()), loss, accumulate=2)


def test_a_plateau_by_steps_is_refused():
    model = a_network()
    optimizer = optim.Adam(model.parameters())
    schedule = lr_scheduler.ReduceLROnPlateau(optimizer)
    schedule.per_step = True
    with pytest.raises(
        ArgumentError, match=r"ReduceLROnPlateau looks at a number .* once an epoch"
    ):
        Trainer(model, optimizer, scheduler=schedule)
