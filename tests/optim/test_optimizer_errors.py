"""What optimizers refuse, and that a refusal leaves all as it was."""

import numpy as np
import pytest
from optimizers import OPTIMIZERS, title

import minidl.ops  # noqa: F401  gives tensors their arithmetic
from minidl import optim
from minidl.autograd import Tensor, from_numpy
from minidl.errors import ArgumentError, DTypeError, ShapeError, StateError

A, B = Tensor(np.ones(2), True), Tensor(np.ones(3), True)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: optim.SGD([], lr=0.1), ArgumentError, r"SGD got no parameters \(a generator"),
        (lambda: optim.SGD(iter([]), lr=0.1), ArgumentError, "got no parameters"),
        (
            lambda: optim.SGD([{"params": []}], lr=0.1),
            ArgumentError,
            "SGD, group 0, got no parameters",
        ),
        (
            lambda: optim.SGD(A, lr=0.1),
            DTypeError,
            "SGD expected an iterable of tensors, got a Tensor: put it in a list",
        ),
        (lambda: optim.SGD({"params": [A]}, lr=0.1), DTypeError, "got a dict: put it in a list"),
        (lambda: optim.SGD([{"params": A}], lr=0.1), DTypeError, "group 0, .* got a Tensor: put"),
        (lambda: optim.SGD({A, B}, lr=0.1), DTypeError, "got a set, which has no order: put them"),
        (lambda: optim.SGD(7, lr=0.1), DTypeError, "expected an iterable of tensors, got a int$"),
        (
            lambda: optim.SGD([A, np.ones(2)], lr=0.1),
            DTypeError,
            "SGD, group 0, expected Tensors, got a ndarray at position 1",
        ),
        (
            lambda: optim.SGD([("weight", A)], lr=0.1),
            DTypeError,
            "expected Tensors, got a tuple at position 0",
        ),
        (
            lambda: optim.SGD([{"params": [A]}, B], lr=0.1),
            ArgumentError,
            "group 1, expected a dict with the key 'params', got tensor.*: give tensors alone",
        ),
        (
            lambda: optim.SGD([{"param": [A]}], lr=0.1),
            ArgumentError,
            "expected a dict with the key 'params', got {'param'",
        ),
        (
            lambda: optim.SGD([A, B, A], lr=0.1),
            ArgumentError,
            "got the same tensor at positions 0 and 2: give it once",
        ),
        (
            lambda: optim.SGD([{"params": [A]}, {"params": [B, A]}], lr=0.1),
            ArgumentError,
            "SGD, group 1, parameter 1, is in another group already",
        ),
        (
            lambda: optim.SGD([Tensor(np.arange(3))], lr=0.1),
            DTypeError,
            r"parameter 0, expected float32 or float64, got int64: use .astype\(\)",
        ),
        (
            lambda: optim.SGD([A * 2], lr=0.1),
            ArgumentError,
            "parameter 0, was computed from other tensors: optimize those",
        ),
        (
            lambda: optim.SGD([A]),
            ArgumentError,
            "SGD, group 0, lacks the setting 'lr': give it to the group or the optimizer",
        ),
        (
            lambda: optim.SGD([A], lr=-0.1),
            ArgumentError,
            "SGD expected lr to be a finite number from 0 up, got -0.1",
        ),
        (lambda: optim.Adam([A], lr=float("nan")), ArgumentError, "Adam expected lr .* got nan"),
        (lambda: optim.Adam([A], lr=float("inf")), ArgumentError, "got inf"),
        (lambda: optim.Adam([A], lr="fast"), ArgumentError, "got 'fast'"),
        (lambda: optim.Adam([A], lr=True), ArgumentError, "got True"),
        (
            lambda: optim.Adam([A], betas=(0.9, 1.0)),
            ArgumentError,
            r"betas to be two numbers from 0 to below 1, got \(0.9, 1.0\)",
        ),
        (
            lambda: optim.AdamW([A], betas=(-0.1, 0.9)),
            ArgumentError,
            r"AdamW expected betas .*-0.1",
        ),
        (lambda: optim.Nadam([A], betas=(0.9,)), ArgumentError, r"NAdam expected betas .*\(0.9,\)"),
        (lambda: optim.Nadam([A], betas=0.9), ArgumentError, "betas .* got 0.9"),
        (lambda: optim.Adam([A], betas=[0.9, [0.9]]), ArgumentError, "betas"),
        (lambda: optim.Adam([A], betas=(0.9, float("nan"))), ArgumentError, "nan"),
        (lambda: optim.Nadam([A], momentum_decay=-1), ArgumentError, "momentum_decay .* got -1"),
        (lambda: optim.SGD([A], 0.1, momentum=-0.9), ArgumentError, "momentum .* got -0.9"),
        (
            lambda: optim.SGD([A], 0.1, nesterov=True),
            ArgumentError,
            "SGD, group 0, got nesterov=True with momentum=0: set momentum",
        ),
        (
            lambda: optim.SGD([A], 0.1, momentum=0.9, dampening=0.1, nesterov=True),
            ArgumentError,
            "SGD, group 0, got nesterov=True with dampening: leave one",
        ),
        (
            lambda: optim.SGD([A], 0.1, nesterov=1),
            ArgumentError,
            "nesterov to be True or False, got 1",
        ),
        (lambda: optim.SGD([A], 0.1, weight_decay=-1), ArgumentError, "weight_decay .* got -1"),
        (lambda: optim.Adagrad([A], eps=-1), ArgumentError, "Adagrad expected eps .* got -1"),
        (
            lambda: optim.Adadelta([A], rho=1.5),
            ArgumentError,
            "rho to be a number from 0 to 1, got 1.5",
        ),
        (lambda: optim.RMSprop([A], alpha=-0.5), ArgumentError, "alpha .* from 0 to 1, got -0.5"),
        (lambda: optim.RMSprop([A], centered="yes"), ArgumentError, "centered .* got 'yes'"),
        (
            lambda: optim.SGD([{"params": [A], "learning_rate": 1}], lr=0.1),
            ArgumentError,
            "group 0, got the unknown setting 'learning_rate': use lr=",
        ),
        (
            lambda: optim.SGD([{"params": [A]}, {"params": [B], "lr": -1}], lr=0.1),
            ArgumentError,
            "SGD, group 1, expected lr to be",
        ),
    ],
)
def test_refuses(make, error, text):
    with pytest.raises(error, match=text):
        make()


@pytest.mark.parametrize("kind", OPTIMIZERS, ids=title)
def test_every_setting_is_checked(kind):
    for name in kind.settings:
        with pytest.raises(ArgumentError, match=f"{kind.__name__} expected {name} to be "):
            kind([A], **{"lr": 0.1, name: "x"})


@pytest.mark.parametrize("kind", OPTIMIZERS, ids=title)
def test_says_which_settings_there_are(kind):
    match = f"{kind.__name__} got an unexpected keyword argument 'learning_rate': use lr="
    with pytest.raises(TypeError, match=match):
        kind([A], learning_rate=0.1)
    with pytest.raises(
        TypeError, match="unexpected keyword argument 'colour': it takes params, lr"
    ):
        kind([A], colour=0.1)
    with pytest.raises(TypeError, match=f"{kind.__name__}: too many positional arguments"):
        kind([A], 0.1, 0.9)


def test_asks_for_the_parameters_of_a_module():
    class Module:
        def named_parameters(self):
            return iter([("weight", A)])

    with pytest.raises(DTypeError, match=r"got a Module: pass its .parameters\(\)"):
        optim.SGD(Module(), lr=0.1)


def test_a_refused_group_leaves_the_optimizer_as_it_was():
    a, b, c = (Tensor(np.ones(n), True) for n in (1, 2, 3))
    optimizer = optim.Adam([a])
    before = optimizer.state_dict()
    with pytest.raises(ArgumentError, match="group 1, parameter 1, is in another group"):
        optimizer.add_param_group({"params": [b, a]})
    with pytest.raises(ArgumentError, match="lr"):
        optimizer.add_param_group({"params": [b], "lr": -1})
    assert optimizer.state_dict()["groups"] == before["groups"]
    optimizer.add_param_group({"params": [b, c]})


@pytest.mark.parametrize(
    ("spoil", "error", "text"),
    [
        (lambda p, g: setattr(p, "grad", np.ones(2)), DTypeError, "float32, got float64: use .ast"),
        (
            lambda p, g: setattr(p, "grad", np.ones((2, 2), np.float32)),
            ShapeError,
            r"Adam.step, parameter 1, expected .grad of shape \(2,\), got \(2, 2\)",
        ),
        (lambda p, g: setattr(p, "grad", [1, 2]), DTypeError, "an ndarray or None, got a list"),
        (lambda p, g: setattr(p, "grad", np.float32(1)), DTypeError, "or None, got a float32"),
        (
            lambda p, g: p.data.setflags(write=False),
            ArgumentError,
            "parameter 1, has read-only data: give it a copy",
        ),
        (
            lambda p, g: g.update(lr=float("nan")),
            ArgumentError,
            "Adam.step, group 0, expected lr .* got nan",
        ),
        (lambda p, g: g.update(momentum=0.9), ArgumentError, "got the unknown setting 'momentum'"),
        (lambda p, g: g.pop("eps"), ArgumentError, "lacks the setting 'eps'"),
    ],
)
def test_a_refused_step_updates_nothing(spoil, error, text):
    a, p = Tensor(np.ones(2, np.float32), True), Tensor(np.ones(2, np.float32), True)
    optimizer = optim.Adam([a, p])
    for q in (a, p):
        q.grad = np.ones(2, np.float32)
    spoil(p, optimizer.param_groups[0])
    with pytest.raises(error, match=text):
        optimizer.step()
    np.testing.assert_array_equal(a.data, 1)


def test_says_that_the_dtype_was_changed_under_it():
    p = Tensor(np.ones(2, np.float32), True)
    optimizer = optim.Adam([p])
    p._data = p.data.astype(np.float64)  # as a module's astype does
    p.grad = np.ones(2)
    with pytest.raises(StateError, match=r"float64 .* exp_avg is float32 .* make the optimizer af"):
        optimizer.step()


def test_read_only_memory_is_refused_by_name():
    array = np.ones(2)
    array.setflags(write=False)
    p = from_numpy(array, requires_grad=True)
    optimizer = optim.SGD([p], lr=0.1)
    p.grad = np.ones(2)
    with pytest.raises(ArgumentError, match="read-only"):
        optimizer.step()
