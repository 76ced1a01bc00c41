"""`train.train` for labels and for numbers, on squares whose colour and place are asked for."""

import numpy as np
import pytest
from command import minidl
from interrupting import interrupted_after
from PIL import Image
from small import bits

import minidl as md
from minidl import models, train
from minidl.data.dataset import LabelledImages
from minidl.errors import ArgumentError, FileFormatError
from minidl.train.showing import LivePage
from minidl.train.training_data import hold_out

COUNT, SIZE = 60, 32
COLUMNS = {"labels": ["red", "right"], "numbers": ["place", "grams"]}


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    """A folder of pictures of a square, with tables of what can be told of it."""
    folder, rng = tmp_path_factory.mktemp("squares"), np.random.default_rng(0)
    tables = {task: ["file," + ",".join(names)] for task, names in COLUMNS.items()}
    for i in range(COUNT):
        place, red = int(rng.integers(0, SIZE - 8)), int(rng.integers(2))
        picture = rng.integers(0, 30, (SIZE, SIZE, 3), np.uint8)
        picture[10:20, place : place + 8, 0 if red else 2] = 220
        Image.fromarray(picture).save(folder / f"{i}.png")
        tables["labels"].append(f"{i}.png,{red},{int(place > SIZE // 2 - 4)}")
        tables["numbers"].append(f"{i}.png,{place},{9000 + 100 * place}")
    for task, lines in tables.items():
        (folder / f"{task}.csv").write_text("\n".join(lines))
    return folder


def trained(squares, task, output, **settings):
    recipe = {"epochs": 12, "optimizer": "adamw", "lr": 3e-3, "batch_size": 8, **settings}
    return train.train(
        "lenet5", squares / f"{task}.csv", size=SIZE, task=task, label_column=COLUMNS[task],
        output=output, verbose=False, **recipe,
    )  # fmt: skip


@pytest.fixture(scope="module")
def runs(squares):
    return {task: trained(squares, task, squares / f"run-{task}") for task in COLUMNS}


def outputs(weights, squares):
    """(COUNT, C): what a network's file predicts of the squares, in the order of the numbers."""
    found = train.predict(weights, squares, verbose=False)
    values = {int(each.image.stem): [row["value"] for row in each.classes] for each in found}
    return np.array([values[i] for i in range(COUNT)])


@pytest.mark.parametrize("task", COLUMNS)
def test_what_is_saved_is_what_was_measured(squares, runs, task):
    run = runs[task]
    (measured,) = run.results["approaches"]
    network = models.load(run.folder / "weights.h5")
    assert (network.task, network.classes) == (task, COLUMNS[task])
    table = squares / f"{task}.csv"
    found = train.evaluate(
        run.folder / "weights.h5", table, label_column=COLUMNS[task], verbose=False
    )
    assert (found.task, found.part, found.count) == (task, "all", COUNT)
    assert measured["training"] is None
    better = {"labels": "average_precision", "numbers": "r2"}[task]
    assert measured[better] > 0.7
    assert found.rows[0][better] > 0.7
    assert {"loss", "val_loss"} <= measured["epochs"][0].keys()
    assert run.report is not None


def test_numbers_are_in_their_unit(squares, runs):
    place, grams = outputs(runs["numbers"].folder / "weights.h5", squares).T
    np.testing.assert_allclose(grams, 9000 + 100 * place, atol=800)
    assert 5 < place.mean() < SIZE - 13


def test_the_table_of_numbers_of_any_unit(squares, tmp_path):
    lines = ["file,tiny,huge", *(f"{i}.png,{i}e-20,{i}e20" for i in range(COUNT))]
    (squares / "units.csv").write_text("\n".join(lines))
    network = models.create("lenet5", num_classes=2, in_channels=3)
    network.classes, network.task = ["tiny", "huge"], "numbers"
    network.image_format = models.ImageFormat(32, "RGB", 255.0, (0, 0, 0), (1, 1, 1))
    md.save_weights(network, tmp_path / "net.h5")
    done = minidl("evaluate", tmp_path / "net.h5", squares / "units.csv")
    assert done.status == 0, done.err
    assert done.out.split("tiny")[-1].split()[3] == "1.5e-19"  # how far from the median
    assert done.out.split("huge")[-1].split()[3] == "1.5e+21"


def test_the_test_part_has_no_say(squares, runs):
    """A fifth is tested on, and a tenth of the rest chosen by."""
    assert runs["numbers"].results["count"] == {"train": 43, "validation": 12, "chosen_by": 5}


def test_an_interrupted_training_saves_numbers_in_their_unit(squares, tmp_path, monkeypatch):
    def stop(self, trainer, row):
        if trainer.epoch == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(LivePage, "on_epoch_end", stop)
    with pytest.raises(KeyboardInterrupt):
        trained(squares, "numbers", tmp_path)
    place, grams = outputs(tmp_path / "weights.h5", squares).T
    assert 5 < place.mean() < SIZE - 13
    assert 9000 < grams.mean() < 9000 + 100 * SIZE


def test_checkpoints_give_numbers_in_their_unit(squares, tmp_path):
    """However they are opened, though the training is in standard units."""
    run = trained(squares, "numbers", tmp_path, resume=True)
    best = run.folder / "checkpoints" / "best.h5"
    wanted = models.load(run.folder / "weights.h5")
    for network in (models.load(best), models.create("lenet5", best, **wanted.architecture[1])):
        assert network.standard is None
        assert bits(network.state_dict()) == bits(wanted.state_dict())
    assert minidl("convert", str(best), str(tmp_path / "best.h5")).status == 0
    assert bits(models.load(tmp_path / "best.h5").state_dict()) == bits(wanted.state_dict())


@pytest.mark.parametrize("standard", [([1.0], [2.0]), ([1.0, 2.0],), ([0, "a"], [1, 1]), 3])
def test_a_file_with_units_that_make_no_sense(tmp_path, standard):
    network = models.create("lenet5", num_classes=2)
    network.classes, network.task, network.standard = ["a", "b"], "numbers", standard
    md.save_weights(network, tmp_path / "net.h5")
    with pytest.raises(FileFormatError, match="arguments by name"):
        models.load(tmp_path / "net.h5")


def test_going_on_with_weights_begins_where_they_are(squares, runs, tmp_path):
    weights = runs["numbers"].folder / "weights.h5"
    run = trained(squares, "numbers", tmp_path, weights=weights, epochs=1, lr=1e-12)
    before, after = (outputs(file, squares) for file in (weights, run.folder / "weights.h5"))
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-3)


def test_weights_of_another_task_get_a_new_head(squares, runs, tmp_path):
    weights = runs["labels"].folder / "weights.h5"
    run = trained(squares, "numbers", tmp_path, weights=weights, epochs=2)
    network = models.load(run.folder / "weights.h5")
    assert (network.task, network.classes) == ("numbers", COLUMNS["numbers"])


def test_resumed_to_the_same_bits(squares, tmp_path):
    whole = trained(squares, "numbers", tmp_path / "whole", epochs=3)

    with interrupted_after(2):
        trained(squares, "numbers", tmp_path / "parts", epochs=3, resume=True)
    parts = trained(squares, "numbers", tmp_path / "parts", epochs=3, resume=True)
    first, second = (models.load(run.folder / "weights.h5") for run in (whole, parts))
    assert bits(first.state_dict()) == bits(second.state_dict())


@pytest.mark.parametrize("begun", [False, True])
def test_numbers_below_zero_need_no_relu(squares, tmp_path, begun):
    """SqueezeNet ends in one, whether it is new or has weights."""
    weights = tmp_path / "weights.h5" if begun else None
    if weights is not None:
        md.save_weights(models.create("squeezenet1_1", num_classes=3), weights)
    run = train.train(
        "squeezenet1_1", squares / "numbers.csv", size=SIZE, task="numbers", label_column="place",
        epochs=1, batch_size=16, output=tmp_path / "run", verbose=False, weights=weights,
    )  # fmt: skip
    network = models.load(run.folder / "weights.h5")
    assert dict(network.named_modules())[network.scoring_layer].activation is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"task": "number"}, r"task= must be one of .*did you mean numbers"),
        ({"task": "labels", "class_weights": True}, r'class_weights= is for task="classes"'),
        ({"task": "numbers", "label_smoothing": 0.1}, r'label_smoothing= is for task="classes"'),
        ({"data": "digits", "task": "labels"}, r"is for images of your own: digits has classes"),
    ],
)
def test_what_is_refused(squares, tmp_path, settings, said):
    given = {"data": squares / "numbers.csv", **settings}
    with pytest.raises(ArgumentError, match=said):
        train.train("lenet5", **given, output=tmp_path / "none", verbose=False)
    assert not (tmp_path / "none").exists()


def test_the_task_in_capitals(squares, tmp_path):
    run = train.train(
        "lenet5", squares / "labels.csv", size=SIZE, task="LABELS", label_column=COLUMNS["labels"],
        epochs=1, output=tmp_path, verbose=False,
    )  # fmt: skip
    assert run.settings["task"] == "labels"
    found = train.find_lr(
        "lenet5", squares / "numbers.csv", size=SIZE, task="Numbers", label_column="place",
        verbose=False,
    )  # fmt: skip
    assert np.isfinite(found.losses[0])


@pytest.mark.parametrize("columns", [1, 3])
def test_a_tenth_of_all_is_held_out(columns):
    names = list("abc"[:columns])
    images = LabelledImages(np.arange(50), np.zeros((50, columns), np.float32), names)
    rest, held = hold_out(images, 0)
    assert (len(rest), len(held)) == (45, 5)
    seen = [part.batch(range(len(part)))[0] for part in (rest, held)]
    assert sorted(np.concatenate(seen)) == list(range(50))


def test_what_alone_differs_is_trained_on():
    """Of 50 images two have the first label, and one has not the second."""
    labels = np.tile(np.float32([0, 1]), (50, 1))
    labels[[3, 4], 0], labels[5, 1] = 1, 0
    for seed in range(30):
        rest, _ = hold_out(LabelledImages(np.arange(50), labels, ["a", "b"]), seed)
        kept = np.stack([label for _, label in rest])
        assert (kept.min(axis=0) < kept.max(axis=0)).all()


def test_mixed_images_of_labels(squares, tmp_path):
    run = trained(squares, "labels", tmp_path, epochs=2, mixup=0.4)
    rows = run.results["approaches"][0]["epochs"]
    assert "binary_accuracy" not in rows[0]


@pytest.mark.parametrize(
    ("columns", "task"), [('"kind, colour"', "classes"), ('"kind, colour", size', "labels")]
)
def test_names_of_columns_with_commas(squares, tmp_path, columns, task):
    lines = ['file,"kind, colour",size', *(f"{i}.png,{i % 2},{i % 3 // 2}" for i in range(COUNT))]
    (squares / "commas.csv").write_text("\n".join(lines))
    given = ["--data", str(squares / "commas.csv"), "--task", task, "--label-column", columns]
    done = minidl("train", *given, "--size", "32", "--epochs", "1", "-o", str(tmp_path / "run"))
    assert done.status == 0, done.err


def test_as_commands(squares, tmp_path):
    table = str(squares / "numbers.csv")
    common = ["--data", table, "--task", "numbers", "--label-column", "place,grams", "--size", "32"]
    found = minidl("train", *common, "--epochs", "2", "-o", str(tmp_path / "run"))
    assert found.status == 0, found.err
    assert "test R2" in found.out
    assert "deviation" in found.out  # the table of the numbers
    rates = minidl("find-lr", *common)
    assert rates.status == 0, rates.err
    assert "suggested rate" in rates.out
