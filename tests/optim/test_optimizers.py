"""What optimizers do around their formulas, which test_torch_trajectories.py checks."""

import inspect
from itertools import pairwise

import numpy as np
import pytest

import minidl.ops  # noqa: F401  gives tensors their arithmetic
from minidl import optim
from minidl.autograd import Tensor, tensor
from minidl.optim._pieces import PIECE, pieces
from minidl.optim.optimizer import Optimizer

EVERY = {
    "SGD": {"lr": 0.1},
    "SGD momentum": {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    "Adagrad": {"lr": 0.5},
    "Adadelta": {"eps": 1e-3},
    "RMSprop": {"lr": 0.03},
    "RMSprop centered": {"lr": 0.01, "alpha": 0.9, "momentum": 0.5, "centered": True},
    "Adam": {"lr": 0.1, "weight_decay": 0.1},
    "AdamW": {"lr": 0.1},
    "Nadam": {"lr": 0.1},
}
each = pytest.mark.parametrize("title", EVERY)


def make(title, params, **more):
    return getattr(optim, title.split()[0])(params, **{**EVERY[title], **more})


def parameters(dtype="float32", seed=0):
    rng = np.random.default_rng(seed)
    return [Tensor(rng.normal(size=s).astype(dtype), True) for s in ((3, 2), (4,), ())]


def give_gradients(params, seed=1):
    rng = np.random.default_rng(seed)
    for p in params:
        p.grad = np.asarray(rng.normal(size=p.shape)).astype(p.dtype)


def test_every_optimizer_is_here():
    classes = {n for n in optim.__all__ if inspect.isclass(c := getattr(optim, n)) and is_one(c)}
    assert classes == {title.split()[0] for title in EVERY}


def is_one(c):
    return issubclass(c, Optimizer) and c is not Optimizer


@each
def test_takes_a_quadratic_to_its_minimum(title):
    goal = np.array([1.0, -2.0, 0.5])
    w = tensor(np.zeros(3), requires_grad=True)
    optimizer = make(title, [w], weight_decay=0.0)

    def loss():
        return ((w - goal) ** 2).sum()

    first = loss().item()
    for _ in range(300):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    assert loss().item() < 0.01 * first


@each
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_updates_in_place_and_keeps_the_dtype(title, dtype):
    params = parameters(dtype)
    arrays = [p.data for p in params]
    before = [a.copy() for a in arrays]
    optimizer = make(title, params)
    for group in optimizer.param_groups:
        # What a careless schedule writes: it must not draw float32 up to float64.
        group["lr"] = np.float64(group["lr"])
    for seed in range(3):
        give_gradients(params, seed)
        optimizer.step()
    for p, array, old in zip(params, arrays, before, strict=True):
        assert p.data is array
        assert array.dtype == dtype
        assert np.all(array != old)
    for state in optimizer.state_dict()["state"].values():
        for value in state.values():
            assert not isinstance(value, np.ndarray) or value.dtype == dtype


@each
def test_leaves_gradients_alone(title):
    params = parameters()
    optimizer = make(title, params)
    give_gradients(params)
    before = [p.grad.copy() for p in params]
    optimizer.step()
    for p, old in zip(params, before, strict=True):
        np.testing.assert_array_equal(p.grad, old)


@each
def test_cuts_of_large_arrays_leave_no_trace(title):
    """A parameter of several pieces moves as its parts would by themselves, to the bit."""
    count = PIECE // 4
    size = 2 * count + 5
    rng = np.random.default_rng(0)
    whole = Tensor(rng.normal(size=size).astype(np.float32), True)
    ends = (0, 7, count + 1, size)
    parts = [Tensor(whole.data[a:b].copy(), True) for a, b in pairwise(ends)]
    of_whole, of_parts = make(title, [whole]), make(title, parts)
    for _ in range(3):
        whole.grad = rng.normal(size=size).astype(np.float32)
        for p, (a, b) in zip(parts, pairwise(ends), strict=True):
            p.grad = whole.grad[a:b].copy()
        of_whole.step()
        of_parts.step()
    np.testing.assert_array_equal(whole.data, np.concatenate([p.data for p in parts]))


@each
def test_takes_arrays_in_any_order_of_memory(title):
    rng = np.random.default_rng(0)
    plain = Tensor(rng.normal(size=(3, 4)), True)
    turned = Tensor(plain.data.T.copy().T, True)
    optimizers = [make(title, [p]) for p in (plain, turned)]
    for _ in range(3):
        g = rng.normal(size=(3, 4))
        plain.grad, turned.grad = g.T.copy().T, g
        for optimizer in optimizers:
            optimizer.step()
    assert not turned.data.flags.c_contiguous
    np.testing.assert_array_equal(plain.data, turned.data)


@each
def test_passes_zero_elements_through(title):
    p = Tensor(np.zeros((0, 3), np.float32), True)
    optimizer = make(title, [p])
    p.grad = np.zeros((0, 3), np.float32)
    optimizer.step()
    assert p.shape == (0, 3)


def test_pieces_cover_each_element_once():
    a = np.zeros((3, PIECE))
    sizes = [part.nbytes for (part,) in pieces(a)]
    for (part,) in pieces(a):
        part += 1
    assert sizes == [PIECE] * 24
    assert np.all(a == 1)


@each
def test_frozen_parameters_stand_still(title):
    """No gradient, or requires_grad=False with one left over: neither data nor state moves."""
    params = parameters()
    optimizer = make(title, params)
    give_gradients(params)
    optimizer.step()
    held = [params[0].data.copy(), params[1].data.copy(), params[2].data.copy()]
    state = optimizer.state_dict()["state"]
    params[0].grad = None
    params[1].requires_grad = False
    optimizer.step()
    np.testing.assert_array_equal(params[0].data, held[0])
    np.testing.assert_array_equal(params[1].data, held[1])
    assert params[2].data != held[2]
    after = optimizer.state_dict()["state"]
    for number in ("0", "1"):
        for name, value in state.get(number, {}).items():
            np.testing.assert_array_equal(after[number][name], value)


@each
def test_a_thawed_parameter_goes_on_where_it_stopped(title):
    """What happened to others meanwhile doesn't matter to it."""
    alone, together = parameters("float64"), parameters("float64")
    of_alone, of_together = make(title, [alone[0]]), make(title, together)
    for seed in range(6):
        give_gradients(together, seed)
        if seed in (2, 3):
            together[0].grad = None
        else:
            alone[0].grad = together[0].grad.copy()
            of_alone.step()
        of_together.step()
    np.testing.assert_array_equal(alone[0].data, together[0].data)


def test_zero_grad_forgets():
    params = parameters()
    optimizer = optim.SGD(params, lr=0.1)
    give_gradients(params)
    optimizer.zero_grad()
    assert [p.grad for p in params] == [None] * 3


def test_groups_have_their_own_settings():
    a, b, c = parameters("float64")
    optimizer = optim.SGD(
        ({"params": iter([p]), **own} for p, own in ((a, {"lr": 0.5}), (b, {"momentum": 0.9}))),
        lr=0.1,
    )
    mine = {"params": [c], "weight_decay": 1}
    optimizer.add_param_group(mine)
    assert mine == {"params": [c], "weight_decay": 1}
    assert [g["lr"] for g in optimizer.param_groups] == [0.5, 0.1, 0.1]
    assert [g["momentum"] for g in optimizer.param_groups] == [0.0, 0.9, 0.0]
    before = [p.data.copy() for p in (a, b, c)]
    for p in (a, b, c):
        p.grad = np.ones_like(p.data)
    optimizer.step()
    optimizer.step()
    np.testing.assert_allclose(a.data, before[0] - 0.5 * 2)
    np.testing.assert_allclose(b.data, before[1] - 0.1 * (1 + 1.9))
    once = before[2] - 0.1 * (1 + before[2])
    np.testing.assert_allclose(c.data, once - 0.1 * (1 + once))


def test_lr_may_come_from_every_group():
    a, b, _ = parameters()
    optimizer = optim.SGD([{"params": [a], "lr": 0.5}, {"params": [b], "lr": 0.1}])
    assert [g["lr"] for g in optimizer.param_groups] == [0.5, 0.1]


def test_momentum_can_be_turned_on_and_off():
    p = Tensor(np.zeros(2), True)
    optimizer = optim.SGD([p], lr=1.0)
    p.grad = np.ones(2)
    optimizer.step()
    assert optimizer.state_dict()["state"] == {}
    optimizer.param_groups[0]["momentum"] = 0.5
    optimizer.step()
    optimizer.step()
    np.testing.assert_array_equal(p.data, [-3.5, -3.5])  # 1, then 1, then 1.5
    optimizer.param_groups[0]["momentum"] = 0
    optimizer.step()
    np.testing.assert_array_equal(p.data, [-4.5, -4.5])
    assert optimizer.state_dict()["state"] == {}


def test_centered_rmsprop_bears_a_constant_gradient():
    """The variance is then 0, and rounding can make of it a little less."""
    rng = np.random.default_rng(0)
    p = Tensor(np.zeros(1000, np.float32), True)
    optimizer = optim.RMSprop([p], alpha=0.5, centered=True)
    p.grad = rng.normal(size=1000).astype(np.float32)
    for _ in range(200):
        optimizer.step()
    assert np.all(np.isfinite(p.data))


def test_adamw_decays_what_adam_would_not_move():
    p = Tensor(np.ones(2), True)
    optimizer = optim.AdamW([p], lr=0.1, weight_decay=0.5)
    p.grad = np.zeros(2)
    optimizer.step()
    optimizer.step()
    np.testing.assert_allclose(p.data, 0.95**2, rtol=1e-15)


def test_an_optimizer_of_ones_own():
    """The base class asks for settings, state and a rule, and brings the rest."""

    class SignSGD(Optimizer):
        settings = {"lr": optim.SGD.settings["lr"]}  # noqa: RUF012

        def _update(self, p, grad, state, group, numbers):
            p -= group["lr"] * np.sign(grad)

    p = Tensor(np.zeros(2), True)
    optimizer = SignSGD([p], lr=0.5)
    p.grad = np.array([3.0, -0.1])
    optimizer.step()
    np.testing.assert_array_equal(p.data, [-0.5, 0.5])
