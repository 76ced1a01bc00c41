"""benchmarks.loading: both sides load the same images."""

import numpy as np

from benchmarks import loading
from minidl.data.folder import ImageFolder


def test_the_sides_give_images_of_one_kind(tmp_path):
    """PyTorch is only in the extras `oracle` and `bench`: what it is given is looked at here."""
    folder = loading.photographs(tmp_path / "images", 4)
    images = ImageFolder(folder, size=loading.LARGE)
    theirs = loading.WithPillow(images.paths, images.labels.tolist())
    theirs._augmented = lambda image, rng: image
    for i in range(4):
        np.testing.assert_array_equal(images[i][0], theirs[i][0])
        assert images[i][1] == theirs[i][1]


def test_the_table(monkeypatch, capsys):
    monkeypatch.setattr(loading, "installed", lambda package: False)
    monkeypatch.setattr(loading, "_step", lambda: lambda images, labels: None)
    monkeypatch.setattr(loading, "TRAINED", 16)
    assert loading.main(["--rounds", "1", "--images", "6", "--batch-size", "4"]) == 0
    out = capsys.readouterr().out
    assert "minidl, HDF5 / minidl, memory" in out
    assert "torch" not in out
    rates = {loading.FOLDER: [3.0, 4.0], loading.TORCH: [2.0, 2.0]}
    table = loading.render(rates, 0.0)
    assert "minidl, folder / torch, folder    1.75   1.50  2.00" in table
