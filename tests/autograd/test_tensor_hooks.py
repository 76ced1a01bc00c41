"""Hooks on tensors: they see complete gradients, and may replace them."""

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest

import minidl as md
from minidl import errors, ops


def leaf(*numbers):
    return md.tensor(np.array(numbers), requires_grad=True)


def test_a_hook_sees_the_whole_gradient_once():
    x = leaf(1.0, 2.0)
    y = x * 3
    seen = []
    y.register_hook(lambda g: seen.append(g.tolist()))
    (y * y + y).sum().backward()  # two uses of y
    assert seen == [[7, 13]]
    np.testing.assert_array_equal(x.grad, [21, 39])


def test_what_a_hook_returns_goes_on():
    x = leaf(1.0, 2.0)
    y = x * 3
    y.register_hook(lambda g: g * 10)
    y.register_hook(lambda g: g + 1)
    z = y * y
    z.register_hook(lambda g: md.tensor(g) * 2)  # a tensor will do
    z.sum().backward()
    np.testing.assert_array_equal(x.grad, [3 * (2 * 6 * 10 + 1), 3 * (2 * 12 * 10 + 1)])


def test_a_leaf_s_hook_sees_the_gradient_of_this_pass():
    x = leaf(1.0)
    seen = []
    x.register_hook(lambda g: seen.append(g.item()))
    x.register_hook(lambda g: g / 4)
    for factor in (2.0, 6.0):
        (x * factor).sum().backward()
    assert seen == [2, 6]
    np.testing.assert_array_equal(x.grad, [2])


def test_a_root_has_a_gradient_too():
    x = leaf(1.0, 2.0)
    y = x * 2
    y.register_hook(lambda g: g * 5)
    y.backward(np.array([1.0, 3.0]))
    np.testing.assert_array_equal(x.grad, [10, 30])
    x.grad = None
    x.register_hook(lambda g: -g)
    x.backward(np.array([1.0, 3.0]))
    np.testing.assert_array_equal(x.grad, [-1, -3])


def test_hooks_of_several_outputs():
    x = leaf(3.0, 1.0, 2.0)
    first, second, third = ops.split(x * 1, sections=3)
    seen = []
    first.register_hook(lambda g: seen.append("first"))
    second.register_hook(lambda g: g * 7)
    third.register_hook(lambda g: seen.append("never used"))
    (first + second).sum().backward()
    assert seen == ["first"]
    np.testing.assert_array_equal(x.grad, [1, 7, 0])


def test_hooks_end():
    x, seen = leaf(1.0), []
    first = x.register_hook(lambda g: seen.append("first"))
    with x.register_hook(lambda g: seen.append("second")):
        (x * 1).sum().backward()
    (x * 1).sum().backward()
    first.remove()
    first.remove()
    (x * 1).sum().backward()
    assert seen == ["first", "second", "first"]


def test_a_handle_ends_its_own_registration():
    """Of a function that is registered twice, and where functions don't compare."""

    class Odd:
        __hash__ = None

        def __eq__(self, other):
            raise AssertionError("a handle compared hooks")

        def __call__(self, g):
            seen.append("odd")

    x, seen = leaf(1.0), []
    x.register_hook(Odd())

    def first(g):
        seen.append("first")

    x.register_hook(first)
    x.register_hook(lambda g: seen.append("second"))
    again = x.register_hook(first)
    (x * 1).sum().backward()
    again.remove()
    (x * 1).sum().backward()
    assert seen == ["odd", "first", "second", "first", "odd", "first", "second"]


def test_a_hook_must_be_callable():
    y = leaf(1.0) * 1
    for register in (y.register_hook, md.register_op_hook):
        with pytest.raises(errors.DTypeError, match="expected a hook that can be called, got int"):
            register(3)
    y.sum().backward()


def test_a_hook_may_remove_itself():
    y, seen = leaf(1.0) * 1, []
    handle = y.register_hook(lambda g: (seen.append("once"), handle.remove())[1])
    y.register_hook(lambda g: seen.append("always"))
    z = y.sum()
    z.backward(retain_graph=True)
    z.backward()
    assert seen == ["once", "always", "always"]


@pytest.mark.parametrize("of_leaf", [True, False])
def test_md_grad_gives_what_the_hooks_leave(of_leaf):
    x = leaf(2.0)
    y = x * 3
    hooked = x if of_leaf else y
    hooked.register_hook(lambda g: g * 100)
    (g,) = md.grad((y * y).sum(), hooked)
    assert g.item() == 100 * (36 if of_leaf else 12)
    assert x.grad is None


def test_md_grad_runs_no_hook_that_its_inputs_do_not_need():
    x, w = leaf(2.0), leaf(5.0)
    seen = []
    (x * 1).register_hook(lambda g: seen.append("x"))
    w.register_hook(lambda g: seen.append("w"))
    md.grad((x * w).sum(), x)
    assert seen == []


def test_with_create_graph_hooks_get_tensors_of_the_graph():
    x = leaf(2.0)
    y = x * x
    kinds = []
    y.register_hook(lambda g: (kinds.append(type(g)), g * x)[1])  # g = 3y**2, so 3x**5
    (g,) = md.grad((y**3).sum(), x, create_graph=True)
    assert kinds == [md.Tensor]
    assert g.item() == 3 * 2.0**4 * 2 * 4  # 3y**2 * x * 2x = 6 x**6
    (second,) = md.grad(g.sum(), x)
    # y's own hook acts on what flows through y once more: d/dx of 6 y**2 x**2 by both ways
    by_y = 12 * 4 * 4 * 2  # 12 y x**2 as the gradient of y, times x by the hook
    assert second.item() == 12 * 2 * 16 + by_y * 2 * 2


def test_a_leaf_s_hook_with_create_graph():
    x = leaf(3.0)
    x.register_hook(lambda g: g * 2)
    (g,) = md.grad((x**3).sum(), x, create_graph=True)
    assert g.item() == 2 * 27
    (second,) = md.grad(g.sum(), x)
    assert second.item() == 2 * 2 * 18


def test_a_gradient_is_not_to_be_written_to():
    x = leaf(1.0)
    y = x * 2

    def write(g):
        g *= 2

    y.register_hook(write)
    with pytest.raises(ValueError, match="read-only"):
        y.sum().backward()


def test_what_a_hook_keeps_or_returns_is_nobody_else_s():
    x, kept = leaf(1.0, 1.0), []
    buffer = np.zeros(2)

    def keep(g):
        kept.append(g)
        buffer[...] = g
        return buffer

    x.register_hook(keep)
    (x * 2).sum().backward()
    (x * 3).sum().backward()
    buffer[...] = 99
    assert [g.tolist() for g in kept] == [[2, 2], [3, 3]]
    np.testing.assert_array_equal(x.grad, [5, 5])


def test_one_buffer_for_several_hooks():
    x, buffer = leaf(1.0, 2.0), np.zeros(2)
    parts = [x * factor for factor in (2.0, 3.0)]

    def doubled(g):
        buffer[...] = 2 * g
        return buffer

    views = [part.reshape(2, 1).reshape(2) for part in parts]
    for view in views:
        view.register_hook(doubled)
    (views[0] * 1 + views[1] * 10).sum().backward()
    np.testing.assert_array_equal(x.grad, [2 * 2 + 2 * 3 * 10] * 2)


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize(
    ("made", "error", "match"),
    [
        (lambda g: 2.0, errors.GradError, "a hook returned float in place of a gradient"),
        (
            lambda g: g[:1],
            errors.ShapeError,
            r"float64 of shape \(1,\) .* float64 and shape \(2,\)",
        ),
        (lambda g: g.astype(np.float32), errors.ShapeError, "returned float32 of shape"),
    ],
)
def test_what_a_hook_may_not_return(made, error, match, create_graph):
    x = leaf(1.0, 2.0)
    y = x * x
    y.register_hook(made)
    with pytest.raises(error, match=match):
        md.grad(y.sum(), x, create_graph=create_graph)


def test_a_tensor_without_a_gradient_has_no_hooks():
    for x in (md.tensor([1.0]), leaf(1.0).detach()):
        with pytest.raises(errors.GradError, match="needs no gradient: set requires_grad=True"):
            x.register_hook(lambda g: None)
    with md.no_grad(), pytest.raises(errors.GradError, match="under no_grad"):
        (leaf(1.0) * 2).register_hook(lambda g: None)


def test_copies_have_no_hooks():
    x, seen = leaf(1.0), []
    x.register_hook(seen.append)
    for twin in (copy.copy(x), copy.deepcopy(x)):
        (twin * 1).sum().backward()
    assert seen == []
    y = x * 1
    y.register_hook(lambda g: None)
    assert pickle.loads(pickle.dumps(y)).tolist() == [1]


def test_a_hook_that_knows_its_tensor_keeps_nothing_alive_after_backward():
    x = leaf(1.0)
    y = x * 2
    gone = weakref.ref(y)
    y.register_hook(lambda g, y=y: g * y.data)
    total = y.sum()
    gc.disable()
    try:
        total.backward()
        del y
        assert gone() is None
    finally:
        gc.enable()
