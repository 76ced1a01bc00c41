"""What the recurrent ops share: checks, sequences of different length, oracles and samples."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minidl import kernels
from minidl.autograd.op import check_arrays
from minidl.autograd.samples import Draw, Sample, sample
from minidl.autograd.tensor import Tensor
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.ops.comparison import where
from minidl.recording import again, here

FEW_ROWS = 8  # of a single step, for which packing weight_hh would cost more than the step


def check_recurrent(
    who: str, gates: int, bias_rows: int, x: Any, state: Any, w_ih: Any, w_hh: Any, b: Any
):
    check_arrays(who, x=x, weight_ih=w_ih, weight_hh=w_hh, bias=b, **dict(zip("hc", state)))
    if w_ih.ndim != 2 or w_hh.ndim != 2 or b is None:
        raise ShapeError(
            f"{who} expected weights of 2 axes and a bias, got weight_ih {w_ih.shape}, weight_hh "
            f"{w_hh.shape} and bias {None if b is None else b.shape}"
        )
    hidden = w_hh.shape[0]
    if x.ndim != 3 or x.shape[2] != w_ih.shape[0]:
        raise ShapeError(f"{who} expected x of shape (N, T, {w_ih.shape[0]}), got shape {x.shape}")
    if x.shape[1] == 0:
        raise ShapeError(f"{who} expected one step in time or more, got shape {x.shape}")
    bias_shape = (gates * hidden,) if bias_rows == 1 else (bias_rows, gates * hidden)
    expected = {
        "weight_ih": (w_ih, (w_ih.shape[0], gates * hidden)),
        "weight_hh": (w_hh, (hidden, gates * hidden)),
        "bias": (b, bias_shape),
    }
    for place, part in enumerate(state):
        expected[f"state[{place}]" if len(state) > 1 else "state"] = (part, (len(x), hidden))
    for name, (array, shape) in expected.items():
        if array is not None and array.shape != shape:
            raise ShapeError(f"{who} expected {name} of shape {shape}, got {array.shape}")
        if array is not None and array.dtype != x.dtype:
            raise DTypeError(
                f"{who} expected {name} of the dtype of x, {x.dtype}, got {array.dtype}: "
                "use .astype()"
            )


def check_lengths(who: str, lengths: Any, n: int, steps: int) -> np.ndarray | None:
    """Return the lengths of the rows as int64, or None. Raise unless each is from 1 to `steps`."""
    if lengths is None:
        return None
    given = lengths.data if isinstance(lengths, Tensor) else np.asarray(lengths)
    if given.dtype.kind not in "iu":
        raise DTypeError(f"{who} expected whole numbers as lengths, got {given.dtype}")
    if given.shape != (n,):
        raise ShapeError(
            f"{who} expected lengths of shape ({n},), one for each row of x, got {given.shape}"
        )

    def checked() -> np.ndarray:
        wrong = (given < 1) | (given > steps)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise ArgumentError(
                f"{who} expected lengths from 1 to {steps}, the steps of x, got {given[row]} for "
                f"row {row}" + (": leave out rows without a step" if given[row] == 0 else "")
            )
        return given.astype(np.int64)

    # lengths differ from batch to batch: a captured call looks at them anew
    return again(checked)


def start(x: Any, weight_hh: Any, state: Any) -> Any:
    """Return the state, or zeros where it is left out."""
    return np.zeros((len(x), weight_hh.shape[0]), x.dtype) if state is None else state


def is_little(x: Any) -> bool:
    """Return whether x (N, T, ...) is a single step of few rows: then small ops are faster."""
    return x.shape[1] == 1 and len(x) <= FEW_ROWS and not here.keeps_weights


def in_order(x: Any, lengths: np.ndarray | None, reverse: bool) -> Any:
    """Return x (N, T, ...) in the order in which its steps are taken, or from that order back."""
    if not reverse:
        return x
    if lengths is None:
        return x[:, ::-1]
    known, times, rows = lengths[:, None], np.arange(x.shape[1]), np.arange(len(lengths))[:, None]
    # each row from its own end; what lies after it stays
    order = again(lambda: np.where(times < known, known - 1 - times, times))
    return x[rows, order]


def during(lengths: np.ndarray | None, step: int, x: Any, otherwise: Any) -> Any:
    """Return x (N, H) for the rows that take part in a step, and `otherwise` for the others."""
    if lengths is None:
        return x
    return where(again(lambda: lengths[:, None] > step), x, otherwise)


def without_padding(who: str, x: Any, lengths: Any) -> Any:
    """Return x (N, T, C) with zeros after the length of each row.

    A NaN or an infinity there would get into the gradient of weight_ih: 0 times it is a NaN.
    """
    if x.ndim != 3:  # the op says so
        return x
    known: Any = check_lengths(who, lengths, *x.shape[:2])
    # (N, T, 1)
    there = again(lambda: (np.arange(x.shape[1]) < known[:, None])[:, :, None])
    return where(there, x, 0.0)


def state_weight_grad(
    outputs: np.ndarray, h: np.ndarray, grad: np.ndarray, lengths: Any, reverse: bool, bias: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the gradients of weight_hh and of a bias. grad: of h @ weight_hh of all steps."""
    before = kernels.use("recurrent").entering(outputs, h, lengths, reverse)
    # (N, T, ...) -> (N*T, ...)
    rows = before.reshape(-1, before.shape[2]), grad.reshape(-1, grad.shape[2])
    return kernels.use("gemm").weight_grad(*rows, bias)


def steps_flops(output: Any, inputs: Any, weight_hh: Any, *rest: Any, **settings: Any) -> int:
    """FLOPs of the products with the state, beside which those of the gates are few."""
    return 2 * int(inputs.size) * int(weight_hh.shape[0])


def torch_steps(
    torch: Any, cell: Callable[..., Any], x: Any, state: tuple[Any, ...], lengths: Any = None,
    reverse: bool = False,
) -> Any:  # fmt: skip
    """Return what `cell(x_t, *state)` makes of each row, alone and only as long as it is."""
    found = []
    for n in range(len(x)):
        length = x.shape[1] if lengths is None else int(lengths[n])
        part, outputs = tuple(each[n : n + 1] for each in state), []
        for t in reversed(range(length)) if reverse else range(length):
            part = cell(x[n : n + 1, t], *part)
            outputs.append(part[0])
        outputs = outputs[::-1] if reverse else outputs
        outputs += [torch.zeros_like(part[0])] * (x.shape[1] - length)
        found.append((torch.stack(outputs, 1), *part))
    return tuple(map(torch.cat, zip(*found, strict=True)))


def torch_start(torch: Any, x: Any, weight_hh: Any, state: Any) -> Any:
    return torch.zeros(len(x), weight_hh.shape[0], dtype=x.dtype) if state is None else state


def arrays(draw: Draw, gates: int, bias_rows: int, n: int, t: int, c: int, h: int) -> list[Any]:
    """Draw x, weight_ih, weight_hh and bias."""
    bias = draw.normal(gates * h) if bias_rows == 1 else draw.normal(bias_rows, gates * h)
    return [draw.normal(n, t, c), draw.normal(c, gates * h), draw.normal(h, gates * h), bias]


def layer_samples(draw: Draw, gates: int, bias_rows: int, states: int) -> list[Sample]:
    """Sequences from zeros and from a state, of different length, in both directions."""
    state, none = [draw.normal(3, 2) for _ in range(states)], [None] * states
    lengths = np.array([2, 3, 1])
    return [
        sample(*arrays(draw, gates, bias_rows, 3, 3, 4, 2), *state),
        sample(*arrays(draw, gates, bias_rows, 2, 1, 3, 3)),
        sample(*arrays(draw, gates, bias_rows, 3, 3, 2, 2), *state, lengths),
        sample(*arrays(draw, gates, bias_rows, 3, 4, 2, 2), *none, lengths, reverse=True),
        sample(*arrays(draw, gates, bias_rows, 2, 3, 1, 2), reverse=True),
    ]


def steps_samples(draw: Draw, gates: int, more: list[Any], states: int) -> list[Sample]:
    """The same of what takes the products with the inputs. more: what follows weight_hh."""
    h, lengths = 3, np.array([4, 1, 2])
    weight = draw.normal(h, gates * h)
    state = [draw.normal(3, h) for _ in range(states)]
    return [
        sample(draw.normal(3, 4, gates * h), weight, *more, *state),
        sample(draw.normal(3, 4, gates * h), weight, *more, *state, reverse=True),
        sample(draw.normal(3, 5, gates * h), weight, *more, *state, lengths),
        sample(draw.normal(3, 4, gates * h), weight, *more, *state, lengths, reverse=True),
    ]
