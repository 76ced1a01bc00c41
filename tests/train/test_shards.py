"""A batch in shards, in one process: against the whole batch, formulas, and shards by hand."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small import CLASSES, FEATURES, a_loader, a_model, arrays, trainer_of

import minidl as md
from minidl import data, nn, optim
from minidl.distributed.order import Node, Pile, bounds, nodes_within, total
from minidl.errors import ArgumentError, DTypeError, GradError, StateError
from minidl.train import Callback, NaNGuard, Trainer

# The order of sums


def in_order(parts, lo, hi):
    if hi - lo == 1:
        return parts[lo]
    mid = (lo + hi) // 2
    return in_order(parts, lo, mid) + in_order(parts, mid, hi)


@given(st.integers(1, 20), st.data())
def test_the_order_depends_on_the_number_of_parts_alone(count, draw):
    """However ranks share the parts, the bits are those of the tree."""
    ranks = draw.draw(st.integers(1, count))
    random = np.random.default_rng(count)
    parts = (
        random.standard_normal((count, 9)) * 10.0 ** random.integers(-6, 6, (count, 1))
    ).astype(np.float32)
    edges, sums = bounds(count, ranks), {}
    for start, stop in pairwise(edges):
        pile = Pile(count)
        for i in range(start, stop):
            node, halves = pile.place(i)
            pile.sums[node] = parts[i].copy()
            for half in halves:
                pile.sums[node] = half + pile.sums[node]
        assert list(pile.sums) == list(nodes_within(start, stop, Node(0, count)))
        sums |= pile.sums
    expected = in_order(parts, 0, count)
    assert total(sums, Node(0, count)).tobytes() == expected.tobytes()
    np.testing.assert_allclose(expected, parts.astype(np.float64).sum(0), rtol=1e-4, atol=1e-2)


# Training


def plain():
    """Without batch normalization or dropout."""
    md.manual_seed(1)
    return nn.Sequential(nn.Linear(FEATURES, 8, activation="tanh"), nn.Linear(8, CLASSES))


LOSSES = {
    "mean": None,
    "weights of classes": nn.CrossEntropyLoss(np.array([0.2, 1.0, 3.0], np.float32)),
    "ignored": nn.CrossEntropyLoss(ignore_index=0),
    "own": lambda outputs, labels: nn.functional.cross_entropy(outputs, labels),
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("shards", [1, 3, 30])
def test_the_same_as_whole_batches(shards, loss):
    """Also where shards differ in size, or batches have fewer rows than shards."""
    states = []
    for each in (None, shards):
        model = plain()
        optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        trainer = Trainer(model, optimizer, loss, ["accuracy"], shards=each)
        trainer.fit(a_loader(batch_size=11), 2, progress=False)
        states.append((model.state_dict(), trainer.history))
    (whole, history), (cut, other) = states
    for name, array in whole.items():
        np.testing.assert_allclose(cut[name], array, rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(other["accuracy"], history["accuracy"])
    if loss is None:
        np.testing.assert_allclose(other["loss"], history["loss"], rtol=1e-5)


def test_running_statistics_are_the_mean_of_the_shards():
    """By rows: of 5, 5 and 6."""
    x, labels = arrays(16)
    model = nn.Sequential(nn.BatchNorm1d(FEATURES, momentum=0.3), nn.Linear(FEATURES, CLASSES))
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    Trainer(model, optimizer, shards=3).fit([(x, labels)], 1, progress=False)
    edges, mean, var = bounds(16, 3), 0.0, 0.0
    for a, b in pairwise(edges):
        mean += (b - a) / 16 * 0.3 * x[a:b].astype(np.float64).mean(0)
        var += (b - a) / 16 * (0.7 + 0.3 * x[a:b].astype(np.float64).var(0, ddof=1))
    np.testing.assert_allclose(model[0].running_mean.data, mean, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(model[0].running_var.data, var, rtol=1e-5)


def a_normalized_network(dtype):
    md.manual_seed(3)
    return nn.Sequential(
        nn.Linear(FEATURES, 6), nn.BatchNorm1d(6, activation="relu"), nn.Linear(6, 6),
        nn.BatchNorm1d(6), nn.Linear(6, CLASSES),
    ).astype(dtype)  # fmt: skip


@pytest.mark.parametrize("loss", [LOSSES["mean"], LOSSES["weights of classes"]])
@pytest.mark.parametrize("shards", [1, 3, 11])
def test_sync_is_batch_normalization_of_the_whole_batch(shards, loss):
    """In float64, so that only a wrong formula can be seen; also with shards of one row."""
    x, labels = arrays(11)
    states = []
    for settings in ({}, {"shards": shards, "sync": True}):
        model = a_normalized_network(np.float64)
        optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        trainer = Trainer(model, optimizer, loss, **settings)
        trainer.fit([(x.astype(np.float64), labels)], 4, progress=False)
        states.append(model.state_dict())
    for name, array in states[0].items():
        np.testing.assert_allclose(states[1][name], array, rtol=1e-6, atol=1e-9, err_msg=name)


def test_sync_refuses_shards_that_run_other_layers():
    class Net(nn.Module):
        def __init__(self):
            self.norm, self.linear = nn.BatchNorm1d(FEATURES), nn.Linear(FEATURES, CLASSES)

        def forward(self, x):
            return self.linear(self.norm(x) if x[0, 0] > 0 else x)

    x, labels = arrays(8)
    x[:, 0] = [1] * 4 + [-1] * 4
    trainer = trainer_of(Net(), shards=2, sync=True)
    with pytest.raises(StateError, match="must run the same layers"):
        trainer.fit([(x, labels)], 1, progress=False)


def test_an_error_of_a_shard_that_meets_others():
    x, labels = arrays(8)
    model = a_normalized_network(np.float32)
    with model[4].register_forward_hook(lambda *_: 1 / 0), pytest.raises(ZeroDivisionError):
        trainer_of(model, shards=2, sync=True).fit([(x, labels)], 1, progress=False)


def test_sync_needs_shards():
    with pytest.raises(ArgumentError, match="sync=True is for batches in shards"):
        trainer_of(sync=True)


def test_captured_steps_give_the_same_bits():
    states = []
    for capture in (True, False):
        md.config.capture = capture
        model = a_model()
        trainer = trainer_of(model, shards=2)
        trainer.fit(a_loader(batch_size=11), 4, progress=False)
        states.append([x.tobytes() for x in model.state_dict().values()])
    assert states[0] == states[1]


def test_another_number_of_shards_gives_other_bits():
    states = []
    for shards in (1, 2):
        model = a_model()
        trainer_of(model, shards=shards).fit(a_loader(batch_size=11), 1, progress=False)
        states.append([x.tobytes() for x in model.state_dict().values()])
    assert states[0] != states[1]


def test_a_loader_makes_the_shards_it_is_asked_for():
    asked = []

    class Counted(data.ArrayDataset):
        def batch(self, indices):
            asked.extend(indices)
            return super().batch(indices)

    loader = data.DataLoader(Counted(*arrays()), 8, True, seed=3)
    whole = list(loader)
    asked.clear()
    loader = data.DataLoader(Counted(*arrays()), 8, True, seed=3)
    for (x, _), (rows, (first, last)) in zip(whole, loader.in_shards(4, [0, 3]), strict=True):
        edges = bounds(rows, 4)
        np.testing.assert_array_equal(first[0], x[: edges[1]])
        np.testing.assert_array_equal(last[0], x[edges[3] :])
    assert len(asked) < 0.6 * 22


# Errors


def test_a_loss_that_is_not_finite_names_its_place():
    x, labels = arrays(16)
    x[9, 1] = np.nan
    model = plain()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    before = model.state_dict()
    with pytest.raises(GradError, match="the loss is nan at epoch 1, batch 1"):
        Trainer(model, optimizer, shards=4).fit([(x, labels)], 1, progress=False)
    with pytest.raises(GradError, match="the inputs hold NaN"):
        Trainer(model, optimizer, callbacks=[NaNGuard()], shards=4).fit(
            [(x, labels)], 1, progress=False
        )
    assert all((model.state_dict()[name] == array).all() for name, array in before.items())


@pytest.mark.parametrize("shards", [0, -1, 1.5, True, "2"])
def test_what_is_no_number_of_shards(shards):
    with pytest.raises(ArgumentError, match="shards must be a whole number from 1 up"):
        trainer_of(shards=shards)


def test_a_sum_is_refused():
    with pytest.raises(ArgumentError, match=r'shards= takes the mean .* give it reduction="mean"'):
        trainer_of(plain(), loss=nn.CrossEntropyLoss(reduction="sum"), shards=2)


def test_shards_of_one_row_are_refused_with_batch_normalization():
    """22 rows in batches of 8: the last has 6, in four shards of 1 or 2 rows."""
    with pytest.raises(ArgumentError, match="a batch of 6 rows in shards=4 has shards of one row"):
        trainer_of(shards=4).fit(a_loader(batch_size=8), 1, progress=False)
    trainer_of(shards=3).fit(a_loader(batch_size=8), 1, progress=False)


def test_a_batch_of_which_nothing_counts():
    x, labels = arrays(8)
    trainer = trainer_of(plain(), loss=nn.CrossEntropyLoss(ignore_index=-1), shards=2)
    with pytest.raises(ArgumentError, match="nothing that counts"):
        trainer.fit([(x, labels * 0 - 1)], 1, progress=False)


def test_what_cannot_be_cut():
    with pytest.raises(DTypeError, match=r"can't cut \(dict, ndarray\)"):
        trainer_of(plain(), shards=2).fit([({"x": 1}, arrays(4)[1])], 1, progress=False)


def test_a_counter_among_the_buffers_is_refused():
    class Counting(nn.Module):
        def __init__(self):
            self.linear, self.calls = nn.Linear(FEATURES, CLASSES), nn.Buffer(np.zeros(1, np.int64))

        def forward(self, x):
            self.calls.data[...] += 1
            return self.linear(x)

    with pytest.raises(StateError, match="changes a buffer of int64"):
        trainer_of(Counting(), shards=2).fit(a_loader(), 1, progress=False)


def test_another_number_of_shards_is_not_resumed(tmp_path):
    trainer_of(shards=2).save(tmp_path / "c.h5")
    with pytest.raises(StateError, match="with shards=2, not None: give Trainer shards=2"):
        trainer_of().resume(tmp_path / "c.h5")
    trainer_of().save(tmp_path / "d.h5")
    with pytest.raises(StateError, match="with shards=None, not 2"):
        trainer_of(shards=2).resume(tmp_path / "d.h5")


def test_callbacks_see_whole_batches_that_they_replace():
    """Augmented as the shards are, though they are put together."""
    seen = []

    class Look(Callback):
        def on_batch_begin(self, trainer, x, target):
            seen.append(len(x))

    trainer_of(callbacks=[Look()], shards=2).fit(a_loader(batch_size=11), 1, progress=False)
    assert seen == [11, 11]
