"""Datasets, on disk and in memory, and the loader that gives them in batches."""

from minidl.data import transforms
from minidl.data.cifar10 import cifar10
from minidl.data.dataset import ArrayDataset, Dataset
from minidl.data.detection import Detection, collate_boxes, read_boxes, write_boxes
from minidl.data.digits import digits
from minidl.data.folder import ImageFolder
from minidl.data.hdf5_dataset import HDF5Dataset
from minidl.data.hdf5_writer import HDF5Writer
from minidl.data.images import read_image
from minidl.data.layouts import image_parts
from minidl.data.listing import ImageList
from minidl.data.loader import DataLoader
from minidl.data.mnist import mnist
from minidl.data.splits import Subset, split
from minidl.data.statistics import channel_statistics

__all__ = [
    "ArrayDataset", "DataLoader", "Dataset", "Detection", "HDF5Dataset", "HDF5Writer",
    "ImageFolder", "ImageList", "Subset", "channel_statistics", "cifar10", "collate_boxes",
    "digits", "image_parts", "mnist", "read_boxes", "read_image", "split", "transforms",
    "write_boxes",
]  # fmt: skip
