"""Transfer learning: what a pretrained network is worth for classes of your own.

First the linear probe: the network's last layer, fitted to the new classes by logistic regression,
or to labels or numbers.
Then fine-tuning, which begins there. How far to go from the one to the other is found by
cross-validation on the training images, so that more freedom is taken only where it pays. Wherever
that is, the last layer is fitted anew to what the others came to: Kang et al. 2020, "Decoupling
representation and classifier for long-tailed recognition". To show what transfer gains, the same
network can be trained from scratch.
"""

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from minidl import optim
from minidl.constants.tasks import CLASSES
from minidl.data import DataLoader, Dataset
from minidl.data.splits import Subset, labels_of
from minidl.errors import ArgumentError, GradError
from minidl.models import Network
from minidl.nn import BatchNorm2d
from minidl.nn.modes import evaluating
from minidl.train.balance import class_weights
from minidl.train.callbacks import Callback
from minidl.train.checkpoint import Checkpoint
from minidl.train.mixup import mixing
from minidl.train.probe import Probe, Rows, fit_probe, head_inputs, put_into_head
from minidl.train.resuming import resume_trainer
from minidl.train.shares import SHARES, State, Tried, set_between, weights_of
from minidl.train.surgery import freeze_to
from minidl.train.task import TASKS, Classes, Task
from minidl.train.trainer import Trainer

__all__ = ["Approach", "Transfer"]

PROBE, FINE_TUNED, SCRATCH = WAYS = "linear probe", "fine-tuned", "from scratch"
RATES = (1e-4, 3e-4)  # of AdamW, among which networks and data differ
FOLDS = 3  # of the training images, or as many as the smallest class has
FEW, FINER = 20, 5  # images of a class of which a third would be missed, and their folds
ENOUGH = 500  # images held out to tell which share is best: more folds would tell little more
SCRATCH_LR = 5e-3
LONGER = 3  # from scratch: about what fine-tuning takes with its cross-validation
AVERAGED = 0.98  # decay of the moving average of weights trained from scratch


@dataclass
class Approach:
    """What one way of training came to.

    scores: (N, C) of the validation images, as `Task.joined` gives them: the logarithms of the
        probabilities of classes.
    model: the network that gives them; fine-tuning goes on with that of the probe.
    seconds: of training, finding the share included.
    rows: of the history.
    lr, share: of fine-tuning, its largest learning rate, and how far the weights are from the
        probe's to those at its end.
    tried: {"share", "accuracy", "loss"} of training images held out, for each share; accuracy is
        how right they are, as `Task.right` has it.
    """

    name: str
    scores: np.ndarray
    model: Network
    seconds: float
    trained_parameters: int
    rows: list[dict[str, Any]] = field(default_factory=list)
    lr: float | None = None
    share: float | None = None
    tried: list[dict[str, float]] = field(default_factory=list)


@dataclass
class Transfer:
    """A pretrained network and data of other classes; iterating over it runs the ways.

    network: the pretrained one; it gets a new head, and is trained.
    scratch: makes such a network, untrained; None leaves the last way out.
    training, validation: data sets of (image, label).  classes: the labels' names.
    task: what the labels are: one of the classes, which of several labels, or numbers.
    prepare: transforms that make of an image what the network takes.
    augment: those that come before, in training only.
    mirror: whether a mirrored image is as good as the image. Then the probe learns from both, and
        what is measured is the mean over both.
    shards: into how many a batch is cut, as `Trainer` takes them.
    epochs: how often fine-tuning sees the training images; training from scratch, three times that.
    lr: the largest of fine-tuning; None: that of `RATES` which is best for images held out.
    freeze: the layer up to which fine-tuning leaves the body as it is; None: it trains all layers.
    mixup, cutmix: alpha of `MixUp` and `CutMix`, where images are augmented; 0: none.
    class_weights: whether all classes count alike, however many images they have: in the losses of
        probe and training, and in what is chosen on images held out.
    seed: of the order of images, their augmentation, and folds. New heads and mixtures come from
        minidl's generator, `md.manual_seed`.
    callbacks: makes the callbacks of a way, by its name.
    checkpoints: a folder to keep each training's last epoch in. Made again with what is there,
        it goes on from these, to the bit; None: nothing is kept.
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
    shards: int | None = None
    epochs: int = 6
    lr: float | None = None
    freeze: str | None = None
    mixup: float = 0
    cutmix: float = 0
    class_weights: bool = False
    seed: int = 0
    workers: int = 2
    callbacks: Callable[[str], Sequence[Callback]] = lambda name: ()
    progress: bool = True
    checkpoints: Path | None = None
    task: str = CLASSES
    _inputs: list[Rows] = field(default_factory=list, init=False, repr=False)
    _probe: Probe | None = field(default=None, init=False, repr=False)
    _rate: float = field(default=0.0, init=False, repr=False)

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
        yield self.fine_tuned(network)
        if self.scratch is not None:
            yield self.from_scratch(self._with_new_head(self.scratch()))

    def probe(self, network: Network) -> Approach:
        """Fit the network's last layer to what it takes, its strength cross-validated."""
        start = time.perf_counter()
        self._inputs = self._inputs_of(network, self.training)
        self._probe = self._fit_head(network, self._inputs)
        seconds = time.perf_counter() - start
        scores = self._scores(network, self.validation)
        return Approach(PROBE, scores, network, seconds, self._probe.size)

    def fine_tuned(self, network: Network) -> Approach:
        """Train the probed network, and go as far towards what that gives as pays."""
        start = time.perf_counter()
        tried = self._cross_validated(network)
        share = tried.best()
        probed, rows = weights_of(network), []
        optimizer = self._prepare_fine_tuning(network, self._rate)
        if share > 0:
            self.goal.to_standard(network)
            rows = self._fit(FINE_TUNED, network, optimizer, self.validation)
            self._go(network, probed, weights_of(network), share, self.training)
        network.unfreeze()
        seconds = time.perf_counter() - start
        count = sum(p.size for group in optimizer.param_groups for p in group["params"])
        if share == 0:
            assert self._probe is not None
            count = self._probe.size
        scores = self._scores(network, self.validation)
        return Approach(
            FINE_TUNED, scores, network, seconds, count, rows, self._rate, share, tried.rows()
        )

    def from_scratch(self, network: Network) -> Approach:
        """Train a network that knows nothing yet, about as long as fine-tuning takes in all."""
        if self.task != CLASSES:  # with a ReLU there it couldn't give what is below 0
            network.drop_last_activation()
        network.standard = self.goal.standard_unit
        optimizer = optim.AdamW(network.parameters(), lr=SCRATCH_LR)
        start = time.perf_counter()
        epochs = LONGER * self.epochs
        rows = self._fit(SCRATCH, network, optimizer, self.validation, None, epochs, averaged=True)
        seconds = time.perf_counter() - start
        scores = self._scores(network, self.validation)
        return Approach(SCRATCH, scores, network, seconds, network.num_trainable, rows)

    def _cross_validated(self, network: Network) -> Tried:
        """What each share gives for training images that were held out, at the rate that is best
        for the first of them."""
        folds = self.goal.folds(FINER if self.goal.folds(FEW) < FEW else FOLDS)
        parts = self.goal.dealt(folds, self.seed) if folds > 1 else np.array([])
        rates, found = RATES if self.lr is None else (self.lr,), []
        for part in range(folds if folds > 1 else 0):
            rest, held = np.flatnonzero(parts != part), np.flatnonzero(parts == part)
            tried = [
                self._held_out(network, rest, held, rate, f"held-out-{part}-{rate:g}")
                for rate in rates
            ]
            best = min(range(len(rates)), key=lambda i: tried[i].mean_losses().min())
            rates = (rates[best],)
            found.append(tried[best])
            if sum(each.count for each in found) >= ENOUGH:
                break
        self._rate = rates[0]
        return Tried.joined(found)

    def _held_out(
        self, network: Network, rest: np.ndarray, held: np.ndarray, rate: float, name: str
    ) -> Tried:
        """What each share gives for the images `held`, after training on the rest; its checkpoints
        are called `name`."""
        assert self._probe is not None
        network = copy.deepcopy(network)
        inputs = [(x[rest], labels[rest]) for x, labels in self._inputs]
        self._fit_head(network, inputs, self._probe.strength)
        probed, optimizer = weights_of(network), self._prepare_fine_tuning(network, rate)
        training, images = Subset(self.training, rest), Subset(self.training, held)
        before = self._scores(network, images)
        self.goal.to_standard(network)
        try:
            self._fit(name, network, optimizer, None, of=training)
            after = self._along(network, probed, training, images)
        except GradError:  # the rate is too high for this network: nothing is gained by it
            after = [before] * (len(SHARES) - 1)
        scores = np.stack([before, *after])  # (shares, N, C)
        targets = self._inputs[0][1][held]
        counts = self.goal.counts(targets)
        losses, right = self.goal.losses(scores, targets), self.goal.right(scores, targets)
        return Tried(counts * losses, counts * right)

    def _along(
        self, network: Network, start: State, training: Dataset, images: Dataset
    ) -> list[np.ndarray]:
        """The scores (N, C) of images at each share above 0 of the way from `start` to the weights
        that the network has."""
        end, scores = weights_of(network), []
        for share in SHARES[1:]:
            self._go(network, start, end, share, training)
            scores.append(self._scores(network, images))
        return scores

    def _go(
        self, network: Network, start: State, end: State, share: float, training: Dataset
    ) -> None:
        """Give the network the weights at a share of the way, and fit its last layer to them."""
        set_between(network, start, end, share)
        assert self._probe is not None
        self._fit_head(network, self._inputs_of(network, training), self._probe.strength)

    def _inputs_of(self, network: Network, images: Dataset) -> list[Rows]:
        """What the last layer takes, of each view of the images."""
        found = [head_inputs(network, self._loader(images, mirror=each)) for each in self._views]
        if not all(np.isfinite(x).all() for x, _ in found):
            raise GradError("the network's features are NaN or infinite: try a smaller lr")
        return found

    def _fit_head(
        self, network: Network, inputs: list[Rows], strength: float | None = None
    ) -> Probe:
        """Fit the network's last layer to what it takes; the strength, if None, is found."""
        probe = fit_probe(inputs, self.goal, self.seed, strength)
        put_into_head(network, probe)
        self.goal.from_standard(network)
        return probe

    def _prepare_fine_tuning(self, network: Network, rate: float) -> optim.Optimizer:
        """Make trainable what is to be trained; return its optimizer."""
        network.unfreeze()
        if self.freeze is not None:
            freeze_to(network, self.freeze)
        for module in network.modules():
            if isinstance(module, BatchNorm2d):  # statistics of few images would be worse
                module.freeze()
        trained = [p for p in network.parameters() if p.requires_grad]
        return optim.AdamW(trained, lr=rate)

    def _fit(
        self,
        name: str,
        network: Network,
        optimizer: optim.Optimizer,
        validation: Dataset | None,
        of: Dataset | None = None,
        epochs: int | None = None,
        averaged: bool = False,
    ) -> list[dict[str, Any]]:
        """Train on augmented images, or go on with it, and return the rows of the history.

        The network gives what the task's loss takes; afterwards, what is asked.
        """
        loader = self._loader(of or self.training, training=True)
        epochs = self.epochs if epochs is None else epochs
        steps = epochs * len(loader)
        schedule = optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=optimizer.param_groups[0]["lr"], total_steps=max(1, steps),
            cycle_momentum=False,
        )  # fmt: skip
        kept = None if self.checkpoints is None else self.checkpoints / name.replace(" ", "-")
        trainer = Trainer(
            network,
            optimizer,
            self.goal.loss(),
            self.goal.shown(bool(self.mixup or self.cutmix)),
            scheduler=schedule,
            ema=optim.EMA(network, AVERAGED) if averaged else None,
            callbacks=self._callbacks(name, kept),
            shards=self.shards,
        )
        if kept is not None:
            resume_trainer(trainer, kept)
        measured = None if validation is None else self._loader(validation)
        trainer.fit(loader, epochs, measured, self.progress and name in WAYS)
        if trainer.ema is not None:
            trainer.ema.copy_to()
        self.goal.from_standard(network)
        return trainer.history.rows

    def _callbacks(self, name: str, checkpoints: Path | None) -> list[Callback]:
        return [
            *(self.callbacks(name) if name in WAYS else ()),
            *mixing(self.mixup, self.cutmix, len(self.classes)),
            *(() if checkpoints is None else (Checkpoint(checkpoints, keep=1),)),
        ]

    def _scores(self, network: Network, images: Dataset) -> np.ndarray:
        """(N, C): the scores of each image, its views joined."""
        found = []
        for mirror in self._views:
            with evaluating(network):
                batches = [network(x).data for x, _ in self._loader(images, mirror=mirror)]
            found.append(np.concatenate(batches))
            if not np.isfinite(found[-1]).all():
                raise GradError("the network's scores are NaN or infinite: try a smaller lr")
        return self.goal.joined(np.stack(found, axis=1))  # (N, V, C) -> (N, C)

    @cached_property
    def goal(self) -> Task:
        """What is asked of the images."""
        labels = labels_of(self.training)
        if labels is None:
            raise ArgumentError(
                f"Transfer: the training images, a {type(self.training).__name__}, need labels as "
                "an attribute: (N,) whole numbers, or (N, C) for labels and numbers"
            )
        found = TASKS[self.task](labels)
        if isinstance(found, Classes) and self.class_weights:
            found.weights = class_weights(labels)
        return found

    @property
    def _views(self) -> tuple[bool, ...]:
        """Whether mirrored, of each view of an image."""
        return (False, True) if self.mirror else (False,)

    def _with_new_head(self, network: Network) -> Network:
        network.replace_head(len(self.classes))
        network.classes, network.task = list(self.classes), self.task
        images = self.network.image_format
        network.image_format = None if images is None else replace(images, mirrored=self.mirror)
        return network

    def _loader(self, data: Dataset, training: bool = False, mirror: bool = False) -> DataLoader:
        before = list(self.augment) if training else [_mirrored] if mirror else []
        return DataLoader(
            data, self.batch_size, training, seed=self.seed, workers=self.workers,
            drop_last=training and len(data) > self.batch_size, augment=training,
            transform=[*before, *self.prepare],
        )  # fmt: skip


def _mirrored(images: np.ndarray, rng: Any) -> np.ndarray:
    return np.ascontiguousarray(images[:, :, ::-1])
