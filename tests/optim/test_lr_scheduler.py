"""Schedules: their shape, groups, saving and errors. Values are in test_trajectories.py."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.autograd import Tensor, tensor
from minidl.errors import ArgumentError, DTypeError, StateError
from minidl.optim import SGD, Adagrad, Adam, lr_scheduler
from minidl.optim.lr_scheduler import (
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LambdaLR,
    LinearWarmup,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)


def sgd(*rates):
    return SGD([{"params": [Tensor(np.zeros(1), True)], "lr": lr} for lr in rates or (0.1,)])


MAKE = {
    "StepLR": lambda o: StepLR(o, 3),
    "MultiStepLR": lambda o: MultiStepLR(o, [2, 5], 0.5),
    "ExponentialLR": lambda o: ExponentialLR(o, 0.9),
    "CosineAnnealingLR": lambda o: CosineAnnealingLR(o, 10, 0.01),
    "PolynomialLR": lambda o: PolynomialLR(o, 8, 0.9),
    "ReduceLROnPlateau": lambda o: ReduceLROnPlateau(o, patience=1, factor=0.5, cooldown=1),
    "LinearWarmup": lambda o: LinearWarmup(o, 4),
    "LinearWarmup cosine": lambda o: LinearWarmup(o, 3, after=CosineAnnealingLR(o, 6)),
    "LinearWarmup plateau": lambda o: LinearWarmup(o, 3, after=ReduceLROnPlateau(o, patience=0)),
    "CosineAnnealingWarmRestarts": lambda o: CosineAnnealingWarmRestarts(o, 2, 2),
    "OneCycleLR": lambda o: OneCycleLR(o, 0.5, 12, cycle_momentum=False),
    "OneCycleLR momentum": lambda o: OneCycleLR(o, 0.5, 20, three_phase=True),
    "LambdaLR": lambda o: LambdaLR(o, lambda epoch: 1 / (1 + epoch)),
    "SequentialLR": lambda o: SequentialLR(
        o, [ExponentialLR(o, 0.5), StepLR(o, 1, 0.9), CosineAnnealingLR(o, 5)], [2, 5]
    ),
    "SequentialLR nested": lambda o: SequentialLR(
        o, [LinearWarmup(o, 3), SequentialLR(o, [StepLR(o, 1), ExponentialLR(o, 0.7)], [2])], [4]
    ),
}
each = pytest.mark.parametrize("title", MAKE)
METRICS = [3, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1]


def run(scheduler, metrics):
    """The rates after each step."""
    rates = []
    for metric in metrics:
        scheduler.step(*([metric] if scheduler.needs_metric else []))
        rates.append(scheduler.get_last_lr())
    return rates


def test_every_scheduler_is_here():
    assert {t.split()[0] for t in MAKE} == set(lr_scheduler.__all__) - {"LRScheduler"}


@each
@pytest.mark.parametrize("steps", range(0, 12, 3))
@pytest.mark.parametrize("optimizer_first", [True, False])
def test_resumes_to_the_bit(title, steps, optimizer_first):
    ours = sgd(0.1, 0.03)
    scheduler = MAKE[title](ours)
    run(scheduler, METRICS[:steps])
    # The lr of a group was changed by hand since.
    ours.param_groups[1]["lr"] *= 0.5
    states = [ours.state_dict(), json.loads(json.dumps(scheduler.state_dict()))]

    theirs = sgd(5.0, 5.0)
    other = MAKE[title](theirs)
    for target, state in list(zip((theirs, other), states, strict=True))[
        :: 1 if optimizer_first else -1
    ]:
        target.load_state_dict(state)
    assert other.last_epoch == scheduler.last_epoch == steps
    assert other.get_last_lr() == scheduler.get_last_lr()
    assert run(other, METRICS[steps:]) == run(scheduler, METRICS[steps:])
    assert other.state_dict() == scheduler.state_dict()
    assert theirs.state_dict()["groups"] == ours.state_dict()["groups"]


@each
def test_a_scheduler_made_after_loading_the_optimizer_resumes_too(title):
    ours = sgd(0.1, 0.03)
    scheduler = MAKE[title](ours)
    run(scheduler, METRICS[:5])
    theirs = sgd(5.0, 5.0)
    theirs.load_state_dict(ours.state_dict())
    other = MAKE[title](theirs)
    other.load_state_dict(scheduler.state_dict())
    assert run(other, METRICS[5:]) == run(scheduler, METRICS[5:])


@each
def test_rates_are_python_floats(title):
    optimizer = sgd(0.1)
    optimizer.param_groups[0]["lr"] = np.float64(0.1)
    scheduler = MAKE[title](optimizer)
    run(scheduler, METRICS)
    assert [type(lr) for lr in scheduler.get_last_lr()] == [float]


@pytest.mark.parametrize("title", [title for title in MAKE if "lateau" not in title])
def test_a_group_added_late_joins_in(title):
    """It goes as one that was there from the start, from its next step; but for a plateau, which
    lowers rates from where they are."""
    early = sgd(0.1, 0.03)
    late = sgd(0.1)
    schedulers = MAKE[title](early), MAKE[title](late)
    for scheduler in schedulers:
        run(scheduler, METRICS[:5])
    late.add_param_group({"params": [Tensor(np.zeros(1), True)], "lr": 0.03})
    assert run(schedulers[0], METRICS[5:7])[1] == run(schedulers[1], METRICS[5:7])[1]


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


def test_one_needs_a_metric_the_others_do_not():
    needing = {title for title, make in MAKE.items() if make(sgd()).needs_metric}
    assert needing == {"ReduceLROnPlateau", "LinearWarmup plateau"}


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


@pytest.mark.parametrize("title", ["LinearWarmup plateau", "LinearWarmup cosine"])
def test_a_warmup_says_at_once_what_its_step_takes(title):
    scheduler = MAKE[title](sgd(0.1))
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
            lambda o: StepLR([1], 1),
            DTypeError,
            "StepLR expected an optimizer of minidl.optim first, got a list",
        ),
        (
            lambda o: StepLR(o, 0),
            ArgumentError,
            "StepLR expected step_size to be a whole number from 1 up, got 0",
        ),
        (lambda o: StepLR(o, 1.5), ArgumentError, "step_size .* got 1.5"),
        (lambda o: StepLR(o, True), ArgumentError, "step_size .* got True"),
        (lambda o: StepLR(o, 1, -0.1), ArgumentError, "gamma to be .* above 0, got -0.1"),
        (
            lambda o: MultiStepLR(o, []),
            ArgumentError,
            r"MultiStepLR expected milestones to be a list .* got \[\]",
        ),
        (lambda o: MultiStepLR(o, [0, 3]), ArgumentError, r"milestones .* got \[0, 3\]"),
        (lambda o: MultiStepLR(o, 3), ArgumentError, "milestones .* got 3"),
        (lambda o: MultiStepLR(o, [3], math.nan), ArgumentError, "MultiStepLR .* gamma .* got nan"),
        (lambda o: ExponentialLR(o, 0), ArgumentError, "ExponentialLR expected gamma .* got 0"),
        (lambda o: CosineAnnealingLR(o, 0), ArgumentError, "T_max .* got 0"),
        (lambda o: CosineAnnealingLR(o, 5, -1), ArgumentError, "eta_min .* got -1"),
        (lambda o: PolynomialLR(o, 0), ArgumentError, "total_iters .* got 0"),
        (lambda o: PolynomialLR(o, 5, -1), ArgumentError, "power .* got -1"),
        (
            lambda o: ReduceLROnPlateau(o, "lower"),
            ArgumentError,
            "mode to be 'min' or 'max', got 'lower'",
        ),
        (
            lambda o: ReduceLROnPlateau(o, threshold_mode=1),
            ArgumentError,
            "threshold_mode .* 'rel'",
        ),
        (lambda o: ReduceLROnPlateau(o, factor=1), ArgumentError, "factor .* below 1, got 1"),
        (lambda o: ReduceLROnPlateau(o, patience=-1), ArgumentError, "patience .* got -1"),
        (lambda o: ReduceLROnPlateau(o, cooldown=0.5), ArgumentError, "cooldown .* got 0.5"),
        (lambda o: ReduceLROnPlateau(o, min_lr=-1), ArgumentError, "min_lr .* got -1"),
        (lambda o: ReduceLROnPlateau(o, eps="x"), ArgumentError, "eps .* got 'x'"),
        (lambda o: ReduceLROnPlateau(o, threshold=-1), ArgumentError, "threshold .* got -1"),
        (
            lambda o: ReduceLROnPlateau(o).step(None),
            DTypeError,
            "ReduceLROnPlateau.step expected the metric as a number, got None",
        ),
        (lambda o: LinearWarmup(o, 0), ArgumentError, "LinearWarmup expected steps .* got 0"),
        (lambda o: LinearWarmup(o, 5, 1.5), ArgumentError, "start_factor .* from 0 to 1, got 1.5"),
        (
            lambda o: LinearWarmup(o, 5, after=StepLR(sgd(), 1)),
            ArgumentError,
            "`after` to be a scheduler of the same optimizer, got one of another",
        ),
        (lambda o: LinearWarmup(o, 5, after=StepLR), ArgumentError, "`after` .* got type"),
        (lambda o: CosineAnnealingWarmRestarts(o, 0), ArgumentError, "T_0 .* got 0"),
        (lambda o: CosineAnnealingWarmRestarts(o, 2, 1.5), ArgumentError, "T_mult .* got 1.5"),
        (lambda o: LambdaLR(o, 0.5), ArgumentError, "lr_lambda to be a function .* got 0.5"),
        (lambda o: LambdaLR(o, [abs, abs]), ArgumentError, "got 2 functions for 1 groups"),
        (lambda o: LambdaLR(o, lambda e: -1), ArgumentError, r"lr_lambda\(0\) to be .* got -1"),
        (lambda o: OneCycleLR(o, 1.0), ArgumentError, "expected total_steps, or else epochs and"),
        (lambda o: OneCycleLR(o, 1.0, 5, 2, 3), ArgumentError, "expected total_steps, or else"),
        (lambda o: OneCycleLR(o, 1.0, epochs=2), ArgumentError, "steps_per_epoch=None"),
        (lambda o: OneCycleLR(o, [1.0, 2.0], 5), ArgumentError, "max_lr for 2 groups of 1"),
        (lambda o: OneCycleLR(o, 1.0, 5, pct_start=2), ArgumentError, "pct_start .* got 2"),
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
        (
            lambda o: SequentialLR(o, [StepLR(o, 1), ReduceLROnPlateau(o)], [3]),
            ArgumentError,
            "can't run ReduceLROnPlateau, whose step takes a metric: LinearWarmup",
        ),
        (
            lambda o: SequentialLR(o, [StepLR(o, 1), StepLR(o, 1)], [3, 4]),
            ArgumentError,
            r"expected 1 rising milestones for 2 schedulers, got \[3, 4\]",
        ),
    ],
)
def test_refuses(make, error, text):
    optimizer = sgd(0.1)
    with pytest.raises(error, match=text):
        make(optimizer)
    assert optimizer.param_groups[0]["lr"] == 0.1


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda s: s.pop("lr"), "missing: lr"),
        (lambda s: s.pop("after"), r"missing: after\.last_epoch, after\.lr"),
        (lambda s: s.update(gamma=1), "unexpected: gamma"),
        (lambda s: s.update(last_epoch=-1), r"last_epoch \(expected a whole number .* got -1\)"),
        (lambda s: s["after"].update(lr=[1, 2]), r"after\.lr \(expected a list of 1 numbers"),
    ],
)
def test_a_refused_state_changes_nothing(spoil, text):
    scheduler = MAKE["LinearWarmup cosine"](sgd(0.1))
    before = scheduler.state_dict()
    other = MAKE["LinearWarmup cosine"](sgd(0.5))
    run(other, [None] * 5)
    state = other.state_dict()
    spoil(state)
    with pytest.raises(StateError, match=f"LinearWarmup.load_state_dict loaded nothing.*{text}"):
        scheduler.load_state_dict(state)
    assert scheduler.state_dict() == before


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


def test_base_class_is_what_all_share():
    assert all(issubclass(getattr(lr_scheduler, t.split()[0]), LRScheduler) for t in MAKE)
