"""Calls that nobody means: each sample of an op with one input or setting replaced."""

import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl.autograd.op import Op
from minidl.autograd.samples import Sample

DTYPES = ("float16", "longdouble", "complex64", "int64", "uint8", "bool", "object", "U3", "M8[s]")
SETTINGS = (
    None, "a", "same", True, -1, 0, 1.5, -3.0, 99, -99, 2**70, 1e30, float("nan"), float("inf"),
    (), (99,), (0, 0), (-1, -1), (1, 2), ((0, 1), (2, 3)), ("a", "b"), [1], {}, object(),
    np.array([1, 2]), slice(None, None, 0), b"x",
)  # fmt: skip


def _arrays(x: np.ndarray) -> Iterator[tuple[str, Any]]:
    """Of another rank, length or dtype; and what is no array."""
    yield "an axis more", x[None]
    yield "no axes", np.array(1, x.dtype)
    yield "one empty axis", np.zeros(0, x.dtype)
    for a in range(x.ndim):
        yield f"axis {a} empty", np.take(x, [], axis=a)
        yield f"axis {a} twice as long", np.concatenate([x, x], a)
        yield f"axis {a} a half as long", np.take(x, range(x.shape[a] // 2), axis=a)
        if x.shape[a]:
            yield f"axis {a} gone", np.take(x, 0, axis=a)
    for dtype in DTYPES:
        yield dtype, np.ones(x.shape, np.int64).astype(dtype)
    if x.dtype.kind in "iu":
        yield "negative", x - 100
        yield "large", x + 1000
    yield "a list", x.tolist()
    yield "None", None
    yield "text", "a"


def bad_calls(op: Op, samples: int) -> Iterator[tuple[str, Sample]]:
    """(what was replaced, the sample with it) of the op's first few samples."""
    parameters = inspect.signature(op.function).parameters.values()
    by_name = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    for number, sample in zip(range(samples), op.sample_inputs(np.float32), strict=False):
        for i, x in enumerate(sample.inputs):
            others = _arrays(x) if isinstance(x, np.ndarray) else ((repr(s), s) for s in SETTINGS)
            for what, other in others:
                inputs = [*sample.inputs[:i], other, *sample.inputs[i + 1 :]]
                yield f"sample {number}, input {i}: {what}", Sample(tuple(inputs), sample.settings)
        for name in dict.fromkeys((*sample.settings, *by_name)):
            for other in SETTINGS:
                settings = {**sample.settings, name: other}
                yield f"sample {number}, {name}={other!r}", Sample(sample.inputs, settings)
