"""Points found in pictures, and drawn."""

import numpy as np

from minidl.apps.landmarks.faceapi import FacePoints
from minidl.apps.landmarks.networks import LandmarkNetwork
from minidl.nn.modes import evaluating

__all__ = ["find_points"]

BATCH = 64


def find_points(network: LandmarkNetwork | FacePoints, images: np.ndarray) -> np.ndarray:
    """Return the points in pictures (N, size, size, 3) uint8, (N, P, 2) float32, in pixels."""
    found = [np.zeros((0, network.points, 2), np.float32)]
    with evaluating(network):
        for start in range(0, len(images), BATCH):
            x = images[start : start + BATCH]
            for transform in network.preparation():
                x = transform(x)
            found.append(network(x).data)
    return np.concatenate(found) * np.float32(network.size)
