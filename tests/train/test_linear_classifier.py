"""The linear classifier finds what scikit-learn's logistic regression finds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

import minidl as md
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.train.linear import LinearClassifier, deal


def clouds(rows=120, features=6, classes=3, seed=0, spread=1.5):
    """Features (rows, features) around a centre for each class, labels (rows,)."""
    random = np.random.default_rng(seed)
    labels = np.arange(rows) % classes
    centres = random.standard_normal((classes, features))
    return centres[labels] + spread * random.standard_normal((rows, features)), labels


def probabilities(classifier, x):
    scores = classifier.predict_scores(x)
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def scikit_learn(x, labels, strength):
    return LogisticRegression(C=strength, solver="newton-cholesky", tol=1e-12).fit(x, labels)


def gradient(x, labels, weight, bias, strength, classes):
    """Of strength * sum cross-entropy + 1/2 |weight|^2, by the book."""
    scores = x @ weight + bias
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    slopes = strength * (e / e.sum(axis=1, keepdims=True) - np.eye(classes)[labels])
    return np.concatenate([x.T @ slopes + weight, [slopes.sum(axis=0)]])


@pytest.mark.parametrize("strength", [1e-3, 1.0, 50.0])
@pytest.mark.parametrize("shift", [0.0, 100.0])
def test_several_classes(strength, shift):
    x, labels = clouds()
    x = x * np.array([0.1, 1, 1, 1, 3, 10]) + shift
    ours = LinearClassifier(strength, standardize=False, tolerance=1e-8).fit(x, labels)
    theirs = scikit_learn(x - x.mean(axis=0), labels, strength)  # whose solver needs it centred
    assert ours.converged
    np.testing.assert_allclose(ours.weight, theirs.coef_.T, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        probabilities(ours, x), theirs.predict_proba(x - x.mean(axis=0)), atol=1e-6
    )
    start = np.linalg.norm(gradient(x, labels, np.zeros((6, 3)), np.zeros(3), strength, 3))
    end = np.linalg.norm(gradient(x, labels, ours.weight, ours.bias, strength, 3))
    assert end <= 1e-6 * start


@pytest.mark.parametrize("strength", [1e-2, 1.0, 10.0])
def test_two_classes(strength):
    """scikit-learn has one vector for both: the difference of ours."""
    x, labels = clouds(classes=2)
    ours = LinearClassifier(strength, standardize=False, tolerance=1e-8).fit(x, labels)
    theirs = scikit_learn(x, labels, strength)
    assert ours.weight.shape == (6, 2)
    np.testing.assert_allclose(np.diff(ours.weight).T, theirs.coef_, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(np.diff(ours.bias), theirs.intercept_, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(probabilities(ours, x), theirs.predict_proba(x), atol=1e-7)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_standardized(dtype):
    x, labels = clouds()
    x = (x * np.array([1e-3, 1, 1, 1, 30, 1e3]) + np.array([0, 5, -5, 0, 100, 0])).astype(dtype)
    ours = LinearClassifier(2.0, tolerance=1e-8).fit(x, labels)
    scaler = StandardScaler().fit(x.astype(np.float64))
    theirs = scikit_learn(scaler.transform(x.astype(np.float64)), labels, 2.0)
    np.testing.assert_allclose(
        ours.weight * scaler.scale_[:, None], theirs.coef_.T, rtol=1e-4, atol=1e-6
    )
    expected = theirs.predict_proba(scaler.transform(x.astype(np.float64)))
    np.testing.assert_allclose(probabilities(ours, x), expected, atol=1e-6)


@pytest.mark.parametrize("classes", [2, 3])
def test_classes_of_different_sizes(classes):
    x, labels = clouds(classes=classes)
    kept = (labels > 0) | (np.arange(len(labels)) % 5 == 0)
    x, labels = x[kept], labels[kept]
    ours = LinearClassifier(0.5, standardize=False, tolerance=1e-8, class_weights=True)
    theirs = LogisticRegression(
        C=0.5, solver="newton-cholesky", tol=1e-12, class_weight="balanced"
    ).fit(x, labels)
    expected = theirs.predict_proba(x)
    np.testing.assert_allclose(probabilities(ours.fit(x, labels), x), expected, atol=1e-6)
    plain = probabilities(LinearClassifier(0.5, standardize=False).fit(x, labels), x)
    assert plain[:, 0].mean() < expected[:, 0].mean() - 0.01
    found = LinearClassifier.cross_validated(x, labels, seed=1, class_weights=True)
    assert found.class_weights
    alone = LinearClassifier(found.strength, class_weights=True).fit(x, labels)
    np.testing.assert_array_equal(found.weight, alone.weight)
    best = min(found.scores, key=lambda row: row["loss"])
    held = _balanced_of_held_out(x, labels, best["strength"])
    assert best["accuracy"] == pytest.approx(held, rel=1e-6)


def _balanced_of_held_out(x, labels, strength):
    """scikit-learn's balanced accuracy over all rows, each held out once."""
    guess, parts = labels * 0, deal("", labels, 5, 1)
    for part in range(5):
        held = parts == part
        scaler = StandardScaler().fit(x[~held])
        other = LogisticRegression(C=strength, tol=1e-8)
        weights = compute_sample_weight("balanced", labels)[~held]
        other.fit(scaler.transform(x[~held]), labels[~held], weights)
        guess[held] = other.predict(scaler.transform(x[held]))
    return balanced_accuracy_score(labels, guess)


def test_digits():
    images, labels = load_digits(return_X_y=True)
    train = np.arange(len(labels)) % 4 != 0
    ours = LinearClassifier(0.1, standardize=False).fit(images[train], labels[train])
    theirs = scikit_learn(images[train], labels[train], 0.1)
    assert ours.converged
    assert ours.accuracy(images[~train], labels[~train]) == theirs.score(
        images[~train], labels[~train]
    )
    np.testing.assert_array_equal(ours.predict(images[~train]), theirs.predict(images[~train]))


@given(
    st.integers(2, 5), st.integers(1, 40), st.integers(0, 30), st.floats(-3, 3), st.integers(0, 99)
)
def test_the_gradient_vanishes(classes, features, more_rows, log_strength, seed):
    """Also with more features than rows, and classes that a plane parts."""
    random = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), random.integers(0, classes, more_rows)])
    x = random.standard_normal((len(labels), features)) + labels[:, None]
    strength = 10**log_strength
    standardized = LinearClassifier(strength).fit(x, labels)
    assert standardized.converged
    found = LinearClassifier(strength, standardize=False).fit(x, labels)
    assert found.converged
    np.testing.assert_array_equal(found.predict(x), (x @ found.weight + found.bias).argmax(axis=1))
    share = strength / 2 if classes == 2 else strength
    end = gradient(x, labels, found.weight, found.bias, share, classes)
    start = gradient(x, labels, 0 * found.weight, 0 * found.bias, share, classes)
    # in the middle of the features, where it was found, the norm is at most 1e-5 of the first
    end[:-1] -= x.mean(axis=0)[:, np.newaxis] * end[-1]
    start[:-1] -= x.mean(axis=0)[:, np.newaxis] * start[-1]
    assert np.linalg.norm(end) <= 1.01e-5 * np.linalg.norm(start) + 1e-11 * share * len(x)


def test_separable_classes_and_a_large_strength():
    x, labels = clouds(spread=0.01)
    classifier = LinearClassifier(1e8).fit(x, labels)
    assert classifier.converged
    assert np.isfinite(classifier.weight).all()
    assert classifier.accuracy(x, labels) == 1


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e9, -3e-9])
def test_constant_features_count_for_nothing(constant):
    x, labels = clouds()
    with_constant = np.insert(x, 2, constant, axis=1)
    plain, more = (LinearClassifier().fit(each, labels) for each in (x, with_constant))
    np.testing.assert_array_equal(more.weight[2], 0)
    np.testing.assert_allclose(more.predict_scores(with_constant), plain.predict_scores(x))


def test_nothing_to_learn_from():
    """Every feature constant, as many rows of each class: the start is the minimum."""
    classifier = LinearClassifier().fit(np.full((6, 2), 0.3), np.arange(6) % 3)
    assert classifier.converged
    np.testing.assert_allclose(classifier.predict_scores(np.ones((1, 2))), 0, atol=1e-15)


def test_what_it_is_given_stays():
    x, labels = clouds()
    before = x.copy()
    LinearClassifier().fit(x, labels)
    LinearClassifier.cross_validated(x, labels, [0.1, 1])
    np.testing.assert_array_equal(x, before)
    ours = LinearClassifier().fit(md.tensor(x), md.tensor(labels))
    np.testing.assert_array_equal(ours.weight, LinearClassifier().fit(x, labels).weight)


def test_not_converged():
    x, labels = clouds()
    with pytest.warns(RuntimeWarning, match="has not converged in 3 iterations"):
        classifier = LinearClassifier(max_iterations=3).fit(x, labels)
    assert (classifier.converged, classifier.iterations) == (False, 3)


def test_the_same_bits_with_any_number_of_threads():
    x, labels = clouds(rows=997, features=131, classes=7)
    found = []
    try:
        for threads in range(1, md.config.num_threads + 1):
            md.set_num_threads(threads)
            found.append(LinearClassifier(10).fit(x, labels))
    finally:
        md.set_num_threads(threads)
    for each in found[1:]:
        np.testing.assert_array_equal(each.weight, found[0].weight)


def test_the_layer_gives_the_same_scores():
    x, labels = clouds()
    classifier = LinearClassifier().fit(x, labels)
    layer = classifier.to_layer()
    scores = layer(md.tensor(x.astype(np.float32)))
    assert scores.dtype == layer.weight.dtype == layer.bias.dtype == np.float32
    np.testing.assert_allclose(scores.data, classifier.predict_scores(x), rtol=1e-4, atol=1e-5)


def test_cross_validation_holds_out_what_it_measures_on():
    """Many features of noise: only held-out rows tell that a strong fit is worth nothing."""
    x, labels = clouds(rows=90, features=60, spread=4.0)
    strengths = [1e-4, 1e-2, 1.0, 100.0]
    best = LinearClassifier.cross_validated(x, labels, strengths[::-1], folds=3, seed=1)
    assert [row["strength"] for row in best.scores] == strengths
    losses = [row["loss"] for row in best.scores]
    assert best.strength == strengths[int(np.argmin(losses))] < 100
    assert LinearClassifier(100.0).fit(x, labels).accuracy(x, labels) == 1
    assert best.scores[-1]["accuracy"] < 0.9
    plain = LinearClassifier(best.strength).fit(x, labels)
    np.testing.assert_array_equal(best.weight, plain.weight)
    again = LinearClassifier.cross_validated(x, labels, strengths, folds=3, seed=1)
    assert again.scores == best.scores


def test_cross_validation_by_leaving_one_of_each_class_out():
    """With as many folds as rows a class, each part has one of each: seed alone decides which."""
    random = np.random.default_rng(3)
    labels = np.repeat(np.arange(2), 4)
    x = labels[:, None] * 2 + random.standard_normal((8, 2))
    found = LinearClassifier.cross_validated(x, labels, [0.5], folds=4, seed=7)
    shuffled = np.random.default_rng(7).permutation(8)
    zeros, ones = shuffled[shuffled < 4], shuffled[shuffled >= 4]
    losses, right = [], []
    for part in range(4):
        held = np.array([zeros[part], ones[part]])
        train = np.setdiff1d(np.arange(8), held)
        scaler = StandardScaler().fit(x[train])
        theirs = scikit_learn(scaler.transform(x[train]), labels[train], 0.5)
        expected = theirs.predict_proba(scaler.transform(x[held]))
        losses.extend(-np.log(expected[np.arange(2), labels[held]]))
        right.extend(expected.argmax(axis=1) == labels[held])
    (row,) = found.scores
    assert row["loss"] == pytest.approx(np.mean(losses), rel=1e-3)
    assert row["accuracy"] == np.mean(right)


X, LABELS = clouds(rows=9)
NAN = np.where(np.arange(9)[:, None] == 4, np.nan, X)


@pytest.mark.parametrize(
    ("features", "labels", "error", "message"),
    [
        (NAN, LABELS, ArgumentError, r"row 4 holds NaN or infinity \(1 such rows of 9\)"),
        (np.where(X[2] == X, np.inf, X), LABELS, ArgumentError, "row 2 holds NaN"),
        (X[0], LABELS, ShapeError, r"features \(N, D\), got shape \(6,\)$"),
        (X.reshape(9, 2, 3), LABELS, ShapeError, "flatten them"),
        (X[:0], LABELS[:0], ShapeError, r"got shape \(0, 6\)"),
        (X[:, :0], LABELS, ShapeError, r"got shape \(9, 0\)"),
        (np.full((9, 6), "a"), LABELS, DTypeError, "features as numbers, got dtype <U1"),
        (X, LABELS[1:], ShapeError, r"labels \(9,\) for features \(9, 6\), got shape \(8,\)"),
        (X, np.eye(3)[LABELS], ShapeError, r"argmax\(axis=1\) of one-hot"),
        (X, LABELS.astype(float), DTypeError, "labels as integers, got dtype float64"),
        (X, LABELS * 0 + 2, ArgumentError, "two or more classes, but all labels are 2"),
        (X, LABELS * 2, ArgumentError, r"none is 1 \(they are from 0 to 4\)"),
        (X, LABELS - 1, ArgumentError, r"none is 0 \(they are from -1 to 1\)"),
        (X, LABELS + 10**12, ArgumentError, "return_inverse=True"),
    ],
)
@pytest.mark.parametrize("train", [LinearClassifier().fit, LinearClassifier.cross_validated])
def test_what_it_refuses(train, features, labels, error, message):
    with pytest.raises(error, match=message):
        train(features, labels)


def test_settings_it_refuses():
    for setting in ("strength", "tolerance"):
        for value in (0, -1.0, np.nan, np.inf, "1", None):
            with pytest.raises(ArgumentError, match=f"LinearClassifier: {setting} must be"):
                LinearClassifier(**{setting: value})
    with pytest.raises(ArgumentError, match="max_iterations must be a whole number from 1 up"):
        LinearClassifier(max_iterations=0)
    for folds in (1, 2.0, True):
        with pytest.raises(ArgumentError, match="folds must be a whole number from 2 up"):
            LinearClassifier.cross_validated(X, LABELS, folds=folds)
    with pytest.raises(ArgumentError, match="4 folds need 4 rows of each class, but class 0 has 3"):
        LinearClassifier.cross_validated(X, LABELS, folds=4)
    with pytest.raises(ArgumentError, match="at least one strength, got none"):
        LinearClassifier.cross_validated(X, LABELS, [])
    for call in (lambda c: c.predict(X), lambda c: c.accuracy(X, LABELS)):
        with pytest.raises(ArgumentError, match="not trained yet: call fit first"):
            call(LinearClassifier())
    with pytest.raises(ArgumentError, match="not trained yet: call fit first"):
        LinearClassifier().to_layer()
    fitted = LinearClassifier().fit(X, LABELS)
    with pytest.raises(ShapeError, match="expected 6 features"):
        fitted.predict(X[:, 1:])
    with pytest.raises(ArgumentError, match="row 4 holds NaN"):
        fitted.predict(NAN)
    with pytest.raises(ShapeError, match="accuracy expected"):
        fitted.accuracy(X, LABELS[1:])
