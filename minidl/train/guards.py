"""Callbacks that keep gradients in bounds, and say where a number ceases to be one."""

from typing import Any

import numpy as np

from minidl import random
from minidl.autograd import Tensor, no_grad
from minidl.checks import real
from minidl.errors import ArgumentError, GradError
from minidl.nn import Module
from minidl.nn.modes import shadow
from minidl.optim import clip_grad_norm, clip_grad_value
from minidl.train.callbacks import Callback

__all__ = ["ClipGradients", "NaNGuard"]


class ClipGradients(Callback):
    """Clips the gradients of the optimizer's parameters before each step.

    Give one of the two. max_norm: the most for the norm of all gradients as one vector, as in
    `optim.clip_grad_norm`.  max_value: the most for each entry, as in `optim.clip_grad_value`.
    With max_norm, raises GradError for gradients that aren't finite.
    Raises ArgumentError unless one of them is given, above 0.
    """

    def __init__(self, max_norm: float | None = None, max_value: float | None = None) -> None:
        if (max_norm is None) == (max_value is None):
            raise ArgumentError("ClipGradients: give max_norm or max_value, one of the two")
        name, limit = ("max_value", max_value) if max_norm is None else ("max_norm", max_norm)
        if real("ClipGradients", name, limit) <= 0:
            raise ArgumentError(f"ClipGradients: {name} must be above 0, got {limit}")
        self.max_norm, self.max_value = max_norm, max_value

    def on_backward_end(self, trainer: Any) -> None:
        params = [p for group in trainer.optimizer.param_groups for p in group["params"]]
        if self.max_norm is not None:
            clip_grad_norm(params, self.max_norm)
        elif self.max_value is not None:
            clip_grad_value(params, self.max_value)


class NaNGuard(Callback):
    """Names the layer that first gives NaN or infinity, when a loss isn't finite any more.

    It runs the batch once more, and listens; batches with a finite loss cost one sum over each
    gradient, which names a parameter whose gradient isn't finite before the optimizer uses it.
    Put it before ClipGradients. Raises GradError, with the weights of the batch before.
    """

    def on_backward_end(self, trainer: Any) -> None:
        for name, parameter in trainer.model.named_parameters():
            if parameter.grad is not None and not _is_finite(parameter.grad):
                layer, _, _ = name.rpartition(".")
                part = dict(trainer.model.named_modules())[layer]
                raise GradError(
                    f"the gradient of {name}, of {_title(layer, part)}, holds "
                    f"{_first_bad(parameter.grad)} {_where(trainer)}, though the loss is finite: "
                    "clip activations that reach 0 under a root or logarithm, or lower the "
                    "learning rate; md.detect_anomaly() names the op"
                )

    def on_bad_loss(self, trainer: Any, x: Any, target: Any, loss: float) -> None:
        if not _is_finite(np.asarray(x)):
            raise GradError(
                f"the inputs hold {_first_bad(np.asarray(x))} {_where(trainer)}, so the loss is "
                f"{loss}: look at the data"
            )
        found = first_bad_layer(trainer.running, x)
        if found is None:
            raise GradError(
                f"the loss is {loss} {_where(trainer)}, but all layers' outputs are finite: it "
                "comes from the loss function or the targets"
            )
        name, module, value = found
        raise GradError(
            f"{_title(name, module)} first gives {value} {_where(trainer)}; {_health(module)}"
        )


def first_bad_layer(model: Module, x: Any) -> tuple[str, Module, str] | None:
    """The first module, by the order of a forward, whose output isn't finite: its name, itself and
    "NaN" or "inf"; None if there is none. In the modes that the model is in, which stays as it is.
    """
    found: list[tuple[str, Module, str]] = []
    twin = shadow(model)  # whose running statistics may change
    originals = dict(model.named_modules())

    def listen(name: str, module: Module) -> None:
        def hook(_: Module, inputs: Any, output: Any) -> None:
            for array in _arrays(output):
                if not found and not _is_finite(array):
                    found.append((name, originals[name], _first_bad(array)))

        module.register_forward_hook(hook)

    for name, module in twin.named_modules():
        listen(name, module)
    with random.restored(), no_grad():
        twin(x)
    return found[0] if found else None


def _arrays(output: Any) -> list[np.ndarray]:
    parts = output if isinstance(output, tuple | list) else [output]
    return [part.data for part in parts if isinstance(part, Tensor)]


def _is_finite(array: np.ndarray) -> bool:
    """NaN and infinity reach the sum, at the price of one pass. So may large finite numbers."""
    if array.dtype.kind != "f":
        return True
    with np.errstate(all="ignore"):
        return bool(np.isfinite(array.sum()) or np.isfinite(array).all())


def _first_bad(array: np.ndarray) -> str:
    """NaN counts before infinity."""
    return "NaN" if np.isnan(array).any() else "inf"


def _where(trainer: Any) -> str:
    return f"at epoch {trainer.epoch + 1}, batch {trainer.progress.batch + 1}"


def _title(name: str, module: Module) -> str:
    kind = type(module).__name__
    return f"layer {name} ({kind})" if name else f"the model ({kind})"


def _health(module: Module) -> str:
    """What is the matter with a layer's own parameters."""
    own = [(name, p.data) for name, p in module.named_parameters()]
    if module.frozen:  # in training, running statistics aren't used, and the batch has been here
        own += [(name, b.data) for name, b in module.named_buffers()]
    bad = [f"its {name} holds {_first_bad(data)}" for name, data in own if not _is_finite(data)]
    if bad:
        return f"{', '.join(bad)}: an earlier step broke it; lower the learning rate"
    if own:
        return "its weights are finite: lower the learning rate, or normalise what it is given"
    return "it has no weights: look at what it computes"
