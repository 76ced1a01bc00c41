"""--avx2: what is told to each library, and that minidl listens."""

import os
import subprocess
import sys

import pytest

from benchmarks import limits
from minidl.errors import StateError
from minidl.kernels import simd

FEATURES = {
    "avx": True, "avx2": True, "avx512f": True, "avx512bf16": True, "avx10.1": True,
    "amx-tile": True, "fma": True, "sse4a": False,
}  # fmt: skip

LISTENING = """
import numpy as np
from numba.core.registry import cpu_target
from minidl.kernels.simd import VECTOR_BYTES

name, features = cpu_target.target_context.codegen().magic_tuple()[1:]
cpu = np._core._multiarray_umath.__cpu_features__
wide = [kind for kind in np._core._multiarray_umath.__cpu_dispatch__ if cpu[kind]]
print(VECTOR_BYTES, name, "+avx512" in features, [k for k in wide if k[:6] in ("AVX512", "X86_V4")])
"""


@pytest.mark.parametrize(
    ("cpu", "target"), [("znver5", "znver3"), ("sapphirerapids", "haswell"), ("", "haswell")]
)
def test_numba_compiles_for_a_cpu_of_the_same_maker(monkeypatch, cpu, target):
    monkeypatch.setattr(limits, "host", lambda: (cpu, FEATURES))
    told = limits.environment("in_minidl")
    assert told["NUMBA_CPU_NAME"] == target
    assert told["NUMBA_CPU_FEATURES"] == (
        "-amx-tile,+avx,-avx10.1,+avx2,-avx512bf16,-avx512f,+fma,-sse4a"
    )


def test_minidl_then_has_vectors_of_32_bytes(monkeypatch):
    """On this machine, whatever it has: where it has no AVX-512 the limit is what it is."""
    name, features = limits.host()
    monkeypatch.setattr(limits, "host", lambda: (name, features | {"avx512f": True}))
    told = limits.environment("in_minidl")
    done = subprocess.run(
        [sys.executable, "-c", LISTENING],
        env=os.environ | told, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == f"32 {told['NUMBA_CPU_NAME']} False []\n"
    assert done.stderr == ""


def test_flags_of_xla_that_were_there_stay(monkeypatch):
    monkeypatch.setattr(limits, "host", lambda: ("znver4", FEATURES))
    monkeypatch.setenv("XLA_FLAGS", "--xla_a=1")
    assert limits.environment("in_jax") == {"XLA_FLAGS": "--xla_a=1 --xla_cpu_max_isa=AVX2"}


@pytest.mark.parametrize("module", ["in_minidl", "in_torch", "in_jax", "in_onnx", "in_openvino"])
def test_nothing_is_told_in_vain(monkeypatch, module):
    monkeypatch.setattr(limits, "host", lambda: ("znver4", FEATURES))
    assert limits.environment(module, asked=False) == {}
    monkeypatch.setattr(limits, "host", lambda: ("", {}))  # as on a CPU that LLVM doesn't know
    assert limits.environment(module) == {}
    assert limits.about([module]) == {"to": None, "free": []}


def test_a_limit_that_did_not_take_is_an_error(monkeypatch):
    monkeypatch.setattr(simd, "VECTOR_BYTES", 32)
    limits.check("in_minidl")
    monkeypatch.setattr(simd, "VECTOR_BYTES", 64)
    with pytest.raises(StateError, match="in_minidl should compute with 256 bits, not with 512"):
        limits.check("in_minidl")
