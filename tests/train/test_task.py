"""What is asked of images: figures against scikit-learn, views joined against probabilities."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.special import softmax as _softmax
from sklearn import linear_model, metrics

import minidl as md
from minidl import models
from minidl.train.finetuning import _tried
from minidl.train.label_metrics import average_precision
from minidl.train.linear_fit import fit, held_out_scores, label_entropy, squares
from minidl.train.probe import fit_probe, put_into_head
from minidl.train.task import TASKS, Classes, Labels, Numbers


def softmax(scores):
    return _softmax(scores, axis=-1)


# The figures of a report, against scikit-learn


@pytest.fixture(scope="module")
def guesses():
    random = np.random.default_rng(0)
    labels = random.integers(0, 7, 60)
    labels[labels == 5] = 4  # a class without images
    scores = 3 * random.standard_normal((60, 7))
    scores[np.arange(60), labels] += 2
    scores[:, 6] -= 20  # and one that is never guessed
    return scores, labels


def test_figures(guesses):
    scores, labels = guesses
    classes = list("abcdefg")
    found = Classes(labels).figures(scores, labels, classes)
    guess, numbers = scores.argmax(axis=1), np.arange(7)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(labels, guess))
    rank5 = metrics.top_k_accuracy_score(labels, scores, k=5, labels=numbers)
    assert found["rank5"] == pytest.approx(rank5)
    loss = metrics.log_loss(labels, softmax(scores), labels=numbers)
    assert found["loss"] == pytest.approx(loss, rel=1e-6)
    confusion = metrics.confusion_matrix(labels, guess, labels=numbers)
    assert found["confusion"] == confusion.tolist()
    precision, recall, _, count = metrics.precision_recall_fscore_support(
        labels, guess, labels=numbers, zero_division=np.nan
    )
    assert [row["class"] for row in found["per_class"]] == classes
    for name, expected in (("precision", precision), ("recall", recall), ("count", count)):
        np.testing.assert_allclose([row[name] for row in found["per_class"]], expected)
    assert np.isnan(precision).any()
    assert np.isnan(recall).any()


def test_few_classes_have_no_rank5():
    scores, labels = np.eye(5), np.arange(5)
    assert Classes(labels).figures(scores, labels, list("abcde"))["rank5"] is None
    assert Classes(np.arange(6)).figures(np.eye(6), np.arange(6), list("abcdef"))["rank5"] == 1


def test_mistakes(guesses):
    scores, labels = guesses
    classes = list("abcdefg")
    shares = softmax(scores)
    guess = shares.argmax(axis=1)
    wrong = sorted(np.flatnonzero(guess != labels), key=lambda i: -shares[i, guess[i]])
    task = Classes(labels)
    found = task.mistakes(scores, labels, classes, 4)
    assert [i for i, _ in found] == wrong[:4]
    for i, row in found:
        assert (row["truth"], row["guess"]) == (classes[labels[i]], classes[guess[i]])
        assert row["probability"] == pytest.approx(shares[i, guess[i]])
    assert len(task.mistakes(scores, labels, classes, 1000)) == len(wrong)
    assert task.mistakes(np.eye(3), np.arange(3), list("abc"), 5) == []


# Labels


def labelled(rows=80, labels=4, seed=0):
    random = np.random.default_rng(seed)
    truths = (random.random((rows, labels)) < (0.1, 0.5, 0.9, 0.3)[:labels]).astype(np.float32)
    scores = random.standard_normal((rows, labels)) * 2 + truths
    return np.round(scores, 1), truths  # some equal scores


def test_labels_like_scikit_learn():
    scores, truths = labelled()
    found = Labels(truths).figures(scores, truths, list("abcd"))
    given = scores > 0
    assert found["accuracy"] == pytest.approx((given == truths).mean())
    assert found["exact"] == pytest.approx(metrics.accuracy_score(truths, given))
    assert found["f1"] == pytest.approx(metrics.f1_score(truths, given, average="macro"))
    assert found["average_precision"] == pytest.approx(
        metrics.average_precision_score(truths, scores, average="macro")
    )
    assert found["loss"] == pytest.approx(
        np.mean([metrics.log_loss(truths[:, i], expit(scores[:, i])) for i in range(4)])
    )
    for i, row in enumerate(found["per_class"]):
        assert row["f1"] == pytest.approx(metrics.f1_score(truths[:, i], given[:, i]))
        assert row["count"] == truths[:, i].sum()


def test_a_label_that_no_image_has():
    scores, truths = labelled()
    truths[:, 1] = 0
    found = Labels(truths).figures(scores, truths, list("abcd"))
    assert np.isnan(found["per_class"][1]["average_precision"])
    rest = [0, 2, 3]
    assert found["average_precision"] == pytest.approx(
        metrics.average_precision_score(truths[:, rest], scores[:, rest], average="macro")
    )


def test_average_precision_of_equal_scores():
    assert average_precision([1, 1, 1, 1], [0, 1, 0, 0]) == pytest.approx(0.25)
    with pytest.raises(md.errors.ShapeError):
        average_precision([1, 2], [1])


def test_mistakes_of_labels():
    scores = np.array([[3.0, -2.0], [-1.0, 5.0], [-1.0, -1.0]])
    truths = np.array([[1, 0], [0, 0], [0, 1]], np.float32)
    found = Labels(truths).mistakes(scores, truths, ["cat", "dog"], 5)
    assert [i for i, _ in found] == [1, 2]
    assert found[0][1] == {"truth": "none", "guess": "dog", "probability": None}
    assert found[1][1]["truth"] == "dog"


# Numbers


def test_numbers_like_scikit_learn():
    random = np.random.default_rng(0)
    truths = random.normal((5, 100), (1, 30), (40, 2)).astype(np.float32)
    scores = truths + random.normal(0, (0.5, 20), (40, 2))
    found = Numbers(truths).figures(scores, truths, ["a", "b"])
    assert found["r2"] == pytest.approx(metrics.r2_score(truths, scores))
    for i, row in enumerate(found["per_class"]):
        truth, score = truths[:, i], scores[:, i]
        assert row["mae"] == pytest.approx(metrics.mean_absolute_error(truth, score))
        assert row["rmse"] == pytest.approx(metrics.root_mean_squared_error(truth, score))
        assert row["spread"] == pytest.approx(np.abs(truth - np.median(truth)).mean())
    told = Numbers(truths).mistakes(scores, truths, ["a", "b"], 3)
    assert len(told) == 3
    assert told[0][1]["truth"].startswith("a ")


def test_training_sees_numbers_in_standard_units():
    """And whatever the unit, the network gives the same before and after."""
    targets = np.random.default_rng(0).normal(1e4, 2e3, (30, 1)).astype(np.float32)
    task = Numbers(targets)
    network = models.create("lenet5", num_classes=1).eval()
    images = np.random.default_rng(1).random((5, 32, 32, 1)).astype(np.float32)
    before = network(images).data
    task.to_standard(network)
    standard = network(images).data
    np.testing.assert_allclose(standard, task.standard(before), atol=1e-5)
    own = ((standard - task.standard(targets[:5])) ** 2).mean()
    assert task.loss()(md.tensor(standard), targets[:5]).item() == pytest.approx(own, rel=1e-5)
    task.from_standard(network)
    np.testing.assert_allclose(network(images).data, before, atol=1e-2)  # of thousands


# Views


def test_joined():
    views = np.random.default_rng(0).normal(0, 3, (6, 4, 3))  # (N, V, C)
    of_classes = Classes(np.arange(3)).joined(views)
    np.testing.assert_allclose(np.exp(of_classes), softmax(views).mean(axis=1))
    of_labels = Labels(np.zeros((1, 3))).joined(views)
    np.testing.assert_allclose(of_labels, logit(expit(views).mean(axis=1)))
    of_numbers = Numbers(np.zeros((2, 3))).joined(views)
    np.testing.assert_allclose(of_numbers, views.mean(axis=1))


def test_joined_far_from_0():
    views = np.array([[[800.0, -800.0], [700.0, -900.0]]])
    assert np.isfinite(Labels(np.zeros((1, 2))).joined(views)).all()


# Linear models


def test_label_entropy_like_scikit_learn():
    random = np.random.default_rng(0)
    x = random.standard_normal((60, 5))
    targets = (x[:, :2] + random.standard_normal((60, 2)) > 0).astype(float)
    found = fit(x.copy(), targets, label_entropy, 2, 0.7, np.ones(60), False, 1e-8)
    for i in range(2):
        own = linear_model.LogisticRegression(C=0.7, tol=1e-8).fit(x, targets[:, i])
        np.testing.assert_allclose(found.weight[:, i], own.coef_[0], rtol=1e-4)
        np.testing.assert_allclose(found.bias[i], own.intercept_[0], rtol=1e-4, atol=1e-6)


def test_squares_like_scikit_learn():
    random = np.random.default_rng(0)
    x, targets = random.standard_normal((60, 5)), random.standard_normal((60, 2))
    found = fit(x.copy(), targets, squares, 2, 0.5, np.ones(60), False, 1e-9)
    own = linear_model.Ridge(alpha=2).fit(x, targets)
    np.testing.assert_allclose(found.weight.T, own.coef_, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(found.bias, own.intercept_, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("objective", [label_entropy, squares])
def test_slopes(objective):
    random = np.random.default_rng(0)
    scores, targets = random.normal(0, 2, (4, 3)), random.integers(0, 2, (4, 3)).astype(float)
    slopes = objective(scores, targets)[1]
    for at in np.ndindex(scores.shape):
        step = np.zeros_like(scores)
        step[at] = 1e-6
        rise = objective(scores + step, targets)[0] - objective(scores - step, targets)[0]
        assert slopes[at] == pytest.approx(rise.sum() / 2e-6, abs=1e-6)


def test_held_out_rows_have_no_say():
    random = np.random.default_rng(0)
    x, targets = random.standard_normal((30, 4)), random.standard_normal((30, 1))
    held = np.arange(30) < 10
    rest = held, squares, 1, [0.1, 1.0], np.ones(30)
    found = held_out_scores(x, targets, *rest)
    targets[held] += 5
    np.testing.assert_array_equal(found, held_out_scores(x, targets, *rest))
    train = x[~held]
    mean, scale = train.mean(axis=0), train.std(axis=0)
    own = linear_model.Ridge(alpha=1.0).fit((train - mean) / scale, targets[~held])
    np.testing.assert_allclose(
        found[1], own.predict((x[held] - mean) / scale).reshape(-1, 1), atol=1e-3
    )


def test_the_least_that_a_deviation_counts_as():
    """Ridge regression of features divided by that, as scikit-learn has it."""

    def scale_of(x):
        deviations = x[:, :3].std(axis=0)  # the last feature is constant
        least = 0.3 * np.sqrt((deviations**2).mean())
        return np.array([*np.maximum(deviations, least), 1])

    random = np.random.default_rng(0)
    x = random.standard_normal((60, 4)) * [1, 1e-4, 0.5, 0]
    targets = random.standard_normal((60, 1))
    scale = scale_of(x)
    assert scale[1] > 1e3 * x[:, 1].std()
    own = linear_model.Ridge(alpha=2).fit(x / scale, targets)
    found = fit(x.copy(), targets, squares, 1, 0.5, np.ones(60), tolerance=1e-9, floor=0.3)
    np.testing.assert_allclose(found.weight[:, 0], own.coef_ / scale, rtol=1e-5, atol=1e-7)
    held = np.arange(60) < 10
    found = held_out_scores(x, targets, held, squares, 1, [0.5], np.ones(60), floor=0.3)
    scale = scale_of(x[10:])
    own = linear_model.Ridge(alpha=2).fit(x[10:] / scale, targets[10:])
    np.testing.assert_allclose(found[0], own.predict(x[:10] / scale).reshape(-1, 1), atol=1e-3)


@pytest.mark.parametrize("task", [Classes, Labels, Numbers])
def test_a_feature_that_hardly_varies_in_training_decides_nothing(task):
    random = np.random.default_rng(0)
    features = random.standard_normal((40, 6)).astype(np.float32)
    targets = np.arange(40) % 2
    features[:, 0] += 2 * targets
    features[:, 1] = 1e-4 * targets  # it tells all, as far as these images go
    if task is not Classes:
        targets = targets[:, np.newaxis].astype(np.float32)  # (N,) -> (N, 1)
    probe = fit_probe([(features, targets)], task(targets), seed=0)
    typical = np.abs(probe.weight[0]).max()
    assert np.abs(probe.weight[1]).max() < typical


def test_a_feature_of_another_scale_hides_no_other():
    random = np.random.default_rng(0)
    features, targets = random.standard_normal((240, 6)), np.arange(240) % 2
    features[:, 0] += 4 * targets
    features[:, 5] *= 1e6
    probe = fit_probe([(features[:40], targets[:40])], Classes(targets[:40]), seed=0)
    scores = features[40:] @ probe.weight + probe.bias
    assert (scores.argmax(axis=1) == targets[40:]).mean() > 0.95  # 0.977 without the last


@pytest.mark.parametrize("name", TASKS)
def test_the_probe_gives_what_was_fitted(name):
    random = np.random.default_rng(0)
    features = random.standard_normal((40, 84)).astype(np.float32)
    targets = {
        "classes": np.arange(40) % 3,
        "labels": (random.random((40, 3)) < 0.5).astype(np.float32),
        "numbers": random.normal(50, 20, (40, 3)).astype(np.float32),
    }[name]
    task = TASKS[name](targets)
    probe = fit_probe([(features, targets)], task, seed=0)
    network = models.create("lenet5", num_classes=3)
    put_into_head(network, probe)
    task.from_standard(network)
    layer = dict(network.named_modules())[network.scoring_layer]
    scores = layer(features).data
    assert scores.dtype == np.float32
    wanted = features @ probe.weight + probe.bias
    if name == "numbers":
        wanted = wanted * targets.std(axis=0) + targets.mean(axis=0)
    np.testing.assert_allclose(scores, wanted, rtol=1e-3, atol=1e-3)
    again = fit_probe([(features, targets)], task, seed=0)
    np.testing.assert_array_equal(again.weight, probe.weight)


def test_what_shares_of_the_way_are_judged_by_has_its_name():
    row = {"share": 0.0, "accuracy": 0.5, "loss": 0.5}
    approach = SimpleNamespace(tried=[row], share=0.0, lr=1e-3)
    for name, said in (("labels", "labels right"), ("numbers", "variance told")):
        told = _tried(approach, TASKS[name](np.float32([[0], [1]])))
        assert said in told.splitlines()[1]
        assert "accuracy" not in told
