"""The textbook: every kernel in plain NumPy, slow and clear. Read these first.

A file here has the name of its fast twin in `minidl.kernels`, and so have its functions; `conv` is
the twin of every way to compute a convolution.
`md.config.kernels = "reference"` runs the whole library on them.
"""
