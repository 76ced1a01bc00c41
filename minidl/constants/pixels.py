"""How networks take pixels, by name: (pixel / scale - mean) / std, a mean and std a channel.

"imagenet": as torchvision's and timm's; "unit": from 0 to 1; "signed": from -1 to 1; "bytes": from
0 to 255.
"""

__all__ = ["PIXELS"]

Numbers = tuple[float, float, float]

PIXELS: dict[str, tuple[float, Numbers, Numbers]] = {
    "imagenet": (255.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "unit": (255.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "signed": (127.5, (1.0, 1.0, 1.0), (1.0, 1.0, 1.0)),
    "bytes": (1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}
