"""An exponential moving average of a model's parameters, corrected for its start."""

import operator
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from minidl import kernels
from minidl.autograd import Tensor
from minidl.autograd.held import written
from minidl.errors import StateError
from minidl.optim._checks import alike, array_like, check_float, load, tensors
from minidl.optim._settings import check
from minidl.optim.optimizer import BELOW_ONE, FRACTION
from minidl.recording import before, owns

__all__ = ["EMA"]


class EMA:
    """Weighted means of the values that parameters had at the updates, the later the heavier.

    After t updates, average = sum over i of decay^(t - i) parameter(i), divided by the weights' sum
    (1 - decay^t) / (1 - decay). So the values that the tensors have now, which may be random, count
    for nothing once there was an update: the average of one update is the parameter itself, but for
    rounding.

    model_or_params: a Module, whose buffers are kept too, as they were at the last update; or an
        iterable of tensors.
    decay: from 0 to below 1; it may be changed between updates. Call `update` after each optimizer
        step.

    Source: Polyak and Juditsky 1992, "Acceleration of stochastic approximation by averaging"; in
    this exponential form, with the correction for the start, Kingma and Ba 2015, "Adam", section
    7.2.
    Raises ArgumentError for no parameters or a decay outside [0, 1), DTypeError for no tensors.
    """

    def __init__(self, model_or_params: Any, decay: float = 0.999) -> None:
        self.decay: float = check("EMA", "decay", BELOW_ONE, decay)
        self._model = model_or_params if hasattr(model_or_params, "named_parameters") else None
        params = model_or_params if self._model is None else self._model.parameters()
        self._params = tensors("EMA", params)
        for i, p in enumerate(self._params):
            check_float(f"EMA, parameter {i},", p)
        self._averages = {name: t.data.copy() for group in self._now() for name, t in group.items()}
        self._decayed = 1.0  # the product of the decays so far: what the start would weigh

    def parameters(self) -> Iterator[Tensor]:
        """Return the tensors that are averaged, of the parameters' shapes."""
        return iter(self._params)

    def _now(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Parameters and buffers by name, as a Module has them now: parts can be replaced."""
        if self._model is None:
            return {str(i): p for i, p in enumerate(self._params)}, {}
        return dict(self._model.named_parameters()), dict(self._model.named_buffers())

    def _fitting(self, who: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Parameters and buffers, if they are still those that the averages are of."""
        params, buffers = self._now()
        now = {**params, **buffers}
        odd = [
            name
            for name in {**self._averages, **now}
            if name not in now
            or name not in self._averages
            or not alike(now[name], self._averages[name])
        ]
        known = {id(p) for p in self._params}
        odd += [name for name, p in params.items() if id(p) not in known and name not in odd]
        if odd:
            raise StateError(
                f"EMA.{who}: the model has changed since the averages began, in "
                f"{', '.join(odd)}: make a new EMA"
            )
        return params, buffers

    def update(self) -> None:
        """Move the averages towards the parameters, and copy the buffers.

        Raises StateError if the model's names, shapes or dtypes have changed.
        """
        params, buffers = self._fitting("update")
        owns(*self._averages.values())
        numbers = np.array([self._advanced()])
        before(_Following(self, numbers))
        copy = kernels.use("copy")
        for name, p in params.items():
            kernels.use("optim").ema(self._averages[name], copy.contiguous(p.data), numbers)
        for name, b in buffers.items():
            copy.copy_to(self._averages[name], b.data)

    def _advanced(self) -> float:
        """Count an update; what the average so far weighs in it: decay, less at the start."""
        self._decayed *= self.decay
        return 1 - (1 - self.decay) / (1 - self._decayed)

    @contextmanager
    def average_parameters(self) -> Iterator[None]:
        """Inside, the model holds the averages; after, its own values again, also on an exception.

        What is written to parameters or buffers inside is lost. Raises as `update` does.
        """
        params, buffers = self._fitting("average_parameters")
        own = [(t, t.data) for t in (*params.values(), *buffers.values())]
        try:
            for name, t in (*params.items(), *buffers.items()):
                t.data = self._averages[name].copy()
            yield
        finally:
            for t, data in own:
                t.data = data

    def copy_to(self) -> None:
        """Write the averages into the model, for good. Raises as `update` does."""
        params, buffers = self._fitting("copy_to")
        for name, t in (*params.items(), *buffers.items()):
            written(t.data, "EMA.copy_to()")
            t.data[...] = self._averages[name]

    def state_dict(self) -> dict[str, Any]:
        """{"decay": ..., "decayed": ..., "averages": {name: array}}; the arrays are copies.

        decayed: the product of the decays of all updates, by which the next one is corrected.
        """
        return {
            "decay": self.decay,
            "decayed": self._decayed,
            "averages": {name: array.copy() for name, array in self._averages.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume exactly from where `state_dict` was taken.

        A state without `decayed` is of a version of minidl that didn't correct for the start: it
        continues without the correction, as there.
        Raises one StateError that lists every missing, unexpected and misshaped name, and then
        leaves the averages as they were.
        """
        rules = {f"averages.{name}": array_like(array) for name, array in self._averages.items()}
        numbers = {"decay": BELOW_ONE, "decayed": FRACTION}
        values = load("EMA.load_state_dict", state, {**numbers, **rules}, optional=("decayed",))
        self.decay, self._decayed = values["decay"], values.get("decayed", 0.0)
        self._averages = {name: values[f"averages.{name}"] for name in self._averages}


class _Following:
    """What a replayed update does in Python: count it, and look up the decay of now."""

    def __init__(self, ema: EMA, numbers: np.ndarray) -> None:
        self._ema, self._numbers = ema, numbers
        self._names, self._arrays = self._now()

    def _now(self) -> tuple[list[str], list[Any]]:
        """Return the names, and the arrays that they stand for with their averages."""
        params, buffers = self._ema._now()
        now, averages = {**params, **buffers}, self._ema._averages
        return list(now), [x for name, t in now.items() for x in (t.data, averages.get(name))]

    def holds(self) -> bool:
        """Return whether the same arrays would be averaged."""
        names, arrays = self._now()
        return names == self._names and all(map(operator.is_, arrays, self._arrays))

    def advance(self) -> None:
        self._numbers[0] = self._ema._advanced()

    def save(self) -> float:
        """Averages are saved as what the call owns."""
        return self._ema._decayed

    def restore(self, state: float) -> None:
        self._ema._decayed = state
