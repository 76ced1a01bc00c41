"""`train_captioner`: a decoder trained to say what people said of photographs."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import minidl as md
from minidl import optim
from minidl.apps.caption.captions import read_captions
from minidl.apps.caption.decoders import CaptionLoss, Ensemble
from minidl.apps.caption.features import check_images, fingerprint, kept_features, look_at
from minidl.apps.caption.measuring import Scores, score_captioner
from minidl.apps.caption.networks import Captioner
from minidl.apps.caption.vocabulary import PAD, Vocabulary, words_of
from minidl.checks import flag, positive, real, whole
from minidl.data import DataLoader, Dataset
from minidl.distributed.world import world
from minidl.errors import ArgumentError
from minidl.io.plain_json import save_json
from minidl.nn import Module
from minidl.train import Callback, Checkpoint, ClipGradients, Trainer
from minidl.train.agreement import compare
from minidl.train.pretrained import pretrained
from minidl.train.resuming import CHECKPOINTS, begin_folder, resume_trainer

__all__ = ["train_captioner"]

WHO = "train_captioner"
WEIGHTS, FEATURES, RESULTS = "captioner.h5", "features.h5", "results.json"
BEST = "best.h5"  # of the checkpoints
LONGEST = 24  # words of a caption that are learned, then its end or one word more
CLIP = 50.0  # the most for the norm of all gradients, of a loss that sums over words
SMOOTHING = 0.1  # of the words that are to be said
ENOUGH = 50  # images for scores to choose the epoch by: of fewer they are mostly chance
PARTS = ((0, 8), (8, 9), (9, 10))  # of ten images in turn: to train, to choose the epoch, to test


class Material(NamedTuple):
    """What is learned from: the words of each image's captions, and the numbers of images."""

    words: list[list[list[str]]]
    train: list[int]
    validation: list[int]
    test: list[int]

    def said_of(self, part: Sequence[int]) -> list[list[list[str]]]:
        """Return the words of captions of some images."""
        return [self.words[i] for i in part]


def train_captioner(
    captions: str | os.PathLike[str],
    images: str | os.PathLike[str],
    output: str | os.PathLike[str],
    weights: str | os.PathLike[str],
    *,
    model: str | None = None,
    decoder: str = "show-and-tell",
    members: int = 1,
    least: int = 3,
    hidden: int = 256,
    epochs: int = 15,
    batch_size: int = 64,
    lr: float = 2e-3,
    doubly_stochastic: float = 1.0,
    scheduled_sampling: float = 0.0,
    mirror: bool = True,
    beams: int = 20,
    seed: int = 0,
    resume: bool = False,
    progress: bool = True,
) -> Scores:
    """Train a decoder on images with captions, and score it on images that it hasn't seen.

    captions: a file, as `read_captions` takes it.  images: the folder with the images.
    output: a folder. It gets captioner.h5 of the best epoch, features.h5, which the body is asked
        for once, history.json, results.json and checkpoints. Those of an older training in it are
        removed, but for features of the same body and images.
    weights, model: of the body, as `minidl finetune` takes them; it stays as it is.
    decoder: "show-and-tell", or "attend", which looks at other places of the image at each word.
    members: how many decoders to train side by side, whose probabilities are averaged.
    least: how often a word is there, to be learned.  hidden: units of the LSTM.
    doubly_stochastic: with "attend", the weight of the loss for looking at some places more than
        at others over a whole caption; see `CaptionLoss`.
    scheduled_sampling: how often, in the last epoch, the decoder reads a word that it drew itself
        in place of the true one, from 0 to 1. The rate rises in equal steps from 0 in the first.
    mirror: train on mirror images too; False where they mean something else.
    beams: of `consensus`, which finds the captions that are scored.
    Of each ten images, in the file's order, eight train, the ninth chooses the epoch, by CIDEr or,
    with fewer than 50 such images, by its loss, and the tenth is scored.
    seed: of all random numbers; it is given to `md.manual_seed`.
    resume: continue after the last epoch that the folder has a checkpoint of.
    The ranks of an MPI run share the work, in 8 shards of a batch; `output` is one folder for all.
    Ctrl-C keeps the best epoch so far in captioner.h5, and raises KeyboardInterrupt.
    Raises ArgumentError for settings out of range, for images that aren't there, and for fewer than
    ten; FileFormatError for damaged images; StateError where the folder to resume in has the
    checkpoints of another training.
    """
    settings: dict[str, Any] = {
        "least": least, "beams": positive(WHO, "beams", beams), "seed": whole(WHO, "seed", seed, 0),
        "epochs": positive(WHO, "epochs", epochs),
        "batch_size": positive(WHO, "batch_size", batch_size),
        "lr": _between("lr", lr, above=True),
        "doubly_stochastic": _between("doubly_stochastic", doubly_stochastic),
        "scheduled_sampling": _between("scheduled_sampling", scheduled_sampling, most=1),
    }  # fmt: skip
    names, material = _material(captions, images)
    md.manual_seed(seed)
    network = pretrained(weights, model, None, None, who=WHO)
    said = material.said_of(material.train)
    vocabulary = Vocabulary.of((words for texts in said for words in texts), least)
    captioner = Captioner(network, vocabulary, decoder=decoder, members=members, hidden=hidden)
    folder, files = Path(output), [Path(images) / name for name in names]
    mirrored = material.train if flag(WHO, "mirror", mirror) else []
    settings |= {
        "architecture": list(captioner.architecture), "weights": weights,
        "body and images": fingerprint(captioner, files, mirrored),
        "captions": hashlib.sha256(repr(material.words).encode()).hexdigest(),
    }  # fmt: skip
    features = _features(captioner, files, mirrored, folder, settings, resume, progress)
    captioner.decoder.fit_to(features, material.train)
    _fit(captioner, features, material, settings, folder, resume, progress)
    test = material.test
    found = score_captioner(captioner, features[test], material.said_of(test), beams=beams)
    if world().rank == 0:
        save_json(folder / RESULTS, found._asdict(), WHO)
    return found


def _between(name: str, value: Any, most: float = float("inf"), above: bool = False) -> float:
    """Return a number from 0, or above it, to `most`."""
    number = real(WHO, name, value)
    if number > most or number < 0 or (above and number == 0):
        wanted = "above 0" if above else "from 0 up" if most == float("inf") else f"0 to {most:g}"
        raise ArgumentError(f"{WHO}: {name} must be {wanted}, got {value}")
    return number


def _material(
    captions: str | os.PathLike[str], images: str | os.PathLike[str]
) -> tuple[list[str], Material]:
    """Return the names of the images, and what is learned from."""
    held = read_captions(captions, images)
    count, every = len(held.images), PARTS[-1][1]
    if count < every:
        raise ArgumentError(f"{WHO}: expected ten images or more, got {count}")
    parts = ([i for i in range(count) if start <= i % every < end] for start, end in PARTS)
    words = [[words_of(text) for text in texts] for texts in held.captions]
    return held.images, Material(words, *parts)


def _features(
    captioner: Captioner,
    files: Sequence[Path],
    mirrored: Sequence[int],
    folder: Path,
    settings: dict[str, Any],
    resume: bool,
    progress: bool,
) -> np.ndarray:
    """Begin the folder, and return the features: kept ones, or new ones where there are none.

    Damaged images are found before an older training is removed from the folder.
    """
    source = settings["body and images"]
    features = kept_features(folder / FEATURES, source)
    kept = features is not None
    world().barrier()  # before anybody writes
    compare(WHO, {f"whether {FEATURES} is in {folder}": kept}, "all need the same folder")
    if not kept:
        check_images(files, progress)
    if world().rank == 0:
        begin_folder(folder, settings, resume, WHO)
        if not (folder / CHECKPOINTS / BEST).exists():  # an older one would be taken for this's
            for name in (WEIGHTS, RESULTS):
                (folder / name).unlink(missing_ok=True)
    world().barrier()
    if features is None:
        features = look_at(captioner, files, mirrored, folder / FEATURES, source, progress)
    return features


def _fit(
    captioner: Captioner,
    features: np.ndarray,
    material: Material,
    settings: dict[str, Any],
    folder: Path,
    resume: bool,
    progress: bool,
) -> None:
    """Train, and leave the best epoch's decoder in the captioner and its file."""
    taught = Taught(captioner.decoder, features, len(material.words), material.train)
    training, validation = (
        DataLoader(
            _Said(part, material.words, captioner.vocabulary, settings["batch_size"]),
            settings["batch_size"], part is material.train, seed=settings["seed"],
        )
        for part in (material.train, material.validation)
    )  # fmt: skip
    trainer = _trainer(taught, captioner, material, settings, folder)
    if resume:
        resume_trainer(trainer, folder / CHECKPOINTS)
    try:
        trainer.fit(training, settings["epochs"], validation, progress=progress)
    finally:  # also after Ctrl-C
        if world().rank == 0:
            best = folder / CHECKPOINTS / BEST
            if best.exists():
                md.load_weights(taught, best)
                md.save_weights(captioner.eval(), folder / WEIGHTS)
            save_json(folder / "history.json", {"epochs": list(trainer.history)}, WHO)
    world().barrier()
    if world().rank > 0:
        md.load_weights(taught, folder / CHECKPOINTS / BEST)
        captioner.eval()


def _trainer(
    taught: "Taught",
    captioner: Captioner,
    material: Material,
    settings: dict[str, Any],
    folder: Path,
) -> Trainer:
    decoder, epochs, part = captioner.decoder, settings["epochs"], material.validation
    optimizer = optim.Adam(decoder.parameters(), lr=settings["lr"])
    callbacks: list[Callback] = [ClipGradients(CLIP)]
    if settings["scheduled_sampling"]:
        callbacks.append(_Sampling(decoder, settings["scheduled_sampling"], epochs))
    best: dict[str, Any] = {}
    if len(part) >= ENOUGH:
        beams, said = settings["beams"], material.said_of(part)
        callbacks.append(_Scoring(captioner, taught.seen[part], said, beams))
        best = {"monitor": "val_cider", "mode": "max"}
    return Trainer(
        taught, optimizer, CaptionLoss(SMOOTHING, settings["doubly_stochastic"]),
        scheduler=optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs),
        callbacks=[*callbacks, Checkpoint(folder / CHECKPOINTS, keep=1, **best)],
    )  # fmt: skip


class _Sampling(Callback):
    """Has decoders read words that they drew themselves, more often in each epoch."""

    def __init__(self, decoder: Ensemble, often: float, epochs: int) -> None:
        self.decoder, self.often, self.steps = decoder, often, max(1, epochs - 1)

    def on_batch_begin(self, trainer: Any, x: Any, target: Any) -> None:
        self.decoder.sample(self.often * min(1.0, trainer.epoch / self.steps))


class _Scoring(Callback):
    """Scores what a captioner says of validation images."""

    columns = ("val_bleu1", "val_bleu4", "val_cider", "val_distinct")

    def __init__(
        self, captioner: Captioner, features: np.ndarray, said: list[list[list[str]]], beams: int
    ) -> None:
        self.captioner, self.features, self.said, self.beams = captioner, features, said, beams

    def on_epoch_end(self, trainer: Any, row: dict[str, Any]) -> None:
        found = score_captioner(self.captioner, self.features, self.said, beams=self.beams)
        numbers = found.bleu[0], found.bleu[3], found.cider, found.distinct
        row.update(zip(self.columns, numbers, strict=True))


class _Said(Dataset):
    """Item i is (the number of an image and of a caption's words (1 + T), the words after each)."""

    def __init__(
        self,
        images: Sequence[int],
        words: Sequence[Sequence[list[str]]],
        vocabulary: Vocabulary,
        batch_size: int,
    ) -> None:
        items = [
            # Cut after it is numbered: where a caption is cut isn't its end
            (image, vocabulary.numbers(each)[: LONGEST + 2])
            for image in images for each in words[image]
        ]  # fmt: skip
        self.items = sorted(items, key=lambda item: len(item[1]))  # little to fill up
        self.batch_size = batch_size

    def order(self, generator: np.random.Generator) -> np.ndarray:
        """Return batches of captions of about one length, in random order.

        Source: Xu et al. 2015, section 4.3: "with no noticeable diminishment in performance".
        """
        shuffled = generator.permutation(len(self))
        full = len(self) // self.batch_size * self.batch_size
        lengths = np.array([len(numbers) for _, numbers in self.items])
        alike = shuffled[:full][np.argsort(lengths[shuffled[:full]], kind="stable")]
        batches = generator.permutation(alike.reshape(-1, self.batch_size))  # (batches, size)
        return np.concatenate([batches.reshape(-1), shuffled[full:]])

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        return tuple(part[0] for part in self.batch([index]))

    def batch(self, indices: Sequence[int] | np.ndarray) -> tuple[np.ndarray, ...]:
        """(N, 1 + T) and (N, T), filled up to the longest caption."""
        found = [self.items[i] for i in indices]
        longest = max(len(numbers) for _, numbers in found) - 1
        x = np.full((len(found), 1 + longest), PAD, np.int64)
        y = np.full((len(found), longest), PAD, np.int64)
        for row, (image, numbers) in enumerate(found):
            x[row, 0] = image
            x[row, 1 : len(numbers)], y[row, : len(numbers) - 1] = numbers[:-1], numbers[1:]
        return x, y


class Taught(Module):
    """Decoders with the features of all images: they take the numbers of these, (N, 1 + T).

    features: of `images` images, then maybe of the images `train` as in a mirror: in training, each
        is seen so half of the time.
    """

    def __init__(
        self, decoder: Ensemble, features: np.ndarray, images: int, train: Sequence[int]
    ) -> None:
        self.decoder = decoder
        self.seen = features
        self.mirrors = np.arange(images)  # the row of each image in a mirror, if there is one
        if len(features) > images:
            self.mirrors[train] = np.arange(images, len(features))

    def forward(self, x: Any) -> Any:
        numbers = np.asarray(x)
        rows = numbers[:, 0]
        if self.training:
            mirrored = md.random.generator().random(len(rows)) < 0.5
            rows = np.where(mirrored, self.mirrors[rows], rows)
        return self.decoder(md.tensor(self.seen[rows]), numbers[:, 1:])
