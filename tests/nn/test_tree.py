"""What goes through the tree of modules: modes, apply, hooks; and the containers."""

import contextlib
import copy

import numpy as np
import pytest

import minidl as md
from minidl import nn
from minidl.errors import ArgumentError, DTypeError
from minidl.nn.modes import evaluating, shadow


def three() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1))


# Modes and apply


def test_train_and_eval_reach_every_part():
    model = nn.Sequential(three(), nn.ModuleList(nn.Dropout(), three()))
    assert all(module.training for module in model.modules())
    assert model.eval() is model
    assert not any(module.training for module in model.modules())
    model[1].train()
    assert [m.training for m in (model, model[0], model[1], model[1][1][2])] == [
        False,
        False,
        True,
        True,
    ]
    assert model.train() is model
    assert all(module.training for module in model.modules())
    assert not model.train(False)[1][0].training


def test_apply_visits_inner_parts_first_in_order_each_once():
    shared = nn.Linear(2, 2)
    model = nn.Sequential(nn.Sequential(nn.ReLU(), shared), nn.Sequential(shared, nn.Tanh()))
    visited = []
    assert model.apply(visited.append) is model
    (a, b), (_, c) = model[0], model[1]
    assert [*map(id, visited)] == [*map(id, (a, b, model[0], c, model[1], model))]


def test_apply_can_initialise():
    def ones(module):
        if isinstance(module, nn.Linear):
            nn.init.ones(module.weight)

    model = three().apply(ones)
    assert model[0].weight.data.tolist() == [[1, 1], [1, 1]]
    assert model[2].weight.data.tolist() == [[1], [1]]


# Hooks


def test_hooks_see_every_call_in_order():
    model, seen = three(), []
    x = np.ones((1, 2), np.float32)
    model[0].register_forward_hook(lambda module, inputs, output: seen.append(("a", module)))
    model[0].register_forward_hook(lambda module, inputs, output: seen.append(("b", module)))
    model.register_forward_hook(lambda module, inputs, output: seen.append(("c", module)))
    model(x)
    assert seen == [("a", model[0]), ("b", model[0]), ("c", model)]


def test_hooks_get_inputs_and_output_and_may_replace_it():
    layer = nn.ReLU()
    x = np.array([-1.0, 2.0], np.float32)
    seen = []

    def double(module, inputs, output):
        seen.append((inputs[0].data.tolist(), output.data.tolist()))
        return output * 2

    layer.register_forward_hook(double)
    layer.register_forward_hook(double)
    assert layer(x).data.tolist() == [0, 8]
    assert seen == [([-1, 2], [0, 2]), ([-1, 2], [0, 4])]


def test_a_replaced_output_is_differentiated():
    layer = nn.Linear(2, 1)
    layer.register_forward_hook(lambda module, inputs, output: output * 3)
    layer(np.ones((1, 2), np.float32)).sum().backward()
    assert layer.weight.grad.tolist() == [[3], [3]]


def test_hooks_end():
    layer, seen = nn.Identity(), []
    first = layer.register_forward_hook(lambda *call: seen.append("first"))
    with layer.register_forward_hook(lambda *call: seen.append("second")):
        layer(1)
    layer(1)
    first.remove()
    first.remove()
    layer(1)
    assert seen == ["first", "second", "first"]


def test_a_hook_may_remove_itself():
    layer, seen = nn.Identity(), []

    def once(module, inputs, output):
        seen.append("once")
        handle.remove()

    handle = layer.register_forward_hook(once)
    layer.register_forward_hook(lambda *call: seen.append("always"))
    layer(1)
    layer(1)
    assert seen == ["once", "always", "always"]


def test_hooks_belong_to_one_module():
    layer, seen = nn.Identity(), []
    twin = copy.deepcopy(layer)
    layer.register_forward_hook(lambda *call: seen.append(1))
    twin(1)
    nn.Identity()(1)
    assert seen == []
    copy.deepcopy(layer).register_forward_hook(lambda *call: seen.append(2))
    layer(1)
    assert seen == [1]


# Containers


def test_sequential_is_indexable():
    model = three()
    parts = list(model.children())
    assert len(model) == 3
    assert [*model] == parts
    assert model[0] is parts[0]
    assert model[-1] is parts[2]
    for wrong in (3, -4):
        with pytest.raises(IndexError):
            model[wrong]


@pytest.mark.parametrize("kind", [nn.Sequential, nn.ModuleList])
def test_slices_share_their_modules(kind):
    row = kind(*three())
    assert type(row[1:]) is kind
    assert [*row[1:]] == [row[1], row[2]]
    assert [*row[:-1]] == [row[0], row[1]]
    assert [*row[::2]] == [row[0], row[2]]
    assert [*row[5:]] == []
    assert len(row) == 3


def test_a_slice_computes_what_its_modules_do():
    model = three()
    x = np.ones((1, 2), np.float32)
    np.testing.assert_array_equal(model[1:](model[:1](x)).data, model(x).data)


def test_a_subclass_with_a_constructor_of_its_own_can_be_cut():
    class Net(nn.Sequential):
        def __init__(self, *, width):
            super().__init__(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, 1))

    body = Net(width=3)[:-1]
    assert type(body) is nn.Sequential
    assert body(np.ones((1, 2), np.float32)).shape == (1, 3)


@pytest.mark.parametrize("kind", [nn.Sequential, nn.ModuleList])
def test_append_and_replace(kind):
    row = kind()
    assert len(row) == 0
    first, second, third = three()
    assert row.append(first).append(second) is row
    row[-1] = third
    row[0] = second
    assert [*row] == [second, third]
    assert [name for name, _ in row.named_modules()] == ["", "0", "1"]
    assert [name for name, _ in row.named_parameters()] == ["1.weight", "1.bias"]
    for wrong in (2, -3):
        with pytest.raises(ArgumentError, match=f"has 2 modules, no index {wrong}"):
            row[wrong] = first
    with pytest.raises(DTypeError, match="expected a Module, got function"):
        row[0] = lambda x: x
    with pytest.raises(DTypeError, match=r"expected Modules, got function: wrap functions"):
        row.append(lambda x: x)
    assert [*row] == [second, third]


def test_modules_are_given_one_by_one_or_as_a_list():
    parts = [*three()]
    assert [*nn.Sequential(*parts)] == [*nn.Sequential(parts)] == [*nn.ModuleList(tuple(parts))]


def test_names_go_past_nine_in_order():
    row = nn.Sequential(*(nn.Linear(1, 1, bias=False) for _ in range(12)))
    assert list(row.state_dict()) == [f"{i}.weight" for i in range(12)]


def test_settings_pass_through_the_call():
    layer = nn.BatchNorm1d(2)
    x = np.array([[1.0, 2.0], [3.0, 5.0]], np.float32)
    with_residual = layer(x, residual=md.tensor(x)).data
    np.testing.assert_array_equal(with_residual, layer(x).data + x)
    np.testing.assert_array_equal(layer(x, residual=x).data, with_residual)


def test_ndarrays_become_tensors_however_they_are_given():
    x = np.array([-1.0, 2.0], np.float32)
    for output in (nn.ReLU()(x), nn.ReLU()(x=x)):
        assert isinstance(output, md.Tensor)
        assert output.data.tolist() == [0, 2]


def test_a_shadow_shares_parameters_and_nothing_else():
    shared = nn.Linear(2, 2)
    model, seen = nn.Sequential(shared, nn.BatchNorm1d(2), shared), []
    model[1].register_forward_hook(lambda *call: seen.append("hook"))
    twin = shadow(model)
    assert twin[0] is twin[2]
    assert [p is q for p, q in zip(twin.parameters(), model.parameters())] == [True] * 4
    twin.eval()
    twin[1].running_mean.data[...] = 5
    assert model.training
    assert model[1].training
    assert not model[1].running_mean.data.any()
    twin[1].register_forward_hook(lambda *call: seen.append("its own"))
    x = np.ones((2, 2), np.float32)
    twin(x)
    model(x)
    shadow(model, hooks=False)(x)
    assert seen == ["hook", "its own", "hook"]


def test_evaluating_ends_as_it_began():
    model = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(2), nn.Linear(2, 2))
    model[1].eval()
    with contextlib.suppress(KeyError), evaluating(model):
        assert not any(module.training for module in model.modules())
        assert not model(np.ones((2, 2), np.float32)).requires_grad
        raise KeyError
    assert [module.training for module in model.modules()] == [True, True, False, True]


def test_children_are_modules_and_named_children_pairs():
    """As in PyTorch: the direct parts alone, in order; a part in two places comes twice."""
    inner = nn.Sequential(nn.Linear(2, 3))
    model = nn.Sequential(inner, nn.ReLU(), inner)
    assert [id(part) for part in model.children()] == [id(model[i]) for i in range(3)]
    assert [(name, id(part)) for name, part in model.named_children()] == [
        ("0", id(inner)), ("1", id(model[1])), ("2", id(inner))
    ]  # fmt: skip
    assert list(nn.ReLU().children()) == list(nn.ReLU().named_children()) == []
