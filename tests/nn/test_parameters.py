"""Parameters and buffers: sharing them, copying models, changing values and dtype."""

import copy

import numpy as np
import pytest
from layer_cases import outputs_of

import minidl as md
from minidl import nn
from minidl.errors import DTypeError, ShapeError


def small() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 3, activation="relu"), nn.BatchNorm1d(3), Counter())


class Counter(nn.Module):
    """A buffer of integers."""

    def __init__(self):
        self.count = nn.Buffer(np.zeros(1, np.int64))

    def forward(self, x):
        self.count.data += 1
        return x


# Shared parameters


class Tied(nn.Module):
    """The table of the embedding is also the output layer's weight."""

    def __init__(self):
        self.embedding = nn.Embedding(5, 3)
        self.table = self.embedding.weight
        self.again = self.embedding

    def forward(self, indices):
        return self.embedding(indices) @ self.table.transpose()


def test_shared_parameters_count_once_and_keep_all_names():
    model = Tied()
    assert [name for name, _ in model.named_parameters()] == ["table"]
    assert model.num_parameters == 15
    assert [name for name, _ in model.named_modules()] == ["", "embedding"]
    state = model.state_dict()
    assert list(state) == ["table", "embedding.weight", "again.weight"]
    model.load_state_dict({name: np.ones((5, 3)) for name in state})
    assert model.table is model.embedding.weight
    np.testing.assert_array_equal(model.embedding.weight.data, 1)


def test_shared_parameters_get_both_gradients():
    model = Tied().astype(np.float64)
    indices = np.array([0, 3])
    model(indices).sum().backward()
    table = model.table.data
    expected = np.zeros((5, 3))  # of sum_i sum_v table[i] . table[v]
    expected[indices] += table.sum(axis=0)
    expected += table[indices].sum(axis=0)
    np.testing.assert_allclose(model.table.grad, expected, rtol=1e-12)


def test_deep_copies_are_independent_and_keep_what_is_shared():
    model = Tied()
    twin = copy.deepcopy(model)
    assert twin.table is twin.embedding.weight
    twin.table.data[...] = 0
    assert model.table.data.any()
    model.freeze()
    assert twin.table.requires_grad
    assert not twin.frozen


def test_deep_copies_compute_the_same():
    model = small()
    x = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    model(x).sum().backward()
    twin = copy.deepcopy(model)
    np.testing.assert_array_equal(twin[0].weight.grad, model[0].weight.grad)
    for name, array in twin.state_dict().items():
        np.testing.assert_array_equal(array, model.state_dict()[name])
    np.testing.assert_array_equal(twin(x).data, model(x).data)
    kept = model[0].weight.grad.copy()
    twin.zero_grad()
    assert twin[0].weight.grad is None
    np.testing.assert_array_equal(model[0].weight.grad, kept)


# Values


@pytest.mark.parametrize("how", ["assign", "fill"])
@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(3, 4, 3),
        nn.DepthwiseConv2d(3, 3),
        nn.ConvTranspose2d(3, 2, 2),
        nn.Linear(3, 2),
        nn.BatchNorm2d(3).eval(),
        nn.LSTM(3, 2),
    ],
    ids=repr,
)
def test_new_values_are_seen_by_the_next_forward(layer, how):
    x = np.random.default_rng(0).standard_normal((2, 5, 5, 3)).astype(np.float32)
    x = x[:, 0] if isinstance(layer, nn.LSTM) else x
    with md.no_grad():  # the weights of a graph are read-only
        before = [*outputs_of(layer(x))]
    new = {name: np.abs(array) + 2 for name, array in layer.state_dict().items()}
    for name, place in (*layer.named_parameters(), *layer.named_buffers()):
        if how == "assign":
            place.data = new[name]
        else:
            place.data[...] = new[name]
    fresh = copy.deepcopy(layer)
    fresh.load_state_dict(new)
    for old, got, expected in zip(before, outputs_of(layer(x)), outputs_of(fresh(x)), strict=True):
        assert not np.array_equal(old.data, got.data)
        np.testing.assert_array_equal(got.data, expected.data)


def test_data_of_another_kind_is_refused():
    layer = nn.Linear(2, 3)
    with pytest.raises(ShapeError, match=r"expected shape \(2, 3\)"):
        layer.weight.data = np.zeros((3, 2), np.float32)
    with pytest.raises(ShapeError, match="float32"):
        layer.weight.data = np.zeros((2, 3))


def test_parameters_and_buffers_copy_what_they_are_given():
    array = np.ones(3)
    parameter, buffer = nn.Parameter(array), nn.Buffer(array)
    array[:] = 2
    assert parameter.data.tolist() == buffer.data.tolist() == [1, 1, 1]
    assert (parameter.dtype, parameter.requires_grad) == (np.float64, True)
    assert not buffer.requires_grad
    assert nn.Parameter([1.0]).dtype == np.float32
    assert nn.Buffer([1]).dtype.kind == "i"
    with pytest.raises(DTypeError, match="Parameter expected float32 or float64, got int64"):
        nn.Parameter([1, 2])


def test_astype():
    model = small()
    model(np.ones((3, 4), np.float32)).sum().backward()
    parameters = [*model.parameters()]
    assert model.astype(np.float64) is model
    assert [*map(id, model.parameters())] == [*map(id, parameters)]
    for name, array in model.state_dict().items():
        assert array.dtype == (np.int64 if name == "2.count" else np.float64)
    assert all(p.grad is None for p in parameters)
    assert model(np.ones((3, 4))).dtype == np.float64
    for wrong in (np.float16, np.int64, complex):
        with pytest.raises(DTypeError, match=r"Module.astype expected float32 or float64"):
            model.astype(wrong)


def test_zero_grad():
    model = small()
    model(np.ones((3, 4), np.float32)).sum().backward()
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())


def test_default_dtype_is_that_of_new_layers():
    md.config.default_dtype = np.float64
    try:
        model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2))
    finally:
        md.config.default_dtype = np.float32
    assert {array.dtype for array in model.state_dict().values()} == {np.dtype(np.float64)}
