"""Points in pictures: finding them in squares, drawing them, reading folders and tables."""

import zipfile

import numpy as np
import pytest
from PIL import Image

from minidl import models
from minidl.apps.landmarks import (
    LandmarkNetwork,
    draw_points,
    face_squares,
    find_points,
    locate,
    read_points,
)  # fmt: skip
from minidl.errors import (
    ArgumentError,
    DTypeError,
    FileFormatError,
    ShapeError,
)  # fmt: skip

RNG = np.random.default_rng(0)


def test_locating_in_squares():
    """As in the crops themselves, moved and enlarged; black beyond the edges."""
    network = LandmarkNetwork(models.mobilenet_v1(1, width=0.25), 3, size=32).eval()
    image = RNG.integers(0, 256, (50, 80, 3)).astype(np.uint8)
    squares = np.array([[10, 5, 42, 37], [-4, 20, 28, 52]])
    padded = np.pad(image, ((40, 40), (40, 40), (0, 0)))
    crops = np.stack([padded[y1 + 40 : y2 + 40, x1 + 40 : x2 + 40] for x1, y1, x2, y2 in squares])
    wanted = find_points(network, crops) + squares[:, None, :2]
    np.testing.assert_allclose(locate(network, image, squares), wanted, rtol=1e-5)
    assert locate(network, image, squares[:0]).shape == (0, 3, 2)
    whole = locate(network, image)[0]
    resized = np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(
        whole, find_points(network, resized[None])[0] * (80 / 32, 50 / 32), rtol=1e-5
    )
    with pytest.raises(ShapeError, match=r"expected pictures \(N, 32, 32, 3\), got shape \(50,"):
        find_points(network, image)
    with pytest.raises(DTypeError, match="expected pictures of uint8, got float32"):
        find_points(network, crops.astype(np.float32))
    for wrong, error, said in [
        (squares.astype(float), DTypeError, "whole pixels, got float64"),
        (squares.tolist(), DTypeError, "whole pixels, got list"),
        (squares[0], ShapeError, r"squares \(n, 4\), got shape \(4,\)"),
        (squares[:, [0, 1, 0, 3]], ArgumentError, r"got \[10, 5, 10, 37\] in row 0"),
    ]:
        with pytest.raises(error, match=said):
            locate(network, image, wrong)


def test_squares_of_faces(shared_data):
    """Of true points, on average: the pictures that the 68 points are told in."""
    faces = np.load(shared_data / "face_landmarks68/train_keypoints.npy")  # (1500, 68, 2)
    eyes = [faces[:, first:last].mean(axis=1) for first, last in ((36, 42), (42, 48))]
    five = np.stack([*eyes, faces[:, 30], faces[:, 48], faces[:, 54]], axis=1)
    found = face_squares(five)
    assert (found[:, 2] - found[:, 0] == found[:, 3] - found[:, 1]).all()
    np.testing.assert_allclose(found.mean(axis=0), [0, 0, 96, 96], atol=3)


def test_dots_are_drawn_on_points():
    drawn = draw_points(np.zeros((60, 80, 3), np.uint8), np.array([[[20.0, 30.0], [60.0, 10.0]]]))
    assert drawn.shape == (360, 480, 3)
    ys, xs = np.nonzero(drawn[..., 1] > 200)
    for x, y in ((120, 180), (360, 60)):
        assert np.hypot(xs - x, ys - y).min() < 2
    assert min(np.hypot(xs - 120, ys - 180) < 12) is np.False_


@pytest.fixture
def folder(tmp_path):
    """Pictures of 20 x 40 pixels, in an archive and in a folder."""
    rng = np.random.default_rng(3)
    points = rng.uniform(2, 20, (3, 4, 2)).astype(np.float32)
    np.save(tmp_path / "train_keypoints.npy", points)
    np.save(tmp_path / "test_keypoints.npy", points)
    (tmp_path / "test").mkdir()
    with zipfile.ZipFile(tmp_path / "train.zip", "w") as archive:
        for i in (2, 0, 1):
            path = tmp_path / "test" / f"{i}.png"
            Image.fromarray(np.full((20, 40, 3), 50 * i, np.uint8)).save(path)
            archive.write(path, f"../{i}.png")
    return tmp_path, points


@pytest.mark.parametrize("part", ["train", "test"])
def test_reading_a_folder(folder, part):
    path, points = folder
    found = read_points(path, part, size=10)
    assert found.images[:, 0, 0, 0].tolist() == [0, 50, 100]  # by name
    assert found.images.shape == (3, 10, 10, 3)
    np.testing.assert_allclose(found.points, points * (10 / 40, 10 / 20), rtol=1e-6)


def test_reading_a_table(folder):
    path, points = folder
    lines = ["file,x1,y1,x2,y2"]
    for i in (1, 0):
        lines.append(f"test/{i}.png," + ",".join(map(str, points[i, :2].ravel().tolist())))
    table = path / "points.csv"
    table.write_text("\n".join(lines))
    found = read_points(table, size=20)
    assert (found.names, found.images[0, 0, 0, 0]) == (["test/1.png", "test/0.png"], 50)
    np.testing.assert_allclose(found.points, points[[1, 0], :2] * (0.5, 1), rtol=1e-5)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("file,x1,y1,x2\na.png,1,2,3", "expected the columns file,x1,y1,x2,y2 and so on"),
        ("file,y1,x1\na.png,1,2", "expected the columns file,x1,y1"),
        ("file,x1,y1", "and 0 rows"),
        ("", "found '' and 0 rows"),
        ("file,x1,y1\ntest/0.png,1", "row 1 below the names: expected 2 numbers, found 1"),
        ("file,x1,y1\ntest/0.png,1,2\ntest/0.png,3,4", "row 2 below .*: test/0.png is row 1 too"),
        ("file,x1,y1\n,1,2", "row 1 below the names: there is no file"),
        ("file,x1,y1\ntest/1.png,5,41", r"test/1.png: a point lies at \[5.0, 41.0\], far outside"),
        ("file,x1,y1\ntest/0.png,1,a", "row 1 below the names: could not convert"),
        ("file,x1,y1\ntest/1.png,5,nan", "test/1.png: a point isn't finite"),
        ("file,x1,y1\ntest/1.png,0.5,0.7", "give pixels, not shares of the size"),
    ],
)
def test_bad_tables(folder, content, said):
    table = folder[0] / "points.csv"
    table.write_text(content)
    with pytest.raises(FileFormatError, match=said):
        read_points(table)


def test_bad_folders(folder):
    path, points = folder
    np.save(path / "train_keypoints.npy", points[:2])
    with pytest.raises(FileFormatError, match=r"2 rows in train_keypoints\.npy, but 3 pictures"):
        read_points(path)
    for bad in (np.array([{}], object), points[0], np.zeros((0, 3, 2)), np.zeros((1, 2, 2), "U3")):
        np.save(path / "train_keypoints.npy", bad, allow_pickle=True)
        with pytest.raises(FileFormatError, match=r"train_keypoints\.npy: expected"):
            read_points(path)
    np.save(path / "train_keypoints.npy", points)
    (path / "train.zip").write_bytes(b"PK")
    with pytest.raises(FileFormatError, match="not a zip"):
        read_points(path)
    with zipfile.ZipFile(path / "train.zip", "w") as archive:
        for i in range(3):
            archive.writestr(f"{i}.png", b"no picture")
    with pytest.raises(FileFormatError, match=r"train\.zip: 0\.png: expected an image"):
        read_points(path)
    content = bytearray((path / "train.zip").read_bytes())
    content[40:44] = b"ruin"  # of what the first picture holds: its checksum is wrong
    (path / "train.zip").write_bytes(content)
    with pytest.raises(FileFormatError, match=r"train\.zip: 0\.png: Bad CRC-32"):
        read_points(path)
    content[6] |= 1  # encrypted, as the entry and the list of entries say
    content[content.index(b"PK\1\2") + 8] |= 1
    (path / "train.zip").write_bytes(content)
    with pytest.raises(FileFormatError, match=r"train\.zip: 0\.png: .*encrypted"):
        read_points(path)
    with pytest.raises(FileNotFoundError):
        read_points(path / "none")
