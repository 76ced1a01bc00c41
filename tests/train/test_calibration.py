"""Calibration, by hand and beside scikit-learn."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from minidl.errors import ArgumentError
from minidl.train.calibration import calibration


def scores_of(sure):
    """The logarithms of two probabilities: that of class 0 as given."""
    sure = np.array(sure)
    return np.log(np.stack([sure, 1 - sure], axis=1))


def test_by_hand():
    found = calibration(scores_of([0.9, 0.9, 0.55, 0.62, 0.68]), [0, 1, 0, 0, 0])
    rows = [(0.55, 1.0, 1), (0.65, 1.0, 2), (0.9, 0.5, 2)]
    assert [row["count"] for row in found["bins"]] == [count for *_, count in rows]
    for row, (sure, right, _) in zip(found["bins"], rows, strict=True):
        assert (row["confidence"], row["accuracy"]) == (pytest.approx(sure), pytest.approx(right))
    assert found["error"] == pytest.approx((0.45 + 2 * 0.35 + 2 * 0.4) / 5)


def test_beside_scikit_learn():
    """Of 500 rows of four classes; its curve is that of guesses that are right or wrong."""
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((500, 4)) * 2
    labels = rng.integers(4, size=500)
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    right = (scores.argmax(axis=1) == labels).astype(int)
    accuracies, confidences = calibration_curve(right, shares.max(axis=1), n_bins=10)
    found = calibration(scores, labels)
    np.testing.assert_allclose([row["accuracy"] for row in found["bins"]], accuracies)
    np.testing.assert_allclose([row["confidence"] for row in found["bins"]], confidences)
    counts = np.array([row["count"] for row in found["bins"]])
    assert counts.sum() == 500
    expected = (counts * abs(accuracies - confidences)).sum() / 500
    assert found["error"] == pytest.approx(expected)


def test_one_that_is_always_sure_and_right():
    found = calibration(np.eye(3, dtype=np.float32) * 99, [0, 1, 2])
    assert found["error"] == pytest.approx(0, abs=1e-12)
    assert [row["count"] for row in found["bins"]] == [3]
    with pytest.raises(ArgumentError, match=r"calibration: row 0 of the scores .* nan"):
        calibration(np.full((1, 2), np.nan), [0])
