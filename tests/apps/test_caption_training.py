"""Training a captioner: what is kept, resumed and refused; `minidl caption`."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command import minidl
from PIL import Image
from small_bodies import mobilenet

import minidl as md
from minidl.apps import caption
from minidl.apps.caption.training import LONGEST, Taught, _Said
from minidl.apps.caption.vocabulary import END, START
from minidl.data import HDF5Dataset
from minidl.errors import ArgumentError, FileFormatError, StateError

COLORS = {"red": (255, 0, 0), "white": (255, 255, 255), "black": (0, 0, 0)}
SHORT = {"least": 1, "hidden": 32, "batch_size": 16, "progress": False, "lr": 0.01}


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
    md.save_weights(mobilenet(), folder / "body.h5")
    return folder


def train(material, folder, **settings):
    return caption.train_captioner(
        material / "captions.csv", material, folder, material / "body.h5", **SHORT | settings
    )


@pytest.fixture(scope="module")
def trained(material, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return folder, train(material, folder, epochs=60)


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


OTHERS = {"decoder": "attend", "members": 2, "scheduled_sampling": 0.5}


def test_training_to_attend(material, tmp_path):
    """It learns, and where it looks is drawn."""
    found = train(material, tmp_path, epochs=30, decoder="attend")
    assert (found.images, found.distinct) == (3, 3)
    assert found.bleu[0] > 0.99
    with HDF5Dataset(tmp_path / "features.h5") as kept:
        assert len(kept.shape) == 3  # a map
    weights = ["--weights", tmp_path / "captioner.h5", "-o", tmp_path / "looked"]
    done = minidl("caption", material / "9.png", material / "19.png", *weights)
    assert (done.status, done.err) == (0, "")
    names = [path.name for path in sorted((tmp_path / "looked").iterdir())]
    assert names == ["19-attention.png", "9-attention.png"]
    with Image.open(tmp_path / "looked" / names[0]) as picture:
        assert json.loads(picture.text["minidl"])["caption"] in done.out
    done = minidl("caption", material, material / "9.png", *weights)
    assert "two images would be drawn as" in done.err


@pytest.mark.parametrize("settings", [{}, OTHERS], ids=["show-and-tell", "attend"])
def test_resumed_training_is_the_same(settings, material, tmp_path, monkeypatch):
    whole = train(material, tmp_path / "whole", epochs=3, **settings)
    fit = md.train.Trainer.fit

    def interrupted(self, loader, epochs, *rest, **more):
        fit(self, loader, 2, *rest, **more)
        raise KeyboardInterrupt

    monkeypatch.setattr(md.train.Trainer, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(material, tmp_path / "parts", epochs=3, **settings)
    monkeypatch.undo()
    assert (tmp_path / "parts" / "captioner.h5").exists()
    with pytest.raises(StateError, match=r"lr=0\.01, not 0\.02"):
        train(material, tmp_path / "parts", epochs=3, resume=True, **settings | {"lr": 0.02})
    assert train(material, tmp_path / "parts", epochs=3, resume=True, **settings) == whole
    states = [
        caption.load_captioner(tmp_path / name / "captioner.h5").state_dict()
        for name in ("whole", "parts")
    ]
    for name, array in states[0].items():
        np.testing.assert_array_equal(array, states[1][name])


def test_scheduled_sampling_rises(material, tmp_path, monkeypatch):
    """From never in the first epoch to as often as told in the last; and it changes the weights."""
    seen = []
    forward = caption.Decoder.forward

    def watched(self, *given):
        if self.training:
            seen.append(self.sampling)
        return forward(self, *given)

    monkeypatch.setattr(caption.Decoder, "forward", watched)
    train(material, tmp_path / "sampled", epochs=3, scheduled_sampling=0.5)
    assert sorted(set(seen)) == [0, 0.25, 0.5]
    assert seen == sorted(seen)
    train(material, tmp_path / "not", epochs=3)
    losses = [
        json.loads((tmp_path / name / "history.json").read_text())["epochs"]
        for name in ("sampled", "not")
    ]
    assert losses[0][0]["loss"] == losses[1][0]["loss"]
    assert losses[0][2]["loss"] != losses[1][2]["loss"]


def test_the_epoch_is_chosen_by_scores(material, tmp_path, monkeypatch):
    """With images enough; otherwise by the loss, as scores of a few are chance."""
    monkeypatch.setattr("minidl.apps.caption.training.ENOUGH", 3)
    train(material, tmp_path, epochs=6)
    rows = json.loads((tmp_path / "history.json").read_text())["epochs"]
    best = max(rows, key=lambda row: row["val_cider"])  # the first of equals
    assert 0 <= best["val_bleu4"] <= best["val_bleu1"] <= 1
    kept = caption.load_captioner(tmp_path / "captioner.h5")
    with HDF5Dataset(tmp_path / "features.h5") as held:
        features = held.batch([8, 18, 28])[0]
    held = caption.read_captions(material / "captions.csv")
    said = [[caption.words_of(t) for t in held.captions[i]] for i in (8, 18, 28)]
    found = caption.score_captioner(kept, features, said)
    assert found.cider == pytest.approx(best["val_cider"], abs=1e-12)
    assert found.distinct == best["val_distinct"]


@pytest.fixture
def copied(material, tmp_path):
    """A copy of the material, to be changed."""
    return Path(shutil.copytree(material, tmp_path / "copy"))


def test_features_are_of_the_body_and_the_images(copied, tmp_path):
    """Features and checkpoints of another body, other images or captions aren't taken."""

    def looked(folder):
        with HDF5Dataset(folder / "features.h5") as kept:
            return kept.batch(range(len(kept)))[0]

    run = tmp_path / "run"
    train(copied, run, epochs=1)
    before = looked(run)
    other = mobilenet()
    other.features.load_state_dict({k: v * 1.5 for k, v in other.features.state_dict().items()})
    md.save_weights(other, copied / "body.h5")
    with pytest.raises(StateError, match="body and images="):
        train(copied, run, epochs=1, resume=True)
    train(copied, run, epochs=1)
    train(copied, tmp_path / "fresh", epochs=1)
    assert np.abs(looked(run) - before).max() > 1e-3
    np.testing.assert_array_equal(looked(run), looked(tmp_path / "fresh"))
    Image.new("RGB", (40, 32), (0, 255, 0)).save(copied / "3.png")
    with pytest.raises(StateError, match="body and images="):
        train(copied, run, epochs=1, resume=True)
    train(copied, run, epochs=1)
    changed = np.flatnonzero((looked(run) != looked(tmp_path / "fresh")).any(axis=1))
    assert changed.tolist() == [3, 33]  # the image, and in a mirror
    (run / "features.h5").write_bytes(b"damaged")
    train(copied, run, epochs=1, resume=True)
    assert len(looked(run)) == 30 + 24
    said = (copied / "captions.csv").read_text()
    (copied / "captions.csv").write_text(said.replace("all is", "is all"))
    with pytest.raises(StateError, match="captions="):
        train(copied, run, epochs=1, resume=True)


def test_damaged_images_are_named_first(copied, tmp_path, monkeypatch):
    """Before the body looks at any, and before older checkpoints are removed."""
    train(copied, tmp_path / "run", epochs=1)
    for i in (28, 29):
        (copied / f"{i}.png").write_bytes((copied / f"{i}.png").read_bytes()[:60])
    monkeypatch.setattr("minidl.apps.caption.training.look_at", None)
    with pytest.raises(FileFormatError, match=r"2 of 30 images can't be read, such as .*28\.png: "):
        train(copied, tmp_path / "run", epochs=1)
    assert (tmp_path / "run" / "captioner.h5").exists()
    assert (tmp_path / "run" / "checkpoints" / "best.h5").exists()


def test_a_body_whose_features_are_not_numbers(copied, tmp_path):
    network = mobilenet()
    next(network.features.parameters()).data[...] = np.nan
    md.save_weights(network, copied / "body.h5")
    with pytest.raises(ArgumentError, match="the body's features are NaN or infinite"):
        train(copied, tmp_path / "run", epochs=1)


def test_an_older_captioner_is_not_taken_for_a_new_one(material, tmp_path, monkeypatch):
    """Where Ctrl-C comes in the first epoch, there is none."""
    train(material, tmp_path, epochs=1)

    def interrupted(*arguments, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(md.train.Trainer, "fit", interrupted)
    for resume in (False, True):
        with pytest.raises(KeyboardInterrupt):
            train(material, tmp_path, epochs=2, resume=resume)
        assert not (tmp_path / "captioner.h5").exists()
        assert not (tmp_path / "results.json").exists()
        (tmp_path / "captioner.h5").touch()


@pytest.mark.parametrize("mirror", [True, False])
def test_mirror_images(mirror, copied, tmp_path):
    """Those of training images come after all images, and are seen half of the time."""
    pixels = np.random.default_rng(0).integers(0, 256, (32, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(copied / "10.png")  # the ninth to train on
    train(copied, tmp_path, epochs=1, mirror=mirror)
    with HDF5Dataset(tmp_path / "features.h5") as kept:
        features = kept.batch(range(len(kept)))[0]
    assert len(features) == (54 if mirror else 30)
    captioner = caption.load_captioner(tmp_path / "captioner.h5")
    seen = captioner.photograph(pixels)
    wanted = captioner.look(np.stack([seen, seen[:, ::-1]]))
    np.testing.assert_allclose(features[10], wanted[0], rtol=1e-5, atol=1e-6)
    parts = [i for i in range(30) if i % 10 < 8]
    taught, seen = Taught(captioner.decoder, features, 30, parts), []
    captioner.decoder.forward = lambda features, numbers: seen.append(features.data)
    rows = np.full((400, 2), 10)
    for training in (True, False):
        taught.train(training)(rows)
    as_it_is = [(each == features[10]).all(axis=1).mean() for each in seen]
    assert as_it_is[1] == 1
    if mirror:
        np.testing.assert_allclose(features[38], wanted[1], rtol=1e-5, atol=1e-6)
        assert 0.4 < as_it_is[0] < 0.6
        assert (seen[0] == features[38]).all(axis=1).mean() == pytest.approx(1 - as_it_is[0])
    else:
        assert as_it_is[0] == 1


def test_a_cut_is_no_end():
    """Of a caption that is longer than what is learned; others have their end."""
    vocabulary = caption.Vocabulary(["dog"])
    long, full = ["dog"] * (LONGEST + 9), ["dog"] * LONGEST
    x, y = _Said([0], [[long, full]], vocabulary, 2).batch([0, 1])
    assert sorted(y.tolist()) == [[4] * LONGEST + [END], [4] * (LONGEST + 1)]
    assert x[:, 1].tolist() == [START, START]


def test_batches_are_of_captions_of_about_one_length():
    """Each caption is in one; what doesn't fill a batch comes last, and the order is random."""
    random = np.random.default_rng(0)
    words = [[["dog"] * n for n in random.integers(1, 20, 5)] for _ in range(21)]
    said = _Said(range(21), words, caption.Vocabulary(["dog"]), 10)
    assert len(said) == 105
    orders = [said.order(np.random.default_rng(seed)) for seed in (0, 1)]
    assert (orders[0] != orders[1]).any()
    for order in orders:
        assert sorted(order) == list(range(105))
        lengths = np.array([len(said.items[i][1]) for i in order])
        batches = lengths[:100].reshape(10, 10)
        assert np.ptp(batches, axis=1).sum() <= np.ptp(lengths)  # no two overlap
        assert (np.diff(batches[:, 0]) < 0).any()
        y = said.batch(order[:10])[1]
        assert y.shape[1] == batches[0].max() - 1


def test_other_files_and_settings(material, tmp_path):
    with pytest.raises(FileFormatError, match="a captioner of `minidl caption train`, found 'mob"):
        caption.load_captioner(material / "body.h5")
    for settings in (
        {"lr": 0}, {"epochs": 0}, {"hidden": 0}, {"least": 99}, {"beams": 0},
        {"decoder": "tell"}, {"members": 0}, {"scheduled_sampling": 1.5}, {"doubly_stochastic": -1},
    ):  # fmt: skip
        with pytest.raises(ArgumentError):
            train(material, tmp_path / "none", **settings)
    assert not (tmp_path / "none").exists()
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
        (
            ["train", "a.csv", "--doubly-stochastic", 2, *weights],
            "--doubly-stochastic goes with --decoder attend",
        ),
        (["a.png", "--images", "photos", *weights], "--images goes with train"),
        (
            [material / "9.png", "-o", "drawn", *weights],
            "looks at the whole image once: train one with --decoder attend",
        ),
        ([material, "none.png", *weights], "none.png"),
        ([tmp_path / "run" / "checkpoints", *weights], "there is no image in the folder"),
    ):
        done = minidl("caption", *given)
        assert (done.status, done.out) == (2, "")
        assert message in done.err


def test_the_command_goes_on_after_a_damaged_image(trained, copied):
    (copied / "0.png").write_text("no image")
    weights = ["--weights", trained[0] / "captioner.h5", "--json", copied / "said.json"]
    done = minidl("caption", copied, *weights)
    assert done.status == 1
    assert done.err.startswith(f"minidl caption: {copied / '0.png'}: expected an image")
    assert len(done.out.splitlines()) == 29
    kept = json.loads((copied / "said.json").read_text())
    assert (len(kept["images"]), len(kept["skipped"])) == (29, 1)
    assert minidl("caption", copied / "0.png", *weights).status == 2


def test_one_caption_for_all_is_told(material, tmp_path, monkeypatch):
    """Also of a few images, and that Ctrl-C kept the best epoch, if one was done."""
    module, line = "minidl.apps.caption.train_captioner", ["--weights", "b.h5", "-o", tmp_path]
    for images, distinct, told in ((10, 1, True), (3, 1, True), (100, 11, False), (1, 1, False)):
        scores = caption.Scores([0.0] * 4, 0.0, distinct, images)
        monkeypatch.setattr(module, lambda *given, found=scores, **more: found)
        done = minidl("caption", "train", material / "captions.csv", *line)
        assert ("nearly the same" in done.out) == told

    def interrupted(*given, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, interrupted)
    assert minidl("caption", "train", material / "captions.csv", *line).out == ""
    (tmp_path / "captioner.h5").touch()
    done = minidl("caption", "train", material / "captions.csv", *line)
    assert (done.status, done.out[:12]) == (130, "interrupted:")
