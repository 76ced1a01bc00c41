"""The four ways of transfer learning, on digits for a network that knows MNIST's."""

import numpy as np
import pytest
from sklearn import metrics
from small import bits

import minidl as md
from minidl import models
from minidl.data import transforms
from minidl.data.digits import few_digits
from minidl.errors import ArgumentError
from minidl.train.callbacks import Callback
from minidl.train.results import figures, mistakes
from minidl.train.transfer import Transfer

NAMES = ["linear probe", "warm-up", "fine-tuned", "from scratch"]
WARM_UP, EPOCHS = 4, 3


def transfer(seed=0, scratch=models.lenet5, **settings):
    md.manual_seed(seed)
    network = models.create("lenet5", weights="mnist")
    training, validation = few_digits()
    moved = transforms.RandomAffine(
        10, translate=(0.1, 0.1), shear=10, scale=(0.9, 1.1), fill="edge"
    )
    return Transfer(
        network, scratch, training, validation, training.classes,
        **{
            "prepare": transforms.prepare(network.image_format), "augment": [moved],
            "warm_up": WARM_UP, "epochs": EPOCHS, "seed": seed, "progress": False, **settings,
        },
    )  # fmt: skip


@pytest.fixture(scope="module")
def done():
    return list(transfer())


def accuracy(approach):
    labels = few_digits()[1].labels
    return (approach.scores.argmax(axis=1) == labels).mean()


def test_four_ways_in_order(done):
    assert [each.name for each in done] == NAMES
    for each in done:
        assert each.scores.shape == (len(few_digits()[1]), 10)
        # what is measured are probabilities' logarithms
        np.testing.assert_allclose(np.exp(each.scores).sum(axis=1), 1)
        assert each.seconds > 0


def test_what_was_learnt_of_mnist_is_worth_something(done):
    probe, warm, fine, scratch = map(accuracy, done)
    assert min(probe, warm, fine) > 0.8 > 0.7 > scratch


def test_rows_and_models(done):
    probe, warm, fine, scratch = done
    assert (probe.rows, probe.model) == ([], None)
    for each, epochs in ((warm, WARM_UP), (fine, EPOCHS), (scratch, EPOCHS)):
        assert [row["epoch"] for row in each.rows] == list(range(1, epochs + 1))
        assert {"loss", "accuracy", "val_loss", "val_accuracy"} <= each.rows[0].keys()
        assert each.model.classes == [str(digit) for digit in range(10)]
        assert each.model.image_format == done[1].model.image_format is not None
    assert warm.model is fine.model
    assert scratch.model is not fine.model


def test_trained_parameters(done):
    head = (400 * 120 + 120) + (120 * 84 + 84) + (84 * 10 + 10)
    first, second = 5 * 5 * 6 + 6, 5 * 5 * 6 * 16 + 16
    # half of the layers that learn, C1 and C3, is C1
    assert [each.trained_parameters for each in done] == [
        400 * 10 + 10, head, head + second, head + first + second,
    ]  # fmt: skip
    (*_, fine) = transfer(freeze="features.2", warm_up=1, epochs=1, scratch=None)
    assert fine.trained_parameters == head


def test_without_the_network_from_scratch():
    found = list(transfer(warm_up=1, epochs=1, scratch=None))
    assert [each.name for each in found] == NAMES[:3]


def results(approaches):
    rows = [[row | {"seconds": 0} for row in each.rows] for each in approaches]
    weights = [each.model.state_dict() for each in approaches if each.model is not None]
    return bits([[each.scores for each in approaches], rows, weights])


def test_the_same_seed_gives_the_same_bits():
    short = {"warm_up": 1, "epochs": 1, "mixup": 0.4}
    first, again = (results(list(transfer(3, workers=n, **short))) for n in (2, 0))
    assert first == again
    assert results(list(transfer(4, **short))) != first


@pytest.mark.parametrize("freeze", ["features.9", "classifier.0", "0", ""])
def test_an_unknown_layer_is_refused_at_once(freeze):
    with pytest.raises(ArgumentError, match=r"freeze= must be a layer of the body.*features\.0, "):
        transfer(freeze=freeze)


def test_the_frozen_part_stays_and_the_rest_is_trained():
    before = models.create("lenet5", weights="mnist").state_dict()
    *_, fine = transfer(freeze="features.0", warm_up=1, epochs=1, scratch=None)
    for name, array in fine.model.state_dict().items():
        assert np.array_equal(array, before[name]) is name.startswith("features.0"), name


def test_warming_up_leaves_the_body_as_it_is():
    ways = transfer(warm_up=1)
    before = ways.network.features.state_dict()
    before = {name: array.copy() for name, array in before.items()}
    ways.warmed_up(ways.network)
    for name, array in ways.network.features.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def softmax(scores):
    shares = np.exp(scores.astype(np.float64))
    return shares / shares.sum(axis=1, keepdims=True)


def test_mirrored_images_count_as_much(done):
    """The mean of the probabilities of an image and its mirror image."""
    ways = transfer(mirror=True, warm_up=1)
    warm = ways.warmed_up(ways.network)
    images = ways.validation.arrays[0]
    with md.no_grad():
        views = []
        for pixels in (images, images[:, :, ::-1]):
            for transform in ways.prepare:
                pixels = transform(np.ascontiguousarray(pixels), None)
            views.append(softmax(warm.model.eval()(pixels).data))
    np.testing.assert_allclose(np.exp(warm.scores), sum(views) / 2, atol=1e-6)
    assert np.abs(views[0] - views[1]).max() > 0.1


def test_callbacks_are_made_for_each_way():
    names, told = [], []

    class Listen(Callback):
        def __init__(self, name):
            self.name = name

        def on_epoch_end(self, trainer, row):
            told.append(self.name)

    def make(name):
        names.append(name)
        return [Listen(name)]

    list(transfer(callbacks=make, warm_up=2, epochs=1))
    assert names == NAMES[1:]
    assert told == ["warm-up", "warm-up", "fine-tuned", "from scratch"]


def test_what_is_measured_are_averaged_weights():
    """A moving average of the weights after each batch, in float64, none before the first."""
    averages, weight = {}, 0.0

    class Average(Callback):
        def on_batch_end(self, trainer, means):
            nonlocal weight
            weight = 0.98 * weight + 0.02
            for name, p in trainer.model.named_parameters():
                averages[name] = 0.98 * averages.get(name, 0.0) + 0.02 * p.data.astype(np.float64)

    ways = transfer(epochs=1, callbacks=lambda name: [Average()])
    network = models.lenet5()
    scratch = ways.from_scratch(network)
    for name, p in scratch.model.named_parameters():
        np.testing.assert_allclose(p.data, averages[name] / weight, atol=1e-6, err_msg=name)


def test_scores_too_far_apart_for_float64():
    ways = transfer()
    far = np.array([[0, 2000.0], [2000, 0]])
    scores = ways._scores(lambda loader: far)
    assert np.isfinite(scores).all()
    np.testing.assert_array_equal(scores.argmax(axis=1), [1, 0])


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
    found = figures(scores, labels, classes)
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
    assert figures(scores, labels, list("abcde"))["rank5"] is None
    assert figures(np.eye(6), np.arange(6), list("abcdef"))["rank5"] == 1


def test_mistakes(guesses):
    scores, labels = guesses
    classes = list("abcdefg")
    shares = softmax(scores)
    guess = shares.argmax(axis=1)
    wrong = sorted(np.flatnonzero(guess != labels), key=lambda i: -shares[i, guess[i]])
    found = mistakes(scores, labels, classes, 4)
    assert [i for i, _ in found] == wrong[:4]
    for i, row in found:
        assert (row["truth"], row["guess"]) == (classes[labels[i]], classes[guess[i]])
        assert row["probability"] == pytest.approx(shares[i, guess[i]])
    assert len(mistakes(scores, labels, classes, 1000)) == len(wrong)
    assert mistakes(np.eye(3), np.arange(3), list("abc"), 5) == []


def test_classes_of_few_images():
    """Five folds need five images of each class."""
    ways = transfer()
    ways.training = few_digits(3)[0]
    assert accuracy(ways.probe(ways.network)) > 0.6
