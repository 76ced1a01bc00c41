"""The page's figures, as places in per cent of the drawing: the template draws them.

A chart's lines stand in an SVG of 100 by 100 that is stretched over its place, its labels beside
it in HTML: so text keeps its size however wide the page is.
"""

import math
from typing import NamedTuple

from minidl.analysis.report.reading import Approach, Row
from minidl.analysis.report.wording import decimal, percent

__all__ = [
    "Chart", "Dot", "Line", "Matrix", "Tick", "charts", "confusions", "matrix", "reliability",
    "ticks",
]  # fmt: skip

LOWEST = 0.9  # an accuracy's scale begins there at the latest
DOTTED = 40  # epochs up to which each one gets a dot
STRONG = 0.55  # from this opacity on a cell's number is written in the page's colour


class Tick(NamedTuple):
    at: float  # per cent from the left or the top
    label: str


class Dot(NamedTuple):
    x: float
    y: float
    text: str


class Line(NamedTuple):
    kind: str  # "training", "validation" or "ideal"
    path: str
    dots: list[Dot]


class Chart(NamedTuple):
    title: str
    note: str
    lines: list[Line]
    across: list[Tick]
    up: list[Tick]
    axis: str = "epoch"


class Cell(NamedTuple):
    row: int
    column: int
    images: int
    opacity: float
    strong: bool


class Matrix(NamedTuple):
    names: list[str]
    rows: list[list[Cell]]
    total: int


def charts(approach: Approach, others: list[Approach], highest: float | None = None) -> list[Chart]:
    """Loss and accuracy over the epochs; those without a number are left out.

    others: the approaches whose accuracy stands on the same scale.
    highest: the loss that the scale goes up to; None: the highest of the approach.
    """
    lowest = [
        v for a in others for row in a.epochs for v in (row["accuracy"], row["val_accuracy"])
        if v is not None
    ]  # fmt: skip
    both = [
        _chart("Loss", approach.epochs, "loss", 0.0, highest),
        _chart("Accuracy", approach.epochs, "accuracy", min([LOWEST, *lowest]), 1.0),
    ]
    return [chart for chart in both if chart is not None]


def _chart(title: str, rows: list[Row], name: str, low: float, high: float | None) -> Chart | None:
    columns = {"training": name, "validation": f"val_{name}"}
    values = [v for row in rows for c in columns.values() if (v := row[c]) is not None]
    if not values:
        return None
    scale = ticks(min(low, *values), max(values) if high is None else high)
    bottom, top = scale[0], scale[-1]
    epochs = [row["epoch"] or 0.0 for row in rows]
    first, last = min(epochs), max(epochs)

    def place(row: Row, column: str) -> Dot | None:
        value = row[column]
        if value is None:
            return None
        epoch = row["epoch"] or 0.0
        x = 50.0 if first == last else 100 * (epoch - first) / (last - first)
        y = 100 * (top - value) / (top - bottom)
        text = percent(value) if name == "accuracy" else decimal(value)
        return Dot(round(x, 2), round(y, 2), f"epoch {epoch:.0f}: {text}")

    lines = []
    for kind, column in columns.items():
        places = [place(row, column) for row in rows]
        dots = [dot for dot in places if dot is not None]
        if dots:
            lines.append(Line(kind, _path(places), dots if len(rows) <= DOTTED else []))
    up = [Tick(100 * (top - v) / (top - bottom), _label(v, scale, name)) for v in scale]
    across = [
        Tick(50.0 if first == last else 100 * (e - first) / (last - first), f"{e:.0f}")
        for e in _whole_ticks(first, last)
    ]
    return Chart(title, _note(rows, columns, name), lines, across, up)


def _path(places: list[Dot | None]) -> str:
    """An SVG path with a gap for every None; a lonely point is a line of no length, a dot."""
    parts, pen = [], False
    for dot in places:
        if dot is not None:
            parts.append(f"{'L' if pen else 'M'}{dot.x:g} {dot.y:g}")
            if not pen:
                parts.append("h0")
        pen = dot is not None
    return "".join(parts)


def _note(rows: list[Row], columns: dict[str, str], name: str) -> str:
    """Return the best value, of the validation if there is one."""
    for kind in ("validation", "training"):
        known = [(v, row["epoch"]) for row in rows if (v := row[columns[kind]]) is not None]
        if known:
            value, epoch = (max if name == "accuracy" else min)(known, key=lambda pair: pair[0])
            text = percent(value) if name == "accuracy" else decimal(value)
            return f"{kind} best {text}, epoch {epoch:.0f}"
    return ""


def ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Round numbers from `low` or below to `high` or above, some `wanted` steps apart."""
    if high - low <= max(1e-9 * max(abs(low), abs(high)), 1e-200):
        high = low + (abs(low) if abs(low) > 1e-200 else 1.0)
    step = _round_step((high - low) / wanted)
    begin, end = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [step * i for i in range(begin, end + 1)]


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(m * power for m in (1, 2, 5, 10, 20) if m * power >= rough * (1 - 1e-9))


def _whole_ticks(first: float, last: float) -> list[float]:
    """Whole numbers: the first epoch, and round ones up to the last."""
    step = max(1.0, _round_step((last - first) / 5)) if last > first else 1.0
    rounds = [step * i for i in range(math.ceil(first / step), math.floor(last / step) + 1)]
    return [first, *(e for e in rounds if e - first > 0.6 * step)]


def _label(value: float, scale: list[float], name: str) -> str:
    step = scale[1] - scale[0]
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    if name == "accuracy":
        return f"{value:.{max(0, digits - 2)}%}"
    if digits > 4 or max(abs(scale[0]), abs(scale[-1])) >= 1e5:
        return f"{value:.3g}"
    return f"{value:.{digits}f}"


def reliability(approach: Approach) -> Chart | None:
    """Return how often guesses are right, by how sure the network is; None where it isn't known.

    A network that is right as often as it says lies on the diagonal.
    """
    if not approach.calibration or approach.calibration_error is None:
        return None
    dots = [
        Dot(
            round(100 * each.confidence, 2), round(100 * (1 - each.accuracy), 2),
            f"sure {percent(each.confidence)}: right {percent(each.accuracy)} of {each.images:,}",
        )
        for each in approach.calibration
    ]  # fmt: skip
    lines = [
        Line("ideal", "M0 100L100 0", []),
        Line("validation", _path([*dots]), dots),
    ]
    scale = ticks(0.0, 1.0)
    return Chart(
        "Right, by how sure it is",
        f"expected calibration error {percent(approach.calibration_error)}",
        lines,
        [Tick(100 * v, f"{v:.0%}") for v in scale],
        [Tick(100 * (1 - v), f"{v:.0%}") for v in scale],
        "how sure",
    )


def matrix(approach: Approach, classes: list[str]) -> Matrix:
    """Return the confusion matrix; a cell's opacity is the root of its share of its row.

    The root, because what one wants to see are the mistakes, most of them small shares.
    """
    rows = []
    for i, counts in enumerate(approach.confusion):
        total = sum(counts) or 1
        opacities = [math.sqrt(number / total) for number in counts]
        rows.append(
            [Cell(i, j, n, round(p, 3), p > STRONG)
             for j, (n, p) in enumerate(zip(counts, opacities, strict=True))]
        )  # fmt: skip
    names = classes or [str(i) for i in range(len(rows))]
    return Matrix(names, rows, sum(map(sum, approach.confusion)))


def confusions(found: Matrix, most: int = 10) -> list[tuple[str, str, int]]:
    """Return the most frequent mistakes: truth, guess, how often."""
    cells = [c for row in found.rows for c in row if c.row != c.column and c.images]
    cells.sort(key=lambda c: -c.images)
    return [(found.names[c.row], found.names[c.column], c.images) for c in cells[:most]]
