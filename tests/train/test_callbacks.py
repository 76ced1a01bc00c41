"""Callbacks: who is told what, in which order, however training ends; and the progress bar."""

import re

import numpy as np
import pytest
from small import a_loader, a_model, an_optimizer

import minidl as md
from minidl.kernels import _notice
from minidl.train import Callback, ProgressBar, Trainer, callbacks


class Recorder(Callback):
    """Notes its calls in a list that several may share; raises `error` in the call `at`."""

    def __init__(self, name="a", calls=None, at=None, error=RuntimeError):
        self.name, self.calls = name, [] if calls is None else calls
        self.at, self.error = at, error

    def note(self, call, *facts):
        self.calls.append((self.name, call, *facts))
        if call == self.at:
            raise self.error(call)

    def on_fit_begin(self, trainer, batches):
        self.note("begin", trainer.epoch, batches)

    def on_batch_end(self, trainer, means):
        self.note("batch", trainer.epoch, dict(means))

    def on_epoch_end(self, trainer, row):
        self.note("epoch", trainer.epoch, dict(row))

    def on_fit_end(self, trainer):
        self.note("end", trainer.epoch)


def a_trainer(*callbacks):
    model = a_model()
    return Trainer(model, an_optimizer(model), metrics=["accuracy"], callbacks=callbacks)


def test_calls_come_in_order():
    recorder = Recorder()
    trainer = a_trainer(recorder)
    trainer.fit(a_loader(), 2, a_loader(3), progress=False)
    calls = [call[1:] for call in recorder.calls]
    assert [call[0] for call in calls] == ["begin", *(["batch"] * 6 + ["epoch"]) * 2, "end"]
    assert calls[0] == ("begin", 0, 12)
    assert [call[1] for call in calls[1:7]] == [0] * 6  # epochs done so far
    assert [call[1] for call in calls[8:14]] == [1] * 6
    assert [calls[7], calls[14]] == [("epoch", i + 1, trainer.history.rows[i]) for i in range(2)]
    assert calls[-1] == ("end", 2)


def test_a_batch_brings_the_means_of_the_epoch_so_far():
    recorder = Recorder()
    trainer = a_trainer(recorder)
    row = trainer.fit(a_loader(), 1, progress=False).rows[0]
    means = [call[3] for call in recorder.calls if call[1] == "batch"]
    assert all(list(mean) == ["loss", "accuracy"] for mean in means)
    assert means[-1] == {name: row[name] for name in ("loss", "accuracy")}
    sizes = (4, 4, 4, 4, 4, 2)
    right, done = 0, 0
    for mean, size in zip(means, sizes):
        done += size
        batch_right = mean["accuracy"] * done - right
        assert batch_right == pytest.approx(round(batch_right))
        assert -1e-9 < batch_right < size + 1e-9
        right = mean["accuracy"] * done


def test_a_later_fit_announces_what_is_left():
    recorder = Recorder()
    trainer, loader = a_trainer(recorder), a_loader()
    for epochs in (1, 4, 4):
        trainer.fit(loader, epochs, progress=False)
    begun = [call[2:] for call in recorder.calls if call[1] == "begin"]
    assert begun == [(0, 6), (1, 18), (4, 0)]
    assert [call[1] for call in recorder.calls[-2:]] == ["begin", "end"]


def test_callbacks_are_told_one_after_the_other():
    calls = []
    a_trainer(Recorder("a", calls), Recorder("b", calls)).fit(a_loader(4), 2, progress=False)
    assert [call[:2] for call in calls] == [
        (name, call) for call in ("begin", *("batch", "epoch") * 2, "end") for name in "ab"
    ]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("at", ["batch", "epoch"])
def test_the_end_is_told_after_an_exception(at, error):
    calls = []
    first, second = Recorder("a", calls, at, error), Recorder("b", calls)
    with pytest.raises(error):
        a_trainer(first, second).fit(a_loader(), 2, progress=False)
    assert [call[:2] for call in calls[-3:]] == [("a", at), ("a", "end"), ("b", "end")]


def test_the_end_is_told_to_those_who_were_told_the_beginning():
    calls = []
    callbacks = [Recorder("a", calls), Recorder("b", calls, "begin"), Recorder("c", calls)]
    with pytest.raises(RuntimeError, match="begin"):
        a_trainer(*callbacks).fit(a_loader(), 2, progress=False)
    assert [call[:2] for call in calls] == [("a", "begin"), ("b", "begin"), ("a", "end")]


def test_the_end_is_told_to_all_even_if_one_raises():
    calls = []
    callbacks = [Recorder("a", calls, "end"), Recorder("b", calls)]
    with pytest.raises(RuntimeError, match="end"):
        a_trainer(*callbacks).fit(a_loader(), 1, progress=False)
    assert [call[:2] for call in calls[-2:]] == [("a", "end"), ("b", "end")]


def test_training_can_go_on_after_an_interrupt():
    """The epoch that was cut short doesn't count, and is trained again."""
    stop = Recorder(at="batch", error=KeyboardInterrupt)
    trainer = a_trainer(stop)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(a_loader(), 2, progress=False)
    assert (trainer.epoch, len(trainer.history)) == (0, 0)
    stop.at = None
    assert trainer.fit(a_loader(), 2, progress=False)["epoch"] == [1, 2]


def test_a_bare_callback_does_nothing():
    without, with_one = a_trainer(), a_trainer(Callback())
    for trainer in (without, with_one):
        md.manual_seed(3)
        trainer.fit(a_loader(), 1, progress=False)
    for one, other in zip(without.model.parameters(), with_one.model.parameters(), strict=True):
        np.testing.assert_array_equal(one.data, other.data)
    assert without.history["loss"] == with_one.history["loss"]


def test_progress_is_a_bar_on_stderr_and_a_line_an_epoch(capsys):
    trainer = a_trainer()
    history = trainer.fit(a_loader(), 2, a_loader(3))
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines == str(history).splitlines()
    assert len(repr(history).splitlines()) == 1  # what Python shows after the call
    for number, line in enumerate(lines, 1):
        assert re.fullmatch(
            rf"epoch   {number}  loss \d\.\d{{4}}  accuracy \d\.\d{{4}}  val_loss \d\.\d{{4}}  "
            r"val_accuracy \d\.\d{4}  \(\d+\.\d s\)",
            line,
        )
    last = captured.err.split("\r")[-1]
    assert re.match(r"epoch 2: 100%\|.*\| 12/12 \[\d\d:\d\d<\d\d:\d\d, ", last)
    row = history.rows[-1]
    assert f"loss={row['loss']:.4f}, accuracy={row['accuracy']:.4f}]" in last
    assert captured.err.endswith("\n")  # closed, so that what comes next has a line to itself


def test_the_bar_is_closed_after_an_exception(capsys):
    with pytest.raises(RuntimeError):
        a_trainer(Recorder(at="epoch")).fit(a_loader(), 2)
    captured = capsys.readouterr()
    assert " 6/12 [" in captured.err.split("\r")[-1]
    assert captured.err.endswith("\n")


def test_without_progress_nothing_is_written(capsys):
    a_trainer().fit(a_loader(), 1, progress=False)
    assert capsys.readouterr() == ("", "")


def test_the_bar_can_be_one_of_the_callbacks(capsys):
    bar = ProgressBar()
    a_trainer(bar).fit(a_loader(), 1, progress=False)
    written = capsys.readouterr().err
    assert " 6/6 [" in written
    assert written.endswith("\n")  # closed by the Trainer, not by going out of scope


class Clock:
    """What stands in for the time: it passes when it is told to."""

    def __init__(self):
        self.now = 1000.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    found = Clock()
    monkeypatch.setattr(callbacks, "time", found)
    monkeypatch.setattr(_notice, "time", found)
    monkeypatch.setattr(_notice, "_watch", _notice._Watch())
    _notice.keep_quiet()
    return found


class Training:
    """A training of so many batches, whose bar is looked at by this file alone."""

    epoch, stopped = 0, None

    def __init__(self, clock, batches):
        self.clock, self.shown = clock, ProgressBar()
        self.shown.on_fit_begin(self, batches)

    def batch(self, seconds, compiling=()):
        for one in compiling:
            with _notice.compiling("kernel"):
                self.clock.now += one
        self.clock.now += seconds
        self.shown.on_batch_end(self, {"loss": 1.0})

    def left(self):
        """The seconds left, as they are written."""
        text = re.search(r"<([\d:]+|\?),", str(self.shown._bar))[1]
        if text == "?":
            return None
        return sum(int(part) * 60**i for i, part in enumerate(reversed(text.split(":"))))


def test_the_time_left_is_that_of_the_batches_without_the_first_and_without_compiling(clock):
    training = Training(clock, 1000)
    assert training.left() is None
    training.batch(0.5, compiling=[20, 15])
    assert training.left() is None
    training.batch(0.1)
    assert training.left() == 99  # 998 batches, 0.1 s each
    training.batch(0.3, compiling=[30])
    assert training.left() == 199  # 997 batches, 0.2 s each
    for _ in range(100):
        training.batch(0.2)
    assert training.left() == 179  # 897 batches
    training.shown.on_fit_end(training)


def test_validation_is_part_of_the_time_left(clock):
    training = Training(clock, 20)
    for _ in range(10):
        training.batch(0.5)
    clock.now += 5
    training.batch(0.5)
    assert training.left() == 9  # 9 batches of (10 * 0.5 + 5) / 10 s
    training.shown.on_fit_end(training)


def test_a_clock_that_stands_still_leaves_the_time_left_open(clock):
    training = Training(clock, 20)
    for _ in range(3):
        training.batch(0)
    assert training.left() is None
    training.shown.on_fit_end(training)


def test_while_kernels_are_compiled_the_bar_says_so(clock, capsys):
    training = Training(clock, 4)
    for number, title in enumerate(["compiling kernels (1)", "epoch 1"]):
        if number:
            training.batch(1)
        else:
            with _notice.compiling("kernel"):
                clock.now += 1
        assert str(training.shown._bar).startswith(f"{title}: ")
    training.batch(1, compiling=[1] * 25)  # in a log file, a line in ten seconds
    training.shown.on_fit_end(training)
    written = capsys.readouterr().err
    assert re.findall(r"compiling kernels \((\d+)\)", written) == ["1", "10", "20"]
    with _notice.compiling("kernel"):
        pass
    assert "compiling" not in capsys.readouterr().err
