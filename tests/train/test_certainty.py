"""Intervals against SciPy's, and against how often they hold what is true."""

import numpy as np
import pytest
from scipy import stats

from minidl.errors import ShapeError
from minidl.train.certainty import (
    accuracy_interval,
    compared,
    difference,
    gain,
    images_needed,
)  # fmt: skip


@pytest.mark.parametrize(("right", "count"), [(0, 1), (1, 1), (0, 40), (40, 40), (139, 153)])
def test_accuracy_interval(right, count):
    expected = stats.binomtest(right, count).proportion_ci(0.95, "wilson")
    assert accuracy_interval(right, count) == pytest.approx((expected.low, expected.high), abs=1e-6)


@pytest.mark.parametrize("shares", [(0.05, 0.05), (0.10, 0.02), (0.01, 0.0)])
def test_the_interval_of_a_gain_holds_what_is_true(shares):
    """Of 95 samples in a hundred; at most seven in a hundred miss it."""
    random, (won, lost), missed = np.random.default_rng(0), shares, 0
    for _ in range(2000):
        outcome = random.random(153)
        after = outcome < 0.5 + won
        before = (outcome < 0.5) | ((outcome >= 0.9) & (outcome < 0.9 + lost))
        points, within = gain(before, after)
        assert points == pytest.approx(after.mean() - before.mean())
        missed += abs(points - (won - lost)) > within
    assert missed / 2000 < 0.07


def test_the_same_answers_are_no_certainty():
    right = np.ones(20, bool)
    points, within = gain(right, right)
    assert points == 0
    assert 0.05 < within < 0.15


def test_several_networks_count_by_their_mean():
    """The same networks twice tell no more than once; others that agree in the mean tell more."""
    random = np.random.default_rng(0)
    before, after = random.random((2, 4, 100)) < np.array([0.6, 0.7])[:, None, None]
    points, within = gain(before.mean(axis=0), after.mean(axis=0))
    assert points == pytest.approx(after.mean() - before.mean())
    alone, wider = gain(before[0], after[0])
    assert gain(np.stack([before[0]] * 3).mean(axis=0), after[0]) == pytest.approx((alone, wider))
    assert within < 0.8 * wider


def test_gain_of_other_images():
    with pytest.raises(ShapeError, match=r"expected two arrays \(N,\), got \(2,\) and \(3,\)"):
        gain([True, False], [True, False, True])


@pytest.mark.parametrize(
    ("points", "sentence"),
    [
        (0.034, "tuned beats the probe by 3.4 ± 1.2 points"),
        (-0.034, "tuned is behind the probe by 3.4 ± 1.2 points"),
        (-0.004, "1,153 images can't tell whether tuned beats the probe: -0.4 ± 1.2 points"),
        (0.0, "1,153 images can't tell whether tuned beats the probe: 0.0 ± 1.2 points"),
    ],
)
def test_the_sentence(points, sentence):
    assert compared("tuned", "probe", points, 0.0123, 1153) == sentence


def test_a_difference_on_other_images_is_the_papers():
    """Newcombe 1998, table II, contrasts (a), (b), (d) and (g), method 10."""
    for first, second, expected in (
        ((56, 70), (48, 80), (0.0524, 0.3339)),
        ((9, 10), (3, 10), (0.1705, 0.8090)),
        ((5, 56), (0, 29), (-0.0381, 0.1926)),
        ((10, 10), (0, 20), (0.6791, 1.0000)),
    ):
        assert difference(first, second) == pytest.approx(expected, abs=6e-5)


def test_how_many_images_it_takes():
    """With so many, the interval is as narrow as asked for; Wilson's is nearly symmetric there."""
    needed = images_needed(0.9, 0.02)
    low, high = accuracy_interval(round(0.9 * needed), needed)
    assert (high - low) / 2 == pytest.approx(0.02, rel=0.02)
