"""Weights, checkpoints and other files: written atomically, read with guards."""

from minidl.io.checkpoint import load_checkpoint, save_checkpoint
from minidl.io.load import load_weights
from minidl.io.onnx.export import export_onnx
from minidl.io.save import save_weights

__all__ = ["export_onnx", "load_checkpoint", "load_weights", "save_checkpoint", "save_weights"]
