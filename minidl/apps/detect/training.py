"""`train_detector`: SSD and Faster R-CNN trained on images with boxes."""

import copy
import os
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import minidl as md
from minidl import data, nn, optim
from minidl.apps.detect.augmenting import augmentation
from minidl.apps.detect.detector import SMALLEST, Detector, Target
from minidl.apps.detect.evaluating import evaluate
from minidl.apps.detect.files import DETECTORS, load
from minidl.apps.detect.shards import Shards
from minidl.checks import flag, positive, real, whole
from minidl.distributed.launch import is_launched
from minidl.distributed.world import world
from minidl.errors import ArgumentError, GradError, StateError
from minidl.io.plain_json import save_json
from minidl.models import Network
from minidl.train.agreement import compare
from minidl.train.pretrained import pretrained
from minidl.train.settings import choice
from minidl.train.turns import shown

__all__ = ["Trained", "train_detector"]

LR, WEIGHT_DECAY = 1e-3, 1e-2  # of AdamW
# The body learns at a tenth of the rate: at the whole of it, the last layers of a MobileNet whose
# normalizations are frozen were dead after an epoch, each channel 0 or 6 everywhere
BODY = 0.1
WARMUP = 100  # steps, at most a fifth of all
CLIP = 10.0  # the most for the norm of all gradients
HELD_OUT = 0.2  # of the images, where they are not split
LONGER = 320  # pixels of the longer side, at most, where no size is given
CHECKPOINT, WEIGHTS = "checkpoint.h5", "detector.h5"
NO_WEIGHTS = (
    "train_detector: weights= is missing: a file of a network that was trained on ImageNet, such "
    "as Keras's MobileNet or EfficientNet-Lite0"
)


class Trained(NamedTuple):
    """What a training left: the detector with the best weights, and a row for each epoch.

    history: {"epoch", "loss", its parts by name, "map"}; "map" is the mAP by VOC's rules on the
        validation images.
    """

    detector: Detector
    history: list[dict[str, float]]


def train_detector(
    images: Any,
    output: str | os.PathLike[str],
    weights: Any = None,
    *,
    model: str = "ssd",
    body: str | None = None,
    size: Any = None,
    epochs: int = 40,
    batch_size: int = 8,
    lr: float = LR,
    seed: int = 0,
    resume: bool = False,
    progress: bool = True,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
) -> Trained:
    """Train a detector on images with boxes, and save it as it was after its best epoch.

    images: a `data.Detection`, or what `data.read_boxes` takes. Its part "validation" chooses the
        best epoch; where it isn't split, a fifth of the images does. "test" isn't looked at.
    output: a folder. It gets detector.h5, history.json, and checkpoint.h5 after each epoch.
    weights: of the body: a file, or a `models.Network`, which is left as it is. Batch
        normalizations stay frozen.
    model: "ssd" or "faster_rcnn".  body: the name of the network that a file is of, where it
        doesn't tell.
    size: (H, W) that images are resized to; None takes the median of the training images' sizes,
        at most 320 pixels on the longer side.
    lr: the largest learning rate of AdamW, after a warm-up; it falls to 0 as a cosine. The body's
        is a tenth of it.
    seed: of all random numbers; it is given to `md.manual_seed`.
    resume: continue after the last epoch that checkpoint.h5 in the folder has.
    on_epoch: called with each row of the history.
    Of an MPI run each batch is cut into shards of four images or more, at most 8, which the ranks
    share; `output` is one folder for all. A shard's loss is over its own
    objects, and weighs as many images as it has.
    Raises ArgumentError for settings out of range, GradError where the loss isn't finite any more,
    StateError for the checkpoint of another training.
    """
    settings = _checked(model, epochs, batch_size, lr, seed)
    training, validation = _parts(images, settings["seed"])
    md.manual_seed(settings["seed"])
    network = _network(weights, body)
    size = _size_of(training) if size is None else size
    detector = DETECTORS[settings["model"]](network, len(training.classes), size)
    detector.classes = list(training.classes)
    settings |= {
        **detector.architecture[1], "classes": detector.classes,
        "images": [_fingerprint(training), _fingerprint(validation)],
    }  # fmt: skip
    run = _Run(detector, training, validation, settings, Path(output))
    if flag("train_detector", "resume", resume):
        run.resume()
    facts = {"the settings": settings, "the epochs done": len(run.history)}
    compare("train_detector", facts, "start all with the same arguments, files and folder")
    while len(run.history) < settings["epochs"]:
        row = run.epoch(progress)
        if on_epoch is not None:
            on_epoch(row)
    world().barrier()
    return Trained(load(run.folder / WEIGHTS), run.history)


class _Run:
    """A training under way: the detector, its optimizer and schedule, and the history."""

    def __init__(
        self,
        detector: Detector,
        training: data.Detection,
        validation: data.Detection,
        settings: dict[str, Any],
        folder: Path,
    ) -> None:
        self.detector, self.validation = detector, validation
        self.settings, self.folder = settings, folder
        folder.mkdir(parents=True, exist_ok=True)
        for module in detector.body.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.freeze()
        self.parameters = [p for p in detector.parameters() if p.requires_grad]
        self.loader = data.DataLoader(
            training, min(settings["batch_size"], len(training)), True, seed=settings["seed"],
            drop_last=True, workers=1, transform=augmentation(detector.size), augment=True,
        )  # fmt: skip
        body = [p for p in detector.body.parameters() if p.requires_grad]
        rest = [p for p in self.parameters if all(p is not other for other in body)]
        groups = [{"params": rest}, {"params": body, "lr": BODY * settings["lr"]}]
        self.optimizer = optim.AdamW(groups, lr=settings["lr"], weight_decay=WEIGHT_DECAY)
        steps = len(self.loader) * settings["epochs"]
        warmup = max(1, min(WARMUP, steps // 5))
        cosine = optim.lr_scheduler.CosineAnnealingLR(self.optimizer, max(1, steps - warmup))
        self.scheduler = optim.lr_scheduler.LinearWarmup(self.optimizer, warmup, 0.01, cosine)
        self.history: list[dict[str, float]] = []
        size = self.loader.batch_size
        self.shards = Shards(detector, self.optimizer, size) if is_launched() else None

    def epoch(self, progress: bool) -> dict[str, float]:
        """Train for an epoch, measure, save; return the epoch's row of the history."""
        from tqdm import tqdm

        number = len(self.history) + 1
        sums: dict[str, float] = {}
        bar = tqdm(
            self.loader if self.shards is None else self.shards.batches(self.loader),
            f"epoch {number}", leave=False, unit="batch", total=len(self.loader),
            disable=shown(progress),
        )  # fmt: skip
        self.detector.train()
        for batch in bar:
            for name, value in self.step(batch).items():
                sums[name] = sums.get(name, 0.0) + value / len(self.loader)
        self.detector.eval()
        figures, _ = evaluate(self.detector, self.validation)
        row = {"epoch": number, "loss": sum(sums.values()), **sums, "map": figures.map_voc}
        best = max((each["map"] for each in self.history), default=-1.0)
        self.history.append(row)
        if world().rank == 0:
            if row["map"] > best:
                md.save_weights(self.detector, self.folder / WEIGHTS)
            self.save()
        return row

    def step(self, batch: Any) -> dict[str, float]:
        """Train on a batch; return the parts of its loss."""
        find = self._gradients if self.shards is None else self.shards.gradients
        found = find(batch)
        if not np.isfinite(sum(found.values())):
            told = ", ".join(f"{name} {value:.3g}" for name, value in found.items())
            raise GradError(
                f"train_detector: the loss of epoch {len(self.history) + 1} isn't finite any more "
                f"({told}): lower lr={self.settings['lr']:g}; {WEIGHTS} holds the best epoch so far"
            )
        optim.clip_grad_norm(self.parameters, CLIP)
        self.optimizer.step()
        self.scheduler.step()
        return found

    def _gradients(self, batch: tuple[np.ndarray, Sequence[Target]]) -> dict[str, float]:
        """Give the parameters the gradients of a batch; return the parts of its loss."""
        images, targets = batch
        parts = self.detector.loss(md.tensor(self.detector.scaled(images)), targets)
        self.optimizer.zero_grad()
        sum(parts.values()).backward()
        return {name: part.item() for name, part in parts.items()}

    def save(self) -> None:
        """Write checkpoint.h5, whole or not at all, and history.json."""
        md.save_checkpoint(
            self.folder / CHECKPOINT, self.detector, self.optimizer, self.scheduler,
            loader=self.loader, extra={"settings": self.settings, "history": self.history},
        )  # fmt: skip
        self.save_history()

    def save_history(self) -> None:
        """Write history.json, of an MPI run on rank 0."""
        if world().rank > 0:
            return
        content = {"settings": self.settings, "epochs": self.history}
        save_json(self.folder / "history.json", content, "train_detector")

    def resume(self) -> None:
        """Continue from checkpoint.h5, if there is one."""
        path = self.folder / CHECKPOINT
        if not path.exists():
            return
        extra = md.load_checkpoint(path)
        known = extra.get("settings") if isinstance(extra, dict) else None
        if not isinstance(known, dict) or "history" not in extra:
            raise StateError(
                f"{path} is no checkpoint of a detector's training: give another output"
            )
        if other := [name for name, value in self.settings.items() if known.get(name) != value]:
            raise StateError(
                f"{path} is of a training with another {', '.join(other)}: give the same "
                "arguments and images, or another output"
            )
        md.load_checkpoint(path, self.detector, self.optimizer, self.scheduler, loader=self.loader)
        self.history = list(extra["history"])
        self.save_history()  # it may have been stopped after the checkpoint


def _checked(model: str, epochs: int, batch_size: int, lr: float, seed: int) -> dict[str, Any]:
    who = "train_detector"
    if real(who, "lr=", lr) <= 0:
        raise ArgumentError(f"{who}: lr= must be above 0, got {lr}")
    return {
        "model": choice(who, "model=", model, list(DETECTORS)),
        "epochs": positive(who, "epochs=", epochs), "lr": float(lr),
        "batch_size": positive(who, "batch_size=", batch_size),
        "seed": whole(who, "seed=", seed, 0),
    }  # fmt: skip


def _network(weights: Any, body: str | None) -> Network:
    if weights is None:
        raise ArgumentError(NO_WEIGHTS)
    if isinstance(weights, Network):
        return copy.deepcopy(weights)
    return pretrained(weights, body, None, None, who="train_detector")


def _parts(images: Any, seed: int) -> tuple[data.Detection, data.Detection]:
    """Return the training and the validation part."""
    found = images if isinstance(images, data.Detection) else data.read_boxes(images)
    parts = {*(found.parts or ())}
    training = found.part("train") if parts - {None} else found
    if "validation" in parts:
        validation = found.part("validation")
    else:
        first, second = data.split(training, (1 - HELD_OUT, HELD_OUT), seed, stratify=False)
        training, validation = training.subset(first.indices), training.subset(second.indices)
    _check_classes(training)
    if not any(map(_counted, validation.targets)):
        raise ArgumentError(
            "train_detector: no validation image has a box that counts, to tell which epoch is "
            "best: split the images otherwise"
        )
    return training, validation


def _counted(target: Target) -> int:
    """Return how many boxes VOC's rules count: neither difficult ones nor crowds."""
    none = np.zeros(len(target["labels"]), bool)
    return int((~(target.get("difficult", none) | target.get("crowd", none))).sum())


def _check_classes(training: data.Detection) -> None:
    """Raise ArgumentError where the training images have no box of a class."""
    if missing := [
        name for name, count in zip(training.classes, training.counts(), strict=True) if not count
    ]:
        raise ArgumentError(
            f"train_detector: no training image has a box of {', '.join(missing)}: leave the class "
            "out, or split the images otherwise"
        )


def _size_of(training: data.Detection) -> tuple[int, int]:
    """Return the median size of images, at most LONGER pixels long."""
    height, width = np.median([training.size(i) for i in range(len(training))], axis=0)
    factor = min(1.0, LONGER / max(height, width))
    return max(SMALLEST, round(height * factor)), max(SMALLEST, round(width * factor))


def _fingerprint(images: data.Detection) -> int:
    """Return a number that tells sets apart by their images' names and their boxes."""
    found = 0
    for name, target in zip(images.names, images.targets, strict=True):
        for part in (name.encode(), target["boxes"].tobytes(), target["labels"].tobytes()):
            found = zlib.crc32(part, found)
    return found
