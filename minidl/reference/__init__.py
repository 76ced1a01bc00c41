"""The textbook: every kernel in plain NumPy, slow and clear. Read these first.

A file here has the name of its fast twin in `minidl.kernels`, and so have its functions.
`md.config.kernels = "reference"` runs the whole library on them.
"""
