"""Fine-tuning for labels and for numbers, from a table to predictions."""

import json

import numpy as np
import pytest
from command import minidl
from PIL import Image

import minidl as md
from minidl import models, train
from minidl.data.digits import few_digits
from minidl.errors import ArgumentError, FileFormatError

IMAGES = 60
COLUMNS = {"labels": ["even", "large"], "numbers": ["digit", "thousands"]}


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A folder of digits, with tables of labels and numbers, and weights for MNIST."""
    folder = tmp_path_factory.mktemp("digits")
    md.save_weights(models.create("lenet5", weights="mnist"), folder / "mnist.h5")
    training, _ = few_digits(IMAGES // 10)
    images, labels = training.arrays
    tables = {"labels": ["file,even,large,part"], "numbers": ["file,digit,thousands,part"]}
    for i, (image, digit) in enumerate(zip(images, labels, strict=True)):
        grey = np.interp(image[..., 0], (image.min(), image.max()), (0, 255)).astype(np.uint8)
        Image.fromarray(grey).save(folder / f"{i}.png")
        part = "val" if i % 4 == 0 else "train"
        tables["labels"].append(f"{i}.png,{int(digit % 2 == 0)},{int(digit > 4)},{part}")
        tables["numbers"].append(f"{i}.png,{digit},{5000 + 1000 * digit},{part}")
    for task, lines in tables.items():
        (folder / f"{task}.csv").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def runs(digits):
    """The run of each task."""
    return {
        task: train.finetune(
            digits / "mnist.h5",
            digits / f"{task}.csv",
            task=task,
            label_column=columns,
            lr=1e-3,
            epochs=2,
            scratch=False,
            output=digits / f"run-{task}",
            verbose=False,
        )
        for task, columns in COLUMNS.items()
    }


@pytest.mark.parametrize("task", COLUMNS)
def test_what_is_saved_is_what_was_measured(digits, runs, task):
    run = runs[task]
    last = run.results["approaches"][-1]
    assert run.results["task"] == task
    network = models.load(run.folder / "weights.h5")
    assert (network.task, network.classes) == (task, COLUMNS[task])
    found = train.evaluate(
        run.folder / "weights.h5", digits / f"{task}.csv", label_column=COLUMNS[task], verbose=False
    )
    assert (found.task, found.part, found.count) == (task, "validation", IMAGES // 4)
    for name, value in found.rows[0].items():
        if name == "per_class":
            for row, wanted in zip(value, last[name], strict=True):
                assert row == pytest.approx(wanted)
        elif name not in ("name", "loss"):  # numbers' loss is in units of the images it is given
            assert value == pytest.approx(last[name])


def test_labels_are_learnt(runs):
    probe = runs["labels"].results["approaches"][0]
    assert probe["average_precision"] > 0.8  # by chance about 0.5


def test_numbers_are_learnt_in_their_unit(digits, runs):
    assert runs["numbers"].results["approaches"][0]["r2"] > 0.3
    found = train.evaluate(
        runs["numbers"].folder / "weights.h5",
        digits / "numbers.csv",
        label_column=COLUMNS["numbers"],
        verbose=False,
    ).rows[0]
    digit, thousands = found["per_class"]
    assert digit["mae"] < digit["spread"]
    assert thousands["mae"] < thousands["spread"]
    assert 500 < thousands["rmse"] / digit["rmse"] < 2000  # 1,000 times the digit


def test_predictions(digits, runs):
    weights = runs["numbers"].folder / "weights.h5"
    (found,) = train.predict(weights, digits / "0.png", verbose=False)
    assert [row["class"] for row in found.classes] == ["digit", "thousands"]
    digit, thousands = (row["value"] for row in found.classes)
    assert abs(digit) < 15
    assert abs(thousands - 5000 - 1000 * digit) < 4000
    labelled = train.predict(runs["labels"].folder / "weights.h5", digits, verbose=False)
    for image in labelled:
        assert all(row["probability"] > 0.5 for row in image.classes)
        assert {row["class"] for row in image.classes} <= {"even", "large"}
    with pytest.raises(ArgumentError, match="vote=True is for classes, not for numbers"):
        train.predict([weights, weights], digits / "0.png", vote=True, verbose=False)


def test_two_networks_of_numbers_are_averaged(digits, runs):
    weights = runs["numbers"].folder / "weights.h5"
    other = models.load(weights)
    layer = dict(other.named_modules())[other.scoring_layer]
    layer.bias.data[...] += (2, 2000)
    md.save_weights(other, digits / "other.h5")
    one, two, both = (
        next(train.predict(files, digits / "0.png", verbose=False)).classes[0]["value"]
        for files in (weights, digits / "other.h5", [weights, digits / "other.h5"])
    )
    assert two == pytest.approx(one + 2, rel=1e-5)
    assert both == pytest.approx(one + 1, rel=1e-5)
    files = [weights, runs["labels"].folder / "weights.h5"]
    with pytest.raises(ArgumentError, match=r"gives numbers and .* labels"):
        train.predict(files, digits / "0.png", verbose=False)


def test_other_labels_than_the_networks(digits, runs, tmp_path):
    (tmp_path / "list.csv").write_text(f"file,odd\n{digits / '0.png'},1\n{digits / '1.png'},0\n")
    with pytest.raises(FileFormatError, match="expected the columns even, large, found odd"):
        train.evaluate(runs["labels"].folder / "weights.h5", tmp_path / "list.csv", verbose=False)


def test_a_file_that_asks_for_something_else(digits, runs):
    network = models.load(runs["labels"].folder / "weights.h5")
    network.task = "poems"
    md.save_weights(network, digits / "poems.h5")
    with pytest.raises(md.errors.FileFormatError):
        models.load(digits / "poems.h5")


def test_results_are_whole(runs):
    for run in runs.values():
        saved = json.loads((run.folder / "results.json").read_text())
        assert saved["verdict"]
        assert {row["name"] for row in saved["approaches"]} == {"linear probe", "fine-tuned"}
        assert saved["approaches"][1]["tried"]


def test_columns_are_found_by_what_the_network_gives(digits, runs):
    for task, columns in COLUMNS.items():
        weights = runs[task].folder / "weights.h5"
        found = train.evaluate(weights, digits / f"{task}.csv", verbose=False)
        named = train.evaluate(weights, digits / f"{task}.csv", label_column=columns, verbose=False)
        assert found.rows == named.rows


@pytest.mark.parametrize("task", COLUMNS)
def test_mixed_images(digits, tmp_path, task):
    run = train.finetune(
        digits / "mnist.h5", digits / f"{task}.csv", task=task, label_column=COLUMNS[task],
        lr=1e-3, epochs=1, mixup=0.2, cutmix=1, scratch=False, output=tmp_path, verbose=False,
    )  # fmt: skip
    assert len(run.results["approaches"]) == 2


def test_class_weights_are_for_classes(digits, tmp_path):
    with pytest.raises(ArgumentError, match='class_weights= is for task="classes"'):
        train.finetune(
            digits / "mnist.h5", digits / "labels.csv", task="labels", class_weights=True,
            output=tmp_path, verbose=False,
        )  # fmt: skip


def test_what_is_explained_is_one_of_several_classes(digits, runs):
    with pytest.raises(ArgumentError, match="gives numbers, and only what speaks for one"):
        train.explain(runs["numbers"].folder / "weights.h5", digits / "0.png")


def test_the_task_in_capitals(digits, tmp_path):
    run = train.finetune(
        digits / "mnist.h5", digits / "labels.csv", task="Labels", label_column=COLUMNS["labels"],
        epochs=0, scratch=False, output=tmp_path, verbose=False,
    )  # fmt: skip
    assert run.settings["task"] == "labels"


@pytest.mark.parametrize("task", COLUMNS)
def test_a_built_file_stands_for_its_table(digits, runs, task, tmp_path):
    """The same images, decoded before: the network measures the same, and learns as well."""
    table, columns = digits / f"{task}.csv", ",".join(COLUMNS[task])
    built = minidl(
        "build", table, tmp_path / "d.h5", "--size", 32, "--task", task, "--label-column", columns
    )
    assert built.status == 0, built.err
    assert f"images of 2 {task}, 32 x 32" in built.out
    weights = runs[task].folder / "weights.h5"
    wanted = train.evaluate(weights, table, label_column=COLUMNS[task], verbose=False).rows[0]
    found = train.evaluate(weights, tmp_path / "d.h5", part="validation", verbose=False).rows[0]
    assert found.pop("per_class") == [pytest.approx(row) for row in wanted.pop("per_class")]
    assert found == pytest.approx(wanted)
    run = train.finetune(
        digits / "mnist.h5", tmp_path / "d.h5", task=task, lr=1e-3, epochs=1, scratch=False,
        output=tmp_path / "run", verbose=False,
    )  # fmt: skip
    assert run.results["task"] == task
    with pytest.raises(ArgumentError, match=f"tells {task} of its images, not classes: .*{task}"):
        train.finetune(digits / "mnist.h5", tmp_path / "d.h5", output=tmp_path / "no")


def test_built_files_of_another_task(digits, runs, tmp_path):
    built = minidl(
        "build", digits / "labels.csv", tmp_path / "one.h5", "--size", 32, "--task", "labels",
        "--label-column", "large",
    )  # fmt: skip
    assert built.status == 0, built.err
    with pytest.raises(ArgumentError, match="has the labels large, expected even, large"):
        train.evaluate(runs["labels"].folder / "weights.h5", tmp_path / "one.h5", verbose=False)
    with pytest.raises(ArgumentError, match="tells labels of its images, not numbers"):
        train.evaluate(runs["numbers"].folder / "weights.h5", tmp_path / "one.h5", verbose=False)
    plain = minidl("build", digits, tmp_path / "c.h5", "--task", "numbers")
    assert plain.status == 2


def test_a_file_built_of_another_task_isnt_resumed(digits, tmp_path):
    arguments = (
        "build", digits / "labels.csv", tmp_path / "a.h5", "--size", 32, "--label-column",
        "even,large", "--task",
    )  # fmt: skip
    assert minidl(*arguments, "labels").status == 0
    assert "written before" in minidl(*arguments, "labels", "--resume").out
    found = minidl(*arguments, "numbers", "--resume")
    assert (found.status, "with other settings" in found.err) == (2, True)


def test_a_column_named_twice(digits, tmp_path):
    found = minidl(
        "build", digits / "numbers.csv", tmp_path / "a.h5", "--task", "numbers", "--label-column",
        "digit,thousands,digit",
    )  # fmt: skip
    assert (found.status, "--label-column names digit more than once" in found.err) == (2, True)


def test_what_evaluate_says_there_is(digits, runs):
    found = minidl("evaluate", runs["numbers"].folder / "weights.h5", digits / "numbers.csv")
    assert "15 images of 2 numbers" in found.out


def test_advice_on_a_file_of_small_images(digits, tmp_path):
    arguments = [
        "build", digits / "labels.csv", tmp_path / "a.h5", "--task", "labels", "--label-column",
        "even,large", "--size",
    ]  # fmt: skip
    assert minidl(*arguments, 16).status == 0
    with pytest.raises(ArgumentError, match="same minidl build again, with --size 32 --overwrite"):
        train.finetune(digits / "mnist.h5", tmp_path / "a.h5", task="labels", verbose=False)
    assert minidl(*arguments, 32, "--overwrite").status == 0
