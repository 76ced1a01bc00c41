"""Every op of the table on every sample it declares. A new op without its parts fails here."""

import re
from pathlib import Path

import numpy as np
import pytest
from each import of_each
from op_cases import OPS, cases, cotangents, largest_difference, several

import minidl as md
from minidl.autograd.primitive import Primitive

CASES = cases(np.float64)
GRADIENT_CASES = [case for case in CASES if case.differentiable]
CASES32 = cases(np.float32)
RECORDED = np.load(Path(__file__).parent / "torch_outputs.npz")

# Ops whose bad input is found by the composite that calls them, or that take anything.
NO_ERRORS = {
    "abs", "activation_gradient", "adaptive_avg_pool2d_forward", "adaptive_avg_pool2d_grad",
    "adaptive_max_pool2d_forward", "alias", "avg_pool2d_forward", "avg_pool2d_grad",
    "batch_norm_train", "channel_gate_forward", "clone", "concatenate_forward", "conv2d_activation",
    "conv2d_forward", "conv2d_input_grad", "conv2d_relu_max_pool_forward", "conv2d_weight_grad",
    "cross_entropy_forward", "depthwise_conv2d_activation", "depthwise_conv2d_forward",
    "depthwise_conv2d_input_grad", "depthwise_conv2d_weight_grad", "dropout_forward", "equal",
    "gelu_grad", "greater", "greater_equal", "gru_steps", "hardswish_grad", "isnan",
    "joint_sum", "less",
    "less_equal", "linear_forward", "linear_weight_grad", "local_response_norm_sum", "lstm_steps",
    "matmul_forward", "max_pool2d_forward", "max_pool2d_gather", "max_pool2d_scatter", "not_equal",
    "prelu_grad", "rnn_steps",
    "roi_align_forward", "roi_align_grad", "roi_pool_forward", "roi_pool_gather",
    "roi_pool_scatter", "scale_shift",
    "silu_grad", "upsample_rows", "upsample_rows_grad", "where",
}  # fmt: skip


@pytest.mark.parametrize("name", OPS)
def test_declares_its_parts(name):
    op = OPS[name]
    assert op.__doc__, "a docstring"
    assert list(op.sample_inputs()), "sample inputs"
    assert op.oracle is not None, "an outside oracle"
    assert bool(list(op.error_inputs())) == (name not in NO_ERRORS), "error inputs"
    if isinstance(op, Primitive):
        assert callable(op.flops), "a FLOP formula"


# What a primitive computes that is only a part or a gradient of a public op, named after the op.
PARTS = "_(input_grad|weight_grad|grad|scatter|gather|rows|rows_grad|sum|relu_max_pool)"


@pytest.mark.parametrize("name", OPS)
def test_is_called_by_the_name_of_a_public_op(name):
    """In errors, hooks and summaries: "conv2d", or "conv2d_weight_grad" for a part of it."""
    op = OPS[name]
    public = op.name if op.name in md.ops.__all__ else re.sub(f"{PARTS}$", "", op.name)
    assert public in md.ops.__all__ or name == "activation_gradient"  # which many activations share
    assert op.name == name or isinstance(op, Primitive)  # which does the public op's work


@of_each(CASES, "name")
def test_agrees_with_recorded_torch(case):
    for name, array in case.run().items():
        assert array.dtype.kind != "f" or array.dtype == np.float64 or case.name == "astype"
        assert largest_difference(array, RECORDED[f"{case}/{name}"]) < 1e-9, name


@of_each(CASES32, "name")
def test_float32_stays_float32(case):
    """float32 in, float32 out, and as close to float64 on the same numbers as float32 can be."""

    def widen(x):
        return x.astype(np.float64) if x.dtype == np.float32 else x

    exact = case.run(widen) if "class_weights" not in case.sample.settings else None
    for name, array in case.run().items():
        assert array.dtype.kind != "f" or array.dtype == np.float32 or case.name == "astype"
        if exact is not None:
            assert largest_difference(array, exact[name]) < 1e-5, name


@of_each(GRADIENT_CASES, "name")
def test_gradcheck(case):
    function, inputs = case.function()
    md.gradcheck(function, inputs, order=2)


def strided(x):
    """The same numbers, every second one of a larger array, last axis first."""
    if x.ndim == 0:
        return x
    larger = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    larger[..., ::2] = x
    return np.asfortranarray(larger)[..., ::2]


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


@pytest.mark.parametrize("change", [strided, read_only])
@of_each(CASES, "name")
def test_memory_layout_changes_nothing(case, change):
    plain, changed = case.run(), case.run(change)
    for name, array in plain.items():
        assert largest_difference(changed[name], array) < 1e-13, name


@of_each(CASES, "name")
def test_inputs_are_left_alone(case):
    arrays = [x for x in case.sample.inputs if isinstance(x, np.ndarray)]
    before = [x.copy() for x in arrays]
    case.run()
    for x, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(x, copy)


@of_each(CASES, "name")
def test_reference_kernels_agree(case):
    fast = case.run()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(md.config, "kernels", "reference")
        slow = case.run()
    for name, array in slow.items():
        assert largest_difference(array, fast[name]) < 1e-12, name


FUSED = [case for case in GRADIENT_CASES if getattr(case.op, "composition", None)]


@of_each(FUSED, "name")
def test_fused_op_is_its_composition(case):
    function, inputs = case.function()
    tensors = [md.tensor(x, requires_grad=True) for x in inputs]
    fused = function(*tensors)
    full = list(case.sample.inputs)
    for place, x in zip(case.differentiable, tensors, strict=True):
        full[place] = x
    composed = several(case.op.composition(*full, **case.sample.settings))
    assert len(fused) == len(composed)
    for a, b in zip(fused, composed, strict=True):
        assert largest_difference(a.data, b.data) < 1e-12
    v = cotangents({f"output{i}": y.data for i, y in enumerate(fused)})
    for a, b in zip(
        md.grad(fused, tensors, grad_outputs=v), md.grad(composed, tensors, grad_outputs=v),
        strict=True,
    ):  # fmt: skip
        assert largest_difference(a.data, b.data) < 1e-11


@of_each([case for case in GRADIENT_CASES if isinstance(case.op, Primitive)], "name")
def test_rules_give_arrays_of_their_own(case):
    """A gradient is g, a view of it or new: never memory that the op's inputs or output live in."""
    function, inputs = case.function()
    tensors = [md.tensor(x, requires_grad=True) for x in inputs]
    outputs = function(*tensors)
    given = [np.ones(y.shape) for y in outputs]
    node = getattr(outputs[0].edge, "node", outputs[0].edge)
    g = tuple(given + [None] * (node.outputs - len(given))) if node.outputs else given[0]
    parts = node.vjp(g, [parent is not None for parent in node.parents])
    for part in parts:
        if part is not None:
            assert not any(np.shares_memory(part, x.data) for x in (*tensors, *outputs))
    kept = [
        part
        for part in parts
        if part is not None and not any(np.shares_memory(part, start) for start in given)
    ]
    for i, a in enumerate(kept):
        assert not any(np.shares_memory(a, b) for b in kept[:i])


@pytest.mark.parametrize("name", sorted(OPS.keys() - NO_ERRORS))
def test_bad_input(name):
    for error in OPS[name].error_inputs():
        check_refused(name, error)


def check_refused(name, error):
    """One clear error, on ndarrays and on Tensors."""
    assert issubclass(error.error, md.errors.MinidlError)
    inputs, settings = error.sample.inputs, error.sample.settings
    with pytest.raises(error.error, match=error.match):
        OPS[name](*inputs, **settings)
    if all(not isinstance(x, np.ndarray) or x.dtype.kind in "fiu" for x in inputs):
        tensors = [
            md.from_numpy(x, requires_grad=True)
            if isinstance(x, np.ndarray) and x.dtype in (np.float32, np.float64)
            else x
            for x in inputs
        ]
        with pytest.raises(error.error) as raised:
            OPS[name](*tensors, **settings)
        assert re.search(error.match, str(raised.value)) or "no gradient for" in str(raised.value)


def test_flops_of_lenet():
    """Convolutions and products of LeNet-5: 416,520 multiply-adds (LeCun's figure by hand)."""
    from minidl import models

    counted = []
    names = ("conv2d_relu_max_pool", "linear")
    with (
        md.register_op_hook(
            lambda op, inputs, settings, output: counted.append(
                op.flops(output, *inputs, **settings) if op.name in names else 0
            )
        ),
        md.no_grad(),
    ):
        models.lenet5()(np.zeros((1, 32, 32, 1), np.float32))
    assert sum(counted) == 2 * 416_520
