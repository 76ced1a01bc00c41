"""What commands print of their images: classes with counts, and what was left out."""

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["tell_classes", "tell_left_out"]

MOST = 20  # classes that are listed one by one
WIDEST = 40  # characters of a class's name


def tell_classes(classes: Sequence[str], parts: Mapping[str, Any]) -> None:
    """Print how many images of each class each part has.

    parts: data sets by the parts' names.
    """
    counts = {part: _counts(images, len(classes)) for part, images in parts.items()}
    names = [_printable(name) for name in classes[:MOST]]
    width = max(map(len, [*names, "class"]))
    wide = {part: max(len(part), 7) for part in parts}
    print(f"{'class':{width}}  " + "  ".join(f"{part:>{wide[part]}}" for part in parts))
    for i, name in enumerate(names):
        row = "  ".join(f"{counts[part][i]:>{wide[part]},}" for part in parts)
        print(f"{name:{width}}  {row}")
    if len(classes) > MOST:
        some = " and ".join(
            f"{min(found)} to {max(found)} images in {part}" for part, found in counts.items()
        )
        print(f"and {len(classes) - MOST:,} more; of all {len(classes):,}, each has {some}")


def _counts(images: Any, classes: int) -> list[int]:
    import numpy as np

    from minidl.data.splits import labels_of

    labels = labels_of(images)
    return np.bincount(() if labels is None else labels, minlength=classes).tolist()


def _printable(name: str) -> str:
    name = _name(name)
    return name if len(name) <= WIDEST else name[: WIDEST - 3] + "..."


def tell_left_out(
    skipped: Sequence[tuple[str, str]], passed_over: Sequence[tuple[str, str]]
) -> None:
    """Print what was left out, and why: images that can't be read one by one, others by reason."""
    from minidl.data.scanning import kinds

    if skipped:
        print(f"left out, since they can't be read: {len(skipped):,}")
        for name, reason in skipped:
            print(f"  {_name(name)}: {reason}")
    if passed_over:
        print(f"passed over: {len(passed_over):,}")
        for line in kinds([(_name(name), reason) for name, reason in passed_over]):
            print(f"  {line}")


def _name(name: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in name)
