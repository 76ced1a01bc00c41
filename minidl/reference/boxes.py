"""Overlaps of boxes x1, y1, x2, y2."""

import numpy as np


def box_iou(boxes1: np.ndarray, boxes2: np.ndarray) -> np.ndarray:
    """Return intersection over union of each pair, 0 for two boxes without an area.

    (n, 4), (m, 4) -> (n, m).
    """
    low = np.maximum(boxes1[:, None, :2], boxes2[:, :2])
    high = np.minimum(boxes1[:, None, 2:], boxes2[:, 2:])
    common = (high - low).clip(0).prod(axis=-1)  # (n, m)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=-1) for boxes in (boxes1, boxes2)]
    union = areas[0][:, None] + areas[1] - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)
