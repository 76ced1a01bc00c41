"""`--config FILE`: arguments of `minidl train` and `finetune` from a TOML file."""

import pytest
from command import minidl, read_json, weights
from pictures import class_folders

import minidl as md
from minidl import models

TINY = """
model = "plain_cnn"
data = "pets"
epochs = 2
batch-size = 8
mirror = false
log = "csv"
output = "filed"
[arguments]
widths = [4, 6]
hidden = 8
"""
OPTIONS = [
    "--model", "plain_cnn", "--data", "pets", "--epochs", 2, "--batch-size", 8, "--no-mirror",
    "--arguments", '{"widths": [4, 6], "hidden": 8}',
]  # fmt: skip


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    class_folders(tmp_path / "pets", {"ant": 8, "bee": 8}, size=(32, 32))
    return tmp_path


def configured(command, text, *options):
    with open("c.toml", "wb") as file:
        file.write(text if isinstance(text, bytes) else text.encode())
    return minidl(command, *options, "--config", "c.toml")


def settings(folder):
    kept = read_json(folder / "settings.json")
    return {name: value for name, value in kept.items() if name != "started"}


def test_a_file_is_as_good_as_options(here):
    done = configured("train", TINY)
    assert done.status == 0, done.err
    done = minidl("train", *OPTIONS, "-o", "typed")
    assert done.status == 0, done.err
    assert settings(here / "filed") == settings(here / "typed")
    assert settings(here / "filed")["mirror"] is False
    assert weights(here / "filed") == weights(here / "typed")
    assert (here / "filed" / "history.csv").exists()


@pytest.mark.parametrize("first", [True, False])
def test_options_go_before_the_file_wherever_they_stand(here, first):
    (here / "c.toml").write_text(TINY)
    config, more = ["--config", "c.toml"], ["--epochs", 1, "--seed", 3, "-o", "out"]
    done = minidl("train", *(more + config if first else config + more))
    assert done.status == 0, done.err
    assert not (here / "filed").exists()
    found = settings(here / "out")
    assert [found[name] for name in ("epochs", "seed", "batch_size")] == [1, 3, 8]


def test_a_file_that_begins_with_a_mark(here):
    done = configured("train", "\ufeffepochs = 1\n", "-o", "out")
    assert done.status == 0, done.err
    assert settings(here / "out")["epochs"] == 1


def test_finetune_takes_its_two_from_the_file(here):
    md.save_weights(models.create("lenet5", weights="mnist"), "own.h5")
    text = 'weights = "own.h5"\nimages = "pets"\nepochs = 1\nscratch = false\n'
    done = configured("finetune", text, "--seed", 2, "-o", "out")
    assert done.status == 0, done.err
    found = settings(here / "out")
    assert (found["weights"], found["data"], found["seed"]) == ("own.h5", "pets", 2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epoch = 3", "c.toml: there is no argument 'epoch': did you mean epochs?"),
        ("lable-smoothing = 0", "no argument 'lable-smoothing': did you mean label_smoothing?"),
        ("xyzzy = 1", "c.toml: there is no argument 'xyzzy': there are model, "),
        ("verbose = true", "c.toml: there is no argument 'verbose': "),
        ("[train]\nepochs = 3", "c.toml: there is no argument 'train': "),
        ("batch-size = 3\nbatch_size = 4", "batch_size is given twice, with a dash and an under"),
        ("epochs = '3'", "c.toml: epochs must be a whole number, got '3'"),
        ("epochs = 3.5", "c.toml: epochs must be a whole number, got 3.5"),
        ("epochs = true", "c.toml: epochs must be a whole number, got True"),
        ("epochs = 0", "c.toml: epochs: must be 1 or more, got 0"),
        ("lr = nan", "c.toml: lr: must be a number above 0, got NaN"),
        ("lr = [0.1]", "c.toml: lr must be a number, got [0.1]"),
        ("augment = 1", "c.toml: augment must be true or false, got 1"),
        ("no-mirror = true", "c.toml: there is no argument 'no-mirror': did you mean mirror?"),
        ("data = 3", "c.toml: data must be a text, got 3"),
        ("model = ['a']", "c.toml: model must be a text, got ['a']"),
        ("log = [1]", "c.toml: log must be a text or a list of texts, got [1]"),
        ("arguments = 'a'", "c.toml: arguments must be a table, got 'a'"),
        ("arguments.weights = 'a'", "c.toml: arguments: can't hold weights"),
        ("seed = -1", "--seed must be a whole number from 0 up, got -1"),
        ("epochs 3", "c.toml: expected TOML: "),
        (b"model = '\xff'", "c.toml: expected TOML: "),
    ],
)
def test_what_a_file_cannot_say(text, said, here):
    done = configured("train", text)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("minidl train: ")
    assert said in done.err
    assert done.err.count("\n") == 1
    assert not (here / "runs").exists()


def test_a_file_that_is_not_there(here):
    done = minidl("finetune", "--config", "no.toml")
    assert (done.status, done.err) == (2, "minidl finetune: no.toml: No such file or directory\n")


@pytest.mark.parametrize("columns", ['"x"', '["x", "y"]'])
def test_columns_in_a_file(tmp_path, monkeypatch, columns):
    """They reach the table, which has none of them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.csv").write_text("file,digit\n1.png,1\n")
    (tmp_path / "1.png").write_bytes(b"")
    (tmp_path / "run.toml").write_text(f'label_column = {columns}\ntask = "numbers"\n')
    md.save_weights(md.models.create("lenet5", weights="mnist"), tmp_path / "w.h5")
    done = minidl("finetune", "w.h5", "list.csv", "--config", "run.toml")
    assert done.status == 2
    assert "expected a column 'x', found file, digit" in done.err
