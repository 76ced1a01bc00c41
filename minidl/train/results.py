"""results.json: the figures of what was trained, and the images that it is most wrong about.

`Run` keeps the files of a run's folder; `minidl.analysis.report` reads them and makes the page.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.constants.tasks import CLASSES
from minidl.data.splits import labels_in, name_of
from minidl.data.telling import Tell
from minidl.nn import Module
from minidl.train.run import Run
from minidl.train.showing import as_pixels, heat_maps, thumbnails
from minidl.train.task import Task

__all__ = ["save_results"]

MOST_MISTAKES = 24


def save_results(
    run: Run,
    task: Task,
    approaches: list[dict[str, Any]],
    best: str,
    scores: np.ndarray,
    validation: Any,
    network: Module,
    prepare: Sequence[Any],
    left_out: Sequence[tuple[str, str]],
    tell: Tell,
    **more: Any,
) -> None:
    """Write results.json, and pictures of the worst mistakes.

    run: its results hold what `data_shown` gives.
    approaches: rows of `Task.figures`, each with a name.  best: the one that was chosen, its
        scores, (N, C), and its network, which takes images that `prepare` transforms.
    validation: the N images with labels.
    left_out: (file, reason) of images that weren't used.
    more: further figures, by their names in results.json.
    """
    assert run.results is not None
    classes = run.results["classes"]
    labels = labels_in(validation)
    wrong = task.mistakes(scores, labels, classes, MOST_MISTAKES)
    images = [validation[i][0] for i, _ in wrong]
    files = thumbnails(run, list(map(as_pixels, images)), "mistakes", tell) if images else []
    guesses = [int(scores[i].argmax()) for i, _ in wrong]
    explained = files and task.name == CLASSES
    maps = heat_maps(network, images, prepare, guesses) if explained else []
    heat = thumbnails(run, maps, "heat", tell) if maps else []
    run.results |= {
        "task": task.name,
        "approaches": approaches,
        "best": best,
        "mistakes": [
            {"image": file, "heat": map_, "file": name_of(validation, i), **found}
            for file, map_, (i, found) in zip(files, [*heat, *[None] * len(files)], wrong)
        ],
        "skipped": [{"file": name, "reason": reason} for name, reason in left_out],
        **more,
    }
    run.write("results", run.results)
