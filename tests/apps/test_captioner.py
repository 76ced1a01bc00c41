"""A captioner: its decoder against one written out in NumPy, search, files."""

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from small_bodies import mobilenet

import minidl as md
from minidl import models
from minidl.apps import caption
from minidl.apps.caption.decoders import ShowAndTell, Spoken
from minidl.apps.caption.vocabulary import END, PAD, START, UNKNOWN
from minidl.errors import ArgumentError, FileFormatError


def decoder():
    md.manual_seed(0)
    return ShowAndTell(5, 9, embedding=4, hidden=6).eval()


def written_out(made, features, numbers):
    """Logits after each word, by the equations."""
    state = {name: array.astype(np.float64) for name, array in made.state_dict().items()}
    sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    h, c = np.zeros((2, len(features), 6))
    found = []
    seen = (features - state["mean"]) / state["deviation"]
    inputs = [seen @ state["look.weight"] + state["look.bias"]]
    inputs += [state["embedding.weight"][numbers[:, t]] for t in range(numbers.shape[1])]
    for x in inputs:
        gates = x @ state["lstm.weight_ih"] + h @ state["lstm.weight_hh"] + state["lstm.bias"]
        i, f, g, o = np.split(gates, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        found.append(h @ state["speak.weight"] + state["speak.bias"])
    return np.stack(found[1:], axis=1)


def test_decoder():
    made, random = decoder(), np.random.default_rng(0)
    made.fit_to(3 + 2 * random.standard_normal((50, 5)).astype(np.float32), range(50))
    features = random.standard_normal((3, 5)).astype(np.float32)
    numbers = random.integers(0, 9, (3, 4))
    wanted = written_out(made, features, numbers)
    np.testing.assert_allclose(made(md.tensor(features), numbers).data, wanted, atol=1e-6)
    with md.no_grad():
        state = made.begin(features)
        for t in range(4):
            logs, state, _ = made.next(numbers[:, t], state)
            exact = wanted[:, t].copy()
            exact[:, [PAD, START, UNKNOWN]] = -np.inf
            exact -= np.log(np.exp(exact).sum(axis=1, keepdims=True))
            np.testing.assert_allclose(logs, exact, atol=1e-5)


def test_search_finds_the_best_of_all():
    """With as many beams as there are captions, the best of all of up to three words."""
    made, features = decoder(), np.ones(5, np.float32)
    words = [w for w in range(9) if w not in (PAD, START, UNKNOWN, END)]
    scores = {}
    for a in [[], *([w] for w in words), *([v, w] for v in words for w in words)]:
        numbers = np.array([[START, *a]])
        logits = written_out(made, features[None], numbers)[0]
        logits[:, [PAD, START, UNKNOWN]] = -np.inf
        logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        total = sum(logs[t, w] for t, w in enumerate([*a, END]))
        scores[tuple(a)] = total / (len(a) + 1)
    best = max(scores, key=scores.get)
    found, score, _ = caption.search(made, features, beams=200, longest=3)
    assert tuple(found) == best
    assert score == pytest.approx(scores[best], abs=1e-5)
    greedy, *_ = caption.search(made, features, beams=1, longest=3)
    assert len(greedy) <= 3
    with pytest.raises(ArgumentError, match="beams"):
        caption.search(made, features, beams=0)


def alike(words, other):
    """The formula of `likeness`, by hand: BLEU with 1 added from pairs on."""
    product = 1.0
    for n in range(1, 5):
        own, others = (
            Counter(tuple(text[i : i + n]) for i in range(len(text) - n + 1))
            for text in (words, other)
        )
        added = n > 1
        product *= ((own & others).total() + added) / max(own.total() + added, 1)
    brevity = min(1.0, math.exp(1 - len(other) / len(words))) if words else 0.0
    return brevity * product**0.25


def test_consensus_is_what_most_agree_on():
    """The expectation over all captions that end within three steps, by their probabilities."""
    made, features = decoder(), np.ones(5, np.float32)
    words = [w for w in range(9) if w not in (PAD, START, UNKNOWN, END)]
    shares = {}
    for a in [(), *((w,) for w in words), *((v, w) for v in words for w in words)]:
        logits = written_out(made, features[None], np.array([[START, *a]]))[0]
        logits[:, [PAD, START, UNKNOWN]] = -np.inf
        logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        shares[a] = math.exp(sum(logs[t, w] for t, w in enumerate([*a, END])))
    whole = sum(shares.values())
    expected = {a: sum(share * alike(a, b) for b, share in shares.items()) / whole for a in shares}
    best = max(expected, key=expected.get)
    found = caption.consensus(made, features, beams=200, longest=3)
    assert tuple(found.numbers) == best
    assert found.score == pytest.approx(expected[best], abs=1e-6)
    greedy = caption.search(made, features, beams=1, longest=3)
    assert caption.consensus(made, features, beams=1, longest=3).numbers == greedy.numbers
    with pytest.raises(ArgumentError, match="consensus: beams"):
        caption.consensus(made, features, beams=0)
    with pytest.raises(ArgumentError, match="consensus: the decoder's scores are NaN"):
        caption.consensus(made, features * np.nan)


class Scripted(ShowAndTell):
    """Its words' probabilities are those of a table, (steps, words), whatever was said."""

    def __init__(self, table):
        self.table = np.log(table)

    def begin(self, features):
        return np.zeros((1, 1)), np.zeros((1, 1))

    def next(self, numbers, state):
        step = int(state[0][0, 0])
        logs = np.repeat(self.table[step : step + 1], len(numbers), axis=0)
        return Spoken(logs, (state[0] + 1, state[1]), None)


@pytest.mark.filterwarnings("ignore:divide by zero")
def test_one_beam_takes_the_likeliest_word():
    """Also where it is less likely, word for word, than an end before it was."""
    table = np.zeros((4, 7))
    table[0, [END, 4, 5]] = 0.48, 0.5, 0.02
    table[1:3, [END, 4, 5]] = 0.3, 0.3, 0.4
    table[3, [END, 4, 5]] = 0.5, 0.25, 0.25
    found, score, _ = caption.search(Scripted(table), np.ones(3), beams=1)
    assert found == [4, 5, 5]
    assert score == pytest.approx(np.log(0.5 * 0.4 * 0.4 * 0.5) / 4)


def test_search_at_its_limits():
    made, features = decoder(), np.ones(5, np.float32)
    (word,), *_ = caption.search(made, features, beams=1, longest=1)
    assert word not in (PAD, START, UNKNOWN, END)
    md.manual_seed(0)
    nothing = ShowAndTell(5, 4, embedding=4, hidden=6).eval()  # it knows no word
    assert caption.search(nothing, features, beams=50) == ([], pytest.approx(0, abs=1e-6), None)
    with pytest.raises(ArgumentError, match="NaN"):
        caption.search(made, features * np.nan)


def test_a_body_for_grey_images_and_one_that_no_file_names():
    network = models.create("lenet5")
    size = network.input_shape[0]
    network.image_format = models.ImageFormat(size, "RGB", 255.0, (0.5,), (0.5,))
    made = caption.Captioner(network, caption.Vocabulary(["dog"]), embedding=4, hidden=6)
    picture = np.full((9, 20), 100, np.uint8)
    assert caption.describe(made, picture) == caption.describe(made, np.dstack([picture] * 4))
    network.architecture = None
    with pytest.raises(ArgumentError, match=r"a network that minidl\.models made"):
        caption.Captioner(network, caption.Vocabulary(["dog"]))


def test_pictures_are_prepared_as_the_body_wants():
    """A body of BGR, less means: features as from pixels that are prepared by hand."""
    network = models.create("mobilenet_v1", width=0.25).eval()
    network.image_format = models.ImageFormat(32, "BGR", 2.0, (10.0, 20.0, 30.0), (1.0, 2.0, 3.0))
    made = caption.Captioner(network, caption.Vocabulary(["dog"]), embedding=4, hidden=6)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    wanted = (pixels[..., ::-1] / 2 - [10, 20, 30]) / [1, 2, 3]
    with md.no_grad():
        maps = network.features(wanted.astype(np.float32)).data
    found = made.train().look(made.photograph(pixels[0])[np.newaxis])
    np.testing.assert_allclose(found, maps.mean(axis=(1, 2)), rtol=1e-4, atol=1e-5)
    assert found.dtype == np.float32


def test_many_words(tmp_path):
    """More than 64 KiB of them, as COCO has."""
    words = [f"word{i}" for i in range(9000)]
    made = caption.Captioner(mobilenet(), caption.Vocabulary(words), embedding=2, hidden=2)
    md.save_weights(made, tmp_path / "c.h5")
    assert caption.load_captioner(tmp_path / "c.h5").classes == words


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hidden": 10**9}, "more numbers than"),
        ({"embedding": 2**40}, "more numbers than"),
        ({"hidden": True}, "hidden must be a whole number"),
        ({"hidden": 10**400}, "more numbers than"),
        ({"members": 10**6}, "more numbers than"),
        ({"decoder": "tell"}, "decoder must be"),
        ({"arguments": {"width": 4.0}}, "more numbers than"),
        ({"arguments": {"weights": "/etc/passwd"}}, "where weights are"),
        ({"body": "none"}, "no network 'none'"),
        ({}, "images of 65,536 pixels"),
        (
            {"body": "plain_cnn", "arguments": {"input_size": 4096, "m": 1, "hidden": 1}},
            "images of 4,096 pixels",
        ),
    ],
)
def test_files_that_ask_for_too_much(arguments, message, tmp_path):
    made = caption.Captioner(mobilenet(), caption.Vocabulary(["dog"]), embedding=4, hidden=6)
    made.architecture = made.architecture[0], made.architecture[1] | arguments
    if not arguments:
        made.image_format = replace(made.image_format, size=2**16)
    md.save_weights(made, tmp_path / "c.h5")
    with pytest.raises(FileFormatError, match=message):
        caption.load_captioner(tmp_path / "c.h5")
