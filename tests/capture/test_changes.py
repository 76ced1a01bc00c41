"""What changes between calls: a captured step notices, and does what an eager one does."""

import contextlib

import numpy as np
import pytest
from steps import NETWORKS, Training, assert_same, batches, train

import minidl as md
from minidl import nn, optim
from minidl.errors import ArgumentError, GradError
from minidl.optim._settings import set_by_signature
from minidl.optim.optimizer import FromZero, Params

SCENARIOS = {}


def scenario(function):
    """Decorator: a story told twice, with an eager step and with a captured one."""
    SCENARIOS[function.__name__] = function
    return function


@scenario
def other_batch_sizes(training, step, data):
    for x, labels in [*data, *data]:
        for n in (len(x), len(x) - 1, 3):
            yield step(x[:n], labels[:n])


@scenario
def other_arrays_of_a_parameter(training, step, data):
    for number, (x, labels) in enumerate(data):
        if number == 3:
            p = training.model[0].weight
            p.data = p.data * 2
        yield step(x, labels)


@scenario
def parameters_written_in_place(training, step, data):
    for x, labels in data:
        training.model[0].weight.data[:2] *= 0.5
        yield step(x, labels)


@scenario
def parameters_loaded(training, step, data):
    first = training.model.state_dict()
    for number, (x, labels) in enumerate(data):
        if number in (2, 4):
            training.model.load_state_dict(first)
        yield step(x, labels)


@scenario
def modes(training, step, data):
    for number, (x, labels) in enumerate([*data, *data]):
        training.model.train(number % 3 != 2)
        yield step(x, labels)


@scenario
def a_part_is_frozen_for_a_while(training, step, data):
    for number, (x, labels) in enumerate([*data, *data]):
        if number == 3:
            training.model[0].freeze()
            training.model[1].freeze()
        if number == 7:
            training.model.unfreeze()
        yield step(x, labels)


@scenario
def one_parameter_is_frozen_at_times(training, step, data):
    for number, (x, labels) in enumerate([*data, *data]):
        training.model[0].bias.requires_grad = number not in (0, 1, 2, 6, 7)
        yield step(x, labels)


@scenario
def parameters_join_and_leave_the_optimizer(training, step, data):
    first, *others = training.model.parameters()
    training.optimizer = optim.SGD([first], lr=0.1)
    for number, (x, labels) in enumerate([*data, *data]):
        if number == 3:
            training.optimizer.add_param_group({"params": others, "momentum": 0.5})
        if number == 6:
            training.optimizer.param_groups[1]["params"].pop()
        yield step(x, labels)


@scenario
def settings_of_layers(training, step, data):
    for number, (x, labels) in enumerate([*data, *data]):
        if number == 3:
            training.model[3].p = 0.1
        if number == 6:
            training.model[1].momentum = 0.5
        yield step(x, labels)


@scenario
def a_layer_is_replaced(training, step, data):
    md.manual_seed(1)
    other = nn.Linear(6, 9)
    md.manual_seed(2)
    for number, (x, labels) in enumerate(data):
        if number == 3:
            vars(training.model)["0"] = other
            training.optimizer.add_param_group({"params": list(other.parameters())})
            training.ema = optim.EMA(training.model, 0.8)
        yield step(x, labels)


@scenario
def settings_of_the_optimizer(training, step, data):
    group = training.optimizer.param_groups[0]
    changes = [
        {"lr": 0.2}, {"momentum": 0.5}, {"nesterov": False}, {"momentum": 0.0},
        {"momentum": 0.7}, {"weight_decay": 0.0}, {"lr": 0.0}, {"lr": 0.1, "nesterov": True},
    ]  # fmt: skip
    for change, (x, labels) in zip(changes, [*data, *data], strict=False):
        yield step(x, labels)
        group.update(change)
        yield step(x, labels)


@scenario
def the_optimizer_is_loaded(training, step, data):
    states = []
    for number, (x, labels) in enumerate([*data, *data]):
        states.append(training.optimizer.state_dict())
        if number == 5:
            training.optimizer.load_state_dict(states[2])
        yield step(x, labels)


@scenario
def the_average_is_loaded_and_slower(training, step, data):
    for number, (x, labels) in enumerate([*data, *data]):
        state = training.ema.state_dict()
        if number == 4:
            training.ema.load_state_dict(state)
        if number == 6:
            training.ema.decay = 0.5
        yield step(x, labels)


@scenario
def the_average_is_looked_at(training, step, data):
    for x, labels in data:
        yield step(x, labels)
        with training.ema.average_parameters(), md.no_grad():
            yield [training.model(x)]


@scenario
def threads(training, step, data):
    most = md.config.num_threads
    for number, (x, labels) in enumerate([*data, *data]):
        md.set_num_threads(1 if number % 2 else most)
        yield step(x, labels)


@scenario
def no_capture_for_a_while(training, step, data):
    for number, (x, labels) in enumerate([*data, *data]):
        md.config.capture = not 3 < number < 6
        yield step(x, labels)


@scenario
def anomalies_for_a_while(training, step, data):
    for number, (x, labels) in enumerate([*data, *data]):
        with md.detect_anomaly() if 3 < number < 6 else contextlib.nullcontext():
            yield step(x, labels)


@scenario
def bad_labels(training, step, data):
    for number, (x, labels) in enumerate([*data, *data]):
        if number in (0, 2, 5):
            wrong = labels.copy()
            wrong[1] = 10
            with pytest.raises(ArgumentError, match="labels from 0 to 9, got 10 at row 1"):
                step(x, wrong)
            yield []
        yield step(x, labels)


@scenario
def gradients_that_are_too_large(training, step, data):
    for number, (x, labels) in enumerate([*data, *data]):
        if number in (0, 2, 5):
            bias = training.model[4].bias.data.copy()
            training.model[4].bias.data[0] = np.nan
            with pytest.raises(GradError, match=r"clip_grad_norm: the gradient of .* holds nan"):
                step(x, labels)
            yield []
            training.model[4].bias.data[...] = bias
        yield step(x, labels)


@pytest.mark.parametrize("make", [None, optim.Adam], ids=["SGD", "Adam"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_captured_step_does_as_an_eager_one(name, make):
    found = []
    for capture in (False, True):
        training = Training("small", make=make and (lambda params: make(params, lr=0.02)))
        if make and name == "settings_of_the_optimizer":
            return
        step = md.compile(training.step) if capture else training.step
        md.manual_seed(5)
        told = []
        for outputs in SCENARIOS[name](training, step, list(batches("small"))):
            told.append([y.data.copy() for y in outputs] + list(training.state().values()))
        found.append((told, md.random.get_state()))
        md.config.capture = True
    (eager, drawn), (captured, drawn_too) = found
    assert drawn == drawn_too
    for number, (arrays, expected) in enumerate(zip(captured, eager, strict=True)):
        assert len(arrays) == len(expected)
        for a, b in zip(arrays, expected, strict=True):
            np.testing.assert_array_equal(a, b, err_msg=f"call {number}")


def test_gradients_stay_in_their_arrays():
    training = Training("small")
    step, kept = md.compile(training.step), []
    for x, labels in batches("small"):
        step(x, labels)
        kept.append([p.grad for p in training.model.parameters()])
    for arrays in kept[1:]:
        assert all(a is b for a, b in zip(kept[0], arrays, strict=True))


@pytest.mark.parametrize("start", ["nothing", "gradients"])
def test_gradients_are_accumulated(start):
    """Two backward passes for each step of the optimizer, in calls of their own."""
    found = []
    for capture in (False, True):
        training = Training("small")

        def backward(x, labels, training=training):
            loss = training.loss(training.model(x), labels) / 2
            loss.backward()
            return loss

        def move(training=training):
            optim.clip_grad_norm(training.model.parameters(), 1.0)
            training.optimizer.step()
            return training.model[0].weight

        if capture:
            backward, move = md.compile(backward), md.compile(move)
        md.manual_seed(5)
        if start == "gradients":
            for p in training.model.parameters():
                p.grad = np.full_like(p.data, 0.1)
        told = []
        for number, (x, labels) in enumerate(batches("small", 14)):
            told.append(backward(x, labels).data)
            if number % 2:
                move()
                if number % 4 == 3:
                    training.optimizer.zero_grad()
            told += training.state().values()
        found.append(told)
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_gradients_in_arrays_of_another_order():
    p = md.tensor(np.ones((3, 4), np.float32), requires_grad=True)
    found = []

    def call(x):
        (p * md.from_numpy(x)).sum().backward()
        return p.sum()

    for function in (call, md.compile(call)):
        p.grad = np.asfortranarray(np.zeros((3, 4), np.float32))
        kept, random = p.grad, np.random.default_rng(0)
        for _ in range(4):
            function(random.standard_normal((3, 4)).astype(np.float32))
        assert p.grad is kept
        found.append(kept)
    np.testing.assert_array_equal(*found)


class Counting(optim.Optimizer):
    """A rule of one's own, in NumPy, that counts as it likes."""

    @set_by_signature
    def __init__(self, params: Params, lr: FromZero = 0.1) -> None: ...

    def _update(self, p, grad, state, group, numbers):
        state["steps"] = state.get("steps", 0) + 1
        p -= group["lr"] / state["steps"] * np.tanh(grad)

    def _fit_state(self, p, settings):
        return self._state.setdefault(p, {})


def test_an_optimizer_of_ones_own():
    found = []
    for capture in (False, True):
        training = Training("small", make=Counting)
        training.state = training.model.state_dict
        step = md.compile(training.step) if capture else training.step
        found.append(train(training, step, list(batches("small"))))
    assert_same(*found)


def test_one_model_in_two_captured_calls_with_validation_between():
    found = []
    for capture in (False, True):
        training = Training("layers")

        def evaluate(x, model=training.model):
            with md.no_grad():
                return model(x)

        if capture:
            step, evaluate = md.compile(training.step), md.compile(evaluate)
        else:
            step = training.step
        md.manual_seed(5)
        told = []
        for x, labels in batches("layers", 6):
            training.model.train()
            told += [y.data for y in step(x, labels)]
            training.model.eval()
            told += [evaluate(x).data, evaluate(x + 1).data]
        found.append(told)
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_normalisations_that_keep_their_statistics_notice_new_ones():
    """In evaluation mode with gradients: they stand in a formula, not in a kernel."""
    x = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
    model = NETWORKS["small"][0]().eval()

    def step(x):
        model.zero_grad()
        y = model(x).sum()
        y.backward()
        return y

    compiled = md.compile(step)
    for number in range(5):
        model[1].running_var.data[...] = number + 1
        model[1].running_mean.data[...] = -number
        expected = step(x).data, model[1].weight.grad
        found = compiled(x).data, model[1].weight.grad
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b)
