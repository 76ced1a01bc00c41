"""Values and gradients at kinks, infinities, NaNs and zeros, written out by hand."""

import numpy as np
import pytest

import minidl as md
from minidl import errors, ops

INF, NAN = np.inf, np.nan


def gradient(function, x, dtype=np.float64):
    x = md.tensor(np.array(x, dtype), requires_grad=True)
    function(x).sum().backward()
    return x.grad


def second(function, x):
    x = md.tensor(np.array(x, np.float64), requires_grad=True)
    (g,) = md.grad([function(x).sum()], [x], create_graph=True)
    return md.grad([g.sum()], [x])[0].data


@pytest.fixture(params=["fast", "reference"])
def kernels(request, monkeypatch):
    monkeypatch.setattr(md.config, "kernels", request.param)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_relu_and_relu6(dtype):
    x = [-INF, -1, -0.0, 0, 2, 6, 7, INF, NAN] * 5
    found = gradient(ops.relu, x, dtype).reshape(5, 9)
    np.testing.assert_array_equal(found, [[0, 0, 0, 0, 1, 1, 1, 1, 1]] * 5)
    found = gradient(ops.relu6, x, dtype).reshape(5, 9)
    np.testing.assert_array_equal(found, [[0, 0, 0, 0, 1, 0, 0, 0, 1]] * 5)
    assert np.isnan(ops.relu(np.array([NAN]))[0])


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("op", [ops.relu, ops.relu6, ops.elu, ops.sigmoid, ops.tanh, ops.exp])
def test_an_array_without_axes_stays_one(op):
    x = md.tensor(np.array(1.5), requires_grad=True)
    y = op(x)
    y.backward()
    assert (op(x.data).shape, y.shape, x.grad.shape) == ((), (), ())
    (g,) = md.grad([op(x)], [x], create_graph=True)
    assert g.shape == ()


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("activation", ["relu", "relu6"])
def test_fused_activations_let_infinities_and_nans_through(activation):
    """As relu alone does: a NaN in the output makes no gradient 0."""
    high = INF if activation == "relu" else 3.0
    x = np.array([[NAN], [high], [-1.0]], np.float32)
    for op in (
        lambda x, w, b: ops.linear(x, w, b, activation=activation),
        lambda x, w, b: ops.conv2d(
            x.reshape(3, 1, 1, 1), w.reshape(1, 1, 1, 1), b, activation=activation
        ),
        lambda x, w, b: ops.depthwise_conv2d(
            x.reshape(3, 1, 1, 1), w.reshape(1, 1, 1, 1), b, activation=activation
        ),
        lambda x, w, b: ops.batch_norm(
            x,
            np.zeros(1, np.float32),
            np.ones(1, np.float32),
            w.reshape(1),
            b,
            eps=0.0,
            activation=activation,
        ),
    ):
        weight = md.tensor(np.ones((1, 1), np.float32))
        bias = md.tensor(np.zeros(1, np.float32), requires_grad=True)
        leaf = md.tensor(x, requires_grad=True)
        op(leaf, weight, bias).sum().backward()
        np.testing.assert_array_equal(leaf.grad, [[1], [1], [0]])
        np.testing.assert_array_equal(bias.grad, [2])


@pytest.mark.usefixtures("kernels")
def test_pooled_nans_and_infinities_have_gradients():
    x = np.full((1, 2, 8, 1), -1, np.float32)
    x[0, 1, 1], x[0, 0, 2], x[0, 0, 6] = NAN, INF, 2
    weight = md.tensor(np.ones((1, 1, 1, 1), np.float32))
    bias = md.tensor(np.zeros(1, np.float32), requires_grad=True)
    leaf = md.tensor(x, requires_grad=True)
    ops.conv2d_relu_max_pool(leaf, weight, bias).sum().backward()
    np.testing.assert_array_equal(bias.grad, [3])
    expected = np.zeros_like(x)
    expected[0, 1, 1] = expected[0, 0, 2] = expected[0, 0, 6] = 1
    np.testing.assert_array_equal(leaf.grad, expected)


@pytest.mark.usefixtures("kernels")
def test_batch_norm_with_a_residual_and_a_nan():
    residual = md.tensor(np.array([[NAN], [9.0], [-9.0], [0.5]], np.float32), requires_grad=True)
    x = np.array([[1.0], [2.0], [1.0], [2.0]], np.float32)
    ones, zeros = np.ones(1, np.float32), np.zeros(1, np.float32)
    y = ops.batch_norm(
        md.tensor(x), None, None, ones, zeros, True, residual=residual, activation="relu"
    )
    y.sum().backward()
    np.testing.assert_array_equal(residual.grad, [[1], [1], [0], [1]])


@pytest.mark.parametrize("alpha", [1.0, 0.3, -2.0])
def test_elu(alpha):
    def elu(x):
        return ops.elu(x, alpha=alpha)

    x = np.array([-40, -2, -1e-12, 0, 3, INF, -INF])
    e = alpha * np.exp(np.minimum(x, 0))
    np.testing.assert_allclose(gradient(elu, x), np.where(x <= 0, e, 1), rtol=1e-12)
    # at 0 that of the flat side
    np.testing.assert_allclose(second(elu, x), np.where(x < 0, e, 0), rtol=1e-12)
    assert np.isnan(gradient(elu, [NAN]))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_power_of_zero():
    zeros = np.zeros(6)
    y = np.array([-2, -0.5, 0, 0.5, 1, 2])
    np.testing.assert_array_equal(ops.power(zeros, y), [INF, INF, 1, 0, 0, 0])
    exponent = md.tensor(y, requires_grad=True)
    base = md.tensor(zeros, requires_grad=True)
    ops.power(base, exponent).sum().backward()
    np.testing.assert_array_equal(exponent.grad, [-INF, -INF, 0, 0, 0, 0])
    np.testing.assert_array_equal(base.grad, [-INF, -INF, 0, INF, 1, 0])
    exponent = md.tensor([-1.0, 2.0], dtype=np.float64, requires_grad=True)
    ops.power(np.zeros((3, 2)), exponent).sum().backward()
    np.testing.assert_array_equal(exponent.grad, [-INF, 0])
    np.testing.assert_array_equal(second(lambda x: x**2, [0.0, 1.0]), [2, 2])
    np.testing.assert_array_equal(second(lambda x: x**1, [0.0, 1.0]), [0, 0])


def test_huber_loss_of_an_infinite_distance():
    target = np.array([0.0, 0.0, 0.0, 0.0])
    x = [INF, -INF, 0.5, -3]
    found = gradient(lambda x: ops.huber_loss(x, target, delta=2.0, reduction="sum"), x)
    np.testing.assert_array_equal(found, [2, -2, 0.5, -2])


def test_booleans_are_no_numbers():
    yes = np.array([True])
    for call in (lambda: ops.negative(yes), lambda: ops.subtract(yes, yes), lambda: ops.sign(yes)):
        with pytest.raises(errors.DTypeError, match="got booleans"):
            call()


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (0, 3)])
def test_the_gradient_of_a_mean_that_is_summed(shape):
    """It is one number, spread over an array without steps."""
    found = gradient(lambda x: ops.mean(x, axis=1), np.ones(shape))
    np.testing.assert_allclose(found, np.full(shape, 1 / shape[1]))
    found = gradient(ops.global_avg_pool2d, np.ones((2, 3, 4, 5)))
    np.testing.assert_allclose(found, np.full((2, 3, 4, 5), 1 / 12))


EMPTY_KERNEL = np.zeros((0, 3, 2, 4), np.float32)
X, NUMBER = np.ones((1, 5, 5, 2), np.float32), np.array(1.0, np.float32)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: ops.conv2d(X, EMPTY_KERNEL), errors.ShapeError, "weight of 4 axes"),
        (lambda: ops.conv2d(X, NUMBER), errors.ShapeError, "weight of 4 axes"),
        (lambda: ops.conv_transpose2d(X, EMPTY_KERNEL), errors.ShapeError, "weight of 4 axes"),
        (lambda: ops.where(X > 0, X[0], X[0, 0, :, :1].T), errors.ShapeError, "don't broadcast"),
        (lambda: ops.stack([1.0, 2.0]), errors.DTypeError, "stack expected a Tensor"),
        (lambda: ops.batch_norm(X, [1.0, 1.0], NUMBER), errors.DTypeError, "as mean, got list"),
        (lambda: ops.batch_norm(X, NUMBER, NUMBER), errors.ShapeError, "1 channels"),
        (lambda: ops.local_response_norm(X[..., :0], 3), errors.ShapeError, r"\.\.\., C"),
        (lambda: ops.mse_loss(X > 0, X > 0), errors.DTypeError, "got bool"),
    ],
)  # fmt: skip
def test_bad_shapes_are_refused_by_name(call, error, match):
    with pytest.raises(error, match=match):
        call()


@pytest.mark.parametrize("bad", [NAN, INF])
@pytest.mark.parametrize(
    ("settings", "rows"),
    [
        ({"scale_factor": 2}, slice(4, 6)),
        ({"scale_factor": 2, "mode": "bilinear"}, slice(3, 7)),
        ({"scale_factor": 1.8, "mode": "bilinear", "align_corners": True}, slice(3, 6)),
    ],
)
def test_a_bad_pixel_spoils_only_those_upsampled_from_it(bad, settings, rows):
    """With align_corners, rows 2, 4 and 6 of 9 lie on rows 1, 2 and 3 of 5."""
    x = np.zeros((1, 5, 5, 1), np.float32)
    x[0, 2, 2] = bad
    y = ops.upsample(x, **settings)[0, ..., 0]
    expected = np.zeros(y.shape, np.float32)
    expected[rows, rows] = bad
    np.testing.assert_array_equal(y, expected)


def test_a_bad_gradient_spoils_only_the_pixels_it_is_of():
    g = np.ones((1, 6, 6, 1))
    g[0, 5, 0] = NAN
    x = md.tensor(np.ones((1, 3, 3, 1)), requires_grad=True)
    ops.upsample(x, scale_factor=2).backward(g)
    expected = np.full((3, 3), 4.0)
    expected[2, 0] = NAN
    np.testing.assert_array_equal(x.grad[0, ..., 0], expected)


@pytest.mark.usefixtures("kernels")
def test_prelu_without_channels_and_of_a_number():
    def run(x, weight):
        tensors = [md.tensor(np.array(each), requires_grad=True) for each in (x, weight)]
        y = ops.prelu(*tensors)
        y.sum().backward()
        return y.data.tolist(), *(each.grad.tolist() for each in tensors)

    assert run(np.zeros((3, 0)), np.zeros(0)) == ([[], [], []], [[], [], []], [])
    assert run(np.zeros((0, 2)), np.ones(2)) == ([], [], [0, 0])
    assert run(-2.0, [0.5]) == (-1.0, 0.5, [-2.0])
    assert run(2.0, [0.5]) == (2.0, 1.0, [0.0])
