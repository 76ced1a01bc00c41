"""What to do next, by the figures of a run.

The recipe is Ng's ("Machine Learning Yearning", 2018, chapters 20 to 43): a network's error is what
it gets wrong in training, what it loses on other images like those, and what it loses on images
that are unlike those; work on the largest. What chance explains is no reason for anything: each
rule asks for a 95 % interval that doesn't hold 0.
"""

from collections.abc import Sequence
from typing import NamedTuple

from minidl.analysis.report.reading import Approach, RunRecord
from minidl.train.certainty import accuracy_interval, difference, images_needed

__all__ = ["Advice", "next_steps"]

Measured = tuple[int, int]  # how many images are right, of how many

WIDEST = 0.1  # half of the widest interval that says something: 10 points
USEFUL = 0.05  # half of an interval to ask for
LOW = 0.02  # an error in training that isn't worth lowering
POINT = 0.01  # of accuracy: a smaller difference needn't be told
HELD_OUT = 500  # images that fine-tuning holds out in turn, or all, if there are fewer
RARE = 0.5  # of the mean class's images: with fewer, a class is rare
OFF = ("none", "no", "0", "0.0")  # settings of what isn't used


class Advice(NamedTuple):
    """What to do, and the figures that say so."""

    what: str
    why: str


def next_steps(run: RunRecord) -> list[Advice]:
    """Return what the figures say to do next, the most important first.

    Nothing before there are figures, and nothing but what is uncertain where images are too few.
    """
    best = run.best
    measured = None if best is None else _measured(best)
    if best is None or measured is None:
        return []
    for alone in (_too_few(run, measured), _guessing(run, best, measured)):
        if alone is not None:
            return [alone]
    losses = sorted(_losses(run, best, measured), key=lambda loss: -loss[0])
    others = [_fine_tuning(run, best, measured), _rare_class(run, best)]
    steps = [advice for _, advice in losses] + [each for each in others if each is not None]
    return steps or _enough(run, best, measured)


def _measured(approach: Approach) -> Measured | None:
    count = sum(map(sum, approach.confusion))
    right = sum(row[i] for i, row in enumerate(approach.confusion))
    return (right, count) if count else None


def _too_few(run: RunRecord, measured: Measured) -> Advice | None:
    """The accuracy is so uncertain that it says nothing."""
    low, high = accuracy_interval(*measured)
    if high - low <= 2 * WIDEST:
        return None
    part, needed = run.part("validation"), images_needed((low + high) / 2, USEFUL)
    return Advice(
        f"Measure on more {part} images",
        f"{measured[1]:,} are too few to advise anything: all they say is that the accuracy is "
        f"between {low:.0%} and {high:.0%}. About {needed:,} would tell it to ± 5 points.",
    )


def _guessing(run: RunRecord, approach: Approach, measured: Measured) -> Advice | None:
    """The network is no better than guesses, as frequent as its own, that don't see the image.

    Their accuracy is what Cohen's kappa is measured from; where all guesses are one class it is the
    share of that class.
    """
    guesses = map(sum, zip(*approach.confusion))
    both = zip(map(sum, approach.confusion), guesses)
    blind = sum(truths * guessed for truths, guessed in both) / measured[1] ** 2
    low, high = accuracy_interval(*measured)
    if low > blind:
        return None
    remedies = ["look at the labels"]
    if run.setting("command") == "train":
        remedies += ["find a learning rate with minidl find-lr", "train longer with --epochs"]
    return Advice(
        "Find out why nothing is learnt",
        f"As many guesses of each class, made without a look at the image, would be right for "
        f"{blind:.1%}. The network is right for {_share(measured):.1%} ({low:.0%} to {high:.0%}), "
        f"which isn't more than that. What to try: {_listed(remedies)}.",
    )


def _losses(run: RunRecord, approach: Approach, measured: Measured) -> list[tuple[float, Advice]]:
    """The parts of the error that are beyond chance, each with what helps against it."""
    training, found = approach.training, []
    if training is None:
        return []
    held = _held_out(run, approach)
    wrong, gap = 1 - _share(training), difference(training, held or measured)
    if 1 - accuracy_interval(*training)[1] > LOW:
        found.append((wrong, _fit_better(run, approach, training)))
    if gap[0] > 0:
        lost = _share(training) - _share(held or measured)
        found.append((lost, _close_the_gap(run, approach, held or measured, gap)))
    if held is not None and (apart := difference(held, measured))[0] > 0:
        lost = _share(held) - _share(measured)
        found.append((lost, _match(run, held, measured, apart)))
    if held is not None and not found and (gap := difference(training, measured))[0] > 0:
        # In which of both steps it is lost can't be told
        found.append((gap[0], _close_the_gap(run, approach, measured, gap)))
    return found


def _held_out(run: RunRecord, approach: Approach) -> Measured | None:
    """What the saved weights get right of images that are like those of the training.

    In `minidl train` those that the epoch is chosen by; in `minidl finetune` the training images,
    by networks that were trained without them.
    """
    count = run.images.get("chosen_by")
    rows = [row for row in approach.epochs if row["epoch"] == approach.best_epoch]
    right = rows[0]["val_accuracy"] if rows else None
    if not count:
        count = min(run.images.get("train", 0), HELD_OUT)
        right = next((t.accuracy for t in approach.tried if t.share == approach.share), None)
    return None if right is None or not count else (round(right * count), count)


def _fit_better(run: RunRecord, approach: Approach, training: Measured) -> Advice:
    remedies = ["a larger network (--model)", "more epochs (--epochs)"]
    if run.setting("command") == "finetune":
        remedies = ["a larger pretrained network", "larger images (--size)"]
        remedies += ["more epochs (--epochs)"] if approach.share else []
        remedies += ["training all layers (without --freeze)"] if _used(run, "freeze") else []
    elif "optimizer.lr" in run.settings:
        remedies.append("a higher learning rate (--lr; minidl find-lr shows how high)")
    used = [f"--{name.replace('_', '-')}" for name in REGULARISATION if _used(run, name)]
    remedies += [f"less of {_listed(used)}"] if used else []
    low, high = accuracy_interval(*training)
    last = approach.epochs and approach.best_epoch == approach.epochs[-1]["epoch"]
    still = " The lowest validation loss came in the last epoch." if last else ""
    return Advice(
        "Fit the training images better",
        f"Of {training[1]:,} training images {1 - _share(training):.1%} are wrong "
        f"({1 - high:.1%} to {1 - low:.1%}).{still} If people do better, what helps is "
        f"{_listed(remedies, 'or')}.",
    )


REGULARISATION = ("augment", "rand_augment", "mixup", "cutmix", "label_smoothing")
VALUES = {"rand_augment": " 9", "mixup": " 0.2", "cutmix": " 1", "label_smoothing": " 0.1"}


def _close_the_gap(
    run: RunRecord, approach: Approach, others: Measured, gap: tuple[float, float]
) -> Advice:
    assert approach.training is not None
    unused = [
        f"--{name.replace('_', '-')}{VALUES.get(name, '')}"
        for name in REGULARISATION
        if _off(run, name) and not (name == "rand_augment" and _off(run, "augment"))
    ]
    remedies = ["more images to train on"]
    if run.setting("command") == "train":
        if not run.setting("weights"):
            remedies.append("starting from pretrained weights (minidl finetune)")
        unused += ["a larger --weight-decay"]
    elif _off(run, "freeze") and approach.share:
        unused.append("--freeze")
    remedies += [f"augmentation and regularisation ({_listed(unused)})"] if unused else []
    return Advice(
        "Close the gap between the training images and others",
        f"{_share(approach.training):.1%} of the training images are right, and "
        f"{_share(others):.1%} of {others[1]:,} that it wasn't trained on: {_points(gap)} are "
        f"lost. What helps is {_listed(remedies, 'or')}.",
    )


def _match(
    run: RunRecord, held: Measured, measured: Measured, apart: tuple[float, float]
) -> Advice:
    part = run.part("validation")
    return Advice(
        f"Train on images that are like the {part} images",
        f"Of {held[1]:,} images held out of the training {_share(held):.1%} are right, and of "
        f"{measured[1]:,} {part} images {_share(measured):.1%}: {_points(apart)} are lost because "
        "these are unlike those, such as from other cameras or places. Data that matches helps, "
        "and neither a larger network nor more images of the same kind does.",
    )


def _fine_tuning(run: RunRecord, approach: Approach, measured: Measured) -> Advice | None:
    """Fine-tuning gained nothing over the probe, or nothing that is certain."""
    if approach.share == 0 and not approach.tried:
        return Advice(
            "Collect more images of the rarest classes",
            "How far to fine-tune is found on training images held out, and a class of one image "
            "has none to spare, so that the linear probe is what was saved.",
        )
    if approach.share == 0:
        return Advice(
            "Take the linear probe",
            "On training images held out, no step from the probe towards the fine-tuned network "
            "surely gained anything, so that the probe is what was saved. What the network knows "
            "already is enough for these classes, or the training images are too few to teach it "
            "more: more of them help, or a larger pretrained network.",
        )
    if run.gain is None or run.gain.points > run.gain.within:
        return None
    points, within = run.gain
    told = f"{_signed(points)} ± {100 * within:.1f} points"
    if points < -within:
        return Advice(
            "Take less of the fine-tuning",
            f"Fine-tuning is behind the linear probe: {told}. A lower --lr, a --freeze further up, "
            "or the probe alone are better.",
        )
    apart = max(abs(points), POINT)
    needed = round(measured[1] * (within / apart) ** 2)
    return Advice(
        "Don't count on fine-tuning",
        f"Whether it beats the linear probe can't be told from {measured[1]:,} "
        f"{run.part('validation')} images: {told}. A difference of {100 * apart:.1f} points "
        f"would take about {needed:,} to show. Until then the probe does as well, and more images "
        "to train on would help fine-tuning more.",
    )


def _rare_class(run: RunRecord, approach: Approach) -> Advice | None:
    """A class that is found less often than the others, and has few images to learn it from."""
    counts = run.by_class.get("train")
    if not counts or len(counts) != len(approach.confusion):
        return None
    total, count = _measured(approach) or (0, 0)
    worst: tuple[float, int] | None = None
    for i, row in enumerate(approach.confusion):
        own, rest = (row[i], sum(row)), (total - row[i], count - sum(row))
        if counts[i] < RARE * sum(counts) / len(counts) and own[1] and rest[1]:
            high = difference(own, rest)[1]
            if high < 0 and (worst is None or high < worst[0]):
                worst = high, i
    if worst is None:
        return None
    i, row = worst[1], approach.confusion[worst[1]]
    weigh = ", or --class-weights, which lets it count like the others"
    return Advice(
        f"Collect more images of {run.classes[i]}",
        f"It has {counts[i]:,} of {sum(counts):,} training images, and {row[i] / sum(row):.0%} of "
        f"its {sum(row):,} {run.part('validation')} images are found, against "
        f"{(total - row[i]) / (count - sum(row)):.0%} of the others. What helps is more of them"
        f"{weigh if _off(run, 'class_weights') else ''}.",
    )


def _enough(run: RunRecord, approach: Approach, measured: Measured) -> list[Advice]:
    """Nothing stands out: what limits it can't be told, or nothing does."""
    if approach.training is None:
        return []  # not measured, as in runs of before
    low, high = accuracy_interval(*measured)
    return [
        Advice(
            "Nothing stands out",
            f"{_share(approach.training):.1%} of the training images are right, and "
            f"{_share(measured):.1%} of {measured[1]:,} {run.part('validation')} images "
            f"({low:.1%} to {high:.1%}): no difference that is beyond chance. More "
            f"{run.part('validation')} images would tell smaller ones.",
        )
    ]


def _share(measured: Measured) -> float:
    return measured[0] / measured[1]


def _off(run: RunRecord, name: str) -> bool:
    """Whether the run has such a setting, and it isn't used."""
    return run.settings.get(name) in OFF


def _used(run: RunRecord, name: str) -> bool:
    return run.settings.get(name, OFF[0]) not in OFF


def _points(ends: tuple[float, float]) -> str:
    return f"{100 * ends[0]:.1f} to {100 * ends[1]:.1f} points"


def _signed(points: float) -> str:
    return f"{'-' if points < 0 else '+'}{100 * abs(points):.1f}"


def _listed(texts: Sequence[str], last: str = "and") -> str:
    """Texts in a sentence."""
    return f" {last} ".join(filter(None, [", ".join(texts[:-1]), texts[-1]]))
