"""Ensembles by hand."""

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl as md
from minidl import data, nn, optim, train
from minidl.errors import ArgumentError, ShapeError
from minidl.train.ensemble import ensemble, evaluate_ensemble

# Probabilities of three members for two rows.
A = np.array([[0.6, 0.4, 0.0], [0.2, 0.5, 0.3]])
B = np.array([[0.55, 0.45, 0.0], [0.4, 0.2, 0.4]])
C = np.array([[0.0, 1.0, 0.0], [0.2, 0.1, 0.7]])


@pytest.fixture
def logs():
    with np.errstate(divide="ignore"):
        return [np.log(p) for p in (A, B, C)]


def test_average(logs):
    np.testing.assert_allclose(ensemble(logs), (A + B + C) / 3, rtol=1e-12)
    shifted = [log + 7 * i for i, log in enumerate(logs)]  # softmax takes no notice
    np.testing.assert_allclose(ensemble(shifted), (A + B + C) / 3, rtol=1e-12)


def test_vote(logs):
    """Row 0: two votes to one, against the mean. Row 1: a vote each, the mean decides."""
    found = ensemble(logs, "vote")
    votes = np.array([[2, 1, 0], [1, 1, 1]])
    np.testing.assert_allclose(found, (votes + (A + B + C) / 3) / 4, rtol=1e-12)
    assert found.argmax(axis=1).tolist() == [0, 2]
    assert ensemble(logs).argmax(axis=1).tolist() == [1, 2]


@given(st.integers(1, 5), st.integers(1, 9), st.integers(1, 6), st.integers(0, 999))
def test_votes_decide_and_means_break_ties(members, rows, classes, seed):
    random = np.random.default_rng(seed)
    scores = [random.standard_normal((rows, classes)) * 4 for _ in range(members)]
    softmax = [np.exp(s) / np.exp(s).sum(axis=1, keepdims=True) for s in scores]
    mean = np.mean(softmax, axis=0)
    average, vote = ensemble(scores), ensemble(scores, "vote")
    np.testing.assert_allclose(average, mean, rtol=1e-10)
    np.testing.assert_allclose(vote.sum(axis=1), 1, rtol=1e-12)
    for i in range(rows):
        votes = [sum(s[i].argmax() == c for s in scores) for c in range(classes)]
        assert vote[i].argmax() == max(range(classes), key=lambda c: (votes[c], mean[i, c]))


def test_members_of_any_kind_and_alone():
    scores = np.float32([[1, 2, 0], [0, 0, 3]])
    expected = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    for members in ([scores], [md.tensor(scores)], (scores, scores), np.stack([scores] * 2)):
        found = ensemble(members)
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_rows_for_a_table(logs):
    assert evaluate_ensemble(logs, np.array([0, 2])) == [
        {"name": "member 1", "accuracy": 0.5},
        {"name": "member 2", "accuracy": 0.5},
        {"name": "member 3", "accuracy": 0.5},
        {"name": "average", "accuracy": 0.5},
        {"name": "vote", "accuracy": 1.0},
    ]


def test_snapshots_of_one_training(tmp_path):
    """After each cycle of two epochs: the weights of then, averaged where there is an EMA."""
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((24, 5)).astype(np.float32), rng.integers(3, size=24)
    loader = data.DataLoader(data.ArrayDataset(x, labels), 8)
    for averaged in (False, True):
        model = nn.Linear(5, 3)
        optimizer = optim.SGD(model.parameters(), lr=0.5)
        ema = optim.EMA(model, 0.5) if averaged else None
        cycles = optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=2)
        folder, seen = tmp_path / str(averaged), Seen()
        snapshots = train.Snapshots(folder, 2)
        callbacks = [seen, snapshots]
        trainer = train.Trainer(model, optimizer, scheduler=cycles, ema=ema, callbacks=callbacks)
        trainer.fit(loader, 5, progress=False)
        files = sorted(folder.iterdir())
        assert [file.name for file in files] == ["snapshot-01.h5", "snapshot-02.h5"]
        for file, epoch in zip(files, (2, 4), strict=True):
            member = nn.Linear(5, 3)
            md.load_weights(member, file)
            np.testing.assert_array_equal(member.weight.data, seen.weights[epoch])
    (tmp_path / "file").write_text("")
    trainer.callbacks = [train.Snapshots(tmp_path / "file" / "inside", 1)]
    with pytest.raises(OSError, match="Snapshots can't make the folder"):
        trainer.fit(loader, 6, progress=False)


class Seen(train.Callback):
    """The weights after each epoch, as they are measured."""

    def __init__(self):
        self.weights = {}

    def on_epoch_end(self, trainer, row):
        ema = trainer.ema
        with contextlib.nullcontext() if ema is None else ema.average_parameters():
            self.weights[trainer.epoch] = trainer.model.weight.data.copy()


def test_what_it_refuses(logs):
    with pytest.raises(ArgumentError, match=r"how must be one of .*, got 'mean'"):
        ensemble(logs, "mean")
    with pytest.raises(ArgumentError, match="at least one member, got none"):
        ensemble([])
    with pytest.raises(ShapeError, match=r"a list of scores \(N, C\), got shape \(2, 3\)"):
        ensemble(A)
    for members in ([A, A[:1]], [A[0], A[0]], [A[:0]]):
        with pytest.raises(ShapeError, match="scores of one shape"):
            ensemble(members)
    with pytest.raises(ArgumentError, match=r"ensemble, member 2: row 1 of the scores .* nan"):
        ensemble([A, np.where(A == 0.5, np.nan, A)])
    with pytest.raises(ShapeError, match=r"scores \(N, C\), .* and labels \(N,\)"):
        evaluate_ensemble(logs, np.array([0]))
    with pytest.raises(ArgumentError, match="classes from 0 to 2, got 3"):
        evaluate_ensemble(logs, np.array([0, 3]))
