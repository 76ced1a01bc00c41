"""The tables of recurrent layers, and of containers, whose modules stand in a row."""

from collections.abc import Callable
from typing import Any

import numpy as np
from layer_cases import Case, ErrorCase, LayerInfo, call, float32, normal, with_

import minidl as md
from minidl import nn
from minidl.errors import ArgumentError, DTypeError, ShapeError


def with_state(layer: nn.Module, x: md.Tensor, *state: md.Tensor) -> tuple[md.Tensor, ...]:
    outputs, last = layer(x, state if len(state) > 1 else state[0])
    return outputs, last


def with_seeded_state(layer: nn.Module, x: md.Tensor, *state: md.Tensor) -> Any:
    md.manual_seed(7)
    return with_state(layer, x, *state)


def recurrent(states: int) -> list[Case]:
    state = [normal(2, 2)] * states
    return [
        Case(with_(3, 2), [normal(2, 3, 3)]),
        Case(with_(1, 3), [normal(1, 1, 1)], order=2),
        Case(with_(3, 2), [normal(2, 2, 3), *state], forward=with_state, order=2),
        Case(with_(2, 2, num_layers=2), [normal(2, 3, 2)], order=2, zero_rows=False),
        Case(with_(2, 3, bidirectional=True), [normal(2, 3, 2)], zero_rows=False),
        Case(
            with_(2, 2, num_layers=2, dropout=0.4, bidirectional=True),
            [normal(2, 2, 2), *[normal(4, 2, 2)] * states],
            forward=with_seeded_state,
            zero_rows=False,
        ),
    ]


recurrent_errors = [
    ErrorCase(with_(0, 3), ArgumentError, r"(RNN|LSTM|GRU): input_size must be"),
    ErrorCase(with_(3, 1.5), ArgumentError, r"(RNN|LSTM|GRU): hidden_size must be .* got 1.5"),
    *(
        ErrorCase(with_(3, 4, wrong), ArgumentError, r"(RNN|LSTM|GRU): num_layers must be")
        for wrong in (0, 1.5, True)
    ),
    ErrorCase(with_(3, 4, 2, dropout=1.5), ArgumentError, "dropout must be a prob.*, got 1.5"),
    ErrorCase(with_(3, 4, dropout=0.5), ArgumentError, "between layers, but num_layers is 1"),
    ErrorCase(with_(3, 4, bidirectional=2), ArgumentError, "bidirectional must be True or False"),
    ErrorCase(
        with_(4, 2, 2), ShapeError, r"\(N, T, 4\), got shape \(2, 3, 5\)", [float32(2, 3, 5)]
    ),
    ErrorCase(with_(4, 2, 2), DTypeError, "got list", [[1.0]]),
    ErrorCase(with_(4, 2), ShapeError, r"\(N, T, 4\), got shape \(2, 4\)", [float32(2, 4)]),
    ErrorCase(with_(4, 2), ShapeError, r"\(N, T, 4\), got shape \(2, 3, 5\)", [float32(2, 3, 5)]),
    ErrorCase(with_(4, 2), ShapeError, "one step in time or more", [float32(2, 0, 4)]),
    ErrorCase(with_(4, 2), DTypeError, "float64", [np.ones((2, 3, 4))]),
    ErrorCase(with_(4, 2), DTypeError, "got list", [[1.0]]),
]
x, h = float32(2, 3, 4), float32(3, 2)
one_state = [
    *recurrent_errors,
    ErrorCase(
        with_(4, 2, 2, bidirectional=True),
        ShapeError,
        r"state of shape \(4, 2, 2\), \(num_layers\*directions, N, H\), got \(2, 2, 2\)",
        [x, np.stack([h[:2]] * 2)],
    ),
    ErrorCase(with_(4, 2), ShapeError, r"state of shape \(2, 2\), got \(3, 2\)", [x, h]),
]
two_states = [
    *recurrent_errors,
    ErrorCase(
        with_(4, 2, 2),
        ShapeError,
        r"state\[1\] of shape \(2, 2, 2\), .*, got \(2, 2\)",
        [x, (np.stack([h[:2]] * 2), h[:2])],
    ),
    ErrorCase(
        with_(4, 2), ShapeError, r"state\[1\] of shape \(2, 2\), got \(3, 2\)", [x, (h[:2], h)]
    ),
    ErrorCase(with_(4, 2), ArgumentError, r"state \(h, c\), each \(N, H\), got \(3, 2\)", [x, h]),
    ErrorCase(with_(4, 2), ArgumentError, r"state \(h, c\), each .* got tuple", [x, (h,)]),
]


def in_turn(layer: nn.ModuleList, x: md.Tensor) -> md.Tensor:
    for part in layer:
        x = part(x)
    return x


def by_names() -> Case:
    def forward(layer: nn.ModuleDict, x: md.Tensor) -> md.Tensor:
        return layer["two"](layer["one"](x))

    parts = {"one": nn.Linear(3, 4, activation="tanh"), "two": nn.Linear(4, 2)}
    return Case(with_(parts), [normal(2, 3)], order=2, forward=forward)


def stack(forward: Callable[..., md.Tensor] = call) -> Case:
    parts = nn.Conv2d(2, 2, 2, activation="tanh"), nn.Flatten(), nn.Linear(4, 3)
    return Case(with_(*parts), [normal(2, 3, 2, 2)], order=2, forward=forward)


SEQUENCES = [
    LayerInfo(
        nn.RNN,
        [*recurrent(1), Case(with_(3, 2, nonlinearity="relu"), [normal(2, 3, 3)])],
        [
            *one_state,
            ErrorCase(
                with_(3, 4, nonlinearity="elu"), ArgumentError, '"tanh" or "relu", got \'elu'
            ),
        ],
    ),
    LayerInfo(nn.LSTM, recurrent(2), two_states),
    LayerInfo(nn.GRU, recurrent(1), one_state),
    LayerInfo(
        nn.Sequential,
        [stack(), Case(with_(), [normal(2, 3)])],
        [
            ErrorCase(with_(np.tanh), DTypeError, "Sequential expected Modules, got ufunc"),
            ErrorCase(with_([nn.ReLU(), None]), DTypeError, "expected Modules, got NoneType"),
        ],
    ),
    LayerInfo(
        nn.ModuleDict,
        [by_names()],
        [
            ErrorCase(with_({"a": 1}), DTypeError, "ModuleDict expected a Module, got int"),
            *(
                ErrorCase(with_({name: nn.ReLU()}), ArgumentError, "name must be a string .* got")
                for name in ("", "a.b", "forward", "training", 1)
            ),
            ErrorCase(with_(), NotImplementedError, "ModuleDict has no forw", [float32(2)]),
        ],
    ),
    LayerInfo(
        nn.ModuleList,
        [stack(in_turn)],
        [
            ErrorCase(with_(1), DTypeError, "ModuleList expected Modules, got int"),
            ErrorCase(
                with_(nn.ReLU()), NotImplementedError, "ModuleList has no forw", [float32(2)]
            ),
        ],
    ),
]
