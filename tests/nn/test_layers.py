"""Every layer and loss, over the tables of layer_samples: what holds for all of them."""

import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from each import of_each
from layer_cases import Case, ErrorCase, outputs_of
from layer_samples import LAYERS

import minidl as md
from minidl import nn
from minidl.autograd.samples import Draw

CASES = [case for info in LAYERS for case in info.cases]
ERRORS = [case for info in LAYERS for case in info.errors]
DTYPES = (np.float32, np.float64)


def of_every_case(function: Callable[..., None]) -> Callable[..., None]:
    return of_each(CASES, "cls.__name__")(function)


def is_float(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype.kind == "f"


def run(layer: nn.Module, case: Case, arrays: list[Any]) -> dict[str, np.ndarray]:
    """Forward and backward: every output, gradient and buffer by name."""
    inputs = [md.from_numpy(x, requires_grad=is_float(x)) for x in arrays]
    outputs = [*outputs_of(case.forward(layer, *inputs))]
    results = {f"output {i}": out.data for i, out in enumerate(outputs)}
    random = np.random.default_rng(5)  # weights of the outputs that have nothing of the inputs
    weights = [random.standard_normal(out.shape).astype(out.dtype) for out in outputs]
    total = sum((out * w).sum() for out, w in zip(outputs, weights, strict=True))
    if total.requires_grad:
        total.backward()
    for i, x in enumerate(inputs):
        assert (x.grad is not None) == x.requires_grad, f"gradient of input {i}"
        if x.grad is not None:
            results[f"input {i}.grad"] = x.grad
    for name, parameter in layer.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, f"gradient of {name}"
        if parameter.grad is not None:
            results[f"{name}.grad"] = parameter.grad
    return results | {name: buffer.data for name, buffer in layer.named_buffers()}


def assert_close(got: dict[str, np.ndarray], expected: dict[str, np.ndarray], tol: float) -> None:
    """Differences relative to the largest entry of each array."""
    assert got.keys() == expected.keys()
    for name, array in expected.items():
        scale = np.abs(array).max(initial=1e-3)
        np.testing.assert_allclose(got[name], array, rtol=0, atol=tol * scale, err_msg=name)


def assert_same(got: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert got.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(got[name], array, err_msg=name)


def test_every_module_has_an_entry():
    public = (getattr(nn, name) for name in nn.__all__)
    modules = {x for x in public if isinstance(x, type) and issubclass(x, nn.Module)}
    assert {info.cls for info in LAYERS} == modules - {nn.Module}
    for info in LAYERS:
        assert info.cases, info.cls


@of_every_case
def test_dtypes(case: Case):
    """New layers are float32; float32 gives float32 and float64 float64, everywhere."""
    for name, array in case.settings.of(case.cls).state_dict().items():
        assert array.dtype == np.float32, name
        assert np.isfinite(array).all(), name
    for dtype in DTYPES:
        for name, array in run(case.build(dtype), case, case.draw(dtype)).items():
            assert array.dtype == dtype, name
            assert np.isfinite(array).all(), name


@of_every_case
def test_gradients(case: Case):
    """Of all inputs and parameters at once, against finite differences."""
    layer, arrays = case.build(), case.draw()
    trained = [(name, p) for name, p in layer.named_parameters() if p.requires_grad]

    def function(*given: Any) -> list[md.Tensor]:
        for (name, _), tensor in zip(trained, given[len(arrays) :], strict=True):
            *path, last = name.split(".")
            owner = layer
            for part in path:
                owner = getattr(owner, part)
            vars(owner)[last] = tensor
        return [*outputs_of(case.forward(layer, *given[: len(arrays)]))]

    inputs = [x if is_float(x) else md.from_numpy(x) for x in arrays]
    assert md.gradcheck(function, [*inputs, *(p for _, p in trained)], order=case.order)


def every_other(x: np.ndarray) -> np.ndarray:
    """x spread out in a larger array, every axis backwards: no axis is contiguous."""
    wide = np.full([2 * n for n in x.shape], 99).astype(x.dtype)
    view = wide[(slice(None, None, -2),) * x.ndim]
    view[...] = x
    return view


def read_only(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x.flags.writeable = False
    return x


@of_every_case
def test_memory_layout_does_not_matter(case: Case):
    arrays = case.draw()
    expected = run(case.build(), case, arrays)
    for change in (every_other, np.asfortranarray, read_only):
        got = run(case.build(), case, [change(x) for x in arrays])
        assert_close(got, expected, 1e-13)


@of_every_case
def test_inputs_and_parameters_are_left_alone(case: Case):
    layer, arrays = case.build(), case.draw()
    places = [*arrays, *(p.data for p in layer.parameters())]
    before = [array.copy() for array in places]
    run(layer, case, arrays)
    for old, new in zip(before, places, strict=True):
        np.testing.assert_array_equal(new, old)


@of_every_case
def test_ndarrays_are_taken_and_no_grad_records_nothing(case: Case):
    arrays = case.draw()
    expected = run(case.build(), case, arrays)
    with md.no_grad():
        outputs = [*outputs_of(case.forward(case.build(), *arrays))]
    for i, out in enumerate(outputs):
        assert not out.requires_grad
        np.testing.assert_array_equal(out.data, expected[f"output {i}"])


@of_every_case
def test_threads_do_not_change_a_bit(case: Case):
    most = md.config.num_threads
    for dtype in DTYPES:
        expected = run(case.build(dtype), case, case.draw(dtype))
        try:
            md.set_num_threads(1)
            assert_same(run(case.build(dtype), case, case.draw(dtype)), expected)
        finally:
            md.set_num_threads(most)


@contextlib.contextmanager
def reference_kernels() -> Iterator[None]:
    md.config.kernels = "reference"
    try:
        yield
    finally:
        md.config.kernels = "fast"


@of_every_case
def test_kernels_agree_with_their_twins(case: Case):
    for dtype, tol in ((np.float32, 1e-5), (np.float64, 1e-12)):
        expected = run(case.build(dtype), case, case.draw(dtype))
        with reference_kernels():
            got = run(case.build(dtype), case, case.draw(dtype))
        assert_close(got, expected, tol)


@of_each([case for case in CASES if case.zero_rows], "cls.__name__")
def test_no_rows_in_no_rows_out(case: Case):
    arrays = case.draw()
    full = run(case.build(), case, arrays)
    for kernels in (contextlib.nullcontext, reference_kernels):
        with kernels():
            empty = run(case.build(), case, [x[:0] for x in arrays])
        assert empty.keys() == full.keys()
        for name, array in empty.items():
            rows = 0 if name.startswith(("output", "input")) else len(full[name])
            assert array.shape == (rows, *full[name].shape[1:]), name
            if name.endswith(".grad"):
                assert not array.any(), name


@of_every_case
def test_repr_is_the_call_that_makes_it(case: Case):
    layer = case.build()
    settings = repr(layer).replace(", frozen", "")
    assert settings.startswith(case.cls.__name__ + "(")
    if "\n" in settings or "..." in settings:  # modules of modules; arrays of settings
        return
    rebuilt = eval(settings, vars(nn))
    assert repr(rebuilt) == settings
    rebuilt.astype(np.float64).load_state_dict(layer.state_dict())
    case.prepare(rebuilt)
    arrays = case.draw()
    assert_same(run(rebuilt, case, arrays), run(layer, case, arrays))


ACTIVE = [
    case
    for case in CASES
    if "activation" in inspect.signature(case.cls).parameters
    and not case.settings.kwargs.get("activation")
]


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("relu", nn.ReLU),
        ("relu6", nn.ReLU6),
        ("leaky_relu", nn.LeakyReLU),
        ("tanh", nn.Tanh),
        ("sigmoid", nn.Sigmoid),
    ],
)
@of_each(ACTIVE, "cls.__name__")
def test_activation_equals_the_separate_layer(case: Case, name: str, layer: type[nn.Module]):
    settings = case.settings.kwargs | {"activation": name}
    built_in = Case(**vars(case) | {"settings": type(case.settings)(case.settings.args, settings)})
    separate = Case(**vars(case) | {"forward": lambda m, x: layer()(m(x))})
    got = run(built_in.build(), built_in, case.draw())
    assert_same(got, run(separate.build(), separate, case.draw()))


def test_every_layer_with_an_activation_is_tested_with_it():
    takes = {i.cls for i in LAYERS if "activation" in inspect.signature(i.cls).parameters}
    assert takes == {case.cls for case in ACTIVE}
    assert {nn.Conv2d, nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d} < takes


@of_each(ERRORS, "cls.__name__")
def test_errors(case: ErrorCase):
    def attempt() -> None:
        layer = case.settings.of(case.cls)
        if case.inputs is not None:
            case.prepare(layer)
            layer(*case.inputs)

    if case.inputs is not None:  # the settings alone are right
        case.settings.of(case.cls)
    with pytest.raises(case.error, match=case.match) as caught:
        attempt()
    assert isinstance(caught.value, md.errors.MinidlError) or case.error is NotImplementedError


def test_every_layer_has_error_cases():
    assert {info.cls for info in LAYERS if not info.errors} == {nn.Identity}


def test_settings_are_numbers_of_any_kind():
    """NumPy's integers and scalars are settings like Python's, and don't widen float32."""
    half, two = np.float64(0.5), np.int64(2)
    x = Draw(np.float32).normal(2, 4, 4, 2)
    for layer in (
        nn.Conv2d(two, two, two, stride=two, padding=two, dilation=two, groups=two),
        nn.MaxPool2d(two, two, padding=np.int64(1)),
        nn.LeakyReLU(half),
        nn.ELU(half),
        nn.Dropout(half),
        nn.BatchNorm2d(two, eps=half, momentum=half),
        nn.LayerNorm(two, eps=half),
        nn.LocalResponseNorm(two, half, half, half),
        nn.Upsample(scale_factor=half),
    ):
        tensor = md.tensor(x, requires_grad=True)
        y = layer(tensor)
        y.sum().backward()
        assert y.dtype == tensor.grad.dtype == np.float32, layer
    loss = nn.HuberLoss(delta=half)(md.tensor(x, requires_grad=True), x * 2)
    loss.backward()
    assert loss.dtype == np.float32
