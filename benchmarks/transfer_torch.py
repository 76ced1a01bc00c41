"""Two known recipes of fine-tuning in PyTorch, on MobileNets with minidl's weights.

- BiT-HyperRule: Kolesnikov et al. 2020, "Big transfer (BiT): general visual representation
  learning", section 3.3, for data sets below 20,000 images: SGD with momentum 0.9, 500 steps, the
  rate 0.003 a batch of 512 in proportion to the batch, warmed up over 100 steps and divided by 10
  after 200, 300 and 400, as in the authors' code (the paper has 30, 60 and 90 %); a head of zeros,
  no weight decay, no MixUp; random crops of images a quarter larger than the crop where they are
  small, otherwise a seventh, and mirror images. The batch is BIT_BATCH, and images aren't enlarged
  to 384 pixels: 512 of these a step would take days on two cores.
- fastai's `fine_tune`: Howard and Gugger 2020, "fastai: a layered API for deep learning". An epoch
  in which the body is frozen but for its normalizations, then all layers, each time by one cycle;
  rates of three groups of layers from lr / 200 to lr / 2; Adam with decoupled decay; fastai's head
  with both pools, two normalizations and dropouts; its standard augmentation: mirrored, turned,
  zoomed, warped, brightness and contrast. Batches of 16 and 6 epochs are those of `train.Transfer`.

Batch normalizations use the statistics of batches, as both do where a network has any.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.transfer import Part, enlarged
from minidl.models import Network

__all__ = ["RECIPES", "block_of", "body_of", "run", "tensor"]

BIT_STEPS, BIT_BATCH, BIT_RATE = 500, 32, 0.003  # the rate of a batch of 512
EPOCHS, BATCH, RATE = 6, 16, 2e-3  # fastai's: those of `train.Transfer`, and fastai's own rate


# The network


def body_of(network: Network) -> nn.Sequential:
    """Return the body of a MobileNet of minidl's, (N, 3, H, W) -> (N, C, H', W')."""
    return nn.Sequential(*map(block_of, network.features))


def block_of(block: Any) -> nn.Sequential:
    """Return a ConvBlock of minidl's, or the two of a separable layer, with its numbers."""
    if not hasattr(block, "conv"):
        return nn.Sequential(block_of(block.depthwise), block_of(block.pointwise))
    weight, norm = block.conv.weight.data, block.norm
    one_a_channel = type(block.conv).__name__ == "DepthwiseConv2d"
    # (kh, kw, in, out), or (kh, kw, C, 1), to PyTorch's (out, in, kh, kw)
    weight = weight.transpose(2, 3, 0, 1) if one_a_channel else weight.transpose(3, 2, 0, 1)
    out, kernel, stride = len(weight), weight.shape[2], _one(block.conv.stride)
    below_only = stride == 2 and block.conv.padding not in (1, (1, 1), ((1, 1), (1, 1)))
    padding = 0 if below_only else kernel // 2
    conv = nn.Conv2d(
        block.conv.weight.shape[2], out, kernel, stride, padding,
        groups=out if one_a_channel else 1, bias=False,
    )  # fmt: skip
    conv.weight.data = tensor(weight)
    batch_norm = nn.BatchNorm2d(out, norm.eps)
    for name in ("weight", "bias", "running_mean", "running_var"):
        getattr(batch_norm, name).data = tensor(getattr(norm, name).data)
    activation = {"relu": nn.ReLU, "relu6": nn.ReLU6}[norm.activation](inplace=True)
    around = [nn.ZeroPad2d((0, 1, 0, 1))] if below_only else []
    return nn.Sequential(*around, conv, batch_norm, activation)


def _one(pair: Any) -> int:
    return pair if isinstance(pair, int) else pair[0]


def tensor(array: np.ndarray) -> torch.Tensor:
    """Return a copy of an array, in float32."""
    return torch.from_numpy(np.array(array, np.float32, order="C"))


def _planes(images: np.ndarray) -> torch.Tensor:
    """(N, H, W, 3) uint8 -> (N, 3, H, W) from 0 to 1."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def _accuracy(model: nn.Module, network: Network, images: np.ndarray, labels: np.ndarray) -> float:
    """The accuracy as minidl measures it, by the mean over each image and its mirror image."""
    model.eval()
    right = 0
    with torch.no_grad():
        for start in range(0, len(images), 64):
            batch = images[start : start + 64]
            probabilities = []
            for view in (batch, np.ascontiguousarray(batch[:, :, ::-1])):
                for transform in network.preparation():
                    view = transform(view)
                probabilities.append(model(torch.from_numpy(view).permute(0, 3, 1, 2)).softmax(1))
            guess = sum(probabilities).argmax(1).numpy()
            right += int((guess == labels[start : start + 64]).sum())
    return right / len(images)


# BiT


def bit(network: Network, training: Part, size: int, classes: int) -> nn.Module:
    """Return the network fine-tuned by BiT's rule."""
    images, labels = training
    if images.shape[1] <= size:  # there is nothing to crop yet
        images = enlarged(images, size * 5 // 4 if size <= 128 else size * 8 // 7)
    body = body_of(network)
    head = nn.Linear(_width(network), classes)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    model = nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head).train()
    model.to(memory_format=torch.channels_last)  # twice as fast
    optimizer = torch.optim.SGD(model.parameters(), BIT_RATE, momentum=0.9)
    x, y = _planes(images), torch.from_numpy(labels.astype(np.int64))
    batches = _endless(len(x), min(BIT_BATCH, len(x)))
    for step in range(BIT_STEPS):
        optimizer.param_groups[0]["lr"] = _bit_rate(step)
        rows = next(batches)
        seen = _cropped(_mirrored(x[rows]), size).contiguous(memory_format=torch.channels_last)
        optimizer.zero_grad()
        F.cross_entropy(model(2 * seen - 1), y[rows]).backward()
        optimizer.step()
    return model


def _bit_rate(step: int) -> float:
    rate = BIT_RATE * BIT_BATCH / 512
    if step < 100:
        return rate * step / 100
    return rate / 10 ** sum(step > end for end in (200, 300, 400))


def _endless(count: int, batch: int) -> Any:
    while True:
        yield from torch.randperm(count)[: count // batch * batch].reshape(-1, batch)


def _mirrored(x: torch.Tensor) -> torch.Tensor:
    chosen = torch.rand(len(x)) < 0.5
    return torch.where(chosen[:, None, None, None], x.flip(3), x)


def _cropped(x: torch.Tensor, size: int) -> torch.Tensor:
    places = torch.randint(x.shape[2] - size + 1, (len(x), 2)).tolist()
    return torch.stack(
        [each[:, top : top + size, left : left + size] for each, (top, left) in zip(x, places)]
    )


# fastai


class _Head(nn.Sequential):
    """fastai's: both pools, normalized twice, with dropout."""

    def __init__(self, width: int, classes: int) -> None:
        hidden = nn.Linear(2 * width, 512, bias=False)
        scores = nn.Linear(512, classes, bias=False)
        nn.init.kaiming_normal_(hidden.weight)
        nn.init.kaiming_normal_(scores.weight)
        super().__init__(
            nn.BatchNorm1d(2 * width), nn.Dropout(0.25), hidden, nn.ReLU(), nn.BatchNorm1d(512),
            nn.Dropout(0.5), scores,
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, classes)."""
        both = [F.adaptive_max_pool2d(x, 1), F.adaptive_avg_pool2d(x, 1)]
        return super().forward(torch.cat(both, 1).flatten(1))


def fastai(network: Network, training: Part, size: int, classes: int) -> nn.Module:
    """Return the network fine-tuned as `vision_learner(...).fine_tune(EPOCHS)` does."""
    body, head = body_of(network), _Head(_width(network), classes)
    model = nn.Sequential(body, head).to(memory_format=torch.channels_last)
    middle = len(body) // 2
    groups = [[*body[:middle]], [*body[middle:]], [head]]
    x = _planes(enlarged(training[0], size))
    y = torch.from_numpy(training[1].astype(np.int64))
    for module in body.modules():  # frozen, but for normalizations
        if isinstance(module, nn.Conv2d):
            module.requires_grad_(False)
    frozen = (RATE / 10, RATE / 10, RATE)
    _one_cycle(model, groups, frozen, x, y, size, epochs=1, start=0.99, div=25)
    model.requires_grad_(True)
    rates = (RATE / 200, RATE / 20, RATE / 2)
    _one_cycle(model, groups, rates, x, y, size, epochs=EPOCHS, start=0.3, div=5)
    return model


def _one_cycle(
    model: nn.Module, groups: Sequence[Sequence[nn.Module]], rates: Sequence[float],
    x: torch.Tensor, y: torch.Tensor, size: int, epochs: int, start: float, div: float,
) -> None:  # fmt: skip
    """Train with rates that rise from a part of `rates` and fall, while momentum does the opposite.

    start: the share of the steps in which they rise.
    """
    parts = []
    for modules, rate in zip(groups, rates):
        for decay, norms in ((0.01, False), (0.0, True)):  # no decay of normalizations and biases
            parameters = [p for m in modules for p in m.parameters() if (p.ndim == 1) == norms]
            parts.append({"params": parameters, "weight_decay": decay, "most": rate})
    optimizer = torch.optim.AdamW(parts, lr=1.0, betas=(0.95, 0.99), eps=1e-5)
    model.train()
    batches, total = _endless(len(x), BATCH), epochs * (len(x) // BATCH)
    for step in range(total):
        share = step / total
        for group in optimizer.param_groups:
            rate = _cosine(share, start, group["most"] / div, group["most"], group["most"] / 1e5)
            group["lr"], group["betas"] = rate, (_cosine(share, start, 0.95, 0.85, 0.95), 0.99)
        rows = next(batches)
        seen = _altered(_cropped(x[rows], size)).contiguous(memory_format=torch.channels_last)
        optimizer.zero_grad()
        F.cross_entropy(model(2 * seen - 1), y[rows]).backward()
        optimizer.step()


def _cosine(share: float, start: float, first: float, most: float, last: float) -> float:
    low, high, part = first, most, share / start
    if share >= start:
        low, high, part = most, last, (share - start) / (1 - start)
    return low + (high - low) * (1 - math.cos(math.pi * part)) / 2


def _altered(x: torch.Tensor) -> torch.Tensor:
    """fastai's `aug_transforms()`: each with probability 0.75, mirrored with 0.5."""
    count, size = len(x), x.shape[2]

    def drawn(low: float, high: float, none: float = 0.0) -> torch.Tensor:
        values = torch.rand(count) * (high - low) + low
        return torch.where(torch.rand(count) < 0.75, values, torch.full((count,), none))

    angle, zoom = drawn(-10, 10) * math.pi / 180, 1 / drawn(1, 1.1, 1)
    side = torch.where(torch.rand(count) < 0.5, -1.0, 1.0)
    matrix = torch.zeros(count, 3, 3)
    matrix[:, 0, 0], matrix[:, 0, 1] = side * zoom * angle.cos(), zoom * angle.sin()
    matrix[:, 1, 0], matrix[:, 1, 1] = -side * zoom * angle.sin(), zoom * angle.cos()
    matrix[:, 2, :2] = torch.stack([drawn(-0.1, 0.1), drawn(-0.1, 0.1)], 1)  # the perspective
    matrix[:, 2, 2] = 1
    line = (torch.arange(size) * 2 + 1) / size - 1
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    points = torch.stack([columns, rows, torch.ones_like(rows)], 2).reshape(-1, 3)
    moved = points @ matrix.transpose(1, 2)  # (N, size * size, 3)
    grid = (moved[..., :2] / moved[..., 2:]).reshape(count, size, size, 2)
    x = F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    light = torch.logit(drawn(0.4, 0.6, 0.5))
    contrast = torch.exp(drawn(math.log(0.8), -math.log(0.8)))
    logits = torch.logit(x.clamp(0, 1), eps=1e-7)
    return torch.sigmoid((logits + light[:, None, None, None]) * contrast[:, None, None, None])


def _width(network: Network) -> int:
    """How many maps the body makes."""
    return int(network.features[-1].pointwise.norm.weight.data.size)


RECIPES: dict[str, Callable[[Network, Part, int, int], nn.Module]] = {"BiT": bit, "fastai": fastai}


def run(network: Network, name: str, parts: tuple[Part, Part], size: int, seed: int) -> float:
    """Return the accuracy of a recipe on the second part, after training on the first.

    network: a MobileNet of minidl's, with pretrained weights.  size: pixels that it is to see.
    """
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # which takes long
    training, (images, labels) = parts
    classes = int(training[1].max()) + 1
    model = RECIPES[name](network, training, size, classes)
    return _accuracy(model, network, enlarged(images, size), labels)
