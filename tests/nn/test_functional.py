"""Layers hand all their settings on: each equals the function it stands for, called by name.

The functions are held against other libraries in tests/ops.
"""

import inspect
from typing import Any

import numpy as np
import pytest
from each import of_each
from layer_cases import Case, outputs_of
from layer_samples import LAYERS

import minidl as md
from minidl import nn
from minidl.nn import functional as F

FUNCTIONS = {info.cls: info.cls.function for info in LAYERS if info.cls.function is not None}
OF_OTHERS = {
    nn.Identity, nn.Flatten, nn.ZeroPad2d, nn.SeparableConv2d, nn.Sequential, nn.ModuleList,
    nn.ModuleDict, nn.FeaturePyramid,
}  # fmt: skip
STACKED = {"num_layers", "bidirectional"}  # several runs of the function: see test_recurrent.py
CASES = [
    case
    for info in LAYERS
    for case in info.cases
    if info.cls in FUNCTIONS and not STACKED & case.settings.kwargs.keys()
]


def by_name(case: Case, layer: nn.Module) -> dict[str, Any]:
    """The constructor's settings and the layer's tensors that the function has arguments for."""
    given = inspect.signature(case.cls).bind(*case.settings.args, **case.settings.kwargs)
    given.apply_defaults()
    settings = dict(given.arguments) | {"training": layer.training and not layer.frozen}
    if settings.get("bias") in (True, False):
        settings["bias"] = None
    if case.cls is nn.LayerNorm:
        settings["normalized_shape"] = layer.weight.shape
    settings |= dict(layer.named_parameters()) | dict(layer.named_buffers())
    names = inspect.signature(FUNCTIONS[case.cls]).parameters
    return {name: value for name, value in settings.items() if name in names}


def test_every_layer_is_compared():
    assert {info.cls for info in LAYERS} == FUNCTIONS.keys() | OF_OTHERS


def test_functions_are_all_there():
    assert {f.__name__ for f in FUNCTIONS.values()} <= set(F.__all__)
    for name in F.__all__:
        assert callable(getattr(F, name))


@of_each(CASES, "cls.__name__")
def test_a_layer_is_its_function(case: Case):
    arrays = case.draw()
    expected = [*outputs_of(case.forward(case.build(), *arrays))]
    layer = case.build()
    x, *more = map(md.from_numpy, arrays)
    settings = by_name(case, layer)
    if "BatchNorm" in case.cls.__name__ and more:
        settings["residual"] = more.pop()
    if issubclass(case.cls, nn.RNN | nn.LSTM | nn.GRU):
        settings |= dict(zip(("h", "c"), more))
        more = []
    md.manual_seed(7)  # as the cases of dropout do
    result = FUNCTIONS[case.cls](x, *more, **settings)
    activation = case.settings.kwargs.get("activation")
    if activation and "activation" not in settings:  # a layer's whose function has none
        result = getattr(F, activation)(result)
    for got, want in zip(expected, outputs_of(result), strict=True):
        np.testing.assert_array_equal(got.data, want.data)


def test_settings_of_the_cases_matter():
    """Each setting has a case in which leaving it out changes the result."""
    idle = {"eps", "momentum"}  # of batch norm: seen in eval mode or in the buffers
    for info in LAYERS:
        if info.cls not in FUNCTIONS or not info.cases:
            continue
        named = {name for case in info.cases for name in case.settings.kwargs}
        parameters = inspect.signature(info.cls).parameters
        named = {name for name in named if parameters[name].default is not inspect.Parameter.empty}
        for name in named - idle - {"activation", "bias"}:
            assert any(matters(case, name) for case in info.cases), (info.cls, name)


def matters(case: Case, name: str) -> bool:
    if name not in case.settings.kwargs:
        return False
    plain = {key: value for key, value in case.settings.kwargs.items() if key != name}
    without = Case(**vars(case) | {"settings": type(case.settings)(case.settings.args, plain)})
    if {n: a.shape for n, a in without.build().state_dict().items()} != {
        n: a.shape for n, a in case.build().state_dict().items()
    }:
        return True
    got, other = (
        [out.data for out in outputs_of(c.forward(c.build(), *c.draw()))] for c in (case, without)
    )
    return not all(
        a.shape == b.shape and np.array_equal(a, b) for a, b in zip(got, other, strict=True)
    )


@pytest.mark.parametrize(
    "case", [c for i in LAYERS for c in i.cases if i.cls is nn.SeparableConv2d]
)
def test_separable_convolution_is_its_two_parts(case: Case):
    layer, (x,) = case.build(), case.draw()
    settings = dict(case.settings.kwargs)
    settings = {name: settings.get(name, d) for name, d in
                (("stride", 1), ("padding", 0), ("dilation", 1))}  # fmt: skip
    y = F.depthwise_conv2d(x, layer.depthwise.weight, **settings)
    y = F.conv2d(y, layer.pointwise.weight, layer.pointwise.bias)
    if case.settings.kwargs.get("activation"):
        y = F.tanh(y)
    np.testing.assert_array_equal(layer(x).data, y.data)


def test_batch_norm_moves_its_statistics_by_momentum():
    x = np.random.default_rng(0).standard_normal((10, 3)) * 2 + 5
    layer = nn.BatchNorm1d(3, momentum=0.3).astype(np.float64)
    layer(x)
    np.testing.assert_allclose(layer.running_mean.data, 0.3 * x.mean(axis=0), rtol=1e-12)
    variance = 0.7 + 0.3 * x.var(axis=0, ddof=1)  # unbiased
    np.testing.assert_allclose(layer.running_var.data, variance, rtol=1e-12)


def test_batch_norm_moves_statistics_that_are_not_contiguous():
    x = np.random.default_rng(0).standard_normal((10, 3)).astype(np.float32)
    columns = np.ones((3, 2), np.float32)
    alone = columns[:, 0].copy(), columns[:, 1].copy()
    F.batch_norm(x, columns[:, 0], columns[:, 1], training=True)
    F.batch_norm(x, *alone, training=True)
    np.testing.assert_array_equal(columns.T, alone)
    assert (columns != 1).all()


@pytest.mark.parametrize("kernels", ["fast", "reference"])
@pytest.mark.parametrize("left_out", [(), ("weight",), ("bias",), ("weight", "bias")])
def test_batch_norm_by_known_statistics_is_the_same_with_and_without_gradients(
    kernels, left_out, monkeypatch
):
    monkeypatch.setattr(md.config, "kernels", kernels)
    numbers = np.random.default_rng(0).standard_normal((40, 7)).astype(np.float32)
    columns = {"weight": numbers[0], "bias": numbers[1]}
    columns = {name: c for name, c in columns.items() if name not in left_out}
    statistics = numbers[2], np.abs(numbers[3])
    known = F.batch_norm(numbers, *statistics, **columns)
    wanting = {name: md.tensor(c, requires_grad=True) for name, c in columns.items()}
    y = F.batch_norm(md.tensor(numbers), *statistics, **wanting)
    assert y.requires_grad == bool(columns)
    np.testing.assert_array_equal(y.data, known)


def test_flatten_and_zero_padding():
    x = np.arange(24.0).reshape(2, 2, 3, 2)
    np.testing.assert_array_equal(nn.Flatten()(x).data, x.reshape(2, 12))
    y = nn.ZeroPad2d(((1, 0), (2, 3)))(x).data
    np.testing.assert_array_equal(y, np.pad(x, ((0, 0), (1, 0), (2, 3), (0, 0))))
    np.testing.assert_array_equal(
        nn.ZeroPad2d((1, 2))(x).data, np.pad(x, ((0, 0), (1, 1), (2, 2), (0, 0)))
    )
