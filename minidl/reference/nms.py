"""Non-maximum suppression, box by box."""

import numpy as np

from minidl.reference.boxes import box_iou


def nms(boxes: np.ndarray, threshold: float) -> np.ndarray:
    """Return which boxes stay: those whose IoU with no earlier one that stays is above `threshold`.

    boxes: (n, 4), x1, y1, x2, y2, ordered by falling score.  Returns (n,) bool.
    """
    keep = np.ones(len(boxes), bool)
    for i in range(len(boxes)):
        if keep[i]:
            keep[i + 1 :] &= ~(box_iou(boxes[i : i + 1], boxes[i + 1 :])[0] > threshold)
    return keep
