"""L-BFGS: the minimum of a smooth function of a vector, or of the parameters of a loss."""

import math
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from minidl.autograd import Tensor, enable_grad
from minidl.autograd.held import written
from minidl.checks import positive, real
from minidl.errors import ArgumentError, DTypeError, GradError, StateError
from minidl.optim._checks import check_float, check_gradient, tensors

__all__ = ["LBFGS"]

Function = Callable[[np.ndarray], tuple[float, np.ndarray]]
Pairs = deque[tuple[np.ndarray, np.ndarray]]

PAIRS = 10  # of steps and changes of the gradient that stand for the curvature
ARMIJO, CURVATURE = 1e-4, 0.9  # c1 and c2 of the Wolfe conditions
ROUNDING = 1e-12  # relative; a value's last digits can't tell whether it decreased
LEAST_CURVATURE = 1e-10  # relative; less is rounding, or a function that isn't convex there
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


class LBFGS:
    """Minimizes a loss that is the same whenever it is computed, by estimates of its curvature.

        optimizer = optim.LBFGS([x], line_search_fn="strong_wolfe")

        def closure():
            optimizer.zero_grad()
            loss = f(x)
            loss.backward()
            return loss

        optimizer.step(closure)

    params: an iterable of float tensors of one dtype.
    lr: the length of a step, in steps of Newton's method; a line search starts from it.
    max_iter, max_eval: the most iterations and evaluations of a call of `step`; max_eval=None is
        5/4 of max_iter, at least one more.
    tolerance_grad: the largest entry of the gradient at which it ends; tolerance_change: the
        least change of the loss, or of any parameter, with which it goes on.
    history_size: pairs of steps and changes of the gradient that stand for the curvature.
    line_search_fn: "strong_wolfe" chooses each step's length; None takes `lr` as it is.
    Not an `Optimizer`: `step` needs the loss, and there are no groups, so that a Trainer can't use
    it. Batches or dropout, which change the loss, mislead it.
    Raises ArgumentError and DTypeError for what it can't take.
    Source: Nocedal and Wright 2006, "Numerical Optimization", algorithms 7.4 and 7.5.
    """

    def __init__(
        self, params: Any, lr: float = 1.0, *, max_iter: int = 20, max_eval: int | None = None,
        tolerance_grad: float = 1e-7, tolerance_change: float = 1e-9, history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:  # fmt: skip
        who = "LBFGS"
        self._params = tensors(who, params)
        for i, p in enumerate(self._params):
            check_float(f"{who} parameter {i}", p)
            if p.dtype != self._params[0].dtype:
                raise DTypeError(
                    f"{who} expected parameters of one dtype, got {self._params[0].dtype} and "
                    f"{p.dtype}: use .astype()"
                )
        self.lr = real(who, "lr", lr)
        self.max_iter = positive(who, "max_iter", max_iter)
        most = max(self.max_iter + 1, self.max_iter * 5 // 4)
        self.max_eval = most if max_eval is None else positive(who, "max_eval", max_eval)
        self.tolerance_grad = real(who, "tolerance_grad", tolerance_grad)
        self.tolerance_change = real(who, "tolerance_change", tolerance_change)
        if self.lr <= 0 or self.tolerance_grad < 0 or self.tolerance_change < 0:
            raise ArgumentError(f"{who}: lr must be above 0, tolerances 0 or more")
        if line_search_fn not in (None, "strong_wolfe"):
            raise ArgumentError(
                f"{who}: line_search_fn must be 'strong_wolfe' or None, got {line_search_fn!r:.60}"
            )
        self.line_search_fn = line_search_fn
        self._pairs: Pairs = deque(maxlen=positive(who, "history_size", history_size))
        self._left = 0  # evaluations of this step

    def zero_grad(self) -> None:
        """Forget the gradients: `.grad` becomes None."""
        for p in self._params:
            p.grad = None

    def step(self, closure: Callable[[], Tensor]) -> Tensor:
        """Go downhill, and return the loss of where it started, a scalar.

        closure: clears the gradients, computes the loss, calls `backward` and returns the loss.
        Whatever `closure` raises, KeyboardInterrupt too, leaves the parameters at the best point
        so far. Raises DTypeError for a closure that can't be called, GradError where loss or
        gradient are not finite at the start.
        """
        if not callable(closure):
            raise DTypeError(
                f"LBFGS.step expected a function that computes the loss, got {closure!r:.60}"
            )
        x = np.concatenate([p.data.reshape(-1) for p in self._params])  # each (...) -> (size,)
        losses: list[Tensor] = []

        def function(x: np.ndarray) -> tuple[float, np.ndarray]:
            self._left -= 1
            self._set(x)
            with enable_grad():
                loss = closure()
            losses[1:] = [loss]  # the first is kept
            return float(loss.item()), self._gradient()

        self._left = self.max_eval
        here = _Point(x, *function(x))
        if not (math.isfinite(here.value) and np.isfinite(here.gradient).all()):
            raise GradError(
                f"LBFGS.step: the loss {here.value} or its gradient is not finite at the start"
            )
        try:
            for _ in range(self.max_iter):
                there = self._next(function, here)
                if there is None:
                    break
                here = there
        finally:
            self._set(here.x)
        return losses[0]

    def _next(self, function: Function, here: "_Point") -> "_Point | None":
        """The next point, or None where there is no reason to go on."""
        if self._left < 1 or abs(here.gradient).max(initial=0) <= self.tolerance_grad:
            return None
        direction = _direction(here.gradient, self._pairs)
        length = self.lr
        if not self._pairs:
            length *= min(1.0, 1 / float(abs(here.gradient).sum()))
        if self.line_search_fn is None:
            x = here.x + length * direction
            there: _Point | None = _Point(x, *function(x))
        else:
            there = _line_search(function, here, direction, length, min(TRIALS, self._left))
        if there is None:
            if self._pairs:  # the curvature that they tell of is not to be trusted: begin anew
                self._pairs.clear()
                return here
            return None
        step, change = there.x - here.x, there.gradient - here.gradient
        if _dot(step, change) > LEAST_CURVATURE * _dot(change, change):
            self._pairs.append((step, change))
        least = self.tolerance_change
        if abs(step).max() <= least or abs(there.value - here.value) < least:
            self._left = 0
        return there

    def _set(self, x: np.ndarray) -> None:
        """Write the vector into the parameters."""
        place = 0
        for p in self._params:
            p.data[...] = x[place : place + p.data.size].reshape(p.shape)  # (size,) -> (...)
            place += p.data.size
            written(p.data, "LBFGS.step()")

    def _gradient(self) -> np.ndarray:
        """The gradients as one vector; 0 for a parameter that the loss doesn't depend on."""
        for i, p in enumerate(self._params):
            check_gradient(f"LBFGS.step, parameter {i},", p)
        return np.concatenate(
            [
                np.zeros(p.data.size, p.dtype) if p.grad is None else p.grad.reshape(-1)
                for p in self._params
            ]
        )  # each (...) -> (size,)

    def state_dict(self) -> dict[str, Any]:
        """Return what `step` depends on but the settings and the parameters, copied.

        steps, changes: (K, P), of K pairs and all P numbers of the parameters.
        """
        size = sum(p.data.size for p in self._params)
        arrays = [np.array([pair[i] for pair in self._pairs]).reshape(-1, size) for i in (0, 1)]
        kind = self._params[0].dtype
        return {
            name: array.astype(kind)
            for name, array in zip(("steps", "changes"), arrays, strict=True)
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from where `state_dict` was taken. Raises StateError for what doesn't fit."""
        own = self.state_dict()
        if not isinstance(state, Mapping) or set(state) != set(own):
            raise StateError("LBFGS.load_state_dict expected a dict with 'steps' and 'changes'")
        steps, changes = (np.array(state[name]) for name in own)
        wanted = (len(steps), own["steps"].shape[1])
        if any(a.shape != wanted or a.dtype != own["steps"].dtype for a in (steps, changes)):
            raise StateError(
                f"LBFGS.load_state_dict expected {own['steps'].dtype} of shape (K, {wanted[1]}), "
                f"got {steps.dtype} {steps.shape} and {changes.dtype} {changes.shape}"
            )
        self._pairs.clear()
        self._pairs.extend(zip(steps, changes, strict=True))


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
    pairs: Pairs = deque(maxlen=PAIRS)
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


def _direction(gradient: np.ndarray, pairs: Pairs) -> np.ndarray:
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
    function: Function, here: _Point, direction: np.ndarray, step: float, trials: int = TRIALS
) -> _Point | None:
    """A point along `direction` that fulfils the strong Wolfe conditions, if one is found.

    They are equation 3.7. Too short a step is doubled until one is too long; between these two
    there is a right one. The value falls at `low`, and at `high` it has not fallen enough, or it
    rises.
    """
    slope = _dot(here.gradient, direction)
    low, high = _Tried(0.0, here.value, slope), None
    for trial in range(trials):
        x = here.x + step * direction
        there = _Point(x, *function(x))
        tried = _Tried(step, there.value, _dot(there.gradient, direction))
        if not _decreases(here.value, slope, tried.value, tried.slope, step):
            high = tried
        elif tried.slope < CURVATURE * slope:
            low = tried
        elif tried.slope > -CURVATURE * slope:
            high = tried
        else:
            return there
        if high is None:
            step *= 2
        elif trial % 3 == 2:  # so that the interval shrinks fast whatever the function is like
            step = (low.step + high.step) / 2
        else:
            step = _lowest_between(low, high)
    return None


class _Tried(NamedTuple):
    """A step along a direction, with the function's value and slope there."""

    step: float
    value: float
    slope: float


def _lowest_between(low: _Tried, high: _Tried) -> float:
    """The step to the minimum of the cubic with these values and slopes (equation 3.59).

    It stays away from both ends; it is the middle where the cubic has no minimum, or is not finite.
    """
    width = high.step - low.step
    a = low.slope + high.slope - 3 * (high.value - low.value) / width
    under = a * a - low.slope * high.slope
    root = math.sqrt(under) if under >= 0 else math.nan  # also for NaN
    below = high.slope - low.slope + 2 * root
    share = 1 - (high.slope + root - a) / below if below else math.nan
    return low.step + width * (min(max(share, 0.1), 0.9) if math.isfinite(share) else 0.5)


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
    return float((a * b).sum(dtype=np.float64))
