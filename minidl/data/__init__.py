"""Datasets, and the loader that gives them in batches."""

from minidl.data.dataset import ArrayDataset, Dataset
from minidl.data.digits import digits
from minidl.data.loader import DataLoader
from minidl.data.mnist import mnist
from minidl.data import transforms

__all__ = ["ArrayDataset", "DataLoader", "Dataset", "digits", "mnist", "transforms"]
