"""Recurrent layers on sequences of different length: each row as if it were alone."""

import numpy as np
import pytest
from layer_cases import outputs_of

import minidl as md
from minidl import nn
from minidl.errors import ArgumentError, DTypeError, ShapeError

LAYERS = (nn.RNN, nn.LSTM, nn.GRU)
FORMS = ({}, {"num_layers": 2, "bidirectional": True})
N, T, C, H = 4, 5, 3, 6
LENGTHS = np.array([2, 5, 1, 4])


def make(layer, **settings):
    md.manual_seed(0)
    built = layer(C, H, **settings).astype(np.float64)
    random = np.random.default_rng(1)
    for p in built.parameters():
        p.data[...] = 0.6 * random.standard_normal(p.shape)
    return built, random.standard_normal((N, T, C))


def gradients(built, outputs, inputs):
    """Of the outputs' and states' sums of squares, for the parameters and the inputs."""
    total = sum((part * part).sum() for part in outputs)
    return [g.data for g in md.grad(total, [*built.parameters(), *inputs])]


@pytest.mark.parametrize("settings", FORMS, ids=["plain", "both directions"])
@pytest.mark.parametrize("layer", LAYERS)
def test_each_row_is_as_if_alone(layer, settings):
    built, x = make(layer, **settings)
    whole = md.tensor(x, requires_grad=True)
    together = [*outputs_of(built(whole, lengths=LENGTHS))]
    *shared, dx = gradients(built, together, [whole])
    sums = [np.zeros(p.shape) for p in built.parameters()]
    for n, length in enumerate(LENGTHS):
        row = md.tensor(x[n : n + 1, :length], requires_grad=True)
        alone = [*outputs_of(built(row))]
        np.testing.assert_allclose(together[0].data[n, :length], alone[0].data[0], rtol=1e-11)
        assert (together[0].data[n, length:] == 0).all()
        for state, own in zip(together[1:], alone[1:], strict=True):
            np.testing.assert_allclose(state.data[..., n, :], own.data[..., 0, :], rtol=1e-11)
        *own, d_row = gradients(built, alone, [row])
        np.testing.assert_allclose(dx[n, :length], d_row[0], rtol=1e-9, atol=1e-12)
        assert (dx[n, length:] == 0).all()
        sums = [total + part for total, part in zip(sums, own, strict=True)]
    for total, part in zip(sums, shared, strict=True):
        np.testing.assert_allclose(part, total, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("layer", LAYERS)
def test_what_lies_after_a_row_does_not_matter(layer):
    """As it is of memory that nobody has written to, such as np.empty's."""
    built, x = make(layer)
    found = []
    for padding in (0.0, np.nan, -np.inf):
        filled = np.where(np.arange(T)[:, None] < LENGTHS[:, None, None], x, padding)
        inputs = md.tensor(filled, requires_grad=True)
        outputs = [*outputs_of(built(inputs, lengths=LENGTHS))]
        found.append([*(part.data for part in outputs), *gradients(built, outputs, [inputs])])
    for others in found[1:]:
        for a, b in zip(found[0], others, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_loss_that_leaves_padding_out():
    """cross_entropy(ignore_index=) over (N, T, V) is that of the words alone, one after another."""
    random, words = np.random.default_rng(2), 7
    logits = random.standard_normal((N, T, words))
    target = random.integers(1, words, (N, T))
    counted = np.arange(T) < LENGTHS[:, None]
    target[~counted] = 0
    padded, alone = (md.tensor(x, requires_grad=True) for x in (logits, logits[counted]))
    loss = nn.CrossEntropyLoss(ignore_index=0)(padded, target)
    expected = nn.functional.cross_entropy(alone, target[counted])
    loss.backward()
    expected.backward()
    np.testing.assert_allclose(loss.data, expected.data, rtol=1e-12)
    np.testing.assert_allclose(padded.grad[counted], alone.grad, rtol=1e-12)
    assert (padded.grad[~counted] == 0).all()


@pytest.mark.parametrize("layer", LAYERS)
def test_padding_is_not_looked_at(layer):
    built, x = make(layer, bidirectional=True)
    other = x.copy()
    for n, length in enumerate(LENGTHS):
        other[n, length:] = 1e3
    for a, b in zip(
        outputs_of(built(x, lengths=LENGTHS)), outputs_of(built(other, lengths=LENGTHS)),
        strict=True,
    ):  # fmt: skip
        np.testing.assert_array_equal(a.data, b.data)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(
    "lengths",
    [[2, 5, 1, 4], (2, 5, 1, 4), LENGTHS.astype(np.int32), LENGTHS.astype(np.uint8),
     md.tensor(LENGTHS), np.repeat(LENGTHS, 2)[::2]],
    ids=lambda x: type(x).__name__,
)  # fmt: skip
def test_whole_numbers_of_any_kind(layer, lengths):
    built, x = make(layer)
    expected = built(x, lengths=LENGTHS)[0].data
    np.testing.assert_array_equal(built(x, lengths=lengths)[0].data, expected)


@pytest.mark.parametrize("layer", LAYERS)
def test_full_lengths_are_none(layer):
    built, x = make(layer, bidirectional=True)
    for a, b in zip(
        outputs_of(built(x)), outputs_of(built(x, lengths=[T] * N)), strict=True
    ):  # fmt: skip
        np.testing.assert_array_equal(a.data, b.data)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("settings", FORMS, ids=["plain", "both directions"])
def test_captured_with_other_lengths(layer, settings):
    """A replay looks at the lengths, and refuses wrong ones."""
    built, x = make(layer, **settings)
    built = built.astype(np.float32)

    def step(x, lengths):
        built.zero_grad()
        outputs = [*outputs_of(built(x, lengths=lengths))]
        total = sum((part * part).sum() for part in outputs)
        total.backward()
        return outputs[0]

    compiled = md.compile(step)
    for shift in range(4):
        lengths, moved = np.roll(LENGTHS, shift), np.roll(x, shift, axis=2).astype(np.float32)
        found = [compiled(moved, lengths).data.copy(), *(p.grad for p in built.parameters())]
        expected = [step(moved, lengths).data, *(p.grad for p in built.parameters())]
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b)
    with pytest.raises(ArgumentError, match="got 6 for row 1"):
        compiled(moved, np.array([1, 6, 1, 1]))


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(
    ("lengths", "error", "said"),
    [
        ([1, 2, 3], ShapeError, r"expected lengths of shape \(4,\), .* got \(3,\)"),
        (np.ones((4, 1), int), ShapeError, r"got \(4, 1\)"),
        (3, ShapeError, r"got \(\)"),
        ([1.0, 2.0, 3.0, 4.0], DTypeError, "whole numbers as lengths, got float64"),
        ([True, True, True, True], DTypeError, "got bool"),
        ("abcd", DTypeError, "got <U4"),
        ([1, 2, 6, 1], ArgumentError, "from 1 to 5, the steps of x, got 6 for row 2"),
        ([1, 2, 3, 0], ArgumentError, "got 0 for row 3: leave out rows without a step"),
        ([-1, 2, 3, 1], ArgumentError, "got -1 for row 0"),
    ],
)
def test_wrong_lengths(layer, lengths, error, said):
    for settings in FORMS:
        built, x = make(layer, **settings)
        with pytest.raises(error, match=said):
            built(x, lengths=lengths)
