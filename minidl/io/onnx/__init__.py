"""ONNX files, read and written (extra `interop`)."""
