"""How much boxes overlap, in float64, for measuring and augmenting.

`ops.box_iou` is for training: it refuses boxes without an area, which a detector may give, and
knows no crowds.
"""

import numpy as np

__all__ = ["areas", "overlaps"]


def areas(boxes: np.ndarray) -> np.ndarray:
    """Return the areas (n,) of boxes (n, 4), 0 for those that have none."""
    return (boxes[:, 2:] - boxes[:, :2]).clip(0).prod(axis=1)


def overlaps(boxes: np.ndarray, others: np.ndarray, crowd: np.ndarray | None = None) -> np.ndarray:
    """Return the intersection over union of boxes (n, 4) with others (m, 4), (n, m) float64.

    crowd: (m,) bool, the others that stand for many objects: of those it is the intersection over
        the area of the box (COCO's rule).
    """
    low = np.maximum(boxes[:, np.newaxis, :2], others[np.newaxis, :, :2])  # (n, m, 2)
    high = np.minimum(boxes[:, np.newaxis, 2:], others[np.newaxis, :, 2:])
    inside = (high - low).clip(0).prod(axis=2)
    own = areas(boxes)[:, np.newaxis]
    union = own + areas(others) - inside
    if crowd is not None:
        union = np.where(crowd, own, union)
    return np.divide(inside, union, out=np.zeros_like(inside), where=inside > 0)
