"""Recurrent layers beside PyTorch's: outputs, states, gradients."""

import numpy as np
import pytest
from torch_compare import Carry, both_dtypes, compare, fill, torch, torch_dtype

from minidl import nn

pack_padded_sequence = torch.nn.utils.rnn.pack_padded_sequence
pad_packed_sequence = torch.nn.utils.rnn.pad_packed_sequence


def gates(array: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    """Parts of the last axis in another order."""
    return np.concatenate([np.split(array, len(order), axis=-1)[i] for i in order], axis=-1)


FORMS = [
    {}, {"num_layers": 2}, {"bidirectional": True}, {"num_layers": 3, "bidirectional": True}
]  # fmt: skip
KINDS = {"RNN": (0,), "LSTM": (0, 1, 2, 3), "GRU": (1, 0, 2)}  # torch's gates among minidl's


@both_dtypes
@pytest.mark.parametrize(
    ("kind", "settings"),
    [*((kind, form) for kind in KINDS for form in FORMS), ("RNN", {"nonlinearity": "relu"})],
)
@pytest.mark.parametrize("with_state", [True, False])
@pytest.mark.parametrize(
    ("n", "t", "c", "h", "lengths"),
    [(3, 5, 4, 6, None), (1, 1, 1, 2, None), (2, 20, 3, 1, None), (4, 6, 3, 5, [4, 6, 1, 4])],
)
def test_recurrent(kind, settings, with_state, n, t, c, h, lengths, dtype):
    """torch has two biases, of inputs and of state; ours is their sum, but for the GRU's.

    lengths: beside torch's packed sequences.
    """
    random, order = np.random.default_rng(8), KINDS[kind]
    layer = getattr(nn, kind)(c, h, **settings).astype(dtype)
    fill(layer, random, 0.5)
    module = getattr(torch.nn, kind)(c, h, batch_first=True, dtype=torch_dtype(dtype), **settings)
    plain = "weight_ih" in layer.state_dict()
    carried, parts = [], {}
    for name, parameter in module.named_parameters():
        what, end = name[: name.index("_l")], name[name.index("_l") :]
        own_end = "" if plain else end
        if what.startswith("weight"):
            carried.append(Carry(f"{what}{own_end}", parameter, lambda w: gates(w, order).T))
        elif what == "bias_ih":
            carry_bias(kind, f"bias{own_end}", end, parameter, carried, parts, random)

    def sequence(x, *state):
        weights = {name: part() for name, part in parts.items()}
        start = tuple(s[None] if plain else s for s in state)
        start = () if not state else (start,) if kind == "LSTM" else start
        if lengths is not None:
            x = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        outputs, last = torch.func.functional_call(module, weights, (x, *start))
        if lengths is not None:
            outputs, _ = pad_packed_sequence(outputs, batch_first=True, total_length=t)
        last = last if kind == "LSTM" else (last,)
        return (outputs, *(s[0] if plain else s for s in last))

    class Flat(nn.Module):
        """The layer with states as inputs and outputs of their own."""

        def __init__(self):
            vars(self).update(vars(layer))

        def forward(self, x, *state):
            start = None if not state else state if kind == "LSTM" else state[0]
            outputs, last = layer(x, start, lengths=lengths)
            return (outputs, *last) if kind == "LSTM" else (outputs, last)

    states = 2 if kind == "LSTM" else 1
    shape = (n, h) if plain else (layer.num_layers * (1 + layer.bidirectional), n, h)
    inputs = [random.standard_normal((n, t, c))]
    inputs += [random.standard_normal(shape) for _ in range(states * with_state)]
    compare(Flat(), sequence, [x.astype(dtype) for x in inputs], carried)


def carry_bias(kind, name, end, like, carried, parts, random):
    """Both of torch's biases of one layer and direction, in place of its parameters."""
    if kind == "GRU":
        both = torch.nn.Parameter(torch.zeros(2, *like.shape, dtype=like.dtype))
        carried.append(Carry(name, both, lambda b: gates(b, KINDS["GRU"])))
        parts |= {f"bias_ih{end}": lambda: both[0], f"bias_hh{end}": lambda: both[1]}
    else:
        total = torch.nn.Parameter(torch.zeros_like(like))
        carried.append(Carry(name, total))
        other = torch.tensor(random.standard_normal(total.shape)).to(like.dtype)
        parts |= {f"bias_ih{end}": lambda: total - other, f"bias_hh{end}": lambda: other}
