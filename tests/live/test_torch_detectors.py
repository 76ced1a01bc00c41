"""SSD's loss and its gradients, as PyTorch computes them written out."""

import numpy as np
import pytest
from detecting import small_body, squares

import minidl as md
from minidl.apps import detect

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install minidl[oracle]")
F = torch.nn.functional

SIZE = (64, 96)


def overlaps(boxes, priors):
    """IoU (boxes, priors)."""
    low = torch.maximum(boxes[:, None, :2], priors[:, :2])
    high = torch.minimum(boxes[:, None, 2:], priors[:, 2:])
    shared = (high - low).clamp(min=0).prod(dim=2)
    areas = [(each[:, 2:] - each[:, :2]).prod(dim=1) for each in (boxes, priors)]
    return shared / (areas[0][:, None] + areas[1] - shared)


def encoded(boxes, priors):
    sizes, prior_sizes = boxes[:, 2:] - boxes[:, :2], priors[:, 2:] - priors[:, :2]
    moved = (boxes[:, :2] + sizes / 2 - priors[:, :2] - prior_sizes / 2) / prior_sizes
    return torch.cat([moved * 10, torch.log(sizes / prior_sizes) * 5], dim=1)


def torch_loss(scores, codes, priors, targets):
    of_class, of_box, count = 0.0, 0.0, 0
    for score, found, target in zip(scores, codes, targets, strict=True):
        boxes = torch.from_numpy(target["boxes"]).double()
        labels = torch.zeros(len(priors), dtype=torch.long)
        if len(boxes):
            iou = overlaps(boxes, priors)
            best, nearest = iou.max(dim=0)
            for box, prior in enumerate(iou.argmax(dim=1)):
                best[prior], nearest[prior] = 1, box
            labels = torch.where(best >= 0.5, 1 + torch.from_numpy(target["labels"])[nearest], 0)
            rows = labels > 0
            wanted = encoded(boxes[nearest[rows]], priors[rows])
            of_box = of_box + F.smooth_l1_loss(found[rows], wanted, reduction="sum")
        losses = F.cross_entropy(score, labels, reduction="none")
        positive = int((labels > 0).sum())
        hardest = losses[labels == 0].topk(3 * positive).values
        of_class = of_class + losses[labels > 0].sum() + hardest.sum()
        count += positive
    return of_class / count, of_box / count


def test_loss_and_gradients(monkeypatch):
    held = squares(3)
    nothing = {"boxes": np.zeros((0, 4), np.float32), "labels": np.zeros(0, np.int64)}
    targets = [*held.targets, nothing]
    detector = detect.SSD(small_body(), 2, SIZE)
    x = np.zeros((4, *SIZE, 3), np.float32)
    shapes = detector.eval()(x)
    priors = shapes[2]
    random = np.random.default_rng(0)
    scores, codes = (
        md.tensor(random.standard_normal(each.shape).astype(np.float32), requires_grad=True)
        for each in shapes[:2]
    )
    monkeypatch.setattr(detect.SSD, "forward", lambda self, x: (scores, codes, priors))
    found = detector.loss(x, targets)
    (found["class"] + 2 * found["box"]).backward()
    given = [torch.from_numpy(each.data).double().requires_grad_() for each in (scores, codes)]
    of_class, of_box = torch_loss(*given, torch.from_numpy(priors).double(), targets)
    (of_class + 2 * of_box).backward()
    np.testing.assert_allclose(found["class"].item(), of_class.item(), rtol=1e-5)
    np.testing.assert_allclose(found["box"].item(), of_box.item(), rtol=1e-5)
    for mine, its in zip((scores, codes), given, strict=True):
        assert its.grad.abs().max() > 0
        np.testing.assert_allclose(mine.grad, its.grad.numpy(), rtol=1e-4, atol=1e-6)
