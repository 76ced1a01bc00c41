"""benchmarks.transfer: its data sets, and a row of its table."""

import re

import numpy as np
import pytest
from cli_members import network, written

from benchmarks import transfer


@pytest.mark.parametrize(
    ("name", "train", "rest", "classes", "size"),
    [
        ("cifar10", 1000, 1000, 10, 128),
        ("faces", 200, 200, 40, 128),
        ("blood_cells", 600, 501, 3, 96),
    ],
)
def test_data_sets(shared_data, name, train, rest, classes, size):
    first, second, pixels = transfer.IMAGES[name](shared_data, 0)
    other, *_ = transfer.IMAGES[name](shared_data, 1)
    assert (len(first[1]), len(second[1]), pixels) == (train, rest, size)
    for images, labels in (first, second):
        assert images.dtype == np.uint8
        assert images.shape[3] == 3
        assert np.unique(labels).tolist() == [*range(classes)]
    seen = {image.tobytes() for image in first[0]}
    assert not seen & {image.tobytes() for image in second[0]}
    assert seen != {image.tobytes() for image in other[0]}


def test_small_images_are_enlarged():
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    assert transfer.enlarged(images, 16).shape == (2, 16, 16, 3)
    assert transfer.enlarged(images, 8) is images


def test_the_table(tmp_path, monkeypatch, capsys):
    def two_colours(data, seed):
        random = np.random.default_rng(seed)
        labels = np.arange(24) % 2
        images = random.integers(0, 200, (24, 32, 32, 3)).astype(np.uint8)
        images[labels == 1, ..., 0] += 50
        return (images[:16], labels[:16]), (images[16:], labels[16:]), 32

    written(tmp_path / "w.h5", network(["a", "b", "c"]))
    monkeypatch.setattr(transfer, "WEIGHTS", {"resnet": ("w.h5", None)})
    monkeypatch.setattr(transfer, "IMAGES", {"colours": two_colours})
    assert transfer.main([str(tmp_path), "--seeds", "2"]) == 0
    head, row, last = capsys.readouterr().out.splitlines()
    assert head.split() == [
        "weights", "images", "probe", "saved", "gain", "of", "seeds", "share", "seconds",
    ]  # fmt: skip
    found = re.fullmatch(
        r"resnet +colours +(\S+)% +(\S+)% +(\S+) +(\S+) to (\S+) +[\d.]+ +\d+", row
    )
    probe, saved, gain, least, most = map(float, found.groups())
    assert gain == pytest.approx(saved - probe, abs=0.011)
    assert least <= gain <= most
    assert last.split() == ["all", f"{gain:+.2f}"]


def test_what_is_kept_is_not_run_again(tmp_path, monkeypatch, capsys):
    ran = []

    def run(data, weights, images, seed):
        ran.append((weights, images, seed))
        if len(ran) == 3:
            raise KeyboardInterrupt
        return [0.5, 0.75, 0.25, 1.0]

    monkeypatch.setattr(transfer, "run", run)
    monkeypatch.setattr(transfer, "WEIGHTS", {"w": ("w.h5", None)})
    monkeypatch.setattr(transfer, "IMAGES", {"a": None, "b": None})
    arguments = [str(tmp_path), "--seeds", "2", "--keep", str(tmp_path / "kept.json")]
    with pytest.raises(KeyboardInterrupt):
        transfer.main(arguments)
    assert transfer.main(arguments) == 0
    assert ran == [("w", "a", 0), ("w", "a", 1), ("w", "b", 0), ("w", "b", 0), ("w", "b", 1)]
    assert capsys.readouterr().out.splitlines()[-1].split() == ["all", "+25.00"]
