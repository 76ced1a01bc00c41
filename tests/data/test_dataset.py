"""Datasets: items, batches, and what they refuse."""

import numpy as np
import pytest
from squares import Squares

from minidl.autograd.tensor import Tensor
from minidl.data import ArrayDataset, Dataset
from minidl.errors import ArgumentError, DTypeError, ShapeError


def test_array_dataset_gives_rows_side_by_side():
    x, y = np.arange(12.0).reshape(4, 3), np.array([5, 6, 7, 8])
    dataset = ArrayDataset(x, y)
    assert len(dataset) == 4
    row, label = dataset[2]
    assert row.tolist() == [6, 7, 8]
    assert isinstance(label, np.ndarray)
    assert label == 7
    rows, labels = dataset.batch([3, 0, 3])
    assert rows.tolist() == [[9, 10, 11], [0, 1, 2], [9, 10, 11]]
    assert labels.tolist() == [8, 5, 8]
    assert [len(items) for items in list(dataset)] == [2] * 4
    with pytest.raises(IndexError):
        dataset[4]


def test_array_dataset_shares_and_batches_are_copies():
    x = np.zeros((4, 2))
    dataset = ArrayDataset(x)
    batch = dataset.batch(np.array([0, 1]))[0]
    batch[:] = 9
    assert x.max() == 0
    x[1] = 5
    assert dataset[1][0].tolist() == [5, 5]


def test_array_dataset_takes_tensors_and_any_number_of_arrays():
    y = np.arange(3)
    dataset = ArrayDataset(Tensor(np.ones((3, 2), np.float32), requires_grad=True), y, y, y)
    batch = dataset.batch([0, 2])
    assert [type(part) for part in batch] == [np.ndarray] * 4
    assert batch[0].dtype == np.float32


def test_own_dataset_is_stacked():
    squares, pairs = Squares(10).batch([3, 1])
    assert squares.tolist() == [9, 1]
    assert squares.dtype == np.int64
    assert pairs.tolist() == [[3, -3], [1, -1]]
    assert pairs.dtype == np.float32


@pytest.mark.parametrize(
    ("arrays", "error", "match"),
    [
        ([], ArgumentError, "at least one array"),
        ([np.zeros(3), np.zeros(4)], ShapeError, "one length .*got lengths 3, 4"),
        ([np.zeros((0, 3))], ShapeError, "at least one item"),
        ([np.zeros(())], ShapeError, "argument 0 has no axes"),
        ([np.zeros(2), [1, 2]], DTypeError, "argument 1 is a list: convert it"),
        ([np.array([[1], [1, 2]], object)], DTypeError, "argument 0 has dtype object"),
        ([np.array(["a", "b"])], DTypeError, "argument 0 has dtype <U1"),
        ([None], DTypeError, "argument 0 is a NoneType"),
    ],
)
def test_array_dataset_refuses(arrays, error, match):
    with pytest.raises(error, match=match):
        ArrayDataset(*arrays)


def test_own_datasets_with_faults():
    class Ragged(Squares):
        def __getitem__(self, index):
            return (np.zeros(1 + index // 2),)

    class Bare(Squares):
        def __getitem__(self, index):
            return np.zeros(2)

    with pytest.raises(ShapeError, match=r"Ragged: items 1 and 2 .*\[\(1,\)\] and \[\(2,\)\]"):
        Ragged(4).batch([1, 2])
    with pytest.raises(DTypeError, match=r"Bare\[3\] must be a tuple of arrays, got ndarray"):
        Bare(4).batch([3])
    with pytest.raises(ArgumentError, match="at least one index"):
        Squares(4).batch([])
    with pytest.raises(NotImplementedError, match="Dataset must define __len__"):
        len(Dataset())
    with pytest.raises(NotImplementedError, match="Dataset must define __getitem__"):
        Dataset()[0]
