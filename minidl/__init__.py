"""minidl: a deep-learning engine for CPUs, on NumPy, Numba and h5py.

    import minidl as md
    from minidl import nn, optim

Importing it compiles nothing; Numba, h5py and the larger parts are imported when first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from minidl import errors, ops
from minidl.autograd import (
    Tensor,
    arange,
    checkpoint,
    detect_anomaly,
    enable_grad,
    from_numpy,
    full,
    grad,
    hessian,
    jacobian,
    jvp,
    no_grad,
    ones,
    rand,
    randn,
    register_op_hook,
    tensor,
    zeros,
)
from minidl.config import config, set_num_threads
from minidl.ops import concatenate as cat
from minidl.ops import einsum, maximum, minimum, stack, where
from minidl.random import manual_seed
from minidl.version import __version__

if TYPE_CHECKING:
    from minidl import (
        analysis,
        apps,
        autograd,
        capture,
        data,
        distributed,
        io,
        kernels,
        models,
        nn,
        optim,
        train,
    )
    from minidl.analysis import profile, summary
    from minidl.capture import compile
    from minidl.io import (
        export_onnx,
        load_checkpoint,
        load_weights,
        save_checkpoint,
        save_weights,
    )
    from minidl.nn.calling import functional_call, gradcheck

__all__ = [
    "Tensor",
    "__version__",
    "analysis",
    "apps",
    "arange",
    "autograd",
    "capture",
    "cat",
    "checkpoint",
    "compile",
    "config",
    "data",
    "detect_anomaly",
    "distributed",
    "einsum",
    "enable_grad",
    "export_onnx",
    "errors",
    "from_numpy",
    "functional_call",
    "full",
    "grad",
    "gradcheck",
    "hessian",
    "io",
    "jacobian",
    "jvp",
    "kernels",
    "load_checkpoint",
    "load_weights",
    "manual_seed",
    "maximum",
    "minimum",
    "models",
    "nn",
    "no_grad",
    "ones",
    "ops",
    "optim",
    "profile",
    "rand",
    "randn",
    "register_op_hook",
    "save_checkpoint",
    "save_weights",
    "set_num_threads",
    "stack",
    "summary",
    "tensor",
    "train",
    "where",
    "zeros",
]

_FROM_IO = (
    "export_onnx", "load_checkpoint", "load_weights", "save_checkpoint", "save_weights",
)  # fmt: skip
_PACKAGES = (
    "analysis",
    "apps",
    "autograd",
    "capture",
    "data",
    "distributed",
    "io",
    "kernels",
    "models",
    "nn",
    "optim",
    "train",
)


def __getattr__(name: str) -> Any:
    """Import what was left out at first, when it is asked for."""
    if name in _FROM_IO:
        return getattr(importlib.import_module("minidl.io"), name)
    if name in ("functional_call", "gradcheck"):
        return getattr(importlib.import_module("minidl.nn.calling"), name)
    if name == "compile":
        return importlib.import_module("minidl.capture").compile
    if name in ("profile", "summary"):
        return getattr(importlib.import_module("minidl.analysis"), name)
    if name in _PACKAGES:
        return importlib.import_module(f"minidl.{name}")
    raise AttributeError(f"module 'minidl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
