"""Points in pictures, such as the corners of eyes: networks that find them.

`train_landmarks` and `find_points` do what `minidl landmarks` does.
"""

from minidl.apps.landmarks.faceapi import FacePoints
from minidl.apps.landmarks.finding import draw_points, face_squares, find_points, locate
from minidl.apps.landmarks.measuring import (
    EYES, Errors, cumulative_errors, measure_points, nme, plot_errors, rmse,
)  # fmt: skip
from minidl.apps.landmarks.networks import LandmarkNetwork, load_landmarks
from minidl.apps.landmarks.sets import MIRROR, PointSet, read_points
from minidl.apps.landmarks.training import Trained, train_landmarks

__all__ = [
    "EYES", "MIRROR", "Errors", "FacePoints", "LandmarkNetwork", "PointSet", "Trained",
    "cumulative_errors", "draw_points", "face_squares", "find_points", "load_landmarks", "locate",
    "measure_points", "nme", "plot_errors", "read_points", "rmse", "train_landmarks",
]  # fmt: skip
