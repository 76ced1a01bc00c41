"""Record what torchvision makes of boxes, regions and pyramids, for tests to compare with.

Run from the project's root, where torchvision is installed: python tests/record_torchvision.py
"""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
import torchvision
from box_cases import ALIGN, SSD, boxes, maps, regions, scores
from torchvision import ops
from torchvision.models.detection import _utils, anchor_utils

TARGET = Path(__file__).parent / "ops" / "torchvision_outputs.npz"


def _overlaps() -> dict[str, torch.Tensor]:
    a, b = torch.tensor(boxes(0, 12)), torch.tensor(boxes(1, 9))
    names = "box_iou", "generalized_box_iou", "distance_box_iou", "complete_box_iou"
    found = {name: getattr(ops, name)(a, b) for name in names}
    found["clip"] = ops.clip_boxes_to_image(a, (80, 70))
    found["small"] = ops.remove_small_boxes(a, 15.0)
    pairs = a[:9].double(), b.double()
    for name in ("generalized_box_iou_loss", "distance_box_iou_loss"):
        found[name] = getattr(ops, name)(*pairs, reduction="none")
    for fmt in ("xywh", "cxcywh"):
        found[fmt] = ops.box_convert(a, "xyxy", fmt)
    found["focal"] = ops.sigmoid_focal_loss(a / 50 - 1, (a > 50).float())
    return found


def _suppression() -> dict[str, torch.Tensor]:
    b, s = torch.tensor(boxes(2, 1500)), torch.tensor(scores(3, 1500))
    return {f"nms/{t}": ops.nms(b, s, t) for t in (0.0, 0.3, 1 / 3, 0.5, 0.9)}


def _anchors() -> dict[str, torch.Tensor]:
    generator = anchor_utils.AnchorGenerator(((16, 33, 64),), ((0.5, 1.0, 2.0),))
    image = SimpleNamespace(tensors=torch.zeros(1, 3, 64, 48), image_sizes=[(64, 48)])
    found = {"anchors": generator(image, [torch.zeros(1, 1, 4, 3)])[0]}
    priors = anchor_utils.DefaultBoxGenerator(
        SSD["ratios"], scales=SSD["scales"], steps=SSD["steps"]
    )
    features = [torch.zeros(1, 1, *size) for size in SSD["feature_sizes"]]
    image = SimpleNamespace(tensors=torch.zeros(1, 3, 300, 300), image_sizes=[(300, 300)])
    found["priors"] = priors(image, features)[0][::41]
    coder = _utils.BoxCoder((10.0, 10.0, 5.0, 5.0))
    a, b = torch.tensor(boxes(4, 20)), torch.tensor(boxes(5, 20))
    found["codes"] = coder.encode_single(a, b)
    found["decoded"] = coder.decode_single(torch.tensor(maps(6, 20, 4) * 20), b)
    iou = ops.box_iou(torch.tensor(boxes(7, 6)), torch.tensor(boxes(8, 400)))
    for lenient in (False, True):
        found[f"matches/{lenient}"] = _utils.Matcher(0.5, 0.3, lenient)(iou)
    found["matches/ssd"] = _utils.SSDMatcher(0.5)(iou)
    return found


def _pooled() -> dict[str, torch.Tensor]:
    x = torch.tensor(maps(9, 2, 8, 8, 3)).permute(0, 3, 1, 2)
    rois, found = torch.tensor(regions(10, 12)), {}
    for i, settings in enumerate(ALIGN):
        leaf = x.clone().requires_grad_()
        y = ops.roi_align(leaf, rois, *settings)
        g = torch.tensor(maps(11, len(y), *y.shape[2:], 3)).permute(0, 3, 1, 2)
        found[f"align/{i}"] = y.permute(0, 2, 3, 1)
        found[f"align_grad/{i}"] = torch.autograd.grad(y, leaf, g)[0].permute(0, 2, 3, 1)
    leaf = x.clone().requires_grad_()
    y = ops.roi_pool(leaf, rois, (3, 2), 0.125)
    g = torch.tensor(maps(11, len(y), 3, 2, 3)).permute(0, 3, 1, 2)
    found["pool"] = y.permute(0, 2, 3, 1)
    found["pool_grad"] = torch.autograd.grad(y, leaf, g)[0].permute(0, 2, 3, 1)
    return found


def _pyramids() -> dict[str, torch.Tensor]:
    found = {}
    extra = {
        "None": None,
        "maxpool": ops.feature_pyramid_network.LastLevelMaxPool(),
        "p6p7": ops.feature_pyramid_network.LastLevelP6P7(5, 4),
    }
    for name, blocks in extra.items():
        pyramid = ops.FeaturePyramidNetwork([3, 5], 4, blocks)
        for i, (key, p) in enumerate(pyramid.named_parameters()):
            p.data = torch.tensor(maps(20 + i, *p.shape))
            found[f"pyramid/{name}/{key}"] = p
        x = {"a": torch.tensor(maps(12, 1, 3, 7, 6)), "b": torch.tensor(maps(13, 1, 5, 4, 3))}
        for i, y in enumerate(pyramid(x).values()):
            found[f"pyramid/{name}/{i}"] = y.permute(0, 2, 3, 1)
    return found


def main() -> None:
    """Write all of it under the names that tests/ops/test_boxes.py reads."""
    parts = (_overlaps, _suppression, _anchors, _pooled, _pyramids)
    found = {name: x.detach().numpy() for part in parts for name, x in part().items()}
    np.savez_compressed(TARGET, **found)
    size = TARGET.stat().st_size / 1024
    print(f"{len(found)} arrays, {size:.0f} KiB, torchvision {torchvision.__version__}")


if __name__ == "__main__":
    main()
