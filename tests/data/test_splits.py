"""Subsets and splits."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from squares import Squares

from minidl.data import ArrayDataset, DataLoader
from minidl.data.splits import Subset, split
from minidl.errors import ArgumentError, DTypeError, ShapeError


def labelled(labels):
    labels = np.asarray(labels)
    return ArrayDataset(np.arange(len(labels)), labels)


def test_a_subset():
    data = labelled([0, 1, 2, 1, 0])
    data.classes = ["a", "b", "c"]
    part = Subset(data, [4, 1, 2])
    assert len(part) == 3
    assert [int(part[i][0]) for i in range(3)] == [4, 1, 2]
    assert part.labels.tolist() == [0, 1, 2]
    assert part.classes == ["a", "b", "c"]
    items, labels = part.batch([2, 0])
    assert items.tolist() == [2, 4]
    assert labels.tolist() == [2, 0]
    again = Subset(part, np.array([2]))
    assert again.labels.tolist() == [2]
    assert int(again[0][0]) == 2
    assert next(iter(DataLoader(part, 3)))[0].tolist() == [4, 1, 2]


def test_a_subset_of_items_without_labels():
    part = Subset(Squares(5), [3, 4])
    assert part.labels is None
    assert part.classes is None
    assert part[0][0] == 9


def test_a_subset_shuffles_as_its_dataset_does():
    class Backwards(Squares):
        def order(self, generator):
            return np.arange(len(self))[::-1]

    part = Subset(Backwards(6), [1, 4, 2])
    assert part.order(np.random.default_rng(0)).tolist() == [1, 2, 0]
    plain = Subset(Squares(50), np.arange(10, 50)).order(np.random.default_rng(0))
    assert sorted(plain) == list(range(40))
    assert plain.tolist() != sorted(plain)


@pytest.mark.parametrize(
    ("indices", "error"),
    [
        ([], ShapeError), ([[1]], ShapeError), ([0.5], DTypeError), ([True], DTypeError),
        ([-1], IndexError), ([5], IndexError),
    ],
)  # fmt: skip
def test_bad_indices(indices, error):
    with pytest.raises(error, match="Subset expected"):
        Subset(Squares(5), indices)


def test_no_dataset():
    with pytest.raises(DTypeError, match="expected a Dataset"):
        Subset([1, 2], [0])


@given(
    st.lists(st.integers(10, 40), min_size=1, max_size=4),
    st.lists(st.integers(1, 10), min_size=1, max_size=4),
    st.integers(0, 2**40),
)
def test_splits_keep_proportions(counts, weights, seed):
    fractions = [w / sum(weights) for w in weights]
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    data = labelled(labels)
    exact = [[Fraction(n * w, sum(weights)) for w in weights] for n in counts]
    try:
        parts = split(data, fractions, seed)
    except ArgumentError:
        assert min(map(min, exact)) < 1
        return
    indices = np.concatenate([part.indices for part in parts])
    assert sorted(indices) == list(range(len(labels)))  # disjoint, and all
    for label, count in enumerate(counts):
        found = [int((part.labels == label).sum()) for part in parts]
        assert sum(found) == count
        assert all(abs(n - e) < 1 for n, e in zip(found, exact[label], strict=True))
    again = split(data, fractions, seed)
    assert all((a.indices == b.indices).all() for a, b in zip(parts, again, strict=True))


def test_largest_remainders():
    # 13 items: quotas 7.8, 3.9, 1.3, so the two left over go to the first two parts.
    parts = split(labelled(np.zeros(13, int)), (0.6, 0.3, 0.1))
    assert [len(part) for part in parts] == [8, 4, 1]
    assert [len(p) for p in split(labelled(np.zeros(100, int)), (0.29, 0.71))] == [29, 71]


def test_seeds_differ_and_parts_are_mixed():
    data = labelled(np.zeros(100, int))
    first, other = split(data, (0.5, 0.5))[0], split(data, (0.5, 0.5), seed=1)[0]
    assert first.indices.tolist() != other.indices.tolist()
    assert first.indices.tolist() != list(range(50))
    assert first.indices.tolist() == sorted(first.indices)


def test_parts_of_a_part_of_it():
    parts = split(labelled(np.arange(100) % 2), (0.1, 0.2))
    assert [len(part) for part in parts] == [10, 20]
    assert not set(parts[0].indices) & set(parts[1].indices)


def test_without_labels():
    parts = split(Squares(10), (0.5, 0.5), stratify=False)
    assert sorted(np.concatenate([part.indices for part in parts])) == list(range(10))
    with pytest.raises(ArgumentError, match=r"Squares tells no labels .* stratify=False"):
        split(Squares(10))


def test_a_class_too_small_is_named():
    data = labelled([0] * 20 + [1] * 2)
    data.classes = ["ants", "bees"]
    with pytest.raises(ArgumentError, match=r"class 'bees' has 2 items, .*; add some, leave"):
        split(data, (0.8, 0.1, 0.1))
    with pytest.raises(ArgumentError, match="the dataset has 2 items, too few"):
        split(Squares(2), stratify=False)


@pytest.mark.parametrize("fractions", [(), (0.5, 0.6), (1.0, 0.0), (-0.1, 1), (float("nan"),)])
def test_bad_fractions(fractions):
    with pytest.raises(ArgumentError, match="fractions must be above 0"):
        split(labelled([0] * 9), fractions)


@pytest.mark.parametrize("seed", [-1, 1.5, None, True])
def test_bad_seeds(seed):
    with pytest.raises(ArgumentError, match="seed must be"):
        split(labelled([0] * 9), seed=seed)
