"""`train_captioner`: a decoder trained to say what people said of photographs."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import minidl as md
from minidl import nn, optim
from minidl.apps.caption.captions import Captions, read_captions
from minidl.apps.caption.networks import Captioner, Decoder
from minidl.apps.caption.scores import bleu, cider, distinct
from minidl.apps.caption.searching import search
from minidl.apps.caption.vocabulary import PAD, Vocabulary, words_of
from minidl.checks import positive, real, whole
from minidl.data import DataLoader, Dataset, HDF5Dataset, HDF5Writer, read_image
from minidl.errors import ArgumentError
from minidl.io.plain_json import save_json
from minidl.nn import Module
from minidl.train import Checkpoint, ClipGradients, Trainer
from minidl.train.pretrained import pretrained
from minidl.train.resuming import CHECKPOINTS, begin_folder, resume_trainer

__all__ = ["Scores", "score_captioner", "train_captioner"]

WEIGHTS, FEATURES = "captioner.h5", "features.h5"
LONGEST = 24  # words of a caption that are learned
LOOKED_AT = 32  # images at a time
CLIP = 5.0  # the most for the norm of all gradients
PARTS = ((0, 8), (8, 9), (9, 10))  # of ten images in turn: to train, to choose the epoch, to test


class Scores(NamedTuple):
    """How good captions of test images are, and how many different ones there are."""

    bleu: list[float]
    cider: float
    distinct: int
    images: int


def train_captioner(
    captions: str | os.PathLike[str],
    images: str | os.PathLike[str],
    output: str | os.PathLike[str],
    weights: str | os.PathLike[str],
    *,
    model: str | None = None,
    least: int = 3,
    hidden: int = 512,
    epochs: int = 15,
    batch_size: int = 64,
    lr: float = 1e-3,
    beams: int = 3,
    seed: int = 0,
    resume: bool = False,
    progress: bool = True,
) -> Scores:
    """Train a decoder on images with captions, and score it on images that it hasn't seen.

    captions: a file, as `read_captions` takes it.  images: the folder with the images.
    output: a folder. It gets captioner.h5 of the best epoch, features.h5, which the body is asked
        for once, history.json, results.json and checkpoints.
    weights, model: of the body, as `minidl finetune` takes them; it stays as it is.
    least: how often a word is there, to be learned.  hidden: units of the LSTM.
    beams: of the search in scoring.
    Of each ten images, in the file's order, eight train, the ninth chooses the epoch by its loss,
    and the tenth is scored.
    seed: of all random numbers; it is given to `md.manual_seed`.
    resume: continue after the last epoch that the folder has a checkpoint of.
    Ctrl-C keeps the best epoch so far in captioner.h5, and raises KeyboardInterrupt.
    Raises ArgumentError for settings out of range, for images that aren't there, and for fewer than
    ten; StateError for a folder with the checkpoints of another training.
    """
    who = "train_captioner"
    epochs, batch_size = positive(who, "epochs", epochs), positive(who, "batch_size", batch_size)
    if real(who, "lr", lr) <= 0:
        raise ArgumentError(f"{who}: lr must be above 0, got {lr}")
    held = read_captions(captions, images)
    if len(held.images) < PARTS[-1][1]:
        raise ArgumentError(f"{who}: expected ten images or more, got {len(held.images)}")
    md.manual_seed(whole(who, "seed", seed, 0))
    network = pretrained(weights, model, None, None)
    words = [[words_of(text) for text in texts] for texts in held.captions]
    train, validation, test = (_numbers_of(part, len(words)) for part in PARTS)
    vocabulary = Vocabulary.of((each for i in train for each in words[i]), least)
    captioner = Captioner(network, vocabulary, hidden=hidden)
    folder = Path(output)
    settings = {
        "architecture": list(captioner.architecture), "weights": weights, "least": least,
        "images": len(words), "words": captioner.classes, "epochs": epochs, "lr": lr,
        "batch_size": batch_size, "seed": seed,
    }  # fmt: skip
    begin_folder(folder, settings, resume, who)
    features = _features(captioner, held, Path(images), folder / FEATURES, progress)
    captioner.decoder.fit_to(features[train])
    taught = Taught(captioner.decoder, features)
    loaders = [
        DataLoader(_Said(part, words, vocabulary), batch_size, i == 0, seed=seed)
        for i, part in enumerate((train, validation))
    ]
    optimizer = optim.Adam(captioner.decoder.parameters(), lr=lr)
    trainer = Trainer(
        taught, optimizer, nn.CrossEntropyLoss(ignore_index=PAD),
        scheduler=optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs),
        callbacks=[ClipGradients(CLIP), Checkpoint(folder / CHECKPOINTS, keep=1)],
    )  # fmt: skip
    if resume:
        resume_trainer(trainer, folder / CHECKPOINTS)
    try:
        trainer.fit(loaders[0], epochs, loaders[1], progress=progress)
    finally:  # also after Ctrl-C
        best = folder / CHECKPOINTS / "best.h5"
        if best.exists():
            md.load_weights(taught, best)
            md.save_weights(captioner.eval(), folder / WEIGHTS)
        save_json(folder / "history.json", {"epochs": list(trainer.history)}, who)
    found = score_captioner(captioner, features[test], [words[i] for i in test], beams=beams)
    save_json(folder / "results.json", found._asdict(), who)
    return found


def _numbers_of(part: tuple[int, int], images: int) -> list[int]:
    return [i for i in range(images) if part[0] <= i % PARTS[-1][1] < part[1]]


def _features(
    captioner: Captioner, held: Captions, folder: Path, path: Path, progress: bool
) -> np.ndarray:
    """(images, D): read from features.h5 if that is of these images, or computed and kept there."""
    from tqdm import tqdm

    source = f"{captioner.architecture[1]['body']} {held.images}"
    if path.exists():
        kept = HDF5Dataset(path)
        if kept.source == source and len(kept) == len(held.images):
            return np.asarray(kept.batch(range(len(kept)))[0])
    found = []
    rows = range(0, len(held.images), LOOKED_AT)
    for start in tqdm(rows, "looking", leave=False, disable=None if progress else True):
        names = held.images[start : start + LOOKED_AT]
        pictures = [captioner.photograph(read_image(folder / name)) for name in names]
        found.append(captioner.look(np.stack(pictures)))
    features = np.concatenate(found).astype(np.float32)
    with HDF5Writer(path, features.shape[1:], "float32", overwrite=True, source=source) as writer:
        writer.add(features, np.arange(len(features)))
    return features


class _Said(Dataset):
    """Item i is (the number of an image and of a caption's words (1 + T), the words after each)."""

    def __init__(
        self, images: Sequence[int], words: Sequence[Sequence[list[str]]], vocabulary: Vocabulary
    ) -> None:
        self.items = [
            (image, vocabulary.numbers(each[:LONGEST])) for image in images for each in words[image]
        ]

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
    """A decoder with the features of all images: it takes their numbers, (N, 1 + T)."""

    def __init__(self, decoder: Decoder, features: np.ndarray) -> None:
        self.decoder, self._seen = decoder, features

    def forward(self, x: Any) -> Any:
        numbers = np.asarray(x)
        return self.decoder(md.tensor(self._seen[numbers[:, 0]]), numbers[:, 1:])


def score_captioner(
    captioner: Captioner,
    features: np.ndarray,
    references: Sequence[Sequence[Sequence[str]]],
    *,
    beams: int = 3,
) -> Scores:
    """Return how good a captioner's captions are.

    features: (N, D), as `Captioner.look` gives.  references: words by people, for each image.
    """
    found = [
        captioner.vocabulary.text(search(captioner.decoder, each, beams=beams)[0])
        for each in features
    ]
    return Scores(bleu(found, references), cider(found, references), distinct(found), len(found))
