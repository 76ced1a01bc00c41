"""Saving and resuming optimizers: the state's names, and going on to the bit."""

import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optimizers import SAMPLES

from minidl import optim
from minidl.autograd import Tensor
from minidl.errors import StateError
from minidl.optim import lr_scheduler

SHAPES = ((3, 2), (4,), ())


def parameters(dtype="float32"):
    rng = np.random.default_rng(0)
    return [Tensor(rng.normal(size=s).astype(dtype), True) for s in SHAPES]


def train(optimizer, params, seeds):
    for seed in seeds:
        rng = np.random.default_rng(seed)
        for p in params:
            p.grad = None if rng.random() < 0.2 else rng.normal(size=p.shape).astype(p.dtype)
            if p.grad is not None:
                p.grad = np.asarray(p.grad)
        optimizer.step()


def assert_same(a, b):
    """Two trees of dicts, lists, numbers and arrays, to the bit."""
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert list(a) == list(b)
        for name in a:
            assert_same(a[name], b[name])
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    elif isinstance(a, list):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    else:
        assert a == b


def through_a_file(tree):
    """The tree as a file gives it back: arrays, and numbers as arrays without axes; tuples gone."""
    arrays = {}

    def put(name, value):
        if isinstance(value, dict):
            return {k: put(f"{name}.{k}", v) for k, v in value.items()}
        if isinstance(value, list) and isinstance(value[0], dict):
            return [put(f"{name}.{k}", v) for k, v in enumerate(value)]
        arrays[name] = np.asarray(value)
        return name

    names = json.dumps(put("", tree))
    file = io.BytesIO()
    np.savez(file, **arrays)
    file.seek(0)
    read = np.load(file)

    def get(value):
        if isinstance(value, dict):
            return {k: get(v) for k, v in value.items()}
        return [get(v) for v in value] if isinstance(value, list) else read[value]

    return get(json.loads(names))


@given(st.data(), st.sampled_from(SAMPLES), st.integers(0, 4), st.booleans())
def test_resumes_to_the_bit(data, sample, before, by_file):
    """From any step, in either dtype, into an optimizer made with other settings."""
    make, settings = sample
    settings = {**settings, "lr": data.draw(st.floats(1e-4, 0.5))}
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    ours = parameters(dtype)
    groups = [{"params": ours[:2], "lr": 0.03}, {"params": ours[2:], **settings}]
    optimizer = make(groups, **settings)
    train(optimizer, ours, range(before))

    theirs = [Tensor(p.data.copy(), True) for p in ours]
    other = make([{"params": theirs[:2]}, {"params": theirs[2:]}], lr=0.7)
    state = optimizer.state_dict()
    other.load_state_dict(through_a_file(state) if by_file else state)
    assert_same(other.state_dict(), state)

    for each, params in ((optimizer, ours), (other, theirs)):
        train(each, params, range(10, 14))
    for p, q in zip(ours, theirs, strict=True):
        assert p.data.tobytes() == q.data.tobytes()
    assert_same(other.state_dict(), optimizer.state_dict())


def test_state_is_there_before_the_first_step():
    params = parameters()
    optimizer = optim.Nadam([{"params": params[:1]}, {"params": params[1:], "lr": 1}])
    state = optimizer.state_dict()
    assert state["groups"] == [
        {
            "lr": lr,
            "betas": [0.9, 0.999],
            "eps": 1e-8,
            "momentum_decay": 4e-3,
            "weight_decay": 0.0,
            "params": numbers,
        }
        for lr, numbers in ((2e-3, [0]), (1.0, [1, 2]))
    ]
    assert list(state["state"]) == ["0", "1", "2"]
    for held, p in zip(state["state"].values(), params, strict=True):
        assert list(held) == ["step", "mu_product", "exp_avg", "exp_avg_sq"]
        assert (held["step"], held["mu_product"]) == (0, 1.0)
        np.testing.assert_array_equal(held["exp_avg"], np.zeros_like(p.data), strict=True)
        np.testing.assert_array_equal(held["exp_avg_sq"], np.zeros_like(p.data), strict=True)


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda p: optim.SGD(p, lr=1), []),
        (lambda p: optim.SGD(p, lr=1, momentum=0.9), ["step", "momentum_buffer"]),
        (optim.Adagrad, ["sum"]),
        (optim.Adadelta, ["square_avg", "acc_delta"]),
        (optim.RMSprop, ["square_avg"]),
        (
            lambda p: optim.RMSprop(p, momentum=0.9, centered=True),
            ["square_avg", "grad_avg", "momentum_buffer"],
        ),
        (optim.Adam, ["step", "exp_avg", "exp_avg_sq"]),
        (optim.AdamW, ["step", "exp_avg", "exp_avg_sq"]),
        (
            lambda p: optim.Adam(p, amsgrad=True),
            ["step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"],
        ),
        (optim.Lion, ["exp_avg"]),
    ],
)
def test_names_of_the_state(make, names):
    state = make(parameters()[:1]).state_dict()["state"]
    assert list(state.get("0", {})) == names


def test_state_dict_is_a_copy():
    params = parameters()
    optimizer = optim.Adam(params)
    state = optimizer.state_dict()
    state["state"]["0"]["exp_avg"][...] = 7
    state["groups"][0]["lr"] = 7
    assert np.all(optimizer.state_dict()["state"]["0"]["exp_avg"] == 0)
    assert optimizer.param_groups[0]["lr"] == 1e-3
    taken = optimizer.state_dict()
    optimizer.load_state_dict(taken)
    train(optimizer, params, [0])
    assert np.all(taken["state"]["0"]["exp_avg"] == 0)


def test_a_loaded_optimizer_keeps_its_groups():
    """A scheduler, or a user, may hold the group's dict."""
    params = parameters()
    optimizer = optim.Adam(params)
    group = optimizer.param_groups[0]
    lr_scheduler.StepLR(optimizer, 1)
    state = optim.Adam(parameters(), lr=0.5).state_dict()
    optimizer.load_state_dict(state)
    assert optimizer.param_groups[0] is group
    assert group["lr"] == 0.5
    assert [id(p) for p in group["params"]] == [id(p) for p in params]
    assert "initial_lr" not in group  # the state had none: the next schedule starts at lr


def damaged():
    """A state of Adam, and what is wrong with it."""
    state = optim.Adam(parameters()).state_dict()
    del state["state"]["0"]["exp_avg"]
    del state["groups"][0]["eps"]
    state["state"]["1"]["exp_avg"] = np.zeros((2, 2), np.float32)
    state["state"]["1"]["exp_avg_sq"] = np.zeros(4)
    state["state"]["2"]["step"] = -1
    state["state"]["2"]["momentum_buffer"] = np.zeros(3)
    state["state"]["3"] = {"step": 0}
    state["groups"][0]["lr"] = float("nan")
    state["groups"][0]["params"] = [0, 1]
    state["extra"] = 1
    return state


@pytest.mark.parametrize(
    "text",
    [
        r"^Adam.load_state_dict loaded nothing, since the state doesn't fit\. missing: ",
        r"missing: groups\.0\.eps, state\.0\.exp_avg;",
        r"unexpected: state\.2\.momentum_buffer, state\.3\.step, extra; misshaped or out of",
        r"state\.1\.exp_avg \(expected float32 of shape \(4,\), got float32 of shape \(2, 2\)\)",
        r"state\.1\.exp_avg_sq \(expected float32 of shape \(4,\), got float64 of shape \(4,\)\)",
        r"state\.2\.step \(expected a whole number from 0 up, got -1\)",
        r"groups\.0\.lr \(expected a finite number from 0 up, got nan\)",
        r"groups\.0\.params \(expected \[0, 1, 2\], got \[0, 1\]\)",
    ],
)
def test_a_misfit_is_told_in_full(text):
    with pytest.raises(StateError, match=text):
        optim.Adam(parameters()).load_state_dict(damaged())


@pytest.mark.parametrize("spoil", ["missing", "unexpected", "misshaped", "group", "together"])
def test_a_refused_state_changes_nothing(spoil):
    def make(lr):
        params = parameters()
        optimizer = optim.SGD(params, lr=lr, momentum=0.9, nesterov=True)
        train(optimizer, params, range(int(10 * lr)))
        return optimizer

    optimizer = make(0.3)
    before = optimizer.state_dict()
    state = make(0.5).state_dict()
    if spoil == "missing":
        del state["state"]["2"]
    elif spoil == "unexpected":
        state["state"]["2"]["sum"] = np.zeros(())
    elif spoil == "misshaped":
        state["state"]["2"]["momentum_buffer"] = np.zeros(1, np.float32)
    elif spoil == "group":
        state["groups"].append(state["groups"][0])
    else:
        state["groups"][0]["momentum"] = 0.0
        state["state"] = {}
    with pytest.raises(StateError, match=r"SGD.load_state_dict loaded nothing"):
        optimizer.load_state_dict(state)
    assert_same(optimizer.state_dict(), before)


def test_another_number_of_groups_is_a_misfit():
    params = parameters()
    state = optim.SGD(params, lr=1).state_dict()
    two = optim.SGD([{"params": params[:1]}, {"params": params[1:]}], lr=1)
    with pytest.raises(StateError, match=r"missing: groups\.1\.lr, .*groups\.0\.params \(expected"):
        two.load_state_dict(state)


@pytest.mark.parametrize("state", [None, [], "lr", 3])
def test_what_is_no_state(state):
    with pytest.raises(
        StateError, match=r"SGD.load_state_dict expected a dict from state_dict\(\)"
    ):
        optim.SGD(parameters(), lr=1).load_state_dict(state)


def test_another_optimizers_state_is_a_misfit():
    with pytest.raises(StateError, match=r"missing: .*groups\.0\.betas.*unexpected: .*momentum"):
        optim.Adam(parameters()).load_state_dict(optim.SGD(parameters(), lr=1).state_dict())


def test_momentum_of_the_state_decides_its_arrays():
    """Into an optimizer without momentum one with it can be loaded, and the other way."""
    params = parameters()
    with_, without = optim.SGD(params, lr=1, momentum=0.9), optim.SGD(params, lr=1)
    state, plain = with_.state_dict(), without.state_dict()
    without.load_state_dict(state)
    assert_same(without.state_dict(), state)
    with_.load_state_dict(plain)
    assert_same(with_.state_dict(), plain)
