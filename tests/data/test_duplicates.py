"""Images that are there more than once: planted ones are found, others are left alone."""

import io

import numpy as np
import pytest
from pictures import class_folders, picture, save
from PIL import Image

from minidl.data import ArrayDataset, ImageFolder, Subset
from minidl.data.duplicates import EXACT, MIRRORED, NEAR, exact_duplicates, find_duplicates
from minidl.data.telling import repeated, teller, warn

COUNT = 8


def saved_anew(x):
    buffer = io.BytesIO()
    Image.fromarray(x).save(buffer, "JPEG", quality=80)
    return np.asarray(Image.open(buffer))


def resized(x):
    height, width = x.shape[:2]
    small = Image.fromarray(x).resize((width * 9 // 10, height * 9 // 10))
    return np.asarray(small.resize((width, height)))


@pytest.fixture(scope="module")
def images():
    return np.stack([picture(40, 40, seed) for seed in range(COUNT)])


def parts(*sets):
    names = ("train", "validation", "test")
    return {n: ArrayDataset(np.stack(x), np.asarray(y)) for n, (x, y) in zip(names, sets)}


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda x: x, EXACT),
        (saved_anew, NEAR),
        (resized, NEAR),
        (lambda x: (x * 1.1).clip(0, 255).astype(np.uint8), NEAR),
        (lambda x: x[:, ::-1], MIRRORED),
    ],
)
def test_what_is_planted_is_found(images, change, kind):
    labels = np.arange(COUNT) % 2
    changed = [change(image) for image in images]
    found = find_duplicates(parts((images, labels), (changed[::-1], labels[::-1])))
    expected = {(("train", i), ("validation", COUNT - 1 - i)) for i in range(COUNT)}
    assert {pair[:2] for pair in found} == expected
    for pair in found:
        assert pair.kind == kind
        assert pair.across
        assert pair.same_label
        assert 0.94 <= pair.similarity <= 1


def test_what_is_told_first(images):
    """Across parts before within, two labels before one; each copy once a part and label."""
    labels = np.arange(COUNT)
    train = [*images, images[0], images[1], np.zeros((40, 40, 3), np.uint8)]
    validation = [images[0], images[2], np.zeros((40, 40, 3), np.uint8) + 9]
    both = parts((train, [*labels, 0, 5, 3]), (validation, [0, 4, 3]))
    expected = [
        (("train", 2), ("validation", 1), False),
        (("train", 0), ("validation", 0), True),
        (("train", 1), ("train", COUNT + 1), False),
        (("train", 0), ("train", COUNT), True),
    ]
    for found in (exact_duplicates(both), find_duplicates(both)):
        assert [(*pair[:2], pair.same_label) for pair in found] == expected


def test_files_are_compared_by_their_bytes(tmp_path):
    made = class_folders(tmp_path / "pets", {"cat": 3, "dog": 3})
    pixels = next(iter(made.values()))
    save(tmp_path / "pets" / "dog" / "03.png", pixels)
    save(tmp_path / "pets" / "dog" / "04.png", pixels, compress_level=0)  # other bytes
    folder = ImageFolder(tmp_path / "pets")
    both = {"train": Subset(folder, [0, 1, 2]), "validation": Subset(folder, [3, 4, 5, 6, 7])}
    (found,) = exact_duplicates(both)
    assert found[:2] == (("train", 0), ("validation", 3))
    assert not found.same_label
    text = repeated(both)
    assert text.splitlines() == [
        "warning: the same image is in two parts, so that what is measured is too good: 1",
        "  cat/00.png (train) is dog/03.png (validation)",
    ]
    with pytest.warns(RuntimeWarning, match="is dog/03.png"):
        warn(teller(False), text)
    assert repeated({"train": Subset(folder, [0, 1, 2])}) == ""


def test_many_are_counted(images):
    both = parts((images, np.zeros(COUNT)), ([*images, *images], np.zeros(2 * COUNT)))
    lines = repeated(both).splitlines()
    assert lines[0].endswith(": 16")
    assert lines[-1] == "  and 6 more; `minidl find-issues` lists all"
    assert len(lines) == 12
