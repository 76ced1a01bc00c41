"""Faults that were found by attack, and stay mended."""

import os
import threading

import numpy as np
import pytest

import minidl as md
from minidl import data, errors, nn, ops
from minidl.nn import functional as F


def test_cross_entropy_of_masked_logits_is_finite():
    assert ops.cross_entropy(np.array([[0.0, -np.inf]], np.float32), np.array([0])) == 0
    rows = np.array([[-3, 1, 2], [np.nan, np.inf, 1]], np.float32)
    with np.errstate(invalid="ignore"):
        loss = ops.cross_entropy(rows, np.array([1, -100]), ignore_index=-100)
    np.testing.assert_allclose(loss, np.log(np.exp([-3, 1, 2]).sum()) - 1, rtol=1e-6)


@pytest.mark.parametrize("key", [((0, 0),), ((0, 0), slice(None)), ([0, 0],), range(1)])
def test_an_index_that_names_an_element_twice_adds_up(key):
    x = md.tensor(np.ones((2, 3)), requires_grad=True)
    x[key].sum().backward()
    expected = np.zeros((2, 3))
    np.add.at(expected, key, 1.0)
    np.testing.assert_array_equal(x.grad, expected)


def test_long_float32_sums_keep_their_digits():
    x = np.random.default_rng(0).random((32, 56, 56, 8), np.float32)
    exact = x.sum(axis=(0, 1, 2), dtype=np.float64)
    np.testing.assert_allclose(ops.sum(x, axis=(0, 1, 2)), exact, rtol=1e-6)
    assert ops.sum(x, axis=(0, 1, 2)).dtype == np.float32


def test_no_grad_decorator_keeps_threads_apart():
    inside, leave = threading.Event(), threading.Event()

    @md.no_grad()
    def wait():
        inside.set()
        leave.wait(10)

    recording = []

    def other():
        with md.no_grad():
            wait()
            recording.append((md.tensor(1.0, requires_grad=True) * 2).requires_grad)

    thread = threading.Thread(target=other)
    thread.start()
    inside.wait(10)
    quick = md.no_grad()(lambda: None)
    quick()
    leave.set()
    thread.join()
    assert recording == [False]
    assert (md.tensor(1.0, requires_grad=True) * 2).requires_grad


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that can fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_computes_too():
    """On the same kernels, without the threads that it doesn't have."""
    x, w = np.ones((4, 64, 64, 3), np.float32), np.ones((3, 3, 3, 4), np.float32)
    expected = ops.conv2d(x, w)
    child = os.fork()
    if child == 0:
        same = np.array_equal(ops.conv2d(x, w), expected)
        os._exit(0 if same and md.config.kernels == "fast" else 1)
    _, status = os.waitpid(child, 0)
    assert status == 0


class Leaky(data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, i):
        return (next(iter(())),)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stop_iteration_in_a_dataset_does_not_end_the_epoch(workers):
    with pytest.raises(RuntimeError, match="StopIteration"):
        list(data.DataLoader(Leaky(), 2, workers=workers))


X, W = np.ones((2, 8, 8, 3), np.float32), np.ones((3, 3, 3, 4), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: F.relu(X, 5, "junk"), TypeError, "relu takes by place: x.* got 3 arguments"),
        (lambda: F.relu(None), errors.DTypeError, "x, got NoneType"),
        (lambda: F.conv2d(X, None), errors.DTypeError, "as weight, got NoneType"),
        (lambda: F.conv2d(x=[1], weight=W), errors.DTypeError, "as x, got list"),
        (lambda: F.conv2d(X, W, [1.0]), errors.DTypeError, "as bias, got list"),
        (lambda: F.linear(X, None), errors.DTypeError, "as weight, got NoneType"),
        (
            lambda: F.linear(np.ones((1, 3)), np.ones((3, 2)), np.ones((5, 2))),
            errors.ShapeError,
            r"bias \(out_features,\), got \(3, 2\) and \(5, 2\)",
        ),
        (
            lambda: nn.Linear(3, 2)(np.ones((1, 3))),
            errors.DTypeError,
            "linear expected x of the weight's dtype float32, got float64",
        ),
        (lambda: md.tensor([1.0]) + None, errors.DTypeError, "got NoneType"),
        (lambda: md.tensor([1.0, 2.0]) == np.ones(3, np.float32), errors.ShapeError, "equal: sha"),
        (lambda: md.tensor([1.0]).astype(None), errors.DTypeError, "got None"),
        (lambda: md.tensor([1.0]).astype("foo"), errors.DTypeError, "got 'foo'"),
        (lambda: nn.Linear(1, 1).astype(None), errors.DTypeError, "got None"),
        (lambda: md.grad(md.tensor(1.0, requires_grad=True), None), errors.DTypeError, "NoneType"),
        (
            lambda: F.mse_loss(md.tensor([1.0]), np.array([1])),
            errors.DTypeError,
            "dtype float32, got int64",
        ),
        (
            lambda: setattr(nn.Linear(1, 1), "weight", np.ones((1, 1))),
            errors.DTypeError,
            r"assign its numbers to \.weight\.data",
        ),
    ],
)
def test_bad_calls(call, error, match):
    with pytest.raises(error, match=match):
        call()


def test_accuracy_checks_shapes():
    from minidl.train import accuracy

    assert accuracy(np.eye(2), np.array([0, 1])) == 1
    assert accuracy(md.tensor(np.eye(2)), np.eye(2)) == 1
    with pytest.raises(errors.ShapeError, match=r"got shapes \(2, 2\) and \(2, 1\)"):
        accuracy(np.eye(2), np.array([[0], [1]]))


def test_linear_of_no_features():
    x, weight, bias = (md.tensor(np.zeros(s), requires_grad=True) for s in ((3, 0), (0, 2), (2,)))
    ops.linear(x, weight, bias).sum().backward()
    assert x.grad.shape == (3, 0)
    assert weight.grad.shape == (0, 2)
    np.testing.assert_array_equal(bias.grad, [3, 3])


@pytest.mark.parametrize("p", [0.5, 1.0])
def test_dropout_of_a_number(p):
    assert ops.dropout(md.tensor(np.array(1.5)), p).shape == ()


def test_an_infinite_class_weight_is_no_loss_of_0():
    weight = np.array([np.inf, 1, 1], np.float32)
    logits = np.eye(3, dtype=np.float32)[:2]
    assert np.isnan(ops.cross_entropy(logits, np.array([0, 1]), weight))


def test_cross_entropy_of_integers_is_refused():
    with pytest.raises(errors.DTypeError, match=r"cross_entropy .* got int64"):
        ops.cross_entropy(np.ones((2, 3), np.int64), np.array([0, 1]))
