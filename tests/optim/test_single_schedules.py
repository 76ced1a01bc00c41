"""What single schedules promise: warmups, plateaus, cycles, sequences and functions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from schedulers import sgd
from test_lr_scheduler import run

from minidl.autograd import Tensor, tensor
from minidl.errors import ArgumentError, DTypeError
from minidl.optim import SGD, Adagrad, Adam
from minidl.optim.lr_scheduler import (
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LinearWarmup,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)


@given(
    st.floats(1e-6, 10),
    st.integers(1, 50),
    st.floats(0, 1),
    st.integers(0, 60),
)
def test_warmup_is_a_line_that_ends_at_the_base(base, steps, start, epoch):
    scheduler = LinearWarmup(sgd(base), steps, start)
    run(scheduler, [None] * epoch)
    (lr,) = scheduler.get_last_lr()
    if epoch >= steps:
        assert lr == base
    else:
        line = np.interp(epoch, [0, steps], [start * base, base])
        assert lr == pytest.approx(line, rel=1e-9, abs=1e-15)


@given(st.integers(1, 20), st.integers(0, 40))
def test_warmup_hands_over(steps, epochs):
    """From the end of the rise the rates are those of `after` alone."""
    optimizer = sgd(0.1)
    scheduler = LinearWarmup(optimizer, steps, after=ExponentialLR(optimizer, 0.9))
    assert scheduler.after.last_epoch == 0
    run(scheduler, [None] * steps)
    alone = ExponentialLR(sgd(0.1), 0.9)
    assert scheduler.get_last_lr() == alone.get_last_lr()
    assert run(scheduler, [None] * epochs) == run(alone, [None] * epochs)


def test_plateau_after_a_warmup_looks_at_the_metric_only_then():
    optimizer = sgd(1.0)
    scheduler = LinearWarmup(optimizer, 2, 0.5, after=ReduceLROnPlateau(optimizer, patience=0))
    assert scheduler.needs_metric
    assert run(scheduler, [1, 1, 2, 2, 1]) == [[0.75], [1.0], [1.0], [0.1], [0.1]]


def test_plateau_takes_a_tensor_and_counts_a_nan_as_bad():
    scheduler = ReduceLROnPlateau(sgd(1.0), patience=1, factor=0.5)
    assert run(scheduler, [tensor(1.0), math.nan, math.nan, tensor([0.5])])[-1] == [0.5]
    assert scheduler.best == 0.5


@given(
    st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=12),
    st.sampled_from(["rel", "abs"]),
    st.floats(0, 0.5),
)
def test_plateau_is_the_same_for_the_negated_metric_in_the_other_mode(metrics, how, threshold):
    """Whatever its sign: a share of the best is one of its magnitude."""
    ends = []
    for mode, sign in (("min", 1), ("max", -1)):
        scheduler = ReduceLROnPlateau(
            sgd(1.0), mode, 0.5, patience=1, threshold=threshold, threshold_mode=how
        )
        rates = run(scheduler, [sign * metric for metric in metrics])
        ends.append((rates, scheduler.num_bad_epochs, sign * scheduler.best))
    assert ends[0] == ends[1]


@given(st.floats(-1e3, 1e3), st.sampled_from(["min", "max"]), st.sampled_from(["rel", "abs"]))
def test_a_metric_that_stands_still_is_no_improvement(metric, mode, how):
    scheduler = ReduceLROnPlateau(sgd(1.0), mode, 0.5, patience=2, threshold_mode=how)
    assert run(scheduler, [metric] * 5)[-2:] == [[0.5], [0.5]]


@pytest.mark.parametrize("how", ["rel", "abs"])
@pytest.mark.parametrize(
    ("best", "mode", "better", "no_better"),
    [
        (-2.0, "min", -2.3, -2.1),
        (2.0, "min", 1.7, 1.9),
        (-2.0, "max", -1.7, -1.9),
        (2.0, "max", 2.3, 2.1),
    ],
)
def test_the_threshold_by_hand(best, mode, better, no_better, how):
    """A tenth of 2, or 0.2."""
    threshold = 0.1 if how == "rel" else 0.2
    for value, improves in ((better, True), (no_better, False)):
        scheduler = ReduceLROnPlateau(sgd(1.0), mode, threshold=threshold, threshold_mode=how)
        run(scheduler, [best, value])
        assert scheduler.best == (value if improves else best)
        assert scheduler.num_bad_epochs == (not improves)


def test_a_threshold_of_all_and_more_than_the_best():
    scheduler = ReduceLROnPlateau(sgd(1.0), threshold=1.0, patience=0, factor=0.5)
    assert run(scheduler, [3.0, 1.0, -0.5]) == [[1.0], [0.5], [0.5]]
    assert scheduler.best == -0.5


@pytest.mark.parametrize("after", [ReduceLROnPlateau, lambda o: CosineAnnealingLR(o, 6)])
def test_a_warmup_says_at_once_what_its_step_takes(after):
    optimizer = sgd(0.1)
    scheduler = LinearWarmup(optimizer, 3, after=after(optimizer))
    with pytest.raises(TypeError, match=r"LinearWarmup.step expected"):
        scheduler.step(*([] if scheduler.needs_metric else [1.0]))
    assert scheduler.last_epoch == 0


def test_two_optimizers_rates_do_not_meet():
    a, b = sgd(0.1), sgd(0.1)
    run(StepLR(a, 1), [None] * 3)
    assert b.param_groups[0]["lr"] == 0.1
    assert a.param_groups[0]["initial_lr"] == 0.1


def test_step_follows_the_schedule_of_its_group():
    """The scheduler's rate is what the optimizer uses."""
    p = Tensor(np.zeros(1), True)
    optimizer = SGD([p], lr=1.0)
    scheduler = StepLR(optimizer, 1, 0.5)
    for _ in range(3):
        p.grad = np.ones(1)
        optimizer.step()
        scheduler.step()
    assert p.data == -1.75


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (
            lambda o: ReduceLROnPlateau(o).step(None),
            DTypeError,
            "ReduceLROnPlateau.step expected the metric as a number, got None",
        ),
        (
            lambda o: LinearWarmup(o, 5, after=StepLR(sgd(), 1)),
            ArgumentError,
            "`after` to be a scheduler of the same optimizer, got one of another",
        ),
        (
            lambda o: OneCycleLR(Adagrad(o.param_groups[0]["params"]), 1.0, 5),
            ArgumentError,
            "Adagrad has no momentum to cycle: give cycle_momentum=False",
        ),
        (
            lambda o: SequentialLR(o, [StepLR(o, 1), StepLR(sgd(), 1)], [3]),
            ArgumentError,
            "`schedulers.1` to be a scheduler of the same optimizer, got one of another",
        ),
    ],
)
def test_refuses(make, error, text):
    optimizer = sgd(0.1)
    with pytest.raises(error, match=text):
        make(optimizer)
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_one_cycle_moves_the_momentum_too():
    """SGD's momentum or Adam's first beta, with a resumed one as well."""
    p = [Tensor(np.zeros(1), True)]
    for optimizer, name in ((SGD(p, lr=1), "momentum"), (Adam(p), "betas")):
        found = []
        scheduler = OneCycleLR(optimizer, 1.0, 11, anneal_strategy="linear", pct_start=0.5)
        for _ in range(10):
            value = optimizer.param_groups[0][name]
            found.append(value[0] if name == "betas" else value)
            scheduler.step()
        np.testing.assert_allclose(found[0], 0.95)
        np.testing.assert_allclose(min(found), 0.85, atol=0.012)
        assert found[:5] == sorted(found[:5], reverse=True)
        assert found[5:] == sorted(found[5:])
        other = SGD(p, lr=1) if name == "momentum" else Adam(p)
        again = OneCycleLR(other, 1.0, 11, anneal_strategy="linear", pct_start=0.5)
        again.load_state_dict(scheduler.state_dict())
        assert other.param_groups[0][name] == optimizer.param_groups[0][name]


def test_one_cycle_says_when_it_is_over():
    scheduler = OneCycleLR(sgd(0.1), 1.0, 3)
    run(scheduler, [None] * 3)
    assert scheduler.get_last_lr() == pytest.approx([1.0 / 25 / 1e4])
    with pytest.raises(ArgumentError, match="stepped 4 times, its total_steps is 3"):
        scheduler.step()


def test_which_are_stepped_after_each_batch():
    optimizer = sgd(0.1)
    one = OneCycleLR(optimizer, 1.0, 10)
    assert one.per_step
    assert not StepLR(optimizer, 1).per_step
    assert LinearWarmup(optimizer, 2, after=one).per_step
    with pytest.raises(ArgumentError, match="some are stepped after each batch and some after"):
        SequentialLR(optimizer, [StepLR(optimizer, 1), one], [2])
    drops = StepLR(optimizer, 1)
    drops.per_step = True
    assert SequentialLR(optimizer, [drops, one], [2]).per_step


def test_a_function_is_not_saved():
    scheduler = LambdaLR(sgd(0.1, 0.2), [lambda epoch: 1.0, lambda epoch: 2.0])
    scheduler.step()
    assert scheduler.state_dict() == {"last_epoch": 1, "lr": [0.1, 0.4]}
