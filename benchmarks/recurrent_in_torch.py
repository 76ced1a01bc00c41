"""Cases of `benchmarks.recurrent` in PyTorch."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.recurrent import FEATURES, HIDDEN, STEPS, Arrays, arrays, words

ORDER = {"lstm": (0, 1, 2, 3), "gru": (1, 0, 2), "rnn": (0,)}  # torch's gates among minidl's


def _turned(kind: str, weight: np.ndarray) -> torch.Tensor:
    """Return a weight or bias with torch's order of gates, which are its first axis."""
    parts = np.split(weight, len(ORDER[kind]), axis=-1)
    return torch.from_numpy(np.concatenate([parts[i] for i in ORDER[kind]], axis=-1).T.copy())


def layer(kind: str, given: Arrays) -> torch.nn.Module:
    made: torch.nn.Module = getattr(torch.nn, kind.upper())(FEATURES, HIDDEN, batch_first=True)
    state = {name: _turned(kind, getattr(given, name)) for name in ("weight_ih", "weight_hh")}
    bias = _turned(kind, given.bias)
    state |= {"bias_ih": bias, "bias_hh": torch.zeros_like(bias)}
    made.load_state_dict({f"{name}_l0": part for name, part in state.items()})
    return made


def _embedding() -> Callable[[], Any]:
    weight, rows, dy = (torch.from_numpy(x) for x in words())
    weight.requires_grad_()
    return lambda: torch.autograd.grad(torch.nn.functional.embedding(rows, weight), weight, dy)


def in_torch(case: str) -> Callable[[], Any]:
    """Return a call of the case; it returns the outputs, and in training the gradients."""
    if case == "embedding":
        return _embedding()
    kind, _, what = case.partition(" ")
    given = arrays(kind)
    built, x, dy = layer(kind, given), torch.from_numpy(given.x), torch.from_numpy(given.dy)
    if what == "inference":

        def infer() -> Any:
            with torch.no_grad():
                return [built(x)[0]]

        return infer
    x.requires_grad_(what == "input")
    asked = [*built.parameters(), *([x] if what == "input" else [])]
    lengths = torch.from_numpy(given.lengths) if what == "lengths" else None
    utils = torch.nn.utils.rnn

    def train() -> Any:
        if lengths is None:
            y = built(x)[0]
        else:
            packed = utils.pack_padded_sequence(x, lengths, True, enforce_sorted=False)
            y, _ = utils.pad_packed_sequence(built(packed)[0], True, total_length=STEPS)
        return [y, *torch.autograd.grad(y, asked, dy)]

    return train
