"""Finding things in pictures.

`MTCNN` finds faces with five landmarks each.
"""

from minidl.apps.detect.mtcnn import MTCNN

__all__ = ["MTCNN"]
