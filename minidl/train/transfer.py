"""Transfer learning: what a pretrained network is worth for classes of your own.

Four ways, from the cheapest to the dearest: a linear classifier on the body's features; a new head,
warmed up over the frozen body; body and head fine-tuned; and, to show what transfer gains, the same
network from scratch.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minidl import optim
from minidl.data import DataLoader, Dataset
from minidl.errors import ArgumentError
from minidl.models import Network
from minidl.train.callbacks import Callback
from minidl.train.ensemble import ensemble
from minidl.train.features import extract_features
from minidl.train.linear import LinearClassifier
from minidl.train.mixup import CutMix, MixUp
from minidl.train.surgery import freeze_to, rates_by_depth
from minidl.train.trainer import Trainer

__all__ = ["Approach", "Transfer"]

PROBE, WARM_UP, FINE_TUNED, SCRATCH = "linear probe", "warm-up", "fine-tuned", "from scratch"
FOLDS = 5  # of cross-validation, or as many as the smallest class has images
AVERAGED = 0.98  # decay of the moving average of the weights that are measured


@dataclass
class Approach:
    """What one way of training came to.

    scores: (N, C) of the validation images, before the softmax.  seconds: of training.
    rows: of the history.  model: None for the linear probe.
    """

    name: str
    scores: np.ndarray
    seconds: float
    trained_parameters: int
    rows: list[dict[str, Any]] = field(default_factory=list)
    model: Network | None = None


@dataclass
class Transfer:
    """A pretrained network and data of other classes; iterating over it runs the four ways.

    network: the pretrained one; it gets a new head, and is trained.
    scratch: makes such a network, untrained; None leaves the fourth way out.
    training, validation: data sets of (image, label).  classes: the labels' names.
    prepare: transforms that make of an image what the network takes.
    augment: those that come before, in training only.
    mirror: whether a mirrored image is as good as the image. Then the probe learns from both, and
        what is measured is the mean over both.
    warm_up, epochs: how often the head alone, and then the whole, sees the training images.
    lr: of the head; in fine-tuning, the body's top learns at a tenth of it.
    freeze: the layer up to which fine-tuning leaves the body as it is; None: its first half.
    mixup, cutmix: alpha of `MixUp` and `CutMix`, where images are augmented; 0: none.
    seed: of the order of images, their augmentation, and folds. New heads and mixtures come from
        minidl's generator, `md.manual_seed`.
    callbacks: makes the callbacks of a way, by its name.
    """

    network: Network
    scratch: Callable[[], Network] | None
    training: Dataset
    validation: Dataset
    classes: Sequence[str]
    prepare: Sequence[Any] = ()
    augment: Sequence[Any] = ()
    mirror: bool = False
    batch_size: int = 16
    warm_up: int = 10
    epochs: int = 30
    lr: float = 5e-3
    freeze: str | None = None
    mixup: float = 0.4
    cutmix: float = 0
    seed: int = 0
    workers: int = 2
    callbacks: Callable[[str], Sequence[Callback]] = lambda name: ()
    progress: bool = True
    _probe: LinearClassifier | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        inside = [name for name, _ in self.network.features.named_modules() if name]
        if self.freeze is not None and self.freeze not in [f"features.{name}" for name in inside]:
            raise ArgumentError(
                f"Transfer: freeze= must be a layer of the body, got {self.freeze!r}; there are "
                f"{', '.join(f'features.{name}' for name in inside if '.' not in name)}"
            )

    def __iter__(self) -> Iterator[Approach]:
        network = self._with_new_head(self.network)
        yield self.probe(network)
        yield self.warmed_up(network)
        yield self.fine_tuned(network)
        if self.scratch is not None:
            yield self.from_scratch(self._with_new_head(self.scratch()))

    def probe(self, network: Network) -> Approach:
        """Logistic regression on the features, its strength cross-validated."""
        start = time.perf_counter()
        views = [False, True] if self.mirror else [False]
        loaders = [self._loader(self.training, mirror=each) for each in views]
        found = [_flat(extract_features(network, "features", loader)) for loader in loaders]
        classifier = self._probe = _classifier(found, self.seed)
        seconds = time.perf_counter() - start
        count = classifier.weight.size + classifier.bias.size

        def predict(loader: DataLoader) -> np.ndarray:
            return classifier.predict_scores(
                _flat(extract_features(network, "features", loader))[0]
            )

        return Approach(PROBE, self._scores(predict), seconds, count)

    def warmed_up(self, network: Network) -> Approach:
        """The new head, over the frozen body, so that its first gradients break nothing there.

        Where it is one layer on the body's features it begins as the linear probe, and is trained
        at a tenth of the rate.
        """
        network.unfreeze()
        network.features.freeze()
        head = [p for p in network.parameters() if p.requires_grad]
        optimizer = optim.AdamW(head, lr=self.lr / 10 if self._begin_head(network) else self.lr)
        return self._trained(WARM_UP, network, optimizer, self.warm_up, augment=False)

    def fine_tuned(self, network: Network) -> Approach:
        """The top of the body with the head, on augmented images."""
        freeze = self.freeze or _half(network)
        freeze_to(network, freeze)
        optimizer = optim.AdamW(rates_by_depth(network, self.lr, after=freeze), lr=self.lr)
        return self._trained(FINE_TUNED, network, optimizer, self.epochs)

    def from_scratch(self, network: Network) -> Approach:
        """A network that knows nothing yet, trained as long as the fine-tuned one."""
        optimizer = optim.AdamW(network.parameters(), lr=self.lr)
        return self._trained(SCRATCH, network, optimizer, self.epochs)

    def _trained(
        self, name: str, network: Network, optimizer: Any, epochs: int, augment: bool = True
    ) -> Approach:
        mixing = [
            kind(alpha, num_classes=len(self.classes))
            for kind, alpha in ((MixUp, self.mixup), (CutMix, self.cutmix))
            if augment and alpha
        ]
        trainer = Trainer(
            network,
            optimizer,
            metrics=["accuracy"],
            scheduler=optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, epochs)),
            ema=optim.EMA(network, AVERAGED) if augment else None,
            callbacks=[*self.callbacks(name), *mixing],
        )
        validation = self._loader(self.validation)
        start = time.perf_counter()
        shown = self.progress and augment  # the head's epochs are many and short
        trainer.fit(self._loader(self.training, True, augment), epochs, validation, shown)
        seconds = time.perf_counter() - start
        if trainer.ema is not None:
            trainer.ema.copy_to()
            trainer.ema = None
        count = sum(p.size for group in optimizer.param_groups for p in group["params"])
        scores = self._scores(trainer.predict)
        return Approach(name, scores, seconds, count, trainer.history.rows, network)

    def _scores(self, predict: Callable[[DataLoader], np.ndarray]) -> np.ndarray:
        """Of the validation images: the logarithms of what is mostly the mean of two views."""
        views = [False, True] if self.mirror else [False]
        scores = [predict(self._loader(self.validation, mirror=each)) for each in views]
        shares = ensemble(scores)
        return np.log(shares.clip(np.finfo(shares.dtype).tiny))  # 0 has no logarithm

    def _begin_head(self, network: Network) -> bool:
        """Give the head the weights of the linear probe, if it is such a classifier."""
        last: Any = dict(network.named_modules())[network.scoring_layer]
        alone = sum(1 for _ in network.classifier.parameters()) == 2  # its weight and its bias
        if self._probe is None or not alone or last.bias is None or last.activation is not None:
            return False
        if last.weight.size != self._probe.weight.size:
            return False
        last.weight.data[...] = self._probe.weight.reshape(last.weight.shape)  # (D, C) or 1x1
        last.bias.data[...] = self._probe.bias
        return True

    def _with_new_head(self, network: Network) -> Network:
        network.replace_head(len(self.classes))
        network.classes = list(self.classes)
        network.image_format = self.network.image_format
        return network

    def _loader(
        self, data: Dataset, training: bool = False, augment: bool = False, mirror: bool = False
    ) -> DataLoader:
        before = list(self.augment) if augment else [_mirrored] if mirror else []
        alone = len(data) % self.batch_size == 1  # a few images normalise badly, one not at all
        return DataLoader(
            data, self.batch_size, training, seed=self.seed, workers=self.workers,
            drop_last=training and len(data) > self.batch_size and (augment or alone),
            transform=[*before, *self.prepare], augment=augment,
        )  # fmt: skip


def _flat(data: Any) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, D) and labels (N,) of an ArrayDataset."""
    x, labels = data.arrays
    return x.reshape(len(x), -1), labels  # (N, ...) -> (N, D)


def _classifier(views: list[tuple[np.ndarray, np.ndarray]], seed: int) -> LinearClassifier:
    """Logistic regression on all views, with the strength that is best for the first.

    An image and its mirror image in different folds would tell each other's class.
    """
    folds = min(FOLDS, int(np.bincount(views[0][1]).min()))
    if folds < 2:
        strength = 1.0  # nothing to validate on
    else:
        strength = LinearClassifier.cross_validated(*views[0], folds=folds, seed=seed).strength
    features, labels = (np.concatenate(parts) for parts in zip(*views, strict=True))
    return LinearClassifier(strength / len(views)).fit(features, labels)


def _half(network: Network) -> str:
    """The layer or block that ends the first half of the body, by those that learn."""
    children = network.features.named_children()
    parts = [name for name, part in children if next(part.parameters(), None) is not None]
    return f"features.{parts[(len(parts) - 1) // 2]}"


def _mirrored(images: np.ndarray, rng: Any) -> np.ndarray:
    return np.ascontiguousarray(images[:, :, ::-1])
