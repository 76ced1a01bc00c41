"""MixUp and CutMix against their formulas."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small import CLASSES, arrays

import minidl as md
from minidl import data, nn, optim
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.train import Trainer
from minidl.train.mixup import CutMix, MixUp


def batch(rows, shape, seed, dtype=np.float32):
    random = np.random.default_rng(seed)
    x = random.standard_normal((rows, *shape)).astype(dtype)
    return x, random.integers(0, 5, rows)


@given(
    rows=st.integers(1, 9),
    shape=st.lists(st.integers(1, 4), max_size=3),
    alpha=st.sampled_from([0.1, 0.2, 1.0, 8.0]),
    seed=st.integers(0, 2**32),
    dense=st.booleans(),
)
def test_the_formula_in_float64(rows, shape, alpha, seed, dense):
    x, labels = batch(rows, shape, seed)
    before = x.copy()
    target = np.eye(5)[labels] * 0.9 + 0.02 if dense else labels
    md.manual_seed(seed)
    mixed, probabilities = MixUp(alpha, num_classes=5).on_batch_begin(None, x, target)

    random = np.random.Generator(np.random.PCG64(seed))
    share, order = random.beta(alpha, alpha), random.permutation(rows)
    wide, hot = x.astype(np.float64), (target if dense else np.eye(5)[labels])
    assert (mixed.dtype, probabilities.dtype) == (np.float32, np.float32)
    assert (mixed.shape, probabilities.shape) == (x.shape, (rows, 5))
    expected = share * wide + (1 - share) * wide[order]
    np.testing.assert_allclose(mixed, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        probabilities, share * hot + (1 - share) * hot[order], rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    assert (probabilities >= 0).all()
    np.testing.assert_array_equal(x, before)  # a dataset's own array may be in it


def test_inputs_and_targets_are_mixed_alike():
    """With one-hot rows as inputs, both are the same, and so is any linear map of them."""
    labels = np.arange(5)
    x = np.eye(5, dtype=np.float32)
    md.manual_seed(0)
    mixed, probabilities = MixUp(1.0, num_classes=5).on_batch_begin(None, x, labels)
    np.testing.assert_array_equal(mixed, probabilities)
    assert ((mixed > 0) & (mixed < 1)).any()


def test_shares_follow_the_beta_distribution():
    """Beta(a, a) has mean 1/2 and variance 1 / (4 (2a + 1))."""
    mixup, shares = MixUp(0.5, num_classes=2), []
    md.manual_seed(1)
    x, labels = np.array([[0.0], [1.0]]), np.array([0, 1])
    for _ in range(4000):
        mixed, _ = mixup.on_batch_begin(None, x, labels)
        if mixed[1, 0] != 1:  # their order was changed
            shares.append(mixed[1, 0])
    assert 1800 < len(shares) < 2200
    assert np.mean(shares) == pytest.approx(1 / 2, abs=0.03)
    assert np.var(shares) == pytest.approx(1 / 8, abs=0.01)


@given(
    rows=st.integers(1, 6),
    shape=st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(1, 3)),
    seed=st.integers(0, 2**32),
    dense=st.booleans(),
)
def test_a_rectangle_of_another_image(rows, shape, seed, dense):
    """And its area is what the labels are mixed by, counted pixel by pixel."""
    x, labels = batch(rows, shape, seed)
    before = x.copy()
    target = np.eye(5)[labels] * 0.9 + 0.02 if dense else labels
    md.manual_seed(seed)
    cut, probabilities = CutMix(num_classes=5).on_batch_begin(None, x, target)

    random = np.random.Generator(np.random.PCG64(seed))
    share, order = random.beta(1, 1), random.permutation(rows)
    h, w, _ = shape
    row, column = random.integers(h), random.integers(w)
    height, width = (int(n * np.sqrt(1 - share)) // 2 for n in (h, w))
    v, u = np.mgrid[:h, :w]
    inside = (v >= row - height) & (v < row + height) & (u >= column - width) & (u < column + width)
    np.testing.assert_array_equal(cut, np.where(inside[..., None], x[order], x))
    hot, area = (target if dense else np.eye(5)[labels]), inside.mean()
    expected = (1 - area) * hot + area * hot[order]
    np.testing.assert_allclose(probabilities, expected, rtol=1e-5, atol=1e-6)
    assert (cut.dtype, probabilities.dtype) == (np.float32, np.float32)
    np.testing.assert_array_equal(x, before)


def test_areas_of_rectangles():
    """Before they are cut off at the edges they are uniform: alpha is 1."""
    images = np.zeros((2, 100, 100, 1), np.float32)
    images[1] = 1
    cutmix, areas = CutMix(num_classes=2), []
    md.manual_seed(0)
    for _ in range(2000):
        cut, probabilities = cutmix.on_batch_begin(None, images, np.array([0, 1]))
        assert probabilities[0, 1] == pytest.approx(cut[0].mean(), abs=1e-6)
        areas.append(cut[0].mean())
    areas = np.array(areas)[np.array(areas) > 0]
    assert 880 < len(areas) < 1120  # in half of the orders nothing moves
    # The mean of (sum of what is left of a side L with its centre anywhere: L - L^2 / 4) squared
    sides = np.sqrt(np.random.default_rng(0).random(100_000))
    assert np.mean(areas) == pytest.approx(np.mean((sides - sides**2 / 4) ** 2), abs=0.03)
    assert areas.max() > 0.8


def test_images_that_are_no_images():
    with pytest.raises(
        ShapeError, match=r"CutMix expected images \(N, H, W, C\), got shape \(2, 3\)"
    ):
        CutMix(num_classes=5).on_batch_begin(None, np.zeros((2, 3), np.float32), np.array([0, 1]))


def test_training_on_mixtures_learns():
    x, _ = arrays(rows=120)
    loader = data.DataLoader(data.ArrayDataset(x, x[:, :CLASSES].argmax(axis=1)), 8, True, seed=0)
    md.manual_seed(3)
    model = nn.Sequential(nn.Linear(5, 16, activation="tanh"), nn.Linear(16, CLASSES))
    optimizer = optim.SGD(model.parameters(), lr=0.2)
    mixup = MixUp(0.2, num_classes=CLASSES)
    trainer = Trainer(model, optimizer, metrics=["accuracy"], callbacks=[mixup])
    row = trainer.fit(loader, 30, loader, progress=False).rows[-1]
    assert row["val_accuracy"] > 0.9
    assert row["val_loss"] < row["loss"]  # mixtures are harder


@pytest.mark.parametrize(
    ("x", "target", "error", "message"),
    [
        (np.zeros((2, 3), np.uint8), [0, 1], DTypeError, "expected float inputs, got uint8"),
        (np.zeros((2, 3)), [0.0, 1.0], DTypeError, "labels that are whole numbers, got float64"),
        (np.zeros((2, 3)), [0, 5], ArgumentError, "MixUp expected classes from 0 to 4, got 5"),
        (np.zeros((2, 3)), [0, -1], ArgumentError, "MixUp expected classes from 0 to 4, got -1"),
        (np.zeros((2, 3)), [0, 1, 1], ShapeError, r"labels \(2,\) or probabilities \(2, 5\)"),
        (np.zeros((2, 3)), np.zeros((2, 4)), ShapeError, r"got shape \(2, 4\)"),
    ],
)
def test_bad_batches(x, target, error, message):
    with pytest.raises(error, match=message):
        MixUp(num_classes=5).on_batch_begin(None, x, np.asarray(target))
    if x.dtype.kind == "f":
        with pytest.raises(error, match=message.replace("MixUp", "CutMix")):
            CutMix(num_classes=5).on_batch_begin(None, x.reshape(2, 1, 1, 3), np.asarray(target))


@pytest.mark.parametrize("settings", [{"alpha": 0}, {"alpha": -1}, {"alpha": np.nan}])
@pytest.mark.parametrize("kind", [MixUp, CutMix])
def test_bad_settings(kind, settings):
    with pytest.raises(ArgumentError, match=f"{kind.__name__}: alpha must be"):
        kind(**settings, num_classes=3)
    with pytest.raises(ArgumentError, match="num_classes must be a whole number"):
        kind(num_classes=0)
