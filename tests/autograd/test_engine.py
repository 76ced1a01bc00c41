"""The tape: gradients by closed forms, what is freed, what is recorded."""

import gc
import threading
import weakref

import numpy as np
import pytest

import minidl as md
from minidl import errors, ops


def leaf(*numbers):
    return md.tensor(np.array(numbers), requires_grad=True)


def test_gradient_of_a_polynomial():
    x = leaf(2.0, -1.0)
    (x**3 + 2 * x).sum().backward()
    np.testing.assert_allclose(x.grad, [14, 5])


def test_gradients_add_up():
    x = leaf(1.0)
    for _ in range(2):
        (3 * x).sum().backward()
    np.testing.assert_array_equal(x.grad, [6])


def test_a_gradient_without_axes_is_an_array():
    x = md.tensor(2.0, requires_grad=True)
    (x + x + x).backward()
    assert isinstance(x.grad, np.ndarray)
    assert x.grad == 3


def test_a_tensor_used_many_times():
    x = leaf(3.0)
    y = x
    for _ in range(10):
        y = y + x * y  # y = x * (1 + x)**10
    y.sum().backward()
    np.testing.assert_allclose(x.grad, [4.0**10 + 30 * 4.0**9])


def test_leaves_never_share_a_gradient():
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    ((a + b) * 2).sum().backward()
    assert not np.shares_memory(a.grad, b.grad)
    a.grad += 1
    np.testing.assert_array_equal(b.grad, [2, 2])


def test_the_gradient_given_is_left_alone():
    x, g = leaf(1.0, 2.0), np.array([1.0, 1.0])
    (x + 0).backward(g)
    x.grad += 5
    np.testing.assert_array_equal(g, [1, 1])
    np.testing.assert_array_equal((leaf(1.0) * 2).data, [2])


def test_broadcasting_is_undone():
    x, bias = md.tensor(np.ones((4, 3)), requires_grad=True), leaf(1.0, 2.0, 3.0)
    (x * bias).sum().backward()
    np.testing.assert_array_equal(bias.grad, [4, 4, 4])
    assert x.grad.shape == (4, 3)


def test_a_deep_graph_needs_no_recursion():
    x = leaf(1.0)
    y = x
    for _ in range(20_000):
        y = y + 1
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, [1])


@pytest.mark.parametrize(
    ("run", "error", "match"),
    [
        (lambda: (leaf(1.0, 2.0) * 2).backward(), errors.GradError, r"scalar, got shape \(2,\)"),
        (lambda: md.tensor([1.0]).sum().backward(), errors.GradError, "needs no gradient"),
        (lambda: leaf(1.0, 2.0).sum().backward(np.ones(2)), errors.ShapeError, r"shape \(2,\)"),
        (lambda: md.grad(leaf(1.0).sum(), md.tensor([1.0])), errors.GradError, "input 0"),
        (lambda: md.grad(leaf(1.0, 2.0) * 1, leaf(1.0)), errors.GradError, "scalar"),
        (
            lambda: md.grad([leaf(1.0)], [leaf(1.0)], grad_outputs=[]),
            errors.ArgumentError,
            "1 outputs",
        ),
        (
            lambda: setattr(leaf(1.0) * 2, "requires_grad", False),
            errors.GradError,
            r"leaves only.*detach",
        ),
    ],
)
def test_bad_calls(run, error, match):
    with pytest.raises(error, match=match):
        run()


def test_backward_twice_needs_retain_graph():
    x = leaf(1.0, 2.0)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    np.testing.assert_array_equal(x.grad, [4, 8])
    with pytest.raises(errors.GradError, match=r"a second time.*retain_graph=True"):
        y.backward()
    np.testing.assert_array_equal(x.grad, [4, 8])
    with pytest.raises(errors.GradError, match="through sum a second time"):
        md.grad(y, [x])


def test_a_freed_part_of_a_graph_is_an_error():
    x = leaf(1.0)
    shared = x * x
    shared.sum().backward()
    with pytest.raises(errors.GradError, match="through multiply a second time"):
        (shared * 2).sum().backward()
    np.testing.assert_array_equal(x.grad, [2])


def test_what_backward_is_done_with_is_freed_at_once():
    """Without the garbage collector: no cycle keeps an activation alive."""
    gc.disable()
    try:
        x = md.tensor(np.ones(1000), requires_grad=True)
        hidden = x * 2
        activation = weakref.ref(hidden.data)
        loss = (hidden * hidden).sum()
        del hidden
        assert activation() is not None
        loss.backward()
        assert activation() is None
    finally:
        gc.enable()


def test_only_what_rules_want_is_kept():
    """relu keeps its output alone: its input is free at once."""
    x = md.tensor(np.ones(1000), requires_grad=True)
    hidden = x + 1
    before = weakref.ref(hidden.data)
    hidden = ops.relu(hidden)
    assert before() is None
    hidden.sum().backward()
    np.testing.assert_array_equal(x.grad, np.ones(1000))


def test_no_grad_and_enable_grad():
    x = leaf(1.0)
    with md.no_grad():
        assert not (x * 2).requires_grad
        with md.enable_grad():
            assert (x * 2).requires_grad
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad

    @md.no_grad()
    def double(x):
        return x * 2

    assert not double(x).requires_grad


def test_each_thread_records_for_itself():
    x = leaf(1.0)
    seen = []
    with md.no_grad():
        thread = threading.Thread(target=lambda: seen.append((x * 2).requires_grad))
        thread.start()
        thread.join()
    assert seen == [True]


def test_threads_train_apart():
    """Many graphs at once, each with the gradient it has alone."""
    weight = np.random.default_rng(0).standard_normal((3, 3, 2, 4))
    images = np.random.default_rng(1).standard_normal((8, 2, 9, 9, 2))

    def gradient(x):
        w = md.tensor(weight, requires_grad=True)
        ops.relu(ops.conv2d(x, w, padding=1)).sum().backward()
        return w.grad

    expected = [gradient(x) for x in images]
    found = [None] * 8

    def run(i):
        found[i] = gradient(images[i])

    threads = [threading.Thread(target=run, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_grad_leaves_grad_alone():
    x, y, unused = leaf(2.0), leaf(3.0), leaf(1.0)
    dx, dy, nothing = md.grad((x * y).sum(), [x, y, unused])
    assert (float(dx.data[0]), float(dy.data[0]), nothing) == (3.0, 2.0, None)
    assert x.grad is None
    assert not dx.requires_grad


def test_grad_of_something_in_the_middle():
    x = leaf(2.0)
    middle = x * x
    (g,) = md.grad((3 * middle).sum(), [middle])
    np.testing.assert_array_equal(g.data, [3])


def test_grad_of_several_outputs():
    x = leaf(2.0)
    (g,) = md.grad([x * x, 5 * x], [x], grad_outputs=[np.array([1.0]), None])
    np.testing.assert_array_equal(g.data, [9])


def test_third_derivative():
    x = leaf(2.0)
    y = x**4
    for expected in (32.0, 48.0, 48.0):
        (y,) = md.grad(y.sum(), [x], create_graph=True)
        np.testing.assert_allclose(y.data, [expected])


def test_gradient_penalty_through_a_convolution():
    """d/dw of |dL/dx|^2, against differences: convolution's gradients are differentiable."""
    random = np.random.default_rng(0)
    x = md.tensor(random.standard_normal((1, 5, 5, 2)), requires_grad=True)

    def penalty(w):
        y = ops.conv2d(x, w, padding=1)
        (g,) = md.grad((y * y * y).sum(), [x], create_graph=True)
        return (g * g).sum()

    md.gradcheck(penalty, [random.standard_normal((3, 3, 2, 2))], rtol=1e-4)


def test_create_graph_in_no_grad():
    x = leaf(2.0)
    y = (x**3).sum()
    with md.no_grad():
        (g,) = md.grad(y, [x], create_graph=True)
    assert g.requires_grad
    g.sum().backward()
    np.testing.assert_allclose(x.grad, [12])


def test_grad_keeps_the_graph_if_told():
    x = leaf(2.0)
    y = (x**3).sum()
    (g,) = md.grad(y, [x], retain_graph=True)
    assert not g.requires_grad
    (again,) = md.grad(y, [x], retain_graph=False, create_graph=True)
    assert again.requires_grad
    np.testing.assert_allclose([g.data, again.data], [[12], [12]])
    with pytest.raises(errors.GradError, match="a second time"):
        y.backward()


def test_detect_anomaly_names_the_op_of_an_output():
    x = leaf(1.0, -1.0)
    with (
        md.detect_anomaly(),
        np.errstate(invalid="ignore"),
        pytest.raises(errors.GradError, match=r"log made a NaN, first at index \(1,\)"),
    ):
        ops.log(x)


def test_detect_anomaly_names_the_op_of_a_gradient_and_its_caller():
    x = leaf(0.0)
    with (
        md.detect_anomaly(),
        np.errstate(divide="ignore"),
        pytest.raises(
            errors.GradError, match=r"gradient of sqrt \(called at .*engine.py:\d+\) has an inf"
        ),
    ):
        x.sqrt().sum().backward()


def test_op_hooks_see_forward_and_backward():
    seen = []
    x = leaf(1.0, 2.0)
    handle = md.register_op_hook(lambda op, inputs, settings, output: seen.append(op.name))
    ops.relu(x * 2).sum().backward()
    handle.remove()
    handle.remove()
    ops.exp(x)
    assert seen == ["multiply", "relu", "sum", "broadcast_to", "activation_gradient"]


def test_nothing_is_computed_that_is_not_asked_for():
    """A convolution on data: its backward makes the weight's gradient and no other."""
    seen = []
    w = md.tensor(np.ones((3, 3, 1, 2)), requires_grad=True)
    y = ops.conv2d(np.ones((1, 5, 5, 1)), w).sum()
    with md.register_op_hook(lambda op, inputs, settings, output: seen.append(op.name)):
        y.backward()
    assert seen == ["broadcast_to", "conv2d_weight_grad"]


def test_grad_visits_only_what_leads_to_the_inputs():
    seen = []
    x, w = leaf(1.0), leaf(2.0)
    y = (ops.exp(x) + ops.log(w)).sum()
    with md.register_op_hook(lambda op, inputs, settings, output: seen.append(op.name)):
        md.grad(y, [x])
    assert "divide" not in seen


def test_a_label_has_no_gradient():
    with pytest.raises(errors.GradError, match="no gradient for"):
        ops.where(leaf(1.0), leaf(1.0), leaf(2.0))


def test_the_gradient_of_a_mean_can_be_added_to():
    """Its numbers are one number, shown in many places."""
    x = md.tensor(np.ones((2, 3)), requires_grad=True)
    for _ in range(2):
        x.mean().backward()
    np.testing.assert_array_equal(x.grad, np.full((2, 3), 1 / 3))
