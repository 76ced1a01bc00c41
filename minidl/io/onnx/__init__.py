"""ONNX: networks of other programs, read without their libraries."""
