"""class_weights against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.nn import CrossEntropyLoss
from minidl.train.balance import class_weights


@given(counts=st.lists(st.integers(1, 40), min_size=1, max_size=8), seed=st.integers(0, 99))
def test_as_scikit_learn(counts, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    expected = compute_class_weight("balanced", classes=np.arange(len(counts)), y=labels)
    for found in (class_weights(labels), class_weights(labels.tolist(), len(counts))):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert class_weights(labels)[labels].mean(dtype=np.float64) == pytest.approx(1, rel=1e-6)


def test_the_loss_takes_them():
    labels = np.array([0, 0, 0, 1])
    loss = CrossEntropyLoss(weight=class_weights(labels))
    wrong = np.zeros((4, 2), np.float32)
    wrong[:, 0] = 2  # by the same for each item of a class
    each = np.log(np.exp(2) + 1) - np.array([2, 0])
    assert float(loss(wrong, labels)) == pytest.approx(each.mean(), rel=1e-6)


@pytest.mark.parametrize(
    ("labels", "classes", "error", "message"),
    [
        ([0, 2, 2], None, ArgumentError, "no item is of class 1: leave"),
        ([0, 1], 4, ArgumentError, "no item is of class 2, 3: leave"),
        ([0, 1, 5], 4, ArgumentError, "labels from 0 to 3, got 5"),
        ([-1, 1], None, ArgumentError, "labels from 0 to 1, got -1"),
        ([0.0, 1.0], None, DTypeError, "expected whole numbers, got float64"),
        ([], None, ShapeError, r"expected labels \(N,\), N from 1, got shape \(0,\)"),
        ([[0, 1]], None, ShapeError, r"got shape \(1, 2\)"),
        ([0], 0, ArgumentError, "whole number from 1 up, got 0"),
    ],
)
def test_bad_labels(labels, classes, error, message):
    with pytest.raises(error, match=message):
        class_weights(labels, classes)
