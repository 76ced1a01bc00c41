"""How a model's ops become the nodes of an ONNX graph.

`tracing` records which ops a model calls, on which arrays. `table` says what each op is in ONNX;
the forms stand in a file for each family of ops, as in `minidl.ops`. `graph` holds the nodes as
they are added, and which order of axes each value has there.
"""
