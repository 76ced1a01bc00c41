"""What optimizers do around their formulas, which test_trajectories.py checks."""

import inspect
from itertools import pairwise

import numpy as np
import pytest
from optimizers import OPTIMIZERS, SAMPLES, title

import minidl as md
from minidl import optim
from minidl.autograd import Tensor, tensor
from minidl.optim._pieces import PIECE, pieces
from minidl.optim._settings import set_by_signature
from minidl.optim.optimizer import FromZero, Optimizer
from minidl.reference import optim as updates

each = pytest.mark.parametrize(("kind", "settings"), SAMPLES, ids=title)


def parameters(dtype="float32", seed=0):
    rng = np.random.default_rng(seed)
    return [Tensor(rng.normal(size=s).astype(dtype), True) for s in ((3, 2), (4,), ())]


def give_gradients(params, seed=1):
    rng = np.random.default_rng(seed)
    for p in params:
        p.grad = np.asarray(rng.normal(size=p.shape)).astype(p.dtype)


@pytest.mark.parametrize("kind", OPTIMIZERS, ids=title)
def test_takes_a_quadratic_to_its_minimum(kind):
    goal = np.array([1.0, -2.0, 0.5])
    w = tensor(np.zeros(3), requires_grad=True)
    optimizer = kind([w], **{**kind.samples[0], "weight_decay": 0.0})

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
def test_updates_in_place_and_keeps_the_dtype(kind, settings, dtype):
    params = parameters(dtype)
    arrays = [p.data for p in params]
    before = [a.copy() for a in arrays]
    optimizer = kind(params, **settings)
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
def test_leaves_gradients_alone(kind, settings):
    params = parameters()
    optimizer = kind(params, **settings)
    give_gradients(params)
    before = [p.grad.copy() for p in params]
    optimizer.step()
    for p, old in zip(params, before, strict=True):
        np.testing.assert_array_equal(p.grad, old)


@each
def test_cuts_of_large_arrays_leave_no_trace(kind, settings):
    """A parameter of several pieces moves as its parts would by themselves, to the bit."""
    if not kind.elementwise:
        return  # its numbers know of one another
    count = PIECE // 4
    size = 2 * count + 5
    rng = np.random.default_rng(0)
    whole = Tensor(rng.normal(size=size).astype(np.float32), True)
    ends = (0, 7, count + 1, size)
    parts = [Tensor(whole.data[a:b].copy(), True) for a, b in pairwise(ends)]
    of_whole, of_parts = kind([whole], **settings), kind(parts, **settings)
    for _ in range(3):
        whole.grad = rng.normal(size=size).astype(np.float32)
        for p, (a, b) in zip(parts, pairwise(ends), strict=True):
            p.grad = whole.grad[a:b].copy()
        of_whole.step()
        of_parts.step()
    np.testing.assert_array_equal(whole.data, np.concatenate([p.data for p in parts]))


@each
def test_takes_arrays_in_any_order_of_memory(kind, settings):
    rng = np.random.default_rng(0)
    plain = Tensor(rng.normal(size=(3, 4)), True)
    turned = Tensor(plain.data.T.copy().T, True)
    optimizers = [kind([p], **settings) for p in (plain, turned)]
    for _ in range(3):
        g = rng.normal(size=(3, 4))
        plain.grad, turned.grad = g.T.copy().T, g
        for optimizer in optimizers:
            optimizer.step()
    assert not turned.data.flags.c_contiguous
    np.testing.assert_array_equal(plain.data, turned.data)


@each
def test_passes_zero_elements_through(kind, settings):
    p = Tensor(np.zeros((0, 3), np.float32), True)
    optimizer = kind([p], **settings)
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
def test_frozen_parameters_stand_still(kind, settings):
    """No gradient, or requires_grad=False with one left over: neither data nor state moves."""
    params = parameters()
    optimizer = kind(params, **settings)
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
def test_a_thawed_parameter_goes_on_where_it_stopped(kind, settings):
    """What happened to others meanwhile doesn't matter to it."""
    alone, together = parameters("float64"), parameters("float64")
    of_alone, of_together = kind([alone[0]], **settings), kind(together, **settings)
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
        @set_by_signature
        def __init__(self, params, lr: FromZero = 0.1): ...

        def _update(self, p, grad, state, settings, numbers):
            p -= settings["lr"] * np.sign(grad)

    p = Tensor(np.zeros(2), True)
    optimizer = SignSGD([p], lr=0.5)
    p.grad = np.array([3.0, -0.1])
    optimizer.step()
    np.testing.assert_array_equal(p.data, [-0.5, 0.5])


def test_a_setting_without_a_rule_is_refused_at_once():
    with pytest.raises(TypeError, match="the setting lr has no rule: annotate it"):

        @set_by_signature
        def __init__(self, params, lr: float = 0.1): ...  # noqa: N807


def test_the_signature_is_shown_without_rules():
    (lr,) = [p for p in inspect.signature(optim.Lion).parameters.values() if p.name == "lr"]
    assert (lr.default, lr.annotation) == (1e-4, float)


@pytest.mark.parametrize("kind", OPTIMIZERS, ids=title)
def test_a_kernel_is_given_what_its_twin_names(kind, monkeypatch):
    """In the twin's order: an array of numbers has no names."""
    asked = []
    for name, update in [*vars(updates).items()]:
        if hasattr(update, "names"):
            spy = lambda *arrays, update=update: asked.append((update.names, len(arrays[-1])))  # noqa: E731
            monkeypatch.setattr(updates, name, spy)
    monkeypatch.setattr(md.config, "kernels", "reference")
    for settings in kind.samples:
        optimizer = kind(params := parameters(), **settings)
        give_gradients(params)
        optimizer.step()
        (group,) = optimizer.param_groups
        names = [*optimizer._values(group), *optimizer._counts(group)]
        for wanted, count in asked:
            assert wanted[:count] == names
            assert count in (len(wanted), len(wanted) - (kind is optim.SGD))
        asked.clear()


def test_amsgrad_remembers_the_largest():
    """By hand: one large gradient, then small ones, leave the denominator as it was."""
    p = Tensor(np.zeros(1), True)
    optimizer = optim.Adam([p], lr=1.0, betas=(0.0, 0.5), eps=0.0, amsgrad=True)
    for g in (8.0, 0.0, 1.0):
        p.grad = np.full(1, g)
        optimizer.step()
    corrected = [32 / (1 - 0.5**t) for t in (1, 2, 3)]  # v is 32, then 16, 8.5
    expected = -sum(g / v**0.5 for g, v in zip((8.0, 0.0, 1.0), corrected, strict=True))
    np.testing.assert_allclose(p.data, expected)


def test_the_first_step_is_not_dampened():
    p = Tensor(np.zeros(1), True)
    optimizer = optim.SGD([p], lr=1.0, momentum=0.5, dampening=0.25)
    for _ in range(2):
        p.grad = np.ones(1)
        optimizer.step()
    assert p.data == -(1 + (0.5 + 0.75))


def test_lamb_takes_a_plain_step_from_zero():
    p = Tensor(np.zeros(2), True)
    optimizer = optim.LAMB([p], lr=0.1, eps=0.0)
    p.grad = np.array([3.0, -4.0])
    optimizer.step()
    np.testing.assert_allclose(p.data, [-0.1, 0.1])
