"""`train.train`, `finetune`, `evaluate` and `predict` do what the commands of these names do."""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest
from cli_members import COUNTS, network, written
from command import minidl, read_json, weights
from pictures import class_folders

import minidl as md
from minidl import cli, models, train
from minidl.cli.arguments import OWN, with_options
from minidl.errors import ArgumentError, GradError, MinidlError

FUNCTIONS = ["train", "finetune", "evaluate", "predict", "find_issues"]
QUIET = {"verbose": False}
TIMES = {"seconds", "started", "time"}


@pytest.fixture
def pets(tmp_path, monkeypatch):
    """A folder with ten images of each of two classes, one of them damaged."""
    monkeypatch.chdir(tmp_path)
    made = class_folders(Path("pets"), {"cat": 10, "dog": 10}, size=(40, 40))
    next(iter(made)).write_bytes(b"")
    return Path("pets")


def timeless(value):
    """A file's content without what differs from run to run."""
    if isinstance(value, dict):
        return {name: timeless(each) for name, each in value.items() if name not in TIMES}
    return list(map(timeless, value)) if isinstance(value, list) else value


def check_same_runs(*folders):
    first, second = ({path.name for path in Path(folder).iterdir()} for folder in folders)
    assert first == second
    for name in sorted(name for name in first if name.endswith(".json")):
        contents = [timeless(read_json(Path(folder) / name)) for folder in folders]
        assert contents[0] == contents[1], name
    assert weights(Path(folders[0])) == weights(Path(folders[1]))


# The options are the arguments


def actions(name):
    """The options of a command that are its function's, by the arguments' names."""
    command = cli._parser()._subparsers._group_actions[0].choices[name.replace("_", "-")]
    return {a.dest: a for a in command._actions if a.dest not in (*OWN, "help")}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_option_is_an_argument_of_the_same_name(name):
    parameters = inspect.signature(getattr(train, name)).parameters
    assert {*actions(name)} == {*parameters} - {"verbose"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_help_names_the_functions_defaults(name):
    parameters = inspect.signature(getattr(train, name)).parameters
    for argument, action in actions(name).items():
        default = parameters[argument].default
        if isinstance(default, bool):
            assert action.const is not default
        elif default is not None and default is not inspect.Parameter.empty:
            assert re.search(rf"\(default: {default}[;)]", action.help), (argument, action.help)


# A run from Python is the command's


def test_train(pets):
    arguments = '{"widths": [4, 6], "hidden": 8}'
    options = ["--model", "plain_cnn", "--data", pets, "--arguments", arguments, "--epochs", 2]
    more = ["--augment", "--no-mirror", "--mixup", 0.2, "--seed", 3, "--lr", 0.01]
    done = minidl("train", *options, *more, "-o", "command")
    assert done.status == 0, done.err
    run = train.train(
        "plain_cnn", pets, arguments={"widths": [4, 6], "hidden": 8}, epochs=2, augment=True,
        mirror=False, mixup=0.2, seed=3, lr=0.01, output="python", **QUIET,
    )  # fmt: skip
    check_same_runs("command", run.folder)
    assert run.report == Path("python/report.html")
    assert timeless(run.results) == timeless(read_json(run.folder / "results.json"))
    assert run.results["skipped"][0]["file"] == "cat/00.png"


def test_finetune(pets):
    md.save_weights(models.create("lenet5", weights="mnist"), "own.h5")
    short = ["--epochs", 2, "--freeze", "features.2", "--seed", 4, "--mixup", 0]
    done = minidl("finetune", "own.h5", pets, *short, "--no-scratch", "-o", "command")
    assert done.status == 0, done.err
    run = train.finetune(
        "own.h5", pets, epochs=2, freeze="features.2", seed=4, mixup=0, scratch=False,
        output="python", **QUIET,
    )  # fmt: skip
    check_same_runs("command", run.folder)
    assert run.results["best"] == "fine-tuned"


def test_finetune_as_it_is_called_without_arguments(tmp_path):
    minidl("finetune", "--epochs", 1, "-o", tmp_path / "command")
    run = train.finetune(epochs=1, output=tmp_path / "python", **QUIET)
    check_same_runs(tmp_path / "command", run.folder)


def test_evaluate(tmp_path):
    class_folders(tmp_path / "images", COUNTS, size=(32, 32))
    names = list(COUNTS)
    files = [written(tmp_path / f"{i}.h5", network(names, i)) for i in range(2)]
    target = tmp_path / "figures.json"
    done = minidl("evaluate", *files, tmp_path / "images", "--ten-crop", "--json", target)
    assert done.status == 0, done.err
    found = train.evaluate(files, tmp_path / "images", ten_crop=True)
    assert found.record() == read_json(target)
    assert found.confusion.sum() == found.count == sum(COUNTS.values())
    one = train.evaluate(str(files[0]), str(tmp_path / "images"), batch_size=1)
    assert [row["name"] for row in one.rows] == ["0.h5"]


def test_predict(tmp_path):
    class_folders(tmp_path, {"images": 3}, size=(32, 32))
    folder, bad = tmp_path / "images", tmp_path / "images" / "00.png"
    bad.write_bytes(b"no image")
    files = [written(tmp_path / f"{i}.h5", network(["a", "b", "c"], i)) for i in range(2)]
    target = tmp_path / "figures.json"
    done = minidl("predict", folder, "--weights", *files, "--vote", "--top", 2, "--json", target)
    assert done.status == 1
    found = list(train.predict(files, folder, vote=True, top=2))
    expected = read_json(target)
    assert [each.image.name for each in found] == ["00.png", "01.png", "02.png"]
    assert [each.classes for each in found[1:]] == [
        each["classes"] for each in expected["predictions"]
    ]
    assert [(str(bad), found[0].error)] == [(s["file"], s["reason"]) for s in expected["skipped"]]
    assert found[0].classes == []


def test_the_settings_are_what_the_functions_were_called_with(pets):
    called = {
        "arguments": {"widths": [4, 6], "hidden": 8, "input_size": 24}, "size": 24,
        "augment": True, "mirror": False, "rand_augment": 3, "mixup": 0.1, "cutmix": 0.3,
        "epochs": 1, "batch_size": 5, "seed": 7, "label_smoothing": 0.1, "class_weights": True,
        "patience": 3, "accumulate": 2, "schedule": "onecycle", "weights": None,
    }  # fmt: skip
    run = train.train("plain_cnn", pets, **called, lr=0.25, optimizer="AdamW", output="a", **QUIET)
    settings = read_json(run.folder / "settings.json")
    assert {name: settings[name] for name in called} == called
    assert (settings["model"], settings["data"]) == ("plain_cnn", "pets")
    assert settings["optimizer"] == {"name": "adamw", "lr": 0.25, "weight_decay": 0.01}
    called = {
        "strict": False, "size": 24, "epochs": 1, "batch_size": 4, "lr": 0.002, "mixup": 0.2,
        "freeze": "features.0", "mirror": False, "cutmix": 0.3, "scratch": False, "seed": 9,
    }  # fmt: skip
    run = train.finetune(run.folder / "weights.h5", pets, **called, output="b", **QUIET)
    settings = read_json(run.folder / "settings.json")
    assert {name: settings[name] for name in called} == called
    assert (settings["weights"], settings["data"]) == ("a/weights.h5", "pets")


def test_nothing_is_printed_unless_it_is_asked_for(pets, capsys):
    run = train.train("lenet5", pets, epochs=1, output="a", **QUIET)
    train.finetune(run.folder / "weights.h5", pets, epochs=1, output="b", **QUIET)
    train.evaluate(run.folder / "weights.h5", pets, **QUIET)
    list(train.predict(run.folder / "weights.h5", pets / "dog", **QUIET))
    out, err = capsys.readouterr()
    assert (out, "batch" in err) == ("", False)  # on stderr, kernels may have been compiled
    train.finetune(epochs=1, scratch=False, output="c")
    assert capsys.readouterr().out.startswith("lenet5 (61,706 parameters) on digits: 100 images")


def test_a_way_that_fails_is_no_secret(tmp_path, monkeypatch):
    def failing(ways, network):
        raise GradError("the loss is nan")

    monkeypatch.setattr(train.Transfer, "fine_tuned", failing)
    run = train.finetune(epochs=1, output=tmp_path, **QUIET)
    assert [way["name"] for way in run.results["approaches"]] == ["linear probe"]
    assert run.results["failed"] == "the loss is nan"
    assert read_json(tmp_path / "results.json")["failed"] == "the loss is nan"
    done = minidl("finetune", "--epochs", 1, "-o", tmp_path)
    assert "the next way failed: the loss is nan\n" in done.out
    monkeypatch.setattr(train.Transfer, "probe", failing)
    with pytest.raises(GradError, match="the loss is nan"):
        train.finetune(output=tmp_path / "other", **QUIET)


def test_ctrl_c_saves_what_there_is_and_is_raised(tmp_path, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(train.Trainer, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train.train(output=tmp_path, **QUIET)
    assert models.load(tmp_path / "weights.h5").num_classes == 10
    assert read_json(tmp_path / "results.json")["approaches"] == []


# Errors name what the caller can change


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        ({"download": True}, ["--download"], ('download= is for MNIST: add data="mnist"',
                                              "--download is for MNIST: add --data mnist")),
        ({"rand_augment": 3}, ["--rand-augment", 3],
         ("rand_augment= is a part of augment=: add augment=True",
          "--rand-augment is a part of --augment: add --augment")),
        ({"data": "pets", "label_column": "x"}, ["--data", "pets", "--label-column", "x"],
         ("file_column= and label_column= are for tables, not for pets",
          "--file-column and --label-column are for tables, not for pets")),
        ({"data": "pets.h5", "file_column": "x"}, ["--data", "pets.h5", "--file-column", "x"],
         ("file_column= and label_column= are for tables, not for pets.h5",
          "--file-column and --label-column are for tables, not for pets.h5")),
    ],
)  # fmt: skip
def test_train_refuses_in_the_callers_words(arguments, options, said, pets):
    with pytest.raises(MinidlError) as caught:
        train.train(**arguments, **QUIET)
    assert str(caught.value).removeprefix("train.train: ") == said[0]
    assert minidl("train", *options).err == f"minidl train: {said[1]}\n"


def test_finetune_refuses_what_goes_with_weights():
    with pytest.raises(ArgumentError, match=r"train\.finetune: images= is missing"):
        train.finetune("w.h5")
    with pytest.raises(ArgumentError, match=r"train\.finetune: model= goes with weights="):
        train.finetune(model="resnet20")
    done = minidl("finetune", "--label-column", "x")
    assert "minidl finetune: --label-column goes with WEIGHTS, and there are none" in done.err
    with pytest.raises(ArgumentError, match=r"arguments= are for model=: a file alone"):
        train.finetune("w.h5", "pets", arguments={"width": 1})


# Whatever comes, it is refused before anything is read or trained, and by its name
WRONG = {
    "train": {
        "data": [None, 3], "output": [3], "data_dir": [3], "arguments": ["x", [1]],
        "size": [0, (32, 32)], "epochs": [0, "3", 1.5], "batch_size": [0, "4"],
        "lr": [-1, "a", float("nan")], "mixup": [-1, "a"], "cutmix": [float("inf")],
        "rand_augment": ["a", 0], "seed": [-1, "a"], "augment": ["no"], "resume": ["yes"],
        "weights": [3], "optimizer": [3, "adm"], "schedule": [None, "step"], "patience": [0, "a"],
        "weight_decay": [-1], "label_smoothing": [1, -0.1, "a"], "class_weights": ["no"],
        "workers": [-1, 1.5], "accumulate": [0], "log": [3, "json", [["csv"]]],
    },
    "finetune": {
        "weights": [3], "images": [3], "output": [3], "arguments": [3], "epochs": ["a", -1],
        "size": [0, 1.5], "batch_size": [0, "a"], "lr": [-1], "mixup": [-1], "cutmix": ["a"],
        "seed": ["a"], "mirror": ["no"], "scratch": ["no"], "strict": [3],
        "class_weights": ["no"],
    },
    "evaluate": {
        "weights": [None, 3, [None]], "images": [None, ["a.png"]], "classes": [["cat", "dog"]],
        "ten_crop": ["no"], "batch_size": [0, "a"], "strict": ["no"],
    },
    "predict": {
        "weights": [None], "images": [None, 3, [None]], "classes": [3], "top": [0, "a"],
        "vote": ["no"], "batch_size": [0], "ten_crop": [3],
    },
    "explain": {"weights": [None, ["w.h5"]], "image": [None, np.zeros((8, 8, 3))], "classes": [3]},
    "find_lr": {
        "data": [None, 3], "data_dir": [3], "arguments": ["x"], "size": [0], "batch_size": [0, "4"],
        "seed": [-1, "a"], "download": ["no"],
    },
    "find_issues": {
        "weights": [None, 3], "images": [None], "strict": [3], "batch_size": [0, "4"],
        "seed": [-1, "a"],
    },
}  # fmt: skip
GIVEN = {
    "train": {"data": "pets"},
    "finetune": {"weights": "w.h5", "images": "pets"},
    "evaluate": {"weights": "w.h5", "images": "pets"},
    "predict": {"weights": "w.h5", "images": "a.png"},
    "explain": {"weights": "w.h5", "image": "a.png"},
    "find_lr": {"data": "pets"},
    "find_issues": {"weights": "w.h5", "images": "pets"},
}


@pytest.mark.parametrize(
    ("function", "argument", "value"),
    [(f, a, v) for f, wrong in WRONG.items() for a, values in wrong.items() for v in values],
)
def test_wrong_arguments(function, argument, value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MinidlError, match=rf"train\.{function}: {argument}= must be "):
        getattr(train, function)(**{**GIVEN[function], argument: value})
    assert not list(tmp_path.iterdir())


def test_a_damaged_image_among_good_ones(pets):
    with pytest.raises(MinidlError, match=r"00\.png: the file is empty"):
        train.evaluate(written(Path("w.h5"), network(["cat", "dog"])), pets, strict=True)
    found = train.evaluate("w.h5", pets)
    assert found.skipped == [("cat/00.png", "the file is empty (0 bytes)")]
    assert found.count == 19


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("name it with label_column=", "name it with --label-column"),
        ('add data="mnist"', "add --data mnist"),
        ("add augment=True, not mirror=False", "add --augment, not --no-mirror"),
        ("give another output=: or so", "give another -o: or so"),
        # no arguments to give: settings, other functions', paths
        ("begun with seed=0, not 1", "begun with seed=0, not 1"),
        ("model='a', not 'b'", "model='a', not 'b'"),
        ("augment=False", "augment=False"),
        ("pass shuffle=True", "pass shuffle=True"),
        ("runs/lr= is no folder", "runs/lr= is no folder"),
    ],
)
def test_arguments_in_messages(message, expected):
    command = cli._parser()._subparsers._group_actions[0].choices["train"]
    assert with_options(message, command) == expected


def test_the_same_images_however_the_network_is_prepared(tmp_path):
    """`Network.preparation` on images of `decoded_size` is what a network sees."""
    model = network(["a", "b"], size=98)
    assert model.decoded_size == 112
    images = np.zeros((2, 112, 112, 3), np.uint8)
    for transform in model.preparation():
        images = transform(images, None)
    assert images.shape == (2, 112, 112, 3)  # it takes any size
    assert models.create("lenet5", weights="mnist").decoded_size == 32
    with pytest.raises(ArgumentError, match=r"set model\.image_format"):
        _ = models.lenet5().decoded_size
