"""Confident learning, as its paper writes it out, and probabilities of rows that were held out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from minidl.train.labels import doubtful_labels, held_out_probabilities
from minidl.train.linear import LinearClassifier, deal


@given(st.integers(0, 999), st.integers(2, 5))
def test_as_the_paper_has_it(seed, classes):
    """Equations 1 and 2, row by row, and its ranking by self-confidence."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(40) % classes)
    p = random.dirichlet(np.ones(classes) * 0.5, 40)
    thresholds = [np.mean([p[i, j] for i in range(40) if labels[i] == j]) for j in range(classes)]
    count = 0
    for i in range(40):
        likely = [j for j in range(classes) if p[i, j] >= thresholds[j]]
        count += bool(likely) and max(likely, key=lambda j: p[i, j]) != labels[i]
    doubtful = sorted(range(40), key=lambda i: p[i, labels[i]])[:count]
    expected = [i for i in doubtful if p[i].argmax() != labels[i]]
    rows, guess = doubtful_labels(p, labels)
    assert rows.tolist() == expected
    assert guess.tolist() == p[expected].argmax(axis=1).tolist()


def test_flipped_labels_come_first():
    random = np.random.default_rng(0)
    truth = np.arange(200) % 4
    x = random.normal(0, 0.5, (200, 8))
    x[np.arange(200), truth] += 3
    wrong = random.choice(200, 10, replace=False)
    labels = truth.copy()
    labels[wrong] = (labels[wrong] + 1) % 4
    rows, guess = doubtful_labels(held_out_probabilities(x, labels, 0), labels)
    assert {*rows[:10]} == {*wrong}
    np.testing.assert_array_equal(guess[:10], truth[rows[:10]])


def test_rows_are_judged_by_the_others():
    random = np.random.default_rng(1)
    x, labels = random.normal(0, 1, (60, 3)), np.arange(60) % 3
    found = held_out_probabilities(x, labels, 0)
    strength = LinearClassifier.cross_validated(x, labels, seed=0).strength
    parts = deal("", labels, 5, 0)
    for part in range(5):
        held = parts == part
        mean, std = x[~held].mean(axis=0), x[~held].std(axis=0)
        other = LogisticRegression(C=strength, tol=1e-8)
        other.fit((x[~held] - mean) / std, labels[~held])
        expected = other.predict_proba((x[held] - mean) / std)
        np.testing.assert_allclose(found[held], expected, atol=1e-3)
    assert found.sum(axis=1) == pytest.approx(np.ones(60))
