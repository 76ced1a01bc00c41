"""Conventions that differ between libraries, each on numbers worked out by hand."""

import numpy as np
import pytest

import minidl as md
from minidl import nn


def image(rows: list[list[float]]) -> np.ndarray:
    return np.array(rows, np.float64)[None, :, :, None]


def plane(y: md.Tensor) -> list[list[float]]:
    return y.data[0, :, :, 0].tolist()


def gradient(layer: nn.Module, x: np.ndarray) -> np.ndarray:
    tensor = md.tensor(x, requires_grad=True)
    layer(tensor).sum().backward()
    return tensor.grad


SQUARE = image([[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16]])


def test_local_response_norm_divides_alpha_by_size():
    x = np.array([1.0, 2.0, 3.0, 4.0]).reshape(1, 1, 1, 4)
    y = nn.LocalResponseNorm(3, alpha=0.6, beta=0.5, k=2.0)(x).data.ravel()
    squares = np.array([1 + 4, 1 + 4 + 9, 4 + 9 + 16, 9 + 16])
    np.testing.assert_allclose(y, x.ravel() / np.sqrt(2 + 0.2 * squares), rtol=1e-14)
    y = nn.LocalResponseNorm(2, alpha=0.4, beta=1.0, k=1.0)(x).data.ravel()
    squares = np.array([1, 1 + 4, 4 + 9, 9 + 16])  # an even window has one more before
    np.testing.assert_allclose(y, x.ravel() / (1 + 0.2 * squares), rtol=1e-14)


def test_average_pooling_leaves_padding_out_unless_told():
    x = image([[4, 8]])
    assert plane(nn.AvgPool2d(2, padding=1)(x)) == [[4, 8]]
    assert plane(nn.AvgPool2d(2, padding=1, count_include_pad=True)(x)) == [[1, 2]]


def test_max_pooling_counts_padding_as_minus_infinity():
    assert plane(nn.MaxPool2d(2, padding=1)(image([[-4, -8]]))) == [[-4, -8]]


def test_ceil_mode_keeps_a_last_partial_window():
    x = image([[1, 2, 3]])
    assert plane(nn.MaxPool2d((1, 2))(x)) == [[2]]
    assert plane(nn.MaxPool2d((1, 2), ceil_mode=True)(x)) == [[2, 3]]
    assert plane(nn.AvgPool2d((1, 2), ceil_mode=True)(x)) == [[1.5, 3]]


def test_the_first_of_equal_maxima_takes_the_gradient():
    assert gradient(nn.MaxPool2d(2), np.zeros((1, 2, 2, 1))).ravel().tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize(("layer", "at_0"), [(nn.ReLU(), 0), (nn.ReLU6(), 0), (nn.ELU(), 1)])
def test_gradients_at_kinks(layer, at_0):
    assert gradient(layer, np.array([0.0, -0.0])).tolist() == [at_0, at_0]
    if isinstance(layer, nn.ReLU6):
        assert gradient(layer, np.array([6.0])).tolist() == [0]


def test_same_padding_puts_the_odd_pixel_at_the_bottom_and_right():
    layer = nn.Conv2d(1, 1, 3, stride=2, padding="same", bias=False).astype(np.float64)
    nn.init.ones(layer.weight)
    # windows start at 0 and 2: of four pixels, one of padding stands behind the last
    assert plane(layer(SQUARE)) == [[54, 45], [72, 54]]
    assert plane(nn.MaxPool2d(3, 2, "same")(SQUARE)) == [[11, 12], [15, 16]]


def test_padding_forms():
    def shape(padding):
        return nn.Conv2d(1, 1, 3, padding=padding)(np.zeros((1, 5, 7, 1), np.float32)).shape[1:3]

    assert shape(0) == shape("valid") == (3, 5)
    assert shape(1) == shape((1, 1)) == shape("same") == (5, 7)
    assert shape((1, 0)) == (5, 5)
    assert shape(((0, 1), (2, 3))) == (4, 10)
    layer = nn.Conv2d(1, 1, 1, padding=((1, 0), (0, 2)), bias=False).astype(np.float64)
    nn.init.ones(layer.weight)
    assert plane(layer(image([[1, 2]]))) == [[0, 0, 0, 0], [1, 2, 0, 0]]


def test_convolution_does_not_turn_its_kernel():
    layer = nn.Conv2d(1, 1, 2, bias=False).astype(np.float64)
    layer.weight.data[..., 0, 0] = [[1, 10], [100, 1000]]
    assert plane(layer(image([[1, 2], [3, 4]]))) == [[4321]]


def test_transposed_convolution_spreads_its_kernel():
    layer = nn.ConvTranspose2d(1, 1, 2, stride=2, bias=False).astype(np.float64)
    layer.weight.data[..., 0, 0] = [[1, 10], [100, 1000]]
    assert plane(layer(image([[1, 2]]))) == [[1, 10, 2, 20], [100, 1000, 200, 2000]]


def test_groups_and_multipliers_stand_next_to_each_other():
    x = np.array([1.0, 10.0]).reshape(1, 1, 1, 2)
    depthwise = nn.DepthwiseConv2d(2, 1, multiplier=2, bias=False).astype(np.float64)
    depthwise.weight.data[0, 0] = [[1, 2], [3, 4]]
    assert depthwise(x).data.ravel().tolist() == [1, 2, 30, 40]
    grouped = nn.Conv2d(2, 4, 1, groups=2, bias=False).astype(np.float64)
    grouped.weight.data[0, 0] = [[1, 2, 3, 4]]
    assert grouped(x).data.ravel().tolist() == [1, 2, 30, 40]


def test_batch_norm_uses_the_biased_variance_and_keeps_the_unbiased():
    x = np.array([[1.0], [3.0]])
    layer = nn.BatchNorm1d(1, eps=0.0).astype(np.float64)
    assert layer(x).data.ravel().tolist() == [-1, 1]
    assert layer.running_mean.data.tolist() == pytest.approx([0.2])
    assert layer.running_var.data.tolist() == pytest.approx([0.9 + 0.1 * 2])


def test_flatten_has_channels_last():
    x = np.arange(12.0).reshape(1, 2, 3, 2)
    assert nn.Flatten()(x).data.tolist() == [list(range(12))]


def test_huber_is_quadratic_up_to_delta_and_linear_beyond():
    prediction, target = np.array([0.5, 1.5, 2.0, 5.0]), np.zeros(4)
    loss = nn.HuberLoss(delta=2.0, reduction="none")(prediction, target)
    assert loss.data.tolist() == [0.125, 1.125, 2.0, 8.0]


def test_cross_entropy_averages_over_what_counts():
    logits, labels = np.zeros((4, 2)), np.array([0, 1, 1, 0])
    two = np.log(2)
    assert nn.CrossEntropyLoss()(logits, labels).item() == pytest.approx(two)
    assert nn.CrossEntropyLoss(reduction="sum")(logits, labels).item() == pytest.approx(4 * two)
    logits = np.array([[0.0, 0.0], [50.0, -50.0], [0.0, 0.0], [0.0, 0.0]])
    labels = np.array([0, -1, 1, 0])
    assert nn.CrossEntropyLoss(ignore_index=-1)(logits, labels).item() == pytest.approx(two)
    heavy = nn.CrossEntropyLoss(weight=[1.0, 5.0])(logits, np.array([0, 0, 1, 0]))
    assert heavy.item() == pytest.approx((2 + 5) * two / (1 + 1 + 5 + 1))
