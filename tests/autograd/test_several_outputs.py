"""Primitives with several outputs: a tuple of them, each with a gradient of its own."""

import gc
import weakref

import numpy as np
import pytest

import minidl as md
from minidl import errors
from minidl.autograd import primitive


def _flops(output, *inputs, **settings):
    return 0


@primitive(flops=_flops)
def two_powers(x):
    """x squared and x cubed."""
    return x * x, x * x * x


@two_powers.vjp("x")
def _(g, x):
    parts = [None if g[0] is None else g[0] * (2 * x), None if g[1] is None else g[1] * (3 * x * x)]
    parts = [part for part in parts if part is not None]
    return parts[0] if len(parts) == 1 else parts[0] + parts[1]


@primitive(flops=_flops, saves=("places",))
def largest_first(x, *, with_places=True):
    """The numbers in descending order, which they were, and nothing."""
    places = np.argsort(-x)
    return (x[places], places if with_places else None), places


@largest_first.vjp("x")
def _(g, places, x_shape):
    dx = np.zeros(x_shape)
    dx[places] = g[0]
    return dx


X = np.array([1.0, -2.0, 3.0])


def leaf():
    return md.tensor(X, requires_grad=True)


def test_arrays_in_arrays_out():
    square, cube = two_powers(X)
    assert type(square) is type(cube) is np.ndarray
    np.testing.assert_array_equal(square, X**2)
    np.testing.assert_array_equal(cube, X**3)


def test_each_output_has_its_gradient():
    for weights in ((1, 0), (0, 1), (2, 3)):
        x = leaf()
        outputs = two_powers(x)
        assert isinstance(outputs, tuple)
        total = sum(w * y.sum() for w, y in zip(weights, outputs, strict=True))
        total.backward()
        np.testing.assert_allclose(x.grad, weights[0] * 2 * X + weights[1] * 3 * X**2)


def test_an_output_that_is_left_alone_has_no_gradient():
    x = leaf()
    square, cube = two_powers(x)
    del square
    cube.sum().backward()
    np.testing.assert_allclose(x.grad, 3 * X**2)


def test_an_output_used_twice_and_by_the_other():
    x = leaf()
    square, cube = two_powers(x)
    (square * cube + square * square).sum().backward()
    np.testing.assert_allclose(x.grad, 5 * X**4 + 4 * X**3)


def test_second_and_third_derivatives():
    md.gradcheck(lambda x: list(two_powers(x)), [X], order=2)
    x = leaf()
    square, cube = two_powers(x)
    (first,) = md.grad([(square + cube).sum()], [x], create_graph=True)
    (second,) = md.grad([first.sum()], [x], create_graph=True)
    (third,) = md.grad([second.sum()], [x])
    np.testing.assert_allclose(second.data, 2 + 6 * X)
    np.testing.assert_allclose(third.data, [6, 6, 6])


def test_gradients_of_outputs_in_the_middle():
    x = leaf()
    square, cube = two_powers(x)
    total = (square * cube).sum()
    by_square, by_cube = md.grad([total], [square, cube])
    np.testing.assert_allclose(by_square.data, X**3)
    np.testing.assert_allclose(by_cube.data, X**2)


def test_of_an_output_and_what_lies_below_it():
    x = leaf()
    outer = two_powers(x * 2)
    inner = two_powers(outer[0])
    by_x, by_first, by_second = md.grad([inner[1].sum()], [x, *outer])
    np.testing.assert_allclose(by_first.data, 3 * (2 * X) ** 4)
    np.testing.assert_allclose(by_x.data, 6 * 64 * X**5)
    assert by_second is None


def test_one_output_with_respect_to_the_other_is_none():
    x = leaf()
    square, cube = two_powers(x)
    assert md.grad([cube.sum()], [square]) == [None]


def test_a_second_backward_is_refused_and_a_kept_graph_is_not():
    x = leaf()
    square, cube = two_powers(x)
    square.sum().backward()
    with pytest.raises(errors.GradError, match="two_powers a second time"):
        cube.sum().backward()
    x.grad = None
    square, cube = two_powers(x)
    square.sum().backward(retain_graph=True)
    cube.sum().backward()
    np.testing.assert_allclose(x.grad, 2 * X + 3 * X**2)


def test_whole_numbers_and_what_was_not_asked_for():
    x = leaf()
    numbers, places = largest_first(x)
    assert places.dtype.kind == "i"
    assert not places.requires_grad
    (numbers * md.tensor([1.0, 2.0, 3.0], dtype=np.float64)).sum().backward()
    np.testing.assert_array_equal(x.grad, [2, 3, 1])
    assert largest_first(x, with_places=False)[1] is None
    assert largest_first(X, with_places=False)[1] is None


def test_no_grad_and_hooks_and_anomalies():
    x, seen = leaf(), []
    with md.no_grad(), md.register_op_hook(lambda op, i, s, output: seen.append(output)):
        outputs = two_powers(x)
    assert not any(y.requires_grad for y in outputs)
    assert seen[0][1] is outputs[1].data
    with md.detect_anomaly(), pytest.raises(errors.GradError, match="two_powers made an infinity"):
        two_powers(np.array([np.inf]))


def test_nothing_waits_for_the_garbage_collector():
    gc.collect()
    gc.disable()
    try:
        x = leaf()
        outputs = two_powers(x)
        kept = weakref.ref(outputs[0])
        del outputs
        assert kept() is None
        outputs = two_powers(x)
        node = outputs[0].edge.node
        assert gc.get_referrers(node) != []
        outputs[1].sum().backward()
        assert node.kept == {}
    finally:
        gc.enable()


def test_captured():
    weight = md.tensor(X.copy(), requires_grad=True)

    def step(x):
        weight.grad = None
        square, cube = two_powers(weight * md.from_numpy(x))
        total = (square + 2 * cube).sum()
        total.backward()
        return total

    compiled = md.compile(step)
    for seed in range(4):
        x = np.random.default_rng(seed).standard_normal(3)
        found, grad = compiled(x).data.copy(), weight.grad.copy()
        np.testing.assert_array_equal(found, step(x).data)
        np.testing.assert_array_equal(grad, weight.grad)


@primitive(flops=_flops)
def listed(x):
    """A list, which is neither one array nor a tuple of them."""
    return [x, x]


@primitive(flops=_flops)
def badly_ruled(x, y):
    """x + y."""
    return x + y


@badly_ruled.vjp("x")
def _(g):
    return g, g


@badly_ruled.vjp("y")
def _(g):
    return None


@primitive(flops=_flops)
def half_ruled(x, y):
    """x + y."""
    return x + y


half_ruled.vjp("x", "y")(lambda g: g)


def test_what_is_no_array_is_refused():
    with pytest.raises(errors.DTypeError, match=r"listed: its forward returned list.*tuple of"):
        listed(X)
    with pytest.raises(errors.GradError, match="badly_ruled returned tuple as a gradient"):
        badly_ruled(leaf(), X).sum().backward()
    with pytest.raises(errors.GradError, match=r"half_ruled returned ndarray where .* 2 inputs"):
        half_ruled(leaf(), leaf()).sum().backward()


def test_a_user_s_primitive_of_a_known_name_replaces_nothing():
    def exp(x):
        return x * 0

    primitive(flops=_flops)(exp)
    np.testing.assert_allclose(md.tensor(X).exp().data, np.exp(X))
