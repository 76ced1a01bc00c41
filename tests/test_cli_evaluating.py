"""`minidl evaluate`."""

import re
from dataclasses import replace

import numpy as np
import pytest
from cli_members import (
    COUNTS,
    MOBILENET,
    WORDS,
    answers,
    constant,
    head_of,
    lines_of,
    network,
    written,
)
from command import minidl, read_json
from pictures import class_folders
from PIL import Image
from sklearn import metrics

import minidl as md


@pytest.fixture
def images(tmp_path):
    """A folder of 23 images of 7 classes, and their pixels by path."""
    made = class_folders(tmp_path / "images", COUNTS, size=(32, 32))
    return tmp_path / "images", made


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_the_figures_are_scikit_learns_and_classes_are_known_by_name(tmp_path, images):
    folder, made = images
    classes = ["yak", *list(COUNTS)[::-1]]  # in another order than the folders', and one more
    model = network(classes)
    target = tmp_path / "figures.json"
    done = minidl("evaluate", written(tmp_path / "w.h5", model), folder, "--json", target)
    assert done.status == 0, done.err
    found = read_json(target)
    expected = answers(model, made.values())
    truth = np.array([classes.index(path.parent.name) for path in made])
    guess = expected.argmax(axis=1)
    assert len(set(guess)) > 2  # else the test shows nothing
    numbers = range(len(classes))
    row = found["networks"][0]
    assert row["name"] == "w.h5"
    assert row["accuracy"] == pytest.approx(metrics.accuracy_score(truth, guess))
    assert row["rank5"] == pytest.approx(
        metrics.top_k_accuracy_score(truth, expected, k=5, labels=numbers)
    )
    assert row["loss"] == pytest.approx(metrics.log_loss(truth, expected, labels=numbers), rel=1e-4)
    assert row["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(truth, guess))
    macro = metrics.f1_score(truth, guess, labels=np.unique(truth), average="macro")
    assert row["macro_f1"] == pytest.approx(macro)
    shares = ("accuracy", "balanced_accuracy", "macro_f1", "rank5")
    cells = [*(f"{row[name]:.2%}" for name in shares), f"{row['loss']:.4f}"]
    assert lines_of(done.out, "network")[-1].split() == ["w.h5", *cells, str(row["right"])]
    matrix = metrics.confusion_matrix(truth, guess, labels=numbers)
    precision, recall, _, count = metrics.precision_recall_fscore_support(
        truth, guess, labels=numbers, zero_division=0
    )
    shown = found["classes"]
    assert shown[:7] == classes[1:]
    np.testing.assert_array_equal(np.array(found["confusion"])[:7, :7], matrix[1:, 1:])
    for i, each in enumerate(found["per_class"][:7], 1):
        assert (each["class"], each["count"]) == (classes[i], count[i])
        assert each["precision"] in (None, pytest.approx(precision[i]))
        assert each["recall"] == pytest.approx(recall[i])
    table = lines_of(done.out, "class")
    assert [line.split()[0] for line in table[2:9]] == classes[1:]


def test_an_ensemble_by_average_and_by_votes(tmp_path, images):
    """Members that give every image the same, so that all can be told by hand."""
    folder, _ = images
    names = list(COUNTS)
    p = np.array([[0.58, 0.07, *[0.07] * 5], [0.2, 0.3, *[0.1] * 5], [0.2, 0.3, *[0.1] * 5]])
    order = [3, 1, 0, 6, 5, 4, 2]  # of the second member
    members = [
        constant(p[0], names),
        constant(p[1][order], [names[i] for i in order]),
        constant(p[2], None),
    ]
    files = [written(tmp_path / f"{i}.h5", model) for i, model in enumerate(members)]
    done = minidl("evaluate", *files, folder, "--json", tmp_path / "f.json")
    assert done.status == 0, done.err
    assert f"{files[2]} names no classes: their order is taken from {files[0]}" in done.out
    rows = read_json(tmp_path / "f.json")["networks"]
    assert [row["name"] for row in rows] == ["0.h5", "1.h5", "2.h5", "average", "vote"]
    ants, bees, total = COUNTS["ant"], COUNTS["bee"], sum(COUNTS.values())
    assert [row["right"] for row in rows] == [ants, bees, bees, ants, bees]
    assert [row["accuracy"] for row in rows] == [
        right / total for right in (ants, bees, bees, ants, bees)
    ]
    labels = np.repeat(np.arange(7), list(COUNTS.values()))
    for row, each in zip(rows, [*p, p.mean(axis=0)]):
        assert row["loss"] == pytest.approx(-np.log(each[labels]).mean(), rel=1e-5)
    assert rows[-1]["loss"] is None
    table = lines_of(done.out, "network")
    assert len({len(line) for line in table}) == 1
    assert table[-1].split()[-2:] == ["-", str(bees)]
    assert "of the average:\nclass" in done.out


def test_mirror_images_count_where_the_file_says_so(tmp_path, images):
    folder, made = images
    model = network(list(COUNTS))
    model.image_format = replace(model.image_format, mirrored=True)
    target = tmp_path / "figures.json"
    weights = written(tmp_path / "w.h5", model)
    for batch_size in (1, 7):
        done = minidl("evaluate", weights, folder, "--batch-size", batch_size, "--json", target)
        assert done.status == 0, done.err
        views = [answers(model, [change(pixels) for pixels in made.values()])
                 for change in (lambda x: x, lambda x: x[:, ::-1])]  # fmt: skip
        assert np.abs(views[0] - views[1]).max() > 0.1
        truth = [list(COUNTS).index(path.parent.name) for path in made]
        row = read_json(target)["networks"][0]
        expected = metrics.log_loss(truth, np.mean(views, axis=0), labels=range(7))
        assert row["loss"] == pytest.approx(expected, rel=1e-4)


def test_networks_of_different_sizes_see_images_of_their_own(tmp_path, images):
    folder, made = images
    names = list(COUNTS)
    small, large = network(names, 1), network(names, 2, size=98)
    files = [written(tmp_path / "s.h5", small), written(tmp_path / "l.h5", large)]
    done = minidl("evaluate", *files, folder, "--json", tmp_path / "f.json")
    assert done.status == 0, done.err
    enlarged = [
        np.asarray(Image.fromarray(p).resize((112, 112), Image.Resampling.BILINEAR))
        for p in made.values()
    ]
    of_each = [answers(small, made.values()), answers(large, enlarged)]
    truth = [names.index(path.parent.name) for path in made]
    rows = read_json(tmp_path / "f.json")["networks"]
    for row, figures in zip(rows, [*of_each, np.mean(of_each, axis=0)]):
        expected = metrics.log_loss(truth, figures, labels=range(7))
        assert row["loss"] == pytest.approx(expected, rel=1e-4)


def test_guesses_that_are_none_of_the_images_classes(tmp_path):
    class_folders(tmp_path / "images", {"c": 2, "a": 1}, size=(32, 32))
    model = constant([0.1, 0.5, 0.4], ["a", "b", "c"])
    done = minidl("evaluate", written(tmp_path / "w.h5", model), tmp_path / "images")
    assert done.status == 0, done.err
    assert "3 images of 2 of the network's 3 classes" in done.out
    assert lines_of(done.out, "truth")[2:] == [
        "a              .  .            1",
        "c              .  .            2",
    ]
    assert lines_of(done.out, "class")[-4] == "(any other)     0.0000       -  0.0000      0"
    assert "rank-5" not in done.out


def test_tables_are_for_as_many_classes_as_can_be_read(tmp_path):
    for count, tables in ((10, 3), (11, 2), (21, 1)):
        names = [f"class of animals {i}" for i in range(count)]
        folder = tmp_path / f"images{count}"
        class_folders(folder, dict.fromkeys(names, 1), size=(32, 32))
        file = written(tmp_path / f"{count}.h5", network(names))
        done = minidl("evaluate", file, folder)
        assert done.status == 0, done.err
        assert done.out.count("\n\n") == tables
        assert max(map(len, done.out.split("\n\n", 1)[1].splitlines())) <= 80
        if count == 10:
            matrix = lines_of(done.out, "truth")
            assert matrix[0].split() == ["truth", "\\", "guess", *map(str, range(1, 11))]
            assert matrix[2].startswith(" 1 class of animals 0  ")
            assert len({len(line) for line in matrix}) == 1


def test_a_network_without_names_takes_them_in_order(tmp_path, images):
    folder, made = images
    model = network(None, count=7)
    file = written(tmp_path / "w.h5", model)
    expected = answers(model, made.values()).argmax(axis=1)
    labels = np.repeat(np.arange(7), list(COUNTS.values()))
    done = minidl("evaluate", file, folder)
    assert done.status == 0, done.err
    assert f"{file} names no classes: they are taken to be, in order, ant, bee, cat" in done.out
    assert f"{(expected == labels).sum()} of 23" in done.out
    names = list(COUNTS)[::-1]
    (tmp_path / "names.txt").write_text("\n".join(names) + "\n")
    done = minidl("evaluate", file, folder, "--classes", tmp_path / "names.txt")
    assert done.status == 0, done.err
    assert "taken" not in done.out
    assert f"{(expected == 6 - labels).sum()} of 23" in done.out


def test_labels_of_a_list_may_be_the_networks_numbers(tmp_path, images):
    folder, made = images
    table = "image,truth\n" + "".join(f"{path},{11 - i % 2}\n" for i, path in enumerate(made))
    (folder / "list.csv").write_text(table)
    model = network(None, count=12)
    file = written(tmp_path / "w.h5", model)
    columns = ("--file-column", "image", "--label-column", "truth")
    done = minidl("evaluate", file, folder / "list.csv", *columns)
    assert done.status == 0, done.err
    guess = answers(model, made.values()).argmax(axis=1)
    right = sum(g == 11 - i % 2 for i, g in enumerate(guess))
    assert lines_of(done.out, "network")[-1].split()[-1] == str(right)
    assert "the labels are taken as the numbers of the network's classes" in done.out
    few = written(tmp_path / "few.h5", network(None, count=11))
    done = minidl("evaluate", few, folder / "list.csv", *columns)
    assert done.status == 2
    assert "the network has classes 0 to 10, got 11" in done.err
    (folder / "list.csv").write_text(f"file,label\n{next(iter(made))},nothing\n")
    assert "names none of its 12 classes" in minidl("evaluate", file, folder / "list.csv").err


def test_parts_and_built_files_give_what_the_folder_gives(tmp_path):
    root = tmp_path / "pets"
    for part, count in (("train", 4), ("val", 3), ("test", 2)):
        class_folders(root / part, {"cat": count, "dog": 2}, size=(32, 32))
    file = written(tmp_path / "w.h5", network(["dog", "cat"]))
    assert minidl("build", root, tmp_path / "b.h5", "--size", 32).status == 0
    for name, path, *options in (
        ("train", root, "--part", "train"),
        ("train", tmp_path / "b.h5", "--part", "train"),
        ("val", root),
        ("val", tmp_path / "b.h5", "--part", "validation"),
        ("val", tmp_path / "b.validation.h5"),
        ("test", root, "--part", "test"),
    ):
        whole = minidl("evaluate", file, root / name)
        part = minidl("evaluate", file, path, *options)
        assert (whole.status, part.status) == (0, 0), part.err
        assert part.out.splitlines()[1:] == whole.out.splitlines()[1:]
    done = minidl("evaluate", file, root / "val", "--part", "train")
    assert done.err == f"minidl evaluate: {root / 'val'} isn't split into parts: leave out --part\n"


def test_images_that_cannot_be_read(tmp_path, images):
    folder, made = images
    file = written(tmp_path / "w.h5", network(list(COUNTS)))
    bad = folder / "bee" / "01.png"
    bad.write_bytes(b"")
    done = minidl("evaluate", file, folder, "--json", tmp_path / "f.json")
    assert done.status == 0
    assert "22 images of 7 classes" in done.out
    assert done.out.endswith(
        "\n\nleft out, since they can't be read: 1\n  bee/01.png: the file is empty (0 bytes)\n"
    )
    found = read_json(tmp_path / "f.json")
    assert found["count"] == 22
    assert found["skipped"] == [{"file": "bee/01.png", "reason": "the file is empty (0 bytes)"}]
    done = minidl("evaluate", file, folder, "--strict")
    assert (done.status, done.out) == (2, "")
    assert done.err == f"minidl evaluate: {bad}: the file is empty (0 bytes)\n"
    table = tmp_path / "elsewhere" / "list.csv"
    table.parent.mkdir()
    table.write_text("file,label\n" + "".join(f"{path},{path.parent.name}\n" for path in made))
    done = minidl("evaluate", file, table)
    assert done.status == 0
    assert done.out.endswith(f"\n  {bad}: the file is empty (0 bytes)\n")


def test_what_evaluate_refuses(tmp_path, images):
    folder, _ = images
    names = list(COUNTS)
    whole = written(tmp_path / "whole.h5", network(names))
    other = written(tmp_path / "other.h5", network([*names[:6], "owl"]))
    small = written(tmp_path / "small.h5", network(names[:6]))
    model = network(names)
    model.image_format = None
    mute = written(tmp_path / "mute.h5", model)
    model = network(names)
    head_of(model).bias.data[0] = np.nan
    broken = written(tmp_path / "broken.h5", model)
    (tmp_path / "short.txt").write_text("ant\n\nbee\n")
    for message, *arguments in (
        ("there is no .*nowhere", whole, tmp_path / "nowhere"),
        ("could not read .*nowhere.h5: No such file", tmp_path / "nowhere.h5", folder),
        ("whole.h5 has 7 and .*small.h5 6", whole, small, folder),
        (r"other.h5 has owl, and .*whole.h5 ant, bee, cat, .*gnu$", whole, other, folder),
        ("classes that the network doesn't know: gnu; it knows ant, .*owl$", other, folder),
        ("mute.h5: .* set model.image_format", whole, mute, folder),
        ("broken.h5: the network's scores are NaN", broken, folder),
        (r"each of the network's 7 classes, found 2 names in 3 lines", whole, folder, "--classes",
         tmp_path / "short.txt"),
        ("expected names in UTF-8", whole, folder, "--classes", folder / "ant" / "00.png"),
        ("no.txt: No such file", whole, folder, "--classes", tmp_path / "no.txt"),
        ("there is no folder .*x to write", whole, folder, "--json", tmp_path / "x" / "f.json"),
        ("are for tables, not for", whole, folder, "--label-column", "x"),
    ):  # fmt: skip
        done = minidl("evaluate", *arguments)
        assert (done.status, done.out) == (2, ""), arguments
        assert re.search(rf"\Aminidl evaluate: .*{message}", done.err.strip()), done.err
        assert done.err.count("\n") == 1
    assert not (tmp_path / "x").exists()


def test_the_threads_are_set(tmp_path, monkeypatch):
    set_to = []
    monkeypatch.setattr(md, "set_num_threads", set_to.append)
    class_folders(tmp_path / "images", {"a": 1, "b": 1}, size=(32, 32))
    file = written(tmp_path / "w.h5", network(["a", "b"]))
    assert minidl("evaluate", file, tmp_path / "images", "--threads", 1).status == 0
    assert set_to[0] == 1


# Real networks and photographs


def test_mobilenet_on_imagenet(tmp_path, shared_data):
    """The hundred photographs, known by number and by WordNet's number."""
    arguments = ("evaluate", shared_data / MOBILENET, shared_data / "imagenet_100" / "labels.csv")
    target = tmp_path / "f.json"
    done = minidl(*arguments, "--label-column", "index", "--json", target)
    assert done.status == 0, done.err
    by_number = read_json(target)["networks"][0]
    assert 0.56 < by_number["accuracy"] < 0.64
    assert 0.82 < by_number["rank5"] < 0.9
    assert "100 images of 100 of the network's 1,000 classes" in done.out
    words = ("--classes", shared_data / WORDS)
    done = minidl(*arguments, "--label-column", "wnid", *words, "--json", target)
    assert done.status == 0, done.err
    assert read_json(target)["networks"][0] == by_number
    assert read_json(target)["classes"][0] == "tench, Tinca tinca"


def test_scales_are_members_of_the_ensemble(tmp_path, images):
    """Each as the network answers for images of that size, and all of them together."""
    folder, made = images
    classes = list(COUNTS)
    model = network(classes)
    weights, target = written(tmp_path / "w.h5", model), tmp_path / "figures.json"
    done = minidl("evaluate", weights, folder, "--scales", "1,1.5", "--json", target)
    assert done.status == 0, done.err
    rows = {row["name"]: row for row in read_json(target)["networks"]}
    assert list(rows) == ["w.h5 at 1", "w.h5 at 1.5", "average", "vote"]
    truth = np.array([classes.index(path.parent.name) for path in made])
    shares = [
        answers(model, [md.data.read_image(path, size) for path in made]) for size in (32, 48)
    ]
    for name, each in zip(rows, [*shares, np.mean(shares, axis=0)]):
        expected = metrics.log_loss(truth, each, labels=range(len(classes)))
        assert rows[name]["loss"] == pytest.approx(expected, rel=1e-4)
    assert rows["w.h5 at 1"]["loss"] != rows["w.h5 at 1.5"]["loss"]
    for scales in ("0.5,1", "1,1", "9"):
        done = minidl("evaluate", weights, folder, "--scales", scales)
        assert done.status == 2
        assert "--scales must be different numbers from 1 to 4" in done.err
    assert minidl("build", folder, tmp_path / "rows.h5", "--size", 48).status == 0
    done = minidl("evaluate", weights, tmp_path / "rows.h5", "--scales", "1,1.5")
    assert done.status == 2
    assert "decoded already, to 48 pixels: leave --scales out" in done.err
