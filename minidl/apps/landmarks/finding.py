"""Points found in pictures, and drawn."""

from typing import Any

import numpy as np

from minidl.apps.detect.crops import Crops
from minidl.apps.landmarks.faceapi import FacePoints
from minidl.apps.landmarks.networks import LandmarkNetwork
from minidl.apps.pictures import Picture, rgb_pixels
from minidl.data.images import fit_pixels
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.nn.modes import evaluating

__all__ = ["draw_points", "face_squares", "find_points", "locate"]

BATCH = 64
# Of the pictures in which the 68 points were learnt, in shares of their side: how far the eyes are
# apart, how far the mouth is below them, and how far the middle of both is above the centre. With
# these, the larger of two estimates of the side is right on average.
APART, BELOW, ABOVE = 0.315, 0.353, 0.047
LEAST = 480  # pixels of the longer side of a drawing
DOT, RIM = (80, 255, 80), (0, 0, 0)


def find_points(network: LandmarkNetwork | FacePoints, images: np.ndarray) -> np.ndarray:
    """Return the points in pictures (N, size, size, 3) uint8: (N, P, 2) float32, in pixels.

    Raises ShapeError for pictures of another size than the network's, DTypeError for other numbers.
    """
    size = network.size
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        got = getattr(images, "dtype", type(images).__name__)
        raise DTypeError(f"find_points expected pictures of uint8, got {got}")
    if images.ndim != 4 or images.shape[1:] != (size, size, 3):
        raise ShapeError(
            f"find_points expected pictures (N, {size}, {size}, 3), got shape {images.shape}: "
            f"read_points(path, size={size}) resizes them"
        )
    found = [np.zeros((0, network.points, 2), np.float32)]
    with evaluating(network):
        for start in range(0, len(images), BATCH):
            x = images[start : start + BATCH]
            for transform in network.preparation():
                x = transform(x)
            found.append(network(x).data)
    return np.concatenate(found) * np.float32(size)


def locate(
    network: LandmarkNetwork | FacePoints, picture: Picture, squares: np.ndarray | None = None
) -> np.ndarray:
    """Return the points in a picture of any size, (n, P, 2) float32, in its pixels.

    picture: a file, or an array of uint8, (H, W), (H, W, 3) or (H, W, 4).
    squares: where to look, (n, 4) whole pixels x1, y1, x2, y2, as `face_squares` gives; None: in
        the whole picture.
    Raises ShapeError, DTypeError and ArgumentError for squares that aren't such.
    """
    pixels = rgb_pixels("locate", "picture", picture)
    size = network.size
    if squares is None:
        crops = fit_pixels(pixels, (size, size), "stretch")[np.newaxis]
        squares = np.array([[0, 0, pixels.shape[1], pixels.shape[0]]])
    else:
        _check_squares(squares)
        crops = np.rint(Crops(pixels)(squares, (size, size))).astype(np.uint8)
    sides = (squares[:, np.newaxis, 2:] - squares[:, np.newaxis, :2]).astype(np.float32)
    found: np.ndarray = squares[:, np.newaxis, :2] + find_points(network, crops) / size * sides
    return found.astype(np.float32)


def _check_squares(squares: Any) -> None:
    if not isinstance(squares, np.ndarray) or squares.dtype.kind not in "iu":
        got = getattr(squares, "dtype", type(squares).__name__)
        raise DTypeError(f"locate expected squares of whole pixels, got {got}: np.rint rounds them")
    if squares.ndim != 2 or squares.shape[1] != 4:
        raise ShapeError(f"locate expected squares (n, 4), got shape {squares.shape}")
    wrong = (squares[:, 2:] <= squares[:, :2]).any(axis=1)
    if wrong.any():
        row = int(wrong.argmax())
        raise ArgumentError(
            f"locate: squares must be x1, y1, x2, y2 with x2 > x1 and y2 > y1, got "
            f"{squares[row].tolist()} in row {row}"
        )


def face_squares(points: np.ndarray) -> np.ndarray:
    """Return where to look for the 68 points of faces, whole pixels (n, 4).

    points: (n, 5, 2), as `MTCNN.detect` finds them: eyes, nose, corners of the mouth.
    """
    eyes, mouth = points[:, :2].mean(axis=1), points[:, 3:].mean(axis=1)
    down = mouth - eyes
    apart = np.linalg.norm(points[:, 1] - points[:, 0], axis=1)
    # of a face that looks aside or down, one of the two is shortened
    side = np.maximum(apart / APART, np.linalg.norm(down, axis=1) / BELOW).clip(1)[:, np.newaxis]
    length = np.linalg.norm(down, axis=1, keepdims=True).clip(1e-6)
    centre = (eyes + mouth) / 2 + ABOVE * side * down / length
    corner, side = np.rint(centre - side / 2), np.rint(side)
    return np.concatenate([corner, corner + side], axis=1).astype(np.int64)


def draw_points(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return a picture (H, W, 3) uint8 with dots on the points (n, P, 2).

    One whose longer side has less than 480 pixels is enlarged by a whole factor.
    """
    from PIL import Image, ImageDraw

    scale = max(1, -(-LEAST // max(image.shape[:2])))
    height, width = (scale * side for side in image.shape[:2])
    picture = Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(picture)
    for each in points:
        sides = scale * np.ptp(each, axis=0).max()
        radius = float(np.clip(sides / 90, 1.5, 12))
        for x, y in scale * each:
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=DOT, outline=RIM)
    return np.asarray(picture).copy()
