"""The functions of boxes, called as nobody means it: they compute, or raise minidl's errors."""

import warnings

import numpy as np
import pytest
from bad_calls import SETTINGS
from box_cases import SSD, boxes, scores

import minidl as md
from minidl import ops

B, S, LABELS = boxes(0, 2), scores(0, 2), np.array([0, 1])
CALLS = {
    "box_area": ((B,), {}),
    "box_convert": ((B, "xyxy", "xywh"), {}),
    "clip_boxes_to_image": ((B, (4, 4)), {}),
    "remove_small_boxes": ((B, 1.0), {}),
    "box_iou": ((B, B), {}),
    "generalized_box_iou": ((B, B), {}),
    "distance_box_iou": ((B, B, 1e-7), {}),
    "complete_box_iou": ((B, B, 1e-7), {}),
    "nms": ((B, S, 0.5), {}),
    "batched_nms": ((B, S, LABELS, 0.5), {}),
    "soft_nms": (
        (B, S, LABELS),
        {"method": "linear", "sigma": 0.5, "iou_threshold": 0.3, "score_threshold": 0.1},
    ),
    "anchor_boxes": (((4, 4), 8, (8,), (1,)), {}),
    "prior_boxes": ((*list(SSD.values())[:4],), {"steps": SSD["steps"], "clip": True}),
    "encode_boxes": ((B, B), {"weights": (1, 1, 1, 1)}),
    "decode_boxes": ((B, B), {"weights": (1, 1, 1, 1)}),
    "match_boxes": ((B,), {"high": 0.5, "low": 0.3, "allow_low_quality_matches": True}),
    "match_priors": ((B,), {"threshold": 0.5}),
    "hard_negatives": ((B, B > 2), {"ratio": 3}),
}
ARRAYS = (
    np.zeros((0, 4)), np.zeros((2, 4), complex), np.zeros((2, 4), bool), np.full((2, 4), np.nan),
    np.array(3.0), np.zeros((2, 4), object), np.full((2, 4), 1e30, np.float32),
    np.full((2, 4), -1), np.zeros((2, 4), "U3"), md.tensor(B), [[1, 2, 3, 4]],
)  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_no_exception_of_others(name):
    function, (inputs, settings) = getattr(ops, name), CALLS[name]
    function(*inputs, **settings)
    raised = 0
    for value in (*SETTINGS, *ARRAYS):
        calls = [((*inputs[:i], value, *inputs[i + 1 :]), settings) for i in range(len(inputs))]
        calls += [(inputs, {**settings, setting: value}) for setting in settings]
        for arguments, named in calls:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    function(*arguments, **named)
                except md.errors.MinidlError:
                    raised += 1
    assert raised > 20
