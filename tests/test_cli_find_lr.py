"""`minidl find-lr`, and `train.find_lr`."""

import inspect
import re

import numpy as np
import pytest
from command import minidl
from pictures import class_folders
from PIL import Image

import minidl as md
from minidl import cli, data, models, optim, train
from minidl.cli.arguments import OWN
from minidl.errors import ArgumentError
from minidl.train.range_finder import LearningRateRange

QUIET = {"verbose": False}


def test_it_tries_rates_on_what_train_trains():
    found = train.find_lr(batch_size=64, seed=3, **QUIET)
    md.manual_seed(3)
    training, _ = data.digits()
    model = models.create("lenet5", num_classes=10, in_channels=1)
    optimizer = optim.SGD(model.parameters(), 0.02, momentum=0.9, weight_decay=1e-2)
    loader = data.DataLoader(training, 64, shuffle=True)
    expected = train.find_learning_rate(model, optimizer, loader)
    np.testing.assert_array_equal(found.losses, expected.losses)
    assert found.suggested == expected.suggested
    assert 1e-4 < found.suggested < 1
    assert not np.array_equal(train.find_lr(batch_size=64, **QUIET).losses[:1], found.losses[:1])


def test_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    class_folders(tmp_path / "pets", {"cat": 12, "dog": 12}, size=(24, 24))
    arguments = '{"widths": [4, 6], "hidden": 8, "input_size": 24}'
    options = ["--model", "plain_cnn", "--arguments", arguments]
    options += ["--data", "pets", "--size", 24, "--batch-size", 5, "--seed", 2]
    done = minidl("find-lr", *options, "-o", "rates.png")
    assert done.status == 0, done.err
    told, rate = done.out.splitlines()
    assert told.startswith("plain_cnn on 18 images of pets, 5 a step; threads: ")
    found = train.find_lr(
        "plain_cnn", "pets", arguments={"widths": [4, 6], "hidden": 8, "input_size": 24}, size=24,
        batch_size=5, seed=2, **QUIET,
    )  # fmt: skip
    assert rate == (
        f"suggested rate: {found.suggested:.2g}, a tenth of that at which the loss is least "
        "(rates.png shows it)"
    )
    with Image.open("rates.png") as drawn:
        assert drawn.width > 300
    assert "step" in done.err  # a bar


def test_options_are_arguments():
    command = cli._parser()._subparsers._group_actions[0].choices["find-lr"]
    given = {action.dest for action in command._actions} - {*OWN, "help", "output"}
    assert given == {*inspect.signature(train.find_lr).parameters} - {"verbose"}


def test_a_loss_that_never_falls_is_one_line(tmp_path, monkeypatch):
    rising = LearningRateRange(np.geomspace(1e-6, 10, 20), np.arange(1.0, 21.0))
    monkeypatch.setattr(train, "find_lr", lambda **given: rising)
    for options, shown in (
        ([], "draw it with -o"),
        (["-o", tmp_path / "x.png"], f"{tmp_path / 'x.png'} shows it"),
    ):
        done = minidl("find-lr", *options)
        assert (done.status, done.out) == (2, "")
        assert done.err == (
            f"minidl find-lr: the loss never falls, so there is no rate to suggest: {shown}\n"
        )
    assert (tmp_path / "x.png").exists()


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        ({"download": True}, ["--download"],
         ('download= is for MNIST: add data="mnist"', "--download is for MNIST: add --data mnist")),
        ({"data_dir": "x"}, ["--data-dir", "x"],
         ('data_dir= is for MNIST and CIFAR-10: add data="mnist"',
          "--data-dir is for MNIST and CIFAR-10: add --data mnist")),
        ({"size": 32}, ["--size", 32],
         ("size= is for images of your own, not for digits",
          "--size is for images of your own, not for digits")),
    ],
)  # fmt: skip
def test_what_does_not_go_together(arguments, options, said):
    with pytest.raises(ArgumentError, match=re.escape(f"train.find_lr: {said[0]}")):
        train.find_lr(**arguments, **QUIET)
    assert minidl("find-lr", *options).err == f"minidl find-lr: {said[1]}\n"


def test_a_picture_that_cannot_be_written_is_refused_at_once(monkeypatch):
    monkeypatch.setattr(train, "find_lr", lambda **given: pytest.fail("it trains"))
    for name, message in (("x.txt", "--output expected a .png"), ("no/x.png", "no folder no")):
        done = minidl("find-lr", "-o", name)
        assert (done.status, done.out) == (2, "")
        assert message in done.err
