"""What minidl does for each operator of ONNX, a file a family. Importing this fills the table."""

from minidl.io.onnx.operators import (
    arithmetic,
    conv,
    functions,
    indexing,
    logic,
    losses,
    norm,
    pool,
    products,
    recurrent,
    reduce,
    resize,
    shape,
)

__all__ = [
    "arithmetic", "conv", "functions", "indexing", "logic", "losses", "norm", "pool", "products",
    "recurrent", "reduce", "resize", "shape",
]  # fmt: skip
