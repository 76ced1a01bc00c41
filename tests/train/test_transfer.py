"""The ways of transfer learning, on digits for a network that knows MNIST's."""

import copy

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.utils.class_weight import compute_class_weight
from small import bits

import minidl as md
from minidl import models, nn
from minidl.data import transforms
from minidl.data.dataset import LabelledImages
from minidl.data.digits import few_digits
from minidl.data.splits import Subset
from minidl.errors import ArgumentError
from minidl.nn.modes import evaluating
from minidl.train import transfer as module
from minidl.train.callbacks import Callback
from minidl.train.shares import Tried
from minidl.train.transfer import Transfer

NAMES = ["linear probe", "fine-tuned", "from scratch"]
EPOCHS = 10


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
            "epochs": EPOCHS, "lr": 3e-4, "seed": seed, "progress": False, **settings,
        },
    )  # fmt: skip


@pytest.fixture(scope="module")
def done():
    """Each way, with what its network gave for the validation images when it was done."""
    ways = transfer()
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tried, "best", lambda self: 0.5)
        for each in ways:
            with evaluating(each.model):
                found.append((each, softmax(each.model(prepared(ways)).data)))
    return found


def prepared(ways, change=lambda images: images):
    images = np.ascontiguousarray(change(ways.validation.arrays[0]))
    for transform in ways.prepare:
        images = transform(images, None)
    return images


def softmax(scores):
    shares = np.exp(scores.astype(np.float64))
    return shares / shares.sum(axis=1, keepdims=True)


def accuracy(approach):
    labels = few_digits()[1].labels
    return (approach.scores.argmax(axis=1) == labels).mean()


def loss(approach):
    labels = few_digits()[1].labels
    return -approach.scores[np.arange(len(labels)), labels].mean()


def test_the_ways_in_order(done):
    assert [each.name for each, _ in done] == NAMES
    for each, shares in done:
        # what is measured are the logarithms of the network's probabilities
        np.testing.assert_allclose(np.exp(each.scores), shares, atol=1e-6)
        assert each.seconds > 0
        assert each.model.classes == [str(digit) for digit in range(10)]
        assert not any(module.frozen for module in each.model.modules())


def test_what_was_learnt_of_mnist_is_worth_something(done):
    probe, fine, scratch = (accuracy(each) for each, _ in done)
    assert min(probe, fine) > 0.9 > scratch + 0.05
    probe, fine, scratch = (loss(each) for each, _ in done)
    assert fine < probe < scratch


def test_rows_and_counts(done):
    (probe, fine, scratch) = (each for each, _ in done)
    assert (probe.rows, probe.share, probe.tried) == ([], None, [])
    for each, epochs in ((fine, EPOCHS), (scratch, 3 * EPOCHS)):
        assert [row["epoch"] for row in each.rows] == list(range(1, epochs + 1))
        assert {"loss", "accuracy", "val_loss", "val_accuracy"} <= each.rows[0].keys()
    every = models.lenet5().num_parameters
    assert [each.trained_parameters for each in (probe, fine, scratch)] == [
        84 * 10 + 10, every, every,
    ]  # fmt: skip
    assert [row["share"] for row in fine.tried] == [0, 0.25, 0.5, 0.75, 1]
    assert fine.share == 0.5


def test_more_freedom_is_taken_where_it_pays():
    """Black digits on white are new to a body that has learnt white ones on black."""
    ways = transfer(scratch=None, lr=1e-3)
    ways.training, ways.validation = map(inverted, few_digits(30))
    probe, fine = ways
    assert fine.share > 0
    held_out = {row["share"]: row for row in fine.tried}
    assert held_out[fine.share]["loss"] < held_out[0]["loss"]
    probe, fine = (each.scores.argmax(axis=1) == ways.validation.labels for each in (probe, fine))
    assert fine.mean() > probe.mean()


def inverted(digits):
    images, labels = digits.arrays
    return LabelledImages(images.min() + images.max() - images, labels, digits.classes)


@pytest.mark.parametrize("weight", [None, "balanced"])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_last_layer_is_logistic_regression_on_what_it_takes(monkeypatch, weight, share):
    """Wherever between the probe and the end of fine-tuning the body is."""
    monkeypatch.setattr(Tried, "best", lambda self: share)
    ways = transfer(scratch=None, class_weights=weight is not None, epochs=2)
    if weight is not None:
        ways.training = with_few_zeros(ways.training)
    _, fine = ways
    body = copy.deepcopy(fine.model).eval()
    body.classifier[-1] = nn.Identity()
    start = models.create("lenet5", weights="mnist").features[0].weight.data
    assert (np.abs(body.features[0].weight.data - start).max() > 1e-4) == (share > 0)

    def features(images):
        for transform in ways.prepare:
            images = transform(images, None)
        with md.no_grad():
            return body(images).data.astype(np.float64)

    x = features(ways.training.batch(range(len(ways.training)))[0])
    mean, std = x.mean(axis=0), x.std(axis=0)
    least = 0.3 * np.sqrt((std[std > 0] ** 2).mean())
    std = np.where(std > 0, np.maximum(std, least), 1)
    strength = ways._probe.strength
    oracle = LogisticRegression(C=strength, tol=1e-8, max_iter=5000, class_weight=weight)
    oracle.fit((x - mean) / std, ways.training.labels)
    expected = oracle.predict_proba((features(ways.validation.arrays[0]) - mean) / std)
    # both have converged to their own tolerance only
    assert np.abs(np.exp(fine.scores) - expected).mean() < 1e-3
    assert (fine.scores.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.99


def with_few_zeros(training):
    """Three of the ten zeros among the digits."""
    zeros = np.flatnonzero(training.labels == 0)
    return Subset(training, np.setdiff1d(np.arange(len(training)), zeros[3:]))


def test_classes_of_different_sizes_count_alike(monkeypatch):
    """In what is minimized, and in what is chosen on images held out."""
    losses, found = [], []

    class Watched(module.Trainer):
        def __init__(self, *args, **settings):
            losses.append(args[2].weight)
            super().__init__(*args, **settings)

    class Kept(Tried):
        def best(self):
            found.append(self)
            return super().best()

    monkeypatch.setattr(module, "Trainer", Watched)
    monkeypatch.setattr(module, "Tried", Kept)
    ways = transfer(scratch=None, epochs=1, class_weights=True)
    ways.training = with_few_zeros(ways.training)
    *_, fine = ways
    expected = compute_class_weight("balanced", classes=np.arange(10), y=ways.training.labels)
    assert len(losses) >= 3
    for weight in losses:
        np.testing.assert_allclose(weight, expected, rtol=1e-6)
    counts = np.unique(found[0].right)  # 0 where an image is wrong
    assert len(counts) >= 3
    assert {*counts.astype(np.float32)} <= {0, *expected.astype(np.float32)}
    assert fine.tried[0]["accuracy"] == pytest.approx(found[0].right[0].mean())


def test_the_rate_is_the_best_of_several_for_images_held_out(monkeypatch):
    monkeypatch.setattr(module, "RATES", (1e-9, 3e-4, 1.0))
    ways = transfer(lr=None, epochs=4, scratch=None)
    *_, fine = ways
    assert fine.lr == 3e-4


def test_a_rate_at_which_training_diverges_is_none(monkeypatch):
    monkeypatch.setattr(module, "RATES", (1e30, 3e-4))
    *_, fine = transfer(lr=None, epochs=4, scratch=None)
    assert fine.lr == 3e-4
    monkeypatch.setattr(module, "RATES", (1e30,))
    *_, fine = transfer(lr=None, epochs=1, scratch=None)
    assert fine.share == 0
    assert np.isfinite(fine.scores).all()


@pytest.mark.parametrize("scratch", [None, models.lenet5])
def test_no_epochs(scratch):
    probe, fine, *rest = transfer(epochs=0, scratch=scratch)
    assert fine.share == 0
    np.testing.assert_array_equal(fine.scores, probe.scores)
    assert all(each.rows == [] for each in rest)


def test_without_the_network_from_scratch():
    assert [each.name for each in transfer(epochs=1, scratch=None)] == NAMES[:2]


def results(approaches):
    rows = [[row | {"seconds": 0} for row in each.rows] for each in approaches]
    weights = [each.model.state_dict() for each in approaches]
    return bits([[each.scores for each in approaches], rows, weights])


def test_the_same_seed_gives_the_same_bits():
    short = {"epochs": 1, "mixup": 0.4}
    first, again = (results(list(transfer(3, workers=n, **short))) for n in (2, 0))
    assert first == again
    assert results(list(transfer(4, **short))) != first


@pytest.mark.parametrize("freeze", ["features.9", "classifier.0", "0", ""])
def test_an_unknown_layer_is_refused_at_once(freeze):
    with pytest.raises(ArgumentError, match=r"freeze= must be a layer of the body.*features\.0, "):
        transfer(freeze=freeze)


def test_the_frozen_part_stays_and_the_rest_is_trained(monkeypatch):
    monkeypatch.setattr(Tried, "best", lambda self: 1.0)
    before = models.create("lenet5", weights="mnist").state_dict()
    _, fine = transfer(freeze="features.0", epochs=1, scratch=None)
    for name, array in fine.model.state_dict().items():
        assert np.array_equal(array, before[name]) is name.startswith("features.0"), name


def test_normalisations_keep_their_statistics():
    """So that fine-tuning begins with what the probe computes, however small the batches."""
    ways = transfer(scratch=None)
    ways.network = models.resnet20(in_channels=1)
    probe, fine = ways
    state = fine.model.state_dict()
    for name, array in probe.model.state_dict().items():
        if "running" in name:
            np.testing.assert_array_equal(array, state[name])


def test_nothing_is_fine_tuned_where_it_does_not_pay(monkeypatch):
    monkeypatch.setattr(Tried, "best", lambda self: 0.0)
    ways = transfer(scratch=None)
    found = iter(ways)
    probe = next(found)
    before = {name: array.copy() for name, array in probe.model.state_dict().items()}
    fine = next(found)
    assert fine.share == 0
    assert bits(fine.model.state_dict()) == bits(before)
    np.testing.assert_array_equal(fine.scores, probe.scores)


def test_mirrored_images_count_as_much():
    """The mean of the probabilities of an image and its mirror image; and a file says so."""
    ways = transfer(mirror=True, epochs=1, scratch=None)
    *_, fine = ways
    with evaluating(fine.model):
        views = [
            softmax(fine.model(prepared(ways, change)).data)
            for change in (lambda x: x, lambda x: x[:, :, ::-1])
        ]
    np.testing.assert_allclose(np.exp(fine.scores), sum(views) / 2, atol=1e-6)
    assert np.abs(views[0] - views[1]).max() > 0.1
    assert fine.model.image_format.mirrored


def test_callbacks_are_made_for_each_way(monkeypatch):
    monkeypatch.setattr(Tried, "best", lambda self: 1.0)
    names, told = [], []

    class Listen(Callback):
        def __init__(self, name):
            self.name = name

        def on_epoch_end(self, trainer, row):
            told.append(self.name)

    def make(name):
        names.append(name)
        return [Listen(name)]

    list(transfer(callbacks=make, epochs=2))
    assert names == NAMES[1:]
    assert told == ["fine-tuned"] * 2 + ["from scratch"] * 6


def test_scores_too_far_apart_for_float64():
    ways = transfer()
    network = ways._with_new_head(ways.network)
    for parameter in network.classifier.parameters():
        parameter.data *= 1e4
    assert np.isfinite(ways._scores(network, ways.validation)).all()


@pytest.mark.parametrize(("images", "tried"), [(2, 2 * 10), (1, 0)])
def test_classes_of_few_images(images, tried):
    """Of one image nothing can be held out."""
    ways = transfer(scratch=None, epochs=1)
    ways.training = few_digits(images)[0]
    probe, fine = ways
    assert accuracy(probe) > 0.5
    assert ways._cross_validated(ways.network).count == tried
    assert fine.share == 0 or tried
