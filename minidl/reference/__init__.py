"""The textbook: every kernel in plain NumPy, slow and clear. Read these first.

A file here has the name of its fast twin in `minidl.kernels`, and so have its functions; `conv` is
the twin of every algorithm for convolutions. Files of `minidl.kernels` that only choose, pack or
compute a part of another kernel have no twin.
`md.config.kernels = "reference"` runs the whole library on them.
"""
