"""`gradchecks`: a test of a function's gradients, for pytest."""

import inspect
from collections.abc import Callable, Sequence
from operator import index
from typing import Any

import numpy as np

import minidl as md
from minidl.checks import is_whole
from minidl.errors import ArgumentError, GradError, ShapeError

__all__ = ["gradchecks"]

Shapes = Sequence[tuple[int, ...]]
LOOSE = 1e-3  # of the largest entry, between gradients in float32 and float64


def gradchecks(
    *,
    shapes: Shapes | Sequence[Shapes],
    dtypes: Sequence[Any] = (np.float64,),
    backward: Callable[..., Any] | None = None,
    draw: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray] | None = None,
    seed: int = 0,
    eps: float = 1e-6,
    atol: float = 1e-6,
    rtol: float = 1e-5,
) -> Callable[[Callable[..., Any]], Callable[[Any], None]]:
    """Decorator: a function of arrays becomes a pytest test of its gradients.

        @gradchecks(shapes=[(4, 3), (3, 2)], backward=lambda g, x, w: (g @ w.T, x.T @ g))
        def test_product(x, w):
            return x @ w

    The function takes minidl's Tensors, whose gradients the tape knows, or with `backward` plain
    arrays: see `md.gradcheck`.
    shapes: of its arrays; or a list of such lists, each a test of its own.
    dtypes: float64 is compared with finite differences. float32 is too short for these: its
        gradients must be float32, and those of float64 to a thousandth of the largest entry.
    draw: makes an array of a shape from a NumPy generator; left out, it has normal numbers.
    Raises ArgumentError where shapes and arguments don't fit.
    """
    sets = _sets(shapes)
    kinds = [np.dtype(dtype) for dtype in dtypes]
    if wrong := [str(kind) for kind in kinds if kind not in (np.float32, np.float64)]:
        raise ArgumentError(f"gradchecks: dtypes must be float32 or float64, got {wrong[0]}")
    if not kinds:
        raise ArgumentError("gradchecks: there is no dtype: nothing would be tested")

    def decorate(function: Callable[..., Any]) -> Callable[[Any], None]:
        import pytest

        count = len(inspect.signature(function).parameters)
        for each in sets:
            if len(each) != count:
                raise ArgumentError(
                    f"gradchecks: {function.__name__} takes {count} arrays, got {len(each)} shapes,"
                    f" {list(each)}"
                )

        def test(gradcheck_case: tuple[Shapes, np.dtype[Any]]) -> None:
            each, kind = gradcheck_case
            generator = np.random.default_rng(seed)
            arrays = [_drawn(draw, generator, shape) for shape in each]
            if kind == np.float64:
                md.gradcheck(function, arrays, eps, atol, rtol, backward=backward)
            else:
                _check_float32(function, backward, arrays)

        cases = [pytest.param((each, kind), id=_title(each, kind)) for each in sets
                 for kind in kinds]  # fmt: skip
        test.__name__, test.__doc__ = function.__name__, function.__doc__
        test.__module__, test.__qualname__ = function.__module__, function.__qualname__
        marked: Callable[[Any], None] = pytest.mark.parametrize("gradcheck_case", cases)(test)
        return marked

    return decorate


def _sets(shapes: Any) -> list[tuple[tuple[int, ...], ...]]:
    """The lists of shapes."""
    try:
        given = [list(each) for each in shapes]
        if all(is_whole(n) for shape in given for n in shape):
            given = [given] if given else []
        found = [tuple(tuple(map(index, shape)) for shape in each) for each in given]
    except TypeError:
        raise ArgumentError(
            f"gradchecks: shapes must be a list of shapes, or of such lists, got {shapes!r:.80}"
        ) from None
    if not found:
        raise ArgumentError("gradchecks: there is no shape: nothing would be tested")
    return found


def _drawn(draw: Any, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    array = generator.standard_normal(shape) if draw is None else draw(generator, shape)
    array = np.asarray(array, np.float64)
    if array.shape != shape:
        raise ArgumentError(f"gradchecks: draw made an array of shape {array.shape} for {shape}")
    return array


def _title(shapes: Shapes, kind: np.dtype[Any]) -> str:
    return "-".join("x".join(map(str, shape)) or "scalar" for shape in shapes) + f"-{kind}"


def _check_float32(function: Any, backward: Any, arrays: list[np.ndarray]) -> None:
    """Raise GradError unless gradients in float32 are float32, and near those in float64."""
    exact = _gradients(function, backward, arrays)
    short = _gradients(function, backward, [x.astype(np.float32) for x in arrays])
    for i, (x, a, b) in enumerate(zip(arrays, exact, short, strict=True)):
        if b is not None and b.dtype != np.float32:
            raise GradError(f"gradchecks: the gradient of input {i} in float32 is {b.dtype}")
        a, b = (np.zeros(x.shape) if g is None else g for g in (a, b))
        if b.shape != x.shape:
            raise ShapeError(
                f"gradchecks: the gradient of input {i} has shape {b.shape}, the input {x.shape}"
            )
        apart = float(np.abs(a - b).max(initial=0.0))
        if not apart <= LOOSE * float(np.abs(a).max(initial=0.0)) + 1e-6:
            raise GradError(
                f"gradchecks: the gradient of input {i} in float32 is up to {apart:.3g} away from "
                "that in float64"
            )


def _gradients(function: Any, backward: Any, arrays: list[np.ndarray]) -> list[Any]:
    """The gradients of the sum of all outputs that are floats, None where there is none."""
    if backward is None:
        tensors = [md.tensor(x, requires_grad=True) for x in arrays]
        found = function(*tensors)
        outputs = list(found) if isinstance(found, tuple | list) else [found]
        sums = [y.sum() for y in outputs if y.requires_grad]
        made = md.grad(sums, tensors) if sums else [None] * len(arrays)
        return [None if g is None else g.data for g in made]
    found = function(*arrays)
    several = isinstance(found, tuple | list)
    starts = tuple(
        np.full(np.shape(y), float(np.asarray(y).dtype.kind == "f"), arrays[0].dtype)
        for y in (found if several else (found,))
    )
    made = backward(starts if several else starts[0], *arrays)
    made = list(made) if isinstance(made, tuple | list) else [made]
    if len(made) != len(arrays):
        raise GradError(
            f"gradchecks: backward returned {len(made)} gradients for {len(arrays)} inputs"
        )
    return [None if g is None else np.asarray(g) for g in made]
