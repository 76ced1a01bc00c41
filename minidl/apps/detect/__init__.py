"""Object detection: boxes around things in pictures, and how right they are.

`SSD` and `FasterRCNN` are detectors on any body of `minidl.models`; `train_detector` trains one,
`load` makes one of the file that this saved, and `evaluate` measures one on images with boxes.
`MTCNN` finds faces with five landmarks each, `FaceSSD` faces alone, and `windows.detect` things
with a classifier. `measure` compares predictions with targets as the field does, `evaluation_page`
makes a page of that, and `draw_boxes` shows the boxes of one picture.
"""

from minidl.apps.detect import windows
from minidl.apps.detect.detector import Detector
from minidl.apps.detect.drawing import draw_boxes
from minidl.apps.detect.evaluating import evaluate
from minidl.apps.detect.faceapi import FaceSSD
from minidl.apps.detect.faster_rcnn import FasterRCNN
from minidl.apps.detect.files import load
from minidl.apps.detect.measuring import ClassFigures, Figures, measure
from minidl.apps.detect.mtcnn import MTCNN
from minidl.apps.detect.page import evaluation_page
from minidl.apps.detect.ssd import SSD
from minidl.apps.detect.training import Trained, train_detector

__all__ = [
    "MTCNN", "SSD", "ClassFigures", "Detector", "FaceSSD", "FasterRCNN", "Figures", "Trained",
    "draw_boxes", "evaluate", "evaluation_page", "load", "measure", "train_detector", "windows",
]  # fmt: skip
