"""`minidl finetune`: what it prints, what it leaves behind, and what it refuses."""

import re

import numpy as np
import pytest
from command import minidl, read_json
from pictures import class_folders

import minidl as md
from minidl import models
from minidl.data.digits import few_digits
from minidl.train.shares import Tried
from minidl.train.trainer import Trainer

WAYS = ["linear probe", "fine-tuned", "from scratch"]
SHORT = ["--epochs", 2, "-o", "out"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A run without arguments, and its folder."""
    folder = tmp_path_factory.mktemp("finetune") / "out"
    done = minidl("finetune", *SHORT[:-1], folder)
    assert done.status == 0, done.err
    return done, folder


@pytest.fixture
def photographs(here):
    """Two classes of 8 images each, one of them no image."""
    made = class_folders(here / "pets", {"cat": 8, "dog": 8}, size=(40, 40))
    bad = here / "pets" / "dog" / "03.png"
    assert bad in made
    bad.write_bytes(bad.read_bytes()[:60])
    return here / "pets"


@pytest.fixture
def weights(here):
    """minidl's own, as a user's file, so that images are 32 pixels small."""
    md.save_weights(models.create("lenet5", weights="mnist"), here / "own.h5")
    return here / "own.h5"


def ways(folder):
    return {each["name"]: each for each in read_json(folder / "results.json")["approaches"]}


# scikit-learn's digits


def test_what_is_left_behind(digits):
    _, folder = digits
    names = {path.name for path in folder.iterdir()}
    files = {"settings.json", "results.json", "weights.h5", "report.html"}
    assert names == files | {"mistakes", "heat", "augmented"}
    settings = read_json(folder / "settings.json")
    expected = {
        "command": "finetune", "model": "lenet5", "data": "digits", "epochs": 2,
        "seed": 0, "mirror": False, "lr": None, "freeze": None, "batch_size": 16,
        "mixup": 0, "cutmix": 0, "class_weights": False,
    }  # fmt: skip
    assert {name: settings[name] for name in expected} == expected
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert all(name in page for name in WAYS)


def test_results(digits):
    results = read_json(digits[1] / "results.json")
    labels = few_digits()[1].labels
    assert results["classes"] == [str(digit) for digit in range(10)]
    assert results["count"] == {"train": 100, "validation": len(labels)}
    assert [each["name"] for each in results["approaches"]] == WAYS
    for each in results["approaches"]:
        assert len(each["epochs"]) in {WAYS[0]: (0,), WAYS[1]: (0, 2), WAYS[2]: (6,)}[each["name"]]
        confusion = np.array(each["confusion"])
        assert confusion.sum(axis=1).tolist() == np.bincount(labels).tolist()
        assert each["accuracy"] == pytest.approx(np.trace(confusion) / len(labels))
        assert each["accuracy"] <= each["rank5"] <= 1
        low, high = each["interval"]
        assert 0 < low < each["accuracy"] < high < 1
    best = results["approaches"][1]
    assert results["best"] == best["name"] == "fine-tuned"
    assert [row["share"] for row in best["tried"]] == [0, 0.25, 0.5, 0.75, 1]
    wrong = round((1 - best["accuracy"]) * len(labels))
    assert len(results["mistakes"]) == min(24, wrong)
    files = sorted(path.name for path in (digits[1] / "mistakes").iterdir())
    assert [row["image"] for row in results["mistakes"]] == [f"mistakes/{name}" for name in files]
    for row in results["mistakes"]:
        number = int(row["file"].removeprefix("image "))
        assert row["truth"] == str(labels[number]) != row["guess"]
    assert results["skipped"] == []


def test_a_class_of_one_image_leaves_none_to_hold_out(here, weights):
    for part, dogs in (("train", 1), ("val", 4)):
        class_folders(here / "pets" / part, {"cat": 8, "dog": dogs}, size=(40, 40))
    done = minidl("finetune", weights, here / "pets", "--no-scratch", *SHORT)
    assert done.status == 0, done.err
    assert "there was no fine-tuning, as classes of one image leave none to hold out" in done.out
    page = (here / "out" / "report.html").read_text(encoding="utf-8")
    assert "Cross-validation on the training images chose" not in page


def test_the_weights_are_what_was_measured(digits):
    model = models.load(digits[1] / "weights.h5").eval()
    assert model.classes == [str(digit) for digit in range(10)]
    images = model.image_format
    validation = few_digits()[1]
    x = (validation.arrays[0] / images.scale - images.mean) / np.array(images.std)
    with md.no_grad():
        guess = model(x.astype(np.float32)).data.argmax(axis=1)
    measured = ways(digits[1])["fine-tuned"]["accuracy"]
    assert (guess == validation.labels).mean() == pytest.approx(measured)


def test_the_table(digits):
    lines = digits[0].out.splitlines()
    assert lines[0].startswith("lenet5 (61,706 parameters) on digits: 100 images to train on, ")
    assert lines[-1] == f"report: {digits[1] / 'report.html'}"
    verdict = read_json(digits[1] / "results.json")["verdict"]
    assert lines[-2] == verdict
    assert verdict.endswith(": what is saved is the linear probe")  # 99 of 100 are right in it
    assert lines[-6].split() == [
        "accuracy", "95", "%", "interval", "balanced", "macro", "F1", "loss", "trained", "seconds",
    ]  # fmt: skip
    for line, (name, each) in zip(lines[-5:-2], ways(digits[1]).items(), strict=True):
        shares = r"(\S+%) +(\S+% to \S+%) +(\S+%) +(\S+%)"
        found = re.fullmatch(rf"{name} +{shares} +(\S+) +(\S+) +(\S+)", line)
        expected = (
            f"{each['accuracy']:.2%}", "{:.1%} to {:.1%}".format(*each["interval"]),
            f"{each['balanced_accuracy']:.2%}", f"{each['macro_f1']:.2%}",
            f"{each['loss']:.4f}", f"{each['trained_parameters']:,}", f"{each['seconds']:.1f}",
        )  # fmt: skip
        assert found.groups() == expected
        assert f"{name}: accuracy {each['accuracy']:.2%}" in lines


def test_training_from_scratch_is_there_to_compare(here):
    """However good it is: what is saved is what was pretrained."""
    assert minidl("finetune", "--epochs", 20, "-o", "out").status == 0
    assert read_json(here / "out" / "results.json")["best"] == "fine-tuned"


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_several_seeds(here, monkeypatch, share):
    """Each is what a run with that seed gives, on the same images."""
    monkeypatch.setattr(Tried, "best", lambda self: share)
    done = minidl("finetune", *SHORT, "--no-scratch", "--seed", 3, "--seeds", 2)
    assert done.status == 0, done.err
    found = read_json(here / "out" / "results.json")
    assert [row["seed"] for row in found["seeds"]] == [3, 4]
    ends = " points, on average over 2 seeds" if share else ": what is saved is the linear probe"
    assert found["verdict"].endswith(ends)
    assert found["verdict"] in (here / "out" / "report.html").read_text(encoding="utf-8") or (
        found["verdict"][0].upper() + found["verdict"][1:].replace("'", "&#39;")
        in (here / "out" / "report.html").read_text(encoding="utf-8")
    )
    weights = models.load(here / "out" / "weights.h5").state_dict()
    for row in found["seeds"]:
        assert minidl("finetune", *SHORT, "--no-scratch", "--seed", row["seed"]).status == 0
        assert {name: each["accuracy"] for name, each in ways(here / "out").items()} == {
            name: row[name] for name in WAYS[:2]
        }
        if row["seed"] == 3:
            again = models.load(here / "out" / "weights.h5").state_dict()
            assert all(np.array_equal(again[name], array) for name, array in weights.items())


# Images of one's own


def test_a_folder_of_images(photographs, weights, here):
    done = minidl("finetune", weights, photographs, "--no-scratch", *SHORT)
    assert (done.status, "Traceback" in done.err) == (0, False)
    assert "left out, since they can't be read: 1\n  dog/03.png: " in done.out
    results = read_json(here / "out" / "results.json")
    assert [row["file"] for row in results["skipped"]] == ["dog/03.png"]
    assert results["classes"] == ["cat", "dog"]
    assert results["count"] == {"train": 12, "validation": 3}
    assert list(ways(here / "out")) == WAYS[:2]
    assert [each["rank5"] for each in results["approaches"]] == [None] * 2
    assert all(row["file"].startswith(("cat/", "dog/")) for row in results["mistakes"])
    model = models.load(here / "out" / "weights.h5")
    assert (model.classes, model.num_classes) == (["cat", "dog"], 2)
    assert model.image_format.size == 32
    assert read_json(here / "out" / "settings.json")["data"] == str(photographs)


def test_parts_of_the_users_own(weights, here):
    class_folders(here / "pets" / "train", {"cat": 4, "dog": 5}, size=(40, 40))
    made = class_folders(here / "pets" / "val", {"cat": 3, "dog": 2}, size=(40, 40))
    next(iter(made)).write_bytes(b"")
    done = minidl("finetune", weights, "pets", "--no-scratch", *SHORT)
    assert done.status == 0, done.err
    results = read_json(here / "out" / "results.json")
    assert results["count"] == {"train": 9, "validation": 4}
    assert [row["file"] for row in results["skipped"]] == ["val/cat/00.png"]


def test_strict(photographs, weights, here):
    done = minidl("finetune", weights, photographs, "--strict", *SHORT)
    assert done.status == 2
    bad = photographs / "dog" / "03.png"
    assert done.err.startswith(f"minidl finetune: {bad}: the image is damaged")
    assert not (here / "out").exists()


def test_the_folder_it_saves_in_by_default(photographs, weights, here):
    done = minidl("finetune", weights, "pets", "--no-scratch", "--epochs", 1)
    assert done.status == 0, done.err
    assert (here / "runs" / "finetune-lenet5-pets" / "results.json").exists()


# Errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["own.h5"], r"IMAGES is missing: minidl finetune WEIGHTS IMAGES"),
        (["own.h5", "nothing"], r"there is no nothing"),
        (["none.h5", "pets"], r".*none\.h5: No such file or directory"),
        (["text.h5", "pets"], r"text\.h5: .*"),
        (["own.h5", "pets", "--freeze", "features.77"],
         r"Transfer: --freeze must be a layer of the body, got 'features\.77'; there are "
         r"features\.0.*"),
        (["own.h5", "pets", "--freeze", "0"], r"Transfer: --freeze must be a layer.*"),
        (["own.h5", "empty"], r"ImageFolder: empty has no sub-folders.*"),
        (["own.h5", "text.h5"], r".*text\.h5.*"),
        (["own.h5", "pets", "--arguments", "{}", "--model", "lenet6"], r".*no network 'lenet6'.*"),
        (["own.h5", "pets", "--arguments", '{"num_classes": 9}'], "--arguments are for --model.*"),
        (["own.h5", "pets", "--model", "resnet20"], r"own\.h5: these aren't weights of .*"),
    ],
)  # fmt: skip
def test_errors(arguments, message, photographs, weights, here):
    (here / "text.h5").write_text("no weights")
    (here / "empty").mkdir()
    done = minidl("finetune", *arguments, *SHORT)
    assert (done.status, done.out) == (2, "")
    assert re.fullmatch(f"minidl finetune: {message}\n", done.err, re.S), done.err
    assert not (here / "out").exists()


def test_what_is_refused_leaves_an_earlier_run_as_it_is(here):
    (here / "out").mkdir()
    (here / "out" / "settings.json").write_text("{}")
    assert minidl("finetune", "--freeze", "features.77", *SHORT).status == 2
    assert (here / "out" / "settings.json").read_text() == "{}"


# Ctrl-C


def test_ctrl_c_in_fine_tuning_keeps_the_probe(here, monkeypatch):
    def interrupted(trainer, *arguments):
        for parameter in trainer.model.parameters():
            parameter.data[...] = np.nan  # as if it had begun
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "fit", interrupted)
    done = minidl("finetune", *SHORT)
    assert (done.status, done.err) == (130, "minidl finetune: interrupted\n")
    assert list(ways(here / "out")) == WAYS[:1]
    assert read_json(here / "out" / "settings.json")["command"] == "finetune"
    probe, validation = models.load(here / "out" / "weights.h5"), few_digits()[1]
    assert probe.classes == [str(digit) for digit in range(10)]
    x = validation.arrays[0]
    for transform in probe.preparation():
        x = transform(x, None)
    with md.no_grad():
        right = (probe.eval()(x).data.argmax(axis=1) == validation.labels).mean()
    assert right == pytest.approx(ways(here / "out")["linear probe"]["accuracy"])


def test_images_that_are_not_there_are_told_before_the_weights_are_read(here):
    (here / "damaged.h5").write_bytes(b"no weights")
    done = minidl("finetune", "damaged.h5", "nowhere")
    assert (done.status, done.out) == (2, "")
    assert done.err == "minidl finetune: there is no nowhere\n"


def test_the_task_in_capitals(here):
    done = minidl("finetune", "weights.h5", "nowhere", "--task", "LABELS")
    assert done.err == "minidl finetune: there is no nowhere\n"
