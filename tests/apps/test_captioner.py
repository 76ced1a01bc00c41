"""A captioner: its decoder against one written out in NumPy, search, training, files."""

import json

import numpy as np
import pytest
from command import minidl
from PIL import Image

import minidl as md
from minidl import models
from minidl.apps import caption
from minidl.apps.caption.networks import Decoder
from minidl.apps.caption.vocabulary import END, PAD, START, UNKNOWN
from minidl.errors import ArgumentError, FileFormatError, StateError

COLORS = {"red": (255, 0, 0), "white": (255, 255, 255), "black": (0, 0, 0)}
SHORT = {"least": 1, "hidden": 32, "batch_size": 16, "progress": False, "lr": 0.01}


def body():
    md.manual_seed(1)
    network = models.create("mobilenet_v1", width=0.25)
    network.image_format = models.ImageFormat(32, "RGB", 127.5, (1.0,) * 3, (1.0,) * 3)
    return network


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """Thirty plain pictures, what is said of them, and a body."""
    folder = tmp_path_factory.mktemp("captions")
    rows = ["image,caption"]
    for i in range(30):
        color = [*COLORS][(i * 7) % 3]
        Image.new("RGB", (40, 32), COLORS[color]).save(folder / f"{i}.png")
        rows += [f"{i}.png,all is {color} here", f"{i}.png,everything is {color}"]
    (folder / "captions.csv").write_text("\n".join(rows))
    md.save_weights(body(), folder / "body.h5")
    return folder


def train(material, folder, **settings):
    return caption.train_captioner(
        material / "captions.csv", material, folder, material / "body.h5", **SHORT | settings
    )


@pytest.fixture(scope="module")
def trained(material, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return folder, train(material, folder, epochs=60)


def decoder():
    md.manual_seed(0)
    return Decoder(5, 9, embedding=4, hidden=6).eval()


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
    made.fit_to(3 + 2 * random.standard_normal((50, 5)).astype(np.float32))
    features = random.standard_normal((3, 5)).astype(np.float32)
    numbers = random.integers(0, 9, (3, 4))
    wanted = written_out(made, features, numbers)
    np.testing.assert_allclose(made(md.tensor(features), numbers).data, wanted, atol=1e-6)
    with md.no_grad():
        state = made.begin(features)
        for t in range(4):
            logs, state = made.next(numbers[:, t], state)
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
        scores[tuple(a)] = total / (len(a) + 1) ** 0.7
    best = max(scores, key=scores.get)
    found, score = caption.search(made, features, beams=200, longest=3)
    assert tuple(found) == best
    assert score == pytest.approx(scores[best], abs=1e-5)
    greedy, _ = caption.search(made, features, beams=1, longest=3)
    assert len(greedy) <= 3
    with pytest.raises(ArgumentError, match="beams"):
        caption.search(made, features, beams=0)


def test_training(trained, material):
    folder, found = trained
    assert (found.images, found.distinct) == (3, 3)
    assert found.bleu[0] > 0.99
    captioner = caption.load_captioner(folder / "captioner.h5")
    for i in (9, 19, 29):
        color = [*COLORS][(i * 7) % 3]
        assert color in caption.describe(captioner, material / f"{i}.png").split()
    kept = json.loads((folder / "results.json").read_text())
    assert kept["bleu"] == list(found.bleu)


def test_resumed_training_is_the_same(material, tmp_path, monkeypatch):
    whole = train(material, tmp_path / "whole", epochs=3)
    fit = md.train.Trainer.fit

    def interrupted(self, loader, epochs, *rest, **more):
        fit(self, loader, 2, *rest, **more)
        raise KeyboardInterrupt

    monkeypatch.setattr(md.train.Trainer, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(material, tmp_path / "parts", epochs=3)
    monkeypatch.undo()
    assert (tmp_path / "parts" / "captioner.h5").exists()
    with pytest.raises(StateError, match=r"lr=0\.01, not 0\.02"):
        train(material, tmp_path / "parts", epochs=3, lr=0.02, resume=True)
    assert train(material, tmp_path / "parts", epochs=3, resume=True) == whole
    states = [
        caption.load_captioner(tmp_path / name / "captioner.h5").state_dict()
        for name in ("whole", "parts")
    ]
    for name, array in states[0].items():
        np.testing.assert_array_equal(array, states[1][name])


def test_other_files_and_settings(material, tmp_path):
    with pytest.raises(FileFormatError, match="a captioner of `minidl caption train`, found 'mob"):
        caption.load_captioner(material / "body.h5")
    for settings in ({"lr": 0}, {"epochs": 0}, {"hidden": 0}, {"least": 99}):
        with pytest.raises(ArgumentError):
            train(material, tmp_path, **settings)
    (tmp_path / "few.csv").write_text("image,caption\n0.png,red\n")
    with pytest.raises(ArgumentError, match="ten images or more, got 1"):
        caption.train_captioner(tmp_path / "few.csv", material, tmp_path, material / "body.h5")


def test_command(trained, material, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    weights = ["--weights", trained[0] / "captioner.h5"]
    done = minidl("caption", material / "9.png", *weights, "--json", "said.json")
    assert (done.status, done.err) == (0, "")
    (row,) = json.loads((tmp_path / "said.json").read_text())["images"]
    assert done.out == f"{row['image']}: {row['caption']}\n"
    done = minidl(
        "caption", "train", material / "captions.csv", "--weights", material / "body.h5",
        "--epochs", 1, "--least", 1, "--hidden", 8, "-o", "run",
    )  # fmt: skip
    assert done.status == 0, done.err
    assert "of 3 images: BLEU-1 " in done.out
    assert done.out.endswith(f"saved {'run/captioner.h5'}\n")
    for given, message in (
        (["a.png"], "--weights FILE is missing"),
        (["train", *weights], "expected one file"),
        (["a.png", "--epochs", 3, *weights], "--epochs goes with train"),
        (["none.png", *weights], "none.png"),
    ):
        done = minidl("caption", *given)
        assert done.status == 2
        assert message in done.err
