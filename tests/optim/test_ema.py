"""The moving average of parameters. Values are in test_trajectories.py."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.autograd import Tensor
from minidl.errors import ArgumentError, DTypeError, StateError
from minidl.optim import EMA
from minidl.optim._pieces import PIECE


class Module:
    """What EMA asks of a module."""

    def __init__(self):
        self.params = {
            "layer.weight": Tensor(np.zeros((2, 3), np.float32), True),
            "layer.bias": Tensor(np.zeros(3, np.float32), True),
        }
        self.held = {
            "norm.running_mean": Tensor(np.zeros(3, np.float32)),
            "count": Tensor(np.array(0)),
        }

    def __len__(self):  # a Sequential may be empty, and is a module all the same
        return 0

    def parameters(self):
        return iter(self.params.values())

    def named_parameters(self):
        return iter(self.params.items())

    def named_buffers(self):
        return iter(self.held.items())

    def fill(self, value):
        for t in (*self.params.values(), *self.held.values()):
            t.data[...] = value

    def values(self):
        return {n: t.data.copy() for n, t in {**self.params, **self.held}.items()}


def averages(ema):
    return ema.state_dict()["averages"]


def test_parameters_are_averaged_and_buffers_copied():
    model = Module()
    ema = EMA(model, decay=0.75)
    model.fill(1)
    ema.update()
    model.fill(8)
    ema.update()
    found = averages(ema)
    assert list(found) == ["layer.weight", "layer.bias", "norm.running_mean", "count"]
    for name, array in found.items():
        wanted = (0.75 * 1 + 8) / 1.75 if name.startswith("layer") else 8
        np.testing.assert_array_equal(array, np.full_like(model.values()[name], wanted))
        assert array.dtype == model.values()[name].dtype


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=12), st.floats(0, 0.9999))
def test_the_start_counts_for_nothing(path, decay):
    """The weighted mean of the values at the updates, in closed form."""
    p = Tensor(np.array(1e3), True)
    ema = EMA([p], decay)
    for place in path:
        p.data[...] = place
        ema.update()
    weights = decay ** np.arange(len(path), dtype=np.float64)[::-1]
    expected = (weights * path).sum() / weights.sum()
    np.testing.assert_allclose(averages(ema)["0"], expected, rtol=1e-9, atol=1e-9)


def test_a_decay_that_is_changed():
    """As Trainers do that let it grow: each value weighs the product of the decays after it."""
    p = Tensor(np.array(50.0), True)
    ema, decays = EMA([p], 0.5), [0.5, 0.8, 0.9, 0.0, 0.99]
    number, total = 0.0, 0.0
    for step, decay in enumerate(decays):
        ema.decay = decay
        p.data[...] = step**2
        ema.update()
        number, total = decay * number + (1 - decay) * step**2, decay * total + 1 - decay
        np.testing.assert_allclose(averages(ema)["0"], number / total, rtol=1e-12)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=12), st.floats(0, 0.999))
def test_an_average_stays_among_what_it_is_of(path, decay):
    p = Tensor(np.array(path[0]), True)
    ema = EMA([p], decay)
    for place in path:
        p.data[...] = place
        ema.update()
        slack = 1e-12 * max(map(abs, path))
        assert min(path) - slack <= averages(ema)["0"] <= max(path) + slack


@given(st.floats(0, 0.999), st.floats(-(2.0**100), 2.0**100, width=32))
def test_what_stands_still_is_averaged_to_itself(decay, value):
    p = Tensor(np.array([value], np.float32), True)
    ema = EMA([p], decay)
    for _ in range(5):
        ema.update()
    np.testing.assert_array_equal(averages(ema)["0"], p.data)


def test_large_arrays_and_any_order_of_memory():
    rng = np.random.default_rng(0)
    params = [Tensor(np.zeros(PIECE // 8 + 3), True), Tensor(np.zeros((3, 4)).T, True)]
    ema = EMA(params, 0.5)
    ema.update()
    for p in params:
        p.data[...] = rng.normal(size=p.shape)
    ema.update()
    for p, average in zip(params, averages(ema).values(), strict=True):
        np.testing.assert_allclose(average, p.data / 1.5, rtol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("decay", [0.0, 0.9, 0.999, 1 / 3])
def test_the_bits_are_those_of_the_formula(dtype, decay):
    """Without a fused multiplication and addition, which rounds once where NumPy does twice."""
    rng = np.random.default_rng(0)
    p = Tensor(rng.normal(size=40_003).astype(dtype), True)
    ema, average = EMA([p], decay), p.data.copy()
    decayed = 1.0
    for _ in range(3):
        p.data[...] = rng.normal(size=p.shape)
        ema.update()
        decayed *= decay
        kept = 1 - (1 - decay) / (1 - decayed)
        average += (1 - kept) * (p.data - average)
        np.testing.assert_array_equal(averages(ema)["0"], average)


def test_inside_the_model_holds_the_averages():
    model = Module()
    ema = EMA(model, decay=0.75)
    model.fill(1)
    ema.update()
    model.fill(8)
    ema.update()
    arrays = [t.data for t in (*model.params.values(), *model.held.values())]
    with ema.average_parameters():
        for name, array in averages(ema).items():
            np.testing.assert_array_equal(model.values()[name], array)
        model.fill(-1)  # is lost, and the averages don't notice
    after = [t.data for t in (*model.params.values(), *model.held.values())]
    assert all(a is b for a, b in zip(arrays, after, strict=True))
    assert all(np.all(a == 8) for a in after)
    np.testing.assert_allclose(averages(ema)["layer.bias"], [5] * 3)  # (0.75 + 8) / 1.75


def test_an_exception_inside_brings_the_values_back():
    model = Module()
    ema = EMA(model, decay=0.5)
    model.fill(8)

    def fail():
        with ema.average_parameters():
            assert np.all(model.params["layer.bias"].data == 0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert all(np.all(a == 8) for a in model.values().values())


def test_inside_one_another():
    p = Tensor(np.array([8.0]), True)
    a, b = EMA([p]), EMA([p])
    p.data[...] = 4
    with a.average_parameters(), b.average_parameters(), a.average_parameters():
        assert p.data == 8
    assert p.data == 4


def test_copy_to_is_for_good():
    model = Module()
    ema = EMA(model, decay=0.75)
    model.fill(1)
    ema.update()
    model.fill(8)
    ema.update()
    array = model.params["layer.bias"].data
    ema.copy_to()
    np.testing.assert_allclose(array, [5] * 3)
    model.fill(0)
    np.testing.assert_allclose(averages(ema)["layer.bias"], [5] * 3)


def test_resumes_to_the_bit():
    rng = np.random.default_rng(0)
    p = Tensor(rng.normal(size=5).astype(np.float32), True)
    ema, other = EMA([p], 0.9), EMA([p], 0.5)
    p.data[...] = rng.normal(size=5)
    ema.update()
    state = ema.state_dict()
    other.load_state_dict(state)
    state["averages"]["0"][...] = 7  # a copy
    for _ in range(3):
        p.data[...] = rng.normal(size=5)
        ema.update()
        other.update()
    assert averages(ema)["0"].tobytes() == averages(other)["0"].tobytes()
    assert other.state_dict()["decay"] == 0.9


def test_a_refused_state_changes_nothing():
    model = Module()
    ema = EMA(model)
    model.fill(1)
    other = EMA(model, 0.5)
    state = other.state_dict()
    del state["averages"]["layer.bias"]
    state["averages"]["count"] = np.array(1.0)
    state["averages"]["head.bias"] = np.zeros(2)
    state["decay"] = 1.0
    text = (
        r"EMA.load_state_dict loaded nothing.* missing: averages\.layer\.bias; "
        r"unexpected: averages\.head\.bias; misshaped or out of range: "
        r"decay \(expected a number from 0 to below 1, got 1\.0\), "
        r"averages\.count \(expected int64 of shape \(\), got array\(1\.\)\)$"
    )
    with pytest.raises(StateError, match=text):
        ema.load_state_dict(state)
    assert ema.decay == 0.999
    assert all(np.all(a == 0) for a in averages(ema).values())


@pytest.mark.parametrize("call", ["update", "average_parameters", "copy_to"])
def test_says_that_the_model_has_changed(call):
    model = Module()
    ema = EMA(model)
    model.params["head"] = model.params.pop("layer.bias")
    model.held["count"] = Tensor(np.zeros(2))

    def do():
        found = getattr(ema, call)()
        if found is not None:
            found.__enter__()

    text = f"EMA.{call}: the model has changed .* in layer.bias, count, head: make a new EMA"
    with pytest.raises(StateError, match=text):
        do()


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: EMA([]), ArgumentError, "EMA got no parameters"),
        (lambda: EMA([1.0]), DTypeError, "EMA expected Tensors, got a float"),
        (lambda: EMA(Tensor(np.zeros(1))), DTypeError, "got a Tensor: put it in a list"),
        (lambda: EMA([Tensor(np.zeros(1))], 1.0), ArgumentError, "decay .* below 1, got 1.0"),
        (lambda: EMA([Tensor(np.zeros(1))], -0.1), ArgumentError, "decay .* got -0.1"),
        (
            lambda: EMA([Tensor(np.arange(3))]),
            DTypeError,
            "EMA, parameter 0, expected float32 .* got int64",
        ),
    ],
)
def test_refuses(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_a_state_of_before_the_correction_goes_on_without_it():
    """Such a state has no `decayed`; average = decay * average + (1 - decay) * parameter."""
    p = Tensor(np.array([4.0, 8.0]), requires_grad=True)
    ema = EMA([p], decay=0.9)
    ema.load_state_dict({"decay": 0.5, "averages": {"0": np.array([2.0, 0.0])}})
    ema.update()
    np.testing.assert_allclose(ema.state_dict()["averages"]["0"], [3.0, 4.0], rtol=1e-12)
    p.data[...] = 0.0
    ema.update()
    np.testing.assert_allclose(ema.state_dict()["averages"]["0"], [1.5, 2.0], rtol=1e-12)
