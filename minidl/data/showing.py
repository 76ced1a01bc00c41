"""Data sets and loaders as notebooks show them."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl.data.dataset import Dataset
from minidl.data.splits import labels_of
from minidl.data.telling import LONGEST, MOST
from minidl.errors import MinidlError
from minidl.text import html_table, shortened

__all__ = ["dataset_html", "loader_html"]


def loader_html(loader: Any) -> str:
    """Return HTML with a loader's settings, and with its data set."""
    transforms = ", ".join(getattr(t, "__name__", type(t).__name__) for t in loader.transform)
    rows = [
        (type(loader).__name__, ""),
        ("batches", f"{len(loader):,}"),
        ("batch_size", f"{loader.batch_size:,}"),
        *((name, getattr(loader, name)) for name in ("shuffle", "seed", "drop_last", "workers")),
        ("transform", transforms or "none"),
        ("augment", loader.augment),
    ]
    return f"{html_table(rows, left=2)}\n{dataset_html(loader.dataset)}"


def dataset_html(dataset: Dataset) -> str:
    """Return HTML with the number of items, the shapes of the first one, and the classes."""
    count = len(dataset)
    rows = [(type(dataset).__name__, ""), ("items", f"{count:,}")]
    if count:
        rows.append(("item 0", _first_item(dataset)))
    tables = [html_table(rows, left=2)]
    classes = list(_classes(dataset))
    if classes:
        tables.append(html_table([("class", "items"), *classes]))
    return "\n".join(tables)


def _first_item(dataset: Dataset) -> str:
    """Return shape and dtype of each array of item 0, such as "(32, 32, 3) uint8, () int64"."""
    try:
        item: Any = dataset[0]
    except (MinidlError, OSError) as error:
        return f"can't be read: {error}"
    return ", ".join(map(_shape, item if isinstance(item, tuple) else (item,)))


def _shape(part: Any) -> str:
    """Return shape and dtype of an array, or of all arrays in a dict, such as a target."""
    if isinstance(part, dict):
        return "; ".join(f"{name} {_shape(array)}" for name, array in part.items())
    array = part if hasattr(part, "dtype") else np.asarray(part)
    return f"{array.shape} {array.dtype}"


def _classes(dataset: Dataset) -> Iterator[tuple[str, str]]:
    """Yield the first classes with their numbers of items, and a row for the rest of them."""
    known = labels_of(dataset)
    labels = np.asarray(() if known is None else known)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        return
    found, each = np.unique(labels, return_counts=True)
    counts = dict(zip(found.tolist(), each.tolist(), strict=True))
    names: Any = getattr(dataset, "classes", None)
    named = {n: str(n) for n in counts} if names is None else dict(enumerate(names))
    for number in list(named)[:MOST]:
        yield shortened(str(named[number]), LONGEST), f"{counts.get(number, 0):,}"
    rest = list(named)[MOST:]
    if rest:
        yield f"{len(rest):,} more", f"{sum(counts.get(n, 0) for n in rest):,}"
