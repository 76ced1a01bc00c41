"""`--avx2`: every side computes with AVX2 at most, as if the CPU had no more.

What is said here is environment: libraries read it when they are loaded. The worker looks whether
it took. MLAS, in ONNX Runtime and in OpenVINO's fully connected layers, listens to no variable.
"""

import os
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from minidl.errors import StateError

WIDER = ("avx512", "avx10", "evex", "amx")  # how features beyond AVX2 are called
ENVIRONMENTS = {
    "in_torch": {
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    },
    "in_openvino": {"ONEDNN_MAX_CPU_ISA": "AVX2", "OV_CPU_MAX_ISA": "AVX2"},
    "in_onnx": {},
}
FREE = {
    "in_onnx": "ONNX Runtime can't be limited",
    "in_openvino": "OpenVINO's fully connected layers can't be limited",
}


def host() -> tuple[str, dict[str, bool]]:
    """LLVM's name of this CPU, and its features."""
    try:
        return llvm.get_host_cpu_name(), dict(llvm.get_host_cpu_features())
    except RuntimeError:  # LLVM doesn't know them on every kind of CPU
        return "", {}


def has_more() -> bool:
    """Whether there is something to limit."""
    return host()[1].get("avx512f", False)


def environment(module: str, asked: bool = True) -> dict[str, str]:
    """What limits the side of this module; nothing where it wasn't asked for, or has no sense."""
    if not asked or not has_more():
        return {}
    if module == "in_minidl":
        return _minidl()
    if module == "in_jax":
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_max_isa=AVX2"
        return {"XLA_FLAGS": flags.strip()}
    return ENVIRONMENTS[module]


def _minidl() -> dict[str, str]:
    """Numba's target, and for what NumPy does itself, NumPy's and its BLAS's."""
    name, features = host()
    told = [
        f"{'+' if has and not feature.startswith(WIDER) else '-'}{feature}"
        for feature, has in sorted(features.items())
    ]
    core: Any = np._core._multiarray_umath  # type: ignore[attr-defined]
    wider = [
        feature
        for feature in core.__cpu_dispatch__
        if core.__cpu_features__[feature] and feature.startswith(("AVX512", "X86_V4"))
    ]
    found = {
        "NUMBA_CPU_NAME": "znver3" if name.startswith("znver") else "haswell",
        "NUMBA_CPU_FEATURES": ",".join(told),  # a name alone leaves the host's features
        "OPENBLAS_CORETYPE": "Haswell",
    }
    return found | ({"NPY_DISABLE_CPU_FEATURES": " ".join(wider)} if wider else {})


def check(module: str) -> None:
    """In the worker, its library loaded: raise StateError if it still computes with more."""
    if module == "in_minidl":
        from minidl.kernels.simd import VECTOR_BYTES

        found, expected = f"{VECTOR_BYTES * 8} bits", "256 bits"
    elif module == "in_torch":
        import torch

        found, expected = torch.backends.cpu.get_cpu_capability(), "AVX2"
    else:
        return
    if found != expected:
        raise StateError(f"--avx2: {module} should compute with {expected}, not with {found}")


def about(modules: list[str]) -> dict[str, Any]:
    """For the record: what these sides were limited to (None: nothing to limit), and who wasn't."""
    if not has_more():
        return {"to": None, "free": []}
    return {"to": "AVX2", "free": [FREE[module] for module in FREE if module in modules]}
