"""`minidl evaluate --ten-crop`: the average over an image's crops, and each crop alone."""

import numpy as np
import pytest
from cli_members import answers, network, written
from command import minidl, read_json
from pictures import class_folders
from PIL import Image
from sklearn import metrics


def crops_of(pixels, size):
    """The ten crops of a square image, by Pillow."""
    picture_, free = Image.fromarray(pixels), pixels.shape[0] - size
    places = [(0, 0), (free, 0), (0, free), (free, free), (free // 2, free // 2)]
    views = [picture_.crop((x, y, x + size, y + size)) for x, y in places]
    return [np.asarray(v) for v in (*views, *(v.transpose(Image.FLIP_LEFT_RIGHT) for v in views))]


def test_ten_crops_are_averaged(tmp_path):
    """Networks of 98 pixels are given images of 112."""
    made = class_folders(tmp_path / "images", {"a": 2, "b": 1, "c": 2}, size=(112, 112))
    model = network(["b", "c", "a"], size=98)
    file = written(tmp_path / "w.h5", model)
    expected = np.array(
        [answers(model, crops_of(pixels, 98)).mean(axis=0) for pixels in made.values()]
    )
    whole = answers(model, made.values())
    truth = np.array([["b", "c", "a"].index(path.parent.name) for path in made])
    assert abs(expected - whole).max() > 1e-3  # else the test shows nothing
    for options, figures in ((["--ten-crop"], expected), ([], whole)):
        for batch in (1, 25):
            arguments = (tmp_path / "images", *options, "--batch-size", batch)
            done = minidl("evaluate", file, *arguments, "--json", tmp_path / "f.json")
            assert done.status == 0, done.err
            found = read_json(tmp_path / "f.json")["networks"][0]
            assert found["loss"] == pytest.approx(
                metrics.log_loss(truth, figures, labels=range(3)), rel=1e-4
            )
            assert ("ten crops of each" in done.out) == bool(options)


def test_each_crop_alone(tmp_path):
    """Of two networks with other orders of classes, each crop's figures stand below the table."""
    made = class_folders(tmp_path / "images", {"a": 5, "b": 4, "c": 5}, size=(112, 112))
    models = [network(["b", "c", "a"], size=98), network(["c", "a", "b"], size=98)]
    files = [written(tmp_path / f"{i}.h5", model) for i, model in enumerate(models)]
    done = minidl("evaluate", *files, tmp_path / "images", "--ten-crop", "--json", tmp_path / "f")
    assert done.status == 0, done.err
    found, right = read_json(tmp_path / "f")["crops"], []
    for model in models:
        scores = np.array([answers(model, crops_of(pixels, 98)) for pixels in made.values()])
        truth = np.array([model.classes.index(path.parent.name) for path in made])
        right += (scores.argmax(axis=2) == truth[:, np.newaxis]).sum(axis=0).tolist()
    assert len({*right}) > 1  # else the test shows nothing
    assert [row["right"] for row in found] == right
    assert [row["name"] for row in found] == ["0.h5"] * 10 + ["1.h5"] * 10
    line = next(line for line in done.out.splitlines() if line.startswith("top right, mirrored "))
    assert line.split()[-2:] == [f"{right[6] / len(made):.2%}", f"{right[16] / len(made):.2%}"]
    plain = minidl("evaluate", *files, tmp_path / "images", "--json", tmp_path / "f")
    assert plain.status == 0
    assert read_json(tmp_path / "f")["crops"] == []
