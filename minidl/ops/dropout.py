"""Dropout."""

from collections.abc import Iterator

import numpy as np

from minidl import random
from minidl.autograd.op import composite
from minidl.autograd.samples import Draw, ErrorInput, Sample, sample
from minidl.errors import ArgumentError, DTypeError

__all__ = ["dropout"]


@composite(oracle=lambda torch, x, p, training: torch.nn.functional.dropout(x, p, training))
def dropout(x, p=0.5, training=True):
    """In training each element is 0 with probability p, and 1 / (1 - p) times itself otherwise.

    The mask is drawn from `md.manual_seed`'s generator. Not in training, x itself.
    Source: Srivastava et al. 2014, "Dropout".
    """
    if not 0.0 <= p <= 1.0:
        raise ArgumentError(f"dropout: p must be a probability from 0 to 1, got {p}")
    if x.dtype.kind != "f":
        raise DTypeError(f"dropout expected float32 or float64, got {x.dtype}: use .astype()")
    if not training or p == 0:
        return x
    kept = random.generator().random(x.shape, np.float32) >= p
    scale = 1 / (1 - p) if p < 1 else 0.0
    return x * (kept * x.dtype.type(scale))


@dropout.samples
def _(draw: Draw) -> Iterator[Sample]:
    # Deterministic settings, which other libraries share; the masks have tests of their own.
    yield sample(draw.normal(3, 4), 0.5, False)
    yield sample(draw.normal(3, 4), 0.0, True)
    yield sample(draw.normal(3, 4), 1.0, True)


@dropout.errors
def _(draw: Draw) -> Iterator[ErrorInput]:
    yield ErrorInput(sample(draw.normal(3), 1.5), ArgumentError, "from 0 to 1, got 1.5")
    yield ErrorInput(sample(draw.normal(3), float("nan")), ArgumentError, "got nan")
    yield ErrorInput(sample(np.arange(3), 0.5), DTypeError, "got int64")
