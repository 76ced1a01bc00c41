"""How a layer of Keras's orders the pixels and features that it gives, and what it pads."""

from typing import Any

from minidl.io.keras import CLASSES
from minidl.io.provenance import Pads

__all__ = [
    "CONCATENATE", "FLAT_FIRST", "HOLDERS", "IMAGE_FIRST", "IMAGE_LAST", "INPUT", "KEEPING", "KEPT",
    "MASKS", "PLAIN", "TURNED", "UNKNOWN", "axes_of", "channels_first", "masked", "order_after",
    "padded",
]  # fmt: skip

# How the pixels or features of an activation are ordered, seen from channels-last.
IMAGE_FIRST, IMAGE_LAST = "image, channels first", "image, channels last"
FLAT_FIRST, FLAT_LAST = "pixels, channels first", "pixels, channels last"
PLAIN, TURNED, UNKNOWN = "features", "axes changed", "unknown"
INPUT = "an input, not yet known to be which"

KEEPING = ("ZeroPadding2D", "Activation", "ReLU", "LeakyReLU", "ELU", "Dropout", "Add", "Rescaling")
CONCATENATE = ("Concatenate", "Merge")
SEPARABLE = ("SeparableConv2D", "SeparableConvolution2D")
FEATURES = ("Dense", "Embedding", "SimpleRNN", "LSTM", "GRU", "Bidirectional")
MASKS = ("Bidirectional", "GlobalAveragePooling1D", "GRU", "LSTM", "SimpleRNN")  # skip steps
KEPT = {  # layers whose outputs are ordered as their inputs are
    "Activation", "ActivityRegularization", "Add", "AlphaDropout", "Average", "BatchNormalization",
    "Dropout", "ELU", "GaussianDropout", "GaussianNoise", "Identity", "LayerNormalization",
    "LeakyReLU", "Maximum", "Minimum", "Multiply", "PReLU", "ReLU", "Rescaling", "Softmax",
    "SpatialDropout2D", "Subtract", "ThresholdedReLU", "InputLayer", *CONCATENATE,
}  # fmt: skip
HOLDERS = {*CLASSES, "TimeDistributed", "Bidirectional"}  # of weights


def order_after(kind: str, settings: Any, before: str) -> str:
    """The order of what a layer gives."""
    first = channels_first(settings)
    if kind == "Flatten":
        if before in (IMAGE_FIRST, IMAGE_LAST):
            return FLAT_FIRST if before == IMAGE_FIRST and first is not True else FLAT_LAST
        return FLAT_LAST if before == INPUT else before
    if kind.startswith("Global"):
        return PLAIN if not settings.get("keepdims") else image(first)
    if kind in FEATURES:
        return before if before in (UNKNOWN, TURNED, IMAGE_LAST) else PLAIN
    if kind in KEPT:
        return before
    if "data_format" in settings or "dim_ordering" in settings:
        return image(first)
    if kind in HOLDERS:  # written before there was a choice, or by hand
        return IMAGE_LAST
    if kind == "Permute":
        turned = {(IMAGE_FIRST, (2, 3, 1)): IMAGE_LAST, (IMAGE_LAST, (3, 1, 2)): IMAGE_FIRST}
        return turned.get((before, tuple(settings["dims"])), TURNED)
    if kind == "Reshape":
        target = settings["target_shape"]
        if len(target) != 1:
            return INPUT if len(target) == 3 and before == PLAIN else TURNED
        return (
            FLAT_FIRST if before == IMAGE_FIRST else FLAT_LAST if before == IMAGE_LAST else before
        )
    return UNKNOWN


def padded(before: Pads | None, kind: str, settings: Any) -> Pads | None:
    """All zeros around what a convolution works on, or around what another layer gives.

    None where that isn't known, or hangs on the size of images.
    """
    if kind == "ZeroPadding2D":
        (top, bottom), (left, right) = settings["padding"]
        own = (top, bottom, left, right)
    elif kind in KEEPING or settings.get("padding") == "valid":
        own = (0, 0, 0, 0)
    elif settings.get("padding") == "same" and (
        settings.get("strides") in ([1, 1], 1) or kind == "Conv2DTranspose"
    ):
        dilation = settings.get("dilation_rate", [1, 1])
        kernel = settings.get("kernel_size")
        if not isinstance(kernel, list) or not isinstance(dilation, list):
            return None
        strides = settings["strides"] if kind == "Conv2DTranspose" else [1, 1]
        sizes = zip(kernel, strides, dilation, strict=True)
        whole = [max(0, d * (k - 1) + 1 - stride) for k, stride, d in sizes]
        own = (whole[0] // 2, -(-whole[0] // 2), whole[1] // 2, -(-whole[1] // 2))
    else:
        return None
    one = before or (0, 0, 0, 0)
    return None if before is None else (
        one[0] + own[0], one[1] + own[1], one[2] + own[2], one[3] + own[3]
    )  # fmt: skip


def masked(kind: str, settings: Any, before: bool) -> bool:
    """Whether some steps of what a layer gives are masked. before: of what it takes."""
    if kind in ("Embedding", "Masking"):
        return kind == "Masking" or bool(settings.get("mask_zero"))
    if kind == "Bidirectional":
        settings = settings["layer"]["config"]
    if kind in MASKS:
        return before and bool(settings.get("return_sequences"))
    return before and (kind in KEPT or kind in ("Dense", "TimeDistributed"))


def axes_of(settings: Any) -> int:
    """How many axes an input has, with that of the batch; 0 where that isn't told."""
    shape = settings.get("batch_shape", settings.get("batch_input_shape"))
    return len(shape) if isinstance(shape, list) else 0


def channels_first(settings: Any) -> bool | None:
    given = settings.get("data_format", settings.get("dim_ordering"))
    return {"channels_first": True, "th": True, "channels_last": False, "tf": False}.get(given)


def image(first: bool | None) -> str:
    return UNKNOWN if first is None else IMAGE_FIRST if first else IMAGE_LAST
