"""Trainer: the training loop."""

import functools
import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from minidl.capture import Compiled, is_own
from minidl.checks import whole
from minidl.config import config
from minidl.distributed.world import world
from minidl.errors import ArgumentError, GradError
from minidl.foreign import Advising, advised
from minidl.nn import CrossEntropyLoss, Module
from minidl.train import measuring
from minidl.train.accumulation import Accumulation, weight_of
from minidl.train.agreement import check_alike, check_weights
from minidl.train.callbacks import Callback, ProgressBar, changes_batches, of_this_rank, telling
from minidl.train.checkpoint import Checkpoint
from minidl.train.checks import (
    check_callbacks,
    check_columns,
    check_held,
    check_loader,
    check_loss,
    check_monitor,
    check_normalization,
    check_optimizer,
    check_parts,
    check_plain,
    check_steps,
    named_parameters,
)  # fmt: skip
from minidl.train.frozen_body import HeadOnly, head_only
from minidl.train.history import History
from minidl.train.metrics import Metric, by_name, measured
from minidl.train.progress import Progress, load_progress, pair, save_progress
from minidl.train.sharding import Measured, sharding_of

__all__ = ["Trainer"]


class Trainer(Advising):
    """Trains a model on batches (x, target) and measures it.

    optimizer: over all of the model that isn't frozen; None for a trainer that only measures.
    loss: loss(outputs, target) -> scalar Tensor; CrossEntropyLoss where left out.
    metrics: names ("accuracy") or functions of outputs and targets; of the first outputs, where a
    model in training gives several, as googlenet(auxiliary=True) does. Rows whose label is the
    loss's ignore_index are left out.
    scheduler: stepped after each epoch or, if its `per_step` is True, as OneCycleLR's is, after
    each step of the optimizer.  ema: averages that are updated after each step and used for
    measuring.  callbacks: see `train.Callback`.
    monitor: the column of the history that a scheduler such as ReduceLROnPlateau is given; None for
        the validation loss or, without validation, the training loss.
    accumulate: of how many batches a step of the optimizer takes the mean gradient, that of all
        their rows; at the end of an epoch they may be fewer. But for batch normalization, whose
        statistics are a batch's own, that is training on batches so many times as large.
    shards: cut each batch into so many, whose gradients are computed one by one, with statistics
        and random numbers of their own, and summed in one order: so the ranks of an MPI run, which
        share them, give the bits that one process gives. None: 8 under mpiexec, otherwise none.
        See docs/distributed.md.
    sync: whether batch normalization, in shards, takes its statistics over the whole batch.
    Raises DTypeError for parts of the wrong type and ArgumentError for what would train nothing, or
    silently something else: an optimizer that doesn't hold exactly what is to be trained, a
    scheduler of another optimizer, hooks of callbacks that are never called.
    """

    def __init__(
        self,
        model: Module,
        optimizer: Any,
        loss: Callable[[Any, Any], Any] | None = None,
        metrics: Iterable[str | Metric] = (),
        scheduler: Any = None,
        ema: Any = None,
        callbacks: Sequence[Callback] = (),
        *,
        monitor: str | None = None,
        accumulate: int = 1,
        shards: int | None = None,
        sync: bool = False,
    ) -> None:
        world()  # from here on an error that all ranks have is told once
        check_parts(model, optimizer, scheduler, ema)
        if monitor is not None:  # whether one is needed depends on what `fit` measures
            check_monitor(scheduler, monitor)
        self.model = model
        self.optimizer = optimizer
        self.loss = CrossEntropyLoss() if loss is None else loss
        self.metrics = by_name(metrics)
        self.scheduler, self.monitor = scheduler, monitor
        self.ema = ema
        self.callbacks = check_callbacks(callbacks)
        check_loss(self.loss)
        self.accumulation = Accumulation(
            accumulate, self.loss, functools.partial(named_parameters, model, self.loss)
        )
        self.sharding = None if optimizer is None else sharding_of(shards, self.loss, sync)
        if optimizer is not None:  # what is frozen, and needn't be in it, shows when `fit` begins
            check_held("Trainer", model, optimizer, self.loss)
        self.progress = Progress()
        self.stopped: str | None = None  # why the last `fit` ended early
        self._head: HeadOnly | None = None  # while `fit` trains it over a frozen body
        # captured where that is proved to give the same bits, else called as they are
        self._gradients = Compiled(self._find_gradients, refuse=False)
        self._update = Compiled(self._move, refuse=False)
        self._forwards: dict[int, Compiled] = {}  # by module

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return self.progress.epoch

    @property
    def history(self) -> History:
        """A row an epoch."""
        return self.progress.history

    @advised
    def fit(
        self, loader: Any, epochs: int, validation: Any = None, progress: bool = True
    ) -> History:
        """Train until `epochs` epochs are done in all, and return the history.

        loader: gives the batches of an epoch each time it is iterated over.
        validation: a loader to measure on after each epoch.
        A frozen body of a network of `minidl.models` computes once what it makes of images, if they
        are the same each time, unless `md.config.keep_features` is False: an epoch then costs what
        the head costs. See `train.frozen_body`.
        Returns early, after the epoch that goes on, when a callback calls `stop`.
        Raises ArgumentError before it trains where a scheduler or callback monitors a column that
        no epoch will have, and where batch normalization would get a last batch of one row.
        Raises GradError, naming epoch and batch, when the loss is not finite any more.
        """
        whole("fit", "epochs", epochs, 0)
        batches = self._check_data(loader, validation)
        # A checkpoint is written last, when all others know of the epoch.
        listeners = sorted(
            check_callbacks(self.callbacks), key=lambda each: isinstance(each, Checkpoint)
        )
        check_columns(self, listeners, validation is not None)
        check_alike(self, loader, epochs)
        self.stopped = None
        done = self.progress.begin(loader) if self.epoch < epochs else 0
        if done == 0:
            self.accumulation.clear()
        check_steps(self.scheduler, self.accumulation.steps(batches, epochs - self.epoch, done))
        shown = of_this_rank([*listeners, ProgressBar()] if progress else listeners)
        told = telling(shown, self, max(0, batches * (epochs - self.epoch) - done))
        with told:
            try:
                if self.epoch < epochs:  # before a frozen body computes features
                    self._check_training(loader)
                self._begin_head(epochs, loader, validation)
                while self.epoch < epochs and self.stopped is None:
                    self._run_epoch(*self._loaders(loader, validation), shown)
            finally:
                self._leave_head(loader)
        return self.history

    def _check_data(self, loader: Any, validation: Any) -> int:
        """The number of batches; raises for what can't be trained or measured on."""
        if self.optimizer is None:
            raise ArgumentError("fit: the trainer has no optimizer, so it can only measure")
        check_loader("fit", loader)
        batches = len(loader)
        if batches == 0:
            raise ArgumentError("fit: the loader has no batches (more rows, or drop_last=False)")
        if validation is not None:
            check_loader("fit: validation", validation)
            check_plain("fit: the validation loader", validation)
            if hasattr(validation, "__len__") and len(validation) == 0:
                raise ArgumentError("fit: the validation loader has no batches")
        return batches

    def _check_training(self, loader: Any) -> None:
        """Raise ArgumentError if an epoch would not train all that isn't frozen, or fail at its
        end. Callbacks may have changed what is frozen, so each epoch begins with this."""
        check_optimizer("fit", self.model, self.optimizer, self.loss)
        cut = self.sharding is not None and not self.sharding.sync
        shards = self.sharding.count if self.sharding is not None and cut else 1
        check_normalization("fit", self.running, loader, shards)

    @property
    def running(self) -> Module:
        """What takes the batches of `fit`: the model or, over a frozen body, its head alone."""
        return self.model if self._head is None else self._head.head

    def _begin_head(self, epochs: int, loader: Any, validation: Any) -> None:
        """From here on the head alone runs, if nothing can tell the difference."""
        seen = self.ema is not None or any(changes_batches(each) for each in self.callbacks)
        if config.keep_features and not seen and self.epoch < epochs and self.stopped is None:
            loaders = [loader] if validation is None else [loader, validation]
            self._head = head_only(self.model, loaders)
        if self._head is not None:
            self.progress.loader = self._head.loaders[0]

    def _loaders(self, loader: Any, validation: Any) -> tuple[Any, Any]:
        """Those of an epoch: of features as long as the head alone runs."""
        if self._head is not None and not self._head.holds:  # a callback has unfrozen the body
            self._leave_head(loader)
        if self._head is None:
            return loader, validation
        return self._head.loaders[0], None if validation is None else self._head.loaders[-1]

    def _leave_head(self, loader: Any) -> None:
        if self._head is not None:
            self._head.finish()
            self._head, self.progress.loader = None, loader

    def stop(self, reason: str) -> None:
        """End `fit` after this epoch, or called in `on_fit_begin`, before the first.

        For callbacks. `stopped` holds the reason until the next `fit`. A checkpoint doesn't: a
        callback that is to keep a resumed training from going on stops it again in `on_fit_begin`.
        """
        self.stopped = reason

    def _run_epoch(self, loader: Any, validation: Any, listeners: Sequence[Callback]) -> None:
        self._check_training(loader)
        start = time.perf_counter()
        means = self._train_epoch(loader, listeners)
        # that at the end: when a schedule counts steps, a resumed epoch knows no other
        lr = self.optimizer.param_groups[0]["lr"]
        row: dict[str, Any] = {"epoch": self.epoch + 1, "lr": lr, **means}
        if validation is not None:
            row |= {f"val_{n}": v for n, v in self.evaluate(validation).items()}
        self._step_scheduler(row)
        row["seconds"] = time.perf_counter() - start
        self.progress.end_epoch(row)
        check_weights(self)
        for listener in listeners:
            listener.on_epoch_end(self, row)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a checkpoint: all that `resume` needs to go on from here, bit for bit.

        Callbacks may call it, also in mid-epoch. See `md.save_checkpoint`.
        """
        save_progress(self, path)

    def resume(self, path: str | os.PathLike[str], strict: bool = True) -> "Trainer":
        """Go on from where `save` was called: the next `fit` continues there.

        Make the trainer with the same parts as then; its model, optimizer and so on are loaded. For
        frozen and added parameters see `md.load_checkpoint`, which also says what is raised.
        """
        load_progress(self, path, strict)
        return self

    def _train_epoch(self, loader: Any, listeners: Sequence[Callback]) -> dict[str, float]:
        self.model.train()
        progress = self.progress
        batches = loader if self.sharding is None else self.sharding.batches(loader, self.callbacks)
        for batch in progress.rest(loader, batches):
            found, weight = self._train_batch(batch, listeners)
            if self._gathered(weight, last=progress.batch + 1 == len(loader)):
                self._step(listeners)
            for each in found:
                progress.means.add(*each)
            progress.batch += 1
            for listener in listeners:
                listener.on_batch_end(self, progress.means.result())
        if self.accumulation.batches:  # a loader that ended before its length
            self.accumulation.finish()
            self._step(listeners)
        return progress.means.result()

    def _gathered(self, weight: float, last: bool) -> bool:
        """Whether the gradients are those of a step: of as many batches as it takes."""
        gathered = self.accumulation
        if gathered.every == 1:
            return True
        params = (p for group in self.optimizer.param_groups for p in group["params"])
        gathered.add(params, weight)
        return gathered.finish() if last or gathered.batches == gathered.every else False

    def _step(self, listeners: Sequence[Callback]) -> None:
        """One step of the optimizer, the averages and a schedule that counts steps."""
        for listener in listeners:
            listener.on_backward_end(self)
        if self.ema is None:
            self._update(self._parts())
        else:
            self._move(self._parts())
        if getattr(self.scheduler, "per_step", False):
            self.scheduler.step()

    def _parts(self) -> tuple[int, ...]:
        """What isn't an argument of a captured call must be the same, or it is another call."""
        return id(self.running), id(self.loss), id(self.optimizer), id(self.ema)

    def begin_batch(self, batch: tuple[Any, Any], listeners: Sequence[Callback]) -> Any:
        """The batch, or what the listeners make of it, one after the other.

        x, target: arrays (N, ...). Raises ArgumentError where a listener returns something else.
        """
        for listener in listeners:
            replaced = listener.on_batch_begin(self, *batch)
            if replaced is not None:
                if not isinstance(replaced, tuple) or len(replaced) != 2:
                    raise ArgumentError(
                        f"{type(listener).__name__}.on_batch_begin must return (x, target) or "
                        f"None, got a {type(replaced).__name__}"
                    )
                batch = replaced
        return batch

    def _train_batch(
        self, batch: Any, listeners: Sequence[Callback]
    ) -> tuple[list[Measured], float]:
        """What was measured of a batch, or each of its shards, and what the batch weighs.

        The parameters then have its gradients.
        """
        if self.sharding is not None:
            return self.sharding.train(self, batch, listeners)
        x, target = self.begin_batch(pair(batch, "fit"), listeners)
        outputs, loss = self.gradients(x, target)
        if not math.isfinite(loss):
            self.refuse_loss(x, target, loss, listeners)
        weight = weight_of(self.loss, x, target) if self.accumulation.every > 1 else 1.0
        return [measured(self.loss, self.metrics, x, outputs, target, loss)], weight

    def gradients(self, x: Any, target: Any) -> tuple[np.ndarray, float]:
        """The outputs of a batch (N, ...) and its loss, with its gradients in the parameters."""
        capture = is_own(self.running) and is_own(self.loss)
        find = self._gradients if capture else self._find_gradients
        return _plain(*find(x, target, self._parts()))

    def weighted_gradients(self, x: Any, target: Any, weight: float) -> tuple[np.ndarray, float]:
        """`gradients` of a shard (N, ...) times a weight, never captured: it meets others' sums."""
        dtype = next(p.dtype for p in self.running.parameters())
        return _plain(*self._find_gradients(x, target, weight=np.asarray(weight, dtype)))

    def refuse_loss(self, x: Any, target: Any, loss: float, listeners: Sequence[Callback]) -> None:
        """Raise GradError for a loss that isn't finite."""
        for listener in listeners:
            listener.on_bad_loss(self, x, target, loss)
        raise GradError(
            f"the loss is {loss} at epoch {self.epoch + 1}, batch {self.progress.batch + 1}: "
            "lower the learning rate, look for bad data, or run under md.detect_anomaly() to "
            "see which op it comes from"
        )

    def _find_gradients(
        self, x: Any, target: Any, parts: Any = None, weight: np.ndarray | None = None
    ) -> tuple[Any, Any]:
        """The outputs and the loss, and the gradients, times a weight, in the parameters."""
        self.optimizer.zero_grad()
        outputs = self.running(x)
        loss = self.loss(outputs, target)
        loss.backward(weight)
        return outputs, loss

    def _move(self, parts: Any) -> None:
        """Parameters and their averages, by the gradients."""
        self.optimizer.step()
        if self.ema is not None:
            self.ema.update()

    def _step_scheduler(self, row: dict[str, float]) -> None:
        if getattr(self.scheduler, "per_step", False):
            return
        if self.scheduler is not None and self.scheduler.needs_metric:
            name = self.monitor or ("val_loss" if "val_loss" in row else "loss")
            self.scheduler.step(row[name])
        elif self.scheduler is not None:
            self.scheduler.step()

    def evaluate(self, loader: Any) -> dict[str, float]:
        """The mean loss and metrics over a loader of (x, target), in evaluation mode."""
        return measuring.evaluate(self, loader)

    def predict(self, loader: Any) -> np.ndarray:
        """The outputs (N, ...) for a loader of x, (x,) or (x, target), in evaluation mode."""
        return measuring.predict(self, loader)

    def outputs_of(self, module: Module, x: Any) -> Any:
        """What a module gives for a batch, captured where it can be."""
        if self.ema is not None or not is_own(module):  # averages are other arrays each time
            return module(x)
        if id(module) not in self._forwards:
            self._forwards[id(module)] = Compiled(module, refuse=False)
        return self._forwards[id(module)](x)


def _plain(outputs: Any, loss: Any) -> tuple[np.ndarray, float]:
    main = outputs[0] if isinstance(outputs, tuple) else outputs
    return main.data, float(loss)
