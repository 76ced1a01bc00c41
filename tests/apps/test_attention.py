"""Show, Attend and Tell: its decoder against the equations written out, its loss, its pictures."""

import numpy as np
import pytest
from small_bodies import mobilenet

import minidl as md
from minidl.apps import caption
from minidl.apps.caption.decoders import NETWORKS, _either
from minidl.apps.caption.vocabulary import END, PAD, START, UNKNOWN
from minidl.errors import ArgumentError, ShapeError

WORDS = 9


def attend(dtype=np.float32):
    md.manual_seed(0)
    made = caption.Attend(5, WORDS, embedding=4, hidden=6).eval().astype(dtype)
    for parameter in made.parameters():  # biases too, so that none can be left out
        parameter.data[...] = np.random.default_rng(1).standard_normal(parameter.shape) / 2
    return made


def maps(count=3, dtype=np.float32):
    return np.random.default_rng(2).standard_normal((count, 2, 3, 5)).astype(dtype)


def written_out(made, features, numbers):
    """Logits after each word, and weights of places, by the paper's equations, image for image."""
    s = {name: array.astype(np.float64) for name, array in made.state_dict().items()}
    sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    logits, looks = [], []
    for image, words in zip(features, numbers, strict=True):
        seen = (image.reshape(-1, 5) - s["mean"]) / s["deviation"]
        a = seen @ s["look.weight"] + s["look.bias"]
        h, c = np.split(np.tanh(a.mean(axis=0) @ s["first.weight"] + s["first.bias"]), 2)
        for word in words:
            e = [
                np.tanh(place @ s["key.weight"] + s["key.bias"] + h @ s["query.weight"])
                @ s["score.weight"][:, 0]
                for place in a
            ]
            weights = np.exp(e) / np.exp(e).sum()
            gate = sigmoid(h @ s["gate.weight"] + s["gate.bias"])
            context = gate * sum(w * place for w, place in zip(weights, a, strict=True))
            y = s["embedding.weight"][word]
            x = np.concatenate([y, context])
            gates = x @ s["lstm.weight_ih"] + h @ s["lstm.weight_hh"] + s["lstm.bias"]
            i, f, g, o = np.split(gates, 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            found = y + h @ s["told.weight"] + s["told.bias"] + context @ s["seen.weight"]
            logits.append(found @ s["speak.weight"] + s["speak.bias"])
            looks.append(weights)
    shape = numbers.shape
    return np.reshape(logits, (*shape, -1)), np.reshape(looks, (*shape, -1))


def test_decoder_by_the_equations():
    made, features = attend(), maps()
    made.fit_to(3 + 2 * maps(50), range(50))
    numbers = np.random.default_rng(3).integers(0, WORDS, (3, 4))
    logits, looks = written_out(made, features, numbers)
    np.testing.assert_allclose(made(md.tensor(features), numbers).data, logits, atol=1e-5)
    with md.no_grad():
        state = made.begin(features)
        for t in range(4):
            logs, state, weights = made.next(numbers[:, t], state)
            exact = logits[:, t].copy()
            exact[:, [PAD, START, UNKNOWN]] = -np.inf
            exact -= np.log(np.exp(exact).sum(axis=1, keepdims=True))
            np.testing.assert_allclose(logs, exact, atol=1e-5)
            np.testing.assert_allclose(weights, looks[:, t], atol=1e-6)
            np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
            assert logs.dtype == weights.dtype == np.float32


def test_features_are_brought_to_mean_0_and_deviation_1():
    made, features = attend(), 3 + 2 * maps(50)
    made.fit_to(features, range(50))
    exact = features.astype(np.float64)
    np.testing.assert_allclose(made.mean.data, exact.mean(axis=(0, 1, 2)), rtol=1e-5)
    spread = (exact - exact.mean(axis=(0, 1, 2))).std()
    np.testing.assert_allclose(made.deviation.data, spread, rtol=1e-5)


@pytest.mark.parametrize("kind", NETWORKS)
def test_gradients(kind):
    """Of the loss with its doubly stochastic part, in all parameters."""
    md.manual_seed(0)
    made = NETWORKS[kind](2, 7, embedding=2, hidden=2).astype(np.float64).train()
    made.dropout.p = 0.0
    features = maps(2, np.float64)[..., :2]
    features = features if made.takes_maps else features.mean(axis=(1, 2))
    words, target = np.array([[START, 4], [START, 6]]), np.array([[4, 5], [END, PAD]])
    loss = caption.CaptionLoss(smoothing=0.1, doubly=0.7)
    names = [name for name, _ in made.named_parameters()]
    buffers = {name: array.data for name, array in made.named_buffers()}

    def run(*arrays):
        state = dict(zip(names, arrays, strict=True)) | buffers
        return loss(md.functional_call(made, state, (md.tensor(features), words)), target)

    assert md.gradcheck(run, [p.data.copy() for p in made.parameters()])


def test_places_that_are_alike_are_looked_at_alike():
    """A closed form: weights are 1 / places, and the context is the place, times the gate."""
    made = attend()
    features = np.repeat(np.repeat(maps(2)[:, :1, :1], 2, axis=1), 3, axis=2)
    _, _, weights = made.next(np.array([4, 5]), made.begin(features))
    np.testing.assert_allclose(weights, 1 / 6, atol=1e-6)


def test_doubly_stochastic_loss_by_hand():
    """Places of the padded step don't count; one place looked at 1.5 times, the other 0.5.

    The loss of words is a sum, and both are means over captions.
    """
    weights = np.array([[[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]], np.float32)
    logits, target = np.zeros((1, 3, WORDS), np.float32), np.array([[4, 5, PAD]])
    plain = caption.CaptionLoss()((md.tensor(logits), md.tensor(weights)), target).item()
    assert plain == pytest.approx(2 * np.log(WORDS), abs=1e-6)
    found = caption.CaptionLoss(doubly=2.0)((md.tensor(logits), md.tensor(weights)), target)
    assert found.item() == pytest.approx(plain + 2 * (0.5**2 + 0.5**2), abs=1e-6)
    twice = [np.repeat(each, 2, axis=0) for each in (logits, weights, target)]
    both = caption.CaptionLoss(doubly=2.0)(tuple(map(md.tensor, twice[:2])), twice[2])
    assert both.item() == pytest.approx(found.item(), abs=1e-6)
    assert caption.CaptionLoss(doubly=2.0)(md.tensor(logits), target).item() == plain


def test_search_carries_the_weights():
    """Those of the caption that wins, as a decoder that is told its words gives them."""
    made, features = attend(), maps(1)[0]
    made.speak.bias.data[END] = -3.0  # longer captions
    found = caption.search(made, features, beams=4, longest=6)
    assert len(found.numbers) >= 3
    numbers = np.array([[START, *found.numbers[:-1]]])
    _, looks = written_out(made, features[np.newaxis], numbers)
    np.testing.assert_allclose(found.weights, looks[0], atol=1e-5)


@pytest.mark.filterwarnings("ignore:divide by zero")
def test_scheduled_sampling_reads_true_words_or_its_own():
    true, logits = np.array([4, PAD, 5]), np.zeros((3, WORDS), np.float32)
    logits[:, [PAD, START]] = 90.0
    logits[:, 7] = 50.0
    md.manual_seed(0)
    assert _either(true, logits, 0.0).tolist() == [4, PAD, 5]
    assert _either(true, logits, 1.0).tolist() == [7, PAD, 7]
    drawn = np.concatenate(
        [_either(np.full(500, 4), np.log([[0, 0, 0, 0, 1, 1, 2]] * 500), 1.0) for _ in range(4)]
    )
    assert np.bincount(drawn)[4:] / len(drawn) == pytest.approx([0.25, 0.25, 0.5], abs=0.05)


@pytest.mark.parametrize("kind", NETWORKS)
def test_one_word_at_a_time_is_the_same(kind):
    """The loop of scheduled sampling, where it never draws; in evaluation it isn't used."""
    parts = lambda found: found if isinstance(found, tuple) else (found,)  # noqa: E731
    md.manual_seed(0)
    made = NETWORKS[kind](5, WORDS, embedding=4, hidden=6).train()
    made.dropout.p = 0.0
    features = maps() if made.takes_maps else maps().mean(axis=(1, 2))
    numbers = np.random.default_rng(3).integers(4, WORDS, (3, 4))
    whole = made(md.tensor(features), numbers)
    made.sampling = 1e-12
    stepwise = made(md.tensor(features), numbers)
    for one, other in zip(*map(parts, (whole, stepwise)), strict=True):
        np.testing.assert_allclose(one.data, other.data, atol=1e-6)
    made.sampling = 1.0
    drawn = made(md.tensor(features), numbers)
    logits = [parts(each)[0] for each in (drawn, whole)]
    assert np.abs(logits[0].data - logits[1].data).max() > 1e-3
    np.testing.assert_allclose(logits[0].data[:, 0], logits[1].data[:, 0], atol=1e-6)
    made.eval()
    again = made(md.tensor(features), numbers)
    np.testing.assert_allclose(again.data, logits[1].data, atol=1e-6)


@pytest.mark.parametrize("kind", NETWORKS)
def test_an_ensemble_averages_probabilities(kind):
    md.manual_seed(0)
    members = [NETWORKS[kind](5, WORDS, embedding=4, hidden=6).eval() for _ in range(3)]
    features = maps(2) if members[0].takes_maps else maps(2).mean(axis=(1, 2))
    made, words = caption.Ensemble(members).eval(), np.array([START, 4])
    with md.no_grad():
        each = [member.next(words, member.begin(features)) for member in members]
        spoken = made.next(words, made.begin(features))
        again = made.next(words, spoken.state)
        last = [
            member.next(words, one.state).logs for member, one in zip(members, each, strict=True)
        ]
    wanted = np.mean([np.exp(one.logs.astype(np.float64)) for one in each], axis=0)
    np.testing.assert_allclose(np.exp(spoken.logs), wanted, atol=1e-6)
    np.testing.assert_allclose(np.exp(again.logs), np.mean(np.exp(last), axis=0), atol=1e-6)
    if spoken.weights is not None:
        np.testing.assert_allclose(spoken.weights, np.mean([o.weights for o in each], axis=0))
    numbers = np.array([[START, 4], [START, 5]])
    softmax = lambda x: np.exp(x) / np.exp(x).sum(axis=2, keepdims=True)  # noqa: E731
    shares = [softmax(member(md.tensor(features), numbers).data) for member in members]
    found = made(md.tensor(features), numbers).data
    np.testing.assert_allclose(np.exp(found), np.mean(shares, axis=0), atol=1e-6)


def test_members_learn_apart():
    """The loss is the mean of theirs, and so each has a third of the gradient that it has alone."""
    md.manual_seed(0)
    members = [caption.Attend(5, WORDS, embedding=4, hidden=6).train() for _ in range(3)]
    for member in members:
        member.dropout.p = 0.0
    loss, features = caption.CaptionLoss(0.1, doubly=0.5), md.tensor(maps(2))
    words, target = np.array([[START, 4], [START, 5]]), np.array([[4, END], [5, PAD]])
    together = loss(caption.Ensemble(members).train()(features, words), target)
    together.backward()
    grads = [[p.grad / 1 for p in member.parameters()] for member in members]
    alone = []
    for member, wanted in zip(members, grads, strict=True):
        member.zero_grad()
        alone.append(loss(member(features, words), target))
        alone[-1].backward()
        for parameter, grad in zip(member.parameters(), wanted, strict=True):
            np.testing.assert_allclose(np.asarray(parameter.grad) / 3, np.asarray(grad), atol=1e-6)
    assert together.item() == pytest.approx(np.mean([one.item() for one in alone]), rel=1e-6)


def test_a_picture_of_where_it_looked():
    image = np.full((40, 60, 3), 200, np.uint8)
    weights = np.zeros((2, 2, 2), np.float32)
    weights[0, 0, 0] = weights[1, 1, 1] = 1
    found = caption.attention_picture(image, ["left", "right"], weights)
    assert (found.dtype, found.ndim) == (np.uint8, 3)
    height, width = (found.shape[0] - 2) // 2, (found.shape[1] - 2) // 2  # four tiles, one empty
    tile = lambda i, j: found[i * (height + 2) :, j * (width + 2) :][:height, :width]  # noqa: E731
    assert np.ptp(tile(0, 0)[:140]) == 0  # the image, its sides in the same ratio
    assert tile(0, 1)[10, 10].mean() > 3 * tile(0, 1)[130, 210].mean()
    assert tile(1, 0)[130, 210].mean() > 3 * tile(1, 0)[10, 10].mean()
    assert (tile(0, 1)[150:] < 100).any()  # the word
    assert (tile(1, 1) == 255).all()
    with pytest.raises(ShapeError, match=r"weights \(1, h, w\), got \(2, 2, 2\)"):
        caption.attention_picture(image, ["left"], weights)


def test_an_attending_captioner_and_its_file(tmp_path):
    made = caption.Captioner(
        mobilenet(), caption.Vocabulary(["dog"]), decoder="attend", members=2, embedding=4, hidden=6
    )
    md.save_weights(made, tmp_path / "c.h5")
    read, image = caption.load_captioner(tmp_path / "c.h5"), np.full((40, 60, 3), 90, np.uint8)
    found = caption.observe(read, image)
    assert all(isinstance(member, caption.Attend) for member in read.decoder.members)
    assert found.weights.shape[0] == len(found.words)
    assert found.weights.shape[1:] == read.look(found.image[np.newaxis]).shape[1:3]
    assert caption.describe(made, image) == " ".join(found.words)
    with pytest.raises(ArgumentError, match="must be 'show-and-tell' or 'attend', got 'tell'"):
        caption.Captioner(mobilenet(), caption.Vocabulary(["dog"]), decoder="tell")
