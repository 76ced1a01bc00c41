"""The innermost loops keep their tiles in registers, whatever Numba's next release does.

A vector that is stored to the stack between multiply-adds halves the speed of everything.
"""

import os
import platform
import re
import subprocess
import sys

import numba
import numpy as np
import pytest
from llvmlite import binding

from minidl.kernels import conv_pool, conv_weight_grad, direct, gemm, planar
from minidl.kernels._entry import compile_kernel
from minidl.kernels._jit import sources
from minidl.kernels.microkernel import ROWS, Shape
from minidl.kernels.simd import LANES, MANY_REGISTERS

pytestmark = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="reads the assembly of an x86-64 CPU"
)

FLAT, TABLE = numba.float32[::1], numba.int64[::1]
WORD = numba.int64
PRODUCT = re.compile(r"\b(v?mulp|vfmadd\w*p)[sd]\b")
SPILL = re.compile(r"v?mov[au]p[sd]\s+%[xyz]mm\d+, -?\d*\(%r[sb]p")


def numbers(count):
    return numba.types.UniTuple(WORD, count)


def hottest(kernel, *signature):
    """The lines of the block with the most multiply-adds, for each CPU."""
    library, _ = compile_kernel(sources[kernel][0], signature, sources[kernel][1])
    assemblies = [library.get_asm_str()]
    for cpu in filter(None, os.environ.get("MINIDL_ALSO_FOR", "").split(",")):
        target = binding.Target.from_default_triple()
        machine = target.create_target_machine(cpu, os.environ["NUMBA_CPU_FEATURES"], opt=3)
        assemblies.append(machine.emit_assembly(binding.parse_assembly(library.get_llvm_str())))
    found = [re.split(r"^\.?\w+:", each, flags=re.MULTILINE) for each in assemblies]
    return [
        max(blocks, key=lambda block: len(PRODUCT.findall(block))).splitlines() for blocks in found
    ]


def shape(vectors):
    return Shape(ROWS[vectors], vectors, LANES[4])


def check(hottest, tile):
    for lines in hottest:
        fmas = sum(bool(PRODUCT.search(line)) for line in lines)
        assert fmas >= tile, f"{fmas} multiply-adds in the hottest block, a tile has {tile}"
        spilled = [line.strip() for line in lines if SPILL.search(line)]
        # without FMA a product needs a register of its own on its way
        allowed = 0 if any("vfmadd" in line for line in lines) else 2
        assert len(spilled) <= allowed, spilled


WIDTHS = sorted(ROWS)


def product(tile, turned):
    signature = (FLAT, WORD, WORD, FLAT, WORD, WORD, FLAT, WORD, FLAT, numbers(8))
    return hottest(gemm._product(*tile, turned), *signature)


@pytest.mark.parametrize("turned", [True, False])
@pytest.mark.parametrize("vectors", WIDTHS)
def test_products(vectors, turned):
    tile = shape(vectors)
    check(product(tile, turned), tile.rows * vectors)


@pytest.mark.parametrize("in_parts", [False, True])
@pytest.mark.parametrize("vectors", WIDTHS)
def test_convolution(vectors, in_parts):
    tile = shape(vectors)
    lines = hottest(
        direct._gather(*tile, in_parts), FLAT, FLAT, FLAT, WORD, FLAT,
        numba.int32[::1], numba.int32[::1], numba.int64[:, ::1], TABLE, TABLE, TABLE, numbers(6),
    )  # fmt: skip
    check(lines, tile.rows * vectors)


@pytest.mark.parametrize("vectors", WIDTHS)
def test_sums_over_pixels(vectors):
    rows = conv_weight_grad.ROWS_IN_RUNS[vectors]
    sums = conv_weight_grad._weight_sums(1, rows, vectors, LANES[4])
    lines = hottest(sums, FLAT, numbers(6), TABLE, WORD, TABLE, FLAT, WORD, FLAT, FLAT, numbers(10))
    check(lines, rows * vectors)


IMAGES = numba.float32[:, :, :, ::1]
BYTES = numba.uint8[::1]


def test_pixels_in_lanes():
    channels = planar.CHANNELS
    make = planar._pooling(2, channels, channels, LANES[4])
    lines = hottest(make, IMAGES, FLAT, FLAT, FLAT, BYTES, TABLE, numbers(10))
    check(lines, 4 * channels)


def test_frames_of_maxima():
    rows, vectors = (3, 3) if MANY_REGISTERS else (2, 5)
    scatter = conv_pool._scatter(rows, vectors, LANES[4])
    lines = hottest(scatter, FLAT, BYTES, FLAT, IMAGES, numbers(7))
    check(lines, rows * vectors)


def test_a_tile_that_does_not_fit_is_seen():
    """The check itself: more accumulators than registers."""
    rows = 12 if MANY_REGISTERS else 6
    lines = product(Shape(rows, 4, LANES[4]), False)
    with pytest.raises(AssertionError):
        check(lines, rows * 4)


def test_float32_stays_in_vectors_of_the_hosts_width():
    assert LANES[4] * np.dtype(np.float32).itemsize in (16, 32, 64)


AVX2 = "+avx,+avx2,+fma,+f16c,+bmi,+bmi2,+popcnt,+sse4.2"


def test_other_cpus():
    """LLVM orders the instructions for each CPU in its own way: after all that takes long."""
    settings = {
        "NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": AVX2, "MINIDL_ALSO_FOR": "znver3"
    }  # fmt: skip
    environment = os.environ | settings
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(
        [*command, "-k", "not other_cpus"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:]
