"""ONNX: networks of other programs, read without their libraries; networks written for others."""
