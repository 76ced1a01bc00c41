"""What a compiled model keeps of its weights: made anew whenever they were written to, however."""

import os

import numpy as np
import pytest
from steps import a_step

import minidl as md
from minidl import nn, optim
from minidl.autograd import primitive


def network():
    md.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 8, 3, padding=1, activation="relu"),
        nn.GlobalAvgPool2d(),
        nn.Linear(8, 2),
    ).eval()


X = np.random.default_rng(0).standard_normal((2, 8, 8, 3)).astype(np.float32)


def check(compiled, model):
    with md.no_grad():
        expected = model(X).data
    np.testing.assert_allclose(compiled(X).data, expected, rtol=0, atol=1e-5)


@primitive(flops=lambda output, x: 0)
def doubles_in_place(x):
    x *= 2
    return x.copy()


@doubles_in_place.vjp("x")
def _(g, x):
    x *= 2
    return g


def by_data(model):
    model[0].weight.data[...] *= -2


def by_data_of_a_view(model):
    with md.no_grad():
        model[2].weight.reshape(-1).data[...] *= -2


def by_detach(model):
    model[2].weight.detach().numpy()[...] *= -2


def by_a_row(model):
    model[2].weight.data[1:2, 0][...] = 3


def by_an_assignment(model):
    model[0].weight.data = model[0].weight.data * np.float32(-2)


def by_loading(model):
    model.load_state_dict({name: x + np.float32(0.5) for name, x in model.state_dict().items()})


def by_an_optimizer(model):
    a_step(model)(X)


def by_a_captured_step(model):
    step = md.compile(a_step(model))
    for _ in range(4):
        step(X)


def by_statistics(model):
    model.train()
    model(X * 3 + 1)
    model.eval()


def by_a_primitive(model):
    with md.no_grad():
        doubles_in_place(model[2].weight)


def by_an_average(model):
    ema = optim.EMA(model, 0.5)
    by_data(model)
    ema.update()
    with ema.average_parameters():
        pass


WAYS = [
    by_data, by_data_of_a_view, by_detach, by_a_row, by_an_assignment, by_loading, by_an_optimizer,
    by_a_captured_step, by_statistics, by_a_primitive, by_an_average,
]  # fmt: skip


@pytest.mark.parametrize("change", WAYS)
def test_a_change_is_noticed(change):
    model = network()
    compiled = md.compile(model)
    check(compiled, model)
    before = compiled(X).data
    change(model)
    check(compiled, model)
    assert np.abs(compiled(X).data - before).max() > 1e-3
    check(compiled, model)


def test_a_reference_from_before_is_noticed_as_long_as_it_lives():
    model = network()
    weight = model[0].weight.data
    compiled = md.compile(model)
    for _ in range(3):
        check(compiled, model)
        weight *= -1.5
    check(compiled, model)
    weight *= -1.5
    del weight
    check(compiled, model)


def test_a_view_from_before_is_noticed():
    model = network()
    compiled = md.compile(model)
    check(compiled, model)
    view = model[2].weight.data[0].T
    for _ in range(3):
        view[...] *= -2
        check(compiled, model)


def test_a_tensor_that_shares_the_array_is_noticed():
    model = network()
    compiled = md.compile(model)
    other = model[2].weight.detach()
    for _ in range(3):
        other.data[...] *= -2
        check(compiled, model)


def test_a_rule_that_writes_is_noticed():
    model = network()
    compiled = md.compile(model)
    y = doubles_in_place(model[2].weight).sum()
    check(compiled, model)
    y.backward()
    del y
    check(compiled, model)


def test_memory_of_others_is_read_in_each_call():
    model = network()
    buffer = np.zeros(model[2].weight.size + 1, np.float32)
    buffer[1:] = model[2].weight.data.reshape(-1)
    model[2].weight.data = buffer[1:].reshape(model[2].weight.shape)
    compiled = md.compile(model)
    for _ in range(3):
        check(compiled, model)
        buffer *= -1.5
    check(compiled, model)


def programs(compiled):
    return [program for kept in compiled._programs.values() for program in kept]


def test_weights_that_nobody_touched_are_not_read():
    model = network()
    compiled = md.compile(model)
    for batch in (1, 2, 1, 2):  # recording a second kind of call touches them
        compiled(X[:batch])
    read = []
    for program in programs(compiled):
        assert program._digest
        program._digest = [[lambda i=i: read.append(i)] for i in range(len(program._digest))]
    for batch in (1, 2, 1):
        compiled(X[:batch])
    assert not read
    model[0].weight.data  # noqa: B018
    compiled(X[:1])
    assert len(read) == 1


def test_a_tensor_as_argument():
    model = network()
    compiled = md.compile(model)
    for _ in range(3):
        with md.no_grad():
            expected = model(X).data
        np.testing.assert_allclose(compiled(md.tensor(X)).data, expected, rtol=0, atol=1e-5)


def test_a_constant_weight_filled_with_another():
    model = nn.Sequential(nn.Conv2d(64, 64, 4, padding=1, bias=False), nn.BatchNorm2d(64)).eval()
    model[0].weight.data[...] = 0
    weight, x = model[0].weight.data, np.ones((1, 8, 8, 64), np.float32)
    compiled = md.compile(model)
    assert not compiled(x).data.any()
    weight[...] = 1
    assert compiled(x).data.all()


def another_class(model):
    model[1].__class__ = nn.Tanh


def another_forward(model):
    model[1].forward = lambda x: x * 0.0


@pytest.mark.parametrize("change", [another_class, another_forward])
def test_a_layer_that_computes_something_else(change):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    compiled = md.compile(model)
    for _ in range(3):
        check(compiled, model)
    change(model)
    check(compiled, model)


class OfMinidls(nn.LeakyReLU):
    pass


@pytest.mark.parametrize("kind", [nn.LeakyReLU, OfMinidls])
@pytest.mark.parametrize("train", [False, True])
def test_another_forward_of_a_class(kind, train, monkeypatch):
    """Of the layer's class, or of one that it inherits from; and what that one names is seen."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), kind()).eval()
    compiled = md.compile((lambda x: model(x)) if train else model)
    for _ in range(3):
        check(compiled, model)
    factors = [3.0]
    monkeypatch.setattr(nn.LeakyReLU, "forward", lambda self, x: x * factors[0])
    for _ in range(3):
        check(compiled, model)
    factors[0] = 5.0
    check(compiled, model)
    monkeypatch.undo()
    check(compiled, model)


class Configured(nn.Module):
    def __init__(self):
        self.layer, self.cfg = nn.Conv2d(3, 4, 3), {"a": [1, [2.0]]}

    def forward(self, x):
        return self.layer(x) * self.cfg["a"][1][0] * float(os.environ.get("MINIDL_TEST", "1"))


def test_what_a_module_of_yours_looks_at(monkeypatch):
    model = Configured().eval()
    compiled = md.compile(model)
    for _ in range(2):
        for value in (2.0, 3.0):
            model.cfg["a"][1][0] = value
            check(compiled, model)
        monkeypatch.setenv("MINIDL_TEST", "7")
        check(compiled, model)
