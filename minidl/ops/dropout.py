"""Dropout."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl import kernels, random
from minidl.autograd.op import composite
from minidl.autograd.primitive import primitive
from minidl.autograd.samples import Draw, ErrorInput, Sample, sample
from minidl.checks import flag, real
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.ops.checks import check_float

__all__ = ["dropout", "dropout2d", "stochastic_depth"]


def _splitmix64(state: int, count: int) -> Iterator[int]:
    """Yield the generator's numbers, computed with Python's integers."""
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        z = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        yield z ^ (z >> 31)


def _oracle(torch: Any, x: Any, *, seed: np.ndarray, p: float) -> Any:
    kept = [z >= p * 2**64 for z in _splitmix64(int(seed[0]), x.numel())]
    return x * torch.tensor(kept).reshape(x.shape) * (1 / (1 - p) if p < 1 else 0)


@primitive(flops=lambda output, x, **settings: output.size, oracle=_oracle, name="dropout")
def dropout_forward(x, *, seed, p):
    """Return x with each element 0 with probability p, and otherwise divided by 1 - p.

    seed: (1,), uint64; it decides which are dropped. Nothing else is kept for the gradient, which
    drops the same elements by the same seed.
    """
    return kernels.use("dropout").dropout(x, seed, p)


dropout_forward.vjp("x")(lambda g, seed, p: dropout_forward(g, seed=seed, p=p))


@composite(oracle=lambda torch, x, p, training: torch.nn.functional.dropout(x, p, training))
def dropout(x, p=0.5, training=True):
    """Return x with each element 0 with probability p, and otherwise divided by 1 - p.

    training: if False, return x itself.  The seed of the mask is drawn from the generator that
    `md.manual_seed` seeds.
    Raises ArgumentError for p outside 0 to 1, DTypeError for integers.
    Source: Srivastava et al. 2014, "Dropout".
    """
    p = real("dropout", "p", p, finite=False)
    if not 0.0 <= p <= 1.0:
        raise ArgumentError(f"dropout: p must be a probability from 0 to 1, got {p}")
    check_float("dropout", x)
    if not flag("dropout", "training", training) or p == 0:
        return x
    return dropout_forward(x, seed=random.seed(), p=p)


def _torch_dropout2d(torch: Any, x: Any, p: float, training: bool) -> Any:
    return torch.nn.functional.dropout2d(x.permute(0, 3, 1, 2), p, training).permute(0, 2, 3, 1)


@composite(oracle=_torch_dropout2d)
def dropout2d(x, p=0.5, training=True):
    """Return `dropout` of whole channels: each map of an image (N, H, W, C) is kept or dropped.

    Raises ShapeError for other than images (N, H, W, C).
    Source: Tompson et al. 2015, "Efficient Object Localization", section 3.2.
    """
    if x.ndim != 4:
        raise ShapeError(f"dropout2d expected images as a (N, H, W, C) array, got shape {x.shape}")
    return _dropped_whole(x, (len(x), 1, 1, x.shape[3]), p, training)


def _dropped_whole(x: Any, shape: tuple[int, ...], p: Any, training: Any) -> Any:
    """`dropout` of parts of x, which `shape` has one element for."""
    ones = np.ones(shape, x.dtype)
    kept = dropout(ones, p, training)
    return x if kept is ones else x * kept


@composite(oracle=lambda torch, x, p, mode, training: torch.nn.functional.dropout(x, p, training))
def stochastic_depth(x, p, mode="row", training=True):
    """In training x is 0 with probability p, and 1 / (1 - p) times itself otherwise.

    x: (N, ...), what a branch gives before it is added to its shortcut.
    mode: "row": each of the N samples is kept or not; "batch": all of them are, or none.
    Not in training, x itself.
    Raises ArgumentError for a p outside of 0 to 1 or another mode, ShapeError for an x without
    axes.
    Source: Huang et al. 2016, "Deep Networks with Stochastic Depth", equation 2, but scaled in
    training instead of evaluation.
    """
    if not isinstance(mode, str) or mode not in ("row", "batch"):
        raise ArgumentError(f'stochastic_depth: mode must be "row" or "batch", got {mode!r:.60}')
    if x.ndim == 0:
        raise ShapeError("stochastic_depth expected an array of samples (N, ...), got no axes")
    rows = len(x) if mode == "row" else 1
    return _dropped_whole(x, (rows, *(1,) * (x.ndim - 1)), p, training)


@dropout_forward.samples
def _(draw: Draw) -> Iterator[Sample]:
    for shape, seed, p in (
        ((3, 4), 1234567, 0.5), ((5, 2, 3), 2**64 - 1, 0.1), ((7,), 0, 1.0), ((0, 3), 0, 0.5)
    ):  # fmt: skip
        yield sample(draw.normal(*shape), seed=np.array([seed], np.uint64), p=p)


@dropout.samples
def _(draw: Draw) -> Iterator[Sample]:
    # Deterministic settings, which other libraries share; the masks have tests of their own.
    yield sample(draw.normal(3, 4), 0.5, False)
    yield sample(draw.normal(3, 4), 0.0, True)
    yield sample(draw.normal(3, 4), 1.0, True)


@dropout2d.samples
def _(draw: Draw) -> Iterator[Sample]:
    yield sample(draw.normal(2, 3, 2, 4), 0.5, False)
    yield sample(draw.normal(2, 3, 2, 4), 0.0, True)
    yield sample(draw.normal(2, 3, 2, 4), 1.0, True)


@stochastic_depth.samples
def _(draw: Draw) -> Iterator[Sample]:
    # Deterministic settings, as above.
    yield sample(draw.normal(2, 3, 2, 4), 0.5, "row", False)
    yield sample(draw.normal(4, 3), 0.0, "batch", True)
    yield sample(draw.normal(4, 3), 1.0, "row", True)
    yield sample(draw.normal(2), 1.0, "batch", True)


@stochastic_depth.errors
def _(draw: Draw) -> Iterator[ErrorInput]:
    yield ErrorInput(sample(draw.normal(3, 4), 0.5, "column"), ArgumentError, "got 'column'")
    yield ErrorInput(sample(draw.normal(), 0.5), ShapeError, "got no axes")
    yield ErrorInput(sample(draw.normal(3), 1.5), ArgumentError, "from 0 to 1, got 1.5")


@dropout2d.errors
def _(draw: Draw) -> Iterator[ErrorInput]:
    yield ErrorInput(sample(draw.normal(3, 4), p=0.5), ShapeError, r"\(N, H, W, C\) array, got")


@dropout.errors
def _(draw: Draw) -> Iterator[ErrorInput]:
    yield ErrorInput(sample(draw.normal(3), 1.5), ArgumentError, "from 0 to 1, got 1.5")
    yield ErrorInput(sample(draw.normal(3), float("nan")), ArgumentError, "got nan")
    yield ErrorInput(sample(np.arange(3), 0.5), DTypeError, "got int64")
