"""functional_call, and gradcheck of modules."""

import numpy as np
import pytest

import minidl as md
from minidl import nn
from minidl.errors import DTypeError, GradError, ShapeError, StateError

X = np.random.default_rng(0).standard_normal((4, 3))


def network():
    md.manual_seed(0)
    parts = nn.Linear(3, 5, activation="tanh"), nn.BatchNorm1d(5), nn.Linear(5, 2)
    return nn.Sequential(*parts).astype(np.float64)


def test_other_numbers_are_used_and_get_the_gradients():
    model, other = network(), network()
    for p in other.parameters():
        p.data[...] = np.random.default_rng(p.size).standard_normal(p.shape)
    state = {name: md.tensor(a, requires_grad=True) for name, a in other.state_dict().items()
             if "running" not in name}  # fmt: skip
    before = model.state_dict()
    found = md.functional_call(model, state, X)
    np.testing.assert_array_equal(found.data, other(X).data)
    found.sum().backward()
    other(X).sum().backward()
    for name, p in other.named_parameters():
        np.testing.assert_array_equal(state[name].grad, p.grad)
    assert all(p.grad is None for p in model.parameters())
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_what_is_left_out_is_the_modules():
    model = network()
    model.eval()
    np.testing.assert_array_equal(md.functional_call(model, {}, (X,)).data, model(X).data)


def test_a_shared_parameter_is_replaced_everywhere():
    model = nn.ModuleList(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight

    class Twice(nn.Module):
        def __init__(self):
            self.parts = model

        def forward(self, x):
            return self.parts[1](self.parts[0](x))

    twice = Twice().astype(np.float64)
    found = md.functional_call(twice, {"parts.0.weight": np.zeros((3, 3))}, X)
    np.testing.assert_array_equal(found.data, np.broadcast_to(model[1].bias.data, (4, 3)))


def test_errors():
    model = network()
    with pytest.raises(StateError, match=r"Sequential has no \['3.weight'\]; it has \['0.weight'"):
        md.functional_call(model, {"3.weight": np.zeros(3)}, X)
    with pytest.raises(ShapeError, match=r"expected 0.weight of shape \(3, 5\), got \(5, 3\)"):
        md.functional_call(model, {"0.weight": np.zeros((5, 3))}, X)
    with pytest.raises(DTypeError, match="expected a module, got function"):
        md.functional_call(lambda x: x, {}, X)


class Detached(nn.Module):
    def __init__(self):
        self.inner = nn.Linear(3, 2)

    def forward(self, x):
        return x @ self.inner.weight.detach() + self.inner.bias


def test_gradcheck_looks_at_the_parameters_and_names_them():
    assert md.gradcheck(network(), X, order=2)
    model = Detached().astype(np.float64)
    with pytest.raises(GradError, match=r"worst .* at input parameter inner.weight"):
        md.gradcheck(model, X)
    model.inner.weight.requires_grad = False
    assert md.gradcheck(model, X)
    with pytest.raises(DTypeError, match=r"float32 as parameter 0.weight: .*astype\(np.float64\)"):
        md.gradcheck(nn.Sequential(nn.Linear(3, 2)), X)


def test_gradcheck_leaves_the_module_as_it_was():
    model = network()
    before = model.state_dict()
    assert md.gradcheck(model, X)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
