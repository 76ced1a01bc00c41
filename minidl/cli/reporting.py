"""What commands that train leave in their run's folder."""

from typing import TYPE_CHECKING, Any

from minidl.cli.images import name_of

if TYPE_CHECKING:
    from minidl.train.run import Run

__all__ = ["save_report", "save_results"]

MOST_MISTAKES = 24


def save_results(
    run: "Run",
    approaches: list[dict[str, Any]],
    scores: Any,
    validation: Any,
    classes: list[str],
    counts: dict[str, int],
    skipped: list[tuple[str, str]],
) -> None:
    """Write results.json, and the images that the best approach, whose `scores` these are, is most
    wrong about."""
    import numpy as np

    from minidl.train.results import mistakes

    labels = np.asarray(validation.batch(range(len(validation)))[1])
    wrong = mistakes(scores, labels, classes, MOST_MISTAKES)
    images = [_picture(validation[i][0]) for i, _ in wrong]
    try:
        files = run.thumbnails(images) if images else []
    except ImportError as error:  # minidl itself trains without Pillow
        print(f"no pictures of mistakes: {error}")
        wrong, files = [], []
    run.write(
        "results",
        {
            "classes": classes,
            "count": counts,
            "approaches": approaches,
            "best": max(approaches, key=lambda each: each["accuracy"])["name"],
            "mistakes": [
                {"image": file, "file": name_of(validation, i), **found}
                for file, (i, found) in zip(files, wrong, strict=True)
            ],
            "skipped": [{"file": name, "reason": reason} for name, reason in skipped],
        },
    )


def _picture(image: Any) -> Any:
    """Pixels for people to look at: what was standardised gets its own range."""
    import numpy as np

    if image.dtype == np.uint8:
        return image
    low, high = float(image.min()), float(image.max())
    return np.rint((image - low) * (255 / max(high - low, 1e-12))).astype(np.uint8)


def save_report(run: "Run") -> str | None:
    """Write report.html; None, or what is missing to write it."""
    from minidl.analysis import report

    try:
        report(run.folder)
    except ImportError as error:
        return str(error)
    return None
