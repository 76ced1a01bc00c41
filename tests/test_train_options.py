"""What the options of `train.train` do, each against a formula or another way to the same."""

import re
from pathlib import Path

import numpy as np
import pytest
from command import minidl, read_json, weights
from interrupting import interrupted_after
from pictures import class_folders

import minidl as md
from minidl import data, models, train
from minidl.train import Trainer
from minidl.train.training_data import hold_out

TINY = {"widths": [4, 6], "hidden": 8}  # of plain_cnn
STILL = 1e-30  # a learning rate that moves no weight, not even one of 0 by much
DIGITS = 1442  # to train on


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def pets(here):
    class_folders(here / "pets", {"ant": 24, "bee": 30}, size=(32, 32))
    return "pets"


def trained(*given, **arguments):
    return train.train(*given, output=arguments.pop("output", "out"), verbose=False, **arguments)


def history(run):
    return read_json(run.folder / "history.json")["epochs"]


def state(run):
    return models.load(run.folder / "weights.h5").state_dict()


def a_step(**arguments):
    """The weights of LeNet-5 before and after one step on all digits."""
    md.manual_seed(0)
    before = models.lenet5().state_dict()
    return before, state(trained(epochs=1, batch_size=DIGITS, **arguments))


# The optimizer


def test_lion_moves_each_weight_by_the_rate(here):
    before, after = a_step(optimizer="lion", lr=0.01)
    moved = np.concatenate([abs(after[name] - before[name]).ravel() for name in before])
    assert set(np.round(moved, 6)) <= {0, np.float32(0.01)}
    assert (moved > 0.009).mean() > 0.8


@pytest.mark.parametrize("name", ["sgd", "lion"])
def test_weight_decay_shrinks_weights(name, here):
    before, plain = a_step(optimizer=name, lr=0.01, weight_decay=0)
    _, decayed = a_step(optimizer=name, lr=0.01, weight_decay=0.5)
    for key, weight in before.items():
        np.testing.assert_allclose(plain[key] - decayed[key], 0.005 * weight, atol=1e-7)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("SGD", {"name": "sgd", "lr": 0.02, "weight_decay": 0.01, "momentum": 0.9}),
        ("adamw", {"name": "adamw", "lr": 0.001, "weight_decay": 0.01}),
        ("rmsprop", {"name": "rmsprop", "lr": 0.01, "weight_decay": 0.0}),
    ],
)
def test_the_rates_that_nobody_gave(name, expected, here):
    trained(optimizer=name, epochs=1, batch_size=DIGITS)
    assert read_json(here / "out" / "settings.json")["optimizer"] == expected


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--optimizer", "adm"], "--optimizer must be one of .*, got 'adm': did you mean adam.*?"),
        (["--schedule", "cosin"], "--schedule must be one of .* did you mean cosine.*"),
        (["--log", "csv,tensor"], "--log must be one of csv, tensorboard, got 'tensor': did .*"),
        (["--label-smoothing", 1], "--label-smoothing must be a number from 0 to below 1, got 1.0"),
        (["--workers", -1], "--workers must be a whole number from 0 up, got -1"),
        (["--weights", "nothing.h5"], "minidl could not read nothing.h5: No such .*"),
        (["--weights", "imagenet"], ".* no weights and no file are called 'imagenet': .*"),
    ],
)
def test_what_is_refused(options, said, here):
    done = minidl("train", *options)
    assert (done.status, done.out) == (2, "")
    assert re.fullmatch(f"minidl train: {said}\n", done.err), done.err
    assert not list(here.iterdir())


# The schedule


def rates(**arguments):
    return [row["lr"] for row in history(trained(batch_size=DIGITS // 2, **arguments))]


def test_schedules(here):
    assert rates(epochs=2, schedule="constant", lr=0.01) == [0.01, 0.01]
    assert rates(epochs=2, schedule="cosine", lr=0.01) == pytest.approx([0.01, 0.005])
    found = rates(epochs=10, schedule="onecycle", lr=0.01)  # 20 steps, the sixth the highest
    assert found.index(max(found)) == 2
    assert found[-1] == pytest.approx(0.01 / 25 / 1e4)


def test_the_rate_falls_on_a_plateau(pets):
    """After more than ten epochs without a validation loss that is lower by 1 in 10,000."""
    rows = history(trained("lenet5", pets, epochs=60, schedule="plateau", lr=0.05))
    expected, lr, best, waited = [], 0.05, np.inf, 0
    for row in rows:
        expected.append(lr)
        better = row["val_loss"] < best * (1 - 1e-4)
        best, waited = (row["val_loss"], 0) if better else (best, waited + 1)
        if waited > 10:
            lr, waited = lr / 10, 0
    assert [row["lr"] for row in rows] == pytest.approx(expected)
    assert expected[-1] < 0.05


def test_a_cycle_with_batches_gathered(here):
    """OneCycleLR refuses a step more than it was made for, and ends only after the last."""
    found = rates(epochs=3, schedule="onecycle", lr=0.01, accumulate=2, optimizer="adagrad")
    assert found[-1] == pytest.approx(0.01 / 25 / 1e4)


# The loss


def by_hand(smoothing, weigh):
    """The loss of the untrained LeNet-5 on the digits, by the definition, in float64."""
    md.manual_seed(0)
    (images, labels), classes = data.digits()[0].arrays, 10
    scores = models.lenet5()(images).data.astype(np.float64)
    logs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    targets = np.eye(classes)[labels] * (1 - smoothing) + smoothing / classes
    w = np.ones(classes)
    if weigh:
        w = len(labels) / (classes * np.bincount(labels))
    return -(w * targets * logs).sum() / w[labels].sum()


def test_the_loss_with_smoothing_and_weights(here):
    plain = by_hand(0, False)
    for smoothing, weigh in ((0.3, False), (0, True), (0.3, True)):
        run = trained(
            epochs=1, batch_size=DIGITS, lr=STILL, label_smoothing=smoothing, class_weights=weigh
        )
        expected = by_hand(smoothing, weigh)
        assert history(run)[0]["loss"] == pytest.approx(expected, rel=1e-6)
        assert abs(expected - plain) > 1e-5 * plain
        test = read_json(run.folder / "history.json")["test"]  # without either
        assert test["loss"] == pytest.approx(run.results["approaches"][0]["loss"], rel=1e-5)


# Batches


def test_two_small_batches_are_a_large_one(pets):
    steps = {"epochs": 2, "optimizer": "sgd", "lr": 0.01}
    small = state(trained("lenet5", pets, batch_size=8, accumulate=2, **steps))
    large = state(trained("lenet5", pets, batch_size=16, **steps))
    other = state(trained("lenet5", pets, batch_size=8, **steps))
    for name, weight in large.items():
        np.testing.assert_allclose(small[name], weight, atol=1e-6)
    assert max(abs(other[name] - large[name]).max() for name in large) > 1e-4


def test_workers_change_nothing(pets, monkeypatch):
    seen, fit = [], Trainer.fit

    def spy(trainer, loader, *more):
        seen.append(loader.workers)
        return fit(trainer, loader, *more)

    monkeypatch.setattr(Trainer, "fit", spy)
    for workers in (None, 0, 3):
        trained("plain_cnn", pets, arguments=TINY, epochs=1, augment=True, workers=workers,
                output=f"{workers}")  # fmt: skip
    assert seen == [2, 0, 3]
    first, *others = (weights(Path(name)) for name in ("None", "0", "3"))
    assert others == [first, first]


# What is chosen by


def labelled(counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    return data.ArrayDataset(np.zeros((len(labels), 1), np.float32), labels)


def test_a_tenth_of_each_class_is_held_out():
    rest, held = hold_out(labelled([40, 100, 60]), seed=1)
    assert np.bincount(held.labels).tolist() == [4, 10, 6]
    assert sorted([*rest.indices, *held.indices]) == list(range(200))
    again, other = hold_out(labelled([40, 100, 60]), 1), hold_out(labelled([40, 100, 60]), 2)
    assert again[1].indices.tolist() == held.indices.tolist() != other[1].indices.tolist()


def test_classes_that_are_small():
    for seed in range(20):
        rest, held = hold_out(labelled([1, 3, 8, 2, 6]), seed)
        assert set(rest.labels) == set(range(5))
        assert 1 <= len(held) <= 2
    whole = labelled([2, 3])
    assert hold_out(whole, 0) == (whole, None)


def best_and_last(run):
    losses = [row["val_loss"] for row in history(run)]
    return 1 + int(np.argmin(losses)), len(losses)


def test_the_best_weights_are_saved_not_the_last(pets):
    steps = {"arguments": TINY, "schedule": "constant", "lr": 0.3}
    run = trained("plain_cnn", pets, epochs=4, **steps, output="a")
    best, last = best_and_last(run)
    assert best < last
    short = trained("plain_cnn", pets, epochs=best, **steps, output="b")
    assert weights(run.folder) == weights(short.folder)
    assert run.results["approaches"][0]["best_epoch"] == best
    found = [read_json(each.folder / "history.json")["test"] for each in (run, short)]
    assert found[0] == found[1]


def test_the_best_weights_survive_an_interruption(pets):
    """The best epoch is before the interruption, and the weights after it go on from the last."""
    steps = {"arguments": TINY, "schedule": "constant", "lr": 0.3, "epochs": 4, "resume": True}
    whole = trained("plain_cnn", pets, **steps, output="whole")
    assert best_and_last(whole)[0] <= 2
    with interrupted_after(2):
        trained("plain_cnn", pets, **steps, output="cut")
    run = trained("plain_cnn", pets, **steps, output="cut")
    timeless = [
        [{name: value for name, value in row.items() if name != "seconds"} for row in history(each)]
        for each in (whole, run)
    ]
    assert timeless[0] == timeless[1]
    assert weights(whole.folder) == weights(run.folder)


def test_patience(here):
    run = trained(epochs=9, batch_size=500, lr=STILL, patience=2)
    assert [row["epoch"] for row in history(run)] == [1, 2, 3]
    assert run.results["count"] == {"train": 1298, "validation": 355, "chosen_by": 144}


def test_the_digits_are_all_trained_on(here):
    run = trained(epochs=1, batch_size=DIGITS)
    assert run.results["count"] == {"train": DIGITS, "validation": 355}
    assert "val_loss" not in history(run)[0]
    assert run.results["approaches"][0]["best_epoch"] is None


def test_patience_wants_images(here):
    class_folders(here / "few", {"ant": 3, "bee": 3}, size=(32, 32))
    done = minidl("train", "--data", "few", "--patience", 1)
    assert done.err.startswith("minidl train: --patience needs images to validate on, and 4 to ")
    done = minidl("train", "--data", "few", "--epochs", 1)
    assert done.status == 0, done.err
    assert "4 images to train on, 2 to test on; " in done.out


def test_three_parts(here):
    for part, count in {"train": 12, "val": 5, "test": 4}.items():
        class_folders(here / "split" / part, {"ant": count, "bee": count}, size=(32, 32))
    bad = here / "split" / "test" / "bee" / "00.png"
    bad.write_bytes(b"")
    done = minidl("train", "--data", "split", "--epochs", 1, "-o", "out")
    assert done.status == 0, done.err
    assert "24 images to train on, 10 to validate on, 7 to test on; " in done.out
    results = read_json(here / "out" / "results.json")
    assert results["count"] == {"train": 24, "validation": 7, "chosen_by": 10}
    assert [each["file"] for each in results["skipped"]] == ["test/bee/00.png"]


# Weights to start with


def test_the_same_classes_keep_the_head(pets):
    first = trained("plain_cnn", pets, arguments=TINY, epochs=1, output="a")
    run = trained("plain_cnn", pets, weights="a/weights.h5", epochs=1, lr=STILL, weight_decay=0)
    for name, weight in state(first).items():
        if "running" not in name:
            np.testing.assert_allclose(state(run)[name], weight, atol=1e-20, rtol=0, err_msg=name)
    assert read_json(run.folder / "settings.json")["weights"] == "a/weights.h5"


def test_other_classes_have_a_new_head_and_the_old_preparation(pets, here):
    first = trained("plain_cnn", pets, arguments=TINY, epochs=1, output="a")
    class_folders(here / "more", {"cat": 12, "dog": 12, "elk": 12}, size=(50, 50))
    run = trained("plain_cnn", "more", weights=first.folder / "weights.h5", epochs=1, lr=STILL,
                  weight_decay=0)  # fmt: skip
    old, new = (models.load(each.folder / "weights.h5") for each in (first, run))
    assert new.classes == ["cat", "dog", "elk"]
    assert new.image_format == old.image_format
    before, after = old.state_dict(), new.state_dict()
    same = [n for n in before if before[n].shape == after[n].shape and "running" not in n]
    assert {n.split(".")[-1] for n in before if n not in same and "running" not in n} == {
        "weight", "bias",
    }  # fmt: skip
    for name in same:
        np.testing.assert_allclose(after[name], before[name], atol=1e-20, rtol=0, err_msg=name)


def test_weights_that_come_with_minidl(here):
    shipped = models.create("lenet5", weights="mnist").state_dict()
    run = trained(weights="mnist", epochs=1, batch_size=DIGITS, lr=STILL, weight_decay=0)
    for name, weight in shipped.items():
        np.testing.assert_allclose(state(run)[name], weight, atol=1e-20, rtol=0, err_msg=name)


def test_weights_that_do_not_fit(pets):
    trained("plain_cnn", pets, arguments=TINY, epochs=1, output="a")
    for options, said in (
        (["--weights", "mnist"], "--weights are of a network for images of 1 channels, the data "),
        (["--weights", "a/weights.h5"], "a/weights.h5: these aren't weights of models.lenet5 "),
        (["--weights", "a/weights.h5", "--model", "plain_cnn", "--arguments", '{"hidden": 9}'],
         "--weights are of plain_cnn made with "),
    ):  # fmt: skip
        done = minidl("train", "--data", pets, *options, "-o", "out")
        assert done.status == 2
        assert said in done.err
