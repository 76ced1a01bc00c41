"""`minidl predict`."""

import csv
import re

import numpy as np
from cli_members import (
    MOBILENET,
    WORDS,
    answers,
    constant,
    network,
    written,
)
from command import minidl, read_json
from pictures import picture, save

from minidl import train


def told(out):
    """What was printed: by image, (percent, class) of each line."""
    found = {}
    for block in out.strip("\n").split("\n\n"):
        name, *lines = block.splitlines()
        found[name] = [re.fullmatch(r"  ( *[\d.]+)%  (.+)", line).groups() for line in lines]
    return found


def test_predictions_are_the_networks_own(tmp_path):
    names = ["ant", "bee", "cat"]
    model = network(names)
    file = written(tmp_path / "w.h5", model)
    paths = [save(tmp_path / "p" / f"{i}.png", picture(32, 32, seed=i)) for i in (10, 9, 1)]
    target = tmp_path / "f.json"
    done = minidl("predict", *paths, "--weights", file, "--json", target, "--batch-size", 2)
    assert (done.status, done.err) == (0, "")
    expected = answers(model, [picture(32, 32, seed=i) for i in (10, 9, 1)])
    printed, found = told(done.out), read_json(target)["predictions"]
    assert list(printed) == [each["image"] for each in found] == list(map(str, paths))
    for path, row, each in zip(paths, expected, found):
        order = np.argsort(-row)
        assert [c for _, c in printed[str(path)]] == [names[n] for n in order]
        assert [p.strip() for p, _ in printed[str(path)]] == [f"{row[n]:.2%}"[:-1] for n in order]
        assert [c["number"] for c in each["classes"]] == order.tolist()
        np.testing.assert_allclose([c["probability"] for c in each["classes"]], row[order], 1e-4)
    done = minidl("predict", tmp_path / "p", "--weights", file, "--top", 1)
    printed = told(done.out)
    assert list(printed) == [str(tmp_path / "p" / f"{i}.png") for i in (1, 9, 10)]  # natural order
    assert [len(lines) for lines in printed.values()] == [1, 1, 1]


def test_predictions_of_an_ensemble(tmp_path):
    p = np.array([[0.9, 0.05, 0.05], [0.3, 0.4, 0.3], [0.3, 0.4, 0.3]])
    names = ["ant", "bee", "cat"]
    files = [
        written(tmp_path / "a.h5", constant(p[0], names)),
        written(tmp_path / "b.h5", constant(p[1][::-1], names[::-1])),
        written(tmp_path / "c.h5", constant(p[2], names)),
    ]
    image = save(tmp_path / "p.png", picture())
    done = minidl("predict", image, "--weights", *files)
    assert told(done.out)[str(image)] == [(" 50.00", "ant"), (" 28.33", "bee"), (" 21.67", "cat")]
    done = minidl("predict", image, "--weights", *files, "--vote", "--ten-crop")
    shares = [f"{100 * (votes + mean) / 4:6.2f}" for votes, mean in ((2, 0.85 / 3), (1, 0.5))]
    assert told(done.out)[str(image)][:2] == [(shares[0], "bee"), (shares[1], "ant")]
    done = minidl("predict", image, "--weights", files[0], "--vote")
    assert done.status == 2
    assert "--vote joins several networks" in done.err


def test_classes_without_names_have_numbers(tmp_path):
    file = written(tmp_path / "w.h5", constant([0.2, 0.7, 0.1], None))
    image = save(tmp_path / "p.png", picture())
    done = minidl("predict", image, "--weights", file, "--top", 2)
    assert done.out == f"{image}\n   70.00%  class 1\n   20.00%  class 0\n"


def test_images_that_cannot_be_predicted(tmp_path):
    file = written(tmp_path / "w.h5", constant([0.2, 0.8], ["a", "b"]))
    good = save(tmp_path / "p" / "2.png", picture())
    bad = tmp_path / "p" / "1.jpg"
    bad.write_bytes(b"no image")
    (tmp_path / "p" / ".hidden.png").write_bytes(b"")
    (tmp_path / "p" / "notes.txt").write_bytes(b"")
    target = tmp_path / "f.json"
    done = minidl("predict", tmp_path / "p", "--weights", file, "--json", target)
    assert done.status == 1
    assert list(told(done.out)) == [str(good)]
    assert done.err.startswith(f"minidl predict: {bad}: expected an image (")
    assert done.err.count("\n") == 1
    assert [each["file"] for each in read_json(target)["skipped"]] == [str(bad)]
    done = minidl("predict", bad, "--weights", file)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"minidl predict: {bad}: expected an image (")
    for message, path in (
        ("there is no .*nowhere", tmp_path / "nowhere"),
        ("no image in", tmp_path),
    ):
        done = minidl("predict", good, path, "--weights", file)
        assert (done.status, done.out) == (2, "")
        assert re.match(rf"minidl predict: .*{message}", done.err)


def test_a_table_of_the_predictions(tmp_path):
    names = ["a", 'b, "B"', "\u00e7"]
    file = written(tmp_path / "w.h5", constant([0.2, 0.7, 0.1], names))
    good = save(tmp_path / "p" / "1.png", picture())
    bad = tmp_path / "p" / "2.png"
    bad.write_bytes(b"no image")
    target = tmp_path / "found.csv"
    done = minidl("predict", tmp_path / "p", "--weights", file, "--top", 2, "--csv", target)
    assert done.status == 1
    head, first, second = csv.reader(target.read_text(encoding="utf-8").splitlines())
    assert head == ["file", "class", "probability", "class_2", "probability_2", "error"]
    assert first[::2] == [str(good), first[2], first[4]]
    assert first[1::2] == ['b, "B"', "a", ""]
    np.testing.assert_allclose([float(first[2]), float(first[4])], [0.7, 0.2], 1e-5)
    assert second[:-1] == [str(bad), "", "", "", ""]
    assert second[-1].startswith("expected an image")
    done = minidl("predict", bad, "--weights", file, "--csv", target)
    assert done.status == 2
    head, only = csv.reader(target.read_text(encoding="utf-8").splitlines())
    assert head == ["file", "class", "probability", "error"]
    assert only[:3] == [str(bad), "", ""]


def test_the_table_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    def interrupted(**given):
        yield train.Prediction(tmp_path / "a.png", error="is empty")
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "predict", interrupted)
    target = tmp_path / "found.csv"
    target.write_text("old")
    done = minidl("predict", "p", "--weights", "w.h5", "--csv", target)
    assert done.status == 130
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("found.csv", "old")]
    done = minidl("predict", "p", "--weights", "w.h5", "--csv", tmp_path / "no" / "found.csv")
    assert (done.status, done.out) == (2, "")
    assert "there is no folder" in done.err


def test_mobilenet_knows_a_cheetah(shared_data):
    photo = shared_data / "photos" / "cheetah.jpg"
    done = minidl(
        "predict", photo, "--weights", shared_data / MOBILENET, "--classes", shared_data / WORDS
    )
    assert done.status == 0, done.err
    share, name = told(done.out)[str(photo)][0]
    assert name == "cheetah, chetah, Acinonyx jubatus"
    assert float(share) > 90
