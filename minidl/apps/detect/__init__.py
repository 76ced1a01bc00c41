"""Finding things in pictures.

`MTCNN` finds faces with five landmarks each, `FaceSSD` faces alone.
"""

from minidl.apps.detect.faceapi import FaceSSD
from minidl.apps.detect.mtcnn import MTCNN

__all__ = ["MTCNN", "FaceSSD"]
