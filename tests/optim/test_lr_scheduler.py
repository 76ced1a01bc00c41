"""Every schedule: resuming, groups, types and errors. Values are in test_trajectories.py."""

import json

import numpy as np
import pytest
from optimizers import title
from schedulers import SAMPLES, SCHEDULERS, build, sgd

from minidl.autograd import Tensor
from minidl.errors import ArgumentError, DTypeError, StateError
from minidl.optim.lr_scheduler import LinearWarmup, LRScheduler, SequentialLR

CASES = [
    *SAMPLES,
    (LinearWarmup, {"steps": 3, "after": ("ReduceLROnPlateau", {"patience": 0})}),
    (
        SequentialLR,
        {
            "schedulers": [
                ("LinearWarmup", {"steps": 3}),
                (
                    "SequentialLR",
                    {
                        "schedulers": [
                            ("StepLR", {"step_size": 1}),
                            ("ExponentialLR", {"gamma": 0.7}),
                        ],
                        "milestones": [2],
                    },
                ),
            ],
            "milestones": [4],
        },
    ),
]
each = pytest.mark.parametrize(("kind", "settings"), CASES, ids=title)
METRICS = [3, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1]
RATES = 0.1, 0.03


def run(scheduler, metrics):
    """The rates after each step."""
    rates = []
    for metric in metrics:
        scheduler.step(*([metric] if scheduler.needs_metric else []))
        rates.append(scheduler.get_last_lr())
    return rates


@pytest.mark.parametrize("kind", SCHEDULERS, ids=title)
def test_declares_its_parts(kind):
    assert issubclass(kind, LRScheduler)
    assert kind.samples, "samples"
    assert kind.errors, "errors"


@each
@pytest.mark.parametrize("steps", range(0, 12, 3))
@pytest.mark.parametrize("optimizer_first", [True, False])
def test_resumes_to_the_bit(kind, settings, steps, optimizer_first):
    ours = sgd(*RATES)
    scheduler = build(kind, settings, ours)
    run(scheduler, METRICS[:steps])
    # The lr of a group was changed by hand since.
    ours.param_groups[1]["lr"] *= 0.5
    states = [ours.state_dict(), json.loads(json.dumps(scheduler.state_dict()))]

    theirs = sgd(5.0, 5.0)
    other = build(kind, settings, theirs)
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
def test_a_scheduler_made_after_loading_the_optimizer_resumes_too(kind, settings):
    ours = sgd(*RATES)
    scheduler = build(kind, settings, ours)
    run(scheduler, METRICS[:5])
    theirs = sgd(5.0, 5.0)
    theirs.load_state_dict(ours.state_dict())
    other = build(kind, settings, theirs)
    other.load_state_dict(scheduler.state_dict())
    assert run(other, METRICS[5:]) == run(scheduler, METRICS[5:])


@each
def test_rates_are_python_floats(kind, settings):
    optimizer = sgd(*RATES)
    optimizer.param_groups[0]["lr"] = np.float64(0.1)
    scheduler = build(kind, settings, optimizer)
    run(scheduler, METRICS)
    assert [type(lr) for lr in scheduler.get_last_lr()] == [float, float]


def has_a_setting_for_each_group(settings):
    return any(isinstance(settings.get(name), list) for name in ("lr_lambda", "max_lr"))


@pytest.mark.parametrize(
    ("kind", "settings"),
    [  # a plateau lowers rates from where they are
        case
        for case in CASES
        if "Plateau" not in f"{case}" and not has_a_setting_for_each_group(case[1])
    ],
    ids=title,
)
def test_a_group_added_late_joins_in(kind, settings):
    """It goes as one that was there from the start, from its next step."""
    early, late = sgd(*RATES), sgd(RATES[0])
    schedulers = build(kind, settings, early), build(kind, settings, late)
    for scheduler in schedulers:
        run(scheduler, METRICS[:5])
    late.add_param_group({"params": [Tensor(np.zeros(1), True)], "lr": RATES[1]})
    assert run(schedulers[0], METRICS[5:7])[1] == run(schedulers[1], METRICS[5:7])[1]


@each
def test_a_plateau_needs_a_metric_the_others_do_not(kind, settings):
    scheduler = build(kind, settings, sgd(*RATES))
    assert scheduler.needs_metric == ("Plateau" in f"{kind.__name__} {settings}")


ERRORS = [(kind, *error) for kind in SCHEDULERS for error in kind.errors]


@pytest.mark.parametrize(("kind", "settings", "text"), ERRORS, ids=title)
def test_refuses(kind, settings, text):
    optimizer = sgd(*RATES)
    with pytest.raises(ArgumentError, match=text):
        build(kind, settings, optimizer)
    assert [group["lr"] for group in optimizer.param_groups] == list(RATES)


@pytest.mark.parametrize("kind", SCHEDULERS, ids=title)
def test_refuses_what_is_no_optimizer(kind):
    settings = dict.fromkeys(kind.settings, 1)
    with pytest.raises(
        DTypeError,
        match=f"{kind.__name__} expected an optimizer of minidl.optim first, got a list",
    ):
        kind([1], **settings)


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
    settings = {"steps": 3, "after": ("CosineAnnealingLR", {"T_max": 6})}
    scheduler = build(LinearWarmup, settings, sgd(0.1))
    before = scheduler.state_dict()
    other = build(LinearWarmup, settings, sgd(0.5))
    run(other, [None] * 5)
    state = other.state_dict()
    spoil(state)
    with pytest.raises(StateError, match=f"LinearWarmup.load_state_dict loaded nothing.*{text}"):
        scheduler.load_state_dict(state)
    assert scheduler.state_dict() == before
