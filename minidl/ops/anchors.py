"""Anchors and priors: the boxes that a detector's outputs are relative to, at every pixel."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.checks import flag, real
from minidl.errors import ArgumentError
from minidl.geometry import pair

__all__ = ["anchor_boxes", "prior_boxes"]


def anchor_boxes(
    feature_size: Any, stride: Any, sizes: Sequence[float], ratios: Sequence[float]
) -> np.ndarray:
    """Return the anchors of a feature map: (H * W * len(ratios) * len(sizes), 4) in image pixels.

    Pixel (i, j) of the map has its anchors around (j * stride, i * stride); of its anchors, ratios
    vary slowest. Their corners are rounded to whole pixels from the center.
    feature_size: (H, W) of the map.  stride: image pixels a map pixel, a number or a pair.
    sizes: square roots of the anchors' areas, in pixels.  ratios: heights over widths.
    Source: Ren et al. 2015, "Faster R-CNN", section 3.1.1; numbers as torchvision's.
    """
    height, width = pair(feature_size, "anchor_boxes: feature_size", 0)
    down, right = pair(stride, "anchor_boxes: stride")
    lengths = np.array(_positives("anchor_boxes", "sizes", sizes), np.float32)
    roots = np.sqrt(np.array(_positives("anchor_boxes", "ratios", ratios), np.float32))
    half_heights = (roots[:, None] * lengths).reshape(-1) / 2
    half_widths = ((1 / roots)[:, None] * lengths).reshape(-1) / 2
    base = np.stack([-half_widths, -half_heights, half_widths, half_heights], axis=1).round()
    y, x = np.mgrid[:height, :width].astype(np.float32)
    centers = np.stack([x * right, y * down] * 2, axis=-1)  # (H, W, 4)
    return (centers[:, :, None] + base).reshape(-1, 4)  # (H, W, anchors, 4) -> (n, 4)


def prior_boxes(
    feature_sizes: Sequence[Any],
    image_size: Any,
    scales: Sequence[float],
    ratios: Sequence[Sequence[float]],
    *,
    steps: Sequence[float] | None = None,
    clip: bool = True,
) -> np.ndarray:
    """Return SSD's priors of all feature maps, one after another: (n, 4) in image pixels.

    A pixel of map k has 2 + 2 * len(ratios[k]) priors around its center: squares of scale s_k and
    sqrt(s_k * s_k+1), and for each ratio one that is wider and one that is higher by it.
    feature_sizes: (H, W) of each map, or H of square ones.  image_size: (H, W), or H.
    scales: shares of the image's sides, one for each map and one more.
    ratios: for each map its ratios other than 1.
    steps: image pixels a map pixel; None divides the image evenly.
    clip: whether a prior's width and height end at the image's.
    Source: Liu et al. 2016, "SSD", section 2.2; numbers as torchvision's.
    """
    who = "prior_boxes"
    size = np.array(pair(image_size, f"{who}: image_size"))
    sizes = _listed(who, "feature_sizes", feature_sizes, "sizes")
    maps = [pair(each, f"{who}: feature_sizes") for each in sizes]
    ratios = _listed(who, "ratios", ratios, "lists")
    scales, clip = _positives(who, "scales", scales), flag(who, "clip", clip)
    steps = None if steps is None else _positives(who, "steps", steps)
    if len(scales) != len(maps) + 1 or len(ratios) != len(maps):
        raise ArgumentError(
            f"{who}: {len(maps)} feature_sizes need {len(maps) + 1} scales and the ratios of each, "
            f"got {len(scales)} scales and ratios of {len(ratios)}"
        )
    if steps is not None and len(steps) != len(maps):
        raise ArgumentError(f"{who}: {len(maps)} feature_sizes need as many steps, got {steps}")
    boxes = []
    for k, shape in enumerate(maps):
        shares = _shares(scales[k], scales[k + 1], _positives(who, "ratios", ratios[k], least=0))
        sides = (shares.clip(0, 1) if clip else shares) * size[::-1]  # widths and heights
        pixels = size / shape if steps is None else np.full(2, steps[k])
        y, x = (np.mgrid[: shape[0], : shape[1]] + 0.5) * pixels[:, None, None]
        centers = np.stack([x, y], axis=-1)[:, :, None]  # (H, W, 1, 2)
        corners = np.concatenate([centers - sides / 2, centers + sides / 2], axis=-1)
        boxes.append(corners.reshape(-1, 4))  # (H, W, priors, 4) -> (n, 4)
    return np.concatenate([np.zeros((0, 4)), *boxes]).astype(np.float32)


def _shares(scale: float, following: float, ratios: Sequence[float]) -> np.ndarray:
    """Return widths and heights of a pixel's priors, as shares of the image's: (priors, 2)."""
    between = math.sqrt(scale * following)
    found = [(scale, scale), (between, between)]
    for root in map(math.sqrt, ratios):
        found += [(scale * root, scale / root), (scale / root, scale * root)]
    return np.array(found)


def _positives(who: str, name: str, values: Any, least: int = 1) -> list[float]:
    """Return numbers larger than 0. Raise unless there are at least so many of them."""
    found = [real(who, name, value) for value in _listed(who, name, values, "numbers", least)]
    if any(value <= 0 for value in found):
        raise ArgumentError(f"{who}: {name} must be larger than 0, got {values!r:.60}")
    return found


def _listed(who: str, name: str, values: Any, of: str, least: int = 1) -> list[Any]:
    """Return values as a list. Raise unless they are one, of at least so many."""
    if isinstance(values, np.ndarray):
        values = values.tolist()
    if not isinstance(values, list | tuple) or len(values) < least:
        raise ArgumentError(f"{who}: {name} must be a list of {of}, got {values!r:.60}")
    return list(values)
