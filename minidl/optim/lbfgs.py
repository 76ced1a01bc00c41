"""L-BFGS: the minimum of a smooth function of a vector."""

import math
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minidl.errors import GradError

__all__ = ["Minimum", "lbfgs"]

Function = Callable[[np.ndarray], tuple[float, np.ndarray]]

PAIRS = 10  # of steps and changes of the gradient that stand for the curvature
ARMIJO, CURVATURE = 1e-4, 0.9  # c1 and c2 of the Wolfe conditions
ROUNDING = 1e-12  # relative; a value's last digits can't tell whether it decreased
TRIALS = 60  # steps tried along a line: halving so often ends any sensible interval


class Minimum(NamedTuple):
    """What `lbfgs` found.

    x: (P,); value: the function's there; gradient_norm: Euclidean.
    converged: whether gradient_norm is at most the tolerance.
    """

    x: np.ndarray
    value: float
    gradient_norm: float
    iterations: int
    converged: bool


class _Point(NamedTuple):
    x: np.ndarray
    value: float
    gradient: np.ndarray


def lbfgs(
    function: Function, start: np.ndarray, tolerance: float, max_iterations: int = 1000
) -> Minimum:
    """Go downhill from `start` until the gradient's norm is at most `tolerance`.

    function: x (P,) -> (value, gradient (P,)), the same for the same x: no batches, no dropout.
    start: (P,) float64.
    It ends unconverged after max_iterations, or where no step along the steepest descent decreases
    the function. Raises GradError when value or gradient at the start are not finite.
    Source: Nocedal and Wright 2006, "Numerical Optimization", algorithms 7.4 and 7.5.
    """
    here = _Point(start, *function(start))
    if not (math.isfinite(here.value) and np.isfinite(here.gradient).all()):
        raise GradError(f"lbfgs: the value {here.value} or the gradient at the start is not finite")
    pairs: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=PAIRS)
    iteration = 0
    while (norm := math.sqrt(_dot(here.gradient, here.gradient))) > tolerance:
        if iteration == max_iterations:
            break
        iteration += 1
        direction = _direction(here.gradient, pairs)
        there = _line_search(function, here, direction, 1.0 if pairs else min(1.0, 1 / norm))
        if there is not None:
            pairs.append((there.x - here.x, there.gradient - here.gradient))
            here = there
        elif pairs:
            pairs.clear()  # the curvature that they tell of is not to be trusted: begin anew
        else:
            break
    return Minimum(here.x, here.value, norm, iteration, norm <= tolerance)


def _direction(gradient: np.ndarray, pairs: deque[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """-H @ gradient, for the inverse Hessian H that the pairs approximate (algorithm 7.4)."""
    direction = -gradient
    weights = []
    for step, change in reversed(pairs):
        weight = _dot(step, direction) / _dot(step, change)
        direction -= weight * change
        weights.append(weight)
    if pairs:
        step, change = pairs[-1]
        direction *= _dot(step, change) / _dot(change, change)  # equation 7.20
    for (step, change), weight in zip(pairs, reversed(weights)):
        direction += (weight - _dot(change, direction) / _dot(step, change)) * step
    return direction


def _line_search(
    function: Function, here: _Point, direction: np.ndarray, step: float
) -> _Point | None:
    """A point along `direction` that fulfils the Wolfe conditions (equation 3.6), if one is found.

    Too long a step is halved, too short a one doubled, until both ends are known.
    Source: Lewis and Overton 2013, "Nonsmooth optimization via quasi-Newton methods".
    """
    slope = _dot(here.gradient, direction)
    low, high = 0.0, math.inf
    for _ in range(TRIALS):
        x = here.x + step * direction
        there = _Point(x, *function(x))
        there_slope = _dot(there.gradient, direction)
        if not _decreases(here.value, slope, there.value, there_slope, step):
            high = step
        elif there_slope < CURVATURE * slope:
            low = step
        else:
            return there
        step = 2 * step if high == math.inf else (low + high) / 2
    return None


def _decreases(
    value: float, slope: float, there_value: float, there_slope: float, step: float
) -> bool:
    """The first Wolfe condition; told from slopes where rounding hides the values' difference.

    NaN, which is too far, fails every comparison.
    Source of the second form: Hager and Zhang 2005, "A new conjugate gradient method with
    guaranteed descent and an efficient line search", section 4.
    """
    if there_value <= value + ARMIJO * step * slope:
        return math.isfinite(there_slope)
    close = there_value <= value + ROUNDING * abs(value)
    return close and there_slope <= (2 * ARMIJO - 1) * slope


def _dot(a: np.ndarray, b: np.ndarray) -> float:
    """a . b, not by BLAS, which would sum in another order with other numbers of threads."""
    return float((a * b).sum())
