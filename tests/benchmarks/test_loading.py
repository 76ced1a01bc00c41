"""benchmarks.loading: both sides load the same images."""

import numpy as np

from benchmarks import loading
from minidl.data.folder import ImageFolder


def test_the_sides_give_the_same_items(tmp_path):
    folder = loading.photographs(tmp_path, 4)
    images = ImageFolder(folder, loading.LARGE)
    mine, theirs = loading.Augmented(images), loading.WithPillow(images.paths, images.labels)
    for i in range(4):
        np.testing.assert_array_equal(mine[i][0], theirs[i][0])
        assert mine[i][0].shape == (224, 224, 3)
        assert mine[i][1] == theirs[i][1]


def test_the_table(monkeypatch, capsys):
    monkeypatch.setattr(loading, "installed", lambda package: False)
    assert loading.main(["--rounds", "1", "--images", "6", "--batch-size", "4"]) == 0
    out = capsys.readouterr().out
    assert "minidl, HDF5 / minidl, memory" in out
    assert "torch" not in out
    rates = {loading.FOLDER: [3.0, 4.0], loading.TORCH: [2.0, 2.0]}
    table = loading.render(rates, 0.0)
    assert "minidl, folder / torch, folder    1.75   1.50  2.00" in table
