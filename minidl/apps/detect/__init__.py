"""Detection: objects found in images.

`SSD` and `FasterRCNN` are detectors on any body of `minidl.models`, `train_detector` trains one, and
`load` makes one of the file that this saved.
"""

from minidl.apps.detect.detector import Detector
from minidl.apps.detect.faster_rcnn import FasterRCNN
from minidl.apps.detect.files import load
from minidl.apps.detect.ssd import SSD
from minidl.apps.detect.training import Trained, train_detector

__all__ = ["SSD", "Detector", "FasterRCNN", "Trained", "load", "train_detector"]
