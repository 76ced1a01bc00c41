"""Callbacks: who is told what, in which order, however training ends; and the progress bar."""

import re

import pytest
from small import a_loader, a_model, an_optimizer

from minidl.train import Callback, ProgressBar, Trainer


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
    a_trainer(Callback()).fit(a_loader(), 1, progress=False)


def test_progress_is_a_bar_on_stderr_and_a_line_an_epoch(capsys):
    trainer = a_trainer()
    history = trainer.fit(a_loader(), 2, a_loader(3))
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines == repr(history).splitlines()
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
