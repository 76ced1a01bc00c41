"""What a Trainer checks before it trains: its parts, its data, and the columns that are watched."""

import difflib
import inspect
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from minidl import nn, random
from minidl.autograd import no_grad
from minidl.data import DataLoader, Dataset
from minidl.errors import ArgumentError, DTypeError
from minidl.nn import Module
from minidl.nn.modes import shadow
from minidl.optim import EMA, LBFGS, Optimizer
from minidl.optim.lr_scheduler import LinearWarmup, LRScheduler
from minidl.train.callbacks import Callback, check_direction
from minidl.train.checkpoint import Checkpoint
from minidl.train.progress import pair
from minidl.train.stopping import EarlyStopping

__all__ = [
    "check_callbacks", "check_columns", "check_held", "check_loader", "check_loss",
    "check_monitor", "check_normalization", "check_optimizer", "check_parts", "check_plain",
    "check_steps", "named_parameters",
]  # fmt: skip

HOOKS = tuple(name for name in vars(Callback) if name.startswith("on_"))
SHOWN = 5  # names in an error


def check_parts(model: Any, optimizer: Any, scheduler: Any, ema: Any) -> None:
    """Raise DTypeError for parts of the wrong type, ArgumentError for parts of other trainings."""
    _check_kind("a model, an nn.Module", Module, model)
    if isinstance(optimizer, LBFGS):
        raise DTypeError(
            "Trainer can't take LBFGS, which computes one loss, that of all data, several times a "
            "step: call its step(closure), or give another optimizer, such as optim.SGD"
        )
    if optimizer is not None:
        _check_kind("an optimizer of minidl.optim", Optimizer, optimizer)
    if scheduler is not None:
        _check_scheduler(scheduler, optimizer)
    if ema is not None:
        _check_kind("an optim.EMA", EMA, ema)
        known = {id(p) for p in model.parameters()}
        if any(id(p) not in known for p in ema.parameters()):
            raise ArgumentError(
                "Trainer: the EMA averages parameters that aren't the model's: make it of this "
                "model, optim.EMA(model), after its last change"
            )


def _check_kind(wanted: str, kind: type, part: Any) -> None:
    if not isinstance(part, kind):
        raise DTypeError(f"Trainer expected {wanted}, got {_described(part)}")


def _described(part: Any) -> str:
    if inspect.isclass(part):
        return f"the class {part.__name__}: give an object of it, {part.__name__}(...)"
    return f"a {type(part).__name__}"


def _check_scheduler(scheduler: Any, optimizer: Any) -> None:
    if isinstance(scheduler, list | tuple):
        raise DTypeError(
            f"Trainer expected one scheduler, got {len(scheduler)}: lr_scheduler.SequentialLR "
            "runs several, one after the other"
        )
    stepping = callable(getattr(scheduler, "step", None)) and hasattr(scheduler, "needs_metric")
    if inspect.isclass(scheduler) or not stepping or isinstance(scheduler, Optimizer):
        raise DTypeError(
            "Trainer expected a scheduler of minidl.optim.lr_scheduler, got "
            f"{_described(scheduler)}"
        )
    if scheduler.needs_metric and getattr(scheduler, "per_step", False):
        raise ArgumentError(
            f"Trainer: {type(scheduler).__name__} looks at a number that there is once an epoch: "
            "leave its per_step False"
        )
    if isinstance(scheduler, LRScheduler) and scheduler.optimizer is not optimizer:
        raise ArgumentError(
            f"Trainer: the {type(scheduler).__name__} is of another optimizer, so it would change "
            "none of this one's learning rates: make it with this optimizer"
        )


def check_loss(loss: Any) -> None:
    """Raise DTypeError for what can't be called with outputs and targets."""
    if inspect.isclass(loss) or not callable(loss):
        raise DTypeError(
            "Trainer expected a loss function, such as nn.CrossEntropyLoss(), got "
            f"{repr(loss) if isinstance(loss, str) else _described(loss)}"
        )


# Parameters


def check_optimizer(who: str, model: Module, optimizer: Any, loss: Any) -> None:
    """Raise ArgumentError unless exactly what can be trained will be.

    That is: all that the optimizer holds is the model's or the loss's, and all of their parameters
    that aren't frozen are in it; and there is one.
    """
    check_held(who, model, optimizer, loss)
    named, held = named_parameters(model, loss), _held(optimizer)
    missed = [name for name, p in named.items() if p.requires_grad and id(p) not in held]
    if missed:
        raise ArgumentError(
            f"{who}: the optimizer doesn't hold {_some(missed)}, which would never be trained: "
            "make it of all of model.parameters() after unfreeze(), or freeze() what isn't to be "
            "trained"
        )
    if not any(p.requires_grad for p in named.values()):
        raise ArgumentError(
            f"{who}: every parameter is frozen, so there is nothing to train: unfreeze() some"
        )


def check_held(who: str, model: Module, optimizer: Any, loss: Any) -> None:
    """Raise ArgumentError if the optimizer holds what is neither the model's nor the loss's."""
    named, held = named_parameters(model, loss), _held(optimizer)
    known = {id(p) for p in named.values()}
    strangers = [
        f"{p.shape} in group {i}"
        for i, group in enumerate(optimizer.param_groups)
        for p in group["params"]
        if id(p) not in known
    ]
    missed = [name for name, p in named.items() if p.requires_grad and id(p) not in held]
    if strangers:
        rest = f", and lacks {_some(missed)}" if missed else ""
        raise ArgumentError(
            f"{who}: the optimizer holds {len(strangers)} parameters that aren't the model's, of "
            f"shapes {_some(strangers)}{rest}: make it after the last change of the model "
            "(replace_head, a new layer, a copy)"
        )


def named_parameters(model: Module, loss: Any) -> dict[str, Any]:
    """What may be trained: the model's parameters, and those of a loss that is a module."""
    own = loss.named_parameters() if isinstance(loss, Module) else ()
    return dict(model.named_parameters()) | {f"loss.{name}": p for name, p in own}


def _held(optimizer: Any) -> set[int]:
    return {id(p) for group in optimizer.param_groups for p in group["params"]}


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


# Callbacks


def check_callbacks(callbacks: Any) -> list[Callback]:
    """The callbacks, if each is one, given once, whose hooks are those that a Trainer calls."""
    if isinstance(callbacks, Callback) or not isinstance(callbacks, Iterable):
        raise DTypeError(
            f"Trainer expected a list of callbacks, got {_described(callbacks)}: callbacks=[...]"
        )
    found = list(callbacks)
    for i, callback in enumerate(found):
        if not isinstance(callback, Callback):
            raise DTypeError(
                f"Trainer expected callbacks, objects of subclasses of train.Callback, got "
                f"{_described(callback)}"
            )
        if any(callback is other for other in found[:i]):
            raise ArgumentError(
                f"Trainer: the same {type(callback).__name__} is among the callbacks twice"
            )
        for name, hook in _hooks(callback):
            _check_hook(type(callback).__name__, name, hook)
    return found


def _hooks(callback: Callback) -> Iterator[tuple[str, Any]]:
    """All that looks like a hook of a callback: methods, and functions assigned to it."""
    own = [*vars(callback), *(n for kind in type(callback).__mro__ for n in vars(kind))]
    for name in dict.fromkeys(own):
        hook = getattr(callback, name, None)
        if name.startswith("on_") and callable(hook):
            yield name, hook


def _check_hook(who: str, name: str, hook: Any) -> None:
    if name not in HOOKS:
        (best, *_) = [*difflib.get_close_matches(name, HOOKS, 1, 0), HOOKS[0]]
        raise ArgumentError(
            f"{who}.{name} is never called: did you mean {best}? A Trainer calls {', '.join(HOOKS)}"
        )
    wanted = list(inspect.signature(getattr(Callback, name)).parameters)[1:]
    try:
        inspect.signature(hook).bind(*wanted)
    except TypeError as error:
        raise ArgumentError(f"{who}.{name} must take ({', '.join(wanted)}): {error}") from None
    except ValueError:  # a builtin without a signature
        pass


# Columns


def check_monitor(scheduler: Any, monitor: str | None) -> None:
    """Raise ArgumentError unless it is clear which column the scheduler is to be given."""
    if scheduler is None or not scheduler.needs_metric:
        if monitor is not None:
            raise ArgumentError(
                f"Trainer: monitor={monitor!r} is for a scheduler that looks at a number, such as "
                "ReduceLROnPlateau; callbacks have a monitor of their own"
            )
        return
    while isinstance(scheduler, LinearWarmup):
        scheduler = scheduler.after
    who, mode = type(scheduler).__name__, getattr(scheduler, "mode", "min")
    if monitor is None and mode == "max":
        raise ArgumentError(
            f'Trainer: say which column {who}(mode="max") looks at, for example '
            'monitor="val_accuracy": without monitor= it is the loss, of which less is better'
        )
    check_direction(f"Trainer: {who}", monitor or "loss", mode)


def check_steps(scheduler: Any, steps: int) -> None:
    """Raise ArgumentError where a schedule that counts steps ends before the training."""
    total = getattr(scheduler, "total_steps", None)
    if total is not None and getattr(scheduler, "per_step", False):
        end = scheduler.last_epoch + steps
        if end > total:
            raise ArgumentError(
                f"fit: {type(scheduler).__name__} has total_steps={total}, the training would make "
                f"{end} steps: give it total_steps={end}"
            )


def check_columns(trainer: Any, listeners: Sequence[Callback], validation: bool) -> None:
    """Raise ArgumentError where something monitors what isn't measured."""
    check_monitor(trainer.scheduler, trainer.monitor)
    measured = ["loss", *trainer.metrics]
    if validation:
        measured += [f"val_{name}" for name in measured]
    _check_watched("Trainer", trainer.monitor, measured)
    columns = ["epoch", "lr", *measured, "seconds"]
    for callback in listeners:
        if isinstance(callback, Checkpoint | EarlyStopping):
            _check_watched(type(callback).__name__, callback.monitor, columns)
        added = callback.columns
        columns += [added] if isinstance(added, str) else added


def _check_watched(who: str, monitor: str | None, columns: Sequence[str]) -> None:
    """Raise ArgumentError for a column that no epoch will have."""
    if monitor is not None and monitor not in columns:
        validation = any(name.startswith("val_") for name in columns)
        lacking = monitor.startswith("val_") and not validation
        mend = " (give fit a validation loader)" if lacking else ""
        raise ArgumentError(
            f"{who}: monitor={monitor!r} is not a column of the history: {', '.join(columns)}{mend}"
        )


# Data


def check_loader(who: str, loader: Any) -> None:
    """Raise DTypeError or ArgumentError for what doesn't give batches again and again."""
    if isinstance(loader, Dataset):
        raise DTypeError(
            f"{who} expected batches, got the data set itself, {type(loader).__name__}: wrap it "
            "in data.DataLoader(dataset, batch_size)"
        )
    if not isinstance(loader, Iterable):
        raise DTypeError(f"{who} expected a loader of batches, got {_described(loader)}")
    if isinstance(loader, Iterator):
        raise DTypeError(
            f"{who} expected a loader that can be read in each epoch, got a "
            f"{type(loader).__name__}, which ends after the first: use data.DataLoader or a list"
        )
    if type(loader) in (list, tuple):
        for batch in loader:
            pair(batch, who)


def check_plain(who: str, loader: Any) -> None:
    """Raise ArgumentError for a loader that alters its images at random."""
    if getattr(loader, "augment", False):
        raise ArgumentError(
            f"{who} has augment=True, and augmentation is for training data only: make it with "
            "augment=False"
        )


def check_normalization(who: str, model: Module, loader: Any, shards: int = 1) -> None:
    """Raise ArgumentError if batch normalization will get one value a channel in a last batch, or
    in a shard of a batch."""
    norms = [m for m in model.modules() if _normalizes(m) and not m.frozen]
    if norms and shards > 1:
        _check_shards(who, model, loader, shards)
    alone, mend = _one_row(loader) if norms and shards == 1 else (None, "")
    if alone is not None and (name := _starved(model, alone)) is not None:
        raise ArgumentError(
            f"{who}: the last batch of an epoch has one row, from which {name} can't compute a "
            f"variance: {mend}"
        )


def _check_shards(who: str, model: Module, loader: Any, shards: int) -> None:
    """Raise ArgumentError if batch normalization will get a shard of one value a channel."""
    if isinstance(loader, DataLoader):
        size = loader.batch_size
        whole, rest = divmod(len(loader.dataset), size)
        counts = [size] * bool(whole) + [rest] * bool(rest and not loader.drop_last)
        mend = f"{len(loader.dataset)} rows in batches of {size}: give larger batches, or drop_last"
        x = loader.last_batch()[0][:1] if min(counts) < 2 * shards else None
    elif type(loader) in (list, tuple):
        counts, mend = [len(x) for x, _ in loader], "give larger batches"
        x = loader[0][0][:1]
    else:
        return
    small = min(counts)
    if small < 2 * shards and (name := _starved(model, x)) is not None:
        raise ArgumentError(
            f"{who}: a batch of {small} rows in shards={shards} has shards of one row, from which "
            f"{name} can't compute a variance: give fewer shards ({mend})"
        )


def _normalizes(module: Module) -> bool:
    return isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)


def _one_row(loader: Any) -> tuple[Any, str]:
    """The images of a batch of one row that a loader will give, or None; and how to avoid it."""
    if isinstance(loader, DataLoader):
        rows, size = len(loader.dataset), loader.batch_size
        if size == 1 or rows == 1:
            mend = "give it batches of two rows or more"
        elif rows % size == 1 and not loader.drop_last:
            mend = f"{rows} rows in batches of {size}: give the DataLoader drop_last=True"
        else:
            return None, ""
        return loader.last_batch()[0], mend
    if type(loader) in (list, tuple):
        for x, _ in loader:
            if len(x) == 1:
                return x, "leave it out, as a DataLoader's drop_last=True does"
    return None, ""


def _starved(model: Module, x: Any) -> str | None:
    """The batch normalization that gets one value a channel of `x`, in training; or None."""
    twin, found = shadow(model, hooks=False), []
    twin.train()
    for name, module in twin.named_modules():
        if _normalizes(module) and not module.frozen:
            module.training = False  # so that it doesn't fail
            module.register_forward_hook(
                lambda module, inputs, output, name=name: found.append(
                    (name, inputs[0].size // inputs[0].shape[-1])
                )
            )
    with random.restored(), no_grad():
        twin(x)
    return next((f"{name} (BatchNorm)" for name, values in found if values == 1), None)
