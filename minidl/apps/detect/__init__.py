"""Object detection: boxes around things in pictures, and how right they are.

`SSD` and `FasterRCNN` are detectors on any body of `minidl.models`, `train_detector` trains one and
`load` makes one of the file that this saved. `measure` compares predictions with targets as the
field does; `draw_boxes` shows them.
"""

from minidl.apps.detect.detector import Detector
from minidl.apps.detect.evaluating import evaluate
from minidl.apps.detect.faster_rcnn import FasterRCNN
from minidl.apps.detect.files import load
from minidl.apps.detect.measuring import Figures, measure
from minidl.apps.detect.ssd import SSD
from minidl.apps.detect.training import Trained, train_detector

__all__ = [
    "SSD", "Detector", "FasterRCNN", "Figures", "Trained", "evaluate", "load", "measure",
    "train_detector",
]  # fmt: skip
