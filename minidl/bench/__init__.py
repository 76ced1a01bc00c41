"""Measuring speed on a machine that others may use too; `minidl bench`.

The whole comparison, of networks, layers and convolutions, stands in the folder `benchmarks/` of
the project, and is built on what is here.
"""
