"""Figures as people read them."""

from datetime import datetime

__all__ = [
    "FIGURES", "NOTHING", "count", "day", "decimal", "duration", "interval", "main_figure",
    "percent", "rate",
]  # fmt: skip

NOTHING = "-"  # for what is not known
FIGURES = {
    "average_precision": "Mean average precision", "f1": "Macro F1",
    "label_accuracy": "Labels right", "exact": "All labels right", "r2": "R²",
}  # fmt: skip


def percent(share: float | None, digits: int = 1) -> str:
    return NOTHING if share is None else f"{share:.{digits}%}"


def main_figure(found: tuple[str, float], digits: int) -> tuple[str, str]:
    """Return title and text of an approach's main figure; digits: of an accuracy."""
    name, value = found
    return (name, percent(value, digits)) if name == "accuracy" else (FIGURES[name], decimal(value))


def interval(ends: tuple[float, float] | None) -> str:
    return NOTHING if ends is None else f"{ends[0]:.1%} to {ends[1]:.1%}"


def count(number: int | None) -> str:
    return NOTHING if number is None else f"{number:,}"


def decimal(number: float | None) -> str:
    """Return four decimals, or as few as a very large or small number needs."""
    if number is None:
        return NOTHING
    plain = number == 0 or 1e-4 <= abs(number) < 1e6
    return f"{number:.4f}" if plain else f"{number:.3g}"


def rate(number: float | None) -> str:
    """Return a learning rate, to three digits."""
    return NOTHING if number is None else f"{number:.3g}"


def duration(seconds: float | None) -> str:
    if seconds is None or not seconds < 1e12:
        return NOTHING
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours:,} h {minutes:02d} min"


def day(moment: datetime) -> str:
    """Such as 7 March 2026, 14:05, in English whatever the locale."""
    months = "January February March April May June July August September October November December"
    month = months.split()[moment.month - 1]
    return f"{moment.day} {month} {moment.year}, {moment:%H:%M}"
