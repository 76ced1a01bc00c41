"""Weights and other files: written atomically, read with guards."""

from minidl.io.hdf5 import load_weights, save_weights

__all__ = ["load_weights", "save_weights"]
