"""Hooks of modules before forward, and on the way back; those after forward: in test_tree.py."""

import copy

import numpy as np
import pytest

import minidl as md
from minidl import errors, nn
from minidl.nn.modes import shadow


def linear():
    layer = nn.Linear(2, 1).astype(np.float64)
    layer.weight.data[...], layer.bias.data[...] = [[2], [3]], 1
    return layer


def rows(*numbers):
    return md.tensor(np.array([numbers]), requires_grad=True)


# Before forward


def test_pre_hooks_see_and_replace_inputs():
    layer, seen = linear(), []

    def note(module, inputs):
        seen.append((module, [x.tolist() for x in inputs]))

    layer.register_forward_pre_hook(note)
    layer.register_forward_pre_hook(lambda module, inputs: inputs[0] * 10)
    layer.register_forward_pre_hook(lambda module, inputs: (inputs[0] + 1,))
    layer.register_forward_pre_hook(note)
    layer.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].tolist()))
    x = rows(1.0, 2.0)
    y = layer(x)
    assert y.item() == 2 * 11 + 3 * 21 + 1
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, [[20, 30]])
    assert seen == [(layer, [[[1, 2]]]), (layer, [[[11, 21]]]), [[11, 21]]]


def test_a_replaced_input_may_be_an_ndarray():
    layer = nn.ReLU()
    layer.register_forward_pre_hook(lambda module, inputs: np.array([-1.0, 2.0]))
    output = layer(np.zeros(2))
    assert isinstance(output, md.Tensor)
    assert output.tolist() == [0, 2]


def test_pre_hooks_leave_what_is_given_by_name():
    layer = nn.BatchNorm1d(2).eval()
    layer.register_forward_pre_hook(lambda module, inputs: (inputs[0] * 0,))
    ones = np.ones((2, 2), np.float32)
    assert layer(ones, residual=ones).tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize("kind", ["forward_pre", "forward", "full_backward"])
def test_hooks_of_each_kind_end_and_belong_to_one_module(kind):
    layer, seen = nn.Tanh(), []
    twin, register = copy.deepcopy(layer), getattr(layer, f"register_{kind}_hook")

    def run(module):
        module(rows(1.0, 2.0)).sum().backward()

    first = register(lambda *call: seen.append("first"))
    with register(lambda *call: seen.append("second")):
        run(layer)
        run(twin)
    run(layer)
    first.remove()
    run(layer)
    assert seen == ["first", "second", "first"]

    register(lambda *call: seen.append("last"))
    own = shadow(layer)
    getattr(own, f"register_{kind}_hook")(lambda *call: seen.append("shadow's"))
    run(shadow(layer, hooks=False))
    run(layer)
    run(own)
    run(copy.deepcopy(layer))
    assert seen[3:] == ["last", "last", "shadow's", "last"]


@pytest.mark.parametrize("kind", ["forward_pre", "forward", "full_backward"])
def test_a_hook_that_cannot_be_called_is_refused_at_once(kind):
    layer = nn.Tanh()
    with pytest.raises(errors.DTypeError, match=r"Tanh expected a hook .* got NoneType"):
        getattr(layer, f"register_{kind}_hook")(None)
    assert not layer._is_hooked()


@pytest.mark.parametrize("kind", ["forward_pre", "forward", "full_backward"])
@pytest.mark.parametrize("place", range(3))
def test_a_row_that_would_be_fused_runs_every_hook(kind, place):
    """Convolution, ReLU and max-pooling are one op, unless somebody listens to one of them."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    x = np.random.default_rng(0).standard_normal((2, 4, 4, 1)).astype(np.float32)
    expected, seen = model(x), []
    getattr(model[place], f"register_{kind}_hook")(lambda module, *call: seen.append(module))
    y = model(md.tensor(x, requires_grad=True))
    y.sum().backward()
    assert seen == [model[place]]
    np.testing.assert_allclose(y.data, expected.data, rtol=1e-6, atol=1e-6)


# On the way back


def test_a_backward_hook_sees_both_gradients():
    layer, seen = linear(), []
    layer.register_full_backward_hook(lambda *call: seen.append(call))
    x = rows(1.0, 2.0)
    (layer(x) * 5).sum().backward()
    ((module, (grad_input,), (grad_output,)),) = seen
    assert module is layer
    assert grad_input.tolist() == [[10, 15]]
    assert grad_output.tolist() == [[5]]
    assert not grad_input.flags.writeable
    np.testing.assert_array_equal(x.grad, [[10, 15]])
    np.testing.assert_array_equal(layer.weight.grad, [[5], [10]])


def test_a_backward_hook_replaces_the_gradient_of_the_input_alone():
    layer = linear()
    layer.register_full_backward_hook(lambda module, g, gy: (g[0] * 10,))
    layer.register_full_backward_hook(lambda module, g, gy: g[0] + 1)
    x = rows(1.0, 2.0)
    layer(x).sum().backward()
    np.testing.assert_array_equal(x.grad, [[21, 31]])
    np.testing.assert_array_equal(layer.weight.grad, [[1], [2]])


class Two(nn.Module):
    def forward(self, x, factor, y):
        return x * y, x * factor, "no tensor"


def test_several_inputs_and_outputs():
    module, seen = Two(), []
    module.register_full_backward_hook(lambda m, g, gy: seen.append((g, gy)))
    x, y = rows(2.0), rows(7.0)
    a, b, c = module(x, 10, y)
    assert c == "no tensor"
    (a * 3 + b).sum().backward()
    ((g, gy),) = seen
    assert [None if p is None else p.item() for p in g] == [31, None, 6]
    assert [None if p is None else p.item() for p in gy] == [3, 1, None]
    seen.clear()
    module(x, 10, y)[1].sum().backward()  # y has no part in it
    ((g, gy),) = seen
    assert [None if p is None else p.item() for p in g] == [10, None, None]
    assert [None if p is None else p.item() for p in gy] == [None, 1, None]


def test_a_gradient_that_is_replaced_by_none_ends_there():
    module = Two()
    module.register_full_backward_hook(lambda m, g, gy: (g[0] * 2, None, None))
    x, y = rows(2.0), rows(7.0)
    module(x, 1, y)[0].sum().backward()
    assert x.grad.item() == 14
    assert y.grad is None


def test_where_no_input_needs_a_gradient():
    layer, seen = linear(), []
    handle = layer.register_full_backward_hook(lambda m, g, gy: seen.append((g, gy[0].item())))
    layer(np.ones((1, 2))).sum().backward()
    assert seen == [((None,), 1)]
    handle.remove()
    layer.register_full_backward_hook(lambda m, g, gy: gy[0])
    with pytest.raises(errors.GradError, match="Linear returned a gradient for input 0, which has"):
        layer(np.ones((1, 2))).sum().backward()


def test_each_call_has_gradients_of_its_own():
    layer, seen = nn.Tanh(), []
    layer.register_full_backward_hook(lambda m, g, gy: seen.append(gy[0].item()))
    (layer(rows(0.0)) * 2 + layer(rows(0.0)) * 3).sum().backward()
    assert sorted(seen) == [2, 3]


def test_modules_in_a_row_are_told_from_the_last_to_the_first():
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    seen = []
    for part in model.modules():
        part.register_full_backward_hook(lambda m, g, gy: seen.append(m))
    model(rows(1.0, 2.0).detach().astype(np.float32)).sum().backward()
    # no input of the first needs a gradient: told as soon as its output's is known
    assert seen == [model, model[2], model[1], model[0]]


def test_backward_hooks_with_create_graph():
    layer = nn.Tanh()
    layer.register_full_backward_hook(lambda m, g, gy: (g[0] * g[0],))
    x = rows(0.5)
    (g,) = md.grad(layer(x).sum(), x, create_graph=True)
    slope = 1 - np.tanh(0.5) ** 2
    np.testing.assert_allclose(g.data, [[slope**2]])
    x2 = rows(0.5)
    with layer.register_full_backward_hook(lambda m, g, gy: None):
        assert md.gradcheck(lambda x: nn.Tanh()(x), x2, order=2)


def test_under_no_grad_nothing_is_told():
    layer, seen = linear(), []
    layer.register_full_backward_hook(seen.append)
    with md.no_grad():
        assert not layer(rows(1.0, 2.0)).requires_grad
    assert seen == []


def test_a_change_of_an_input_is_noticed_behind_a_hook():
    """The array of an input that a hooked module keeps is the caller's."""
    layer = nn.Tanh()
    layer.register_full_backward_hook(lambda *call: None)

    class Square(nn.Module):
        def forward(self, x):
            return x * x

    module = Square()
    module.register_full_backward_hook(lambda *call: None)
    array = np.array([3.0])
    x = md.from_numpy(array, requires_grad=True)
    y = module(x).sum()
    array[...] = 5
    with pytest.raises(errors.GradError, match="has written to it since"):
        y.backward()


@pytest.mark.parametrize(
    ("made", "error", "match"),
    [
        (lambda g: g * 2, errors.GradError, "returned 2 gradients where there are 1 inputs"),
        (lambda g: (g[0][:, :1],), errors.ShapeError, r"hook of Tanh returned .* shape \(1, 1\)"),
        (lambda g: ("g",), errors.GradError, "returned str in place of a gradient"),
    ],
)
def test_what_a_backward_hook_may_not_return(made, error, match):
    layer = nn.Tanh()
    layer.register_full_backward_hook(lambda m, g, gy: made(g))
    with pytest.raises(error, match=match):
        layer(rows(1.0, 2.0)).sum().backward()


def test_an_output_that_backward_hooks_cannot_see():
    class Named(nn.Module):
        def forward(self, x):
            return {"y": x * 2}

    module = Named()
    module.register_full_backward_hook(lambda *call: None)
    with pytest.raises(errors.DTypeError, match="Named has a backward hook and returned dict"):
        module(rows(1.0))
