"""Initial values: their moments against the formulas, fans, orthogonality, errors, seeds."""

import contextlib
import math

import numpy as np
import pytest

import minidl as md
from minidl import nn
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.nn import init

IN, OUT = 300, 500


def tensor(*shape: int, dtype=np.float64) -> md.Tensor:
    return md.tensor(np.full(shape, np.nan, dtype))


def assert_moments(array: np.ndarray, mean: float, std: float, kind: str) -> None:
    """Mean, deviation and fourth moment, within 5 standard errors of a sample of that size."""
    n = array.size
    kurtosis = {"normal": 3.0, "uniform": 1.8}[kind]
    assert abs(array.mean() - mean) < 5 * std / math.sqrt(n)
    z = (array - mean) / std
    assert abs((z**2).mean() - 1) < 5 * math.sqrt((kurtosis - 1) / n)
    eighth = {"normal": 105.0, "uniform": 9.0}[kind]  # the moment that says how the fourth scatters
    assert abs((z**4).mean() - kurtosis) < 5 * math.sqrt((eighth - kurtosis**2) / n)
    if kind == "uniform":
        bound = math.sqrt(3) * std
        assert np.abs(array - mean).max() <= bound
        assert np.abs(array - mean).max() > 0.999 * bound


LINEAR = {
    "xavier_uniform": (2 / (IN + OUT), "uniform"),
    "xavier_normal": (2 / (IN + OUT), "normal"),
    "kaiming_uniform": (2 / IN, "uniform"),
    "kaiming_normal": (2 / IN, "normal"),
    "lecun_uniform": (1 / IN, "uniform"),
    "lecun_normal": (1 / IN, "normal"),
}


@pytest.mark.parametrize("name", LINEAR)
def test_variance_of_a_linear_weight(name):
    variance, kind = LINEAR[name]
    md.manual_seed(0)
    weight = tensor(IN, OUT)
    assert getattr(init, name)(weight) is weight
    assert_moments(weight.data, 0, math.sqrt(variance), kind)


@pytest.mark.parametrize("name", LINEAR)
def test_variance_of_a_convolution_weight(name):
    """A window of 3 x 5 inputs has that many times the channels as fans."""
    fan_in, fan_out = 15 * 40, 15 * 60
    variance = {"x": 2 / (fan_in + fan_out), "k": 2 / fan_in, "l": 1 / fan_in}[name[0]]
    md.manual_seed(1)
    weight = getattr(init, name)(tensor(3, 5, 40, 60))
    assert_moments(weight.data, 0, math.sqrt(variance), LINEAR[name][1])


@pytest.mark.parametrize("name", ["kaiming_uniform", "kaiming_normal"])
@pytest.mark.parametrize(
    ("nonlinearity", "gain"),
    [
        (None, 1),
        ("linear", 1),
        ("sigmoid", 1),
        ("tanh", 5 / 3),
        ("relu", math.sqrt(2)),
        ("relu6", math.sqrt(2)),
        ("leaky_relu", math.sqrt(2 / 1.0001)),
    ],
)
def test_modes_and_gains(name, nonlinearity, gain):
    assert init.gain(nonlinearity) == pytest.approx(gain, rel=1e-12)
    md.manual_seed(2)
    weight = getattr(init, name)(tensor(IN, OUT), mode="fan_out", nonlinearity=nonlinearity)
    assert_moments(weight.data, 0, gain / math.sqrt(OUT), LINEAR[name][1])


@pytest.mark.parametrize("name", ["xavier_uniform", "xavier_normal"])
@pytest.mark.parametrize(
    ("given", "total"),
    [
        ({"fan_in": 10, "fan_out": 30}, 40),
        ({"fan_in": 10}, 10 + OUT),
        ({"fan_out": 30}, IN + 30),
        ({"gain": 3.0}, (IN + OUT) / 9),
    ],
)
def test_fans_and_gain_can_be_given(name, given, total):
    md.manual_seed(3)
    weight = getattr(init, name)(tensor(IN, OUT), **given)
    assert_moments(weight.data, 0, math.sqrt(2 / total), LINEAR[name][1])


def test_one_fan_can_be_given():
    md.manual_seed(4)
    assert_moments(init.kaiming_normal(tensor(IN, OUT), fan=8).data, 0, 0.5, "normal")
    assert_moments(init.kaiming_uniform(tensor(IN * OUT), fan=8).data, 0, 0.5, "uniform")
    assert_moments(init.lecun_normal(tensor(IN, OUT), fan_in=16).data, 0, 0.25, "normal")
    assert_moments(init.lecun_uniform(tensor(IN, OUT), fan_in=16).data, 0, 0.25, "uniform")


def test_fans():
    assert init.fans(tensor(4, 5)) == (4, 5)
    assert init.fans(tensor(3, 2, 4, 5)) == (24, 30)
    assert init.fans(tensor(1, 1, 4, 5)) == (4, 5)


def test_plain_distributions():
    md.manual_seed(5)
    assert_moments(init.normal(tensor(IN, OUT), 2.0, 0.5).data, 2, 0.5, "normal")
    width = 4 / math.sqrt(12)
    assert_moments(init.uniform(tensor(IN, OUT), -1.0, 3.0).data, 1, width, "uniform")
    assert (init.constant(tensor(2, 3), 0.25).data == 0.25).all()
    assert (init.zeros(tensor(3)).data == 0).all()
    assert (init.ones(tensor()).data == 1).all()


@pytest.mark.parametrize("shape", [(7, 7), (20, 6), (6, 20), (3, 3, 2, 5), (1, 2, 3, 11), (1, 1)])
@pytest.mark.parametrize("gain", [1.0, 2.5])
def test_orthogonal(shape, gain):
    md.manual_seed(6)
    weight = init.orthogonal(tensor(*shape), gain)
    matrix = weight.data.reshape(-1, shape[-1])
    rows, columns = matrix.shape
    product = matrix.T @ matrix if rows >= columns else matrix @ matrix.T
    np.testing.assert_allclose(product, gain**2 * np.eye(min(rows, columns)), atol=1e-13)


def test_orthogonal_matrices_are_uniformly_distributed():
    """Every entry has mean 0 and variance 1/n, as QR alone would not give."""
    md.manual_seed(7)
    entries = np.stack([init.orthogonal(tensor(3, 3)).data for _ in range(4000)])
    np.testing.assert_allclose(entries.mean(axis=0), 0, atol=5 * math.sqrt(1 / 3 / 4000))
    np.testing.assert_allclose((entries**2).mean(axis=0), 1 / 3, atol=0.03)


ALL = sorted(set(init.__all__) - {"gain", "constant", "zeros", "ones"})


@pytest.mark.parametrize("name", ALL)
def test_same_seed_same_bits(name):
    draws = []
    for seed in (1, 1, 2):
        md.manual_seed(seed)
        draws.append(getattr(init, name)(tensor(4, 5)).data)
    np.testing.assert_array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])
    assert not np.array_equal(
        getattr(init, name)(tensor(4, 5)).data, draws[2]
    )  # the stream goes on


@pytest.mark.parametrize("name", ALL)
def test_float32_holds_the_rounded_numbers_of_float64(name):
    drawn = {}
    for dtype in (np.float32, np.float64):
        md.manual_seed(3)
        drawn[dtype] = getattr(init, name)(tensor(4, 5, dtype=dtype)).data
        assert drawn[dtype].dtype == dtype
    np.testing.assert_array_equal(drawn[np.float32], drawn[np.float64].astype(np.float32))


def test_filling_keeps_the_array():
    """Whoever holds a parameter's array sees the new values."""
    layer = nn.Linear(3, 2)
    array = layer.weight.data
    init.zeros(layer.weight)
    assert layer.weight.data is array
    assert not array.any()
    assert layer.weight.requires_grad


@pytest.mark.parametrize("name", sorted(set(init.__all__) - {"gain"}))
def test_only_float_tensors_are_filled(name):
    more = (1.0,) if name == "constant" else ()
    for wrong in (np.ones((2, 3)), md.tensor([[1, 2]]), [[1.0]]):
        with pytest.raises(DTypeError, match="init fills float Tensors in place, got"):
            getattr(init, name)(wrong, *more)


def test_errors():
    for name in (*LINEAR, "orthogonal"):
        with pytest.raises(ShapeError, match=r"two axes or more, got shape \(5,\)"):
            getattr(init, name)(tensor(5))
    with pytest.raises(ArgumentError, match="mode must be 'fan_in' or 'fan_out', got 'fan'"):
        init.kaiming_normal(tensor(2, 3), mode="fan")
    with pytest.raises(ArgumentError, match=r"nonlinearity must be one of \[None, .*got 'swiglu'"):
        init.kaiming_uniform(tensor(2, 3), nonlinearity="swiglu")
    with pytest.raises(ArgumentError, match="got 'swish'"):
        init.gain("swish")


# How layers start


@pytest.mark.parametrize(
    ("layer", "name", "variance", "kind"),
    [
        (lambda: nn.Linear(IN, OUT), "weight", 1 / IN, "uniform"),
        (lambda: nn.Linear(IN, OUT, activation="relu"), "weight", 2 / IN, "uniform"),
        (lambda: nn.Linear(IN, OUT, activation="tanh"), "weight", 25 / 9 / IN, "uniform"),
        (lambda: nn.Conv2d(30, 50, (3, 5)), "weight", 2 / (15 * 30), "uniform"),
        (lambda: nn.Conv2d(60, 50, (3, 5), groups=2), "weight", 2 / (15 * 30), "uniform"),
        (lambda: nn.ConvTranspose2d(30, 50, 4, 2), "weight", 2 / (4 * 30), "uniform"),
        (lambda: nn.DepthwiseConv2d(500, 5, multiplier=2), "weight", 2 / 25, "uniform"),
        (lambda: nn.Embedding(IN, OUT), "weight", 1, "normal"),
        (lambda: nn.LSTM(IN, 100), "weight_ih", 2 / (IN + 100), "uniform"),
    ],
)
def test_weights_of_new_layers(layer, name, variance, kind):
    md.manual_seed(8)
    state = layer().state_dict()
    assert_moments(state[name].astype(np.float64), 0, math.sqrt(variance), kind)
    assert not state.get("bias", np.zeros(1))[:50].any()


@pytest.mark.parametrize("layer", [nn.RNN, nn.LSTM, nn.GRU])
def test_state_weights_start_orthogonal_gate_by_gate(layer):
    weight = layer(5, 7).astype(np.float64).weight_hh.data
    for gate in range(weight.shape[1] // 7):
        square = weight[:, gate * 7 : (gate + 1) * 7]
        np.testing.assert_allclose(square.T @ square, np.eye(7), atol=1e-6)


def test_the_forget_gate_starts_open():
    bias = nn.LSTM(5, 3).bias.data
    assert bias.tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    assert not nn.GRU(5, 3).bias.data.any()


def test_a_model_is_the_same_bits_for_the_same_seed():
    def model():
        return nn.Sequential(nn.Conv2d(2, 3, 3), nn.GRU(3, 2), nn.Embedding(4, 2), nn.Linear(2, 2))

    md.manual_seed(9)
    first = model().state_dict()
    md.manual_seed(9)
    for name, array in model().state_dict().items():
        np.testing.assert_array_equal(array, first[name])


def test_large_weights_are_drawn_in_pieces_and_are_the_same_numbers():
    tensor = md.tensor(np.empty((300, 401), np.float32))
    md.manual_seed(3)
    init.uniform(tensor, -2, 5)
    md.manual_seed(3)
    expected = md.random.generator().uniform(-2, 5, (300, 401)).astype(np.float32)
    np.testing.assert_array_equal(tensor.data, expected)
    turned = md.from_numpy(np.empty((401, 300), np.float32).T)
    md.manual_seed(3)
    init.uniform(turned, -2, 5)
    np.testing.assert_array_equal(turned.data, expected)


@pytest.mark.parametrize("name", init.__all__)
def test_skipped_weights_stay_as_they_are(name):
    tensor = md.tensor(np.full((3, 4), 7.0, np.float32))
    arguments = {"constant": (1.0,)}.get(name, ())
    with contextlib.suppress(ZeroDivisionError), init.skipped():
        if name == "gain":
            assert init.gain("relu") > 1
        else:
            assert getattr(init, name)(tensor, *arguments) is tensor
        assert (tensor.data == 7).all()
        raise ZeroDivisionError
    if name not in ("gain",):
        getattr(init, name)(tensor, *arguments)
        assert (tensor.data != 7).all()
