"""SSD on MobileNet 0.75, beside the same network written in PyTorch on the same cores.

    python -m benchmarks.detection                # steps and pictures, about eight minutes
    python -m benchmarks.detection step --rounds 5
    python -m benchmarks.detection --train bccd --weights mobilenet_0.75.safetensors

A step of training is forward, loss with hard negatives, backward and AdamW, of eight images of
300 x 300 pixels with twelve objects each; a picture of 240 x 320 pixels is detected as `detect`
does it, with 200 boxes before suppression. Weights are random, and carried over: before the clock
starts it is proved that loss, gradients and outputs are the same. In each round every side runs
once, in a process of its own; printed are the medians of milliseconds, how many times as long
PyTorch's fastest form takes, and how many cores other processes kept busy meanwhile.

--train: the recipe of `train_detector` in minidl and written in PyTorch, from the same numbers with
the same batches: mAP by VOC's rules of the best epoch on the validation part, and on the test part.
FOLDER: images with boxes in three parts; --weights: of a MobileNet, padded all around.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import minidl as md
from benchmarks.boxes import boxes
from benchmarks.sides import DEFAULT_FORMS, MINIDL, SIDES, TUNED_FORMS
from minidl import data, models, nn, optim
from minidl.apps import detect
from minidl.apps.detect.training import BODY, WEIGHT_DECAY
from minidl.bench.measure import QUIET, measure, warm_up
from minidl.config import config
from minidl.errors import MinidlError, StateError
from minidl.text import table
from minidl.train.pretrained import pretrained

CASES = ("step", "detect")
FORMS = (*DEFAULT_FORMS, *TUNED_FORMS)
TRAINED = (MINIDL, "torch last tuned")
SIZE, BATCH, CLASSES, OBJECTS, CANDIDATES = 300, 8, 3, 12, 200
RATE = 1e-4  # small: a network that has learned its batch by heart computes with denormal numbers
LIMITS = {"loss": 1e-4, "outputs": 1e-4, "gradients": 1e-3}  # relative, between minidl and torch
SMALL = (240, 320)  # that --train resizes images to: the size of bccd's


# What is measured


def detector_of() -> detect.SSD:
    """Return the detector, its body's normalizations frozen; twice the same."""
    md.manual_seed(0)
    network = models.create("mobilenet_v1", width=0.75, symmetric=True, eps=1e-5)
    network.image_format = models.ImageFormat(224, "RGB", 127.5, (1.0,) * 3, (1.0,) * 3)
    return frozen(detect.SSD(network, CLASSES, SIZE))


def frozen(detector: detect.SSD) -> detect.SSD:
    """Return a detector with the normalizations of its body frozen, as in training."""
    for module in detector.body.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.freeze()
    return detector


def batch(size: tuple[int, int] = (SIZE, SIZE)) -> tuple[np.ndarray, list[dict[str, np.ndarray]]]:
    """Return images (N, *size, 3) as the body takes them, and targets."""
    random = np.random.default_rng(0)
    images = random.uniform(-1, 1, (BATCH, *size, 3)).astype(np.float32)
    targets = [
        {"boxes": boxes(i, OBJECTS, size[::-1]), "labels": random.integers(0, CLASSES, OBJECTS)}
        for i in range(BATCH)
    ]
    return images, targets


def picture() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (240, 320, 3), np.uint8)


def threshold(detector: detect.SSD) -> float:
    """Return the score that CANDIDATES boxes of the picture reach."""
    with md.no_grad():
        ((_, found),) = detector.eval().raw(md.tensor(detector.prepare([picture()])))
    last, next_ = -np.sort(-found.ravel())[CANDIDATES - 1 : CANDIDATES + 1]
    return float(last + next_) / 2


def in_minidl(case: str, score: float) -> Callable[[], Any]:
    """Return a call of the case."""
    detector = detector_of()
    if case == "detect":
        image = picture()
        return lambda: detector.detect(image, score_threshold=score)
    x, targets = batch()
    body = [p for p in detector.body.parameters() if p.requires_grad]
    rest = [p for part in (detector.extras, detector.score_heads, detector.code_heads)
            for p in part.parameters()]  # fmt: skip
    groups = [{"params": rest}, {"params": body, "lr": BODY * RATE}]
    optimizer = optim.AdamW(groups, lr=RATE, weight_decay=WEIGHT_DECAY)
    detector.train()

    def step() -> None:
        parts = detector.loss(md.tensor(x), targets)
        optimizer.zero_grad()
        sum(parts.values()).backward()
        optimizer.step()

    return step


def in_torch(case: str, score: float, file: Path, last: bool) -> Callable[[], Any]:
    """Return a call of the case. file: the model that `proved` left."""
    import torch

    from benchmarks import detection_torch

    torch.set_num_threads(config.num_threads)
    form = torch.channels_last if last else torch.contiguous_format
    model = torch.load(file, weights_only=False).to(memory_format=form)
    if case == "detect":
        image, model = picture(), model.eval()
        return lambda: detection_torch.find(model, image, score_threshold=score, last=last)
    images, targets = batch()
    x = detection_torch.planes(images).contiguous(memory_format=form)
    optimizer = detection_torch.optimizer_of(model.train(), RATE)

    def step() -> None:
        parts = detection_torch.loss(model, x, targets)
        optimizer.zero_grad()
        sum(parts.values()).backward()
        optimizer.step()

    return step


# Processes of their own


def proved(folder: Path) -> dict[str, float]:
    """Save the model in PyTorch in a folder; return how far it is from minidl's, and the score."""
    import torch

    from benchmarks import detection_torch

    detector = detector_of()
    model = detection_torch.SSD(detector)
    torch.save(model, folder / "model.pt")
    score = threshold(detector)
    mine = detector.detect(picture(), score_threshold=score)
    its = detection_torch.find(model.eval(), picture(), score_threshold=score)
    found = detection_torch.differences(detector, model, *batch())
    check(found)
    return found | {
        "score": score,
        "found": len(mine["boxes"]),
        "found in torch": len(its["boxes"]),
    }


def check(found: dict[str, float]) -> None:
    """Raise StateError where the two networks compute something else."""
    if unlike := [name for name, limit in LIMITS.items() if not found[name] <= limit]:
        raise StateError(
            f"minidl and PyTorch differ, and nothing was timed: {unlike[0]} by "
            f"{found[unlike[0]]:.2g}, more than {LIMITS[unlike[0]]:g}"
        )


def timed(job: dict[str, Any]) -> dict[str, Any]:
    """Return what `measure` finds of a case on a side."""
    side = SIDES[job["side"]]
    if side.name == MINIDL:
        call = in_minidl(job["case"], job["score"])
    else:
        file = Path(job["folder"]) / "model.pt"
        call = in_torch(job["case"], job["score"], file, side.form.get("last", False))
    warm_up(call, 1)
    return measure(call, job["seconds"], repeats=0)


def trained(job: dict[str, Any]) -> dict[str, Any]:
    """Train on a side; return the best epoch, its mAP, that of the test part, and seconds."""
    held, start = data.read_boxes(job["data"]), (time.perf_counter(), time.process_time())
    if job["side"] == MINIDL:
        with tempfile.TemporaryDirectory() as folder:
            kept = detect.train_detector(
                held, folder, job["weights"], size=SMALL, epochs=job["epochs"], seed=job["seed"],
                on_epoch=lambda row: print(f"minidl, {row}", file=sys.stderr, flush=True),
            )  # fmt: skip
        best = max(kept.history, key=lambda row: row["map"])
        found = {"epoch": best["epoch"], "validation": best["map"]}
        figures, _ = detect.evaluate(kept.detector, held.part("test"))
    else:
        import torch

        from benchmarks import detection_torch

        torch.set_num_threads(config.num_threads)
        md.manual_seed(job["seed"])
        network = pretrained(job["weights"], None, None, None)
        detector = frozen(detect.SSD(network, len(held.classes), SMALL))
        model = detection_torch.SSD(detector)
        check(detection_torch.differences(detector, model, *batch(SMALL)))
        found = detection_torch.train(model, detector, held, job["epochs"], job["seed"])
        figures = found.pop("test")
    seconds = time.perf_counter() - start[0], time.process_time() - start[1]
    classes = {each.name: each.ap_voc for each in figures.by_class}
    return found | {"test": figures.map_voc, "classes": classes, "wall": seconds[0],
                    "cpu": seconds[1]}  # fmt: skip


def apart(work: str, job: dict[str, Any]) -> dict[str, Any]:
    """Do one of these in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.detection", "--one", work, json.dumps(job)]
    environment = SIDES[job["side"]].environment if "side" in job else {}
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    if done.returncode:
        raise StateError(f"benchmarks.detection: {work} ended with status {done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


WORK: dict[str, Callable[[Any], dict[str, Any]]] = {
    "prove": lambda job: proved(Path(job["folder"])), "time": timed, "train": trained,
}  # fmt: skip


# Tables


def row_of(case: str, found: dict[str, list[dict[str, Any]]]) -> tuple[str, ...]:
    """Return a case's row: each side's median, minidl's gain over torch's fastest, the others."""
    middle = {side: statistics.median(each["ms"] for each in rows) for side, rows in found.items()}
    best = min(time for side, time in middle.items() if side != MINIDL)
    busiest = max(each["others"] for rows in found.values() for each in rows)
    shown = [f"{middle[side]:.1f}" for side in (MINIDL, *FORMS)]
    mark = "*" if busiest > QUIET else ""
    return case, *shown, f"{best / middle[MINIDL]:.2f}", f"{busiest:.2f}{mark}"


def speeds(options: argparse.Namespace) -> list[str]:
    """Return lines: the table of CASES, and what was proved before."""
    rows = [("ms", MINIDL, *FORMS, "torch / minidl", "others, cores")]
    with tempfile.TemporaryDirectory() as folder:
        same = apart("prove", {"folder": folder})
        for case in options.cases or CASES:
            found: dict[str, list[dict[str, Any]]] = {side: [] for side in (MINIDL, *FORMS)}
            for number in range(options.rounds):
                for side in found:
                    job = {"case": case, "side": side, "seconds": options.seconds,
                           "folder": folder, "score": same["score"]}  # fmt: skip
                    found[side].append(apart("time", job))
                    told = f"{case}, round {number + 1}: {side}, {found[side][-1]['ms']:.1f} ms"
                    print(told, file=sys.stderr, flush=True)
            rows.append(row_of(case, found))
    told = ", ".join(f"{name} {same[name]:.1e}" for name in LIMITS)
    kept = f"boxes found: {same['found']}, in torch {same['found in torch']}"
    return [table(rows), f"largest relative differences: {told}; {kept}"]


def trainings(options: argparse.Namespace) -> list[str]:
    """Return lines: the table of a training on each side."""
    found = {}
    for side in options.sides:
        job = {"side": side, "data": str(options.train), "weights": str(options.weights),
               "epochs": options.epochs, "seed": options.seed}  # fmt: skip
        found[side] = apart("train", job)
    classes = next(iter(found.values()))["classes"]
    rows = [
        (f"{options.epochs} epochs, seed {options.seed}", *found),
        ("best epoch", *(str(each["epoch"]) for each in found.values())),
        ("mAP, validation", *(f"{each['validation']:.3f}" for each in found.values())),
        ("mAP, test", *(f"{each['test']:.3f}" for each in found.values())),
        *((f"AP, {name}", *(f"{each['classes'][name]:.3f}" for each in found.values()))
          for name in classes),
        *((f"minutes, {name}", *(f"{each[name] / 60:.1f}" for each in found.values()))
          for name in ("wall", "cpu")),
    ]  # fmt: skip
    return [table(rows)]


def main(arguments: list[str] | None = None) -> int:
    """Run the cases or the trainings, and print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.detection", description="SSD beside torch.")
    add = parser.add_argument
    add("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}")
    add("--rounds", type=int, default=3, metavar="N")
    add("--seconds", type=float, default=4.0, metavar="X", help="of a measurement")
    add("--train", type=Path, metavar="FOLDER", help="train on these images with boxes instead")
    add("--weights", type=Path, metavar="FILE", help="of the body, for --train")
    add("--epochs", type=int, default=15, metavar="N")
    add("--seed", type=int, default=0, metavar="N")
    add("--sides", nargs="+", choices=TRAINED, default=[*TRAINED], help="who trains")
    add("--one", nargs=2, help=argparse.SUPPRESS)  # WORK and its job as JSON, in this process
    options = parser.parse_args(arguments)
    if unknown := [case for case in options.cases if case not in CASES]:
        parser.error(f"there is no case {unknown[0]}, only {', '.join(CASES)}")
    if (options.train is None) != (options.weights is None):
        parser.error("--train and --weights go together")
    try:
        if options.one:
            print(json.dumps(WORK[options.one[0]](json.loads(options.one[1]))))
            return 0
        before = os.getloadavg()[0]
        lines = trainings(options) if options.train else speeds(options)
    except (MinidlError, OSError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    print("\n".join(lines))
    print(f"load average: {before:.2f} before, {os.getloadavg()[0]:.2f} after")
    return 0


if __name__ == "__main__":
    sys.exit(main())
