"""A captured training step gives the bits of an eager one: whatever network, optimizer, threads."""

import numpy as np
import pytest
from optimizers import SAMPLES, title
from steps import NETWORKS, Training, assert_same, batches, is_captured, sgd, train

import minidl as md
from minidl import nn, optim


def both(name, count=5, dtype=np.float32, **settings):
    """What an eager training gives, and a captured one."""
    data = list(batches(name, count, dtype))
    eager, captured = (
        Training(name, dtype=dtype, **settings),
        Training(name, dtype=dtype, **settings),
    )
    expected = train(eager, eager.step, data)
    compiled = md.compile(captured.step)
    found = train(captured, compiled, data)
    assert is_captured(compiled)
    return found, expected


@pytest.mark.parametrize(("kind", "settings"), SAMPLES, ids=title)
def test_every_optimizer(kind, settings):
    def make(params):
        return kind(params, **settings)

    assert_same(*both("small", make=make))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network(name, threads):
    md.set_num_threads(min(threads, md.config.num_threads))
    assert_same(*both(name))


@pytest.mark.parametrize("name", ["lenet5", "layers", "texts"])
def test_float64(name):
    assert_same(*both(name, dtype=np.float64))


@pytest.mark.parametrize("clip", [None, optim.clip_grad_value])
def test_clipping(clip):
    assert_same(*both("small", clip=clip))


def test_a_scheduler_between_calls():
    data = list(batches("small", 8))
    found = []
    for capture in (False, True):
        training = Training("small")
        scheduler = optim.lr_scheduler.CosineAnnealingLR(training.optimizer, 8)
        step = md.compile(training.step) if capture else training.step
        losses = []
        md.manual_seed(1)
        for x, labels in data:
            losses.append(step(x, labels)[0].data)
            scheduler.step()
        found.append(losses)
    np.testing.assert_array_equal(*found)


def test_losses_of_floats():
    """Targets as ndarrays, as tensors, with weights of classes."""
    random = np.random.default_rng(0)
    x = random.standard_normal((3, 4, 6)).astype(np.float32)
    y = random.random((3, 4, 10)).astype(np.float32)
    weight = (random.random(10) + 0.5).astype(np.float32)

    def entropy(logits, target):
        return nn.functional.cross_entropy(logits, target, weight, label_smoothing=0.1)

    for loss in (
        nn.MSELoss(), nn.L1Loss(), nn.HuberLoss(), nn.BCEWithLogitsLoss(), entropy
    ):  # fmt: skip
        model = nn.Linear(6, 10)

        def value(x, y, model=model, loss=loss):
            model.zero_grad()
            total = loss(model(x), y)
            total.backward()
            return total

        compiled = md.compile(value)
        for a, b in zip(x, y, strict=True):
            for target in (b, md.from_numpy(b)):
                expected = value(a, target).data, model.weight.grad
                found = compiled(a, target).data, model.weight.grad
                for one, other in zip(found, expected, strict=True):
                    np.testing.assert_array_equal(one, other)
        assert is_captured(compiled)


def test_two_losses_that_share_a_body():
    """Gradients that meet, one of them of a part of the batch."""
    md.manual_seed(0)
    body, heads = nn.Linear(6, 8, activation="relu"), [nn.Linear(8, 3), nn.Linear(8, 2)]
    params = [*body.parameters(), *(p for head in heads for p in head.parameters())]
    optimizer = sgd(params)

    def step(x, labels, others):
        optimizer.zero_grad()
        h = body(x)
        total = nn.functional.cross_entropy(heads[0](h), labels)
        total = total + 0.3 * nn.functional.cross_entropy(heads[1](h[2:]), others)
        total.backward()
        optimizer.step()
        return total

    start = [p.data.copy() for p in params]
    found = []
    for call in (step, md.compile(step)):
        for p, first in zip(params, start, strict=True):
            p.data[...] = first
        optimizer = sgd(params)
        random = np.random.default_rng(1)
        for _ in range(4):
            x = random.standard_normal((5, 6)).astype(np.float32)
            loss = call(x, random.integers(0, 3, 5), random.integers(0, 2, 3))
        found.append([loss.data, *(p.data.copy() for p in params)])
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_gradients_of_gradients_and_functions_of_them():
    """md.grad inside a call, with a penalty on the gradient's norm."""
    md.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5, activation="tanh"), nn.Linear(5, 1))

    def penalty(x):
        y = model(x).sum()
        (g,) = md.grad([y], [model[0].weight], create_graph=True)
        model.zero_grad()
        total = y + (g * g).sum()
        total.backward()
        return total, g.detach()

    compiled, random = md.compile(penalty), np.random.default_rng(0)
    for _ in range(4):
        x = random.standard_normal((3, 4)).astype(np.float32)
        expected = [*(y.data for y in penalty(x)), model[0].weight.grad]
        found = [*(y.data for y in compiled(x)), model[0].weight.grad]
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b)


def test_units_are_proved_on_numbers_with_another_sum():
    """A rule that sums over all of its input, after a step that no kernel does."""
    random = np.random.default_rng(0)
    x = random.standard_normal((2, 3, 3, 2)).astype(np.float32)
    for _ in range(20):  # backwards, most sums have other bits, but not all
        weight = md.tensor(random.standard_normal(1).astype(np.float32), requires_grad=True)

        def call(g, weight=weight):
            weight.grad = None
            total = (md.ops.prelu(md.from_numpy(x), weight) * g).sum()
            total.backward()
            return total

        compiled = md.compile(call)
        for _ in range(3):
            g = random.standard_normal(x.shape).astype(np.float32)
            compiled(g)
            np.testing.assert_allclose(weight.grad, (g * np.minimum(x, 0)).sum(), rtol=1e-4)
