"""Gradient checking: the tape's gradients against finite differences."""

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from minidl.autograd import engine
from minidl.autograd.by_hand import by_hand, gradient_given
from minidl.autograd.diagnosis import diagnosis, of_backward
from minidl.autograd.grads import grad
from minidl.autograd.tensor import Tensor
from minidl.errors import ArgumentError, DTypeError, GradError

__all__ = ["gradcheck"]

FULL_JACOBIAN = 4096  # up to so many entries each is checked; beyond, random directions are
DIRECTIONS = 8
MOST_LOOKED_AT = 512  # entries of an input whose errors are looked at for a pattern
KINK = 1e-2  # of a slope: by so much those on both sides differ at a kink


def gradcheck(
    fn: Callable[..., Any],
    inputs: Any,
    eps: float = 1e-6,
    atol: float = 1e-6,
    rtol: float = 1e-5,
    order: int = 1,
    *,
    backward: Callable[..., Any] | None = None,
    names: Sequence[str] | None = None,
) -> bool:
    """Compare the gradients of `fn` with central differences; True if they agree.

    fn: takes the inputs, returns a Tensor or several, and gives the same for the same inputs.
    inputs: a float64 Tensor or ndarray or a sequence of them; ndarrays and the Tensors that
        require a gradient are checked. Integer arrays are handed through.
    eps: the step of the differences.  atol, rtol: |difference| <= atol + rtol * |numerical|.
    order: 2 also checks the gradient of the gradient.
    backward: of a function of arrays: see `by_hand`.
    names: what errors call the inputs; left out, by their numbers and the names that fn gives them.
    Small functions have every entry of their Jacobian checked, large ones random directions.
    Raises GradError naming the worst entry, and what the errors look like; DTypeError for float32,
    whose differences are noise; ArgumentError for no input that needs a gradient and for settings
    out of range.
    """
    if order not in (1, 2):
        raise ArgumentError(f"gradcheck: order must be 1 or 2, got {order!r}")
    if not eps > 0:
        raise ArgumentError(f"gradcheck: eps must be more than 0, got {eps!r}")
    one = isinstance(inputs, Tensor | np.ndarray) or not isinstance(inputs, Iterable)
    given = [inputs] if one else list(inputs)
    tensors = [_prepared(position, x) for position, x in enumerate(given)]
    checked = [i for i, x in enumerate(tensors) if isinstance(x, Tensor) and x.requires_grad]
    if not checked:
        raise ArgumentError("gradcheck expected an input that requires a gradient, got none")
    names = _names(fn, len(tensors)) if names is None else list(names)
    if backward is not None:
        if order == 2:
            raise ArgumentError("gradcheck: a backward of arrays has no gradient: order must be 1")
        fn = by_hand(fn, backward)
    with engine.enable_grad():
        _check(fn, tensors, checked, names, eps, atol, rtol, "gradcheck", backward)
        if order == 2:
            _check_second(fn, tensors, checked, names, eps, atol, rtol)
    return True


def _prepared(position: int, x: Any) -> Any:
    """Return a copy to step away from: a Tensor of its own for what is checked, else x itself."""
    array = x.data if isinstance(x, Tensor) else x
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        return x
    wanted = x.requires_grad if isinstance(x, Tensor) else True
    if not wanted:
        return x
    if array.dtype != np.float64:
        raise DTypeError(
            f"gradcheck needs float64, got {array.dtype} as input {position}: finite differences "
            "of anything shorter are noise; use .astype(np.float64)"
        )
    if not np.isfinite(array).all():
        raise GradError(f"gradcheck: input {position} holds a NaN or an infinity")
    return Tensor(array.copy(), requires_grad=True)


def _names(fn: Callable[..., Any], count: int) -> list[str]:
    """Return what `fn` calls its inputs."""
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):
        parameters = ()  # type: ignore[assignment]
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return [f"{i} ({named[i]})" if i < len(named) else str(i) for i in range(count)]


def _outputs(fn: Callable[..., Any], inputs: Sequence[Any]) -> list[Tensor]:
    """Return the float outputs of fn, as a list."""
    result = fn(*inputs)
    results = [result] if isinstance(result, Tensor) else list(result)
    for r in results:
        if not isinstance(r, Tensor):
            raise DTypeError(f"gradcheck: fn must return Tensors, got {type(r).__name__}")
    found = [r for r in results if r.dtype.kind == "f"]
    if short := [r.dtype for r in found if r.dtype != np.float64]:
        raise DTypeError(
            f"gradcheck: fn returned {short[0]}, whose differences are noise: it must compute in "
            "float64 throughout"
        )
    return found


def _check(
    fn: Callable[..., Any], tensors: list[Any], checked: list[int], names: list[str],
    eps: float, atol: float, rtol: float, who: str, backward: Callable[..., Any] | None = None,
) -> None:  # fmt: skip
    outputs = _outputs(fn, tensors)
    if not outputs and who == "gradcheck":
        raise DTypeError("gradcheck: fn must return an output of floats, and returned none")
    again = _outputs(fn, tensors)
    if any(
        not np.array_equal(a.data, b.data, equal_nan=True)
        for a, b in zip(outputs, again, strict=True)
    ):
        raise GradError(f"{who}: fn gives different outputs for the same inputs (randomness?)")
    entries = sum(tensors[i].size for i in checked) * sum(out.size for out in outputs)
    compare = _every_entry if entries <= FULL_JACOBIAN else _directions
    worst = (0.0, "")
    for error, numerical, analytical, where in compare(fn, tensors, checked, names, outputs, eps):
        excess = error - (atol + rtol * abs(numerical))
        if excess > worst[0] or not np.isfinite(error):
            source = "the tape" if backward is None else "backward"
            text = f"numerically {numerical:.9g}, by {source} {analytical:.9g}, at {where}"
            if not np.isfinite(error):
                raise GradError(f"{who}: a gradient is not finite: {text}")
            worst = (excess, text)
    if worst[1]:
        text = f"{who}: gradients disagree, worst {worst[1]} (atol={atol}, rtol={rtol})"
        raise GradError(
            "\n".join([text, *_patterns(fn, tensors, checked, names, outputs, eps, atol, backward)])
        )


def _patterns(fn, tensors, checked, names, outputs, eps, atol, backward):
    """Yield what the errors of each input that has some look like, in a line each."""
    random = np.random.default_rng(2)
    starts = [np.asarray(random.standard_normal(out.shape)) for out in outputs]
    inputs = [tensors[i] for i in checked]
    sizes = {
        f"the length of axis {axis} of input {names[i]}": n
        for i in checked
        for axis, n in enumerate(tensors[i].shape)
    }
    sizes |= {f"the numbers of input {names[i]}": tensors[i].size for i in checked}
    # what a sum of so many entries may be off by, though each agrees
    noise = atol * np.sqrt(1 + sum(out.size for out in outputs))
    for i, computed in zip(checked, _gradients(outputs, starts, inputs), strict=True):
        if not 0 < tensors[i].size <= MOST_LOOKED_AT:
            continue
        slopes = _slopes(fn, tensors, i, eps, outputs, starts)
        numerical = slopes.mean(axis=0)
        scale = np.abs(numerical).max()
        if scale <= noise:
            numerical, scale = np.zeros_like(numerical), 0.0
        wrong = np.abs(numerical - computed) > noise + scale * 1e-4
        if not wrong.any():
            continue
        wider = _slopes(fn, tensors, i, 4 * eps, outputs, starts)
        kinks = _kinks(slopes, wider, computed, noise)
        if kinks[wrong].all():
            where = np.argwhere(wrong)[0].tolist()
            yield (
                f"input {names[i]}: the function has a kink or a jump there, such as at {where}: "
                "check it at other numbers"
            )
            continue
        text = diagnosis(numerical, computed, sizes)
        if not text and backward is not None:
            text = of_backward(
                functools.partial(_slopes, fn, tensors, i, eps, outputs),
                numerical, i, backward, gradient_given(outputs, starts),
                [x.data if isinstance(x, Tensor) else x for x in tensors], names,
            )  # fmt: skip
        if text:
            yield f"the gradient of input {names[i]}: {text}"


def _kinks(slopes, wider, computed, noise):
    """Return where the slopes differ and the gradient is one of them, or between: all are right.

    Also where they shrink with a step 4 times as wide, `wider`, as at a jump.
    """
    low, high = slopes.min(axis=0), slopes.max(axis=0)
    most = np.abs(slopes).max(axis=0)
    between = (low - KINK * most <= computed) & (computed <= high + KINK * most)
    jump = (np.abs(wider).max(axis=0) < most / 2) & (most > noise)
    return ((high - low > KINK * most) & between) | jump


def _slopes(fn, tensors, i, eps, outputs, starts):
    """The slopes of starts . fn to the right and to the left of each number of input i."""
    found = np.zeros((2, *tensors[i].shape))
    for at in np.ndindex(tensors[i].shape):
        for side, sign in enumerate((1, -1)):
            moved = tensors[i].data.copy()
            moved[at] += sign * eps
            given = [*tensors[:i], Tensor(moved, requires_grad=True), *tensors[i + 1 :]]
            triples = zip(_outputs(fn, given), outputs, starts, strict=True)
            change = sum(float((v * (a.data - b.data)).sum()) for a, b, v in triples)
            found[side, *at] = sign * change / eps
    return found


def _gradients(outputs: list[Tensor], starts: list[Any], inputs: list[Tensor]) -> list[np.ndarray]:
    """The gradient of the outputs, weighed by `starts`, for each input; the graph is kept."""
    roots = [(out.edge, g) for out, g in zip(outputs, starts, strict=True) if out.requires_grad]
    found = engine.run(roots, set(inputs), retain_graph=True, create_graph=False)
    return [found.get(x, np.zeros(x.shape)) for x in inputs]


def _every_entry(fn, tensors, checked, names, outputs, eps):
    """(error, numerical, analytical, where) for every entry of the Jacobian."""
    inputs = [tensors[i] for i in checked]
    rows = {}  # the tape's derivative of each output entry for all inputs
    for o, output in enumerate(outputs):
        for place in np.ndindex(output.shape):
            starts = [np.zeros(out.shape) for out in outputs]
            starts[o][place] = 1.0
            rows[o, place] = _gradients(outputs, starts, inputs)
    for i, x in zip(range(len(inputs)), inputs, strict=True):
        for at in np.ndindex(x.shape):
            step = np.zeros(x.shape)
            step[at] = eps
            columns = _differences(fn, tensors, {checked[i]: step}, eps)
            for (o, place), gradients in rows.items():
                numerical, analytical = float(columns[o][place]), float(gradients[i][at])
                where = f"input {names[checked[i]]} {list(at)}, output {o} {list(place)}"
                yield abs(numerical - analytical), numerical, analytical, where


def _directions(fn, tensors, checked, names, outputs, eps):
    """Yield the same along random directions, an input at a time: v . (J u) both ways."""
    random = np.random.default_rng(0)
    inputs = [tensors[i] for i in checked]
    for direction in range(DIRECTIONS):
        starts = [random.standard_normal(out.shape) / np.sqrt(out.size + 1) for out in outputs]
        gradients = _gradients(outputs, starts, inputs)
        for i, g in zip(checked, gradients, strict=True):
            u = random.standard_normal(g.shape)
            columns = _differences(fn, tensors, {i: eps * u}, eps)
            numerical = sum(float((v * c).sum()) for v, c in zip(starts, columns, strict=True))
            analytical = float((g * u).sum())
            if not g.size:
                continue
            worst = list(map(int, np.unravel_index(np.argmax(np.abs(g)), g.shape)))
            where = f"input {names[i]} along random direction {direction} (largest entry {worst})"
            yield abs(numerical - analytical), numerical, analytical, where


def _differences(
    fn: Callable[..., Any], tensors: list[Any], steps: dict[int, np.ndarray], eps: float
) -> list[np.ndarray]:
    """(fn(x + step) - fn(x - step)) / (2 eps), for each output."""
    sides = []
    for sign in (1, -1):
        moved = [
            Tensor(np.asarray(x.data + sign * steps[i]), requires_grad=True) if i in steps else x
            for i, x in enumerate(tensors)
        ]
        sides.append([out.data for out in _outputs(fn, moved)])
    return [(plus - minus) / (2 * eps) for plus, minus in zip(*sides, strict=True)]


def _check_second(
    fn: Callable[..., Any], tensors: list[Any], checked: list[int], names: list[str],
    eps: float, atol: float, rtol: float,
) -> None:  # fmt: skip
    """Check the function (inputs, v) -> v . J, whose gradient is the second derivative."""
    random = np.random.default_rng(1)
    starts = [
        Tensor(random.standard_normal(out.shape), requires_grad=True)
        for out in _outputs(fn, tensors)
        if out.requires_grad
    ]

    def first(*arguments: Any) -> list[Tensor]:
        given, v = arguments[: len(tensors)], arguments[len(tensors) :]
        outputs = [out for out in _outputs(fn, given) if out.requires_grad]
        found = grad(outputs, [given[i] for i in checked], grad_outputs=list(v), create_graph=True)
        return [g for g in found if g is not None]

    count = len(tensors)
    places = [*checked, *range(count, count + len(starts))]
    all_names = [*names, *(f"gradient of output {i}" for i in range(len(starts)))]
    _check(first, [*tensors, *starts], places, all_names, eps, atol, rtol, "gradcheck, order 2")
