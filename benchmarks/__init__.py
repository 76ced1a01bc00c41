"""minidl beside PyTorch, JAX and ONNX Runtime on the same cores. How to run it: README.md."""
