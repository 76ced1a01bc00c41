"""MTCNN: its crops against loops, its weights, faces in photographs, odd pictures and settings."""

import numpy as np
import pytest

from minidl.apps.detect import MTCNN
from minidl.apps.detect.crops import Crops
from minidl.apps.detect.mtcnn import _distinct, _levels, _squares
from minidl.data import read_image
from minidl.errors import ArgumentError, DTypeError, FileFormatError, ShapeError
from minidl.io.caffe import read_caffemodel

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def mtcnn(shared_data):
    return MTCNN.load(shared_data / "mtcnn_caffe")


def averaged(image, box, size):
    """Adaptive averages of a crop, in loops; black outside."""
    x1, y1, x2, y2 = box
    wide, high = x2 - x1, y2 - y1
    padded = np.zeros((high, wide, image.shape[2]))
    for y in range(high):
        for x in range(wide):
            if 0 <= y + y1 < image.shape[0] and 0 <= x + x1 < image.shape[1]:
                padded[y, x] = image[y + y1, x + x1]
    found = np.empty((*size, image.shape[2]))
    for i in range(size[0]):
        for j in range(size[1]):
            rows = slice(i * high // size[0], -(-(i + 1) * high // size[0]))
            columns = slice(j * wide // size[1], -(-(j + 1) * wide // size[1]))
            found[i, j] = padded[rows, columns].mean(axis=(0, 1))
    return found


@pytest.mark.parametrize("size", [(4, 4), (3, 7)])
def test_crops_are_averages(size):
    image = RNG.integers(0, 256, (9, 13, 3)).astype(np.uint8)
    boxes = np.array([[0, 0, 13, 9], [2, 3, 8, 9], [-3, -2, 4, 5], [9, 5, 20, 16], [1, 1, 2, 3],
                      [20, 20, 25, 25], [-9, 0, -1, 4]])  # fmt: skip
    found = Crops(image)(boxes, size)
    assert found.dtype == np.float32
    wanted = [averaged(image, box, size) for box in boxes]
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_sums_beyond_32_bits():
    """A white image has more than 2^32 in all; what is asked for has less."""
    image = np.full((4200, 4200, 1), 255, np.uint8)
    boxes = np.array([[0, 0, 4200, 4200], [4000, 4000, 4200, 4200]])
    assert (Crops(image)(boxes, (24, 24)) == 255).all()


def test_squares():
    boxes = np.float32([[10, 20, 20, 26], [0, 0, 0.2, 0.1], [-5, -5, 5, 7]])
    assert _squares(boxes).tolist() == [[10, 18, 20, 28], [0, 0, 1, 1], [-6, -5, 6, 7]]


def test_a_box_inside_another_is_no_second_face():
    boxes = np.float32([[0, 0, 4, 4], [0, 0, 10, 10], [8, 0, 18, 10], [0, 20, 5, 25]])
    scores = np.float32([0.7, 0.9, 0.8, 0.6])
    assert _distinct(boxes, scores, 0.7).tolist() == [1, 2, 3]
    assert _distinct(boxes[:0], scores[:0], 0.7).tolist() == []


def test_levels():
    """A face of 20 pixels fills the 12 of P-Net on the first level."""
    assert _levels((100, 60), 20, 0.5) == [(60, 36), (30, 18)]
    assert _levels((11, 500), 12, 0.5) == []


FACES = [("test1.jpg", [((115, 47), (141, 51)), ((310, 121), (337, 117))]),
         ("test2.jpg", [((217, 158), (275, 138))])]  # fmt: skip


@pytest.mark.parametrize(("file", "eyes"), FACES)
def test_faces_of_the_published_photographs(mtcnn, shared_data, file, eyes):
    """As many as the data's README tells; eyes are where a person sees them, within 4 pixels."""
    image = read_image(shared_data / "mtcnn_caffe" / file)
    found = mtcnn.detect(image)
    assert (found["scores"] > 0.999).all()
    assert (np.diff(found["scores"]) <= 0).all()
    assert {name: (str(a.dtype), a.shape[1:]) for name, a in found.items()} == {
        "boxes": ("float32", (4,)), "labels": ("int64", ()), "scores": ("float32", ()),
        "points": ("float32", (5, 2)),
    }  # fmt: skip
    order = np.argsort(found["boxes"][:, 0])
    np.testing.assert_allclose(found["points"][order, :2], eyes, atol=4)
    inside = found["points"] - found["boxes"][:, None, :2]
    assert (inside > 0).all()
    assert (found["points"] < found["boxes"][:, None, 2:]).all()


def test_other_forms_of_a_picture(mtcnn, shared_data):
    path = shared_data / "mtcnn_caffe" / "test2.jpg"
    image = read_image(path)
    wanted = mtcnn.detect(image)
    opaque = np.dstack([image, np.full(image.shape[:2], 7, np.uint8)])
    for same in (path, opaque, np.asfortranarray(image)):
        np.testing.assert_array_equal(mtcnn.detect(same)["boxes"], wanted["boxes"])
    grey = mtcnn.detect(image.mean(axis=2).astype(np.uint8))
    np.testing.assert_allclose(grey["boxes"], wanted["boxes"], atol=8)
    # twice as large: the same face at twice the place
    large = mtcnn.detect(image.repeat(2, axis=0).repeat(2, axis=1), min_size=40)
    np.testing.assert_allclose(large["boxes"], 2 * wanted["boxes"], atol=8)


@pytest.mark.parametrize("shape", [(1, 1), (11, 300, 3), (12, 12, 3), (40, 64, 4)])
def test_pictures_without_a_face(mtcnn, shape):
    found = mtcnn.detect(np.full(shape, 128, np.uint8), min_size=12)
    assert [len(found[name]) for name in ("boxes", "labels", "scores", "points")] == [0] * 4
    assert (found["boxes"].shape, found["points"].shape) == ((0, 4), (0, 5, 2))


def test_settings():
    mtcnn, image = MTCNN(), np.zeros((20, 20, 3), np.uint8)
    wrong = [
        ({"min_size": 0}, "min_size must be pixels, above 0"),
        ({"factor": 1}, "factor must be between 0 and 1, got 1"),
        ({"thresholds": (0.5, 0.5)}, "thresholds must be three numbers"),
        ({"thresholds": 0.5}, "thresholds must be three numbers"),
        ({"thresholds": (0.5, 0.5, 2)}, "thresholds must be between 0 and 1"),
        ({"thresholds": (0.5, 0.5, float("nan"))}, "thresholds must be a finite number"),
        ({"min_size": 1e-200}, "too large for min_size=1e-200: a min_size of 1 would do"),
        ({"min_size": 5e-324}, "too large for min_size="),
        ({"min_size": 1e-3}, "an image of 20 x 20 pixels is too large for min_size=0.001: a min"),
    ]
    for settings, said in wrong:
        with pytest.raises(ArgumentError, match=said):
            mtcnn.detect(image, **settings)
    with pytest.raises(DTypeError, match="must be of uint8, got float64"):
        mtcnn.detect(image / 255)
    with pytest.raises(ShapeError, match="must be a picture"):
        mtcnn.detect(image[None])


def test_the_mode_stays():
    mtcnn = MTCNN().train()
    mtcnn.detect(np.zeros((20, 20, 3), np.uint8))
    assert mtcnn.training
    assert mtcnn.onet.features.training


def test_counts_of_the_paper():
    """Without R-Net's points, which Caffe's file holds too, as the data's README counts them."""
    mtcnn = MTCNN()
    assert [n.num_parameters for n in (mtcnn.pnet, mtcnn.rnet, mtcnn.onet)] == [
        6_632, 101_468, 389_040,
    ]  # fmt: skip


def test_files_of_other_networks(tmp_path, shared_data):
    folder = shared_data / "mtcnn_caffe"
    for i, source in enumerate((2, 1, 3), 1):
        copied = (folder / f"det{source}.caffemodel").read_bytes()
        (tmp_path / f"det{i}.caffemodel").write_bytes(copied)
    said = r"det1\.caffemodel: expected the layers of MTCNN's PNet, found conv1, prelu1"
    with pytest.raises(FileFormatError, match=said):
        MTCNN.load(tmp_path)
    with pytest.raises(FileNotFoundError):
        MTCNN.load(tmp_path / "none")


def test_weights_that_are_no_numbers(tmp_path, shared_data):
    folder = shared_data / "mtcnn_caffe"
    arrays = read_caffemodel(folder / "det1.caffemodel")
    first = arrays[0].blobs[1].tobytes()
    content = (folder / "det1.caffemodel").read_bytes()
    assert content.count(first) == 1
    (tmp_path / "det1.caffemodel").write_bytes(
        content.replace(first, np.full(10, np.nan, np.float32).tobytes())
    )
    with pytest.raises(FileFormatError, match=r"det1\.caffemodel: .* NaNs or infinities"):
        MTCNN.load(tmp_path)
