"""Images with boxes: annotation files, the data set that they make, and its HDF5 file."""

from minidl.data.detection.collate import collate_boxes
from minidl.data.detection.dataset import Detection, Target
from minidl.data.detection.reading import read_boxes
from minidl.data.detection.writing import write_boxes

__all__ = ["Detection", "Target", "collate_boxes", "read_boxes", "write_boxes"]
