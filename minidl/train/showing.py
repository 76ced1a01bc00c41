"""What a run's page shows beside its figures: the data, pictures, and how far the training is."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from minidl.analysis import grad_cam, report
from minidl.data import DataLoader, Subset
from minidl.data.splits import labels_in, labels_of
from minidl.data.telling import Tell
from minidl.distributed.world import world
from minidl.errors import MinidlError
from minidl.nn import Module
from minidl.train.callbacks import Callback
from minidl.train.run import Run

__all__ = [
    "LivePage", "as_pixels", "data_shown", "heat_maps", "save_report", "thumbnails",
    "training_share",
]  # fmt: skip

PAUSE = 10.0  # seconds between two pages, at least
MEASURED = 500  # training images that are enough to tell what was learnt
AUGMENTED, TIMES = 4, 4  # images that are shown as training sees them, and how often each
HEAT = 12  # mistakes that Grad-CAM explains, the worst
STRENGTH = 0.75  # of its colour where a map is 1
COLOUR = (213, 94, 0)  # the page's, of what is wrong


class LivePage(Callback):
    """Keeps a run's page, and the history that it shows, up to date during the training.

    After the first epoch, and then at most every 10 seconds, so that it costs next to nothing.
    A page that can't be written is told once, and the training goes on.
    """

    one_rank = True

    def __init__(self, run: Run, tell: Tell) -> None:
        self.run, self.tell = run, tell
        self.way: str | None = None  # of the approaches, the one that is under way
        self._next = 0.0  # when the next page is due, by the clock of `time.perf_counter`
        self._failed = world().rank > 0  # which have no page

    def of(self, way: str) -> "LivePage":
        """From here on the history is that of an approach, in results.json, not history.json."""
        self.way, self._next = way, 0.0
        return self

    def on_epoch_end(self, trainer: Any, row: dict[str, Any]) -> None:
        if time.perf_counter() >= self._next:
            self.update(trainer.history.rows)

    def begin(self, rows: list[dict[str, Any]]) -> None:
        """Write what there is before the first epoch.

        Where an earlier run has left its weights, what belongs to them stays until then.
        """
        if not (self.run.folder / "weights.h5").exists():
            self.update(rows)
            self._next = 0.0  # the first epoch's is worth a page at once

    def update(self, rows: Sequence[dict[str, Any]] = ()) -> None:
        """Write what there is of the run, and its page; rows: of the history."""
        if self._failed:
            return
        run, results = self.run, self.run.results or {}
        try:
            run.write("settings", run.settings)
            if self.way is None:
                run.write("history", {"epochs": rows, "test": None})
            elif rows:
                under_way = {"name": self.way, "epochs": rows}
                results = {**results, "approaches": [*results["approaches"], under_way]}
            run.write("results", results)
            run.report = report(run.folder)
        except ImportError:  # `save_report` tells that
            self._failed = True
        except OSError as error:
            self.tell(f"no page while it trains: {error}")
            self._failed = True
        self._next = time.perf_counter() + PAUSE


def data_shown(
    run: Run, parts: Mapping[str, Any], classes: Sequence[str], augment: Sequence[Any], seed: int,
    tell: Tell,
) -> dict[str, Any]:  # fmt: skip
    """Return what results.json says of the data, and write pictures of augmented images.

    parts: data sets, by their names in results.json; "train" is augmented.
    augment: the random transforms, none for images that are trained on as they are.
    """
    counts = {name: labels_of(images) for name, images in parts.items()}
    return {
        "classes": list(classes),
        "count": {name: len(images) for name, images in parts.items()},
        "by_class": {
            name: np.bincount(labels, minlength=len(classes)).tolist()
            for name, labels in counts.items()
            if labels is not None and labels.ndim == 1 and labels.dtype.kind in "iu"
        },
        "augmented": _augmented(run, parts["train"], augment, seed, tell) if augment else [],
        "approaches": [],
    }


def training_share(predict: Callable[[Any], np.ndarray], images: Any) -> dict[str, int]:
    """Return how many training images are right when they aren't altered, and of how many.

    predict: gives the scores (N, C) of a data set.  images: at most 500 are taken, evenly.
    """
    places = np.linspace(0, len(images) - 1, min(MEASURED, len(images))).round().astype(int)
    some = Subset(images, places)
    labels = labels_in(some)
    return {"right": int((predict(some).argmax(axis=1) == labels).sum()), "count": len(some)}


def _augmented(run: Run, images: Any, augment: Sequence[Any], seed: int, tell: Tell) -> list[str]:
    """Return the names of pictures of a few images, each altered several times."""
    chosen = np.unique(np.linspace(0, len(images) - 1, AUGMENTED).round().astype(int))
    some = Subset(images, np.repeat(chosen, TIMES))
    # One batch, with a generator of its own: the training draws the same numbers without it.
    loader = DataLoader(some, len(some), seed=seed, transform=list(augment), augment=True)
    return thumbnails(run, [as_pixels(x) for x in next(iter(loader))[0]], "augmented", tell)


def thumbnails(run: Run, images: Sequence[np.ndarray], kind: str, tell: Tell) -> list[str]:
    """Return the names of pictures in the run's folder; none without Pillow, which is told."""
    if world().rank > 0:
        return []
    try:
        return run.thumbnails(images, kind)
    except ImportError as error:  # minidl itself trains without Pillow
        tell(f"no pictures of {kind}: {error}")
        return []


def as_pixels(image: np.ndarray) -> np.ndarray:
    """Return pixels for people to look at: what was standardized gets its own range."""
    if image.dtype == np.uint8:
        return image
    low, high = float(image.min()), float(image.max())
    return np.rint((image - low) * (255 / max(high - low, 1e-12))).astype(np.uint8)


def heat_maps(
    network: Module, images: Sequence[np.ndarray], prepare: Sequence[Any], guesses: Sequence[int]
) -> list[np.ndarray]:
    """Return the worst mistakes, uint8 (H, W, 3), with what spoke for each guess by Grad-CAM.

    images: as the data set has them, the worst first.  prepare: what the network takes of them.
    None for a network whose maps Grad-CAM can't find.
    """
    found = []
    for image, guess in zip(images[:HEAT], guesses, strict=False):
        x = image[np.newaxis]  # (1, H, W, C)
        for transform in prepare:
            x = transform(x, None)
        try:
            heat = grad_cam(network, x, guess)
        except MinidlError:
            return []
        found.append(_over(as_pixels(x[0]), heat))
    return found


def _over(pixels: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A map (H, W) from 0 to 1 over pixels (H, W, C), in grey."""
    grey = pixels.mean(axis=2, keepdims=True)
    strength = STRENGTH * heat[:, :, np.newaxis]
    return np.rint(grey * (1 - strength) + np.array(COLOUR) * strength).astype(np.uint8)


def save_report(run: Run, tell: Tell) -> None:
    """Write how long it all took, and report.html, unless a package that it needs is missing."""
    run.watch.lap("measuring and saving")
    if world().rank > 0:
        return
    if run.results is not None:
        run.results["time"] = run.watch.seconds
        run.write("results", run.results)
    try:
        run.report = report(run.folder)
    except ImportError as error:
        tell(f"no report.html: {error}")
