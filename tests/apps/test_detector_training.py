"""`train_detector`: resumed to the bit, the same for any number of threads, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
from detecting import CLASSES, small_body, squares

import minidl as md
from minidl import data, nn
from minidl.apps import detect
from minidl.apps.detect.augmenting import augmentation
from minidl.errors import ArgumentError, GradError, StateError

SHORT = {"epochs": 2, "batch_size": 2, "progress": False}


class StopError(Exception):
    pass


def stop(row):
    raise StopError


def states_equal(a, b):
    first, second = a.state_dict(), b.state_dict()
    return list(first) == list(second) and all(np.array_equal(first[n], second[n]) for n in first)


@pytest.mark.parametrize("model", ["ssd", "faster_rcnn"])
def test_a_training_continues_to_the_bit_with_other_threads(model, tmp_path):
    held, threads = squares(), md.config.num_threads
    whole = detect.train_detector(held, tmp_path / "whole", small_body(), model=model, **SHORT)
    assert [row["epoch"] for row in whole.history] == [1, 2]
    assert all(np.isfinite(list(row.values())).all() for row in whole.history)
    with pytest.raises(StopError):
        detect.train_detector(
            held, tmp_path / "cut", small_body(), model=model, on_epoch=stop, **SHORT
        )
    md.set_num_threads(1)
    try:
        resumed = detect.train_detector(
            held, tmp_path / "cut", small_body(), model=model, resume=True, **SHORT
        )
    finally:
        md.set_num_threads(threads)
    assert resumed.history == whole.history
    assert states_equal(resumed.detector, whole.detector)
    kept = json.loads((tmp_path / "cut" / "history.json").read_text())
    assert kept["epochs"] == whole.history
    assert kept["settings"]["classes"] == CLASSES


def test_the_best_epoch_is_kept(tmp_path, monkeypatch):
    """Measured as it is told here, the first epoch is the best."""
    from minidl.apps.detect import training

    values = iter([0.5, 0.25])
    states = []

    class Told:
        def __init__(self, value):
            self.map_voc = value

    def evaluate(detector, images):
        states.append(detector.state_dict())
        return Told(next(values)), []

    monkeypatch.setattr(training, "evaluate", evaluate)
    found = detect.train_detector(squares(), tmp_path, small_body(), **SHORT)
    kept = found.detector.state_dict()
    assert all(np.array_equal(kept[name], states[0][name]) for name in kept)
    assert not all(np.array_equal(kept[name], states[1][name]) for name in kept)
    assert found.detector.classes == CLASSES
    assert found.detector.size == (64, 96)  # the median of the images


def test_batch_normalizations_of_the_body_stay_as_they_are(tmp_path):
    body = small_body()
    before = {n: a for n, a in body.features.state_dict().items() if ".norm." in n}
    found = detect.train_detector(squares(), tmp_path, body, **SHORT)
    names = [n for n, m in body.features.named_modules() if isinstance(m, nn.BatchNorm2d)]
    after = [m for m in found.detector.body.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(names) == len(after) == 27
    for name, layer in zip(names, after, strict=True):
        for part, array in layer.state_dict().items():
            np.testing.assert_array_equal(array, before[f"{name}.{part}"])


def test_augmentation_keeps_boxes_on_their_objects():
    """Wherever the squares come to lie, their boxes are full of their colour."""
    held, transforms = squares(), augmentation((64, 96))
    for seed in range(20):
        images, targets = held.prepared([seed % 6], transforms, np.random.default_rng(seed))
        assert images.shape == (1, 64, 96, 3)
        for box, label in zip(targets[0]["boxes"], targets[0]["labels"], strict=True):
            x1, y1, x2, y2 = np.rint(np.add(box, (3, 3, -3, -3))).astype(int)
            if x2 > x1 and y2 > y1:
                inside = images[0, y1:y2, x1:x2].astype(int)
                assert (inside[..., label] - inside[..., 1 - label]).min() > 20


def test_images_that_are_not_split(tmp_path):
    held = squares(8)
    whole = data.Detection([held[i][0] for i in range(8)], held.targets, CLASSES)
    rows = []
    with pytest.raises(StopError):
        detect.train_detector(
            whole, tmp_path, small_body(), **SHORT, on_epoch=lambda r: (rows.append(r), stop(r))
        )
    assert len(rows) == 1


@pytest.mark.parametrize("model", ["ssd", "faster_rcnn"])
def test_outputs_that_are_not_finite_stop_it(model, tmp_path):
    with pytest.raises(GradError, match=r"aren't finite any more: lower lr=|gradients"):
        detect.train_detector(squares(), tmp_path, small_body(), model=model, lr=1e30, **SHORT)


@pytest.mark.parametrize("model", ["ssd", "faster_rcnn"])
def test_batches_without_an_object(model, tmp_path):
    held = squares(8)
    targets = [dict(target) for target in held.targets]
    for target in targets[1:-1]:
        target |= {"boxes": np.zeros((0, 4), np.float32), "labels": np.zeros(0, np.int64)}
    bare = data.Detection([held[i][0] for i in range(8)], targets, CLASSES, parts=held.parts)
    trained = detect.train_detector(
        bare, tmp_path, small_body(), model=model, **{**SHORT, "epochs": 1}
    )
    assert np.isfinite(trained.history[0]["loss"])
    detector = trained.detector.train()
    parts = detector.loss(detector.prepare([held[1][0]] * 2), targets[1:3])
    assert {name: part.item() for name, part in parts.items() if name in ("box", "proposal")} == {
        name: 0.0 for name in parts if name in ("box", "proposal")
    }
    sum(parts.values()).backward()
    for name, parameter in detector.named_parameters():
        assert parameter.grad is None or np.isfinite(parameter.grad).all(), name


def test_a_network_that_is_given_is_left_as_it_is(tmp_path):
    body = small_body()
    before = {name: array.copy() for name, array in body.state_dict().items()}
    detect.train_detector(squares(), tmp_path, body, **{**SHORT, "epochs": 1})
    for name, array in body.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    assert all(parameter.requires_grad for parameter in body.parameters())


def test_a_run_that_was_killed_before_it_wrote_its_history(tmp_path):
    short = {**SHORT, "epochs": 1}
    whole = detect.train_detector(squares(), tmp_path, small_body(), **short)
    (tmp_path / "history.json").unlink()
    detect.train_detector(squares(), tmp_path, small_body(), resume=True, **short)
    assert json.loads((tmp_path / "history.json").read_text())["epochs"] == whole.history


def test_another_trainings_checkpoint_is_refused(tmp_path):
    with pytest.raises(StopError):
        detect.train_detector(squares(), tmp_path, small_body(), on_epoch=stop, **SHORT)
    for held, settings, what in (
        (squares(), {"lr": 0.01}, "lr"),
        (squares(), {"size": 64}, "size"),
        (squares(seed=1), {}, "images"),
    ):
        with pytest.raises(StateError, match=f"of a training with another {what}: give the same"):
            detect.train_detector(
                held, tmp_path, small_body(), resume=True, **{**SHORT, **settings}
            )
    with pytest.raises(StateError, match="of a training with another model"):
        detect.train_detector(
            squares(), tmp_path, small_body(), model="faster_rcnn", resume=True, **SHORT
        )
    md.save_checkpoint(tmp_path / "checkpoint.h5", nn.Linear(2, 2))
    with pytest.raises(StateError, match="is no checkpoint of a detector's training"):
        detect.train_detector(squares(), tmp_path, small_body(), resume=True, **SHORT)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"epochs": 0}, "epochs= must be"),
        ({"batch_size": 1.5}, "batch_size= must be"),
        ({"lr": -1}, "lr= must be above 0"),
        ({"lr": float("nan")}, "lr= must be"),
        ({"seed": -1}, "seed= must be"),
        ({"model": "sdd"}, "did you mean ssd"),
        ({"size": (8, 8)}, "size must be"),
        ({"weights": None}, "weights= is missing"),
        ({"resume": "yes"}, "resume must be"),
    ],
)
def test_what_is_refused_before_anything_is_trained(settings, said, tmp_path):
    arguments = {"weights": small_body(), **SHORT, **settings}
    with pytest.raises(ArgumentError, match=said):
        detect.train_detector(squares(), tmp_path / "run", **arguments)
    assert not list(Path(tmp_path).glob("run/*.h5"))


def test_images_whose_parts_lack_one_to_train_on(tmp_path):
    held = squares()
    parts = ["test"] * 4 + ["validation"] * 2
    other = data.Detection([held[i][0] for i in range(6)], held.targets, CLASSES, parts=parts)
    with pytest.raises(ArgumentError, match="no image is of the part 'train'"):
        detect.train_detector(other, tmp_path, small_body(), **SHORT)


def test_a_class_without_a_box_is_named(tmp_path):
    held = squares()
    more = data.Detection(
        [held[i][0] for i in range(6)], held.targets, [*CLASSES, "blue"], parts=held.parts
    )
    with pytest.raises(ArgumentError, match="no training image has a box of blue"):
        detect.train_detector(more, tmp_path, small_body(), **SHORT)


@pytest.mark.parametrize("aside", [None, "crowd", "difficult"])
def test_validation_images_have_boxes(aside, tmp_path):
    """Else no epoch is the best, and there is nothing to save in the end."""
    held = squares()
    targets = [dict(target) for target in held.targets]
    for target in targets[-2:]:
        if aside is None:
            target |= {"boxes": np.zeros((0, 4), np.float32), "labels": np.zeros(0, np.int64)}
        else:
            target[aside] = np.ones(2, bool)
    bare = data.Detection([held[i][0] for i in range(6)], targets, CLASSES, parts=held.parts)
    with pytest.raises(ArgumentError, match="no validation image has a box that counts"):
        detect.train_detector(bare, tmp_path, small_body(), **SHORT)


def test_measuring_wants_the_detectors_classes():
    detector = detect.SSD(small_body(), 2, (64, 96))
    detector.classes = CLASSES[::-1]
    with pytest.raises(ArgumentError, match="knows green, red, the images have boxes of red, gre"):
        detect.evaluate(detector, squares())
    detector.classes = None
    done = []
    figures, found = detect.evaluate(detector, squares(), on_batch=done.append)
    assert (done, len(found)) == ([6], 6)
    assert figures.by_class[0].objects == 6
