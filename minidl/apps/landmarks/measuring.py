"""How far found points are from true ones: RMSE, NME, and the curve of errors."""

from typing import Any, NamedTuple

import numpy as np

from minidl.checks import is_whole, real
from minidl.errors import ArgumentError, ShapeError

__all__ = ["EYES", "Errors", "cumulative_errors", "measure_points", "nme", "plot_errors", "rmse"]

EYES = (36, 45)  # of 68 points: the outer corners of the eyes
LIMIT = 0.1  # NME above which a face counts as failed


class Errors(NamedTuple):
    """What `measure_points` found.

    rmse: in pixels, over all coordinates.  nme: the mean over faces; each: that of each face, (N,).
    area: below the curve of errors up to `limit`, 1 for a perfect one.  failures: the share of
    faces with a larger error.
    """

    rmse: float
    nme: float
    each: np.ndarray
    area: float
    failures: float
    limit: float


def rmse(found: np.ndarray, truth: np.ndarray) -> float:
    """Return the root mean squared difference of coordinates.  (N, P, 2), both."""
    a, b = _pair("rmse", found, truth)
    return float(np.sqrt(((a - b) ** 2).mean()))


def nme(found: np.ndarray, truth: np.ndarray, eyes: tuple[int, int] = EYES) -> np.ndarray:
    """Return the normalized mean error of each face, (N,).

    The mean distance of its points from the true ones, over that between two true points.
    found, truth: (N, P, 2).  eyes: the numbers of those two points.
    Raises ArgumentError where they lie in one place, and for NaN and infinities; ShapeError for
    points of other shapes.
    Source: Sagonas et al. 2016, "300 faces in-the-wild challenge: database and results", section 4.
    """
    a, b = _pair("nme", found, truth)
    first, second = _check_eyes(eyes, a.shape[1])
    apart = np.linalg.norm(b[:, first] - b[:, second], axis=1)
    if not (apart > 0).all():
        raise ArgumentError(
            f"nme: points {first} and {second} of face {int(apart.argmin())} lie in one place: "
            "give other eyes="
        )
    return np.linalg.norm(a - b, axis=2).mean(axis=1) / apart


def cumulative_errors(each: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Return the share of faces whose error is at most each of `errors`.

    each: (N,), as of `nme`.
    Raises ShapeError where it has no faces.
    """
    if not len(each):
        raise ShapeError("cumulative_errors expected the errors of faces (N,), got none")
    ordered = np.sort(np.asarray(each, np.float64))
    found: np.ndarray = np.searchsorted(ordered, errors, side="right") / len(ordered)
    return found


def measure_points(
    found: np.ndarray,
    truth: np.ndarray,
    eyes: tuple[int, int] = EYES,
    *,
    limit: float = LIMIT,
) -> Errors:
    """Return the errors of points (N, P, 2), in pixels.

    eyes: as in `nme`.  limit: the NME up to which the area below the curve is taken, above which
    a face counts as failed.
    Raises ArgumentError for a limit of 0 or less.
    """
    limit = real("measure_points", "limit", limit)
    if limit <= 0:
        raise ArgumentError(f"measure_points: limit must be above 0, got {limit!r}")
    each = nme(found, truth, eyes)
    # The curve is a step at each error: the area is the mean of what is left up to the limit.
    area = float((limit - each).clip(0).mean() / limit)
    failed = float((each > limit).mean())
    return Errors(rmse(found, truth), float(each.mean()), each, area, failed, limit)


def plot_errors(curves: dict[str, np.ndarray], limit: float = 2 * LIMIT) -> Any:
    """Return a matplotlib figure with the cumulative error curve of each network.

    curves: the errors (N,) of faces, as of `nme`, by what to call them.
    Raises ImportError without matplotlib.
    """
    try:
        from minidl.analysis.picture import Picture
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install 'minidl[plots]'") from error
    figure = Picture(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    at = np.linspace(0, limit, 401)
    for name, each in curves.items():
        axes.plot(at, 100 * cumulative_errors(each, at), label=f"{name}: {each.mean():.4f}")
    axes.set(
        xlim=(0, limit), ylim=(0, 100), ylabel="faces, %",
        xlabel="mean error of a face's points, in distances of the eyes",
    )  # fmt: skip
    axes.grid(alpha=0.3)
    axes.legend(title="mean", loc="lower right")
    return figure


def _check_eyes(eyes: Any, points: int) -> tuple[int, int]:
    pair = tuple(eyes) if isinstance(eyes, tuple | list) else ()
    right = len(pair) == 2 and all(is_whole(i) and 0 <= i < points for i in pair)
    if not right or pair[0] == pair[1]:
        raise ArgumentError(
            f"nme: eyes must be two numbers of points, from 0 to {points - 1}, between which "
            f"errors are measured, got {eyes!r}"
        )
    return int(pair[0]), int(pair[1])


def _pair(who: str, found: Any, truth: Any) -> tuple[np.ndarray, np.ndarray]:
    a, b = (np.asarray(each, np.float64) for each in (found, truth))
    if a.shape != b.shape or a.ndim != 3 or a.shape[2] != 2 or not a.size:
        raise ShapeError(
            f"{who} expected two arrays of points (N, P, 2) of one shape, got {a.shape} and "
            f"{b.shape}"
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ArgumentError(f"{who}: all coordinates must be finite, got NaN or infinity")
    return a, b
