"""face-api.js's networks: faces and points in real photographs, boxes by hand."""

import numpy as np
import pytest

from minidl.apps.detect import FaceSSD
from minidl.apps.detect.faceapi import _decoded, _square
from minidl.apps.landmarks import find_points, load_landmarks, measure_points, read_points
from minidl.data import read_image
from minidl.errors import ArgumentError, FileFormatError


@pytest.fixture(scope="module")
def ssd(shared_data):
    return FaceSSD.load(shared_data / "faceapi")


# Boxes around the faces, as a person draws them
FACES = [
    ("mtcnn_caffe/test1.jpg", [[90, 20, 150, 100], [298, 88, 360, 165]]),
    ("mtcnn_caffe/test2.jpg", [[188, 75, 350, 262]]),
    ("photos/elephant.jpg", []),
]


@pytest.mark.parametrize(("file", "boxes"), FACES)
def test_faces(ssd, shared_data, file, boxes):
    found = ssd.detect(read_image(shared_data / file))
    assert found["boxes"].shape == (len(boxes), 4)
    assert found["labels"].tolist() == [0] * len(boxes)
    assert (found["scores"] > 0.55).all()
    if boxes:
        order = np.argsort(found["boxes"][:, 0])
        np.testing.assert_allclose(found["boxes"][order], boxes, atol=12)


def test_thresholds(ssd, shared_data):
    image = read_image(shared_data / "mtcnn_caffe/test1.jpg")
    assert len(ssd.detect(image, score_threshold=0.9)["boxes"]) == 1
    many = ssd.detect(image, score_threshold=0.01, iou_threshold=1)
    assert (np.diff(many["scores"]) <= 0).all()
    assert len(many["boxes"]) > 5
    with pytest.raises(ArgumentError, match="thresholds must be from 0 to 1"):
        ssd.detect(image, score_threshold=2)


def test_decoding_by_hand():
    """y, x over 10 sides, h, w as logarithms over 5."""
    priors = np.float32([[0.2, 0.4, 0.4, 0.8]])  # centre y 0.3, x 0.6; h 0.2, w 0.4
    found = _decoded(np.float32([[5, -5, 5 * np.log(2), 0]]), priors)
    np.testing.assert_allclose(found, [[0.2, 0.2, 0.6, 0.6]], rtol=1e-5)


def test_the_square_keeps_the_aspect():
    x, ratio = _square(np.full((10, 40, 3), 255, np.uint8))
    assert (x.shape, ratio) == ((1, 512, 512, 3), 12.8)
    assert (x[0, :128] == 1).all()
    assert (x[0, 128:] == -1).all()


@pytest.mark.parametrize(
    ("name", "parameters", "limits"),
    [("_68", 356_840, (2.0, 0.062)), ("_68_tiny", 77_224, (2.15, 0.067))],
)
def test_points_of_faces(shared_data, name, parameters, limits):
    """A third of the mean shape's error, which is 6.49 pixels of 96 and an NME of 0.200."""
    path = shared_data / f"faceapi/face_landmark{name}_model-weights_manifest.json"
    network = load_landmarks(path)
    assert network.num_parameters == parameters
    faces = read_points(shared_data / "face_landmarks68", "test", size=112)
    found = measure_points(find_points(network, faces.images) * 96 / 112, faces.points * 96 / 112)
    assert found.rmse < limits[0]
    assert found.nme < limits[1]


def test_weights_of_other_networks(shared_data):
    tiny = shared_data / "faceapi/tiny_face_detector_model-weights_manifest.json"
    with pytest.raises(FileFormatError, match=r"expected face-api\.js's SSD-MobileNet"):
        FaceSSD.load(tiny)
    with pytest.raises(FileFormatError, match=r"expected face-api\.js's network of 68 points"):
        load_landmarks(tiny)
