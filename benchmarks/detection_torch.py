"""SSD in PyTorch as `apps.detect.SSD` is, with its weights: network, loss, detection, training.

Source: Liu et al. 2016, "SSD: Single Shot MultiBox Detector".
"""

import copy
import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import minidl as md
from benchmarks.boxes_in_torch import decoded, encoded, iou
from benchmarks.transfer_torch import block_of, tensor
from minidl import data
from minidl.apps import detect
from minidl.apps.detect import ssd
from minidl.apps.detect.augmenting import augmentation
from minidl.apps.detect.detector import CANDIDATES, MOST, Prediction, Target, objects_of
from minidl.apps.detect.training import BODY, CLIP, LR, WARMUP, WEIGHT_DECAY

__all__ = ["SSD", "differences", "find", "loss", "optimizer_of", "planes", "train"]


class SSD(nn.Module):
    """(N, 3, H, W) -> scores (N, P, 1 + classes) and codes (N, P, 4).

    detector: minidl's, on a MobileNet; its numbers are copied. Normalizations of the body stay
        frozen in training.
    """

    priors: torch.Tensor  # (P, 4)

    def __init__(self, detector: detect.SSD) -> None:
        super().__init__()
        self.body, self.extras = (
            nn.ModuleList(nn.Sequential(*map(block_of, stage)) for stage in stages)
            for stages in (detector.body.stages, detector.extras)
        )
        self.score_heads, self.code_heads = (
            nn.ModuleList(map(_head, heads))
            for heads in (detector.score_heads, detector.code_heads)
        )
        for norm in self._frozen():
            norm.requires_grad_(False)
        self.classes, self.size = 1 + detector.num_classes, detector.size
        with torch.no_grad():
            maps = self.eval().maps(torch.zeros(1, 3, *self.size))
        shapes = [(int(m.shape[2]), int(m.shape[3])) for m in maps]
        self.register_buffer("priors", tensor(detector.priors(shapes, self.size)))
        for name, numbers in (("factor", detector._factor), ("offset", detector._offset)):
            self.register_buffer(name, tensor(np.broadcast_to(numbers, 3)).reshape(3, 1, 1))

    def _frozen(self) -> list[nn.Module]:
        return [module for module in self.body.modules() if isinstance(module, nn.BatchNorm2d)]

    def train(self, mode: bool = True) -> "SSD":
        super().train(mode)
        for norm in self._frozen():
            norm.eval()
        return self

    def maps(self, x: torch.Tensor) -> list[torch.Tensor]:
        found = []
        for stage in (*self.body, *self.extras):
            x = stage(x)
            found.append(x)
        return found

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        maps = self.maps(x)
        return _rows(self.score_heads, maps, self.classes), _rows(self.code_heads, maps, 4)


def _head(layer: Any) -> nn.Conv2d:
    weight = layer.weight.data.transpose(3, 2, 0, 1)  # (kh, kw, in, out) to (out, in, kh, kw)
    head = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1)
    head.weight.data, head.bias.data = tensor(weight), tensor(layer.bias.data)
    return head


def _rows(heads: Any, maps: Sequence[torch.Tensor], numbers: int) -> torch.Tensor:
    """Return what heads make of maps (N, C, h, w), a row a prior: (N, P, numbers)."""
    found = [head(m).permute(0, 2, 3, 1) for head, m in zip(heads, maps, strict=True)]
    return torch.cat([each.reshape(len(each), -1, numbers) for each in found], 1)


def planes(images: np.ndarray) -> torch.Tensor:
    """(N, H, W, 3) -> (N, 3, H, W), channels last in memory."""
    return torch.from_numpy(images).permute(0, 3, 1, 2)


# The loss


def loss(model: SSD, x: torch.Tensor, targets: Sequence[Target]) -> dict[str, torch.Tensor]:
    """Return {"class", "box"}: equations 1 to 3, over the number of priors of objects."""
    scores, codes = model(x)
    pairs = [_assigned(model.priors, target) for target in targets]
    labels, wanted = (torch.stack(parts) for parts in zip(*pairs, strict=True))  # (N, P), (.., 4)
    positive = labels > ssd.BACKGROUND
    count = positive.sum().clamp(min=1)
    each = F.cross_entropy(scores.flatten(0, 1), labels.flatten(), reduction="none")
    each = each.view_as(labels)
    hardest = each.detach().masked_fill(positive, -math.inf).argsort(1, descending=True)
    used = positive | (hardest.argsort(1) < ssd.NEGATIVES * positive.sum(1, keepdim=True))
    box = F.smooth_l1_loss(codes[positive], wanted[positive], reduction="sum")
    return {"class": each[used].sum() / count, "box": box / count}


def _assigned(priors: torch.Tensor, target: Target) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each prior's label (P,) and the code (P, 4) of its box."""
    boxes, labels = map(torch.from_numpy, objects_of(target))
    if not len(boxes):
        return torch.zeros(len(priors), dtype=torch.int64), torch.zeros_like(priors)
    overlaps = iou(boxes, priors)
    most, nearest = overlaps.max(0)
    best = overlaps.argmax(1)
    if len(best.unique()) < len(best):  # two boxes want the same prior
        best = _best(overlaps)
    nearest[best] = torch.arange(len(boxes))
    most[best] = 1
    found = torch.where(most >= ssd.MATCHED, 1 + labels[nearest], ssd.BACKGROUND)
    return found, encoded(boxes[nearest], priors)


def _best(overlaps: torch.Tensor) -> torch.Tensor:
    """Return a prior of its own for each box, by falling IoU."""
    left = overlaps.clone()
    found = torch.zeros(len(left), dtype=torch.int64)
    for _ in range(len(left)):
        box, prior = divmod(int(left.argmax()), left.shape[1])
        found[box] = prior
        left[box], left[:, prior] = -1, -1
    return found


def optimizer_of(model: SSD, lr: float = LR) -> torch.optim.AdamW:
    """Return AdamW with the groups of `train_detector`."""
    rest = [p for name, p in model.named_parameters() if not name.startswith("body")]
    body = [p for p in model.body.parameters() if p.requires_grad]
    groups = [{"params": rest}, {"params": body, "lr": BODY * lr}]
    return torch.optim.AdamW(groups, lr=lr, weight_decay=WEIGHT_DECAY, fused=True)


def differences(
    detector: detect.SSD, model: SSD, x: np.ndarray, targets: Sequence[Target]
) -> dict[str, float]:
    """Return how much minidl and PyTorch differ, relative to PyTorch's largest number.

    "loss" in training, "gradients" by their norms a parameter; "outputs" in evaluation after that,
    with the statistics that the step left.
    """
    model = copy.deepcopy(model)
    mine, its = (
        detector.train().loss(md.tensor(x), targets),
        loss(model.train(), planes(x), targets),
    )
    found = {"loss": max(abs(mine[name].item() / its[name].item() - 1) for name in its)}
    sum(mine.values()).backward()
    sum(its.values()).backward()
    learned = [p.grad for p in detector.parameters() if p.requires_grad]
    theirs = [p.grad for p in model.parameters() if p.requires_grad]
    norms = [
        (float(np.linalg.norm(a)), b.norm().item()) for a, b in zip(learned, theirs, strict=True)
    ]
    found["gradients"] = max(abs(a - b) / max(b, 1e-8) for a, b in norms)
    with md.no_grad(), torch.no_grad():
        outputs = zip(detector.eval()(md.tensor(x))[:2], model.eval()(planes(x)), strict=True)
    found["outputs"] = max(
        float(np.abs(a.data - b.numpy()).max() / b.abs().max()) for a, b in outputs
    )
    return found


# Detection


@torch.inference_mode()
def find(
    model: SSD,
    image: np.ndarray,
    *,
    score_threshold: float,
    iou_threshold: float = 0.45,
    last: bool = True,
) -> Prediction:
    """Return what `detector.detect` does for an image (H, W, 3) uint8."""
    x = planes(image[None])
    if not last:
        x = x.contiguous()
    if x.shape[2:] != model.size:
        x = F.interpolate(x, model.size, mode="bilinear", antialias=True)
    scores, codes = model(x * model.factor + model.offset)
    probabilities, boxes = scores[0].softmax(1)[:, 1:], decoded(codes[0], model.priors)
    height, width = model.size
    limits = torch.tensor([width, height, width, height], dtype=boxes.dtype)
    boxes = boxes.clamp(min=0).minimum(limits)
    rows, labels = [], []
    for label, column in enumerate(probabilities.T):
        chosen = torch.where(column >= score_threshold)[0]
        best = column[chosen].topk(min(CANDIDATES, len(chosen))).indices
        rows.append(chosen[best])
        labels.append(torch.full_like(best, label))
    row, label_ = torch.cat(rows), torch.cat(labels)
    kept = _kept(boxes[row], probabilities[row, label_], label_, iou_threshold)
    back = torch.tensor([image.shape[1] / width, image.shape[0] / height] * 2)
    found = boxes[row[kept]] * back, label_[kept], probabilities[row, label_][kept]
    return dict(zip(("boxes", "labels", "scores"), (each.numpy() for each in found), strict=True))


def _kept(
    boxes: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor, threshold: float
) -> torch.Tensor:
    """Return the boxes that suppression by class leaves, by falling score.

    All overlaps at once, which for some hundred boxes is much faster than a loop in PyTorch.
    """
    order = scores.argsort(descending=True, stable=True)
    apart = boxes + (labels * (boxes.max() + 1) if len(boxes) else labels)[:, None]
    over = (iou(apart[order], apart[order]) > threshold).numpy()
    keep = np.ones(len(over), bool)
    for i in range(len(over)):
        if keep[i]:
            keep[i + 1 :] &= ~over[i, i + 1 :]
    return order[torch.from_numpy(keep)][:MOST]


# Training


def train(
    model: SSD, detector: detect.SSD, held: data.Detection, epochs: int, seed: int
) -> dict[str, Any]:
    """Train as `train_detector` does, from the same numbers with the same batches.

    detector: minidl's that the model was made of, after `md.manual_seed(seed)`.
    Returns {"epoch", "validation", "test"}: the best epoch, its mAP by VOC's rules, and the figures
    of the test part with its weights.
    """
    training, validation, test = (held.part(name) for name in ("train", "validation", "test"))
    model = model.to(memory_format=torch.channels_last)
    loader = data.DataLoader(
        training, 8, True, seed=seed, drop_last=True, workers=1,
        transform=augmentation(detector.size), augment=True,
    )  # fmt: skip
    step = _step(model, epochs * len(loader))
    best: dict[str, Any] = {"validation": -1.0}
    for epoch in range(1, epochs + 1):
        model.train()
        told = 0.0
        for images, targets in loader:
            told += step(detector.scaled(images), targets) / len(loader)
        reached = _figures(model, validation).map_voc
        print(f"torch, epoch {epoch}: loss {told:.3f}, mAP {reached:.3f}", file=sys.stderr)
        if reached > best["validation"]:
            best = {"epoch": epoch, "validation": reached}
            state = copy.deepcopy(model.state_dict())
    model.load_state_dict(state)
    return best | {"test": _figures(model, test)}


def _step(model: SSD, steps: int) -> Callable[[np.ndarray, Sequence[Target]], float]:
    """Return a step of training on a batch (N, H, W, 3); it returns the loss."""
    optimizer = optimizer_of(model)
    warmup = max(1, min(WARMUP, steps // 5))
    schedulers = torch.optim.lr_scheduler
    rise = schedulers.LinearLR(optimizer, 0.01, total_iters=warmup)
    fall = schedulers.CosineAnnealingLR(optimizer, max(1, steps - warmup))
    scheduler = schedulers.SequentialLR(optimizer, [rise, fall], [warmup])
    learned = [p for p in model.parameters() if p.requires_grad]

    def step(images: np.ndarray, targets: Sequence[Target]) -> float:
        total = sum(loss(model, planes(images), targets).values())
        optimizer.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(learned, CLIP)
        optimizer.step()
        scheduler.step()
        return float(total.item())

    return step


def _figures(model: SSD, held: data.Detection) -> detect.Figures:
    model.eval()
    found = [find(model, held[i][0], score_threshold=0.01) for i in range(len(held))]
    return detect.measure(found, held.targets, held.classes)
