"""Metrics agree with scikit-learn's."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn import metrics as oracle
from small import CLASSES, a_loader, a_model

import minidl as md
from minidl import data, nn
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.train import Trainer, accuracy
from minidl.train.metrics import (
    balanced_accuracy,
    binary_accuracy,
    by_name,
    classification_report,
    confusion_matrix,
    macro_f1,
    precision_recall,
    rank_accuracy,
    worst_mistakes,
)

WHOLE = st.integers(-3, 3)


@st.composite
def scored(draw, elements=WHOLE):
    """Scores (N, C), often with ties, and labels (N,)."""
    shape = draw(st.tuples(st.integers(1, 20), st.integers(2, 7)))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    scores = draw(arrays.arrays(dtype, shape, elements=elements))
    return scores, draw(arrays.arrays(np.int64, shape[0], elements=st.integers(0, shape[1] - 1)))


@given(scored(), st.integers(1, 9))
def test_rank_accuracy_counts_rows(case, k):
    scores, labels = case
    best = [sorted(range(len(row)), key=lambda c, row=row: (-row[c], c))[:k] for row in scores]
    expected = np.mean([label in classes for label, classes in zip(labels, best, strict=True)])
    assert rank_accuracy(k)(scores, labels) == pytest.approx(expected, rel=1e-12)
    assert rank_accuracy(1)(scores, labels) == accuracy(scores, labels)
    one_hot = np.eye(scores.shape[1])[labels]
    assert rank_accuracy(k)(scores, one_hot) == rank_accuracy(k)(scores, labels)


def test_rank_accuracy_against_scikit_learn():
    random = np.random.default_rng(0)
    scores, labels = random.standard_normal((200, 8)), random.integers(0, 8, 200)
    for k in range(1, 8):
        expected = oracle.top_k_accuracy_score(labels, scores, k=k)
        assert rank_accuracy(k)(scores, labels) == pytest.approx(expected, rel=1e-12)
    assert rank_accuracy(8)(scores, labels) == rank_accuracy(100)(scores, labels) == 1.0


def test_a_row_with_nan_is_never_right():
    scores = np.array([[0.1, 0.9], [np.nan, 0.9], [np.nan, np.nan], [-np.inf, 0.9]])
    for k in (1, 2, 3):
        assert rank_accuracy(k)(scores, np.ones(4, int)) == 0.5


def test_rank_accuracy_by_name():
    found = by_name(["rank1", "accuracy", rank_accuracy(5), "rank5"])
    assert list(found) == ["rank1", "accuracy", "rank5_accuracy", "rank5"]
    trainer = Trainer(a_model(), None, metrics=["rank1", "accuracy", "rank2", f"rank{CLASSES}"])
    row = trainer.evaluate(a_loader())
    assert row["rank1"] == row["accuracy"] <= row["rank2"] <= row[f"rank{CLASSES}"] == 1.0


# What is no class a row

ONE_LOGIT = np.array([[-1.0], [2.0], [0.5]])
SCORES = np.array([[3.0, -1.0, 2.0], [0.0, 1.0, -2.0]])


@pytest.mark.parametrize("metric", [accuracy, rank_accuracy(1), confusion_matrix])
@pytest.mark.parametrize(
    ("outputs", "targets", "error", "text"),
    [
        (SCORES, [[1, 0, 1], [0, 1, 0]], ArgumentError, "row 0 of the targets is .* binary_acc"),
        (SCORES, [[0, 1, 0], [0, 0, 0]], ArgumentError, "row 1 .* use binary_accuracy"),
        (SCORES, [[0.5, 0.5, 0.5], [0, 1, 0]], ArgumentError, "rows sum to 1; row 0"),
        (SCORES, [[2.0, -1.0, 0], [0, 1, 0]], ArgumentError, "rows sum to 1; row 0"),
        (SCORES, [[np.nan, 1, 0], [0, 1, 0]], ArgumentError, "rows sum to 1; row 0"),
        (ONE_LOGIT, [0, 1, 1], ShapeError, "C from 2"),
        (ONE_LOGIT, [[0], [1], [1]], ShapeError, "C from 2"),
        (SCORES, [0, -100], ArgumentError, "classes from 0 to 2, got -100: leave out rows"),
        (SCORES, [255, 1], ArgumentError, "got 255: leave out rows"),
        (SCORES, [0.0, 1.0], DTypeError, "classes as integers"),
        (np.zeros((2, 4, 4, 3)), np.zeros((2, 4, 4), int), ShapeError, "C from 2"),
    ],
)
def test_targets_of_another_kind_are_refused(metric, outputs, targets, error, text):
    if metric is confusion_matrix and "binary" not in text and error is ArgumentError:
        metric = lambda a, b: confusion_matrix(a, b, 3)  # noqa: E731
    with pytest.raises(error, match=text):
        metric(outputs, np.array(targets))


def test_accuracy_of_probabilities():
    """One-hot, of any type, smoothed and mixed."""
    one_hot = np.eye(3)[[0, 2]]
    for targets in (one_hot, one_hot.astype(bool), one_hot.astype(int), one_hot * 0.9 + 0.1 / 3):
        assert accuracy(SCORES, targets) == 0.5
    assert accuracy(np.array([[np.nan, 0.0], [1.0, 0.0]]), np.array([0, 0])) == 0.5


def test_binary_accuracy():
    """Entry by entry: those of logits above 0 are 1."""
    assert binary_accuracy(ONE_LOGIT, np.array([[0], [1], [0]])) == 2 / 3
    assert binary_accuracy(ONE_LOGIT[:, 0], np.array([False, True, True])) == 1
    labels = np.array([[1, 0, 0], [1, 1, 0]], np.float32)
    truth = [[True, False, True], [False, True, False]]  # of SCORES
    assert binary_accuracy(SCORES, labels) == np.mean(labels.astype(bool) == np.array(truth))
    assert binary_accuracy(np.array([np.nan, 0.0]), np.array([0, 0])) == 0.5


@pytest.mark.parametrize(
    ("outputs", "targets", "error", "text"),
    [
        (ONE_LOGIT, [0, 1, 1], ShapeError, r"shapes \(3, 1\) and \(3,\)"),
        (SCORES, [0, 1], ShapeError, "targets of the logits' shape"),
        (ONE_LOGIT, [[0], [2], [1]], ArgumentError, "others, such as 2"),
        (ONE_LOGIT, [[0], [0.5], [1]], ArgumentError, "others, such as 0.5"),
        (np.zeros((0, 2)), np.zeros((0, 2)), ShapeError, "one or more"),
    ],
)
def test_what_binary_accuracy_refuses(outputs, targets, error, text):
    with pytest.raises(error, match=text):
        binary_accuracy(outputs, np.array(targets))


def test_rows_that_the_loss_ignores_count_in_no_metric():
    """Also in the weights of batches: one with a single row that counts weighs one row."""
    x = np.random.default_rng(0).standard_normal((6, 5)).astype(np.float32)
    labels = np.array([0, 1, -100, -100, -100, 2])
    loader = data.DataLoader(data.ArrayDataset(x, labels), 4)
    model = a_model()
    loss = nn.CrossEntropyLoss(ignore_index=-100)
    metrics = ["accuracy", "rank2"]
    row = Trainer(model, None, loss, metrics).evaluate(loader)
    kept = data.DataLoader(data.ArrayDataset(x[[0, 1, 5]], labels[[0, 1, 5]]), 3)
    alone = Trainer(model, None, metrics=metrics).evaluate(kept)
    assert row.keys() == alone.keys()
    for name, value in alone.items():
        assert row[name] == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("name", ["rank0", "rank", "rank-1", "rank05", "rank5 ", "Rank5"])
def test_names_that_are_none(name):
    with pytest.raises(ArgumentError, match=f"got '{name}' .or 'rank5' and the like"):
        by_name([name])


def test_what_rank_accuracy_refuses():
    for k in (0, -1, 1.0, True, "5"):
        with pytest.raises(ArgumentError, match="rank_accuracy: k must be a whole number from 1"):
            rank_accuracy(k)
    metric, scores = rank_accuracy(2), np.zeros((3, 4))
    for shape, labels in [((3, 4), (2,)), ((3,), (3,)), ((0, 4), (0,)), ((3, 4, 1), (3,))]:
        with pytest.raises(
            ShapeError, match=r"expected scores \(N, C\), C from 2, and labels \(N,\)"
        ):
            metric(np.zeros(shape), np.zeros(labels, int))
    for label in (4, -1):
        with pytest.raises(ArgumentError, match=f"classes from 0 to 3, got {label}"):
            metric(scores, np.array([0, label, 1]))
    with pytest.raises(DTypeError, match="classes as integers, got dtype float64"):
        metric(scores, np.zeros(3))


@given(scored())
def test_confusion_matrix(case):
    scores, labels = case
    classes = list(range(scores.shape[1]))
    expected = oracle.confusion_matrix(labels, scores.argmax(axis=1), labels=classes)
    found = confusion_matrix(scores, labels)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, expected)
    guesses = scores.argmax(axis=1)
    np.testing.assert_array_equal(confusion_matrix(guesses, labels, len(classes)), expected)
    wide = confusion_matrix(md.tensor(scores), md.tensor(labels), len(classes) + 2)
    np.testing.assert_array_equal(wide, np.pad(expected, (0, 2)))
    small = confusion_matrix(guesses.astype(np.uint8), labels.astype(np.int8))
    np.testing.assert_array_equal(small, expected[: len(small), : len(small)])


def test_what_confusion_matrix_refuses():
    with pytest.raises(ArgumentError, match="classes from 0 to 1, got 2"):
        confusion_matrix(np.array([0, 2]), np.array([0, 1]), 2)
    with pytest.raises(ArgumentError, match="got -1"):
        confusion_matrix(np.array([0, 1]), np.array([0, -1]))
    with pytest.raises(ArgumentError, match="row 1 of the scores holds NaN"):
        confusion_matrix(np.array([[0, 1], [np.nan, 1]]), np.array([0, 1]))
    for guesses, truths in [(3, 2), (0, 0)]:
        with pytest.raises(ShapeError, match=f"a guess for each target, got {guesses} and"):
            confusion_matrix(np.zeros(guesses, int), np.zeros(truths, int))
    with pytest.raises(DTypeError, match="classes as integers"):
        confusion_matrix(np.zeros(3), np.zeros(3, int))
    with pytest.raises(ArgumentError, match="num_classes must be"):
        confusion_matrix(np.zeros(3, int), np.zeros(3, int), 0)


@given(scored())
def test_precision_and_recall(case):
    scores, labels = case
    rows = precision_recall(confusion_matrix(scores, labels))
    precision, recall, f1, count = oracle.precision_recall_fscore_support(
        labels, scores.argmax(axis=1), labels=range(scores.shape[1]), zero_division=np.nan
    )
    assert [row["class"] for row in rows] == list(range(scores.shape[1]))
    np.testing.assert_allclose([row["f1"] for row in rows], f1, rtol=1e-12)
    np.testing.assert_allclose([row["precision"] for row in rows], precision, rtol=1e-12)
    np.testing.assert_allclose([row["recall"] for row in rows], recall, rtol=1e-12)
    assert [row["count"] for row in rows] == list(count)
    assert all(type(row["count"]) is int and type(row["recall"]) is float for row in rows)


@given(scored())
@pytest.mark.filterwarnings("ignore:y_pred contains classes not", "ignore:A single label was found")
def test_means_over_the_classes(case):
    scores, labels = case
    confusion, guess = confusion_matrix(scores, labels), scores.argmax(axis=1)
    expected = oracle.balanced_accuracy_score(labels, guess)
    assert balanced_accuracy(confusion) == pytest.approx(expected, rel=1e-12)
    f1 = oracle.f1_score(labels, guess, labels=np.unique(labels), average="macro")
    assert macro_f1(confusion) == pytest.approx(f1, rel=1e-12)


def test_the_report_is_a_table():
    confusion = np.array([[3, 1, 0], [0, 12, 0], [0, 0, 0]])
    assert classification_report(confusion, ["ants", "bees\n\x1b[31m", "none"]).splitlines() == [
        "class       precision  recall      f1  count",
        "--------------------------------------------",
        "ants           1.0000  0.7500  0.8571      4",
        "bees??[31m     0.9231  1.0000  0.9600     12",
        "none                -       -       -      0",
        "--------------------------------------------",
        "accuracy 0.9375, 15 of 16",
        "balanced accuracy 0.8750, macro F1 0.9086",
    ]
    empty = classification_report(confusion * 0).splitlines()[-2:]
    assert empty == ["accuracy -, 0 of 0", "balanced accuracy -, macro F1 -"]
    assert math.isnan(precision_recall(confusion)[2]["precision"])


def test_what_the_report_refuses():
    with pytest.raises(ShapeError, match=r"a matrix \(C, C\), got shape \(2, 3\)"):
        precision_recall(np.zeros((2, 3), int))
    with pytest.raises(ShapeError, match="names of 2 classes, got 1"):
        classification_report(np.zeros((2, 2), int), ["ants"])


@given(scored(elements=st.floats(-8, 8, width=32)), st.integers(1, 30))
def test_worst_mistakes(case, count):
    scores, labels = case
    found = worst_mistakes(scores, labels, count)
    exact = scores.astype(np.float64)
    sure = (np.exp(exact) / np.exp(exact).sum(axis=1, keepdims=True)).max(axis=1)
    wrong = [i for i, row in enumerate(scores) if row.argmax() != labels[i]]
    assert len(found) == min(count, len(wrong))
    assert len(set(found)) == len(found)
    assert set(found) <= set(wrong)
    assert all(a >= b - 1e-12 for a, b in zip(sure[found], sure[found][1:]))
    left = set(wrong) - set(found)
    assert all(sure[found].min() >= sure[i] - 1e-12 for i in left)


def test_worst_mistakes_where_probabilities_round_to_one():
    scores = np.array([[60.0, 0], [90.0, 0], [0, 70.0], [0, 1e30], [1, 1], [1, 1]])
    labels = np.array([1, 1, 0, 1, 1, 1])
    assert worst_mistakes(scores, labels, 9).tolist() == [1, 2, 0, 4, 5]
    assert worst_mistakes(scores, labels, 2).tolist() == [1, 2]
    with np.errstate(divide="ignore"):
        certain = np.log([[0.4, 0.6], [1.0, 0.0]])  # probabilities
    assert worst_mistakes(certain, np.array([0, 1]), 5).tolist() == [1, 0]
    assert worst_mistakes(certain, np.array([1, 0]), 5).tolist() == []


@pytest.mark.parametrize("score", [np.nan, np.inf])
def test_scores_without_probabilities(score):
    with pytest.raises(ArgumentError, match=f"row 1 of the scores has the largest score {score}"):
        worst_mistakes(np.array([[0, 1], [score, 1]]), np.array([0, 1]), 1)
