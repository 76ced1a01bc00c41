"""Recurrent layers: the state they carry, and their gates step by step."""

import numpy as np
import pytest
from layer_cases import outputs_of

import minidl as md
from minidl import nn

LAYERS = (nn.RNN, nn.LSTM, nn.GRU)
N, T, C, H = 3, 7, 4, 5


def make(layer: type[nn.Module]) -> tuple[nn.Module, np.ndarray]:
    md.manual_seed(0)
    built = layer(C, H).astype(np.float64)
    random = np.random.default_rng(1)
    for p in built.parameters():
        p.data[...] = random.standard_normal(p.shape)
    return built, random.standard_normal((N, T, C))


def as_tuple(state):
    return state if isinstance(state, tuple) else (state,)


@pytest.mark.parametrize("layer", LAYERS)
def test_shapes(layer):
    built, x = make(layer)
    outputs, state = built(x)
    assert outputs.shape == (N, T, H)
    assert [part.shape for part in as_tuple(state)] == [(N, H)] * (2 if layer is nn.LSTM else 1)
    np.testing.assert_array_equal(outputs.data[:, -1], as_tuple(state)[0].data)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("cuts", [(3,), (1, 2, 6), range(1, T)])
def test_a_sequence_in_pieces_equals_the_whole(layer, cuts):
    """Outputs, the last state, and the gradients of inputs and parameters."""
    built, x = make(layer)
    whole = md.tensor(x, requires_grad=True)
    outputs, last = built(whole)
    sum((part * part).sum() for part in outputs_of((outputs, last))).backward()
    expected = [p.grad for p in built.parameters()]
    built.zero_grad()

    pieces = [md.tensor(p, requires_grad=True) for p in np.split(x, [*cuts], axis=1)]
    state, made = None, []
    for piece in pieces:
        y, state = built(piece, state)
        made.append(y)
    sum((part * part).sum() for part in outputs_of((*made, state))).backward()
    np.testing.assert_allclose(np.concatenate([y.data for y in made], 1), outputs.data, rtol=1e-12)
    for got, want in zip(as_tuple(state), as_tuple(last), strict=True):
        np.testing.assert_allclose(got.data, want.data, rtol=1e-12)
    got = np.concatenate([piece.grad for piece in pieces], axis=1)
    np.testing.assert_allclose(got, whole.grad, rtol=1e-10, atol=1e-12)
    for parameter, want in zip(built.parameters(), expected, strict=True):
        np.testing.assert_allclose(parameter.grad, want, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_detached_state_cuts_the_gradient(layer):
    built, x = make(layer)
    first = md.tensor(x[:, :3], requires_grad=True)
    _, state = built(first)
    cut = [part.detach() for part in as_tuple(state)]
    outputs, _ = built(x[:, 3:], tuple(cut) if len(cut) > 1 else cut[0])
    outputs.sum().backward()
    assert first.grad is None
    assert np.abs(built.weight_hh.grad).max() > 0


@pytest.mark.parametrize("layer", LAYERS)
def test_no_state_is_a_state_of_zeros(layer):
    built, x = make(layer)
    zeros = np.zeros((N, H))
    state = (zeros, zeros) if layer is nn.LSTM else zeros
    np.testing.assert_array_equal(built(x, state)[0].data, built(x)[0].data)
    np.testing.assert_array_equal(built(x, state=state)[0].data, built(x)[0].data)


@pytest.mark.parametrize("layer", LAYERS)
def test_rows_of_a_batch_do_not_mix(layer):
    built, x = make(layer)
    whole = built(x)[0].data
    for i in range(N):
        np.testing.assert_allclose(built(x[i : i + 1])[0].data, whole[i : i + 1], rtol=1e-12)


@pytest.mark.parametrize("layer", LAYERS)
def test_outputs_do_not_see_the_future(layer):
    built, x = make(layer)
    later = x.copy()
    later[:, 4:] += 1
    a, b = built(x)[0].data, built(later)[0].data
    np.testing.assert_array_equal(a[:, :4], b[:, :4])
    assert (np.abs(a[:, 4:] - b[:, 4:]).max(axis=(0, 2)) > 0).all()


# One step, written out


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_rnn_step():
    built, x = make(nn.RNN)
    h = np.full((N, H), 0.3)
    w, u, b = (p.data for p in built.parameters())
    np.testing.assert_allclose(
        built(x[:, :1], h)[1].data, np.tanh(x[:, 0] @ w + h @ u + b), rtol=1e-12
    )


def test_lstm_step_has_gates_i_f_g_o():
    built, x = make(nn.LSTM)
    h, c = np.full((N, H), 0.3), np.full((N, H), -0.7)
    w, u, b = (p.data for p in built.parameters())
    i, f, g, o = np.split(x[:, 0] @ w + h @ u + b, 4, axis=1)
    cell = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    _, (got_h, got_c) = built(x[:, :1], (h, c))
    np.testing.assert_allclose(got_c.data, cell, rtol=1e-12)
    np.testing.assert_allclose(got_h.data, sigmoid(o) * np.tanh(cell), rtol=1e-12)


def test_gru_step_has_gates_z_r_h_and_resets_after_the_product():
    built, x = make(nn.GRU)
    h = np.full((N, H), 0.3)
    w, u, b = (p.data for p in built.parameters())
    xz, xr, xh = np.split(x[:, 0] @ w + b[0], 3, axis=1)
    hz, hr, hh = np.split(h @ u + b[1], 3, axis=1)
    z, r = sigmoid(xz + hz), sigmoid(xr + hr)
    expected = z * h + (1 - z) * np.tanh(xh + r * hh)
    np.testing.assert_allclose(built(x[:, :1], h)[1].data, expected, rtol=1e-12)


@pytest.mark.parametrize("layer", LAYERS)
def test_long_sequences_neither_overflow_nor_recurse(layer):
    built, _ = make(layer)
    x = md.tensor(np.full((1, 2000, C), 50.0), requires_grad=True)
    outputs, _ = built(x)
    outputs.sum().backward()
    assert np.isfinite(outputs.data).all()
    assert np.isfinite(x.grad).all()


# Several layers, both directions


def stacked(layer, seed=1, **settings):
    built = layer(C, H, **settings).astype(np.float64)
    random = np.random.default_rng(seed)
    for p in built.parameters():
        p.data[...] = 0.5 * random.standard_normal(p.shape)
    return built


def part(built, width, end):
    """The plain layer of one layer and direction."""
    plain = type(built)(width, H).astype(np.float64)
    names = {name: f"{name}{end}" for name in plain.state_dict()}
    state = built.state_dict()
    plain.load_state_dict({name: state[own] for name, own in names.items()})
    return plain


@pytest.mark.parametrize("layer", LAYERS)
def test_layers_in_turn(layer):
    built = stacked(layer, num_layers=3)
    _, x = make(layer)
    outputs, state = built(x)
    y, lasts = x, []
    for i in range(3):
        y, last = part(built, C if i == 0 else H, f"_l{i}")(y)
        lasts.append(as_tuple(last))
    np.testing.assert_array_equal(outputs.data, y.data)
    for got, want in zip(as_tuple(state), zip(*lasts), strict=True):
        np.testing.assert_array_equal(got.data, np.stack([w.data for w in want]))


@pytest.mark.parametrize("layer", LAYERS)
def test_both_directions(layer):
    built = stacked(layer, bidirectional=True)
    _, x = make(layer)
    outputs, state = built(x)
    forth, last = part(built, C, "_l0")(x)
    back, first = part(built, C, "_l0_reverse")(x[:, ::-1].copy())
    np.testing.assert_array_equal(outputs.data[..., :H], forth.data)
    np.testing.assert_array_equal(outputs.data[..., H:], back.data[:, ::-1])
    for got, *want in zip(as_tuple(state), as_tuple(last), as_tuple(first), strict=True):
        np.testing.assert_array_equal(got.data, np.stack([w.data for w in want]))


@pytest.mark.parametrize("layer", LAYERS)
def test_names_and_shapes(layer):
    gates = layer.gates
    built = layer(C, H, 2, bidirectional=True)
    ends = ["_l0", "_l0_reverse", "_l1", "_l1_reverse"]
    names = [f"{name}{end}" for end in ends for name in ("weight_ih", "weight_hh", "bias")]
    assert list(built.state_dict()) == names
    assert built.weight_ih_l0_reverse.shape == (C, gates * H)
    assert built.weight_ih_l1.shape == (2 * H, gates * H)
    outputs, state = built(np.zeros((N, T, C), np.float32))
    assert outputs.shape == (N, T, 2 * H)
    assert [p.shape for p in as_tuple(state)] == [(4, N, H)] * len(as_tuple(state))
    if layer is nn.LSTM:
        for end in ends:
            bias = getattr(built, f"bias{end}").data
            assert (bias[H : 2 * H] == 1).all()
            assert bias.sum() == H


def test_dropout_is_between_layers_and_in_training_alone():
    """Layers of which each gives what it takes: 1, or after dropout 0 or 1 / (1 - p)."""
    p, size = 0.3, 40
    layer = nn.RNN(size, size, 3, nonlinearity="relu", dropout=p)
    for name, parameter in layer.named_parameters():
        parameter.data[...] = np.eye(size) if "weight_ih" in name else 0
    ones = np.ones((20, 30, size), np.float32)
    md.manual_seed(0)
    y = layer(ones)[0].data
    scale = np.float32(1 / (1 - p))
    np.testing.assert_array_equal(np.unique(y), [0, scale * scale])
    kept = (1 - p) ** 2  # by both
    assert abs((y != 0).mean() - kept) < 5 * np.sqrt(kept * (1 - kept) / y.size)
    assert (y[:, 0] != y[:, 1]).any()  # each step drops others
    md.manual_seed(0)
    np.testing.assert_array_equal(layer(ones)[0].data, y)
    np.testing.assert_array_equal(layer.eval()(ones)[0].data, ones)


@pytest.mark.parametrize("layer", LAYERS)
def test_one_layer_starts_as_it_did(layer):
    """num_layers=1 draws the same numbers, under the same names."""
    md.manual_seed(5)
    plain = layer(C, H).state_dict()
    md.manual_seed(5)
    first = layer(C, H, 2).state_dict()
    assert list(plain) == ["weight_ih", "weight_hh", "bias"]
    for name, array in plain.items():
        np.testing.assert_array_equal(first[f"{name}_l0"], array)
