"""Object detection: boxes around things in pictures, and how right they are.

`MTCNN` finds faces with five landmarks each, `FaceSSD` faces alone, and `windows.detect` things
with a classifier. `measure` compares predictions with targets as the field does, `evaluation_page`
makes a page of that, and `draw_boxes` shows the boxes of one picture.
"""

from minidl.apps.detect import windows
from minidl.apps.detect.drawing import draw_boxes
from minidl.apps.detect.faceapi import FaceSSD
from minidl.apps.detect.measuring import ClassFigures, Figures, measure
from minidl.apps.detect.mtcnn import MTCNN
from minidl.apps.detect.page import evaluation_page

__all__ = [
    "MTCNN", "ClassFigures", "FaceSSD", "Figures", "draw_boxes", "evaluation_page", "measure",
    "windows",
]  # fmt: skip
