"""What users of PyTorch, Keras and NumPy type works, or its error says what does."""

import re

import numpy as np
import pytest

import minidl as md
from minidl import data, errors, models, nn, ops, optim, train
from minidl.autograd.tensor import Tensor
from minidl.foreign import ARGUMENTS, TENSOR
from minidl.nn import functional as F

A = np.array([[3.0, -1.0, 2.0], [0.5, 4.0, -2.0]], np.float32)


def x():
    return md.tensor(A, requires_grad=True)


# What NumPy makes of each method, and the method with its arguments as PyTorch's users write them.
METHODS = [
    (np.maximum(A, 0), lambda t: t.relu()),
    (1 / (1 + np.exp(-A)), lambda t: t.sigmoid()),
    (np.tanh(A), lambda t: t.tanh()),
    (np.exp(A) / np.exp(A).sum(1, keepdims=True), lambda t: t.softmax(1)),
    (A - np.log(np.exp(A).sum(0)), lambda t: t.log_softmax(axis=0)),
    (A.reshape(-1), lambda t: t.flatten()),
    (A.reshape(2, 3), lambda t: t.unsqueeze(0).squeeze(0)),
    (A[:, None], lambda t: t.unsqueeze(1)),
    (A.T, lambda t: t.permute(1, 0)),
    (A.T, lambda t: t.permute((1, 0))),
    (np.broadcast_to(A, (4, 2, 3)), lambda t: t.expand(4, -1, 3)),
    (A.std(0, ddof=1), lambda t: t.std(0)),
    (A.std(ddof=0), lambda t: t.std(correction=0)),
    (A.var(1, ddof=1, keepdims=True), lambda t: t.var(1, keepdims=True)),
    (A, lambda t: t.clone()),
    (A.prod(0), lambda t: t.prod(0)),
    (A.cumsum(1), lambda t: t.cumsum(1)),
    (np.maximum(A, 1), lambda t: t.maximum(1.0)),
    (np.minimum(A, A[0]), lambda t: t.minimum(t[0])),
    (np.sin(A), lambda t: t.sin()),
    (np.cos(A), lambda t: t.cos()),
    (np.sort(A), lambda t: t.sort()[0]),
    (-np.sort(-A, 0), lambda t: t.sort(0, descending=True).values),
    (np.argsort(A), lambda t: t.argsort()),
    (np.argsort(A, 0), lambda t: t.sort(0).indices),
    (A.argmin(1), lambda t: t.argmin(1)),
    (A.argmax(), lambda t: t.argmax()),
    (A.clip(0), lambda t: t.clamp(min=0)),
    (A.clip(-1, 1), lambda t: t.clip(-1, 1)),
    (A**2, lambda t: t.pow(2)),
    (np.abs(A), lambda t: t.abs()),
    (np.where(A > 0, 9, A), lambda t: t.masked_fill(t > 0, 9.0)),
    (np.take_along_axis(A, np.array([[2], [0]]), 1), lambda t: t.gather(1, np.array([[2], [0]]))),
    (A[:, 1:], lambda t: t.split(sections=[1, 2], axis=1)[1]),
    (np.isnan(A), lambda t: t.isnan()),
    ((A > 0).any(1), lambda t: (t > 0).any(1)),
    ((A > 0).all(), lambda t: (t > 0).all()),
    (np.sign(A), lambda t: t.sign()),
]


@pytest.mark.parametrize("number", range(len(METHODS)))
def test_methods(number):
    expected, call = METHODS[number]
    found = call(x())
    assert found.shape == np.shape(expected)
    np.testing.assert_allclose(found.data, expected, rtol=1e-6, atol=1e-6)
    assert found.dtype == (np.float32 if expected.dtype.kind == "f" else expected.dtype)
    assert found.requires_grad == (expected.dtype.kind == "f")


def test_erf_is_the_integral():
    at = np.linspace(-2, 2, 2001)
    slopes = 2 / np.sqrt(np.pi) * np.exp(-(at**2))
    steps = (slopes[1:] + slopes[:-1]) / 2 * np.diff(at)
    values = ops.erf(at)
    np.testing.assert_allclose(values[1:] - values[0], np.cumsum(steps), atol=1e-6)
    assert values[1000] == 0


def test_tolist_and_requires_grad():
    assert x().tolist() == A.tolist()
    leaf = md.tensor(A)
    assert leaf.requires_grad_() is leaf
    assert leaf.requires_grad
    assert not leaf.requires_grad_(False).requires_grad


def test_a_clone_is_a_copy_with_a_gradient():
    leaf = x()
    copy = leaf.clone()
    assert not np.shares_memory(copy.data, leaf.data)
    copy.sum().backward()
    np.testing.assert_array_equal(leaf.grad, np.ones_like(A))


def test_the_product_of_zeros_has_a_gradient():
    for row in ([2.0, 0.0, 3.0, 5.0], [0.0, 1.0, 0.0], [7.0]):
        leaf = md.tensor(row, requires_grad=True)
        leaf.prod().backward()
        others = [np.prod(row[:i] + row[i + 1 :]) for i in range(len(row))]
        np.testing.assert_allclose(leaf.grad, others)
    assert ops.prod(np.ones((0, 2), np.float32), 0).tolist() == [1, 1]
    assert ops.prod(np.full(70, 2, np.int32)[:40]).dtype == np.int64


def test_equal_ones_share_the_gradient_of_a_maximum():
    for op in (ops.maximum, ops.minimum):
        a, b = (md.tensor([1.0, np.nan], requires_grad=True) for _ in range(2))
        made = op(a, b)
        made.sum().backward()
        assert np.isnan(made.data[1])
        assert (a.grad[0], b.grad[0]) == (0.5, 0.5)


def test_sorting_puts_nans_where_pytorch_does():
    row = np.array([1.0, np.nan, -1.0, 1.0])
    assert ops.argsort(row).tolist() == [2, 0, 3, 1]
    assert ops.argsort(row, descending=True).tolist() == [1, 0, 3, 2]


def test_long_sums_so_far_keep_their_digits():
    ones = np.full(2**22, 0.1, np.float32)
    last = ops.cumsum(ones, axis=0)[-1]
    np.testing.assert_allclose(last, 2**22 * np.float64(np.float32(0.1)), rtol=1e-6)


def test_the_standard_deviation_of_equal_numbers_has_gradient_0():
    leaf = md.tensor([2.0, 2.0, 2.0], requires_grad=True)
    leaf.std().backward()
    np.testing.assert_array_equal(leaf.grad, [0, 0, 0])


# Tensors by md.


def test_creation():
    for made, expected in [
        (md.zeros(2, 3), np.zeros((2, 3), np.float32)),
        (md.zeros((2, 3), dtype=np.int64), np.zeros((2, 3), np.int64)),
        (md.ones([2]), np.ones(2, np.float32)),
        (md.zeros(), np.zeros((), np.float32)),
        (md.full((2, 2), 7), np.full((2, 2), 7)),
        (md.full(3, 0.5), np.full(3, 0.5, np.float32)),
        (md.arange(4), np.arange(4)),
        (md.arange(1, 4), np.arange(1, 4)),
        (md.arange(0, 1, 0.25), np.arange(0, 1, 0.25, np.float32)),
        (md.arange(3, 0, -1, dtype=np.float64), np.array([3.0, 2.0, 1.0])),
    ]:
        np.testing.assert_array_equal(made.data, expected)
        assert made.dtype == expected.dtype
        assert not made.requires_grad
    assert md.ones(2, requires_grad=True).requires_grad


def test_random_tensors_come_from_the_seed():
    md.manual_seed(3)
    gaussian, uniform = md.randn(200, 50), md.rand((40, 25), dtype=np.float64)
    md.manual_seed(3)
    np.testing.assert_array_equal(md.randn((200, 50)).data, gaussian.data)
    np.testing.assert_array_equal(md.rand(40, 25, dtype=np.float64).data, uniform.data)
    assert gaussian.dtype == np.float32
    assert abs(gaussian.data.mean()) < 0.05
    assert abs(gaussian.data.std() - 1) < 0.05
    assert 0 <= uniform.data.min() < 0.1 < 0.9 < uniform.data.max() < 1


def test_a_captured_call_draws_anew():
    @md.compile
    def noisy(image):
        return image + md.randn(3) * md.rand(3)

    md.manual_seed(1)
    found = [noisy(np.zeros(3, np.float32)).tolist() for _ in range(4)]
    md.manual_seed(1)
    expected = [(md.randn(3) * md.rand(3)).tolist() for _ in range(4)]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: md.zeros(2.0), errors.ShapeError, r"zeros\(\) expected a shape"),
        (lambda: md.ones(-1), errors.ShapeError, r"ones\(\) expected a shape"),
        (lambda: md.randn(2, dtype=np.int64), errors.DTypeError, r"use \.astype"),
        (lambda: md.full(2, [1, 2]), errors.DTypeError, "one number, got list"),
        (lambda: md.arange(1, 2, 0), errors.ArgumentError, "other than 0"),
        (lambda: md.zeros(2, dtype=np.float16), errors.DTypeError, "float16"),
        (lambda: md.zeros(2, device="cpu"), errors.CallError, "on the CPU"),
        (lambda: md.cat([x(), x()], 1), errors.DTypeError, "axis="),
        (lambda: md.cat([x(), x()], dim=1), errors.CallError, "use axis="),
    ],
)
def test_creation_errors(call, error, match):
    with pytest.raises(error, match=match):
        call()


def test_what_is_joined():
    np.testing.assert_array_equal(md.cat([x(), x()], axis=1).data, np.concatenate([A, A], 1))
    np.testing.assert_array_equal(md.stack([x(), x()]).data, np.stack([A, A]))
    np.testing.assert_array_equal(md.where(x() > 0, x(), 0.0).data, np.where(A > 0, A, 0))
    np.testing.assert_allclose(md.einsum("ij,kj->ik", x(), x()).data, A @ A.T, rtol=1e-6)


# Errors that say what works, and that it does


def test_every_name_of_the_table_is_missing():
    for name, hint in TENSOR.items():
        with pytest.raises(AttributeError, match=re.escape(f"{name!r}: {hint}")) as raised:
            getattr(x(), name)
        assert isinstance(raised.value, errors.MinidlError)
        assert not hasattr(x(), name)


def test_the_methods_that_hints_name_are_there():
    for hint in TENSOR.values():
        for name in re.findall(r"use \.(\w+)", hint):
            assert hasattr(Tensor, name), hint


FOREIGN = [
    (lambda: x().view(6), "reshape", lambda: x().reshape(6)),
    (lambda: x().to("cpu"), "CPU", x),
    (lambda: x().size(), r"x\.shape", lambda: x().shape),
    (lambda: x().size(0), r"x\.shape\[0\]", lambda: x().shape[0]),
    (lambda: x().cuda(), "CPU", x),
    (lambda: x().dim(), r"\.ndim", lambda: x().ndim),
    (lambda: x().numel(), r"\.size", lambda: x().size),
    (lambda: x().add_(1), "nothing is computed in place", lambda: x() + 1),
    (lambda: x().nonsense, "no attribute 'nonsense'$", x),
    (lambda: x().sum(dim=1), "use axis=", lambda: x().sum(axis=1)),
    (lambda: x().mean(1, keepdim=True), "use keepdims=", lambda: x().mean(1, keepdims=True)),
    (lambda: x().max(dim=1), "gives the values alone", lambda: x().max(axis=1)),
    (lambda: x().var(unbiased=False), "correction=0", lambda: x().var(correction=0)),
    (lambda: x().var(ddof=1), "use correction=", lambda: x().var(correction=1)),
    (lambda: ops.softmax(x(), dim=1), "use axis=", lambda: ops.softmax(x(), axis=1)),
    (lambda: F.relu(x(), inplace=True), "in place", lambda: F.relu(x())),
    (lambda: F.leaky_relu(x(), slope=0.1), "negative_slope=", lambda: F.leaky_relu(x())),
    (lambda: ops.clip(x(), low=0), "use min=", lambda: ops.clip(x(), min=0)),
    (lambda: nn.Softmax(dim=1), "use axis=", lambda: nn.Softmax(axis=1)),
    (lambda: nn.ReLU(inplace=True), "in place", nn.ReLU),
    (lambda: nn.LeakyReLU(slope=0.1), "negative_slope=", lambda: nn.LeakyReLU(negative_slope=0.1)),
    (lambda: nn.BatchNorm2d(channels=3), "num_features=", lambda: nn.BatchNorm2d(num_features=3)),
    (lambda: nn.LayerNorm(shape=3), "normalized_shape=", lambda: nn.LayerNorm(normalized_shape=3)),
    (lambda: nn.Embedding(num=3, dim=2), "num_embeddings=", lambda: nn.Embedding(3, 2)),
    (lambda: nn.Embedding(3, dim=2), "embedding_dim=", lambda: nn.Embedding(3, embedding_dim=2)),
    (lambda: nn.LSTM(3, 4, batch_first=True), "always", lambda: nn.LSTM(3, 4)),
    (lambda: nn.Conv2d(3, filters=4, kernel_size=3), "out_channels=", lambda: nn.Conv2d(3, 4, 3)),
    (lambda: nn.Linear(3, 4).to("cuda"), "CPU", lambda: nn.Linear(3, 4)),
    (
        lambda: optim.SGD([x()], learning_rate=0.1), "use lr=",
        lambda: optim.SGD([x()], lr=0.1),
    ),
    (
        lambda: optim.Adam([{"params": [x()], "learning_rate": 0.1}]), "use lr=",
        lambda: optim.Adam([{"params": [x()], "lr": 0.1}]),
    ),
    (
        lambda: data.DataLoader(data.ArrayDataset(A, A), batch_size=2, num_workers=2), "workers=",
        lambda: data.DataLoader(data.ArrayDataset(A, A), batch_size=2, workers=2),
    ),
    (
        lambda: models.create("lenet5", pretrained=True), r"models\.create\(NAME, weights=FILE\)",
        lambda: models.create("lenet5", weights="mnist"),
    ),
    (lambda: models.lenet5(pretrained=True), "weights=FILE", models.lenet5),
    (
        lambda: train.Trainer(nn.Linear(3, 2), None, metrics=["acc"]), "use 'accuracy'",
        lambda: train.Trainer(nn.Linear(3, 2), None, metrics=["accuracy"]),
    ),
    (
        lambda: train.Trainer(nn.Linear(3, 2), None).fit([], 1, validation_data=[]), "validation=",
        lambda: train.Trainer(nn.Linear(3, 2), None, metrics=["accuracy"]),
    ),
    (lambda: nn.ReLU().fit(A), r"train\.Trainer", lambda: train.Trainer(nn.Linear(3, 4), None)),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(FOREIGN)))
def test_the_error_says_what_works(number):
    foreign, match, mended = FOREIGN[number]
    with pytest.raises(errors.MinidlError, match=match) as raised:
        foreign()
    assert isinstance(raised.value, AttributeError | TypeError | errors.ArgumentError)
    mended()


def test_a_nearly_right_argument():
    with pytest.raises(errors.CallError, match="did you mean momentum="):
        optim.SGD([x()], 0.1, momentun=0.9)


def test_a_mistake_inside_of_a_function_is_told_as_it_is():
    """A TypeError that isn't about the arguments' names stays."""
    with pytest.raises(TypeError, match="positional") as raised:
        nn.Linear()
    assert not isinstance(raised.value, errors.MinidlError)


def test_users_own_modules_are_left_alone():
    class Net(nn.Module):
        def __init__(self, dim):
            self.dim = dim

    assert Net(dim=3).dim == 3
    with pytest.raises(TypeError, match="unexpected keyword argument 'size'") as raised:
        Net(size=3)
    assert not isinstance(raised.value, errors.MinidlError)


def test_the_table_has_no_name_of_ours_for_the_same_thing():
    for name, targets in ARGUMENTS.items():
        assert isinstance(targets, str) or name not in targets, name
