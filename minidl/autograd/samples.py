"""Sample inputs: what an op declares beside itself, for tests and recordings to run it on."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["Sample", "ErrorInput", "Draw", "sample"]


@dataclass
class Sample:
    """Inputs and settings to call an op with."""

    inputs: tuple[Any, ...]
    settings: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        shapes = ",".join(
            "x".join(map(str, x.shape)) or "scalar" if isinstance(x, np.ndarray) else str(x)
            for x in self.inputs
        )
        settings = ",".join(f"{name}={value}" for name, value in self.settings.items())
        return f"{shapes};{settings}" if settings else shapes


def sample(*inputs: Any, **settings: Any) -> Sample:
    return Sample(inputs, settings)


@dataclass
class ErrorInput:
    """A call that must raise `error` with a message that matches the regular expression `match`."""

    sample: Sample
    error: type[Exception]
    match: str


class Draw:
    """Random inputs, the same at every run. float32 draws are the float64 ones, rounded."""

    def __init__(self, dtype: Any = np.float64) -> None:
        self.dtype = np.dtype(dtype)
        self._random = np.random.default_rng(20)

    def normal(self, *shape: int) -> np.ndarray:
        return np.asarray(self._random.standard_normal(shape)).astype(self.dtype)

    def uniform(self, low: float, high: float, *shape: int) -> np.ndarray:
        return np.asarray(self._random.uniform(low, high, shape)).astype(self.dtype)

    def nonzero(self, *shape: int) -> np.ndarray:
        """Of either sign, 0.2 to 2 from zero: away from the kinks of abs and relu."""
        signs = self._random.choice([-1.0, 1.0], shape)
        return np.asarray(signs * self._random.uniform(0.2, 2.0, shape)).astype(self.dtype)

    def distinct(self, *shape: int) -> np.ndarray:
        """No two closer than 0.05: a maximum is never a near-tie."""
        size = int(np.prod(shape))
        numbers = 0.05 * self._random.permutation(size) - 0.025 * size + 0.01
        return np.asarray(numbers.reshape(shape)).astype(self.dtype)

    def integers(self, high: int, *shape: int) -> np.ndarray:
        return self._random.integers(0, high, shape)

    def mask(self, *shape: int) -> np.ndarray:
        return self._random.random(shape) < 0.5
