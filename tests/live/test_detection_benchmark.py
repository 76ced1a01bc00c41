"""What `benchmarks.detection` times and trains is the same computation in minidl and PyTorch."""

import numpy as np
import pytest
from detecting import small_body, squares

import minidl as md
from minidl.apps import detect
from minidl.apps.detect.training import _Run

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'minidl[oracle]'")

from benchmarks import detection, detection_torch  # noqa: E402

SIZE = (128, 160)


def small_detector():
    """Priors of rather different scores, so that rounding doesn't change their order."""
    detector = detection.frozen(detect.SSD(small_body(), 2, SIZE))
    for head in detector.score_heads:
        head.weight.data *= 30
    return detector


def test_losses_gradients_and_outputs_agree():
    detector = small_detector()
    model = detection_torch.SSD(detector)
    images, targets = detection.batch(SIZE)
    for target in targets:
        target["labels"] %= 2
    targets[0]["boxes"][1] = targets[0]["boxes"][0]  # both want the same prior
    targets[1] = {"boxes": np.zeros((0, 4), np.float32), "labels": np.zeros(0, np.int64)}
    detection.check(detection_torch.differences(detector, model, images, targets))
    detector.score_heads[0].bias.data[0] += 0.1
    with pytest.raises(md.errors.StateError, match="differ"):
        detection.check(detection_torch.differences(detector, model, images, targets))


def test_it_detects_the_same():
    detector = small_detector()
    model = detection_torch.SSD(detector).eval()
    image = squares(2, SIZE)[0][0]
    expected = detector.detect(image, score_threshold=0.5)
    found = detection_torch.find(model, image, score_threshold=0.5)
    assert len(expected["boxes"]) > 10
    assert abs(len(found["boxes"]) - len(expected["boxes"])) <= 2
    apart = np.abs(found["boxes"][:, None] - expected["boxes"]).max(2)
    apart[found["labels"][:, None] != expected["labels"]] = np.inf
    assert (apart.min(0) < 0.01).mean() > 0.95
    assert found["boxes"].dtype == np.float32
    assert (np.diff(found["scores"]) <= 0).all()


def test_it_takes_the_same_steps(tmp_path):
    """Losses are the same, and after them every array has moved as far."""
    held, settings = squares(10, SIZE), {"batch_size": 2, "seed": 0, "epochs": 1, "lr": 1e-3}
    detector = detect.SSD(small_body(), 2, SIZE)
    run = _Run(detector, held.part("train"), held.part("validation"), settings, tmp_path)
    model = detection_torch.SSD(detector).train()
    learned = [p for p in model.parameters() if p.requires_grad]
    before = [[np.asarray(p.data).copy() for p in each] for each in (run.parameters, learned)]
    detector.train()
    step = detection_torch._step(model, len(run.loader))
    for images, targets in run.loader:
        mine = sum(run.step((images, targets)).values())
        np.testing.assert_allclose(mine, step(detector.scaled(images), targets), rtol=5e-3)
    moved = [
        [float(np.linalg.norm(np.asarray(p.data) - was)) for p, was in zip(each, old, strict=True)]
        for each, old in zip((run.parameters, learned), before, strict=True)
    ]
    np.testing.assert_allclose(*moved, rtol=0.02)
