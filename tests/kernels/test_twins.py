"""Every fast kernel has a slow twin of the same name and signature, and they agree.

Inputs and large outputs lie between forbidden pages: a kernel that reads or writes out of bounds
ends the process. Outputs start as NaN, so each element must be written. Sizes are multiples of
nothing.
"""

import functools
import importlib
import inspect
import pkgutil
import sys

import numpy as np
import pytest
from guard import guarded, guarded_copy
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import call
from twin_arguments import ARGUMENTS, column_arguments
from window_arguments import conv_arguments

from minidl import kernels, reference
from minidl.kernels import _jit, memory, winograd

# What kernels are made of and chosen by: no kernels themselves, so without a twin.
PARTS = {
    "choose", "conv_weight_grad", "exponential", "memory", "microkernel", "offsets", "packing",
    "planar", "simd", "tables", "transpose", "winograd_tiles",
}  # fmt: skip
FAMILIES = [
    m.name
    for m in pkgutil.iter_modules(kernels.__path__)
    if not m.name.startswith("_") and m.name not in PARTS
]
TWINS = {"direct": "conv", "grouped": "conv"}  # an algorithm's twin is what it computes


def twin(family):
    return importlib.import_module(f"minidl.reference.{TWINS.get(family, family)}")


def functions(module):
    """The public functions that a module defines."""
    return {
        name: value
        for name, value in vars(module).items()
        if inspect.isfunction(value)
        and value.__module__ == module.__name__
        and not name.startswith("_")
    }


def pairs():
    for family in FAMILIES:
        fast = importlib.import_module(f"minidl.kernels.{family}")
        yield family, functions(fast), functions(twin(family))


def test_families_are_the_same():
    slow = {m.name for m in pkgutil.iter_modules(reference.__path__) if not m.name.startswith("_")}
    assert slow == {TWINS.get(family, family) for family in FAMILIES}


@pytest.mark.parametrize(("family", "fast", "slow"), list(pairs()), ids=FAMILIES)
def test_names_and_signatures_are_the_same(family, fast, slow):
    assert fast.keys() == slow.keys()
    for name, function in fast.items():
        assert inspect.signature(function) == inspect.signature(slow[name]), name


KERNELS = [(family, name) for family, fast, _ in pairs() for name in fast]


@pytest.mark.parametrize(("family", "name"), KERNELS)
@settings(max_examples=60, derandomize=True)
@given(data=st.data())
def test_twins_agree(family, name, data):
    strategy = ARGUMENTS.get(family)
    if family == "im2col":
        strategy = column_arguments if name in ("im2col", "col2im") else conv_arguments
    arguments, at_end = data.draw(strategy(name)), data.draw(st.booleans())
    slow_arguments = [each(widened, a) for a in arguments]
    fast_arguments = [each(functools.partial(guarded_copy, at_end=at_end), a) for a in arguments]
    kernel = getattr(importlib.import_module(f"minidl.kernels.{family}"), name)
    with pytest.MonkeyPatch.context() as patch:
        patch_outputs(patch, at_end)
        # both forms of a kernel, whatever the work: that for all threads and that for one
        patch.setattr(_jit, "LITTLE", -1 if data.draw(st.booleans()) else 2**62)
        if family == "winograd":  # its ways for many channels too: in stages, and for few tiles
            patch.setattr(winograd, "BLOCK_BYTES", data.draw(st.sampled_from([0, 600 * 1024])))
            patch.setattr(winograd, "STAGE_BYTES", data.draw(st.sampled_from([0, 2**23])))
            patch.setattr(winograd, "MANY_CHANNELS", data.draw(st.sampled_from([1, 256])))
        fast = call(kernel, fast_arguments)
    slow = call(getattr(twin(family), name), slow_arguments)
    if changing := fast is None:  # its arguments instead of returning
        assert slow is None
        fast, slow = tuple(fast_arguments), tuple(slow_arguments)
    for i, (a, b) in enumerate(zip(as_tuple(fast), as_tuple(slow), strict=True)):
        if not isinstance(b, np.ndarray):
            assert changing or a == b
            continue
        wanted = b.dtype
        if b.dtype.kind == "f":
            wanted = arguments[i].dtype if changing else floats(arguments)
        assert a.dtype == wanted
        assert a.shape == b.shape
        tolerance = {np.dtype(np.float32): F4 if is_f4(family, arguments) else REST}
        scale = np.nanmax(np.abs(b), initial=1.0)
        np.testing.assert_allclose(a / scale, b / scale, rtol=0, atol=tolerance.get(a.dtype, 1e-12))


# The twins compute in float64: how far a fast kernel's float32 may be from that, relative to the
# largest number. F(4x4, 3x3) adds and subtracts larger numbers on its way.
F4, REST = 5e-5, 5e-6


def is_f4(family, arguments):
    return family == "winograd" and arguments[-1] == 4


def each(function, argument):
    """The function of an argument, or of each of a list."""
    return [*map(function, argument)] if isinstance(argument, list) else function(argument)


def floats(arguments):
    """The dtype of the arrays of floats."""
    flat = [x for a in arguments for x in (a if isinstance(a, list) else [a])]
    (dtype,) = {x.dtype for x in flat if isinstance(x, np.ndarray) and x.dtype.kind == "f"}
    return dtype


def widened(argument):
    """A copy, in float64."""
    if not isinstance(argument, np.ndarray):
        return argument
    return argument.astype(np.float64 if argument.dtype.kind == "f" else argument.dtype)


def patch_outputs(patch, at_end):
    """Large outputs of kernels lie between forbidden pages, whatever their size."""
    for name, module in [*sys.modules.items()]:
        if name.startswith("minidl.kernels.") and getattr(module, "empty", None) is memory.empty:
            patch.setattr(module, "empty", functools.partial(guarded, at_end=at_end))


def as_tuple(result):
    return result if isinstance(result, tuple) else (result,)
