"""Detection: items, batches, parts, loaders, and its HDF5 file."""

import pickle
import re
import tracemalloc
import warnings

import h5py
import numpy as np
import pytest
from pictures import picture, save

from minidl import data
from minidl.data.detection.telling import describe, is_detection
from minidl.errors import ArgumentError, DTypeError, FileFormatError, ShapeError

SIZES = [(20, 30), (16, 16), (40, 10), (20, 30)]


@pytest.fixture
def detection():
    """Four images of several sizes, the third without objects."""
    images = [picture(*size, seed=i) for i, size in enumerate(SIZES)]
    targets = [
        {"boxes": [[1, 2, 11, 12], [3, 3, 13, 13]], "labels": [0, 1], "difficult": [True, False]},
        {"boxes": [[0, 0, 16, 16]], "labels": [1]},
        {"boxes": np.zeros((0, 4)), "labels": []},
        {"boxes": [[4, 5, 6.5, 7]], "labels": [0], "crowd": [True]},
    ]
    return data.Detection(
        images, targets, ["cat", "dog"], names=["a", "b/ä", "c", "d"],
        parts=["train", "test", None, "train"],
    )  # fmt: skip


def same(one, other):
    assert (one.classes, one.names, one.parts) == (other.classes, other.names, other.parts)
    for i in range(len(one)):
        (image, target), (its_image, its_target) = one[i], other[i]
        np.testing.assert_array_equal(image, its_image)
        for name in ("boxes", "labels"):
            np.testing.assert_array_equal(target[name], its_target[name])
            assert target[name].dtype == its_target[name].dtype
        for name in ("difficult", "crowd"):
            none = np.zeros(len(target["boxes"]), bool)
            np.testing.assert_array_equal(target.get(name, none), its_target.get(name, none))


def test_items_are_copies(detection):
    image, target = detection[0]
    assert (image.dtype, image.shape) == (np.uint8, (20, 30, 3))
    assert target["boxes"].dtype == np.float32
    target["boxes"][:] = 0
    assert detection[0][1]["boxes"][0].tolist() == [1, 2, 11, 12]
    assert detection[2][1]["boxes"].shape == (0, 4)
    assert detection.counts().tolist() == [2, 2]
    assert [detection.size(i) for i in range(4)] == SIZES


def test_files_are_read_when_they_are_asked_for(tmp_path, detection):
    paths = [save(tmp_path / f"{i}.png", detection[i][0]) for i in range(4)]
    found = data.Detection(paths, detection.targets, detection.classes)
    np.testing.assert_array_equal(found[1][0], detection[1][0])
    assert (found.names[1], found.size(2)) == ("1.png", (40, 10))


def test_batches_are_padded_at_the_bottom_and_on_the_right(detection):
    images, targets = detection.batch([1, 2])
    assert images.shape == (2, 40, 16, 3)
    np.testing.assert_array_equal(images[0, :16], detection[1][0])
    assert not images[0, 16:].any()
    assert not images[1, :, 10:].any()
    assert [target["size"].tolist() for target in targets] == [[16, 16], [40, 10]]
    assert targets[0]["boxes"].tolist() == [[0, 0, 16, 16]]


def test_parts_and_subsets(detection):
    assert detection.part("train").names == ["a", "d"]
    assert detection.subset([3, 1]).names == ["d", "b/ä"]
    unsplit = data.Detection([detection[0][0]], detection.targets[:1], detection.classes)
    with pytest.raises(
        ArgumentError, match=r"isn't split, so that it has no part 'test'; data.spl"
    ):
        unsplit.part("test")
    first, second = data.split(detection, (0.5, 0.5), stratify=False)
    images, targets = next(iter(data.DataLoader(first, 2)))
    assert (len(images), len(targets), len(second)) == (2, 2, 2)


def test_loaders_transform_one_image_at_a_time(detection):
    transforms = [
        data.transforms.RandomZoomOut(p=1), data.transforms.ColorJitter(0.5),
        data.transforms.RandomIoUCrop(), data.transforms.RandomBoxFlip(),
        data.transforms.BoxResize((32, 24)), data.transforms.Normalize(0.5, 0.5),
    ]  # fmt: skip

    def epoch(workers):
        loader = data.DataLoader(
            detection, 3, shuffle=True, seed=1, workers=workers, transform=transforms, augment=True
        )
        return [batch for _ in range(2) for batch in loader]

    for batch, again in zip(epoch(0), epoch(2), strict=True):
        np.testing.assert_array_equal(batch[0], again[0])
        assert (batch[0].shape[1:], batch[0].dtype) == ((32, 24, 3), np.float32)
        for target, its in zip(batch[1], again[1], strict=True):
            np.testing.assert_array_equal(target["boxes"], its["boxes"])


def test_transforms_that_would_leave_boxes_behind(detection):
    for name, settings, instead in (
        ("RandomHorizontalFlip", {}, "RandomBoxFlip takes them along"),
        ("Resize", {"size": (9, 9)}, "BoxResize takes them along"),
        ("CenterCrop", {"size": 9}, "use one that takes them along"),
        ("RandAugment", {}, "use one that"),
    ):
        loader = data.DataLoader(
            detection, 2, transform=[getattr(data.transforms, name)(**settings)]
        )
        with pytest.raises(ArgumentError, match=f"{name} moves pixels and .*{instead}"):
            next(iter(loader))


def test_a_function_of_ones_own_takes_both(detection):
    def shifted(image, target, generator):
        assert generator is None
        return image, target | {"boxes": target["boxes"] + 1}

    _, targets = next(iter(data.DataLoader(detection, 2, transform=[shifted])))
    assert targets[0]["boxes"][0].tolist() == [2, 3, 12, 13]


def test_dicts_of_other_data_sets_are_not_stacked():
    class Own(data.Dataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return np.zeros((4, 4, 3), np.uint8), {"boxes": np.zeros((0, 4), np.float32)}

    with pytest.raises(DTypeError, match=r"Own\[0\] holds a dict, .*: data.Detection\("):
        Own().batch([0, 1])


def test_notebooks_show_it(detection):
    assert "(20, 30, 3) uint8, boxes (2, 4) float32; labels (2,) int64" in detection._repr_html_()


def test_a_box_transform_of_other_data_sets_says_what_it_is_for():
    plain = data.ArrayDataset(np.zeros((2, 8, 8, 3), np.uint8), np.zeros(2, np.int64))
    loader = data.DataLoader(plain, 2, transform=[data.transforms.RandomBoxFlip()])
    with pytest.raises(DTypeError, match="RandomBoxFlip expected an image and its target, a dict"):
        next(iter(loader))


WRONG = [
    ({"boxes": [[5, 5, 5, 9]], "labels": [0]}, ArgumentError, "image 0: box 0 is degenerate"),
    ({"boxes": [[np.nan, 5, 6, 9]], "labels": [0]}, ArgumentError, "boxes must be finite"),
    ({"boxes": [[1, 1, 2, 2]], "labels": [2]}, ArgumentError, "expected labels from 0 to 1, got 2"),
    ({"boxes": [[1, 1, 2, 2]], "labels": [-1]}, ArgumentError, "expected labels from 0"),
    ({"boxes": [[1, 1, 2, 2]], "labels": [0.5]}, DTypeError, "labels must be whole numbers"),
    ({"boxes": [[1, 1, 2, 2]], "labels": []}, ShapeError, r"labels \(n,\) of 1 boxes, got \(0,\)"),
    ({"boxes": [[1, 1, 2]], "labels": [0]}, ShapeError, r"expected boxes \(n, 4\), got \(1, 3\)"),
    ({"boxes": [[1, 1, 2, 2]]}, DTypeError, 'expected a dict with "boxes" and "labels"'),
    ({"boxes": [[1, 1, 2, 2]], "labels": [0], "area": [np.nan]}, ArgumentError, "area must be fin"),
    ({"boxes": [[1, 1, 2, 2]], "labels": [0], "area": [-1]}, ArgumentError, "numbers from 0 up"),
    (
        {"boxes": [[1, 1, 2, 2]], "labels": [0], "points": np.zeros((1, 2))},
        ShapeError, r"expected points \(n, P, 2\) of 1 boxes, got \(1, 2\)",
    ),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_wrong_targets(number):
    target, error, said = WRONG[number]
    with pytest.raises(error, match=said):
        data.Detection([np.zeros((9, 9, 3), np.uint8)], [target], ["a", "b"])


@pytest.mark.parametrize(
    ("indices", "error"), [([True, False] * 2, DTypeError), ([0.7], DTypeError), ([-1], IndexError),
                           ([4], IndexError), ([], ShapeError)],
)  # fmt: skip
def test_wrong_subsets(detection, indices, error):
    """A mask isn't taken for the numbers 0 and 1."""
    with pytest.raises(error, match="Subset expected"):
        detection.subset(np.array(indices))


def test_wrong_sets():
    image, target = np.zeros((9, 9, 3), np.uint8), {"boxes": [[1, 1, 2, 2]], "labels": [0]}
    for images, targets, classes, error, said in (
        ([image], [target] * 2, ["a"], ShapeError, "as many images as targets"),
        ([], [], ["a"], ShapeError, "at least one"),
        ([image], [target], [], ArgumentError, "expected a list of the classes' names"),
        ([image], [target], "ab", ArgumentError, "expected a list of the classes' names, got 'ab'"),
        ([image], [target], ["a", "a"], ArgumentError, "expected classes, each once"),
        ([image[0]], [target], ["a"], ShapeError, r"images \(H, W, 3\) uint8, got uint8 \(9, 3\)"),
        ([7], [target], ["a"], DTypeError, "arrays or files, got int"),
    ):
        with pytest.raises(error, match=said):
            data.Detection(images, targets, classes)
    with pytest.raises(ArgumentError, match="parts are train, validation, test, got 'dev'"):
        data.Detection([image], [target], ["a"], parts=["dev"])


def test_wrong_batches():
    target = {"boxes": np.zeros((0, 4), np.float32), "labels": np.zeros(0, np.int64)}
    with pytest.raises(ArgumentError, match="at least one item"):
        data.collate_boxes([])
    one, other = np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 3), np.float32)
    with pytest.raises(DTypeError, match="images of one dtype, got float32, uint8"):
        data.collate_boxes([(one, target), (other, target)])
    with pytest.raises(ShapeError, match=r"expected images \(H, W, 3\), got \(4, 4, 1\)"):
        data.collate_boxes([(one, target), (one[..., :1], target)])


# HDF5


def test_hdf5(tmp_path, detection):
    path = tmp_path / "a.h5"
    detection.save(path)
    found = data.Detection.open(path)
    same(detection, found)
    same(detection, data.read_boxes(path))
    same(detection, pickle.loads(pickle.dumps(found)))
    assert [found.size(i) for i in range(4)] == SIZES
    assert [each.name for each in tmp_path.iterdir()] == ["a.h5"]
    with pytest.raises(FileExistsError, match="exists: name another file, or replace it"):
        detection.save(path)
    found.save(path, overwrite=True)  # the very file that it reads from
    same(detection, data.Detection.open(path))


def test_points_and_areas_in_hdf5(tmp_path):
    image = picture(9, 9)
    points = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    target = {"boxes": [[1, 1, 3, 3], [2, 2, 9, 9]], "labels": [0, 0], "points": points,
              "area": [3, 40]}  # fmt: skip
    none = {"boxes": np.zeros((0, 4)), "labels": []}
    data.Detection([image, image], [target, none], ["face"]).save(tmp_path / "a.h5")
    found = data.Detection.open(tmp_path / "a.h5")
    np.testing.assert_array_equal(found.targets[0]["points"], points)
    assert found.targets[0]["area"].tolist() == [3, 40]
    assert found.targets[1]["points"].shape == (0, 2, 2)


def test_every_damaged_byte_is_found(tmp_path, detection):
    """In the boxes and all else when it is opened, in the pixels when these are read."""
    path = tmp_path / "a.h5"
    detection.save(path)
    whole = path.read_bytes()
    places = np.random.default_rng(0).integers(0, len(whole), 200)
    for place in [*places.tolist(), whole.rindex(detection[1][0].tobytes()) + 9]:
        damaged = bytearray(whole)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(FileFormatError, match=r"damaged|cut off|expected a file|sealed"):
            same(detection, data.Detection.open(path))
    with pytest.raises(FileFormatError, match="image 1 is damaged: its bytes don't have the check"):
        data.read_boxes(path)  # the last change was to the second image
    assert len(data.read_boxes(path, check=False)) == 4
    path.write_bytes(whole[:-50])
    with pytest.raises(FileFormatError, match="damaged, cut off"):
        data.Detection.open(path)


def test_other_files_are_refused(tmp_path, detection):
    with data.HDF5Writer(tmp_path / "a.h5", (2,), classes=["x"]) as writer:
        writer.add(np.zeros((1, 2), np.uint8), [0])
    with pytest.raises(FileFormatError, match="expected a file of the format minidl detection"):
        data.Detection.open(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["pixels"] = np.zeros(3, np.uint8)
    with pytest.raises(FileFormatError, match="expected a file that minidl wrote"):
        data.read_boxes(tmp_path / "b.h5")
    detection.save(tmp_path / "c.h5")
    with pytest.raises(FileFormatError, match="`minidl build` writes files of images"):
        data.HDF5Dataset(tmp_path / "c.h5")
    with pytest.raises(ArgumentError, match=r"c.h5 holds images and classes: leave images="):
        data.read_boxes(tmp_path / "c.h5", classes=["cat"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"labels": np.array([5])}, "labels from 0 to 1"),
        ({"boxes": np.array([[5, 5, 1, 1]], np.float32)}, "degenerate"),
    ],
)
def test_odd_contents_are_refused(tmp_path, detection, change, said):
    """A file whose checksums are right and whose boxes aren't."""
    detection.targets[1] |= change
    detection.save(tmp_path / "a.h5")
    with pytest.raises(FileFormatError, match=f"a.h5: what it holds is no .*{said}"):
        data.Detection.open(tmp_path / "a.h5")


def test_no_folder_to_save_in(tmp_path, detection):
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*none: create"):
        detection.save(tmp_path / "none" / "a.h5")


SHAPES = ["sizes", "counts", "labels", "boxes", "names", "checksums", "parts"]


@pytest.mark.parametrize("name", SHAPES)
def test_datasets_that_do_not_fit_are_refused(tmp_path, detection, monkeypatch, name):
    from minidl.data.detection import hdf5

    own = hdf5._arrays

    def shortened(found):
        arrays = own(found)
        return arrays | ({name: arrays[name][:-1]} if name in arrays else {})

    if name in ("sizes", "checksums"):
        from minidl.io import sealed

        write = sealed.write_sealed

        def writes(path, content, form):
            content.arrays[name] = content.arrays[name][:-1]
            write(path, content, form)

        monkeypatch.setattr(sealed, "write_sealed", writes)
    monkeypatch.setattr(hdf5, "_arrays", shortened)
    detection.save(tmp_path / "a.h5")
    with pytest.raises(FileFormatError, match="its datasets don't fit together"):
        data.Detection.open(tmp_path / "a.h5")


# Told


def test_what_is_told(detection, tmp_path):
    text = " ".join(describe(detection).split())
    for said in (
        "images 4 without objects 1 width x height 10 to 30 x 16 to 40 boxes 4",
        "boxes an image 0 to 2, median 1 difficult 1 crowd 1",
        "cat 2 2 0 2 2 0 0 6 x 6 1.12", "dog 2 1 1 2 2 0 0 13 x 13 1.00",
        "another one of their class 0 0 0 0 0 one of another class 2 2 2 0 0",
    ):  # fmt: skip
        assert said in text, text
    detection.save(tmp_path / "a.h5")
    assert is_detection(tmp_path / "a.h5")
    assert is_detection(tmp_path)
    (tmp_path / "b.h5").write_bytes(b"nothing")
    assert not is_detection(tmp_path / "b.h5")


def test_overlaps_that_are_told():
    """Two boxes of a class share 1 / 3 of their union, as counted by hand."""
    target = {"boxes": [[0, 0, 4, 4], [2, 0, 6, 4], [0, 0, 4, 4]], "labels": [0, 0, 1]}
    text = describe(data.Detection([np.zeros((9, 9, 3), np.uint8)], [target], ["a", "b"]))
    assert re.search(r"another one of their class +2 +2 +0 +0 +0", text)
    assert re.search(r"one of another class +3 +3 +2 +2 +2", text)
    assert "would take one of 0 boxes" in text


def test_overlaps_of_thousands_of_boxes_take_little_memory():
    """A row of boxes, each a third over the next one: all at once they would take a gigabyte."""
    count = 5000
    x = 2 * np.arange(count)[:, None]
    boxes = np.concatenate([x, 0 * x, x + 4, 0 * x + 4], axis=1)
    image = np.zeros((4, 2 * count + 2, 3), np.uint8)
    labels = np.arange(count) // 2 % 2  # pairs of a class
    found = data.Detection([image], [{"boxes": boxes, "labels": labels}], ["a", "b"])
    tracemalloc.start()
    text = describe(found)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 2e8
    assert re.search(r"another one of their class +5,000 +5,000 +0", text)
    assert re.search(r"one of another class +4,998 +4,998 +0", text)


def test_no_warning_is_given_without_a_reason(detection):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        describe(detection)
        detection.batch([0])
